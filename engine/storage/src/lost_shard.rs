//! A shard that has lost both checkpoints and (part of) its journal: what its segments still hold, and from where on
//! records may be missing.
//!
//! A start refuses it, because a journal that is missing is never an empty one by itself. An operator who has agreed to
//! what is shown here gives the missing files back as empty ones; the start then rebuilds the shard from its segments and
//! from what is left of the journal, and says what of that is in doubt. The expensive mistake is to take a shard that was
//! never used for a lost one, or the reverse. Deliberately absent: making files, and asking.

use crate::accepted_loss::PartitionLoss;
use crate::checkpoint_slots::{CHECKPOINT_FORMAT_VERSION, RingState, SlotFound, read_slots, read_spare};
use crate::disk::Disk;
use crate::journal_files::{has_files, is_missing, open_found_ring};
use crate::layout::Layout;
use crate::recovery::RecoveryError;
use crate::recovery_rebuild::rebuild_partition;
use crate::recovery_rebuild_journal::Named;
use sluice_model::{PlacementEpoch, ShardIndex, TopicPartition};
use std::io;
use std::path::PathBuf;

#[derive(Debug)]
pub struct LostShard {
    pub shard: ShardIndex,
    /// Where its journal has to be, and why that is none.
    pub dir: PathBuf,
    pub problem: io::Error,
    /// Those placed on it: what may be lost with the journal.
    pub partitions: Vec<PartitionLoss>,
}

/// Whether a start would refuse the shard for want of checkpoints and journal. `file_count` is how many journal files
/// the broker's settings say, `placed` what is placed on the shard.
pub async fn find_lost_shard<D: Disk>(
    disk: &D,
    layout: &Layout,
    shard: ShardIndex,
    file_count: u32,
    placed: &[(TopicPartition, PlacementEpoch)],
) -> Result<Option<LostShard>, RecoveryError> {
    let slots = read_slots(disk, layout, shard).await?;
    for (index, slot) in slots.iter().enumerate() {
        match slot {
            SlotFound::Good(_) => return Ok(None),
            &SlotFound::OtherVersion { found } => {
                let (path, known) = (layout.checkpoint_slot(shard, index), CHECKPOINT_FORMAT_VERSION.into());
                return Err(RecoveryError::OtherVersion { path, found: found.into(), known });
            }
            _ => {}
        }
    }
    let dir = layout.shard_journal_dir(shard);
    let spare = read_spare(disk, layout, shard).await?;
    let file_count = match spare.map(|spare| (spare.ring_state, spare.ring.file_count)) {
        // A start makes it anew.
        Some((RingState::Rebuilt, _)) => return Ok(None),
        Some((RingState::InUse, count)) => count.max(file_count),
        None => file_count,
    };
    let problem = match open_found_ring(disk, &dir, file_count).await {
        Ok(_) => return Ok(None),
        Err(problem) if is_missing(&problem) => problem,
        Err(error) => return Err(error.into()),
    };
    let mut partitions = Vec::new();
    for &(id, placement_epoch) in placed {
        let rebuilt = rebuild_partition(disk, layout, (id, placement_epoch), Named::default(), None).await?;
        let journal_from = Some(rebuilt.checkpoint.recovery_point.offset);
        partitions.push(PartitionLoss { id, damaged: Vec::new(), possibly_short: None, journal_from });
    }
    let never_used = slots.iter().all(|slot| *slot == SlotFound::Missing) && !has_files(disk, &dir).await?;
    let has_segments = placed.iter().zip(&partitions).any(|(_, loss)| loss.journal_from.is_some_and(|offset| offset.0 > 0));
    Ok((!never_used || has_segments).then_some(LostShard { shard, dir, problem, partitions }))
}

#[cfg(test)]
#[path = "lost_shard_test.rs"]
mod tests;
