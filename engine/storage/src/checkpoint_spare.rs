//! A third checkpoint, for the case that both slots are lost: what segments and journal do not say.
//!
//! It is written at the end of a start, when partitions come or go, before segment files are removed, and before the
//! journal forgets a truncation; so it names every partition of the shard under its placement epoch, no log starts above
//! what it says and is gone, and its incarnation is the last one the shard was used under. It does not move on with
//! every checkpoint, and nothing of the journal is kept for it: segments and journal tell what came after it
//! (`recovery_rebuild`). Until the ring of its incarnation has begun it says that nothing stands there.
//!
//! The expensive mistake is to believe one that was not written when it had to be, because the disk was full then: its
//! header is zeros from then on, until there is room, and it counts only when the journal holds no group of a later
//! incarnation. While a slot is good it is asked for log starts alone, and only where entries of the journal are lost that may have
//! moved them. Deliberately absent: any other use of it then.

use crate::checkpoint::ShardCheckpoint;
use crate::checkpoint_slots::{Checkpoints, FoundCheckpoint, RingState, SlotFound, read_file};
use crate::disk::Disk;
use crate::journal_files::{is_missing, open_found_ring};
use crate::layout::Layout;
use crate::recovery::RecoveryError;
use crate::recovery_rebuild_journal::newest_incarnation;
use sluice_model::ShardIndex;
use std::io;

/// The spare of a shard that has lost both slots; `None` when it is lost as well, or does not count. An error is that of
/// the device or of the folder.
pub async fn read_spare<D: Disk>(
    disk: &D,
    layout: &Layout,
    shard: ShardIndex,
) -> Result<Option<Box<FoundCheckpoint>>, RecoveryError> {
    let SlotFound::Good(spare) = read_file(disk, &layout.checkpoint_spare(shard), shard, 0).await? else { return Ok(None) };
    let dir = layout.shard_journal_dir(shard);
    let (files, ring) = match open_found_ring(disk, &dir, 0).await {
        // Nothing stands in it: it is being made anew.
        Err(error) if is_missing(&error) && spare.ring_state == RingState::Rebuilt => return Ok(Some(spare)),
        // Whether it counts cannot be told, and recovery refuses to start without the journal.
        Err(error) if is_missing(&error) => return Ok(None),
        found => found?,
    };
    let newest = newest_incarnation::<D>(&files, ring, shard, &dir).await?;
    let counts = newest.is_none_or(|newest| newest <= spare.checkpoint.incarnation);
    Ok(Some(spare).filter(|_| counts))
}

/// A full disk does not keep a shard from starting: it has no spare until there is room.
pub(crate) async fn write_spare_if_room<D: Disk>(checkpoints: &Checkpoints<D>, checkpoint: &ShardCheckpoint) -> io::Result<()> {
    match checkpoints.write_spare(checkpoint).await {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
        written => written,
    }
}
