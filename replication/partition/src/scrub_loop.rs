//! The scrubber of a shard: pass after pass over everything it has on disk, so that rot is found while something can
//! still be done about it, and not when the bytes are needed.
//!
//! Checkpoint slots first, then the journal as far as a slot needs it, then the partitions' segments. A slot that
//! does not verify is written anew at once, and nothing is left to depend on a group that does not; lost offsets are
//! quarantined by the log. The expensive mistake is to hold up a produce: every read waits its turn behind everything
//! else, and nobody's lock is held meanwhile. Deliberately absent: rates (the machine paces) and logging.

use crate::checkpointing::Background;
use crate::pace::PaceClass;
use crate::partitions::{PartitionCell, Partitions};
use crate::refusal::Failure;
use crate::scrub_state::ScrubReport;
use sluice_model::{Clock, Now, Offset, TopicPartition};
use sluice_storage::damage::DamagedRange;
use sluice_storage::disk::Disk;
use sluice_storage::scrub::LogScrub;
use sluice_storage::scrub_finding::ScrubFinding;
use sluice_storage::scrub_journal::JournalScrub;
use sluice_storage::scrub_slot::SlotScrub;

/// The first pass begins this long after the start, or sooner when passes are more frequent: a start has other
/// things to do, microseconds.
const FIRST_PASS_AFTER_US: u64 = 60_000_000;
/// Every read costs the device at least what so many bytes do: thousands of small segments must not be opened in a row.
const READ_COST_LEN_MIN: usize = 64 * 1024;

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// Runs for as long as the shard does; comes back only when the shard cannot go on.
    pub async fn run_scrub(&self) -> Failure {
        loop {
            while !self.shared.scrub_wanted.take() {
                let listener = self.shared.scrub_event.listen();
                if !self.shared.scrub_wanted.get() {
                    listener.await;
                }
            }
            if let Err(failure) = self.scrub_pass().await {
                return failure;
            }
        }
    }

    /// Findings since the last call, each once: for the machine to log.
    #[must_use]
    pub fn take_scrub_news(&self) -> Vec<ScrubReport> {
        self.shared.scrub.take_news()
    }

    /// Every bad place that is known, as many as are kept.
    #[must_use]
    pub fn scrub_reports(&self) -> Vec<ScrubReport> {
        self.shared.scrub.reports()
    }

    /// What the partitions do not serve, at most `count_max` ranges, and how many there are.
    #[must_use]
    pub fn damaged_ranges(&self, count_max: usize) -> (Vec<(TopicPartition, DamagedRange)>, usize) {
        let (mut ranges, mut count) = (Vec::new(), 0);
        for cell in self.cells() {
            let partition = cell.borrow();
            let damaged = partition.log.damaged();
            count += damaged.len();
            let room = count_max - ranges.len();
            ranges.extend(damaged.iter().take(room).map(|range| (partition.id(), *range)));
        }
        (ranges, count)
    }

    /// From which offset on acknowledged records may be missing, of at most `count_max` partitions, and of how many that
    /// is so.
    #[must_use]
    pub fn possibly_short(&self, count_max: usize) -> (Vec<(TopicPartition, Offset)>, usize) {
        let mut short: Vec<_> = self
            .cells()
            .iter()
            .filter_map(|cell| {
                let partition = cell.borrow();
                partition.log.possibly_short().map(|offset| (partition.id(), offset))
            })
            .collect();
        let count = short.len();
        short.truncate(count_max);
        (short, count)
    }

    /// Looks whether it is time for a pass.
    pub(crate) fn tick_scrub(&self, now: Now) {
        let interval_us = self.shared.config.scrub_interval_ms.saturating_mul(1000);
        let opened_us = self.shared.opened_us;
        if interval_us > 0 && self.shared.scrub.is_due(now, opened_us, FIRST_PASS_AFTER_US, interval_us) {
            self.shared.scrub_wanted.set(true);
            self.shared.scrub_event.notify(usize::MAX);
        }
    }

    async fn scrub_pass(&self) -> Result<(), Failure> {
        let cells: Vec<(TopicPartition, PartitionCell<D>)> =
            self.shared.partitions.borrow().iter().map(|(id, cell)| (*id, cell.clone())).collect();
        let segments_len: u64 = cells.iter().map(|(_, cell)| cell.borrow().log.scrub_len()).sum();
        self.shared.scrub.begin(self.now(), segments_len + self.shared.journal.scrub_len());
        for slot in 0..2 {
            self.scrub_slot(slot).await?;
        }
        self.scrub_journal().await?;
        for (id, cell) in cells {
            self.scrub_log(id, &cell).await;
        }
        if !self.shared.closing.get() {
            self.shared.scrub.end(self.now());
        }
        Ok(())
    }

    async fn scrub_slot(&self, slot: usize) -> Result<(), Failure> {
        let begun = self.shared.background.lock().await.checkpoints.scrub_slot(slot);
        let Some(mut scrub) = begun else { return Ok(()) };
        while let Some(plan) = scrub.plan() {
            let len = plan.len();
            let permit = self.shared.pacer.acquire(PaceClass::Scrub, len.max(READ_COST_LEN_MIN)).await;
            let read = plan.run().await;
            drop(permit);
            self.shared.scrub.on_read(len);
            if let Some(finding) = scrub.on_read(read) {
                return self.rewrite_slot(&scrub, finding).await;
            }
        }
        Ok(())
    }

    /// Puts a checkpoint into a slot that does not verify, unless that has just happened.
    async fn rewrite_slot(&self, scrub: &SlotScrub<D>, finding: ScrubFinding) -> Result<(), Failure> {
        let mut background = self.shared.background.lock().await;
        if self.shared.closing.get() || !background.checkpoints.is_unchanged(scrub) {
            return Ok(());
        }
        background.checkpoints.write_next_to(scrub);
        let is_repaired = self.checkpoint(&mut background).await?;
        self.shared.scrub.note(finding, is_repaired);
        Ok(())
    }

    async fn scrub_journal(&self) -> Result<(), Failure> {
        let mut scrub = JournalScrub::default();
        while let Some(plan) = self.shared.journal.plan_scrub(&mut scrub) {
            let len = plan.len();
            let permit = self.shared.pacer.acquire(PaceClass::Scrub, len.max(READ_COST_LEN_MIN)).await;
            let scrubbed = plan.run().await;
            drop(permit);
            self.shared.scrub.on_read(len);
            let findings = self.shared.journal.on_scrubbed(&mut scrub, scrubbed);
            if findings.is_empty() {
                continue;
            }
            let mut background = self.shared.background.lock().await;
            if self.shared.closing.get() {
                return Ok(());
            }
            let is_repaired = self.leave_journal(&mut background).await?;
            findings.into_iter().for_each(|finding| self.shared.scrub.note(finding, is_repaired));
        }
        Ok(())
    }

    /// Brings everything from memory to segments, so that no slot needs a group that is durable now.
    async fn leave_journal(&self, background: &mut Background<D>) -> Result<bool, Failure> {
        let bad_up_to = self.shared.journal.durable_sequence();
        self.empty_tails(background).await?;
        let written = self.checkpoint_both(background).await?;
        Ok(written && self.shared.needed_from_sequence.get() > bad_up_to)
    }

    async fn scrub_log(&self, id: TopicPartition, cell: &PartitionCell<D>) {
        let mut scrub = LogScrub::default();
        loop {
            let plan = cell.borrow().log.plan_scrub(&mut scrub);
            let Some(plan) = plan else { return };
            let len = plan.len();
            let permit = self.shared.pacer.acquire(PaceClass::Scrub, len.max(READ_COST_LEN_MIN)).await;
            let scrubbed = plan.run().await;
            drop(permit);
            self.shared.scrub.on_read(len);
            // Its topic may have been deleted meanwhile, and its files removed.
            if self.shared.closing.get() || !self.contains(id) {
                return;
            }
            let findings = {
                let mut partition = cell.borrow_mut();
                let damaged = partition.log.damaged().to_vec();
                let findings = partition.log.on_scrubbed(&mut scrub, scrubbed);
                // The next checkpoint remembers what was found, and forgets what has proved good.
                partition.changed |= !findings.is_empty() || damaged != partition.log.damaged();
                // Nor does the spare go on saying that it is damaged.
                let is_damaged = |was: &DamagedRange| {
                    partition.log.damaged().iter().any(|range| range.from <= was.from && was.until <= range.until)
                };
                if !damaged.iter().all(is_damaged) {
                    self.shared.spare_wanted.set(true);
                }
                findings
            };
            findings.into_iter().for_each(|finding| self.shared.scrub.note(finding, false));
        }
    }
}
