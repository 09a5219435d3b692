//! From memory to a checkpoint: which segments have to be flushed, and which part of the journal is then free.

use crate::clock_floor::ClockFloor;
use crate::partitions::{PartitionCell, Partitions};
use crate::refusal::Failure;
use crate::space_reserve::SpaceReserve;
use sluice_model::{Clock, Incarnation};
use sluice_storage::checkpoint::{PartitionCheckpoint, ShardCheckpoint};
use sluice_storage::checkpoint_slots::Checkpoints;
use sluice_storage::disk::Disk;
use std::io;

/// What only one task at a time may work with.
pub(crate) struct Background<D: Disk> {
    pub(crate) checkpoints: Checkpoints<D>,
    pub(crate) reserve: SpaceReserve<D>,
    pub(crate) clock_floor: ClockFloor<D>,
    /// An allocation has failed in this pass of write-back: the reserve is not taken back before the next one has
    /// had the space it gave.
    pub(crate) ran_full: bool,
    pub(crate) incarnation: Incarnation,
    /// The journal's head, in bytes ever written, at the last checkpoint.
    pub(crate) checkpointed_at: u64,
    /// Partitions placed elsewhere whose last state this shard still keeps for whoever takes them over.
    pub(crate) handed_over: Vec<PartitionCheckpoint>,
    /// A log was truncated, or what the spare says of one is no longer so: it is written again before the journal forgets
    /// that.
    pub(crate) spare_is_old: bool,
    /// Partitions being created, which can be found only once a checkpoint names them.
    pub(crate) opening: Vec<PartitionCheckpoint>,
}

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// Flushes every segment written since the last time, writes a checkpoint and gives journal files free that
    /// neither slot needs any more. `false` when the disk has no room for the checkpoint: the other slot stays good,
    /// and it is tried again later.
    pub(crate) async fn checkpoint(&self, background: &mut Background<D>) -> Result<bool, Failure> {
        let written_len = self.shared.written.counts().journal_len;
        for cell in self.cells() {
            self.flush(&cell).await?;
        }
        background.spare_is_old |= self.shared.spare_wanted.take();
        if !self.write_checkpoint(background).await? {
            return Ok(false);
        }
        background.checkpointed_at = written_len;
        let now = self.shared.clock.now();
        let believed_ms = self.shared.append_clock.borrow().believed_ms(now);
        let saved = background.clock_floor.save(&self.shared.disk, now.mono_us, believed_ms).await;
        saved.map_err(|error| self.fail(Failure::Checkpoint(error)))?;
        let mut timers = self.shared.timers.borrow_mut();
        timers.last_checkpoint_us = self.shared.clock.now().mono_us;
        // A segment below the log start may have had to be flushed before its file could go.
        timers.removal_wanted = true;
        Ok(true)
    }

    /// Makes what was written back of one log durable.
    pub(crate) async fn flush(&self, cell: &PartitionCell<D>) -> Result<(), Failure> {
        self.refuse_failed()?;
        let plan = cell.borrow_mut().log.plan_flush();
        let Some(plan) = plan else { return Ok(()) };
        let flushed = plan.run().await.map_err(|error| {
            let id = cell.borrow().id();
            self.fail(Failure::Flush { id, error })
        })?;
        cell.borrow_mut().log.on_flushed(flushed);
        self.shared.written.on_segment_flush();
        Ok(())
    }

    /// The same state into both slots and the spare; `false` as [`Self::checkpoint`].
    pub(crate) async fn checkpoint_both(&self, background: &mut Background<D>) -> Result<bool, Failure> {
        background.spare_is_old = true;
        Ok(self.checkpoint(background).await? && self.checkpoint(background).await?)
    }

    /// What a start that finds neither slot goes by; `false` when the disk has no room for it.
    pub(crate) async fn write_spare(&self, background: &mut Background<D>) -> Result<bool, Failure> {
        self.refuse_failed()?;
        let checkpoint = self.plan_checkpoint(background);
        match background.checkpoints.write_spare(&checkpoint).await {
            Ok(()) => {
                background.spare_is_old = false;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                background.spare_is_old = true;
                Ok(false)
            }
            Err(error) => Err(self.fail(Failure::Checkpoint(error))),
        }
    }

    async fn write_checkpoint(&self, background: &mut Background<D>) -> Result<bool, Failure> {
        self.refuse_failed()?;
        let checkpoint = self.plan_checkpoint(background);
        self.cells().into_iter().for_each(|cell| cell.borrow_mut().changed = false);
        match background.checkpoints.write(&checkpoint).await {
            Ok(len) => self.shared.written.on_checkpoint(len),
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                // What this one would have told, the next one has to.
                self.cells().into_iter().for_each(|cell| cell.borrow_mut().changed = true);
                self.enter_disk_full(background).await?;
                return Ok(false);
            }
            Err(error) => return Err(self.fail(Failure::Checkpoint(error))),
        }
        if background.spare_is_old && !self.write_spare(background).await? {
            self.enter_disk_full(background).await?;
            return Ok(false);
        }
        let needed_from_sequence = background.checkpoints.needed_from_sequence();
        self.shared.needed_from_sequence.set(needed_from_sequence);
        self.shared.journal.release(needed_from_sequence);
        Ok(true)
    }

    /// The lowest group that replay would need if a checkpoint were written now. Groups that are not durable yet are
    /// named by the logs whose entries they hold.
    pub(crate) fn lowest_needed_sequence(&self) -> u64 {
        let needed_by = |cell: PartitionCell<D>| {
            let partition = cell.borrow();
            let by_log = partition.log.oldest_needed_address().map(|address| address.sequence);
            let by_log_start = partition.log_starts.front().map(|pending| pending.sequence);
            by_log.into_iter().chain(by_log_start).min()
        };
        let after_durable = self.shared.journal.durable_sequence() + 1;
        self.cells().into_iter().filter_map(needed_by).fold(after_durable, u64::min)
    }

    /// The state of all partitions at their recovery points, and the lowest group that replay needs.
    fn plan_checkpoint(&self, background: &Background<D>) -> ShardCheckpoint {
        let journal_sequence = self.lowest_needed_sequence();
        let mut partitions = [background.handed_over.as_slice(), &background.opening].concat();
        for cell in self.cells() {
            let partition = cell.borrow();
            partitions.push(partition.log.checkpoint(partition.checkpoint_high_watermark()));
        }
        ShardCheckpoint { shard: self.shared.config.shard, incarnation: background.incarnation, journal_sequence, partitions }
    }
}
