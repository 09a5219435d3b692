//! A shard's storage with everything under way at once: appends, journal, write-back, flush and checkpoint as tasks
//! of one runner, with the model of what they acknowledged.
//!
//! The tasks do what the partition package does, in its order; the seed decides who comes next, so at a power cut any
//! of their calls are under way together. The first error ends the life, as it ends the process. Deliberately absent:
//! restarts, and judging what is found after one.

use crate::checkpoint::ShardCheckpoint;
use crate::checkpoint_slots::Checkpoints;
use crate::commit_group::JournalEntry;
use crate::disk::Disk;
use crate::journal::Journal;
use crate::log::Log;
use crate::testing::executor::{Runner, yield_times};
use crate::testing::fault_disk::FaultDisk;
use crate::testing::frames::{FrameSource, test_partition};
use crate::testing::random::Random;
use crate::testing::shard_model::ShardModel;
use crate::testing::test_shard::{TEST_SHARD, TestShard};
use crate::write_back::WriteBackKind;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{Incarnation, LeaderEpoch, Offset, TopicPartition};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

/// Rounds without an append after which a life is over, whatever still waits.
const IDLE_ROUNDS_MAX: u32 = 3000;

/// What a life consists of.
#[derive(Clone, Copy, Debug)]
pub struct BusyLife {
    pub seed: u64,
    pub appends: u32,
    pub partitions: u32,
    /// Bodies are shorter than this.
    pub body_len: u64,
    /// One append in this many is followed by a log start that moves; never with 0.
    pub log_start_every: u64,
    /// Bytes on the device for the first half of the appends; afterwards there is room.
    pub capacity_at_first: Option<u64>,
}

impl BusyLife {
    /// Makes the partitions of the life that are not there yet, durably.
    pub fn create_partitions(&self, shard: &mut TestShard) {
        for partition in 0..self.partitions {
            shard.log(test_partition(partition));
        }
    }
}

/// How a life ended.
pub struct LifeEnd {
    pub model: ShardModel,
    /// What ended the process; `None` when all was done.
    pub error: Option<io::Error>,
    /// Calls that found the device full.
    pub found_full: u32,
}

struct Busy {
    disk: FaultDisk,
    life: BusyLife,
    journal: Journal<FaultDisk>,
    incarnation: Incarnation,
    logs: RefCell<BTreeMap<TopicPartition, Log<FaultDisk>>>,
    model: RefCell<ShardModel>,
    /// Log starts asked for and not yet durable: whose, where to, in which group, at which call.
    log_starts: RefCell<VecDeque<(TopicPartition, Offset, u64, usize)>>,
    appended_all: Cell<bool>,
    committed_all: Cell<bool>,
    error: RefCell<Option<io::Error>>,
    found_full: Cell<u32>,
}

/// Lives one life of a shard that was started, with the partitions it is about ([`BusyLife::create_partitions`]) and
/// the model so far. Its disk has the calls afterwards.
#[must_use]
pub fn live(shard: TestShard, model: ShardModel, life: BusyLife) -> LifeEnd {
    let TestShard { disk, shard, incarnation, .. } = shard;
    if let Some(len) = life.capacity_at_first {
        disk.set_capacity(len);
    }
    let logs = shard.partitions.into_iter().map(|(id, partition)| (id, partition.log)).collect();
    let busy = Rc::new(Busy {
        disk,
        life,
        journal: shard.journal,
        incarnation,
        logs: RefCell::new(logs),
        model: RefCell::new(model),
        log_starts: RefCell::default(),
        appended_all: Cell::new(false),
        committed_all: Cell::new(false),
        error: RefCell::default(),
        found_full: Cell::new(0),
    });
    let mut runner = Runner::new(life.seed);
    runner.spawn(busy.clone().append_loop());
    runner.spawn(busy.clone().ending(Busy::commit_loop));
    runner.spawn(busy.clone().ending(Busy::write_back_loop));
    runner.spawn(busy.clone().ending(Busy::flush_loop));
    let checkpoints = shard.checkpoints;
    runner.spawn(busy.clone().ending(move |busy| async move { busy.checkpoint_loop(checkpoints).await }));
    assert_eq!(runner.run_until_stalled(), 0, "{life:?}: a task of the life waits for ever");
    let (model, error) = (busy.model.take(), busy.error.take());
    LifeEnd { model, error, found_full: busy.found_full.get() }
}

impl Busy {
    /// Runs a task; its error ends the life.
    async fn ending<F: Future<Output = io::Result<()>>>(self: Rc<Self>, task: impl FnOnce(Rc<Self>) -> F) {
        if let Err(error) = task(self.clone()).await {
            self.error.borrow_mut().get_or_insert(error);
        }
    }

    fn has_ended(&self) -> bool {
        self.error.borrow().is_some()
    }

    fn is_over(&self) -> bool {
        self.committed_all.get() || self.has_ended()
    }

    fn is_tight(&self) -> bool {
        self.journal.distance() > self.journal.capacity() / 2
    }

    async fn append_loop(self: Rc<Self>) {
        let mut random = Random::new(self.life.seed ^ 1);
        let (mut appended, mut idle) = (0, 0);
        while appended < self.life.appends && idle < IDLE_ROUNDS_MAX && !self.has_ended() {
            if appended == self.life.appends / 2 && self.life.capacity_at_first.is_some() {
                self.disk.set_capacity(u64::MAX);
            }
            let waiting = self.journal.distance() + self.journal.queued_len() + 2 * self.life.body_len;
            if waiting < self.journal.capacity() / 4 * 3 {
                self.append(&mut random);
                (appended, idle) = (appended + 1, 0);
            } else if idle == IDLE_ROUNDS_MAX / 2 {
                self.disk.set_capacity(u64::MAX);
            }
            idle += 1;
            yield_times(random.below(6)).await;
        }
        self.appended_all.set(true);
    }

    fn append(&self, random: &mut Random) {
        let id = test_partition(u32::try_from(random.below(u64::from(self.life.partitions))).expect("below a u32"));
        let mut logs = self.logs.borrow_mut();
        let log = logs.get_mut(&id).expect("created before the life began");
        let mut source = FrameSource::new(id, random.next_u64());
        (source.next_offset, source.prev_header_crc) = (log.log_end_offset(), log.last_header_crc());
        source.leader_epoch = LeaderEpoch(u32::try_from(self.incarnation.number).expect("a small number"));
        let records = 1 + u32::try_from(random.below(3)).expect("below a u32");
        let frame = source.next(records, usize::try_from(random.below(self.life.body_len)).expect("below a usize"));
        let address = self.journal.append(JournalEntry::Frame { header: &frame.header, body: &frame.body });
        log.append(&frame.header, &frame.body, address);
        let mut model = self.model.borrow_mut();
        model.on_append_to(address.sequence, &frame);
        if self.life.log_start_every == 0 || random.below(self.life.log_start_every) > 0 {
            return;
        }
        let offset = Offset(model.acknowledged_end(id).0 / 4 * 3);
        let later = self.log_starts.borrow().iter().any(|&(of, asked, ..)| of == id && asked >= offset);
        if offset > log.log_start_offset() && !later {
            let calls = self.disk.call_count();
            let address = self.journal.append(JournalEntry::LogStart { id, offset });
            model.on_log_start(id, offset, calls, usize::MAX);
            self.log_starts.borrow_mut().push_back((id, offset, address.sequence, calls));
        }
    }

    async fn commit_loop(self: Rc<Self>) -> io::Result<()> {
        while !self.has_ended() {
            if self.journal.queued_len() > 0 {
                let group = self.journal.commit_next().await?;
                self.on_durable(group.sequence);
            } else if self.appended_all.get() {
                break;
            } else {
                yield_times(1).await;
            }
        }
        if self.journal.request_idle_marker() && !self.has_ended() {
            self.journal.commit_next().await?;
        }
        self.committed_all.set(true);
        Ok(())
    }

    fn on_durable(&self, sequence: u64) {
        let calls = self.disk.call_count();
        self.model.borrow_mut().on_group(sequence, calls);
        let mut log_starts = self.log_starts.borrow_mut();
        while let Some((id, offset, _, before)) = log_starts.pop_front_if(|&mut (_, _, group, _)| group <= sequence) {
            self.model.borrow_mut().on_log_start(id, offset, before, calls);
            if let Some(log) = self.logs.borrow_mut().get_mut(&id) {
                log.set_log_start(offset);
            }
        }
    }

    async fn write_back_loop(self: Rc<Self>) -> io::Result<()> {
        let mut random = Random::new(self.life.seed ^ 2);
        let ids: Vec<TopicPartition> = self.logs.borrow().keys().copied().collect();
        while !self.is_over() {
            let everything = self.is_tight() || random.below(8) == 0;
            let kind = if everything { WriteBackKind::Everything } else { WriteBackKind::WholeBlocks { at_least: BLOCK_LEN } };
            for id in &ids {
                let plan = self.logs.borrow_mut().get_mut(id).and_then(|log| log.plan_write_back(kind));
                let Some(plan) = plan else { continue };
                match plan.run().await {
                    Ok(written) => self.logs.borrow_mut().get_mut(id).expect("a log of the life").on_written_back(written),
                    Err(error) if error.is_storage_full() => self.found_full.set(self.found_full.get() + 1),
                    Err(error) => return Err(io::Error::other(error.to_string())),
                }
            }
            yield_times(1 + random.below(12)).await;
        }
        Ok(())
    }

    async fn flush_loop(self: Rc<Self>) -> io::Result<()> {
        let mut random = Random::new(self.life.seed ^ 3);
        let ids: Vec<TopicPartition> = self.logs.borrow().keys().copied().collect();
        while !self.is_over() {
            for id in &ids {
                let plan = self.logs.borrow_mut().get_mut(id).and_then(Log::plan_flush);
                if let Some(plan) = plan {
                    let flushed = plan.run().await?;
                    self.logs.borrow_mut().get_mut(id).expect("a log of the life").on_flushed(flushed);
                }
            }
            yield_times(1 + random.below(20)).await;
        }
        Ok(())
    }

    async fn checkpoint_loop(self: Rc<Self>, mut checkpoints: Checkpoints<FaultDisk>) -> io::Result<()> {
        let mut random = Random::new(self.life.seed ^ 4);
        let mut removals: Vec<(Vec<PathBuf>, u32)> = Vec::new();
        while !self.is_over() {
            let (checkpoint, removed) = self.plan_checkpoint();
            removals.push((removed, 0));
            match checkpoints.write(&checkpoint).await {
                Ok(_) => {
                    self.journal.release(checkpoints.needed_from_sequence());
                    removals.iter_mut().for_each(|(_, written)| *written += 1);
                }
                Err(error) if error.kind() == io::ErrorKind::StorageFull => self.found_full.set(self.found_full.get() + 1),
                Err(error) => return Err(error),
            }
            let removed: Vec<PathBuf> =
                removals.extract_if(.., |(_, written)| *written >= 2).flat_map(|(paths, _)| paths).collect();
            // An owner writes it before files go, and where there is no room for it they go all the same.
            if !removed.is_empty()
                && let Err(error) = checkpoints.write_spare(&checkpoint).await
                && error.kind() != io::ErrorKind::StorageFull
            {
                return Err(error);
            }
            for path in removed {
                self.disk.remove_file(&path).await?;
            }
            let turns = if self.is_tight() { 4 } else { 40 };
            yield_times(1 + random.below(turns)).await;
        }
        Ok(())
    }

    /// What a checkpoint says now, and the files that no log names from this one on.
    fn plan_checkpoint(&self) -> (ShardCheckpoint, Vec<PathBuf>) {
        let mut logs = self.logs.borrow_mut();
        let by_logs = logs.values().filter_map(Log::oldest_needed_address).map(|address| address.sequence).min();
        let by_log_starts = self.log_starts.borrow().front().map(|&(_, _, group, _)| group);
        let after_durable = self.journal.durable_sequence() + 1;
        let journal_sequence = by_logs.into_iter().chain(by_log_starts).fold(after_durable, u64::min);
        let removed = logs.values_mut().flat_map(Log::plan_remove_segments).collect();
        let partitions = logs.values().map(|log| log.checkpoint(Offset::ZERO)).collect();
        (ShardCheckpoint { shard: TEST_SHARD, incarnation: self.incarnation, journal_sequence, partitions }, removed)
    }
}
