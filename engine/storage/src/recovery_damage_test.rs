//! Rot, in journal and segments: what is left is served, what is gone is named.

use super::tests::{Scenario, power_cycled, walk_scenario};
use super::*;
use crate::commit_group::GroupHeader;
use crate::disk::{DiskFile, OpenMode};
use crate::layout::{journal_file, segment_file};
use crate::recovery_report::LostGroups;
use crate::testing::executor::block_on;
use crate::testing::fault_disk::FaultDisk;
use crate::testing::frames::test_partition;
use crate::testing::random::Random;
use crate::testing::test_shard::{TEST_SHARD, TestShard, TestSizes, test_layout};
use crate::write_back::WriteBackKind;
use sluice_model::limits::BLOCK_LEN;
use std::path::PathBuf;

pub(super) fn start(disk: &FaultDisk, what: &str) -> TestShard {
    TestShard::start(disk, 2, TestSizes::default()).unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// File and position of every group of the newest incarnation in the ring, by sequence, but for the one a start begins with.
fn groups(disk: &FaultDisk) -> Vec<(PathBuf, u64, GroupHeader)> {
    let dir = test_layout().shard_journal_dir(TEST_SHARD);
    let mut groups = Vec::new();
    for (path, bytes) in disk.files().into_iter().filter(|(path, _)| path.starts_with(&dir)) {
        for (block, bytes) in bytes.chunks(BLOCK_LEN).enumerate() {
            if let Some((header, _)) = GroupHeader::parse(bytes).filter(|(header, _)| header.prev_group_crc != 0) {
                groups.push((path.clone(), (block * BLOCK_LEN) as u64, header));
            }
        }
    }
    groups.sort_by_key(|(_, _, header)| header.sequence);
    groups
}

/// Partitions 0 and 1 with three groups each, in turn, then the idle marker.
pub(super) fn six_groups() -> Scenario {
    let mut scenario = Scenario::new(1, TestSizes::default());
    for n in 0..6 {
        scenario.append_and_commit(n % 2, 1000);
    }
    scenario.shard.mark_idle();
    scenario
}

#[test]
fn a_damaged_body_costs_the_frames_in_it() {
    let scenario = six_groups();
    let disk = power_cycled(&scenario.shard.disk);
    let (path, position, header) = groups(&disk)[2].clone();
    disk.flip_bit(&path, position + 500, 1);
    let mut shard = start(&disk, "one body");
    assert_eq!(shard.report().damaged_groups, [header.sequence]);
    assert_eq!(shard.report().damaged.keys().copied().collect::<Vec<_>>(), [test_partition(0)]);
    assert!(shard.report().possibly_short.is_empty(), "later frames of both partitions vouch for them");
    assert_eq!(scenario.model.check_rotten(&mut shard, "one body"), 1);
    let damaged = shard.shard.partitions[&test_partition(0)].damaged.clone();
    let mut again = TestShard::start(&power_cycled(&shard.disk), 3, TestSizes::default()).unwrap();
    assert_eq!(again.shard.partitions[&test_partition(0)].damaged, damaged, "the gap is known after a restart too");
    assert_eq!(scenario.model.check_rotten(&mut again, "one body, and again"), 1);
}

#[test]
fn a_lost_header_costs_its_group_and_leaves_doubt_where_nothing_vouches() {
    let scenario = six_groups();
    for (at, doubted) in [(0, vec![]), (4, vec![0]), (5, vec![0, 1])] {
        let disk = power_cycled(&scenario.shard.disk);
        let (path, position, header) = groups(&disk)[at].clone();
        disk.flip_bit(&path, position + 50, 1);
        let what = format!("header of group {}", header.sequence);
        let mut shard = start(&disk, &what);
        let lost = LostGroups { first_sequence: header.sequence, last_sequence: header.sequence };
        assert_eq!(shard.report().lost_groups, [lost], "{what}");
        let doubted: Vec<_> = doubted.into_iter().map(test_partition).collect();
        assert_eq!(shard.report().possibly_short.keys().copied().collect::<Vec<_>>(), doubted, "{what}");
        for (id, &offset) in &shard.report().possibly_short {
            assert_eq!(offset, shard.shard.partitions[id].log.log_end_offset(), "{what}");
        }
        assert_eq!(scenario.model.check_rotten(&mut shard, &what), 1);
    }
}

#[test]
fn without_a_later_group_the_last_one_looks_torn() {
    let mut scenario = six_groups();
    scenario.append_and_commit(0, 1000);
    let disk = power_cycled(&scenario.shard.disk);
    let (path, position, _) = groups(&disk).last().unwrap().clone();
    disk.flip_bit(&path, position + 500, 1);
    let shard = start(&disk, "the last group");
    assert!(shard.report().torn_group_cut && !shard.report().ends_marked);
    assert_eq!(shard.report().entries_replayed, 6);
}

#[test]
fn the_window_of_a_lone_copy_ends_with_the_idle_marker() {
    let mut scenario = six_groups();
    scenario.append_and_commit(0, 1000);
    let last = groups(&power_cycled(&scenario.shard.disk)).pop().unwrap();
    for (marked, torn) in [(false, true), (true, false)] {
        if marked {
            scenario.shard.mark_idle();
        }
        for at in [500, 50] {
            let disk = power_cycled(&scenario.shard.disk);
            disk.flip_bit(&last.0, last.1 + at, 1);
            let mut shard = start(&disk, "rot of the last group");
            assert_eq!(shard.report().torn_group_cut, torn && at == 500, "marked: {marked}, byte {at}");
            if marked {
                assert!(!shard.report().is_clean(), "byte {at}: what the marker names durable is damage");
                assert_eq!(scenario.model.check_rotten(&mut shard, "after the marker"), 1);
            }
        }
    }
}

#[test]
fn what_is_damaged_or_in_doubt_is_remembered_until_the_log_start_passes_it() {
    let scenario = six_groups();
    let disk = power_cycled(&scenario.shard.disk);
    let groups = groups(&disk);
    // A body of partition 0 in the middle, and the last frame of partition 1.
    disk.flip_bit(&groups[2].0, groups[2].1 + 500, 1);
    disk.flip_bit(&groups[5].0, groups[5].1 + 50, 1);
    let mut shard = start(&disk, "two groups");
    let report = shard.report().clone();
    assert!(!report.damaged.is_empty() && report.possibly_short.len() == 2, "{report}");
    for number in 3..6 {
        let mut again = TestShard::start(&power_cycled(&shard.disk), number, TestSizes::default()).unwrap();
        assert_eq!(again.report().damaged, report.damaged, "start {number}");
        assert_eq!(again.report().possibly_short, report.possibly_short, "start {number}");
        assert!(!again.report().is_clean() && again.report().to_string().contains("may have lost records from offset"));
        // A frame that comes later says nothing about the one that was lost.
        let frame = again.source(test_partition(1), number).next(1, 100);
        again.append(&frame);
        again.commit();
        shard = again;
    }
    let ends: Vec<_> = report.possibly_short.keys().map(|&id| (id, shard.log(id).log_end_offset())).collect();
    for (id, end) in ends {
        shard.set_log_start(id, Offset(end.0));
    }
    let again = TestShard::start(&power_cycled(&shard.disk), 6, TestSizes::default()).unwrap();
    assert!(again.report().damaged.is_empty());
    // Partition 0 ends where the doubt begins: nothing has passed it.
    assert_eq!(again.report().possibly_short.keys().copied().collect::<Vec<_>>(), [test_partition(0)]);
}

#[test]
fn a_partition_whose_segments_hold_later_entries_is_not_in_doubt_and_a_straddled_one_is() {
    let mut scenario = Scenario::new(1, TestSizes::default());
    scenario.append_and_commit(0, 1000);
    scenario.append_and_commit(1, 9000);
    scenario.append_and_commit(2, 1000);
    scenario.shard.write_back(WriteBackKind::WholeBlocks { at_least: BLOCK_LEN });
    scenario.shard.flush();
    scenario.shard.checkpoint();
    let point = scenario.shard.log(test_partition(1)).checkpoint(Offset::ZERO).recovery_point;
    assert!(point.next_frame_position < point.position, "partition 1 straddles its recovery point");
    scenario.shard.mark_idle();
    // The group of partition 1, whose frame is only half in its segment, loses its header.
    let disk = power_cycled(&scenario.shard.disk);
    let (path, position, _) = groups(&disk)[1].clone();
    disk.flip_bit(&path, position + 50, 1);
    let mut shard = start(&disk, "the straddling frame is lost");
    let doubted: Vec<_> = shard.report().possibly_short.keys().copied().collect();
    assert!(doubted.contains(&test_partition(1)) && !doubted.contains(&test_partition(2)), "{doubted:?}");
    assert_eq!(scenario.model.check_rotten(&mut shard, "the straddling frame is lost"), 1);
}

#[test]
fn any_bit_of_a_marked_journal_may_rot_and_nothing_is_lost_without_a_word() {
    let mut missing = 0;
    for seed in [11, 12] {
        let mut scenario = walk_scenario(seed, 50, TestSizes::default());
        scenario.append_and_commit(0, 3000);
        scenario.append_and_commit(1, 300);
        scenario.shard.mark_idle();
        let disk = power_cycled(&scenario.shard.disk);
        let mut random = Random::new(seed);
        for file in 0..4 {
            let path = journal_file(&test_layout().shard_journal_dir(TEST_SHARD), file);
            for block in 0..8 {
                for _ in 0..6 {
                    // Headers are small: every other flip goes there.
                    let within = if random.coin() { 200 } else { BLOCK_LEN as u64 };
                    let position = block * BLOCK_LEN as u64 + random.below(within);
                    let rotten = power_cycled(&disk);
                    rotten.flip_bit(&path, position, 3);
                    let what = format!("seed {seed}, bit 3 of byte {position} of {}", path.display());
                    missing += scenario.model.check_rotten(&mut start(&rotten, &what), &what);
                }
            }
        }
    }
    assert!(missing > 20, "only {missing} frames were ever lost");
}

#[test]
fn any_bit_of_a_segment_may_rot_and_nothing_is_lost_without_a_word() {
    let mut missing = 0;
    for seed in [13, 14] {
        let mut scenario = walk_scenario(seed, 60, TestSizes::default());
        scenario.commit();
        scenario.shard.mark_idle();
        let disk = power_cycled(&scenario.shard.disk);
        let mut random = Random::new(seed);
        let segments: Vec<_> = disk
            .files()
            .into_iter()
            .filter(|(path, bytes)| path.starts_with(test_layout().partitions_dir()) && !bytes.is_empty())
            .collect();
        for _ in 0..150 {
            let (path, bytes) = &segments[usize::try_from(random.below(segments.len() as u64)).unwrap()];
            let position = random.below(bytes.len() as u64);
            let rotten = power_cycled(&disk);
            rotten.flip_bit(path, position, 5);
            let what = format!("seed {seed}, bit 5 of byte {position} of {}", path.display());
            missing += scenario.model.check_rotten(&mut start(&rotten, &what), &what);
        }
    }
    assert!(missing > 5, "only {missing} frames were ever lost");
}

#[test]
fn a_segment_that_is_gone_is_a_gap() {
    let mut scenario = Scenario::new(1, TestSizes::default());
    for _ in 0..12 {
        scenario.append_and_commit(0, 4000);
        scenario.shard.make_room();
    }
    scenario.shard.write_back(WriteBackKind::Everything);
    scenario.shard.flush();
    scenario.shard.checkpoint();
    let id = test_partition(0);
    let bases: Vec<_> =
        scenario.shard.log(id).checkpoint(Offset::ZERO).sealed.iter().map(|segment| segment.base_offset).collect();
    assert!(bases.len() >= 2);
    let disk = power_cycled(&scenario.shard.disk);
    block_on(disk.remove_file(&segment_file(&test_layout().partition_dir(id), bases[1]))).unwrap();
    let mut shard = start(&disk, "a segment is gone");
    assert_eq!(shard.report().damaged[&id].len(), 1);
    assert_eq!(shard.report().damaged[&id][0].from, bases[1]);
    assert!(scenario.model.check_rotten(&mut shard, "a segment is gone") > 0);
}

#[test]
fn a_straddling_frame_that_is_not_the_journals_opens_a_new_segment() {
    for (first_len, what) in [(5000, "after whole frames"), (0, "as the first frame")] {
        let mut scenario = Scenario::new(1, TestSizes::default());
        if first_len > 0 {
            scenario.append_and_commit(0, first_len);
        }
        scenario.append_and_commit(0, 9000);
        scenario.shard.write_back(WriteBackKind::WholeBlocks { at_least: BLOCK_LEN });
        scenario.shard.flush();
        scenario.shard.checkpoint();
        let id = test_partition(0);
        let point = scenario.shard.log(id).checkpoint(Offset::ZERO).recovery_point;
        assert!(point.next_frame_position < point.position, "{what}: the frame straddles");
        let disk = power_cycled(&scenario.shard.disk);
        disk.flip_bit(&segment_file(&test_layout().partition_dir(id), point.segment_base), point.position - 1, 4);
        let mut shard = start(&disk, what);
        assert_eq!(scenario.model.check_rotten(&mut shard, what), 0, "{what}: the journal has it whole");
        let mut again = TestShard::start(&power_cycled(&shard.disk), 3, TestSizes::default()).unwrap();
        assert_eq!(scenario.model.check_rotten(&mut again, what), 0, "{what}");
        again.read_all(id);
    }
}

#[test]
fn a_straddling_frame_whose_group_is_lost_leaves_doubt() {
    for (at, what) in [(50, "its header"), (500, "its body")] {
        let mut scenario = Scenario::new(1, TestSizes::default());
        scenario.append_and_commit(0, 900);
        scenario.append_and_commit(1, 900);
        scenario.append_and_commit(0, 9000);
        scenario.shard.write_back(WriteBackKind::WholeBlocks { at_least: BLOCK_LEN });
        scenario.shard.flush();
        scenario.shard.checkpoint();
        scenario.shard.mark_idle();
        let disk = power_cycled(&scenario.shard.disk);
        let (path, position, _) = groups(&disk)[2].clone();
        disk.flip_bit(&path, position + at, 1);
        let mut shard = start(&disk, what);
        assert!(shard.report().possibly_short.contains_key(&test_partition(0)), "{what}: {}", shard.report());
        assert_eq!(scenario.model.check_rotten(&mut shard, what), 1, "{what}");
    }
}

#[test]
fn a_frame_of_an_older_leader_epoch_is_not_applied() {
    for (epochs, applied) in [([2, 2], 2), ([2, 3], 2), ([2, 1], 1)] {
        let mut scenario = Scenario::new(1, TestSizes::default());
        let id = test_partition(0);
        scenario.shard.log(id);
        let mut source = scenario.shard.source(id, 1);
        for epoch in epochs {
            // Chained to the frame before, at the log end: nothing but its epoch speaks against it.
            source.leader_epoch = sluice_model::LeaderEpoch(epoch);
            let frame = source.next(1, 100);
            let entry = crate::commit_group::JournalEntry::Frame { header: &frame.header, body: &frame.body };
            scenario.shard.shard.journal.append(entry);
        }
        scenario.commit();
        let mut shard = start(&power_cycled(&scenario.shard.disk), "epochs");
        assert_eq!(shard.read_all(id).len(), applied, "{epochs:?}");
        assert_eq!(shard.report().out_of_place, 2 - applied as u64, "{epochs:?}");
        assert_eq!(shard.report().possibly_short.contains_key(&id), applied < 2, "{epochs:?}");
    }
}

#[test]
fn files_that_nothing_names_are_set_aside_and_stay_there() {
    let scenario = six_groups();
    let disk = power_cycled(&scenario.shard.disk);
    let dir = test_layout().partition_dir(test_partition(0));
    block_on(disk.create_dir_all(&dir)).unwrap();
    let stray = block_on(disk.open(&segment_file(&dir, Offset(777)), OpenMode::CreateNew)).unwrap();
    block_on(stray.write_at(0, vec![9; BLOCK_LEN])).unwrap();
    block_on(stray.sync()).unwrap();
    let shard = start(&disk, "a stray file");
    let [moved] = shard.report().set_aside.as_slice() else { panic!("{:?}", shard.report().set_aside) };
    assert_eq!(power_cycled(&shard.disk).files()[moved], vec![9; BLOCK_LEN]);
}

#[test]
fn no_damage_to_any_file_makes_recovery_panic_or_serve_what_was_never_appended() {
    let mut started = 0;
    for seed in [15, 16] {
        let mut scenario = walk_scenario(seed, 60, TestSizes::default());
        scenario.commit();
        let disk = power_cycled(&scenario.shard.disk);
        let files: Vec<_> = disk.files().into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
        let mut random = Random::new(seed);
        for _ in 0..150 {
            let rotten = power_cycled(&disk);
            for _ in 0..=random.below(30) {
                let (path, bytes) = &files[usize::try_from(random.below(files.len() as u64)).unwrap()];
                rotten.flip_bit(path, random.below(bytes.len() as u64), 6);
            }
            if let Ok(mut shard) = TestShard::start(&rotten, 2, TestSizes::default()) {
                scenario.model.check_served(&mut shard, "much rot");
                started += 1;
            }
        }
    }
    assert!(started > 20, "only {started} started");
}

/// The log start passes the first doubt before the start that raises another one.
#[test]
fn a_doubt_is_not_forgotten_with_an_older_one_that_the_log_start_has_passed() {
    let id = test_partition(0);
    let mut disk = FaultDisk::new(1);
    for number in 1..=2 {
        let mut shard = TestShard::start(&disk, number, TestSizes::default()).unwrap();
        let mut source = shard.source(id, number);
        let [first, last] = [source.next(3, 300), source.next(3, 300)];
        shard.append(&first);
        shard.commit();
        if number == 2 {
            assert_eq!(shard.log(id).possibly_short(), Some(Offset(3)), "{}", shard.report());
            shard.set_log_start(id, Offset(5));
        }
        shard.append(&last);
        shard.commit();
        shard.mark_idle();
        disk = power_cycled(&shard.disk);
        let groups = super::rebuild_cases_tests::journal_groups(&disk);
        let (path, at, _) = groups.iter().rfind(|(.., header)| header.entry_count > 0).expect("the last frame's");
        disk.flip_bit(path, at + 8, 1);
    }
    let shard = TestShard::start(&disk, 3, TestSizes::default()).unwrap();
    let short = shard.report().possibly_short.get(&id).copied();
    assert_eq!(short, Some(Offset(5)), "records from 6 on are lost: {}", shard.report());
}
