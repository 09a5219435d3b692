//! What a spare checkpoint adds to a log that was rebuilt from segments and journal.
//!
//! It was written before any file of the log was removed, and no truncation since is unknown to the journal; so what it
//! says is there, and neither segments nor journal have, is missing, and is damage. The expensive mistake is to hold
//! against the log what a later truncation cut off: whatever lies above the lowest cut that the journal names does not
//! count. Deliberately absent: the recovery point of the spare as a place to go on from; segments are read as a whole.

use crate::checkpoint::PartitionCheckpoint;
use crate::damage::DamagedRange;
use crate::damaged_ranges::joined;
use crate::recovery_rebuild::{OFFSET_MAX, Rebuilt};
use crate::recovery_rebuild_journal::Named;
use crate::recovery_rebuild_log::RebuiltLog;
use sluice_model::Offset;

/// Where the first segment began that the log had then.
pub(crate) fn first_segment(kept: &PartitionCheckpoint) -> Offset {
    kept.sealed.first().map_or(kept.recovery_point.segment_base, |segment| segment.base_offset)
}

impl RebuiltLog {
    /// Where the last files are gone, the log still ends where it did, behind a hole. One that had no record left goes on
    /// where it stood.
    pub(crate) fn end_where_kept(&mut self, kept: &PartitionCheckpoint, named: Named) {
        let point = &kept.recovery_point;
        let is_cut = named.cut_from.is_some_and(|cut| cut < point.offset);
        let end = point.offset.min(named.first.unwrap_or(OFFSET_MAX));
        let is_whole = self.end >= point.offset || named.first.is_some_and(|first| first <= self.end);
        if kept.log_start_offset < self.start {
            self.damaged.push(DamagedRange { from: kept.log_start_offset, until: self.start });
            self.start = kept.log_start_offset;
        }
        if self.last_header_crc.is_none() && self.end == point.offset && named.first.is_none() {
            (self.epochs, self.producers) = (kept.epochs.clone(), kept.producers.clone());
            self.last_header_crc = Some(point.prev_header_crc);
        }
        if is_cut || is_whole {
            return;
        }
        self.damaged.push(DamagedRange { from: self.end, until: end });
        self.end = end;
        // The frame that follows the hole is compared with nothing.
        self.last_header_crc = if end == point.offset { Some(point.prev_header_crc) } else { Some(named.first_chain) };
    }
}

impl Rebuilt {
    /// What was known to be damaged, accepted or in doubt stays so.
    pub(crate) fn add_kept(&mut self, kept: &PartitionCheckpoint, named: Named) {
        let checkpoint = &mut self.checkpoint;
        let end = checkpoint.recovery_point.offset.min(named.cut_from.unwrap_or(OFFSET_MAX));
        checkpoint.damaged = joined(&checkpoint.damaged, &below(&kept.damaged, end));
        checkpoint.accepted = below(&kept.accepted, end);
        checkpoint.possibly_short = kept.possibly_short.filter(|&offset| offset <= end);
    }
}

fn below(ranges: &[DamagedRange], end: Offset) -> Vec<DamagedRange> {
    let cut = ranges.iter().map(|range| DamagedRange { from: range.from, until: range.until.min(end) });
    cut.filter(|range| range.from < range.until).collect()
}
