//! Partitions that recovery has found nothing of, and whose folders are not empty.
//!
//! The expensive mistake is to make such a partition anew: it would begin at offset 0 over files that somebody's records
//! are in. It is looked for before anything of the start is written, so that slots and a ring made for a shard that was
//! only missing never stand where the right ones are to be put back. Deliberately absent: what can be made of the files
//! (`unnamed_partition`).

use crate::disk::Disk;
use crate::recovery::{RecoverShard, RecoveredPartition, RecoveryError};
use sluice_model::TopicPartition;
use std::collections::BTreeMap;
use std::io;

/// Refuses a start under which a partition that is placed here would lie over files that nothing names.
pub(crate) async fn refuse_unknown_data<D: Disk>(
    disk: &D,
    plan: &RecoverShard<'_>,
    recovered: &BTreeMap<TopicPartition, RecoveredPartition<D>>,
) -> Result<(), RecoveryError> {
    // What is handed over is another shard's from now on, and so are its files.
    let is_known = |id| recovered.contains_key(&id) || plan.handed_over.iter().any(|partition| partition.id == id);
    for &(id, _) in plan.assigned.iter().filter(|(id, _)| !is_known(*id)) {
        match disk.read_dir(&plan.layout.partition_dir(id)).await {
            Ok(entries) if entries.is_empty() => {}
            Ok(_) => return Err(RecoveryError::UnknownData { id }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
