//! The folders of deleted topics go, names and all, durably.
//!
//! Shards remove their partitions of one topic at the same time, and a start removes what an earlier one left, so
//! whatever is gone already is no error. The expensive mistake is to remove what no tombstone names: only callers
//! that know the topic to be deleted come here.

use sluice_model::{TopicId, TopicPartition};
use sluice_storage::disk::Disk;
use sluice_storage::layout::{Layout, partition_of_dir};
use std::io;
use std::path::Path;

/// Removes a partition's folder, and its topic's when that was the last one.
pub(crate) async fn remove_partition_folder<D: Disk>(disk: &D, layout: &Layout, id: TopicPartition) -> io::Result<()> {
    remove_files(disk, &layout.partition_dir(id)).await?;
    remove_empty_topic_folder(disk, layout, id.topic_id).await
}

/// Removes whatever is left of a topic.
pub(crate) async fn remove_topic_folder<D: Disk>(disk: &D, layout: &Layout, topic_id: TopicId) -> io::Result<()> {
    let entries = match disk.read_dir(&layout.topic_dir(topic_id)).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for partition in entries.iter().filter_map(|entry| partition_of_dir(&entry.name)) {
        remove_files(disk, &layout.partition_dir(TopicPartition { topic_id, partition })).await?;
    }
    remove_empty_topic_folder(disk, layout, topic_id).await
}

async fn remove_files<D: Disk>(disk: &D, dir: &Path) -> io::Result<()> {
    let entries = match disk.read_dir(dir).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        absent_is_fine(disk.remove_file(&dir.join(entry.name)).await)?;
    }
    absent_is_fine(disk.remove_dir(dir).await)
}

async fn remove_empty_topic_folder<D: Disk>(disk: &D, layout: &Layout, topic_id: TopicId) -> io::Result<()> {
    let dir = layout.topic_dir(topic_id);
    match disk.remove_dir(&dir).await {
        Ok(()) => {}
        // Nothing of it was ever written, or another shard was quicker.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // Partitions of other shards are still in it, or something that is not ours.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => return absent_is_fine(disk.sync_dir(&dir).await),
        Err(error) => return Err(error),
    }
    disk.sync_dir(&layout.partitions_dir()).await
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
