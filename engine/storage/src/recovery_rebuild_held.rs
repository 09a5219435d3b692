//! All partitions of a shard that lost both checkpoints, and how much of the journal each one's segments hold already.
//!
//! The journal's entries up to the last one that segments hold are not replayed. The expensive mistake is to replay a
//! truncation that was carried out before: the frames that came after it, acknowledged, would be cut off, and where the
//! journal is damaged they are nowhere else. Deliberately absent: what a segment holds (`recovery_rebuild`).

use crate::checkpoint::{PartitionCheckpoint, ShardCheckpoint};
use crate::disk::Disk;
use crate::entry_address::EntryAddress;
use crate::recovery::{PartitionFate, RecoverShard, RecoveryError};
use crate::recovery_rebuild::{Rebuilt, rebuild_partition};
use crate::recovery_rebuild_journal::{FoundJournal, HeldEntry};
use crate::recovery_rebuild_kept::Kept;
use crate::recovery_truncation::Truncations;
use sluice_model::{PlacementEpoch, TopicPartition};
use std::collections::BTreeMap;

/// What is placed here, what the spare names and what the journal does, with the last entry that each one's segments hold.
pub(crate) async fn rebuild_partitions<D: Disk>(
    disk: &D,
    plan: &RecoverShard<'_>,
    journal: &FoundJournal<D>,
    truncations: &Truncations,
    spare: Option<&ShardCheckpoint>,
) -> Result<Vec<Rebuilt>, RecoveryError> {
    let named = journal.named().await?;
    let kept: BTreeMap<TopicPartition, &PartitionCheckpoint> =
        spare.into_iter().flat_map(|spare| &spare.partitions).map(|partition| (partition.id, partition)).collect();
    let mut wanted: BTreeMap<TopicPartition, PlacementEpoch> = plan.assigned.iter().copied().collect();
    for (&id, kept) in &kept {
        if matches!((plan.fate)(id, Some(kept.placement_epoch)), PartitionFate::Recover(_)) {
            wanted.entry(id).or_insert(kept.placement_epoch);
        }
    }
    for &id in named.keys() {
        if matches!((plan.fate)(id, None), PartitionFate::Recover(_)) {
            wanted.entry(id).or_insert(PlacementEpoch(0));
        }
    }
    // What came, and what left, was recovered before; the files of what left are another shard's to work with.
    wanted.retain(|&id, _| plan.imports.iter().chain(&plan.handed_over).all(|moved| moved.id != id));
    // All that was acknowledged since the spare is in the journal then.
    let has_all_since = match spare {
        Some(spare) => journal.has_all_from(spare.journal_sequence).await?,
        None => false,
    };
    let mut rebuilt = Vec::with_capacity(wanted.len());
    for (id, placement_epoch) in wanted {
        let named = named.get(&id).copied().unwrap_or_default();
        let kept_here = kept.get(&id).copied();
        let of_spare = kept_here.map(|partition| Kept { partition, has_all_since });
        let mut partition = rebuild_partition(disk, &plan.layout, (id, placement_epoch), named, of_spare).await?;
        // A spare that does not name it says that no record of it was ever taken.
        partition.doubted &= spare.is_none() || kept_here.is_some() || !partition.checkpoint.sealed.is_empty();
        if let (true, Some(kept)) = (partition.doubted, kept_here) {
            // What goes on behind the log's end was never acknowledged.
            let has_all_kept = partition.checkpoint.recovery_point.offset >= kept.recovery_point.offset;
            partition.doubted = !has_all_kept || !has_all_since;
        }
        rebuilt.push(partition);
    }
    let held = journal.held(&rebuilt.iter().map(|rebuilt| (rebuilt.checkpoint.id, rebuilt.in_segments())).collect()).await?;
    for partition in &mut rebuilt {
        let held = held.get(&partition.checkpoint.id).copied().unwrap_or_default();
        partition.checkpoint.recovery_point.held = behind_cuts(journal, truncations, partition, held).await?;
    }
    Ok(rebuilt)
}

/// The last entry that segments hold, when truncations that were carried out count too. Where entries behind one are
/// lost, nothing but the segments says whether it was: what may have been acknowledged after it is not cut off.
async fn behind_cuts<D: Disk>(
    journal: &FoundJournal<D>,
    truncations: &Truncations,
    rebuilt: &Rebuilt,
    held: HeldEntry,
) -> Result<EntryAddress, RecoveryError> {
    let (id, end) = (rebuilt.checkpoint.id, rebuilt.checkpoint.recovery_point.offset);
    let mut address = held.address;
    while let Some(found) = truncations.lowest_after(id, address).filter(|found| found.end_offset < end) {
        let is_older = held.until > found.end_offset;
        if is_older || !rebuilt.may_be_cut_at(found.end_offset) || !journal.is_doubted_behind(found.address.sequence).await? {
            break;
        }
        address = found.address;
    }
    Ok(address)
}
