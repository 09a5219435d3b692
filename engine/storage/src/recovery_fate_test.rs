//! Whose entries count: partitions that are deleted, held elsewhere, imported, or known to the journal alone.

use super::damage_tests::{six_groups, start};
use super::tests::{Scenario, power_cycled};
use super::*;
use crate::checkpoint_slots::{SlotFound, read_slots};
use crate::disk::OpenMode;
use crate::layout::segment_file;
use crate::testing::executor::block_on;
use crate::testing::fault_disk::FaultDisk;
use crate::testing::frames::test_partition;
use crate::testing::test_shard::{TEST_SHARD, TestShard, TestSizes, test_layout};
use crate::write_back::WriteBackKind;

#[test]
fn partitions_that_are_deleted_or_elsewhere_are_left_alone() {
    let scenario = six_groups();
    let disk = power_cycled(&scenario.shard.disk);
    for fate in [PartitionFate::Deleted, PartitionFate::Elsewhere] {
        let fates = |id: TopicPartition, _: Option<PlacementEpoch>| {
            if id == test_partition(0) { fate } else { PartitionFate::Recover(LogConfig::default()) }
        };
        let disk = power_cycled(&disk);
        let shard = TestShard::start_with(&disk, 2, TestSizes::default(), &fates).unwrap();
        assert_eq!(shard.shard.partitions.keys().copied().collect::<Vec<_>>(), [test_partition(1)]);
        assert_eq!(shard.report().skipped[&test_partition(0)], 3);
        assert!(shard.report().is_clean());
    }
}

#[test]
fn a_partition_that_only_the_journal_knows_is_recovered_and_named() {
    let mut scenario = Scenario::new(1, TestSizes::default());
    let id = test_partition(5);
    let frame = crate::testing::frames::FrameSource::new(id, 1).next(2, 100);
    let entry = crate::commit_group::JournalEntry::Frame { header: &frame.header, body: &frame.body };
    scenario.shard.shard.journal.append(entry);
    scenario.commit();
    let mut shard = start(&power_cycled(&scenario.shard.disk), "unknown");
    assert_eq!(shard.report().unknown.iter().copied().collect::<Vec<_>>(), [id]);
    assert_eq!(shard.read_all(id), [frame.bytes()]);
    assert_eq!(shard.shard.partitions[&id].placement_epoch, PlacementEpoch(0));
}

#[test]
fn an_import_replaces_what_the_shard_knew_and_journal_entries_older_than_it() {
    // Shard 0 recovers the partition, hands it over, and takes it back under a greater placement epoch.
    let mut scenario = six_groups();
    let id = test_partition(0);
    scenario.shard.write_back(WriteBackKind::Everything);
    scenario.shard.flush();
    let mut import = scenario.shard.log(id).checkpoint(Offset::ZERO);
    import.placement_epoch = PlacementEpoch(2);
    // Addresses of another shard's journal mean nothing here.
    import.recovery_point.held = crate::entry_address::EntryAddress::ZERO;
    let disk = power_cycled(&scenario.shard.disk);
    let mut shard = TestShard::start_importing(&disk, 2, TestSizes::default(), vec![import]).unwrap();
    assert_eq!(shard.shard.partitions[&id].placement_epoch, PlacementEpoch(2));
    assert_eq!(shard.report().entries_replayed, 3, "those of the other partition");
    assert!(shard.report().is_clean());
    scenario.model.check(&mut shard, usize::MAX, "imported");
    let mut again = TestShard::start(&power_cycled(&shard.disk), 3, TestSizes::default()).unwrap();
    assert_eq!(again.shard.partitions[&id].placement_epoch, PlacementEpoch(2));
    scenario.model.check(&mut again, usize::MAX, "imported, and again");
}

#[test]
fn a_partition_that_is_handed_over_stays_named_and_its_files_are_not_looked_at() {
    let mut scenario = six_groups();
    let id = test_partition(0);
    scenario.shard.write_back(WriteBackKind::Everything);
    scenario.shard.flush();
    scenario.shard.checkpoint();
    let given = scenario.shard.log(id).checkpoint(Offset::ZERO);
    assert!(given.recovery_point.position > 0);
    for slots_lost in [false, true] {
        let disk = power_cycled(&scenario.shard.disk);
        let dir = test_layout().partition_dir(id);
        let of_others = |disk: &FaultDisk| disk.files().into_keys().filter(|path| path.starts_with(&dir)).collect::<Vec<_>>();
        // Whoever has it now has deleted all of its records, and begun another segment.
        for path in of_others(&disk) {
            block_on(disk.remove_file(&path)).unwrap();
        }
        let theirs = segment_file(&dir, Offset(700));
        block_on(async { disk.open(&theirs, OpenMode::CreateNew).await.map(drop) }).unwrap();
        for slot in (0..2).filter(|_| slots_lost) {
            disk.flip_bit(&test_layout().checkpoint_slot(TEST_SHARD, slot), 30, 1);
        }
        let shard = TestShard::start_handing_over(&disk, 2, TestSizes::default(), vec![given.clone()]).unwrap();
        assert!(!shard.shard.partitions.contains_key(&id) && shard.shard.partitions.contains_key(&test_partition(1)));
        let report = shard.report();
        assert!(report.damaged.is_empty() && report.set_aside.is_empty() && report.rebuilt == slots_lost, "{report}");
        assert_eq!(of_others(&shard.disk), [theirs]);
        for slot in block_on(read_slots(&shard.disk, &test_layout(), TEST_SHARD)).unwrap() {
            let SlotFound::Good(found) = slot else { panic!("a slot is not good") };
            assert!(found.checkpoint.partitions.contains(&given), "{:?}", found.checkpoint);
        }
    }
}
