//! A partition after a start, held against what was promised before it.

use super::Violation;
use super::partition::PartitionModel;
use crate::coverage::Coverage;
use crate::demand;
use sluice_partition::PartitionStatus;
use sluice_storage::damage::DamagedRange;

/// What a start found of one partition, and what had been done to it.
#[derive(Clone, Debug)]
pub struct Recovered {
    pub status: PartitionStatus,
    /// As the recovery reported.
    pub damaged: Vec<DamagedRange>,
    pub possibly_short: bool,
    /// A bit was changed in the journal that it was recovered from.
    pub journal_rotten: bool,
    /// That happened before the journal was marked: its very last group, when it rots, looks like one that was never
    /// whole, or never written.
    pub journal_unmarked: bool,
    /// One checkpoint slot of its shard was lost.
    pub slot_lost: bool,
    /// Both checkpoint slots of its shard were lost.
    pub checkpoints_lost: bool,
}

impl PartitionModel {
    pub fn on_recovered(&mut self, found: &Recovered, coverage: &mut Coverage) -> Result<(), Violation> {
        let id = self.id;
        let (start, end) = (found.status.log_start_offset.0, found.status.log_end_offset.0);
        self.settle_truncation(end, coverage);
        if found.journal_rotten || found.checkpoints_lost || self.has_lost {
            self.undelete(start.min(end));
        }
        let lenient = found.journal_rotten || self.may_be_damaged;
        demand!(lenient || found.damaged.is_empty(), "{id}: {:?} is damaged, and nothing rotted", found.damaged);
        // A walk that ends at what a torn write left says so, and lost nothing for it.
        self.is_doubted |= found.checkpoints_lost && found.possibly_short;
        let may_be_short = lenient || self.has_lost || self.is_doubted;
        demand!(may_be_short || !found.possibly_short, "{id} is said to be possibly short, and nothing rotted");
        demand!(self.is_boundary(end), "{id}: the log ends at {end}, inside a batch or beyond {}", self.end);
        for range in &found.damaged {
            let in_order = range.from < range.until && range.until.0 <= end;
            demand!(in_order, "{id}: {range:?} is said to be damaged, the log ends at {end}");
        }
        let window = found.journal_unmarked && end >= self.promised_before_group;
        let may_be_short = found.journal_rotten && (found.possibly_short || window);
        demand!(
            end >= self.promised_end || may_be_short,
            "{id}: the log ends at {end}, and records up to {} were acknowledged or served",
            self.promised_end
        );
        coverage.hit_if(end < self.end, "recovery: unacknowledged frames lost");
        coverage.hit_if(end > self.promised_end, "recovery: unacknowledged frames kept");
        coverage.hit_if(!found.damaged.is_empty(), "recovery: damaged range");
        coverage.hit_if(found.possibly_short, "recovery: possibly short");
        // The older slot may name segments that were deleted since, and a damaged group may have been all that said so.
        self.may_be_damaged |= found.journal_rotten && (!found.damaged.is_empty() || found.slot_lost);
        self.has_lost |= !found.damaged.is_empty() || (found.possibly_short && !self.is_doubted) || end < self.promised_end;
        self.cut(end);
        // What recovery leaves is in segments, flushed.
        self.promised_end = end;
        self.promised_before_group = end;
        self.on_log_start_recovered(start, found.checkpoints_lost)?;
        self.high_watermark = found.status.high_watermark.0;
        Ok(())
    }

    /// With the checkpoints go the log starts that no journal entry names any more: whole segments that were deleted, and
    /// not removed yet, come back.
    fn on_log_start_recovered(&mut self, start: u64, checkpoints_lost: bool) -> Result<(), Violation> {
        let (id, least, most) = (self.id, self.log_start_min.min(self.end), self.log_start_max);
        demand!(
            start >= least || self.has_lost || (checkpoints_lost && self.is_boundary(start)),
            "{id}: the log starts at {start}, and records below {least} were deleted for good"
        );
        demand!(start <= most, "{id}: the log starts at {start}, and nobody asked for more than {most}");
        self.log_start = start;
        self.log_start_min = start;
        self.log_start_max = start;
        self.deletes_asked = start;
        self.forget_deleted();
        Ok(())
    }
}
