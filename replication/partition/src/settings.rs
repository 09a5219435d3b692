//! What the machine tells the partitions of a shard: budgets, intervals, and what each partition is.

use sluice_model::{BrokerId, PlacementEpoch, ShardIndex, TopicPartition};
use sluice_replica::{IsrTimes, LeaderSettings, PartitionState};
use sluice_storage::journal::JournalConfig;
use sluice_storage::layout::Layout;

#[derive(Clone, Debug)]
pub struct PartitionsConfig {
    pub layout: Layout,
    pub shard: ShardIndex,
    pub broker: BrokerId,
    pub journal: JournalConfig,
    /// Memory for tails and batch cache together, bytes.
    pub tail_budget: usize,
    /// Most bytes appended and not yet durable; produce is refused beyond it.
    pub journal_buffer_budget: u64,
    /// A produce predicted to wait longer than this for its flush is refused, milliseconds.
    pub produce_delay_ms_max: u32,
    /// A partition's whole blocks are written back after this long even when they are few, milliseconds.
    pub write_back_interval_ms: u32,
    /// Longest time between two checkpoints while there is something new, milliseconds.
    pub checkpoint_interval_ms: u32,
    /// A pass of the scrubber begins no sooner than this after the one before, milliseconds; 0: there are none.
    pub scrub_interval_ms: u64,
    /// When a follower of a partition that this shard leads joins and leaves the in-sync set.
    pub isr_times: IsrTimes,
}

impl PartitionsConfig {
    pub(crate) fn leader_settings(&self, of: &PartitionSettings) -> LeaderSettings {
        let PartitionSettings { min_insync_replicas, frame_len_max, .. } = *of;
        LeaderSettings { isr_times: self.isr_times, min_insync_replicas, frame_len_max }
    }
}

/// A partition of which this shard holds a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionAssignment {
    pub id: TopicPartition,
    pub placement_epoch: PlacementEpoch,
    /// What the controller has decided, as far as that is known by now. Without it, and with one that the replica refuses, it
    /// neither leads nor follows before [`crate::Partitions::on_partition_state`].
    pub state: Option<PartitionState>,
    pub settings: PartitionSettings,
}

/// The settings of a partition's topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionSettings {
    /// A segment is ended before it would grow beyond this, bytes.
    pub segment_len: u64,
    /// Sealed segments are removed while the partition is longer than this, bytes; `None` keeps all.
    pub retention_bytes: Option<u64>,
    /// Sealed segments all of whose records were appended longer ago than this are removed, milliseconds.
    pub retention_ms: Option<i64>,
    /// Longest frame, header included, bytes.
    pub frame_len_max: usize,
    pub min_insync_replicas: u32,
}
