//! Partitions that the metadata does not know: kept through starts, crashes and other numbers of shards, never served,
//! and whole when a topic adopts them.

mod support;

use sluice_model::{LeaderEpoch, PartitionIndex, ShardIndex, TopicId, TopicPartition};
use sluice_partition::{OpenError, Survey, survey};
use sluice_storage::disk::Disk;
use sluice_storage::layout::Layout;
use sluice_storage::testing::executor::block_on;
use sluice_storage::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use std::path::Path;
use support::start::{Placed, start_shards};
use support::{ReadFrame, Setup, TestProducer, TestShard, id};

const FORGOTTEN: TopicId = TopicId([9; 16]);

fn orphan(partition: u32) -> TopicPartition {
    TopicPartition { topic_id: FORGOTTEN, partition: PartitionIndex(partition) }
}

fn layout() -> Layout {
    Layout::new(Path::new("/data"))
}

fn surveyed(disk: &FaultDisk, shard_count: usize) -> Survey {
    block_on(survey(disk, &layout(), shard_count)).unwrap()
}

/// Opens all shards as a start of a broker does.
fn start(disk: &FaultDisk, shard_count: u16, placed: &[Placed], start: u64) -> Vec<TestShard> {
    start_shards(disk, 0..shard_count, placed, start)
}

fn shard_of(shards: &mut [TestShard], id: TopicPartition) -> &mut TestShard {
    shards.iter_mut().find(|shard| shard.partitions.contains(id)).unwrap_or_else(|| panic!("nobody serves {id}"))
}

fn fill(shards: &mut [TestShard], producers: &mut [TestProducer], rounds: u64) {
    for round in 0..rounds {
        for producer in &mut *producers {
            let shard = shard_of(shards, producer.id);
            shard.append(&producer.frame_of(3000), round).unwrap();
            shard.settle();
        }
    }
}

/// Two shards with two partitions each, of which one is forgotten later; crashed with most of it in the journals.
fn before_it_was_forgotten() -> (FaultDisk, Vec<TestProducer>, [Vec<ReadFrame>; 2]) {
    let disk = FaultDisk::new(21);
    let placed = [(id(0), 0, 1), (id(1), 1, 1), (orphan(0), 0, 1), (orphan(1), 1, 1)];
    let mut shards = start(&disk, 2, &placed, 1);
    let mut producers: Vec<_> = placed.iter().map(|&(id, ..)| TestProducer::of(id, 5)).collect();
    fill(&mut shards, &mut producers, 15);
    shards[0].advance_ms(1100);
    fill(&mut shards, &mut producers, 15);
    let held = [0, 1].map(|p| shard_of(&mut shards, orphan(p)).read_all_of(orphan(p), 0).unwrap());
    drop(shards);
    producers.truncate(2);
    (disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost }), producers, held)
}

fn adopted(disk: &FaultDisk, known: &[Placed], held: &[Vec<ReadFrame>; 2], number: u64, at: &str) {
    let survey = surveyed(disk, 2);
    let found = |p| survey.held.get(&orphan(p)).unwrap_or_else(|| panic!("{at}: no checkpoint names {}", orphan(p)));
    // The second one moves, as when its shard is out of use.
    let above = |p| found(p).placement_epoch.0 + 1;
    let placed = [known, &[(orphan(0), found(0).shard.0, above(0)), (orphan(1), 0, above(1))]].concat();
    let mut shards = start(disk, 2, &placed, number);
    for (p, held) in (0..).zip(held) {
        let read = shard_of(&mut shards, orphan(p)).read_all_of(orphan(p), 0).unwrap();
        assert!(read == *held, "{at}: partition {p} has {} of {} frames", read.len(), held.len());
    }
    let mut producers = [TestProducer::of(orphan(0), 8), TestProducer::of(orphan(1), 8)];
    fill(&mut shards, &mut producers, 2);
    drop(shards);
    let crashed = disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost });
    let mut shards = start(&crashed, 2, &placed, number + 1);
    for (p, held) in (0..).zip(held) {
        let read = shard_of(&mut shards, orphan(p)).read_all_of(orphan(p), 0).unwrap();
        assert!(read.len() == held.len() + 2 && read[..held.len()] == held[..], "{at}: partition {p} after the adoption");
    }
}

#[test]
fn forgotten_partitions_survive_starts_crashes_and_other_shard_counts() {
    let (mut disk, mut producers, held) = before_it_was_forgotten();
    let mut placed = vec![(id(0), 0, 1), (id(1), 1, 1)];
    let mut count = 30;
    let lives: [(u16, u32); 7] = [(2, 1), (2, 1), (1, 2), (1, 2), (2, 3), (2, 3), (2, 3)];
    for (number, (shard_count, epoch)) in (2..).zip(lives) {
        placed[1] = (id(1), shard_count - 1, epoch);
        let mut shards = start(&disk, shard_count, &placed, number);
        for p in 0..2 {
            assert!(shards.iter().all(|shard| !shard.partitions.contains(orphan(p))), "it is never served");
            assert_eq!(shard_of(&mut shards, id(p)).read_all(p, 0).unwrap().len(), count, "start {number}");
        }
        fill(&mut shards, &mut producers, 20);
        count += 20;
        // Checkpoints are written anew and again.
        shards.iter_mut().for_each(|shard| shard.advance_ms(5000));
        let survey = surveyed(&disk, usize::from(shard_count));
        assert_eq!(survey.held.keys().filter(|id| id.topic_id == FORGOTTEN).count(), 2, "start {number}");
        assert_eq!(survey.out_of_use_until.is_some(), shard_count == 1);
        assert_eq!(survey.incarnation_number, number * 10 + 1);
        drop(shards);
        disk = disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Torn(number) });
    }
    adopted(&disk, &placed, &held, 20, "after seven starts");
}

#[test]
fn a_start_that_finds_orphans_may_be_cut_off_anywhere() {
    let (disk, _, held) = before_it_was_forgotten();
    let known = [(id(0), 0, 1), (id(1), 1, 1)];
    let first = disk.call_count();
    drop(start(&disk, 2, &known, 2));
    let last = disk.call_count();
    assert!(last - first > 20);
    for call in first..=last {
        for unflushed in [Unflushed::Kept, Unflushed::Lost, Unflushed::Torn(call as u64)] {
            let image = disk.crash(PowerCut { call, unflushed });
            adopted(&image, &known, &held, 20, &format!("cut at {call}, {unflushed:?}"));
        }
    }
}

/// Metadata that is older than the folder, and would lead under an epoch that was used: frames under a lower epoch
/// would not be replayed.
#[test]
fn a_leader_epoch_below_that_of_the_records_is_refused() {
    let disk = FaultDisk::new(1);
    let mut setup = Setup::new(1, 7);
    let mut shard = TestShard::open(&disk, setup.clone());
    shard.append(&TestProducer::new(0, 5).frame_of(100), 1).unwrap();
    shard.settle();
    drop(shard);
    setup.start = 8;
    setup.assigned[0].state.as_mut().unwrap().leader_epoch = LeaderEpoch(6);
    let Err(error) = TestShard::try_open(&disk, setup) else { panic!("it opened") };
    assert!(error.to_string().contains("leader epoch 7 and would be led under 6"), "{error}");
}

/// Both slots of a shard are lost and their spare, and the metadata does not know all that its journal names.
#[test]
fn an_orphan_that_the_journal_alone_names_is_reported_after_a_rebuild() {
    let (disk, _, held) = before_it_was_forgotten();
    for shard in 0..2 {
        for slot in 0..2 {
            disk.flip_bit(&layout().checkpoint_slot(ShardIndex(shard), slot), 30, 1);
        }
        disk.flip_bit(&layout().checkpoint_spare(ShardIndex(shard)), 30, 1);
    }
    let known = [(id(0), 0, 1), (id(1), 1, 1)];
    let shards = start(&disk, 2, &known, 2);
    for (shard, p) in shards.iter().zip(0..) {
        assert!(shard.report.rebuilt, "{}", shard.report);
        assert_eq!(shard.report.unknown.iter().copied().collect::<Vec<_>>(), [orphan(p)], "{}", shard.report);
    }
    drop(shards);
    adopted(&disk, &known, &held, 20, "after a rebuild");
}

/// The folder of a shard is missing: a start that is refused must leave nothing where it is to be put back.
#[test]
fn a_start_over_segments_that_nobody_names_writes_nothing() {
    let disk = FaultDisk::new(4);
    let mut shard = TestShard::open(&disk, Setup::new(1, 1));
    fill(std::slice::from_mut(&mut shard), &mut [TestProducer::new(0, 5)], 30);
    shard.advance_ms(4000);
    drop(shard);
    let whole = disk.files();
    let is_segment = |path: &Path| path.starts_with(layout().partitions_dir());
    let others: Vec<_> = whole.keys().filter(|path| !is_segment(path)).collect();
    for path in &others {
        block_on(disk.remove_file(path)).unwrap();
    }
    let left = disk.files();
    assert!(!left.is_empty() && left.keys().all(|path| is_segment(path)));
    for start in 2..4 {
        let Err(error) = TestShard::try_open(&disk, Setup::new(1, start)) else { panic!("it opened") };
        assert!(matches!(error, OpenError::UnknownData { id: unknown } if unknown == id(0)), "{error}");
        assert!(disk.files() == left, "{:?}", disk.files().keys());
    }
}
