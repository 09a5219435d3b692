//! `log accept-loss` where a shard has lost both checkpoints and its journal, or part of it.
//!
//! The files that are missing are made, empty, and those that were cut short get their length back; what is left of
//! the journal counts. The expensive mistake is to let a start take it for whole by itself, so files are made only after
//! the operator has agreed. There are more files then than any settings say, so that the start makes the ring anew.

use super::files::{self, Files};
use super::plain_disk::PlainDisk;
use crate::exit_status::{ExitStatus, Failure};
use sluice_broker::BROKER;
use sluice_metadata::Image;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{PlacementEpoch, ShardIndex, TopicPartition};
use sluice_storage::checkpoint::PartitionCheckpoint;
use sluice_storage::layout::{Layout, journal_file, journal_file_index};
use sluice_storage::lost_shard::{LostShard, find_lost_shard};
use sluice_storage::unnamed_partition::unnamed_partition;
use std::fs::{self, File};
use std::io;

/// One more than a broker's settings take.
const FILE_COUNT: u32 = 65;
/// Of files of which none is left; they are empty, and take no room.
const FILE_LEN: u64 = 1024 * 1024;

/// What is placed on a shard, by the metadata.
fn placed_on(image: Option<&Image>, shard: ShardIndex) -> Vec<(TopicPartition, PlacementEpoch)> {
    let partitions = image.into_iter().flat_map(Image::partitions);
    let placements = partitions.filter_map(|(id, partition)| Some((id, partition.placement(BROKER)?)));
    placements.filter(|(_, placement)| placement.shard == shard).map(|(id, placement)| (id, placement.placement_epoch)).collect()
}

/// Every shard that has a folder, or that the metadata places partitions on.
pub(super) fn all_shards(layout: &Layout, image: Option<&Image>) -> io::Result<Vec<ShardIndex>> {
    let partitions = image.into_iter().flat_map(Image::partitions);
    let placed = partitions.filter_map(|(_, partition)| Some(partition.placement(BROKER)?.shard));
    let mut shards: Vec<_> = files::shards(layout)?.into_iter().chain(placed).collect();
    shards.sort_unstable();
    shards.dedup();
    Ok(shards)
}

pub(super) fn find(
    layout: &Layout,
    shard: ShardIndex,
    file_count: u32,
    image: Option<&Image>,
) -> Result<Option<LostShard>, Failure> {
    let placed = placed_on(image, shard);
    let found = files::ready(find_lost_shard(&PlainDisk::READ_ONLY, layout, shard, file_count, &placed));
    found.map_err(|error| Failure::new(ExitStatus::DataFolder, error.to_string()))
}

pub(super) fn describe(lost: &LostShard, image: Option<&Image>, lines: &mut Vec<String>) {
    let LostShard { shard, dir, problem, partitions } = lost;
    lines.push(format!(
        "shard {shard}: both checkpoints are lost, and the journal in {} is missing or not whole ({problem}); the next start rebuilds the \
         shard from its segments and what is left of the journal",
        dir.display()
    ));
    for partition in partitions {
        let name = files::name(image, partition.id);
        let from = partition.journal_from.map_or(0, |offset| offset.0);
        lines.push(format!("{name}: with the journal, records from offset {from} on may be lost; how many is not known"));
    }
}

/// What is placed on a shard and named by no checkpoint of any: segments without an owner.
pub(super) fn unnamed_on(files: &Files, layout: &Layout, shard: ShardIndex) -> Result<Vec<PartitionCheckpoint>, Failure> {
    let mut unnamed = Vec::new();
    for (id, placement_epoch) in placed_on(files.image.as_ref(), shard) {
        if !files.partitions.contains_key(&id) {
            let found = files::ready(unnamed_partition(&PlainDisk::READ_ONLY, layout, id, placement_epoch));
            unnamed.extend(found.map_err(|error| Failure::new(ExitStatus::DataFolder, error.to_string()))?);
        }
    }
    Ok(unnamed)
}

/// Makes every file that is missing, durably.
pub(super) fn accept(lost: &LostShard) -> io::Result<()> {
    fs::create_dir_all(&lost.dir)?;
    let (mut file_len, mut count) = (0, FILE_COUNT);
    for entry in fs::read_dir(&lost.dir)? {
        let entry = entry?;
        if let Some(index) = entry.file_name().to_str().and_then(journal_file_index) {
            file_len = entry.metadata()?.len().max(file_len);
            count = count.max(index + 1);
        }
    }
    let file_len = if file_len == 0 { FILE_LEN } else { file_len.next_multiple_of(BLOCK_LEN as u64) };
    for index in 0..count {
        let file = File::options().write(true).create(true).truncate(false).open(journal_file(&lost.dir, index))?;
        if file.metadata()?.len() < file_len {
            file.set_len(file_len)?;
            file.sync_all()?;
        }
    }
    File::open(&lost.dir)?.sync_all()?;
    lost.dir.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}
