//! Off the path of a produce: tails go to segments in large pieces, segments are flushed and checkpointed, old
//! ones removed, and a full disk is noticed and got over.
//!
//! The expensive mistake is to fall behind: memory and the journal's ring are both bounded, so when either is half
//! full the work becomes urgent, and the machine paces it accordingly.

use crate::checkpointing::Background;
use crate::pace::PaceClass;
use crate::partitions::{PartitionCell, Partitions};
use crate::refusal::Failure;
use sluice_model::limits::{BLOCK_LEN, WRITE_BACK_LEN};
use sluice_model::{Clock, Now, TopicPartition};
use sluice_storage::disk::Disk;
use sluice_storage::write_back::WriteBackKind;
use std::io;
use std::path::PathBuf;

/// A checkpoint is written whenever this part of the ring was written.
const CHECKPOINTS_PER_RING: u64 = 8;

/// A partition with this much to write back is produced to faster than its pieces are paced: they become urgent long before
/// memory or the ring run short, so that what is refused is what the device cannot take.
const BEHIND_LEN: u64 = 2 * 1024 * 1024;

/// Pieces of one partition's index that are read before the other partitions have their turn.
const INDEX_PIECES_MAX: usize = 16;

/// What one pass has to do, found under no borrow that outlives it.
struct Pass {
    urgent: bool,
    /// Entries of groups below this have to leave the journal, last blocks padded.
    pad_below_sequence: u64,
    checkpoint: bool,
}

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// Runs for as long as the shard does; comes back only when the shard cannot go on.
    pub async fn run_write_back(&self) -> Failure {
        loop {
            while !self.shared.write_back_wanted.get() {
                let listener = self.shared.write_back_event.listen();
                if !self.shared.write_back_wanted.get() {
                    listener.await;
                }
            }
            self.shared.write_back_wanted.set(false);
            let mut background = self.shared.background.lock().await;
            if let Err(failure) = self.write_back_pass(&mut background).await {
                return failure;
            }
        }
    }

    async fn write_back_pass(&self, background: &mut Background<D>) -> Result<(), Failure> {
        // A truncation that failed has left files that nothing may be planned for.
        self.refuse_failed()?;
        let now = self.shared.clock.now();
        background.ran_full = false;
        self.run_log_work(background).await?;
        let mut pass = self.plan_pass(background, now);
        self.shared.ring_wanted.set(false);
        let ready = std::mem::take(&mut *self.shared.ready.borrow_mut());
        let whole = WriteBackKind::WholeBlocks { at_least: WRITE_BACK_LEN };
        for cell in ready.into_iter().filter_map(|id| self.get(id)) {
            self.write_back(&cell, whole, &pass, background).await?;
        }
        pass.urgent |= self.plan_pass(background, now).urgent;
        for cell in self.cells() {
            if let Some(kind) = self.kind_for(&cell, &pass, now) {
                self.write_back(&cell, kind, &pass, background).await?;
            }
        }
        self.make_room(&pass, background).await?;
        self.retain(now);
        if pass.checkpoint || self.plan_pass(background, now).checkpoint {
            self.checkpoint(background).await?;
        }
        self.remove_segments(background).await?;
        self.leave_disk_full(background).await?;
        if !self.shared.disk_full.get() && self.plan_pass(background, self.shared.clock.now()).checkpoint {
            self.want_write_back();
        }
        Ok(())
    }

    fn plan_pass(&self, background: &Background<D>, now: Now) -> Pass {
        let shared = &self.shared;
        let (distance, capacity) = (shared.journal.distance(), shared.journal.capacity());
        let unwritten_len = shared.memory.used_len() - shared.memory.clean_len();
        let ring_is_short = distance > capacity / 2 || shared.ring_wanted.get();
        let since_checkpoint = shared.written.counts().journal_len - background.checkpointed_at;
        let interval_us = u64::from(shared.config.checkpoint_interval_ms) * 1000;
        let is_time = now.mono_us.saturating_sub(shared.timers.borrow().last_checkpoint_us) >= interval_us;
        let changed = || self.cells().iter().any(|cell| cell.borrow().changed);
        // A file of the ring is free once both slots do without it: after one checkpoint that moved on, the next
        // one is due although nothing was written in between.
        let would_release = || self.lowest_needed_sequence() > shared.needed_from_sequence.get();
        let (oldest, next) = (shared.needed_from_sequence.get(), shared.journal.durable_sequence() + 1);
        Pass {
            urgent: distance > capacity / 4 || unwritten_len > shared.memory.budget_len() / 4,
            pad_below_sequence: if ring_is_short { oldest + next.saturating_sub(oldest).div_ceil(2) } else { 0 },
            checkpoint: since_checkpoint > capacity / CHECKPOINTS_PER_RING
                || ((distance > capacity / 4 || ring_is_short) && would_release())
                || ((is_time || ring_is_short) && changed()),
        }
    }

    /// How this partition is to be written back now, if at all.
    fn kind_for(&self, cell: &PartitionCell<D>, pass: &Pass, now: Now) -> Option<WriteBackKind> {
        let partition = cell.borrow();
        if partition.log.oldest_needed_address().is_some_and(|address| address.sequence < pass.pad_below_sequence) {
            return Some(WriteBackKind::Everything);
        }
        let interval_us = u64::from(self.shared.config.write_back_interval_ms) * 1000;
        let waited = partition.unwritten_since_us.is_some_and(|since| now.mono_us.saturating_sub(since) >= interval_us);
        (waited || pass.urgent).then_some(WriteBackKind::WholeBlocks { at_least: 1 })
    }

    /// After a refusal for want of tail memory: last blocks are padded too, those that wait longest first, because
    /// what many partitions keep in memory for want of a whole block may be all the memory there is.
    async fn make_room(&self, pass: &Pass, background: &mut Background<D>) -> Result<(), Failure> {
        let wanted_len = self.shared.tail_wanted_len.take();
        let memory = &self.shared.memory;
        let target = (memory.budget_len() / 2).min(memory.budget_len().saturating_sub(wanted_len));
        let is_short = || wanted_len > 0 && memory.used_len() - memory.clean_len() > target;
        if !is_short() {
            return Ok(());
        }
        let mut cells = self.cells();
        cells.retain(|cell| cell.borrow().log.unwritten_len() > 0);
        cells.sort_by_key(|cell| cell.borrow().log.oldest_needed_address());
        for cell in cells {
            if !is_short() {
                break;
            }
            self.write_back(&cell, WriteBackKind::Everything, pass, background).await?;
        }
        Ok(())
    }

    /// Writes back what one partition has now of this kind; what comes meanwhile is for the next pass, or a busy
    /// partition would keep all others, and the checkpoint, waiting.
    async fn write_back(
        &self,
        cell: &PartitionCell<D>,
        kind: WriteBackKind,
        pass: &Pass,
        background: &mut Background<D>,
    ) -> Result<(), Failure> {
        if !pass.urgent && !self.index_restored(cell).await? {
            return Ok(());
        }
        let mut left = cell.borrow().log.unwritten_len() + BLOCK_LEN as u64;
        while left > 0 {
            let plan = {
                let mut partition = cell.borrow_mut();
                // What the plan leaves behind begins to wait now.
                partition.unwritten_since_us = None;
                partition.log.plan_write_back(kind)
            };
            let Some(plan) = plan else { break };
            left = left.saturating_sub(plan.len());
            let is_behind = cell.borrow().log.unwritten_len() >= BEHIND_LEN;
            let class = if pass.urgent || is_behind { PaceClass::UrgentWriteBack } else { PaceClass::WriteBack };
            let permit = self.shared.pacer.acquire(class, plan.len() as usize).await;
            self.refuse_failed()?;
            let result = plan.run().await;
            drop(permit);
            match result {
                Ok(written) => {
                    self.shared.written.on_segment(written.len());
                    let mut partition = cell.borrow_mut();
                    partition.log.on_written_back(written);
                    partition.changed = true;
                }
                Err(error) => {
                    let id = cell.borrow().id();
                    if !error.is_storage_full() {
                        return Err(self.fail(Failure::WriteBack { id, error }));
                    }
                    self.shared.ready.borrow_mut().insert(id);
                    return self.enter_disk_full(background).await;
                }
            }
        }
        let mut partition = cell.borrow_mut();
        if partition.log.unwritten_len() > 0 {
            partition.unwritten_since_us.get_or_insert(self.shared.clock.now().mono_us);
        }
        // Not while a plan said that nothing is due: one large frame may be written in part and wait for the rest.
        if left == 0 && partition.log.unwritten_len() >= WRITE_BACK_LEN as u64 {
            self.shared.ready.borrow_mut().insert(partition.id());
            self.want_write_back();
        }
        Ok(())
    }

    /// Before a segment of before a restart is sealed: reads what its footer is to know of it, some pieces at a time and
    /// each in its turn. `false`: there is more, and others come first. When memory or the ring run short, the footer
    /// does without.
    async fn index_restored(&self, cell: &PartitionCell<D>) -> Result<bool, Failure> {
        for _ in 0..INDEX_PIECES_MAX {
            let plan = cell.borrow().log.plan_index();
            let Some(plan) = plan else { return Ok(true) };
            let permit = self.shared.pacer.acquire(PaceClass::WriteBack, plan.len()).await;
            self.refuse_failed()?;
            let result = plan.run().await;
            drop(permit);
            let id = cell.borrow().id();
            let indexed = result.map_err(|error| self.fail(Failure::WriteBack { id, error: error.into() }))?;
            cell.borrow_mut().log.on_indexed(indexed);
        }
        self.shared.ready.borrow_mut().insert(cell.borrow().id());
        self.want_write_back();
        Ok(false)
    }

    /// Writes back what every partition has now, last blocks padded, as quickly as may be.
    pub(crate) async fn empty_tails(&self, background: &mut Background<D>) -> Result<(), Failure> {
        let pass = Pass { urgent: true, pad_below_sequence: 0, checkpoint: false };
        for cell in self.cells() {
            self.write_back(&cell, WriteBackKind::Everything, &pass, background).await?;
        }
        Ok(())
    }

    /// No produce is taken any more; what was taken goes where the reserve was.
    pub(crate) async fn enter_disk_full(&self, background: &mut Background<D>) -> Result<(), Failure> {
        self.shared.disk_full.set(true);
        background.ran_full = true;
        if background.reserve.is_held() {
            self.give_back_reserve(background).await?;
            self.want_write_back();
        }
        Ok(())
    }

    pub(crate) async fn give_back_reserve(&self, background: &mut Background<D>) -> Result<(), Failure> {
        self.refuse_failed()?;
        background.reserve.give_back().await.map_err(|error| self.fail(Failure::Reserve(error)))
    }

    /// Takes produce again once the reserve is held again, and not in a pass that had too little: what failed is
    /// tried again first, in the space of the reserve.
    async fn leave_disk_full(&self, background: &mut Background<D>) -> Result<(), Failure> {
        if !self.shared.disk_full.get() || background.ran_full {
            return Ok(());
        }
        self.refuse_failed()?;
        if background.reserve.fill().await.map_err(|error| self.fail(Failure::Reserve(error)))? {
            self.shared.disk_full.set(false);
        }
        Ok(())
    }

    /// Moves log starts by the topics' retention, once a second, and not while the clocks disagree.
    fn retain(&self, now: Now) {
        if !std::mem::take(&mut self.shared.timers.borrow_mut().retention_wanted) || self.shared.closing.get() {
            return;
        }
        let clock = *self.shared.append_clock.borrow();
        for cell in self.cells() {
            let mut partition = cell.borrow_mut();
            // A follower's log begins where its leader's does.
            if partition.leader().is_none() {
                continue;
            }
            let settings = partition.settings;
            let before_ms =
                settings.retention_ms.filter(|_| clock.is_settled()).map(|ms| clock.append_time_ms(now).saturating_sub(ms));
            let Some(offset) = partition.log.retention_log_start(settings.retention_bytes, before_ms) else { continue };
            let offset = offset.min(partition.replica.high_watermark());
            if offset > partition.log.log_start_offset() && self.admit_control(BLOCK_LEN as u64).is_ok() {
                self.move_log_start(&cell, &mut partition, offset, None);
            }
        }
    }

    /// Removes the files of segments below log starts that are durable.
    async fn remove_segments(&self, background: &mut Background<D>) -> Result<(), Failure> {
        if !std::mem::take(&mut self.shared.timers.borrow_mut().removal_wanted) {
            return Ok(());
        }
        let mut removed: Vec<(TopicPartition, Vec<PathBuf>)> = Vec::new();
        for cell in self.cells() {
            let mut partition = cell.borrow_mut();
            // While a log start is not durable, its turn comes when the newest is.
            if partition.log_starts.is_empty() {
                removed.push((partition.id(), partition.log.plan_remove_segments()));
            }
        }
        removed.retain(|(_, paths)| !paths.is_empty());
        // A start that finds neither slot would take for missing what it does not know to be deleted. On a full disk
        // that has to be borne: what is removed makes room.
        if !removed.is_empty() {
            self.write_spare(background).await?;
        }
        for (id, paths) in removed {
            for path in paths {
                self.refuse_failed()?;
                match self.shared.disk.remove_file(&path).await {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(self.fail(Failure::Remove { id, error })),
                }
            }
        }
        Ok(())
    }
}
