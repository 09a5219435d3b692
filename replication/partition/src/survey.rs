//! What a data folder holds, by the checkpoints of every shard that has a folder in it, in use or not.
//!
//! It is looked at before anything is decided about a start: the metadata may be older than the folder, or know less
//! than is in it. The expensive mistake is to trust the metadata alone, and to begin anew under an epoch or a number
//! that was used before. A device may fail to give back a slot once and give it back the next time, so each slot is
//! read once: what is held and which shards are lost come from the same answer, or a shard would be neither.
//! Deliberately absent: what the journals say (recovery reads them), and any change.

use crate::lifecycle::OpenError;
use sluice_model::{PlacementEpoch, ShardIndex, TopicPartition};
use sluice_storage::checkpoint_slots::{FoundCheckpoint, SlotFound, read_slots, read_spare};
use sluice_storage::disk::Disk;
use sluice_storage::layout::{Layout, journal_file_index, shard_of_dir};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

/// Where the newest state of a partition is: in the folder that names it with the greatest placement epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldPlacement {
    pub shard: ShardIndex,
    pub placement_epoch: PlacementEpoch,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    pub held: BTreeMap<TopicPartition, HeldPlacement>,
    /// The greatest incarnation number that a good checkpoint was written under; 0 when there is none.
    pub incarnation_number: u64,
    /// The greatest incarnation number under which a shard was used that is out of use now; the greatest there can be
    /// when its checkpoints do not say. `None` when no such shard has a folder.
    pub out_of_use_until: Option<u64>,
    /// Shards that were in use and have neither a good checkpoint nor a spare: whatever else they had, nobody knows.
    pub lost: BTreeSet<ShardIndex>,
}

/// Looks at every checkpoint. Shards from `shard_count` on are out of use.
pub async fn survey<D: Disk>(disk: &D, layout: &Layout, shard_count: usize) -> Result<Survey, OpenError> {
    let mut survey = Survey::default();
    for shard in found_shards(disk, layout).await.map_err(OpenError::Look)? {
        let slots = read_slots(disk, layout, shard).await.map_err(OpenError::Look)?;
        let mut newest = newest_checkpoint(slots.clone());
        if is_lost(disk, layout, shard, &slots).await.map_err(OpenError::Look)? {
            // It names every partition that the shard ever took a record of.
            newest = read_spare(disk, layout, shard).await.map_err(|error| OpenError::Recovery(Box::new(error)))?;
            if newest.is_none() {
                survey.lost.insert(shard);
            }
        }
        let number = newest.as_ref().map(|found| found.checkpoint.incarnation.number);
        if usize::from(shard.0) >= shard_count {
            survey.out_of_use_until = survey.out_of_use_until.max(Some(number.unwrap_or(u64::MAX)));
        }
        survey.incarnation_number = survey.incarnation_number.max(number.unwrap_or(0));
        for partition in newest.into_iter().flat_map(|found| found.checkpoint.partitions) {
            let held = HeldPlacement { shard, placement_epoch: partition.placement_epoch };
            let known = survey.held.entry(partition.id).or_insert(held);
            if known.placement_epoch < held.placement_epoch {
                *known = held;
            }
        }
    }
    Ok(survey)
}

fn newest_checkpoint(slots: [SlotFound; 2]) -> Option<Box<FoundCheckpoint>> {
    let good = slots.into_iter().filter_map(|slot| if let SlotFound::Good(found) = slot { Some(found) } else { None });
    good.max_by_key(|found| found.slot_sequence)
}

/// Both slots are lost, or none is good and there is a journal: the shard was in use.
async fn is_lost<D: Disk>(disk: &D, layout: &Layout, shard: ShardIndex, slots: &[SlotFound; 2]) -> io::Result<bool> {
    if slots.iter().all(SlotFound::is_lost) {
        return Ok(true);
    }
    if slots.iter().any(|slot| matches!(slot, SlotFound::Good(_) | SlotFound::OtherVersion { .. })) {
        return Ok(false);
    }
    match disk.read_dir(&layout.shard_journal_dir(shard)).await {
        Ok(entries) => Ok(entries.iter().any(|entry| journal_file_index(&entry.name).is_some())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Shards with a folder, of checkpoints or of a journal.
pub(crate) async fn found_shards<D: Disk>(disk: &D, layout: &Layout) -> io::Result<BTreeSet<ShardIndex>> {
    let mut shards = shards_in(disk, layout.data_dir()).await?;
    shards.append(&mut shards_in(disk, layout.journal_dir()).await?);
    Ok(shards)
}

async fn shards_in<D: Disk>(disk: &D, dir: &Path) -> io::Result<BTreeSet<ShardIndex>> {
    match disk.read_dir(dir).await {
        Ok(entries) => Ok(entries.iter().filter(|entry| entry.is_dir).filter_map(|entry| shard_of_dir(&entry.name)).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}
