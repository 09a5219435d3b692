//! The sparse offset index of one segment: from an offset to the position of a frame at or before it.
//!
//! An entry also keeps the checksum of the frame before its own, so that a read that begins at an entry verifies
//! the chain of everything it gives out. The expensive mistake is an index that sends a read behind the frame it
//! wants, so entries grow strictly and stored ones that do not are refused.

use sluice_model::Offset;
use sluice_model::limits::{BLOCK_LEN, FRAME_BODY_LEN_MAX, INDEX_INTERVAL_LEN};

/// Between two entries of frames that were read: the interval, and one largest frame with its padding.
const READ_STEP_LEN_MAX: u64 = INDEX_INTERVAL_LEN + (FRAME_BODY_LEN_MAX + 2 * BLOCK_LEN) as u64;

/// Where one indexed frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetEntry {
    pub base_offset: Offset,
    /// First byte of the frame in the segment file.
    pub position: u32,
    /// `header_crc` of the frame before it, 0 at the start of a log.
    pub prev_header_crc: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetIndex {
    entries: Vec<OffsetEntry>,
}

impl OffsetIndex {
    /// Builds an index from stored entries; `None` when they do not grow strictly.
    #[must_use]
    pub fn from_entries(entries: Vec<OffsetEntry>) -> Option<Self> {
        entries.is_sorted_by(|a, b| a.base_offset < b.base_offset && a.position < b.position).then_some(Self { entries })
    }

    #[must_use]
    pub fn entries(&self) -> &[OffsetEntry] {
        &self.entries
    }

    pub fn push(&mut self, entry: OffsetEntry) {
        if let Some(last) = self.entries.last() {
            assert!(last.base_offset < entry.base_offset && last.position < entry.position, "{entry:?} after {last:?}");
        }
        self.entries.push(entry);
    }

    /// The last entry at or before `offset`: a walk to `offset` begins there.
    #[must_use]
    pub fn find(&self, offset: Offset) -> Option<OffsetEntry> {
        let after = self.entries.partition_point(|entry| entry.base_offset <= offset);
        after.checked_sub(1).map(|at| self.entries[at])
    }

    /// The entry at or before `offset` and the one after it, when there is more between them than an index leaves out: a
    /// part of the segment that was never read.
    #[must_use]
    pub fn unread_at(&self, offset: Offset) -> Option<(OffsetEntry, OffsetEntry)> {
        let after = self.entries.partition_point(|entry| entry.base_offset <= offset);
        let (from, until) = (self.entries.get(after.checked_sub(1)?)?, self.entries.get(after)?);
        (u64::from(until.position - from.position) > READ_STEP_LEN_MAX).then_some((*from, *until))
    }

    /// Where the last indexed frame that begins at or before `position` does.
    #[must_use]
    pub fn last_position_until(&self, position: u64) -> Option<u64> {
        let after = self.entries.partition_point(|entry| u64::from(entry.position) <= position);
        after.checked_sub(1).map(|at| u64::from(self.entries[at].position))
    }

    /// The first entry behind `position`: where a read that met damage at `position` may go on.
    #[must_use]
    pub fn next_after(&self, position: u64) -> Option<OffsetEntry> {
        let at = self.entries.partition_point(|entry| u64::from(entry.position) <= position);
        self.entries.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(base_offset: u64, position: u32) -> OffsetEntry {
        OffsetEntry { base_offset: Offset(base_offset), position, prev_header_crc: 0 }
    }

    #[test]
    fn it_finds_the_entry_at_or_before() {
        let index = OffsetIndex::from_entries(vec![entry(10, 4096), entry(20, 70_000), entry(35, 140_000)]).unwrap();
        let table =
            [(9, None), (10, Some(10)), (19, Some(10)), (20, Some(20)), (34, Some(20)), (35, Some(35)), (1_000, Some(35))];
        for (offset, wanted) in table {
            assert_eq!(index.find(Offset(offset)).map(|e| e.base_offset.0), wanted, "offset {offset}");
        }
        assert_eq!(index.next_after(4096).map(|e| e.base_offset.0), Some(20));
        assert_eq!(index.next_after(140_000), None);
    }

    #[test]
    fn entries_out_of_order_are_refused() {
        assert_eq!(OffsetIndex::from_entries(vec![entry(10, 4096), entry(10, 8192)]), None);
        assert_eq!(OffsetIndex::from_entries(vec![entry(10, 4096), entry(11, 4096)]), None);
    }
}
