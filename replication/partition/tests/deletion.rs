//! A deleted topic never comes back, whenever the power is cut: its tombstone drops what journal and checkpoint name.

mod support;

use sluice_model::{PartitionIndex, TopicId, TopicPartition};
use sluice_partition::PartitionAssignment;
use sluice_storage::disk::Disk;
use sluice_storage::layout::Layout;
use sluice_storage::testing::executor::block_on;
use sluice_storage::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use std::collections::BTreeSet;
use std::path::Path;
use support::{ReadFrame, Setup, TestProducer, TestShard, assignment};

const DELETED: TopicId = TopicId([9; 16]);

fn gone(partition: u32) -> TopicPartition {
    TopicPartition { topic_id: DELETED, partition: PartitionIndex(partition) }
}

/// One partition that stays, and with `deleted` two of the other topic.
fn setup(start: u64, deleted: bool) -> Setup {
    let mut setup = Setup { tail_budget: 512 * 1024, ..Setup::new(1, start) };
    if deleted {
        setup.assigned.extend((0..2).map(|p| PartitionAssignment { id: gone(p), ..assignment(p, start) }));
    }
    setup
}

fn with_tombstone(start: u64) -> Setup {
    Setup { deleted: BTreeSet::from([DELETED]), ..setup(start, false) }
}

/// Frames of all three partitions in turn, so that no journal group is the deleted topic's alone.
fn fill(shard: &mut TestShard, producers: &mut [TestProducer], rounds: u64) {
    for round in 0..rounds {
        for producer in &mut *producers {
            shard.append(&producer.frame_of(3000), round).unwrap();
        }
        shard.settle();
    }
}

fn has_folder(disk: &FaultDisk) -> bool {
    block_on(disk.read_dir(&Layout::new(Path::new("/data")).topic_dir(DELETED))).is_ok()
}

fn assert_gone(shard: &TestShard, at: &str) {
    assert!(!shard.partitions.contains(gone(0)) && !shard.partitions.contains(gone(1)), "{at}");
    assert!(shard.report.unknown.is_empty(), "{at}: {:?}", shard.report.unknown);
    assert!(!has_folder(&shard.disk), "{at}: the folder is there: {:?}", shard.disk.files().keys());
}

/// A shard that has all three partitions, part of them in segments; the calls at which the deletion began and ended;
/// and what the partition that stays holds at the end.
fn deleted_shard() -> (FaultDisk, usize, Vec<ReadFrame>) {
    let disk = FaultDisk::new(11);
    let mut shard = TestShard::open(&disk, setup(1, true));
    let mut producers = [TestProducer::new(0, 5), TestProducer::of(gone(0), 5), TestProducer::of(gone(1), 5)];
    fill(&mut shard, &mut producers, 12);
    shard.advance_ms(1100);
    fill(&mut shard, &mut producers, 3);
    assert!(has_folder(&disk), "part of it is in segments");
    let began = disk.call_count();
    let partitions = shard.partitions.clone();
    shard.run(async move { partitions.remove(&[gone(0), gone(1)]).await }).unwrap();
    fill(&mut shard, &mut producers[..1], 3);
    let kept = shard.read_all(0, 0).unwrap();
    (disk, began, kept)
}

#[test]
fn cut_off_anywhere_after_a_deletion_the_topic_never_comes_back() {
    let (disk, began, kept) = deleted_shard();
    let mut replayed_without = 0;
    for call in began..=disk.call_count() {
        for unflushed in [Unflushed::Kept, Unflushed::Lost, Unflushed::Torn(call as u64)] {
            let at = format!("cut at {call}, {unflushed:?}");
            let image = disk.crash(PowerCut { call, unflushed });
            let mut shard = TestShard::open(&image, with_tombstone(2));
            assert_gone(&shard, &at);
            let found = shard.read_all(0, 0).unwrap();
            assert!(found[..] == kept[..found.len()] && found.len() >= 15, "{at}: {} frames", found.len());
            drop(shard);
            // Without the tombstone it would be there again: the test can fail.
            let image = disk.crash(PowerCut { call, unflushed });
            replayed_without += usize::from(has_folder(&TestShard::open(&image, setup(2, false)).disk));
        }
    }
    assert!(replayed_without > 0, "the journal named it after no cut");
}

#[test]
fn the_start_that_drops_it_may_itself_be_cut_off_anywhere() {
    let (disk, _, kept) = deleted_shard();
    let crashed = disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost });
    let first = crashed.call_count();
    drop(TestShard::open(&crashed, with_tombstone(2)));
    for call in first..=crashed.call_count() {
        for unflushed in [Unflushed::Kept, Unflushed::Lost, Unflushed::Torn(call as u64)] {
            let image = crashed.crash(PowerCut { call, unflushed });
            let mut shard = TestShard::open(&image, with_tombstone(3));
            assert_gone(&shard, &format!("cut at {call}, {unflushed:?}"));
            assert!(shard.read_all(0, 0).unwrap() == kept);
        }
    }
}

/// The rule by which the tombstone goes: a ring that holds groups of a later start has nothing of it that is replayed.
#[test]
fn without_the_tombstone_it_stays_away_once_a_later_start_wrote_to_the_ring() {
    let (disk, _, kept) = deleted_shard();
    let mut image = disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost });
    let shard = TestShard::open(&image, with_tombstone(2));
    assert_eq!(shard.report.ring_incarnation_number, Some(1), "the ring still holds what the first start wrote");
    drop(shard);
    let mut shard = TestShard::open(&image, with_tombstone(3));
    assert_eq!(shard.report.ring_incarnation_number, Some(2), "every start begins the ring with a group of its own");
    shard.append(&TestProducer::new(0, 6).frame_of(100), 1).unwrap();
    shard.settle();
    drop(shard);
    for start in 4..6 {
        image = image.crash(PowerCut { call: image.call_count(), unflushed: Unflushed::Lost });
        let mut shard = TestShard::open(&image, setup(start, false));
        assert!(shard.report.ring_incarnation_number >= Some(3), "{:?}", shard.report.ring_incarnation_number);
        assert_gone(&shard, "the tombstone is gone");
        assert_eq!(shard.read_all(0, 0).unwrap().len(), kept.len() + 1);
    }
}
