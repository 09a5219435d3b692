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

use crate::log_work::LogWork;
use crate::look_up_chain::LookedUp;
use crate::replica_watch::ReplicaWatch;
use crate::settings::PartitionSettings;
use sluice_model::{Offset, TopicPartition};
use sluice_replica::{Follower, Leader, LogFacts, LogState, PartitionState, Replica, Role};
use sluice_storage::disk::Disk;
use sluice_storage::log::Log;
use std::collections::VecDeque;

pub(crate) struct Partition<D: Disk> {
    pub(crate) log: Log<D>,
    pub(crate) replica: Replica,
    pub(crate) settings: PartitionSettings,
    /// Journal groups in flight or waiting that hold frames of this partition, and the log end after each.
    pub(crate) flushes: VecDeque<GroupEnd>,
    /// Of the newest group with frames of this partition that is durable here.
    pub(crate) last_flush: LastFlush,
    /// Fetches parked until the high watermark moves.
    pub(crate) watchers: Vec<u64>,
    /// Other brokers' shards that copy this log.
    pub(crate) replica_watches: Vec<ReplicaWatch>,
    /// Frames that were looked up for them, the latest last.
    pub(crate) looked_up: Vec<LookedUp>,
    /// As a follower it has flushed something that was not taken yet.
    pub(crate) has_flushed: bool,
    /// What the replica wants done with the log, which takes a while.
    pub(crate) log_work: Option<LogWork>,
    /// What the controller decided while that went on.
    pub(crate) later_state: Option<Box<PartitionState>>,
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
    pub(crate) fn new(log: Log<D>, replica: Replica, settings: PartitionSettings) -> Self {
        assert!(log.log_end_offset() == replica.log_end_offset(), "log and replica of {} begin together", log.id());
        Self {
            log,
            replica,
            settings,
            flushes: VecDeque::new(),
            last_flush: LastFlush::default(),
            watchers: Vec::new(),
            replica_watches: Vec::new(),
            looked_up: Vec::new(),
            has_flushed: false,
            log_work: None,
            later_state: None,
            log_starts: VecDeque::new(),
            unwritten_since_us: None,
            changed: false,
            truncating: false,
        }
    }

    pub(crate) fn id(&self) -> TopicPartition {
        self.log.id()
    }

    /// `None` when another broker leads, or nobody.
    pub(crate) fn leader(&self) -> Option<&Leader> {
        match self.replica.role() {
            Role::Leader(leader) => Some(leader),
            Role::Follower(_) => None,
        }
    }

    pub(crate) fn leader_mut(&mut self) -> Option<&mut Leader> {
        match self.replica.role_mut() {
            Role::Leader(leader) => Some(leader),
            Role::Follower(_) => None,
        }
    }

    /// `None` when this shard leads.
    pub(crate) fn follower_mut(&mut self) -> Option<&mut Follower> {
        match self.replica.role_mut() {
            Role::Leader(_) => None,
            Role::Follower(follower) => Some(follower),
        }
    }

    /// Damage is found and repaired without asking the replica, which hears of it here.
    pub(crate) fn note_log_state(&mut self) {
        let found = log_state(&self.log);
        let Role::Follower(follower) = self.replica.role_mut() else { return };
        match (follower.log_state(), found) {
            (LogState::Damaged, LogState::Whole | LogState::PossiblyShort) => {
                follower.on_repaired(found == LogState::PossiblyShort);
            }
            (LogState::Whole | LogState::PossiblyShort, LogState::Damaged) => follower.on_damage_found(),
            _ => {}
        }
    }

    /// What a checkpoint may say of the log as it is on disk.
    pub(crate) fn checkpoint_high_watermark(&self) -> Offset {
        match self.log_work {
            // The replica is ahead of a log that is not replaced yet.
            Some(LogWork::Replace { kept_high_watermark, is_swapped: false }) => kept_high_watermark,
            // So it may be of one that was cut off, of which it is told last.
            _ => self.replica.high_watermark().min(self.log.log_end_offset()),
        }
    }

    /// What the rules of a replica cannot know of its log.
    pub(crate) fn log_facts(&self) -> LogFacts {
        LogFacts { log_start_offset: self.log.log_start_offset(), log_state: log_state(&self.log) }
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

/// What is known of the bytes of a log that is to be a copy of others. A range that an operator has given up is missing in
/// it all the same.
pub(crate) fn log_state<D: Disk>(log: &Log<D>) -> LogState {
    if !log.damaged().is_empty() || !log.accepted().is_empty() {
        LogState::Damaged
    } else if log.possibly_short().is_some() {
        LogState::PossiblyShort
    } else {
        LogState::Whole
    }
}
