//! One partition: its log, its replica, and who waits for it.
//!
//! The life of a produce, and where each stage is:
//!
//! 1. checksum, size, records, load: `append.rs` (nothing has changed when it refuses)
//! 2. sequence, in-sync replicas; offsets assigned, header sealed: `replica::leader::on_append`
//! 3. to the tail in memory and the shard's next commit group: `run_effects.rs`
//! 4. the group becomes durable, one write for all partitions of the shard: `commit_loop.rs`
//! 5. flushed offset, then high watermark move; answers are released: `replica::leader::on_local_flush`
//! 6. answers and parked fetches go to the data task: `completions.rs`
//! 7. later, in large pieces: tail to segment, flush, checkpoint: `write_back_loop.rs`, `checkpointing.rs`
//!
//! The life of a fetch: `fetch.rs` finds frames below the high watermark in the tail (at once) or in a segment (a
//! plan, run by whoever paces disk reads), or nothing yet, and then a watch names when to come back.

use crate::settings::PartitionSettings;
use sluice_model::Offset;
use sluice_replica::Leader;
use sluice_storage::disk::Disk;
use sluice_storage::log::Log;
use std::collections::VecDeque;

pub(crate) struct Partition<D: Disk> {
    pub(crate) log: Log<D>,
    pub(crate) leader: Leader,
    pub(crate) settings: PartitionSettings,
    /// Journal groups in flight or waiting that hold frames of this partition, and the log end after each.
    pub(crate) flushes: VecDeque<GroupEnd>,
    /// Of the newest group with frames of this partition that is durable here.
    pub(crate) last_flush: LastFlush,
    /// Fetches parked until the high watermark moves.
    pub(crate) watchers: Vec<u64>,
    /// Log starts that count once their journal entry is durable.
    pub(crate) log_starts: VecDeque<PendingLogStart>,
    /// The oldest moment since which something has waited to be written back, microseconds.
    pub(crate) unwritten_since_us: Option<u64>,
    /// A log start has moved, or a segment was written, since the last checkpoint.
    pub(crate) changed: bool,
    /// The log is being cut off: no append is taken.
    pub(crate) truncating: bool,
}

/// Where a partition's log ends in one journal group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupEnd {
    pub(crate) sequence: u64,
    pub(crate) end_offset: Offset,
}

/// When a group went to the device and when it was durable, microseconds by the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastFlush {
    pub(crate) issued_us: u64,
    pub(crate) durable_us: u64,
}

/// A log start that was decided and is not durable yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingLogStart {
    pub(crate) sequence: u64,
    pub(crate) offset: Offset,
    /// Who asked, when it was asked for by a client.
    pub(crate) token: Option<u64>,
}

impl<D: Disk> Partition<D> {
    pub(crate) fn new(log: Log<D>, leader: Leader, settings: PartitionSettings) -> Self {
        assert!(log.log_end_offset() == leader.log_end_offset(), "log and replica of {} begin together", leader.id());
        Self {
            log,
            leader,
            settings,
            flushes: VecDeque::new(),
            last_flush: LastFlush::default(),
            watchers: Vec::new(),
            log_starts: VecDeque::new(),
            unwritten_since_us: None,
            changed: false,
            truncating: false,
        }
    }

    /// Notes that the group `sequence` holds this log up to its present end; `true` when it is the first note of
    /// that group.
    pub(crate) fn note_group(&mut self, sequence: u64) -> bool {
        let end_offset = self.log.log_end_offset();
        match self.flushes.back_mut() {
            Some(last) if last.sequence == sequence => {
                last.end_offset = end_offset;
                false
            }
            _ => {
                self.flushes.push_back(GroupEnd { sequence, end_offset });
                true
            }
        }
    }
}
