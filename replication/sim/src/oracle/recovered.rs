//! A partition after a start, held against what was promised before it.

use super::Violation;
use super::partition::PartitionModel;
use crate::coverage::Coverage;
use crate::demand;
use sluice_partition::PartitionStatus;
use sluice_storage::damage::DamagedRange;
use std::collections::BTreeSet;

/// What a start found of one partition, and what had been done to it.
#[derive(Clone, Debug)]
pub struct Recovered {
    pub status: PartitionStatus,
    /// As the recovery reported.
    pub damaged: Vec<DamagedRange>,
    pub possibly_short: Option<u64>,
    /// A bit was changed in the journal that it was recovered from.
    pub journal_rotten: bool,
    /// That was in the very last group, before anything named it durable: it looks like one that was never whole, or
    /// never written.
    pub in_window: bool,
    /// One checkpoint slot of its shard was lost.
    pub slot_lost: bool,
    /// Both checkpoint slots of its shard were lost.
    pub checkpoints_lost: bool,
    /// And the spare: what was deleted or damaged before is no longer known, nor where the log ended.
    pub spare_lost: bool,
    /// Both slots were, and the journal has not all of what came after the spare any more.
    pub journal_forgot: bool,
    /// Groups that no slot needed any more were being written over when the power went, and no slot is left that says so.
    pub freed_groups_lost: bool,
    /// Its frames that stood in whole groups of a journal before a start that may have had to do without slots.
    pub journaled: BTreeSet<u64>,
    /// The journal has rotted, and no spare was left to say where logs begin.
    pub log_start_lost: bool,
    /// An attempt to start went before, and came to nothing.
    pub was_begun_before: bool,
    /// Reads were made to fail.
    pub device_failed: bool,
}

impl PartitionModel {
    pub fn on_recovered(&mut self, found: &Recovered, coverage: &mut Coverage) -> Result<(), Violation> {
        let id = self.id;
        let (start, end) = (found.status.log_start_offset.0, found.status.log_end_offset.0);
        let is_said = found.possibly_short.is_some_and(|offset| offset <= end);
        if let Some(cut) = self.settle_truncation(end, is_said, coverage).filter(|_| found.journal_rotten) {
            self.on_cut_forgotten(cut);
        }
        if found.journal_rotten && found.slot_lost {
            // The older slot may name segments that were deleted since, and a damaged group may have been all that said so.
            self.deleted.values_mut().for_each(|held| held.is_rotten = true);
        }
        if found.journal_rotten || found.checkpoints_lost || self.has_lost {
            self.undelete(start.min(end));
        }
        demand!(
            !found.spare_lost || found.possibly_short.is_some(),
            "{id}: every checkpoint of its shard was lost, and it is not said to be possibly short"
        );
        // What it says then, or said in an attempt that came to nothing, it goes on saying.
        // Without slots a segment is walked, and a walk that ends at rot cannot say whether more followed.
        let is_walked_to_rot = found.checkpoints_lost && found.possibly_short.is_some_and(|at| self.is_rot_behind(at));
        // Records that were never acknowledged are gone; what write-back left of them looks like rot.
        let is_torn_end = found.journal_forgot && found.possibly_short == Some(end) && end < self.end;
        let is_unheard = found.checkpoints_lost && found.was_begun_before;
        let may_doubt = found.spare_lost || found.freed_groups_lost || is_walked_to_rot || is_torn_end || is_unheard;
        self.is_doubted |= may_doubt && found.possibly_short.is_some();
        let may_be_short = found.journal_rotten || self.is_lossy || self.is_doubted || self.is_cut_inside();
        demand!(may_be_short || found.possibly_short.is_none(), "{id} is said to be possibly short, and nothing rotted");
        demand!(
            self.is_boundary(end) || self.is_end_forgotten(found, end),
            "{id}: the log ends at {end}, inside a batch or beyond {}",
            self.end
        );
        self.excuse_what_nobody_knows(found);
        for range in &found.damaged {
            let in_order = range.from < range.until && range.until.0 <= end;
            demand!(in_order, "{id}: {range:?} is said to be damaged, the log ends at {end}");
            self.on_refused(*range, found.device_failed)?;
        }
        self.check_end(found, end)?;
        coverage.hit_if(end < self.end, "recovery: unacknowledged frames lost");
        coverage.hit_if(end > self.promised_end, "recovery: unacknowledged frames kept");
        coverage.hit_if(!found.damaged.is_empty(), "recovery: damaged range");
        coverage.hit_if(found.possibly_short.is_some(), "recovery: possibly short");
        coverage.hit_if(found.checkpoints_lost, "recovery: without both slots");
        coverage.hit_if(found.spare_lost, "recovery: without the spare");
        let is_short = found.possibly_short.is_some() && !self.is_doubted;
        let has_lost = !found.damaged.is_empty() || is_short || end < self.promised_end;
        (self.has_lost, self.is_lossy) = (self.has_lost || has_lost, self.is_lossy || has_lost);
        self.cut(end);
        // What recovery leaves is in segments, flushed.
        self.promised_end = end;
        self.window_from = None;
        self.on_log_start_recovered(start, found)?;
        if found.spare_lost {
            self.producers_known_from = start;
        }
        // Of a log that was cut, a checkpoint of before says of producers what their newest batches then were, and those may be
        // cut off; what stood below them is read from segments, and not when they are deleted. A start writes both slots anew;
        // the spare is not believed as long as the journal names the truncation.
        let is_cut_since = self.cuts.len() > self.cuts_at_start;
        if found.spare_lost || is_cut_since || found.checkpoints_lost && !self.cuts.is_empty() {
            self.producers.values_mut().for_each(|producer| producer.forget_below(start));
        }
        self.cuts_at_start = self.cuts.len();
        self.high_watermark = found.status.high_watermark.0;
        Ok(())
    }

    /// What is named as damaged because nothing is left that would know better.
    fn excuse_what_nobody_knows(&mut self, found: &Recovered) {
        if found.spare_lost {
            // What was accepted was in the checkpoints alone.
            self.accepted.clear();
            self.on_deletions_forgotten(&found.damaged);
        }
        let is_journal_short = found.journal_forgot || found.journal_rotten || found.freed_groups_lost;
        if found.spare_lost || found.checkpoints_lost && is_journal_short {
            self.on_torn_end(&found.damaged, &found.journaled);
        }
        if self.log_start_rotten && found.log_start_lost {
            // Files went before a slot said why.
            self.on_deletions_forgotten(&found.damaged);
        }
    }

    /// Checkpoints alone say that a log goes on where it holds nothing: one that is empty, or one that a truncation has ended
    /// inside a batch which cannot be read. Its last segment ends with the batch before, the next one is no file until a
    /// record comes, and journals of earlier starts are not believed. The part of the batch that stood below the cut is
    /// neither whole nor chained to anything, so that no copy of it can ever be served again; that it is missing has to be
    /// said. What was promised above it is `check_end`'s.
    fn is_end_forgotten(&self, found: &Recovered, end: u64) -> bool {
        let is_said = found.possibly_short.is_some_and(|offset| offset <= end);
        (found.spare_lost || self.is_cut_inside()) && is_said && (end == 0 || end < self.end && self.ends_batch(end))
    }

    /// A truncation went through a batch that its segment did not hold, or up to its end. A journal that has it ends the log
    /// before it, and says that it may be short from there.
    pub(super) fn is_cut_inside(&self) -> bool {
        let is_unread = || self.holding(self.end - 1).is_some_and(|(_, held)| held.is_rotten);
        self.cuts.last() == Some(&self.end) && self.end > 0 && (!self.ends_batch(self.end) || is_unread())
    }

    /// Files had been cut, nobody had been told of it yet, and what a write has hit was both groups of the journal that knew
    /// why: slots say what stood above the cut, which was about to go. It is refused as soon as it is read, up to where the
    /// next segment begins, and nothing else is served in its place. Once a truncation is answered, both slots know of it.
    fn on_cut_forgotten(&mut self, cut: u64) {
        self.hidden.push(cut..self.end);
    }

    /// The removal of a file that was deleted is undone by a power cut as long as its folder was not flushed, and of one
    /// file and not of its neighbour: what then lies between those that came back looks like a segment that is missing, and
    /// only the checkpoints knew that the log began above it.
    fn on_deletions_forgotten(&mut self, damaged: &[DamagedRange]) {
        let deleted_until = self.log_start_max;
        for range in damaged {
            let frames = self.frames.range_mut(range.from.0..range.until.0.min(deleted_until).max(range.from.0));
            let deleted = frames.filter(|(base, held)| **base + u64::from(held.record_count) <= deleted_until);
            deleted.for_each(|(_, held)| held.is_rotten = true);
        }
    }

    /// What was promised and is gone has rotted, every frame of it, and is said to be missing; or it was in the one window.
    fn check_end(&self, found: &Recovered, end: u64) -> Result<(), Violation> {
        let id = self.id;
        let is_said = found.possibly_short.is_some_and(|offset| offset <= end);
        // With the spare went the log start: of several files that were removed some are there again, and not the last.
        let deleted_until = if found.spare_lost { self.log_start_max } else { self.log_start_min };
        let is_window = found.in_window && self.window_from.is_some_and(|from| end >= from);
        demand!(
            end >= self.promised_end || self.is_rotten_from(end, deleted_until) && (is_said || is_window),
            "{id}: the log ends at {end}, and records up to {} were acknowledged or served; possibly short: {:?}",
            self.promised_end,
            found.possibly_short
        );
        Ok(())
    }

    /// With the checkpoints go the log starts that no journal entry names any more: whole segments that were deleted, and
    /// not removed yet, come back, or what was deleted since the spare was written, which is when files last went: that one
    /// has a log start that somebody once asked for, inside a batch perhaps. The report says that deleted records may be
    /// back, and nothing is missing. With the spare goes what was known to be damaged at the beginning of the log.
    fn on_log_start_recovered(&mut self, start: u64, found: &Recovered) -> Result<(), Violation> {
        let (id, least, most) = (self.id, self.log_start_min.min(self.end), self.log_start_max);
        let is_entry_lost = std::mem::take(&mut self.log_start_rotten);
        let was_start = self.is_boundary(start) || self.starts_asked.contains(&start);
        demand!(
            start >= least || self.has_lost || is_entry_lost || found.checkpoints_lost && was_start,
            "{id}: the log starts at {start}, and records below {least} were deleted for good"
        );
        let first = self.holding(most).map_or(most, |(base, _)| base);
        let is_forgotten = found.spare_lost
            && first < start
            && self.bases_between(first, start).count() == self.rotten_between(first, start).count();
        demand!(start <= most || is_forgotten, "{id}: the log starts at {start}, and nobody asked for more than {most}");
        self.log_start = start;
        self.log_start_min = start;
        self.log_start_max = start;
        self.deletes_asked = start;
        self.forget_deleted();
        Ok(())
    }
}
