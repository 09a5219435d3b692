//! What rebuilding once got wrong, one case each.

use super::rebuild_tests::{lose_all, lose_slots, overwrite, start};
use super::tests::{Scenario, power_cycled};
use super::*;
use crate::checkpoint_slots::read_spare;
use crate::commit_group::GroupHeader;
use crate::disk::{DiskFile, OpenMode};
use crate::layout::segment_file;
use crate::testing::executor::block_on;
use crate::testing::fault_disk::{FaultDisk, FaultKind, PowerCut, Unflushed};
use crate::testing::frames::test_partition;
use crate::testing::test_shard::{TEST_SHARD, TestShard, TestSizes, test_layout};
use crate::write_back::WriteBackKind;
use sluice_model::LeaderEpoch;
use std::path::PathBuf;

pub(super) fn settle(shard: &mut TestShard) {
    for _ in 0..2 {
        shard.write_back(WriteBackKind::Everything);
        shard.flush();
        shard.checkpoint();
    }
}

/// A log all of whose records were deleted and whose last file was removed, which no flush has made durable; gives back where
/// it stands.
fn wholly_deleted_just_now() -> (TestShard, Offset) {
    let mut scenario = Scenario::new(1, TestSizes::default());
    for _ in 0..4 {
        scenario.append_and_commit(0, 1000);
    }
    let disk = power_cycled(&scenario.shard.disk);
    lose_slots(&disk);
    // What is rebuilt has only ended segments.
    let mut shard = start(&disk, 2, "four frames");
    settle(&mut shard);
    let mut shard = start(&power_cycled(&shard.disk), 3, "again");
    settle(&mut shard);
    lose_slots(&shard.disk);
    let mut shard = start(&power_cycled(&shard.disk), 4, "and again");
    let id = test_partition(0);
    let end = shard.log(id).log_end_offset();
    shard.set_log_start(id, end);
    for _ in 0..3 {
        shard.checkpoint();
    }
    assert!(!has_segments(&shard.disk), "no segment is left");
    (shard, end)
}

fn has_segments(disk: &FaultDisk) -> bool {
    let dir = test_layout().partition_dir(test_partition(0));
    disk.files().keys().any(|path| path.starts_with(&dir))
}

/// The same after a start.
fn wholly_deleted() -> (TestShard, Offset) {
    let (shard, end) = wholly_deleted_just_now();
    let shard = start(&power_cycled(&shard.disk), 5, "without files");
    assert!(!has_segments(&shard.disk), "no segment is left");
    (shard, end)
}

pub(super) fn append_one(shard: &mut TestShard) {
    let frame = shard.source(test_partition(0), 9).next(2, 500);
    shard.append(&frame);
    shard.commit();
}

#[test]
fn what_was_deleted_before_the_journals_first_frame_is_not_damage() {
    let (mut shard, end) = wholly_deleted();
    append_one(&mut shard);
    for is_begun in [false, true] {
        let disk = power_cycled(&shard.disk);
        lose_all(&disk);
        if is_begun {
            // A recovery that was cut off has begun the segment, and nothing of it has arrived.
            let path = segment_file(&test_layout().partition_dir(test_partition(0)), end);
            block_on(disk.create_dir_all(path.parent().unwrap())).unwrap();
            block_on(block_on(disk.open(&path, OpenMode::CreateNew)).unwrap().sync()).unwrap();
        }
        let mut shard = start(&disk, 6, "one frame in the journal");
        assert!(shard.report().damaged.is_empty() && shard.report().out_of_place == 0, "{}", shard.report());
        assert_eq!((shard.log(test_partition(0)).log_start_offset(), shard.read_all(test_partition(0)).len()), (end, 1));
    }
}

/// All checkpoints are lost before the removal is durable: the log begins anew where it ended, and what is appended follows
/// nothing. Were the file there again after a power cut, it would not fit behind that.
#[test]
fn a_file_that_a_rebuilt_log_does_without_does_not_come_back() {
    let (shard, end) = wholly_deleted_just_now();
    let at = shard.disk.call_count();
    let crashed = shard.disk.crash(PowerCut { call: at, unflushed: Unflushed::Lost });
    assert!(has_segments(&crashed), "the removal is not durable");
    lose_all(&shard.disk);
    let mut shard = start(&shard.disk, 5, "without any checkpoint");
    assert_eq!((shard.log(test_partition(0)).log_end_offset(), shard.report().spare_lost), (end, true));
    append_one(&mut shard);
    let frames = shard.read_all(test_partition(0));
    let disk = shard.disk.crash(PowerCut { call: shard.disk.call_count(), unflushed: Unflushed::Lost });
    lose_slots(&disk);
    let mut shard = start(&disk, 6, "with the spare");
    let report = shard.report().clone();
    assert!(report.rebuilt && report.damaged.is_empty() && report.out_of_place == 0, "{report}");
    assert_eq!(shard.read_all(test_partition(0)), frames, "{report}");
}

#[test]
fn a_log_that_holds_nothing_goes_on_where_it_stood_or_says_that_nobody_knows() {
    let (shard, end) = wholly_deleted();
    let disk = power_cycled(&shard.disk);
    lose_slots(&disk);
    let mut shard = start(&disk, 6, "with the spare");
    assert_eq!((shard.log(test_partition(0)).log_start_offset(), shard.log(test_partition(0)).log_end_offset()), (end, end));
    assert!(shard.report().possibly_short.is_empty() && shard.report().damaged.is_empty(), "{}", shard.report());
    // A journal of this life, which says nothing of that log.
    let frame = shard.source(test_partition(1), 9).next(2, 500);
    shard.append(&frame);
    shard.commit();
    let disk = power_cycled(&shard.disk);
    lose_all(&disk);
    let shard = start(&disk, 7, "without it");
    assert_eq!(shard.report().possibly_short.get(&test_partition(0)), Some(&Offset::ZERO), "{}", shard.report());
}

#[test]
fn a_file_whose_flush_failed_once_is_written_again_before_it_is_believed() {
    let mut scenario = Scenario::new(3, TestSizes::default());
    for _ in 0..6 {
        scenario.append_and_commit(0, 3000);
    }
    let id = test_partition(0);
    let frames = scenario.shard.read_all(id);
    let mut failed = 0;
    for nth in 0..40 {
        let disk = power_cycled(&scenario.shard.disk);
        lose_all(&disk);
        disk.fail(FaultKind::Sync, nth);
        let Err(RecoveryError::Io(_)) = TestShard::start(&disk, 2, TestSizes::default()).map(|_| ()) else { continue };
        failed += 1;
        // The process was ended; the machine was not.
        let what = format!("flush {nth} failed");
        drop(start(&disk, 3, &what));
        let mut shard = start(&power_cycled(&disk), 4, &what);
        assert_eq!(shard.read_all(id), frames, "{what}");
    }
    assert!(failed > 5, "{failed} flushes failed");
}

#[test]
fn a_segment_that_was_begun_and_holds_nothing_does_not_end_the_one_before_it() {
    let mut scenario = Scenario::new(5, TestSizes::default());
    for _ in 0..5 {
        scenario.append_and_commit(0, 1000);
    }
    settle(&mut scenario.shard);
    let id = test_partition(0);
    let frames = scenario.shard.read_all(id);
    let (first, _) = sluice_model::FrameHeader::parse_frame(&frames[0]).unwrap();
    let disk = power_cycled(&scenario.shard.disk);
    lose_all(&disk);
    let path = segment_file(&test_layout().partition_dir(id), first.next_offset());
    block_on(block_on(disk.open(&path, OpenMode::CreateNew)).unwrap().sync()).unwrap();
    let mut shard = start(&disk, 2, "a segment that was begun");
    assert!(shard.report().damaged.is_empty(), "{}", shard.report());
    assert_eq!(shard.read_all(id), frames);
}

#[test]
fn a_spare_that_is_older_than_the_journal_does_not_count() {
    let mut scenario = Scenario::new(6, TestSizes::default());
    scenario.append_and_commit(0, 1000);
    let spare = test_layout().checkpoint_spare(TEST_SHARD);
    let old = scenario.shard.disk.files()[&spare].clone();
    let read = |disk: &FaultDisk| block_on(read_spare(disk, &test_layout(), TEST_SHARD)).unwrap();
    assert!(read(&scenario.shard.disk).is_some());
    let mut shard = start(&power_cycled(&scenario.shard.disk), 2, "a second life");
    append_one(&mut shard);
    let file = block_on(shard.disk.open(&spare, OpenMode::Existing)).unwrap();
    assert!(read(&shard.disk).is_some_and(|found| found.checkpoint.incarnation.number == 2));
    block_on(file.write_at(0, old)).unwrap();
    assert!(read(&shard.disk).is_none());
}

/// Puts something into a segment file, well behind its end; gives back where.
fn write_behind_end(disk: &FaultDisk, path: &std::path::Path) -> u64 {
    let len = disk.files()[path].len() as u64 + 8 * 4096;
    let file = block_on(disk.open(path, OpenMode::Existing)).unwrap();
    block_on(file.write_at(len, vec![9; 4096])).unwrap();
    block_on(file.sync()).unwrap();
    len
}

#[test]
fn a_start_cuts_off_what_stands_behind_the_end_of_a_segment_unless_it_may_be_the_last_copy() {
    let mut scenario = Scenario::new(7, TestSizes::default());
    for _ in 0..3 {
        scenario.append_and_commit(0, 1000);
    }
    settle(&mut scenario.shard);
    let path = segment_file(&test_layout().partition_dir(test_partition(0)), Offset::ZERO);
    let mut shard = start(&power_cycled(&scenario.shard.disk), 2, "before anything stands there");
    let frames = shard.read_all(test_partition(0));
    append_one(&mut shard);
    shard.mark_idle();
    for (damaged, slots_lost) in [(false, false), (true, false), (false, true)] {
        let disk = power_cycled(&shard.disk);
        let behind = write_behind_end(&disk, &path);
        if damaged {
            // The body of the group that holds the frame that was appended.
            let journal = crate::layout::journal_file(&test_layout().shard_journal_dir(TEST_SHARD), 0);
            let dir = journal.parent().unwrap();
            let files = disk.files();
            let of_ring = files.iter().filter(|(path, _)| path.starts_with(dir));
            let group = of_ring.flat_map(|(path, bytes)| {
                (0..bytes.len()).step_by(4096).filter_map(move |at| {
                    let (header, _) = crate::commit_group::GroupHeader::parse(&bytes[at..])?;
                    (header.incarnation.number == 2 && header.entry_count > 0).then_some((path.clone(), at as u64))
                })
            });
            let (path, at) = group.last().unwrap();
            disk.flip_bit(&path, at + 500, 1);
        }
        if slots_lost {
            lose_slots(&disk);
        }
        let mut again = start(&disk, 3, "with something behind the end");
        assert_eq!((again.report().damaged_groups.len(), again.report().rebuilt), (usize::from(damaged), slots_lost));
        let is_cut = again.disk.files()[&path].len() as u64 <= behind;
        assert_eq!(is_cut, !damaged && !slots_lost, "{}", again.report());
        assert!(again.read_all(test_partition(0)).starts_with(&frames));
    }
}

#[test]
fn the_ring_says_which_start_was_the_last_although_nothing_was_written_in_it() {
    let mut scenario = Scenario::new(8, TestSizes::default());
    for _ in 0..3 {
        scenario.append_and_commit(0, 1000);
    }
    let id = test_partition(0);
    let frames = scenario.shard.read_all(id);
    let shard = start(&power_cycled(&scenario.shard.disk), 2, "a life in which nothing was written");
    let disk = power_cycled(&shard.disk);
    lose_all(&disk);
    let mut shard = start(&disk, 3, "without any checkpoint");
    // The first life's groups are there still, and say nothing of what may have been done to the partition since.
    assert_eq!(shard.report().groups_read, 1, "{}", shard.report());
    assert_eq!(shard.read_all(id), frames);
    let doubted: Vec<_> = shard.report().possibly_short.iter().map(|(id, offset)| (*id, *offset)).collect();
    let ends: Vec<_> = (0..3).map(test_partition).map(|id| (id, shard.log(id).log_end_offset())).collect();
    assert!(shard.report().spare_lost && doubted == ends, "nothing vouches for where a partition ends: {doubted:?}");
}

/// Every group of the journal, in order: its file, where it begins, and its header.
pub(super) fn journal_groups(disk: &FaultDisk) -> Vec<(PathBuf, u64, GroupHeader)> {
    let dir = test_layout().shard_journal_dir(TEST_SHARD);
    let mut found = Vec::new();
    for (path, bytes) in disk.files().into_iter().filter(|(path, _)| path.starts_with(&dir)) {
        let at = |at: usize| Some((path.clone(), at as u64, GroupHeader::parse(&bytes[at..])?.0));
        found.extend((0..bytes.len()).step_by(4096).filter_map(at));
    }
    found.sort_by_key(|(.., header)| header.sequence);
    found
}

#[test]
fn a_first_group_that_never_arrived_is_lost_and_its_journal_not_an_empty_one() {
    for nothing_arrived in [false, true] {
        let mut scenario = Scenario::new(12, TestSizes::default());
        (0..3).for_each(|_| scenario.append_and_commit(0, 500));
        scenario.shard.mark_idle();
        let id = test_partition(0);
        let frames = scenario.shard.read_all(id);
        let disk = power_cycled(&scenario.shard.disk);
        let groups = journal_groups(&disk);
        let lost = if nothing_arrived { &groups[..] } else { &groups[..1] };
        lost.iter().for_each(|(path, at, header)| overwrite(&disk, path, *at, &vec![0; header.group_len()]));
        lose_slots(&disk);
        let mut again = start(&disk, 2, "without slots");
        let said = again.report().possibly_short.contains_key(&id) && !again.report().lost_groups.is_empty();
        // Where a later group names those before it durable, each frame is there, and vouches for the log.
        assert_eq!((again.read_all(id) == frames, said), (!nothing_arrived, nothing_arrived), "{}", again.report());
        assert_eq!(again.report().ring_incarnation_number, Some(u64::from(!nothing_arrived)), "no tombstone goes by such a ring");
    }
}

/// A file that was removed is there again as it was before a truncation, and a later segment begins within its last frame.
#[test]
fn a_frame_from_before_a_truncation_does_not_hide_the_segment_that_begins_within_it() {
    let mut shard = Scenario::new(17, TestSizes::default()).shard;
    let id = test_partition(0);
    let append = |shard: &mut TestShard, epoch: u32, record_count: u32, len: usize| {
        let mut source = shard.source(id, 9);
        source.leader_epoch = LeaderEpoch(epoch);
        let frame = source.next(record_count, len);
        shard.append(&frame);
        shard.commit();
        settle(shard);
    };
    (0..2).for_each(|_| append(&mut shard, 1, 4, 1000));
    let path = segment_file(&test_layout().partition_dir(id), Offset::ZERO);
    let before = shard.disk.files()[&path].clone();
    assert_eq!(shard.truncate(id, Offset(4)), Offset(4));
    append(&mut shard, 2, 1, 12_000);
    append(&mut shard, 2, 2, 12_000);
    shard.set_log_start(id, Offset(5));
    // Others write until the ring has gone round.
    for _ in 0..60 {
        let frame = shard.source(test_partition(1), 9).next(2, 3000);
        shard.append(&frame);
        shard.commit();
        shard.make_room();
    }
    (0..3).for_each(|_| settle(&mut shard));
    let frames = shard.read_all(id);
    let dir = test_layout().partition_dir(id);
    block_on(shard.disk.sync_dir(&dir)).unwrap();
    let disk = power_cycled(&shard.disk);
    let left: Vec<_> = disk.files().into_keys().filter(|of| of.parent() == path.parent()).collect();
    assert!(frames.len() == 1 && !left.contains(&path), "the first segments are removed: {} frames, {left:?}", frames.len());
    let file = block_on(disk.open(&path, OpenMode::CreateNew)).unwrap();
    block_on(file.write_at(0, before)).unwrap();
    block_on(file.sync()).unwrap();
    block_on(disk.sync_dir(&dir)).unwrap();
    lose_slots(&disk);
    let mut again = start(&disk, 2, "with a file of before the truncation");
    let (got, refused) = again.read_good(id);
    assert!(got == frames && refused.is_empty(), "{refused:?}: {}", again.report());
}

#[test]
fn a_file_whose_removal_by_a_truncation_was_undone_is_not_taken_for_the_log_that_began_anew() {
    let mut scenario = Scenario::new(9, TestSizes::default());
    let id = test_partition(0);
    for _ in 0..4 {
        scenario.append_and_commit(0, 500);
    }
    scenario.shard.truncate(id, Offset::ZERO);
    // All but the flush of the folder.
    let disk = &scenario.shard.disk;
    let crashed = disk.crash(PowerCut { call: disk.call_count() - 1, unflushed: Unflushed::Lost });
    let path = segment_file(&test_layout().partition_dir(id), Offset::ZERO);
    assert!(crashed.files()[&path].len() > 1000, "what was cut off is there again");
    let mut shard = start(&crashed, 2, "the truncation's entries are durable");
    assert_eq!(shard.log(id).log_end_offset(), Offset::ZERO);
    append_one(&mut shard);
    shard.mark_idle();
    let frames = shard.read_all(id);
    assert_eq!(frames.len(), 1);
    let disk = power_cycled(&shard.disk);
    lose_slots(&disk);
    let mut again = start(&disk, 3, "without slots");
    assert!(again.report().rebuilt && again.report().possibly_short.is_empty(), "{}", again.report());
    assert_eq!(again.read_all(id), frames, "{}", again.report());
}
