//! Disk, time, shards and clients of one run, and how they move on together: one turn of one task at a time.
//!
//! The expensive mistake is to look only when everything is at rest. Answers are taken after every single turn, so that
//! a power cut may fall between any two of them. Deliberately absent: what operations there are (`operations`), and
//! what has to be true (`oracle`).

use crate::clients::{Clients, StreamKey};
use crate::clock::SimClock;
use crate::control::Control;
use crate::coverage::Coverage;
use crate::demand;
use crate::faults::Faults;
use crate::oracle::batches::BatchId;
use crate::oracle::served::Read;
use crate::oracle::{Oracle, Violation};
use crate::plan::{Operation, Plan};
use crate::run::Settings;
use crate::shard_life::ShardLife;
use crate::trace::Trace;
use sluice_model::{Clock, Offset, ShardIndex, TopicId, TopicPartition};
use sluice_partition::{Acks, Completed, Completion, Durability, Failure, OpenError, Partitions, TruncateError};
use sluice_storage::read_plan::{DiskReadError, ReadFrames};
use sluice_storage::scrub_finding::ScrubKind;
use sluice_storage::testing::executor::Runner;
use sluice_storage::testing::fault_disk::FaultDisk;
use sluice_storage::testing::random::Random;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

pub type SimPartitions = Partitions<FaultDisk, SimClock>;

/// Turns without rest after which a shard is said never to come to rest.
const RESTLESS_TURNS: u64 = 400_000;
/// From this one on they take no time.
const TIMELESS_FROM_TURN: u64 = 300_000;

/// An answer that somebody waits for.
#[derive(Clone, Copy, Debug)]
pub enum Awaited {
    Produce { key: StreamKey, batch: BatchId, base: Option<u64>, acks: Acks },
    Delete { id: TopicPartition, offset: u64 },
}

/// Somebody to be told when the high watermark passes this, or when the log is cut.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    pub id: TopicPartition,
    pub high_watermark: u64,
    /// Truncations before.
    pub cuts: usize,
}

/// What a task of the simulator has come to.
pub enum Done {
    Failed(ShardIndex, Failure),
    Read(Read, Result<ReadFrames, DiskReadError>),
    Created(Vec<TopicPartition>, Result<(), OpenError>),
    Removed(TopicId, Result<(), OpenError>),
    Closed(ShardIndex, Result<(), Failure>),
    Truncated(ShardIndex, TopicPartition, Result<Offset, TruncateError>),
}

pub struct World {
    pub plan: Plan,
    pub random: Random,
    pub disk: FaultDisk,
    pub clock: SimClock,
    pub runner: Runner,
    pub shards: BTreeMap<ShardIndex, ShardLife>,
    pub control: Control,
    pub oracle: Oracle,
    pub clients: Clients,
    pub faults: Faults,
    pub trace: Trace,
    pub coverage: Coverage,
    pub awaited: BTreeMap<u64, Awaited>,
    pub watches: BTreeMap<u64, Watch>,
    pub next_token: u64,
    pub done: Rc<RefCell<Vec<Done>>>,
    /// Shards whose clean stop is complete.
    pub closed: Vec<ShardIndex>,
    /// Deletions under way: how many shards have not finished yet.
    pub removing: BTreeMap<TopicId, usize>,
    /// Why a shard cannot go on: the process has to end.
    pub failed: Option<String>,
    /// Calls of the disk that were printed, when they are to be.
    calls_printed: Option<usize>,
}

impl World {
    #[must_use]
    pub fn new(seed: u64, settings: Settings) -> Self {
        let plan = Plan::new(seed, settings.mask, settings.steps_max);
        let mut trace = Trace::new(settings.is_printed);
        trace.note(format_args!("{plan:?}"));
        Self {
            random: Random::new(seed),
            disk: FaultDisk::new(seed ^ 0xd15c),
            clock: SimClock::default(),
            runner: Runner::new(seed),
            shards: BTreeMap::new(),
            control: Control::new(&plan),
            oracle: Oracle::default(),
            clients: Clients::default(),
            faults: Faults::default(),
            trace,
            coverage: Coverage::default(),
            awaited: BTreeMap::new(),
            watches: BTreeMap::new(),
            next_token: 1,
            done: Rc::default(),
            closed: Vec::new(),
            removing: BTreeMap::new(),
            failed: None,
            calls_printed: settings.prints_calls.then_some(0),
            plan,
        }
    }

    pub fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token - 1
    }

    /// The shard that serves a partition now.
    #[must_use]
    pub fn partitions_of(&self, id: TopicPartition) -> Option<SimPartitions> {
        let shard = self.control.shard_of(id)?;
        Some(self.shards.get(&shard)?.partitions.clone())
    }

    /// Runs a task whose outcome [`Self::turn`] takes up.
    pub fn spawn(&mut self, task: impl Future<Output = Done> + 'static) {
        let done = Rc::clone(&self.done);
        self.runner.spawn(async move {
            let outcome = task.await;
            done.borrow_mut().push(outcome);
        });
    }

    /// One turn of one task; `false` when all of them wait, or when the process has to end: the machine lets nothing
    /// run after that.
    pub fn turn(&mut self) -> Result<bool, Violation> {
        self.turn_of(self.plan.turn_us)
    }

    fn turn_of(&mut self, us: u64) -> Result<bool, Violation> {
        if self.failed.is_some() {
            return Ok(false);
        }
        let ran = self.runner.poll_one();
        if ran {
            self.pass_us(us);
        }
        self.take_up()?;
        Ok(ran)
    }

    pub fn turns(&mut self, count: u64) -> Result<(), Violation> {
        for _ in 0..count {
            if !self.turn()? {
                break;
            }
        }
        Ok(())
    }

    /// Runs until everybody waits for something that only time can bring. What is tried again every so often, on a device on
    /// which it takes longer than that, comes to rest in a time that stands.
    pub fn rest(&mut self) -> Result<(), Violation> {
        let mut turns = 0;
        while self.turn_of(if turns < TIMELESS_FROM_TURN { self.plan.turn_us } else { 0 })? {
            turns += 1;
            demand!(turns < RESTLESS_TURNS * self.faults.patience(), "the shards do not come to rest: {:?}", self.statuses());
        }
        Ok(())
    }

    /// Lets time pass, all tasks at rest in the end.
    pub fn advance_ms(&mut self, ms: u64) -> Result<(), Violation> {
        let until = self.clock.true_us() + ms * 1000;
        loop {
            self.rest()?;
            let left = until.saturating_sub(self.clock.true_us());
            if left == 0 || self.failed.is_some() {
                return Ok(());
            }
            let mono_us = self.clock.now().mono_us;
            let tick = self.shards.values().map(|shard| shard.next_tick_us.saturating_sub(mono_us)).min();
            self.pass_us(tick.unwrap_or(left).clamp(1, left));
        }
    }

    fn pass_us(&mut self, us: u64) {
        self.clock.advance_us(us);
        let now = self.clock.now();
        for shard in self.shards.values_mut() {
            if now.mono_us >= shard.next_tick_us {
                shard.next_tick_us = now.mono_us + shard.partitions.on_tick(now);
                self.coverage.hit_if(shard.partitions.take_clock_jump().is_some(), "clock: jump seen");
            }
        }
    }

    /// What was done to the disk since this was last asked; another disk begins anew.
    pub(crate) fn print_calls(&mut self) {
        let Some(printed) = self.calls_printed else { return };
        let count = self.disk.call_count();
        for at in if printed <= count { printed..count } else { 0..count } {
            println!("    {at}: {}", self.disk.describe_call(at));
        }
        self.calls_printed = Some(count);
    }

    pub(crate) fn take_up(&mut self) -> Result<(), Violation> {
        self.print_calls();
        self.follow_truncations()?;
        let mut completions = Vec::new();
        let mut watched = Vec::new();
        for shard in self.shards.values() {
            shard.partitions.take_completed(&mut completions);
            shard.partitions.take_watched(&mut watched);
        }
        for completion in completions {
            self.on_completion(completion)?;
        }
        for token in watched {
            self.on_watched(token)?;
        }
        let done = std::mem::take(&mut *self.done.borrow_mut());
        // A truncation may remove the file that shows what went astray.
        if self.oracle.is_cutting() || done.iter().any(|done| matches!(done, Done::Read(..) | Done::Truncated(..))) {
            self.look_for_astray();
        }
        for outcome in done {
            self.on_done(outcome)?;
        }
        Ok(())
    }

    fn on_completion(&mut self, completion: Completion) -> Result<(), Violation> {
        let Completion { token, outcome } = completion;
        self.trace.note(format_args!("  answer {token}: {outcome:?}"));
        let Some(awaited) = self.awaited.remove(&token) else {
            return Err(Violation(format!("answer {token} is given twice, or to nobody: {outcome:?}")));
        };
        match (awaited, outcome) {
            (Awaited::Produce { key, batch, base, acks }, Completed::Produced { base_offset, durability, .. }) => {
                let wanted = if acks == Acks::All { Durability::Committed } else { Durability::FlushedOnLeader };
                demand!(durability == wanted, "token {token}: {acks:?} was answered with {durability:?}");
                self.clients.on_resolved(key, batch);
                self.on_produced(key.1, batch, base, base_offset)
            }
            (Awaited::Produce { key, batch, base, .. }, Completed::Truncated) => {
                self.coverage.hit("truncate: answers unknown");
                self.clients.on_unknown(key);
                let record_count = u64::from(self.oracle.batches.get(batch).record_count);
                let Some(partition) = self.oracle.partitions.get(&key.1) else { return Ok(()) };
                let is_cut = partition.cuts.last().is_some_and(|cut| base.is_none_or(|base| base + record_count > *cut));
                demand!(is_cut, "{}: batch {} at {base:?} is said to be cut off, and is not", key.1, batch.0);
                Ok(())
            }
            (Awaited::Delete { id, offset }, Completed::RecordsDeleted { log_start_offset }) => {
                self.coverage.hit("delete: answered");
                let Some(partition) = self.oracle.partitions.get_mut(&id) else { return Ok(()) };
                demand!(log_start_offset.0 >= offset, "{id}: {offset} was to be deleted, the answer says {log_start_offset}");
                partition.log_start_min = partition.log_start_min.max(log_start_offset.0);
                partition.forget_deleted();
                Ok(())
            }
            (Awaited::Produce { key: (_, id), .. } | Awaited::Delete { id, .. }, Completed::PartitionRemoved) => {
                self.coverage.hit("topic: removed while answers were awaited");
                demand!(!self.oracle.partitions.contains_key(&id), "{id} is said to be removed, and nobody removed it");
                Ok(())
            }
            (awaited, outcome) => Err(Violation(format!("token {token}: {awaited:?} was answered with {outcome:?}"))),
        }
    }

    fn on_produced(
        &mut self,
        id: TopicPartition,
        batch: BatchId,
        base: Option<u64>,
        answered: Option<Offset>,
    ) -> Result<(), Violation> {
        self.coverage.hit("produce: answered");
        let record_count = self.oracle.batches.get(batch).record_count;
        let Some(partition) = self.oracle.partitions.get_mut(&id) else { return Ok(()) };
        if (partition.has_lost || !partition.cuts.is_empty()) && base.is_none() {
            return Ok(());
        }
        // After a cut, a producer's batches below the log start may be forgotten: it is a duplicate, and nobody says of what.
        let is_below_start = base.is_some_and(|base| base < partition.log_start_max);
        // So is one in a frame that is damaged: a later one of its producer says that it was there, and not where.
        let is_rotten = base.and_then(|base| partition.frames.get(&base)).is_some_and(|held| held.is_rotten);
        let is_forgotten = base.is_some_and(|base| base < partition.producers_known_from);
        let may_be_forgotten = is_rotten || is_forgotten || !partition.cuts.is_empty() && (is_below_start || partition.has_lost);
        if answered.is_none() && may_be_forgotten {
            return Ok(());
        }
        demand!(answered.map(|offset| offset.0) == base, "{id}: batch {} is at {base:?}, the answer says {answered:?}", batch.0);
        let Some(base) = base else { return Ok(()) };
        // A duplicate may lie below the log start, where nothing can be asked of it.
        if base >= partition.log_start_max {
            demand!(partition.frames.get(&base).is_some_and(|held| held.batch == batch), "{id}: another batch is at {base}");
        }
        partition.promise(base + u64::from(record_count))
    }

    fn on_watched(&mut self, token: u64) -> Result<(), Violation> {
        let Some(Watch { id, high_watermark, cuts }) = self.watches.remove(&token) else {
            return Err(Violation(format!("watch {token} comes true twice, or is nobody's")));
        };
        self.trace.note(format_args!("  watch {token} of {id} came true"));
        self.coverage.hit("watch: came true");
        let status = self.partitions_of(id).and_then(|partitions| partitions.status(id));
        let is_cut = self.oracle.partitions.get(&id).is_none_or(|partition| partition.cuts.len() > cuts);
        let moved = is_cut || status.is_none_or(|status| status.high_watermark.0 > high_watermark);
        demand!(moved, "{id}: a watch came true at {high_watermark}, which has not moved");
        Ok(())
    }

    /// Every partition is as the model has it.
    pub fn check_statuses(&mut self) -> Result<(), Violation> {
        self.look_for_astray();
        let (now_us, is_honest) = (self.clock.true_us(), !self.faults.wall_jumped);
        let device_failed = self.faults.have_reads_failed(&self.disk);
        let ring_len = self.control.ring.file_len * u64::from(self.control.ring.file_count);
        for shard in self.shards.values_mut() {
            for id in shard.partitions.ids() {
                let (Some(status), Some(model)) = (shard.partitions.status(id), self.oracle.partitions.get_mut(&id)) else {
                    continue;
                };
                self.coverage.hit_if(status.segment_count > 1, "segments: rolled");
                model.on_status(&status, now_us, is_honest, device_failed, &mut self.coverage)?;
            }
            for report in shard.partitions.take_scrub_news() {
                self.coverage.hit("scrub: damage found");
                // A read that the device failed costs nothing, and says so.
                let is_failed_read = report.finding.kind == ScrubKind::Unreadable && report.finding.lost.is_none();
                demand!(
                    self.plan.has(Operation::Rot)
                        || self.disk.scar_count() > 0
                        || is_failed_read && self.faults.device_errors > 0,
                    "the scrubber finds damage, and nothing rotted: {report:?}"
                );
            }
            let status = shard.partitions.shard_status();
            self.coverage.hit_if(status.disk_full && !shard.was_full, "disk full: begun");
            self.coverage.hit_if(!status.disk_full && shard.was_full, "disk full: over");
            self.coverage.hit_if(shard.taken_len > ring_len, "ring: wrapped");
            shard.was_full = status.disk_full;
            let within = status.journal_distance <= status.journal_capacity;
            demand!(within, "shard {}: the ring is overrun: {status:?}", shard.index);
        }
        Ok(())
    }

    /// At rest, whoever can be answered has been.
    pub fn check_answered(&self) -> Result<(), Violation> {
        for (token, awaited) in &self.awaited {
            let id = match awaited {
                Awaited::Produce { key, .. } => key.1,
                Awaited::Delete { id, .. } => *id,
            };
            let frozen = self.oracle.partitions.get(&id).is_some_and(|model| model.settings.min_insync_replicas > 1);
            demand!(frozen, "{id}: token {token} is never answered: {awaited:?}");
        }
        for (token, Watch { id, high_watermark, .. }) in &self.watches {
            // A removal waits for its turn while a shard closes, and the partition is there until then.
            let status = self.shards.values().find_map(|shard| shard.partitions.status(*id));
            let asleep = status.as_ref().is_some_and(|status| status.high_watermark.0 <= *high_watermark);
            demand!(asleep, "{id}: watch {token} sleeps at {high_watermark}: {status:?}");
        }
        Ok(())
    }

    /// At rest, no truncation is under way, and no removal.
    pub fn check_truncated(&self) -> Result<(), Violation> {
        demand!(self.removing.is_empty(), "the removal of {:?} never ends: {:?}", self.removing, self.statuses());
        for (id, partition) in &self.oracle.partitions {
            demand!(partition.truncation.is_none(), "{id}: a truncation never ends: {:?}", self.statuses());
        }
        Ok(())
    }

    #[must_use]
    pub fn statuses(&self) -> Vec<String> {
        self.shards.values().map(|shard| format!("{:?}", shard.partitions.shard_status())).collect()
    }
}
