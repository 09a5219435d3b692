//! What one shard has written since its start, by what it was written for. Plain cells of one thread.

use sluice_storage::journal::CommittedGroup;
use std::cell::Cell;

#[derive(Debug, Default)]
pub(crate) struct Written {
    counts: Cell<WriteCounts>,
}

/// A snapshot of what a shard has written since its start. Bytes are those of whole blocks, as the disk gets them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteCounts {
    /// Commit groups with entries, each one durable write; and their entries.
    pub group_count: u64,
    pub group_entry_count: u64,
    /// Empty groups, which say that the one before them is durable.
    pub idle_marker_count: u64,
    /// Bytes of all groups.
    pub journal_len: u64,
    /// Bytes of headers, frames and footers.
    pub segment_len: u64,
    pub segment_flush_count: u64,
    pub checkpoint_count: u64,
    pub checkpoint_len: u64,
}

impl Written {
    pub(crate) fn counts(&self) -> WriteCounts {
        self.counts.get()
    }

    pub(crate) fn on_group(&self, group: &CommittedGroup) {
        self.update(|counts| {
            counts.journal_len += group.len;
            counts.group_entry_count += u64::from(group.entry_count);
            match group.entry_count {
                0 => counts.idle_marker_count += 1,
                _ => counts.group_count += 1,
            }
        });
    }

    pub(crate) fn on_segment(&self, len: u64) {
        self.update(|counts| counts.segment_len += len);
    }

    pub(crate) fn on_segment_flush(&self) {
        self.update(|counts| counts.segment_flush_count += 1);
    }

    pub(crate) fn on_checkpoint(&self, len: u64) {
        self.update(|counts| {
            counts.checkpoint_count += 1;
            counts.checkpoint_len += len;
        });
    }

    fn update(&self, change: impl FnOnce(&mut WriteCounts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }
}
