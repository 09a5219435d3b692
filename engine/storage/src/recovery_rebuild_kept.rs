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
use sluice_model::limits::BATCHES_PER_PRODUCER;
use sluice_model::{Offset, ProducerEntry, RecentBatch};
use std::collections::{BTreeMap, VecDeque};

/// A partition as the spare has it.
#[derive(Clone, Copy)]
pub(crate) struct Kept<'a> {
    pub(crate) partition: &'a PartitionCheckpoint,
    /// The journal has every entry since the spare was written.
    pub(crate) has_all_since: bool,
}

/// Where the first segment began that the log had then.
pub(crate) fn first_segment(kept: &PartitionCheckpoint) -> Offset {
    kept.sealed.first().map_or(kept.recovery_point.segment_base, |segment| segment.base_offset)
}

/// Where a segment ended when the spare was written, if it had. What was truncated since is another log's.
pub(crate) fn segment_end(kept: &PartitionCheckpoint, base: Offset, named: Named) -> Option<Offset> {
    let segment = kept.sealed.iter().find(|segment| segment.base_offset == base)?;
    Some(segment.next_offset).filter(|end| named.cut_from.is_none_or(|cut| *end <= cut))
}

/// Whether a trailer that ends the segment from `base` on at `end` is of an earlier life: when the spare was written, the
/// segment had ended elsewhere, or had more.
pub(crate) fn contradicts(kept: &PartitionCheckpoint, (base, end): (Offset, Offset), named: Named) -> bool {
    let point = &kept.recovery_point;
    let is_active = point.segment_base == base && point.position > 0 && named.cut_from.is_none_or(|cut| point.offset <= cut);
    segment_end(kept, base, named).map_or(is_active && point.offset > end, |ended| ended != end)
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
        if is_cut {
            return;
        }
        if !is_whole {
            self.damaged.push(DamagedRange { from: self.end, until: end });
            self.end = end;
            // The frame that follows the hole is compared with nothing.
            self.last_header_crc = if end == point.offset { Some(point.prev_header_crc) } else { Some(named.first_chain) };
        }
        self.take_kept_producers(kept);
    }
}

impl RebuiltLog {
    /// What producers had in records that are deleted, or cannot be read: segments do not say it, but for those with a
    /// footer.
    fn take_kept_producers(&mut self, kept: &PartitionCheckpoint) {
        for (id, kept) in kept.producers.iter() {
            let known = self.producers.get(id).cloned();
            if known.as_ref().is_some_and(|known| known.epoch > kept.epoch) {
                continue;
            }
            let known = known.filter(|known| known.epoch == kept.epoch);
            let last_append_ms = known.as_ref().map_or(i64::MIN, |known| known.last_append_ms).max(kept.last_append_ms);
            let known = known.map(|known| known.batches).unwrap_or_default();
            // What the journal has is replayed.
            let batches = kept.batches.iter().copied().filter(|batch| batch.next_offset() <= self.end).chain(known);
            let batches: BTreeMap<Offset, RecentBatch> = batches.map(|batch| (batch.base_offset, batch)).collect();
            let forgotten = batches.len().saturating_sub(BATCHES_PER_PRODUCER);
            let batches: VecDeque<RecentBatch> = batches.into_values().skip(forgotten).collect();
            if !batches.is_empty() {
                self.producers.insert(id, ProducerEntry { epoch: kept.epoch, last_append_ms, batches });
            }
        }
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

/// The parts of ranges that a log which ends at `end` has.
pub(crate) fn below(ranges: &[DamagedRange], end: Offset) -> Vec<DamagedRange> {
    let cut = ranges.iter().map(|range| DamagedRange { from: range.from, until: range.until.min(end) });
    cut.filter(|range| range.from < range.until).collect()
}
