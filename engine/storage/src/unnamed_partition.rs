//! A partition whose segments are there while no checkpoint and no journal names it any more: its checkpoint made from
//! its segments, and put into the slots of a shard.
//!
//! Its shard has lost both checkpoints and was rebuilt when nobody knew that the partition was there, or the shard's folder
//! is gone. What a journal alone held is not in segments and may have been lost with it, so the partition is reported as
//! possibly short. The expensive mistake is to name a partition that some checkpoint or journal does name: what they say
//! of it is newer. Deliberately absent: that judgement, which takes all shards, and asking.

use crate::checkpoint::PartitionCheckpoint;
use crate::checkpoint_slots::{Checkpoints, FoundCheckpoint};
use crate::disk::Disk;
use crate::layout::{Layout, segment_base_offset};
use crate::recovery::RecoveryError;
use crate::recovery_rebuild::rebuild_partition;
use crate::recovery_rebuild_journal::Named;
use sluice_model::{PlacementEpoch, TopicPartition};
use std::io;

/// What the partition's segments hold; `None` when there are none.
pub async fn unnamed_partition<D: Disk>(
    disk: &D,
    layout: &Layout,
    id: TopicPartition,
    placement_epoch: PlacementEpoch,
) -> Result<Option<PartitionCheckpoint>, RecoveryError> {
    let entries = match disk.read_dir(&layout.partition_dir(id)).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    if !entries.iter().any(|entry| segment_base_offset(&entry.name).is_some()) {
        return Ok(None);
    }
    let mut checkpoint = rebuild_partition(disk, layout, (id, placement_epoch), Named::default(), None).await?.checkpoint;
    let end = checkpoint.recovery_point.offset;
    checkpoint.high_watermark = end;
    checkpoint.possibly_short = Some(end);
    Ok(Some(checkpoint))
}

/// Both slots of a stopped shard name these partitions too. None of them is in `found`, or in any other shard's.
pub async fn name_partitions<D: Disk>(
    disk: &D,
    layout: &Layout,
    found: &FoundCheckpoint,
    partitions: Vec<PartitionCheckpoint>,
) -> io::Result<()> {
    let mut checkpoint = found.checkpoint.clone();
    checkpoint.partitions.extend(partitions);
    checkpoint.partitions.sort_by_key(|partition| partition.id);
    let mut checkpoints = Checkpoints::open(disk, layout, checkpoint.shard, Some(found), found.ring).await?;
    checkpoints.set_ring_state(found.ring_state);
    checkpoints.write(&checkpoint).await?;
    checkpoints.write(&checkpoint).await?;
    checkpoints.write_spare(&checkpoint).await
}
