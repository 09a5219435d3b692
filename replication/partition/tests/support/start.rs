//! A start of a whole broker: what moves is prepared, then every shard is opened.

use super::{JOURNAL_FILE_LEN, Setup, TestShard, assignment};
use sluice_model::{Incarnation, PlacementEpoch, ShardIndex, TopicPartition};
use sluice_partition::{OpenError, PartitionAssignment, Prepare, Prepared, prepare};
use sluice_storage::journal::JournalConfig;
use sluice_storage::layout::Layout;
use sluice_storage::testing::executor::block_on;
use sluice_storage::testing::fault_disk::FaultDisk;
use std::collections::BTreeSet;
use std::path::Path;

/// A partition, its shard and placement epoch.
pub(crate) type Placed = (TopicPartition, u16, u32);

fn assignments(placed: &[Placed], start: u64) -> Vec<(ShardIndex, PartitionAssignment)> {
    let assigned = |&(id, shard, epoch): &Placed| {
        let assigned = PartitionAssignment { id, placement_epoch: PlacementEpoch(epoch), ..assignment(0, start) };
        (ShardIndex(shard), assigned)
    };
    placed.iter().map(assigned).collect()
}

pub(crate) fn try_prepare(disk: &FaultDisk, placed: &[Placed], start: u64) -> Result<Prepared, OpenError> {
    let layout = Layout::new(Path::new("/data"));
    let journals = layout.clone();
    let plan = Prepare {
        layout,
        incarnation: Incarnation { number: start * 10, random: start },
        journal_of: Box::new(move |shard| JournalConfig {
            dir: journals.shard_journal_dir(shard),
            file_len: JOURNAL_FILE_LEN,
            file_count: 4,
            group_len_target: 64 * 1024,
        }),
        tail_budget: 256 * 1024,
        assigned: assignments(placed, start),
        deleted: BTreeSet::new(),
    };
    block_on(prepare(disk, plan))
}

/// Opens these shards, each with what is placed on it.
pub(crate) fn start_shards(
    disk: &FaultDisk,
    shards: impl IntoIterator<Item = u16>,
    placed: &[Placed],
    start: u64,
) -> Vec<TestShard> {
    let mut prepared = try_prepare(disk, placed, start).unwrap_or_else(|error| panic!("{error}"));
    shards.into_iter().map(|shard| open_prepared(disk, shard, placed, &mut prepared, start)).collect()
}

/// Opens one shard of a start that was prepared.
pub(crate) fn open_prepared(disk: &FaultDisk, shard: u16, placed: &[Placed], prepared: &mut Prepared, start: u64) -> TestShard {
    let mine = assignments(placed, start).into_iter().filter(|(at, _)| at.0 == shard);
    let setup = Setup {
        shard,
        start: start * 10 + 1,
        assigned: mine.map(|(_, assignment)| assignment).collect(),
        imports: prepared.imports.remove(&ShardIndex(shard)).unwrap_or_default(),
        owners: prepared.owners.clone(),
        handed_over: prepared.handed_over.remove(&ShardIndex(shard)).unwrap_or_default(),
        ..Setup::new(0, 1)
    };
    TestShard::open(disk, setup)
}
