//! Which partitions the journal of a shard names, before anything is decided about a start.
//!
//! A partition that no checkpoint names may have taken records all the same, when it came while the disk was full or
//! the checkpoints that named it never arrived: they stand in the journal of the shard that it was placed on. The
//! expensive mistake is to overlook them when it is placed on another one, where it would begin anew. Nothing is
//! changed here. Deliberately absent: what the entries hold, which recovery reads.

use crate::checkpoint_slots::{FoundCheckpoint, SlotFound, read_slots, read_spare};
use crate::disk::Disk;
use crate::journal_files::has_files;
use crate::journal_scan::{Wanted, scan_journal};
use crate::layout::Layout;
use crate::recovery::{RecoveryError, open_named_ring};
use crate::recovery_journal::plan_replay;
use crate::recovery_rebuild_journal::{FoundJournal, find_journal};
use sluice_model::{ShardIndex, TopicPartition};
use std::collections::BTreeSet;

/// Every partition that an entry is about which a start of this shard would replay; none of a shard that was never in
/// use. `file_count` is how many journal files its settings say. Reads the journal as a whole.
///
/// # Errors
/// Of the device or of the folder; a journal that has to be there and is not.
pub async fn partitions_in_journal<D: Disk>(
    disk: &D,
    layout: &Layout,
    shard: ShardIndex,
    file_count: u32,
) -> Result<BTreeSet<TopicPartition>, RecoveryError> {
    let slots = read_slots(disk, layout, shard).await?;
    let good = slots.into_iter().filter_map(|slot| if let SlotFound::Good(found) = slot { Some(found) } else { None });
    let journal = match good.max_by_key(|found| found.slot_sequence) {
        Some(found) => journal_of(disk, layout, &found).await?,
        None if !has_files(disk, &layout.shard_journal_dir(shard)).await? => return Ok(BTreeSet::new()),
        None => {
            let spare = read_spare(disk, layout, shard).await?;
            find_journal(disk, layout, shard, file_count, spare.as_deref()).await?
        }
    };
    Ok(journal.named().await?.into_keys().collect())
}

/// The journal that a checkpoint goes on from.
async fn journal_of<D: Disk>(disk: &D, layout: &Layout, found: &FoundCheckpoint) -> Result<FoundJournal<D>, RecoveryError> {
    let shard = found.checkpoint.shard;
    let files = open_named_ring(disk, layout, found).await?;
    let from_sequence = found.checkpoint.journal_sequence;
    let wanted = Wanted { shard, incarnation: found.checkpoint.incarnation, from_sequence };
    let scan = scan_journal::<D>(&files, found.ring, wanted).await?;
    let plan = plan_replay(&scan.groups, from_sequence);
    Ok(FoundJournal {
        files,
        ring: found.ring,
        plan,
        incarnation_number_max: scan.incarnation_number_max,
        ring_incarnation_number: Some(scan.incarnation_number_max),
        last_file: found.ring.file_count - 1,
    })
}
