//! The broker ends, in every way it can, and starts again.

use crate::demand;
use crate::oracle::Violation;
use crate::plan::{Operation, pick};
use crate::world::{Done, World};
use sluice_model::ShardIndex;
use sluice_storage::accepted_loss::{PartitionLoss, find_loss};
use sluice_storage::testing::executor::block_on;

/// Turns that a clean stop may take, on a device that is not slow.
const STOP_TURNS_MAX: u64 = 400_000;

impl World {
    /// `systemctl restart`: sometimes the power goes meanwhile.
    pub(super) fn clean_stop(&mut self) -> Result<(), Violation> {
        if self.stop_cleanly()? { self.start(!self.faults.is_full) } else { self.start(false) }
    }

    /// Gives back whether the stop was completed.
    pub fn stop_cleanly(&mut self) -> Result<bool, Violation> {
        for (index, shard) in &self.shards {
            let (index, partitions) = (*index, shard.partitions.clone());
            let done = std::rc::Rc::clone(&self.done);
            self.runner.spawn(async move {
                let outcome = partitions.close().await;
                done.borrow_mut().push(Done::Closed(index, outcome));
            });
        }
        let cut = self.plan.has(Operation::PowerCut) && self.random.below(3) == 0;
        let bound = [10, 100, 1000][pick(&mut self.random, 3)];
        let mut turns_left = if cut { self.random.below(bound) } else { u64::MAX };
        self.turns(3)?;
        self.step_while_closing()?;
        for _ in 0..STOP_TURNS_MAX * self.faults.patience() {
            if self.failed.is_none() && self.closed.len() == self.shards.len() {
                self.check_answered()?;
                self.end_process()?;
                return Ok(true);
            }
            if let Some(reason) = self.failed.take() {
                self.trace.note(format_args!("the stop failed: {reason}"));
                self.end_by_chance()?;
                return Ok(false);
            }
            if turns_left == 0 {
                self.coverage.hit("crash: while a shard closes");
                self.power_cut()?;
                return Ok(false);
            }
            turns_left -= 1;
            if !self.turn()? {
                self.advance_ms(10)?;
            }
        }
        Err(Violation(format!("a clean stop does not end: {:?}", self.statuses())))
    }

    /// A client that has not heard of the stop yet.
    fn step_while_closing(&mut self) -> Result<(), Violation> {
        if self.random.coin() { self.produce() } else { Ok(()) }
    }

    /// `kill -9`: what was written and not flushed is still to be read, and what is on its way to the device arrives.
    pub(super) fn kill(&mut self) -> Result<(), Violation> {
        if self.random.coin() {
            self.rest()?;
        }
        self.end_process()?;
        self.start(false)
    }

    /// Now and then the newest checkpoints go with the power: the older ones and the journal suffice, whenever that is.
    pub(super) fn cut_power_and_start(&mut self) -> Result<(), Violation> {
        self.power_cut()?;
        if self.random.coin() {
            self.lose_newest_slots();
        }
        self.start(false)
    }

    /// Bits change while the broker is down.
    pub(super) fn rot_and_start(&mut self) -> Result<(), Violation> {
        let is_marked = if self.random.coin() {
            // Where turns are long, a busy shard comes to rest after that time; the marker comes later.
            self.advance_ms(200)?;
            self.advance_ms(200)?;
            self.failed.is_none()
        } else {
            false
        };
        if self.random.coin() {
            self.power_cut()?;
        } else {
            self.rest()?;
            self.end_process()?;
        }
        self.rot(is_marked);
        self.start(false)
    }

    /// The broker ends, somehow, and no checkpoint of some shard is left.
    pub(super) fn lose_checkpoints_and_start(&mut self) -> Result<(), Violation> {
        match self.random.below(3) {
            0 => {
                self.stop_cleanly()?;
            }
            1 => self.power_cut()?,
            _ => {
                self.rest()?;
                self.end_process()?;
            }
        }
        self.lose_checkpoints();
        self.start(false)
    }

    /// The operator gives up, shard by shard, what the stopped broker says is lost.
    pub(super) fn accept_loss_and_start(&mut self) -> Result<(), Violation> {
        self.rest()?;
        self.end_process()?;
        let count = u16::try_from(self.control.shard_count).expect("few shards");
        for shard in (0..count).map(ShardIndex) {
            let found = block_on(find_loss(&self.disk, &self.control.layout, shard));
            let loss = match found {
                Ok(Some(loss)) if loss.journal.is_none() && !loss.is_empty() => loss,
                Ok(_) => continue,
                Err(error) => {
                    demand!(self.faults.device_errors > 0, "shard {shard}: what is lost cannot be found: {error}");
                    continue;
                }
            };
            let lost = loss.partitions.clone();
            self.trace.note(format_args!("the operator accepts {lost:?}"));
            match block_on(loss.accept(&self.disk, &self.control.layout)) {
                Ok(()) => self.on_loss_accepted(shard, &lost),
                Err(error) => {
                    let may_fail = self.faults.device_errors > 0 || self.faults.is_full;
                    demand!(may_fail, "shard {shard}: a loss cannot be accepted: {error}");
                    // One of its slots may say so already.
                    for loss in &lost {
                        if let Some(model) = self.oracle.partitions.get_mut(&loss.id) {
                            model.on_maybe_accepted(&loss.damaged);
                        }
                    }
                }
            }
        }
        self.start(false)
    }

    /// What a shard kept of partitions that have left it counts for nobody.
    fn on_loss_accepted(&mut self, shard: ShardIndex, lost: &[PartitionLoss]) {
        for loss in lost.iter().filter(|loss| self.faults.homes.get(&loss.id) == Some(&shard)) {
            if let Some(model) = self.oracle.partitions.get_mut(&loss.id) {
                self.coverage.hit_if(!loss.damaged.is_empty(), "accept-loss: a damaged range");
                self.coverage.hit_if(loss.possibly_short.is_some(), "accept-loss: a doubt");
                model.on_accepted(&loss.damaged);
            }
        }
    }

    /// A shard cannot go on: the process ends, and sometimes the device with it.
    pub(super) fn end_failed_process(&mut self) -> Result<(), Violation> {
        self.end_by_chance()?;
        self.start(false)
    }

    fn end_by_chance(&mut self) -> Result<(), Violation> {
        if self.random.coin() { self.power_cut() } else { self.end_process() }
    }

    /// All faults stop. What was refused for them is taken again, everything is answered, served, and found again.
    pub fn heal(&mut self) -> Result<(), Violation> {
        self.trace.note(format_args!("all faults stop"));
        self.power_cut()?;
        self.set_capacity(None);
        self.faults.is_slow = false;
        (self.faults.journal_turns_max, self.faults.turns_max) = (0, 0);
        self.disk.clear_faults();
        self.set_speed();
        self.start(false)?;
        self.advance_ms(5_000)?;
        self.check_healthy()?;
        for id in self.control.ids().collect::<Vec<_>>() {
            self.settle_partition(id)?;
        }
        self.advance_ms(5_000)?;
        self.check_healthy()?;
        self.audit()?;
        let closed = self.stop_to_the_end()?;
        demand!(closed, "a clean stop fails on a device that does not");
        self.start(true)?;
        self.audit()
    }

    fn stop_to_the_end(&mut self) -> Result<bool, Violation> {
        let weights = std::mem::take(&mut self.plan.weights);
        let closed = self.stop_cleanly();
        self.plan.weights = weights.into_iter().filter(|(operation, _)| *operation != Operation::PowerCut).collect();
        closed
    }

    fn check_healthy(&self) -> Result<(), Violation> {
        demand!(self.failed.is_none(), "a shard fails on a device that does not: {:?}", self.failed);
        self.check_answered()?;
        self.check_truncated()?;
        for shard in self.shards.values() {
            let status = shard.partitions.shard_status();
            demand!(!status.disk_full && status.journal_queued_len == 0, "shard {} does not heal: {status:?}", shard.index);
        }
        Ok(())
    }
}
