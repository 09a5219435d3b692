//! The life of all shards of one broker: prepared and opened together, run, stopped, killed, or cut off from power.
//!
//! A start may itself be cut off anywhere, and is then begun again. The expensive mistake is a start that is allowed to
//! fail for a reason that was not brought about: an error is a violation unless a fault of its kind was armed.

use crate::control::Control;
use crate::coverage::Coverage;
use crate::demand;
use crate::oracle::Violation;
use crate::oracle::recovered::Recovered;
use crate::plan::{Operation, pick};
use crate::world::{Done, SimPartitions, World};
use sluice_model::{Clock, Incarnation, ShardIndex, TopicPartition};
use sluice_partition::pace::Unpaced;
use sluice_partition::{OpenError, OpenShard, Partitions, Prepare, Prepared, prepare};
use sluice_storage::recovery::RecoveryError;
use sluice_storage::recovery_report::{LostGroups, RecoveryReport};
use sluice_storage::testing::executor::Runner;
use sluice_storage::testing::fault_disk::{PowerCut, Unflushed};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub struct ShardLife {
    pub index: ShardIndex,
    pub partitions: SimPartitions,
    pub next_tick_us: u64,
    /// Bytes of frames that it took in this life.
    pub taken_len: u64,
    pub was_full: bool,
}

/// Turns after which a start that is not done is said to hang, on a device that is not slow.
const START_TURNS_MAX: u64 = 400_000;

type Opened = Rc<RefCell<BTreeMap<ShardIndex, Result<(SimPartitions, RecoveryReport), OpenError>>>>;

/// How one attempt to start has ended.
enum Attempt {
    Up(Vec<RecoveryReport>),
    CutOff,
    Failed(OpenError),
}

impl World {
    /// Starts the broker, as often as it takes. `was_clean` after a clean stop of the same data.
    pub fn start(&mut self, was_clean: bool) -> Result<(), Violation> {
        self.faults.on_start_begun(&self.disk);
        self.faults.astray.set_aside_from = self.control.next_incarnation();
        self.note_forgetful_journals();
        if self.faults.device_errors > 0 {
            self.note_freed();
        }
        // Nothing may move in a start that has to rebuild a shard without its spare, or with one that a write may hit meanwhile.
        let may_hit_spare = self.disk.is_astray_armed() && !self.faults.lost_checkpoints.is_empty();
        if self.faults.lost_spares.is_empty() && self.faults.unflushed_spares.is_empty() && !may_hit_spare {
            self.change_shape();
        }
        let mut cuts_left = if self.plan.has(Operation::PowerCut) && self.random.below(3) == 0 { 3 } else { 0 };
        for attempt in 0..20 {
            // What rot has cost is said once: whoever asks has to be there to hear it.
            let may_cut = cuts_left > 0;
            match self.try_start(may_cut)? {
                Attempt::Up(reports) => return self.check_start(was_clean, attempt > 0, reports),
                Attempt::CutOff => {
                    cuts_left -= 1;
                    self.coverage.hit("crash: while a shard opens");
                    self.power_cut()?;
                }
                // A device that fails may withhold once what is left of both slots and the spare.
                Attempt::Failed(error)
                    if is_refused_as_lost(&error) && self.faults.device_errors >= self.faults.withholdings_needed() =>
                {
                    self.coverage.hit("start: device error");
                }
                Attempt::Failed(error) => self.on_start_failed(&error)?,
            }
        }
        Err(Violation("the broker does not start in twenty attempts".to_owned()))
    }

    /// Another number of shards, another ring.
    fn change_shape(&mut self) {
        self.faults.has_moved = false;
        if self.plan.shards_max > 1 && self.random.below(3) == 0 {
            let count = 1 + self.random.below(self.plan.shards_max);
            self.coverage.hit_if(count != self.control.shard_count, "start: another number of shards");
            let moved = self.control.set_shard_count(count);
            self.faults.has_moved = moved > 0;
            self.coverage.hit_if(moved > 0, "start: partitions moved");
            self.trace.note(format_args!("{count} shards from now on, {moved} partitions move"));
        }
        if self.plan.changes_ring && self.random.below(3) == 0 {
            let before = self.control.ring;
            self.control.set_ring(&mut self.random, self.plan.body_len_max as u64 + 200);
            self.coverage.hit_if(self.control.ring != before, "start: another ring");
            self.trace.note(format_args!("the ring is {:?} from now on", self.control.ring));
        }
    }

    fn try_start(&mut self, may_cut: bool) -> Result<Attempt, Violation> {
        self.end_process()?;
        self.note_astray(false);
        self.note_spareless();
        self.clock.restart();
        let (moving, incarnation) = self.control.begin_start();
        let cut_after = [20, 100, 400, 2000][pick(&mut self.random, 4)];
        let mut turns_left = if may_cut && self.random.coin() { Some(self.random.below(cut_after)) } else { None };
        self.trace.note(format_args!("start {} of {} shards", incarnation.number, self.control.shard_count));

        let prepared: Rc<RefCell<Option<Result<Prepared, OpenError>>>> = Rc::default();
        let (disk, plan, slot) = (self.disk.clone(), self.prepare_plan(moving), Rc::clone(&prepared));
        self.runner.spawn(async move {
            let outcome = prepare(&disk, plan).await;
            *slot.borrow_mut() = Some(outcome);
        });
        if !self.run_start(&mut turns_left, || prepared.borrow().is_some())? {
            return Ok(Attempt::CutOff);
        }
        let outcome = prepared.borrow_mut().take().expect("it has ended");
        let mut prepared = match outcome {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Attempt::Failed(error)),
        };
        let opened: Opened = Rc::default();
        let count = self.spawn_opens(incarnation, &mut prepared, &opened);
        if !self.run_start(&mut turns_left, || opened.borrow().len() == count)? {
            return Ok(Attempt::CutOff);
        }
        let mut reports = std::mem::take(&mut prepared.reports);
        let mut shards = Vec::new();
        for (index, outcome) in std::mem::take(&mut *opened.borrow_mut()) {
            match outcome {
                Ok((partitions, report)) => {
                    reports.push(report);
                    shards.push((index, partitions));
                }
                Err(error) => return Ok(Attempt::Failed(error)),
            }
        }
        shards.into_iter().for_each(|(index, partitions)| self.run_loops(index, partitions));
        Ok(Attempt::Up(reports))
    }

    fn prepare_plan(&self, incarnation: Incarnation) -> Prepare {
        let journals: Vec<_> = (0..64).map(|shard| self.control.journal(ShardIndex(shard))).collect();
        Prepare {
            layout: self.control.layout.clone(),
            incarnation,
            journal_of: Box::new(move |shard| journals[usize::from(shard.0)].clone()),
            tail_budget: self.plan.tail_budget,
            assigned: self.control.assignments(),
            deleted: self.control.deleted.clone(),
        }
    }

    /// All shards open at the same time.
    fn spawn_opens(&mut self, incarnation: Incarnation, prepared: &mut Prepared, opened: &Opened) -> usize {
        let count = u16::try_from(self.control.shard_count).expect("few shards");
        for index in (0..count).map(ShardIndex) {
            let assigned = self.control.assignments().into_iter().filter(|(shard, _)| *shard == index);
            let open = OpenShard {
                config: self.control.config(&self.plan, index),
                incarnation,
                assigned: assigned.map(|(_, assignment)| assignment).collect(),
                imports: prepared.imports.remove(&index).unwrap_or_default(),
                owners: prepared.owners.clone(),
                handed_over: prepared.handed_over.remove(&index).unwrap_or_default(),
                deleted: self.control.deleted.clone(),
                pacer: Rc::new(Unpaced),
            };
            let (disk, clock, opened) = (self.disk.clone(), self.clock.clone(), Rc::clone(opened));
            self.runner.spawn(async move {
                let outcome = Partitions::open(disk, clock, open).await;
                opened.borrow_mut().insert(index, outcome);
            });
        }
        usize::from(count)
    }

    /// Gives turns until `is_done`; `false` when the power is to go before that.
    fn run_start(&mut self, turns_left: &mut Option<u64>, is_done: impl Fn() -> bool) -> Result<bool, Violation> {
        for _ in 0..START_TURNS_MAX * self.faults.patience() {
            if is_done() {
                return Ok(true);
            }
            if let Some(left) = turns_left {
                if *left == 0 {
                    return Ok(false);
                }
                *left -= 1;
            }
            demand!(self.runner.poll_one(), "a start waits for something that nothing will bring");
            self.clock.advance_us(self.plan.turn_us);
            self.note_astray_in_rings();
            self.print_calls();
        }
        Err(Violation("a start does not end".to_owned()))
    }

    fn run_loops(&mut self, index: ShardIndex, partitions: SimPartitions) {
        let shard = partitions.clone();
        self.spawn(async move { Done::Failed(index, shard.run_commit().await) });
        let shard = partitions.clone();
        self.spawn(async move { Done::Failed(index, shard.run_write_back().await) });
        let shard = partitions.clone();
        self.spawn(async move { Done::Failed(index, shard.run_scrub().await) });
        let next_tick_us = self.clock.now().mono_us;
        self.shards.insert(index, ShardLife { index, partitions, next_tick_us, taken_len: 0, was_full: false });
    }

    fn on_start_failed(&mut self, error: &OpenError) -> Result<(), Violation> {
        let text = format!("{error:?}");
        self.trace.note(format_args!("the start failed: {text}"));
        if (text.contains("code: 5") || text.contains("os error 5")) && self.faults.device_errors > 0 {
            self.coverage.hit("start: device error");
            if self.random.coin() {
                self.power_cut()?;
            }
            return Ok(());
        }
        if (text.contains("StorageFull") || text.contains("DiskFull")) && self.faults.is_full {
            self.coverage.hit("start: disk full");
            self.set_capacity(None);
            return Ok(());
        }
        Err(Violation(format!("the broker does not start: {error}")))
    }

    /// `was_begun_before` when an earlier attempt may have rebuilt a shard, and its report was not heard.
    fn check_start(&mut self, was_clean: bool, was_begun_before: bool, reports: Vec<RecoveryReport>) -> Result<(), Violation> {
        self.note_astray(true);
        for report in &reports {
            self.trace.note(format_args!("  {report}"));
            note_report(report, &mut self.coverage);
            let is_hit = |sequence: u64| self.faults.rotten_groups.contains(&(report.shard, sequence));
            // A write to a recycled file, torn, over older groups: that they were free already only a slot would say.
            let freed_until = self.faults.freed_until.get(&report.shard).filter(|_| report.rebuilt);
            let is_freed = |sequence: u64| freed_until.is_some_and(|until| sequence < *until);
            let is_lost =
                |lost: &LostGroups| is_freed(lost.last_sequence) || (lost.first_sequence..=lost.last_sequence).any(is_hit);
            let is_explained = report.damaged_groups.iter().all(|sequence| is_freed(*sequence) || is_hit(*sequence))
                && report.lost_groups.iter().all(is_lost);
            demand!(is_explained, "groups are damaged or lost that have not rotted, and recovery says: {report}");
            let is_rotten = self.faults.rotten_journals.contains_key(&report.shard);
            demand!(is_rotten || report.out_of_place == 0, "nothing rotted, and recovery says: {report}");
            // A device that fails may withhold both slots, or the one that was not torn.
            let withheld = self.faults.withheld(&self.disk);
            let may_rebuild = self.faults.may_lack_checkpoints(report.shard) || withheld > 0;
            demand!(!report.rebuilt || may_rebuild, "no slot was touched, and a shard is rebuilt: {report}");
            // One read for the slot that was left, when there was one, and one for the spare.
            let withheld_min = u64::from(!self.faults.may_lack_checkpoints(report.shard));
            let is_spare_lost = self.faults.may_lack_spare(report.shard) || self.faults.astray.spares.contains(&report.shard);
            let may_lack_spare = is_spare_lost || withheld > withheld_min;
            demand!(!report.spare_lost || may_lack_spare, "no spare was touched, and a shard is rebuilt without it: {report}");
            // The last checkpoint, or what was to make it needless, may have gone astray.
            let was_clean = was_clean && !is_rotten && !self.faults.astray.slots.contains(&report.shard);
            demand!(!was_clean || report.entries_replayed == 0, "a clean stop left something to replay: {report}");
        }
        self.bound_hidden();
        for id in self.control.ids().collect::<Vec<_>>() {
            let status = self.partitions_of(id).and_then(|partitions| partitions.status(id));
            let Some(status) = status else { return Err(Violation(format!("{id} is assigned, and not there after a start"))) };
            let homes = [self.faults.homes.get(&id).copied(), self.control.shard_of(id)];
            let is_report = |report: &RecoveryReport| homes.contains(&Some(report.shard));
            let is_rebuilt = reports.iter().any(|report| is_report(report) && report.rebuilt);
            let may_lack = homes.iter().flatten().any(|home| self.faults.may_lack_checkpoints(*home));
            let is_among = |shards: &BTreeSet<ShardIndex>| homes.iter().flatten().any(|home| shards.contains(home));
            let rotten = |home: &ShardIndex| self.faults.rotten_journals.get(home);
            let found = Recovered {
                status,
                damaged: reports.iter().filter_map(|report| report.damaged.get(&id)).next_back().cloned().unwrap_or_default(),
                possibly_short: reports
                    .iter()
                    .filter_map(|report| report.possibly_short.get(&id))
                    .next_back()
                    .map(|offset| offset.0),
                journal_rotten: homes.iter().flatten().any(|home| rotten(home).is_some()),
                slot_lost: reports.iter().any(|report| is_report(report) && report.checkpoint_slots_bad > 0)
                    || is_among(&self.faults.astray.slots),
                checkpoints_lost: is_rebuilt || may_lack,
                in_window: homes.iter().flatten().any(|home| rotten(home) == Some(&true)),
                spare_lost: reports.iter().any(|report| is_report(report) && report.spare_lost)
                    || is_among(&self.faults.lost_spares),
                journal_forgot: is_rebuilt && is_among(&self.faults.forgetful_journals),
                freed_groups_lost: reports.iter().any(|report| is_report(report) && report.rebuilt && lacks_groups(report)),
                journaled: self.faults.journaled.iter().filter(|(of, _)| *of == id).map(|(_, base)| *base).collect(),
                log_start_lost: is_among(&self.faults.spareless),
                was_begun_before,
                // Behind a slot that is withheld another copy counts than the one that was told to have rotted.
                device_failed: self.faults.have_reads_failed(&self.disk)
                    || self.faults.withheld(&self.disk) > 0 && !self.faults.rotten_groups.is_empty(),
            };
            self.oracle.partition_mut(id).on_recovered(&found, &mut self.coverage)?;
        }
        self.faults.on_started(&self.control, &self.disk);
        self.on_astray_told();
        self.clients.cursors.clear();
        self.audit()
    }

    /// Everything in memory is gone; what the disk was told stays told.
    pub fn end_process(&mut self) -> Result<(), Violation> {
        self.disk.end_calls();
        self.forget_process()
    }

    fn forget_process(&mut self) -> Result<(), Violation> {
        self.check_statuses()?;
        self.shards.clear();
        let seed = self.random.next_u64();
        self.runner = Runner::new(seed);
        self.done.borrow_mut().clear();
        self.awaited.clear();
        self.watches.clear();
        self.closed.clear();
        self.removing.clear();
        self.failed = None;
        self.clients.on_process_ended();
        Ok(())
    }

    /// The power goes now, in the middle of whatever is under way.
    pub fn power_cut(&mut self) -> Result<(), Violation> {
        let seed = self.random.next_u64();
        let (unflushed, name) = match self.random.below(4) {
            0 => (Unflushed::Kept, "crash: kept"),
            1 => (Unflushed::Lost, "crash: lost"),
            _ => (Unflushed::Torn(seed), "crash: torn"),
        };
        self.coverage.hit(name);
        self.coverage.hit_if(!self.awaited.is_empty(), "crash: answers were awaited");
        self.trace.note(format_args!("power cut at call {}, {unflushed:?}", self.disk.call_count()));
        self.forget_process()?;
        self.faults.on_disk_lost(&self.disk);
        self.disk = self.disk.crash(PowerCut { call: self.disk.call_count(), unflushed });
        self.set_speed();
        Ok(())
    }

    /// Whose journal each partition's last records are in.
    #[must_use]
    pub fn home_of(control: &Control, id: TopicPartition) -> Option<ShardIndex> {
        control.shard_of(id)
    }
}

/// Nothing that is left of a shard's checkpoints says what it held, and partitions move.
fn is_refused_as_lost(error: &OpenError) -> bool {
    match error {
        OpenError::MovesFromLost { .. } | OpenError::MovedToLost { .. } => true,
        OpenError::Recovery(error) => matches!(**error, RecoveryError::CheckpointsLost { .. }),
        _ => false,
    }
}

fn lacks_groups(report: &RecoveryReport) -> bool {
    !(report.damaged_groups.is_empty() && report.lost_groups.is_empty())
}

fn note_report(report: &RecoveryReport, coverage: &mut Coverage) {
    coverage.hit_if(report.torn_group_cut, "recovery: torn group cut");
    coverage.hit_if(report.rebuilt, "recovery: rebuilt");
    coverage.hit_if(report.ends_marked, "recovery: ends marked");
    coverage.hit(if report.entries_replayed > 0 { "recovery: entries replayed" } else { "recovery: nothing replayed" });
    coverage.hit_if(report.checkpoint_slots_bad > 0, "recovery: a slot was bad");
    coverage.hit_if(!report.damaged_groups.is_empty(), "recovery: damaged group");
    coverage.hit_if(!report.lost_groups.is_empty(), "recovery: lost group");
    coverage.hit_if(!report.set_aside.is_empty(), "recovery: files set aside");
}
