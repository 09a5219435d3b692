//! The sparse time index of one segment: from a timestamp to an offset at or before the first frame that reaches it.
//!
//! Producers' timestamps need not grow, so an entry holds the greatest one of all frames *before* its offset; a
//! search may begin at the last entry whose greatest is still below the timestamp wanted. The expensive mistake is
//! to index a frame's own timestamp, which skips an earlier frame that is later in time.

use sluice_model::Offset;

/// The greatest record timestamp of all frames of the segment before `base_offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeEntry {
    pub timestamp_ms: i64,
    pub base_offset: Offset,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeIndex {
    entries: Vec<TimeEntry>,
}

impl TimeIndex {
    /// Builds an index from stored entries; `None` when they do not grow strictly.
    #[must_use]
    pub fn from_entries(entries: Vec<TimeEntry>) -> Option<Self> {
        entries.is_sorted_by(|a, b| a.timestamp_ms < b.timestamp_ms && a.base_offset < b.base_offset).then_some(Self { entries })
    }

    #[must_use]
    pub fn entries(&self) -> &[TimeEntry] {
        &self.entries
    }

    /// Notes the greatest timestamp before `base_offset`, when it is greater than the last one noted.
    pub fn push(&mut self, entry: TimeEntry) {
        match self.entries.last() {
            Some(last) if last.timestamp_ms >= entry.timestamp_ms => {}
            Some(last) if last.base_offset >= entry.base_offset => panic!("{entry:?} after {last:?}"),
            _ => self.entries.push(entry),
        }
    }

    /// Every frame before this offset has only timestamps below `timestamp_ms`; `None` is the segment's start.
    #[must_use]
    pub fn find(&self, timestamp_ms: i64) -> Option<Offset> {
        let at = self.entries.partition_point(|entry| entry.timestamp_ms < timestamp_ms);
        at.checked_sub(1).map(|at| self.entries[at].base_offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_begins_before_the_first_frame_that_reaches_the_timestamp() {
        let mut index = TimeIndex::default();
        for (timestamp_ms, offset) in [(100, 10), (90, 20), (300, 30)] {
            index.push(TimeEntry { timestamp_ms, base_offset: Offset(offset) });
        }
        for (timestamp_ms, wanted) in [(50, None), (100, None), (101, Some(10)), (300, Some(10)), (301, Some(30))] {
            assert_eq!(index.find(timestamp_ms).map(|o| o.0), wanted, "timestamp {timestamp_ms}");
        }
    }
}
