//! Shards that have lost both checkpoints, and what must not be done in the start that rebuilds them.
//!
//! Recovery rebuilds such a shard from the folders of the partitions placed on it. The expensive mistake is to let a
//! partition move in the same start: its records may still stand in the journal of the shard it leaves, and nothing
//! says that they do. Deliberately absent: the rebuilding (`sluice_storage::recovery`).

use crate::lifecycle::OpenError;
use crate::preparation::Prepare;
use crate::survey::found_shards;
use sluice_model::{PlacementEpoch, ShardIndex, TopicPartition};
use sluice_storage::checkpoint_slots::{SlotFound, read_slots};
use sluice_storage::disk::Disk;
use sluice_storage::layout::{Layout, journal_file_index};
use std::collections::BTreeMap;
use std::io;

/// Where a partition is first placed; every move counts it up.
const PLACEMENT_EPOCH_FIRST: PlacementEpoch = PlacementEpoch(1);

/// A shard that has lost its checkpoints is rebuilt from the folders of the partitions placed on it. What else it had
/// nobody knows, so nothing may move in the same start.
pub(crate) async fn refuse_moves<D: Disk>(
    disk: &D,
    prepare: &Prepare,
    owners: &BTreeMap<TopicPartition, ShardIndex>,
) -> Result<(), OpenError> {
    let lost = find_lost(disk, &prepare.layout).await.map_err(OpenError::Look)?;
    let Some(&first) = lost.first() else { return Ok(()) };
    for (shard, assignment) in &prepare.assigned {
        let (id, to) = (assignment.id, *shard);
        // It may have come, or be about to come, from that folder: what stands there may be older than what was lost.
        if let Some(&from) = owners.get(&id).filter(|owner| **owner != to && lost.contains(&to)) {
            return Err(OpenError::MovedToLost { lost: to, id, from });
        }
        let moves = match owners.get(&id) {
            Some(owner) => *owner != to,
            None if lost.contains(&to) => false,
            // A partition that never moved was never anywhere else.
            None => assignment.placement_epoch > PLACEMENT_EPOCH_FIRST,
        };
        if moves {
            return Err(OpenError::MovesFromLost { lost: first, id, to });
        }
    }
    Ok(())
}

async fn find_lost<D: Disk>(disk: &D, layout: &Layout) -> io::Result<Vec<ShardIndex>> {
    let mut lost = Vec::new();
    for shard in found_shards(disk, layout).await? {
        let slots = read_slots(disk, layout, shard).await?;
        if slots.iter().all(SlotFound::is_lost) || is_without_slots(disk, layout, shard, &slots).await? {
            lost.push(shard);
        }
    }
    Ok(lost)
}

/// No good slot, and a journal: the shard was in use.
async fn is_without_slots<D: Disk>(disk: &D, layout: &Layout, shard: ShardIndex, slots: &[SlotFound; 2]) -> io::Result<bool> {
    if slots.iter().any(|slot| matches!(slot, SlotFound::Good(_) | SlotFound::OtherVersion { .. })) {
        return Ok(false);
    }
    match disk.read_dir(&layout.shard_journal_dir(shard)).await {
        Ok(entries) => Ok(entries.iter().any(|entry| journal_file_index(&entry.name).is_some())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
