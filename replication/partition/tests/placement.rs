//! Partitions move between shards when their number changes: nothing is lost, and what was left behind never counts.

mod support;

use sluice_model::{BrokerId, LeaderEpoch, Offset, ShardIndex};
use sluice_partition::{OpenError, PartitionAssignment, PartitionState, Prepared};
use sluice_storage::disk::{Disk, DiskFile, OpenMode};
use sluice_storage::layout::Layout;
use sluice_storage::recovery::RecoveryError;
use sluice_storage::testing::executor::block_on;
use sluice_storage::testing::fault_disk::{FaultDisk, FaultKind, PowerCut, Unflushed};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use support::start::{Placed, open_prepared, start_shards};
use support::{TestProducer, TestShard, assignment, id, incarnation};

type Files = BTreeMap<PathBuf, Vec<u8>>;

fn layout() -> Layout {
    Layout::new(Path::new("/data"))
}

/// Where each partition is, by start: its shard and placement epoch.
type Placement = [(u16, u32)];

fn placed(placement: &Placement) -> Vec<Placed> {
    (0..).zip(placement).map(|(partition, &(shard, epoch))| (id(partition), shard, epoch)).collect()
}

fn try_prepare(disk: &FaultDisk, placement: &Placement, start: u64) -> Result<Prepared, OpenError> {
    support::start::try_prepare(disk, &placed(placement), start)
}

/// Opens every shard of a placement, as a start of a broker does.
fn start(disk: &FaultDisk, placement: &Placement, start: u64) -> Vec<TestShard> {
    let shards: BTreeSet<u16> = placement.iter().map(|place| place.0).collect();
    start_shards(disk, shards, &placed(placement), start)
}

fn fill(shards: &mut [TestShard], placement: &Placement, producers: &mut [TestProducer], count: u64) {
    for round in 0..count {
        for (producer, place) in producers.iter_mut().zip(placement) {
            let shard = shards
                .iter_mut()
                .find(|shard| shard.partitions.contains(support::id(producer.partition)))
                .unwrap_or_else(|| panic!("{place:?}"));
            shard.append(&producer.frame_of(4000), round).unwrap();
            shard.settle();
        }
    }
}

fn count(shards: &mut [TestShard], partition: u32) -> usize {
    let shard = shards.iter_mut().find(|shard| shard.partitions.contains(support::id(partition))).unwrap();
    shard.read_all(partition, 0).unwrap().len()
}

const ONE: &Placement = &[(0, 1), (0, 1), (0, 1)];
const TWO: &Placement = &[(0, 1), (1, 2), (1, 2)];
const BACK: &Placement = &[(0, 1), (0, 3), (1, 2)];

#[test]
fn more_shards_fewer_shards_and_crashes_in_between() {
    let mut disk = FaultDisk::new(3);
    let mut producers: Vec<_> = (0..3).map(|p| TestProducer::new(p, 5)).collect();
    for (number, placement) in [ONE, TWO, TWO, BACK, ONE_AGAIN, TWO_AGAIN].into_iter().enumerate() {
        let mut shards = start(&disk, placement, number as u64 + 1);
        for p in 0..3 {
            assert_eq!(count(&mut shards, p), number * 20, "start {number}, partition {p}");
        }
        fill(&mut shards, placement, &mut producers, 20);
        drop(shards);
        disk = disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Torn(number as u64) });
    }
}

/// Both slots of a shard rot, and the spare when it is `whole`.
fn lose(disk: &FaultDisk, shard: u16, whole: bool) {
    let layout = Layout::new(Path::new("/data"));
    (0..2).for_each(|slot| disk.flip_bit(&layout.checkpoint_slot(ShardIndex(shard), slot), 30, 1));
    if whole {
        disk.flip_bit(&layout.checkpoint_spare(ShardIndex(shard)), 30, 1);
    }
}

fn cut(disk: &FaultDisk) -> FaultDisk {
    disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost })
}

/// A shard that has its spare says what it held: what was on it is rebuilt, whether it stays, leaves or had come.
#[test]
fn with_its_spare_a_shard_without_checkpoints_is_rebuilt_wherever_its_partitions_go() {
    let disk = FaultDisk::new(7);
    let mut producers: Vec<_> = (0..3).map(|p| TestProducer::new(p, 5)).collect();
    let mut shards = start(&disk, ONE, 1);
    fill(&mut shards, ONE, &mut producers, 15);
    drop(shards);
    // Shard 0 still names the partitions that move to shard 1, as they were.
    let mut shards = start(&disk, TWO, 2);
    fill(&mut shards, TWO, &mut producers, 5);
    drop(shards);
    for placement in [TWO, BACK, ONE_AGAIN] {
        for lost in [[true, false], [false, true], [true, true]] {
            let image = cut(&disk);
            (0..2).filter(|shard| lost[usize::from(*shard)]).for_each(|shard| lose(&image, shard, false));
            let mut shards = start(&image, placement, 3);
            for p in 0..3 {
                assert_eq!(count(&mut shards, p), 20, "{placement:?}, {lost:?} lost, partition {p}");
            }
        }
    }
}

/// Back on the shard that it left, under a newer placement epoch: what that one still has is older than what was lost.
#[test]
fn what_a_shard_kept_of_a_partition_that_left_is_not_served_when_it_comes_back() {
    let disk = FaultDisk::new(8);
    let mut producers: Vec<_> = (0..3).map(|p| TestProducer::new(p, 5)).collect();
    let mut shards = start(&disk, ONE, 1);
    fill(&mut shards, ONE, &mut producers, 15);
    drop(shards);
    let mut shards = start(&disk, TWO, 2);
    fill(&mut shards, TWO, &mut producers, 5);
    drop(shards);
    let image = cut(&disk);
    lose(&image, 1, true);
    let files = image.files();
    let refused = try_prepare(&image, ONE_BACK, 3).map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::MovesFromLost { lost: ShardIndex(1), to: ShardIndex(0), .. }), "{refused}");
    assert!(files == image.files(), "nothing was changed");
}

/// Each of them still has journal groups of the partition that has moved; one rebuilds it.
#[test]
fn of_two_shards_without_checkpoints_only_one_rebuilds_a_partition() {
    let disk = FaultDisk::new(9);
    let mut producers: Vec<_> = (0..3).map(|p| TestProducer::new(p, 5)).collect();
    let mut shards = start(&disk, ONE, 1);
    fill(&mut shards, ONE, &mut producers, 3);
    drop(shards);
    let mut shards = start(&disk, TWO, 2);
    fill(&mut shards, TWO, &mut producers, 2);
    drop(shards);
    for whole in [[false, false], [true, false]] {
        let image = cut(&disk);
        (0..2).for_each(|shard| lose(&image, shard, whole[usize::from(shard)]));
        let mut shards = start(&image, TWO, 3);
        for p in 0..3 {
            assert_eq!(count(&mut shards, p), 5, "{whole:?}, partition {p}");
        }
        assert!(!image.files().keys().any(|path| path.starts_with("/data/set-aside")), "nobody's files were taken away");
    }
    let image = cut(&disk);
    (0..2).for_each(|shard| lose(&image, shard, true));
    let refused = try_prepare(&image, TWO, 3).map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::MovesFromLost { .. }), "either of them may have had it last: {refused}");
}

#[test]
fn a_shard_that_opens_late_leaves_alone_what_moved_to_one_that_is_at_work() {
    let disk = FaultDisk::new(6);
    let mut producers: Vec<_> = (0..3).map(|p| TestProducer::new(p, 5)).collect();
    let mut shards = start(&disk, ONE, 1);
    fill(&mut shards, ONE, &mut producers, 20);
    drop(shards);
    let mut prepared = try_prepare(&disk, TWO, 2).unwrap();
    let mut early = open_prepared(&disk, 1, &placed(TWO), &mut prepared, 2);
    // Into segments that the shard which had them before knows nothing of.
    for round in 0..40 {
        producers[1..].iter_mut().for_each(|producer| early.append(&producer.frame_of(4000), round).unwrap());
        early.settle();
    }
    // Of one partition those segments are removed which that shard does know.
    early.partitions.delete_records(id(1), Offset(50), 99).unwrap();
    early.settle();
    early.advance_ms(10_000);
    early.settle();
    let folder = |files: Files| -> Files {
        files.into_iter().filter(|(path, _)| (1..3).any(|p| path.starts_with(layout().partition_dir(id(p))))).collect()
    };
    let files = folder(disk.files());
    let mut late = open_prepared(&disk, 0, &placed(TWO), &mut prepared, 2);
    assert!(late.report.is_clean() && late.report.set_aside.is_empty(), "{}", late.report);
    assert!(folder(disk.files()) == files, "a file of another shard's partitions was touched");
    assert_eq!(late.read_all(0, 0).unwrap().len(), 20);
    let check = |early: &mut TestShard| {
        assert_eq!(early.read_all(1, 50).unwrap().len(), 10);
        assert_eq!(early.read_all(2, 0).unwrap().len(), 60);
    };
    check(&mut early);
    drop((early, late));
    let crashed = disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost });
    check(&mut start(&crashed, TWO, 3)[1]);
}

/// The checkpoints of a shard are there when it is looked at, and not when it is recovered for what leaves it: nothing may
/// be rebuilt that nobody would know the rest of.
#[test]
fn a_shard_whose_checkpoints_are_gone_when_partitions_leave_it_is_not_rebuilt_for_that() {
    let disk = FaultDisk::new(6);
    let mut producers: Vec<_> = (0..3).map(|p| TestProducer::new(p, 5)).collect();
    let mut shards = start(&disk, ONE, 1);
    fill(&mut shards, ONE, &mut producers, 60);
    shards[0].advance_ms(10_000);
    shards[0].settle();
    drop(shards);
    let mut refused = 0;
    for nth in 0..20 {
        let image = disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost });
        let files = image.files();
        (nth..nth + 3).for_each(|call| image.fail(FaultKind::Open, call));
        if let Err(OpenError::Recovery(error)) = try_prepare(&image, TWO, 2)
            && let RecoveryError::CheckpointsLost { shard: ShardIndex(0) } = *error
        {
            assert!(error.to_string().contains("nothing was changed") && files == image.files(), "{error}");
            refused += 1;
        }
        image.clear_faults();
        let mut shards = start(&image, TWO, 3);
        (0..3).for_each(|p| assert_eq!(count(&mut shards, p), 60, "opening calls {nth} to {} failed", nth + 2));
    }
    assert_eq!(refused, 1, "both slots and the spare are opened once more, one after the other");
}

#[test]
fn a_shard_without_checkpoints_is_rebuilt_where_it_was_and_nothing_moves_meanwhile() {
    let disk = FaultDisk::new(5);
    let mut producers: Vec<_> = (0..3).map(|p| TestProducer::new(p, 5)).collect();
    let mut shards = start(&disk, TWO, 1);
    fill(&mut shards, TWO, &mut producers, 15);
    drop(shards);
    let crashed = disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost });
    lose(&crashed, 1, true);
    let refused = try_prepare(&crashed, ONE_AGAIN, 2).map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::MovesFromLost { lost: ShardIndex(1), to: ShardIndex(0), .. }), "{refused}");
    assert!(refused.to_string().contains("as many shards as before"), "{refused}");
    let mut shards = start(&crashed, TWO, 3);
    for p in 0..3 {
        assert_eq!(count(&mut shards, p), 15, "partition {p}");
    }
}

#[test]
fn a_moved_partition_is_not_taken_back_from_the_folder_it_left_when_its_shard_loses_its_checkpoints() {
    let disk = FaultDisk::new(6);
    let mut producers: Vec<_> = (0..3).map(|p| TestProducer::new(p, 5)).collect();
    let mut shards = start(&disk, ONE, 1);
    fill(&mut shards, ONE, &mut producers, 15);
    drop(shards);
    // Two partitions move to shard 1 and go on there; shard 0 still names them as they were.
    let mut shards = start(&disk, TWO, 2);
    fill(&mut shards, TWO, &mut producers, 5);
    drop(shards);
    let crashed = disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost });
    lose(&crashed, 1, true);
    let files = crashed.files();
    let refused = try_prepare(&crashed, TWO, 3).map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::MovedToLost { lost: ShardIndex(1), from: ShardIndex(0), .. }), "{refused}");
    assert!(refused.to_string().contains("put back a copy of shard-1"), "{refused}");
    assert!(files == crashed.files(), "nothing was changed");
}

/// A shard whose slots fail to be read once, and are there the next time, is lost for the whole of that start: its records
/// may stand in its journal only.
#[test]
fn slots_that_cannot_be_read_for_a_moment_leave_nothing_behind_when_partitions_move() {
    let disk = FaultDisk::new(6);
    let mut producers: Vec<_> = (0..3).map(|p| TestProducer::new(p, 5)).collect();
    let mut shards = start(&disk, TWO, 1);
    fill(&mut shards, TWO, &mut producers, 15);
    drop(shards);
    let mut refused_lost = 0;
    for nth in 0..20 {
        let image = disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost });
        image.fail(FaultKind::Open, nth);
        image.fail(FaultKind::Open, nth + 1);
        image.fail(FaultKind::Open, nth + 2);
        match try_prepare(&image, ONE_AGAIN, 2) {
            Ok(prepared) => {
                let moved = prepared.imports.get(&ShardIndex(0)).map_or(0, Vec::len);
                assert_eq!(moved, 2, "opening calls {nth} to {} failed, and partitions were left behind", nth + 2);
            }
            Err(OpenError::MovesFromLost { lost: ShardIndex(1), .. }) => refused_lost += 1,
            Err(_) => {}
        }
        image.clear_faults();
        let mut shards = start(&image, ONE_AGAIN, 3);
        for p in 0..3 {
            assert_eq!(count(&mut shards, p), 15, "opening calls {nth} to {} failed, partition {p}", nth + 2);
        }
    }
    assert_eq!(refused_lost, 1, "both slots of shard 1 and its spare are opened once, one after the other");
}

const ONE_BACK: &Placement = &[(0, 1), (0, 3), (0, 3)];
const ONE_AGAIN: &Placement = &[(0, 1), (0, 3), (0, 4)];
const TWO_AGAIN: &Placement = &[(0, 1), (1, 5), (1, 6)];

#[test]
fn a_start_cut_off_anywhere_while_partitions_move_is_started_again() {
    let disk = FaultDisk::new(4);
    let mut producers: Vec<_> = (0..3).map(|p| TestProducer::new(p, 5)).collect();
    let mut shards = start(&disk, ONE, 1);
    fill(&mut shards, ONE, &mut producers, 15);
    drop(shards);
    let first = disk.call_count();
    drop(start(&disk, TWO, 2));
    let last = disk.call_count();
    assert!(last - first > 20);
    for call in first..=last {
        for unflushed in [Unflushed::Kept, Unflushed::Lost, Unflushed::Torn(call as u64)] {
            let image = disk.crash(PowerCut { call, unflushed });
            let mut shards = start(&image, TWO, 3);
            for p in 0..3 {
                assert_eq!(count(&mut shards, p), 15, "cut at {call} {unflushed:?}: {}", disk.describe_call(call.min(last - 1)));
            }
        }
    }
}

/// A partition that came to a full disk: it takes records only once both slots name it, and moves with them.
#[test]
fn a_partition_that_is_opened_on_a_full_disk_is_named_before_it_takes_a_record() {
    let disk = FaultDisk::new(21);
    let mut producers = [TestProducer::new(0, 5)];
    let mut shards = start(&disk, &[(0, 1)], 1);
    fill(&mut shards, &[(0, 1)], &mut producers, 3);
    drop(shards);
    drop(start(&disk, &[(0, 1)], 2));
    // So many that the slots have to grow for them.
    let mut many = [(0, 1); 200];
    let disk = cut(&disk);
    disk.set_capacity(disk.files().values().map(|bytes| (bytes.len() as u64).next_multiple_of(4096)).sum());
    let mut shards = start(&disk, &many, 3);
    disk.set_capacity(u64::MAX);
    let mut producer = TestProducer::new(150, 9);
    for _ in 0..20 {
        shards[0].advance_ms(50);
        if shards[0].append(&producer.frame_of(1000), 2).is_ok() {
            break;
        }
    }
    shards[0].settle();
    assert_eq!(count(&mut shards, 150), 1, "room came, and produce with it");
    drop(shards);
    many[150] = (1, 2);
    let mut shards = start(&cut(&disk), &many, 4);
    assert_eq!(count(&mut shards, 150), 1);
}

#[test]
fn what_only_a_journal_names_moves_with_its_records() {
    let disk = FaultDisk::new(22);
    let mut shards = start(&disk, &[(0, 1)], 1);
    let before = disk.files();
    let state = PartitionState::alone(BrokerId(1), incarnation(11), LeaderEpoch(1));
    block_on(shards[0].partitions.create(vec![PartitionAssignment { state: Some(state), ..assignment(1, 1) }])).unwrap();
    let mut producers = [TestProducer::new(1, 5)];
    fill(&mut shards, &[(0, 1)], &mut producers, 3);
    drop(shards);
    let disk = cut(&disk);
    // The checkpoints that named the partition never arrived.
    let slots = [0, 1].map(|slot| layout().checkpoint_slot(ShardIndex(0), slot));
    for path in slots.into_iter().chain([layout().checkpoint_spare(ShardIndex(0))]) {
        let file = block_on(disk.open(&path, OpenMode::Existing)).unwrap();
        block_on(file.write_at(0, before[&path].clone())).unwrap();
        block_on(file.sync()).unwrap();
    }
    for spare_only in [false, true] {
        let image = cut(&disk);
        if spare_only {
            lose(&image, 0, false);
        }
        for placement in [[(0, 1), (0, 1)], [(0, 1), (1, 2)]] {
            let mut shards = start(&cut(&image), &placement, 3);
            assert_eq!(count(&mut shards, 1), 3, "{placement:?}, without slots: {spare_only}");
        }
    }
}
