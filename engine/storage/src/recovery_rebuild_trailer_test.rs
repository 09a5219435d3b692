//! Footers and trailers while both slots are lost: which are believed, and what it costs when they are gone.

use super::rebuild_cases_tests::{append_one, journal_groups, settle};
use super::rebuild_tests::{lose_all, lose_slots, overwrite, start};
use super::tests::{Scenario, power_cycled};
use super::*;
use crate::disk::{DiskFile, OpenMode};
use crate::layout::segment_file;
use crate::testing::executor::block_on;
use crate::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use crate::testing::frames::test_partition;
use crate::testing::test_shard::{TEST_SHARD, TestShard, TestSizes, test_layout};
use crate::write_back::WriteBackKind;

#[test]
fn what_an_earlier_life_wrote_behind_the_recovery_point_does_not_end_a_segment() {
    let short = TestSizes { segment_len: 16 * 1024, ..TestSizes::default() };
    let long = TestSizes { segment_len: 1024 * 1024, ..TestSizes::default() };
    let mut scenario = Scenario::new(4, short);
    for _ in 0..6 {
        scenario.append_and_commit(0, 4000);
    }
    // Footers are written, and no checkpoint knows of them.
    scenario.shard.write_back(WriteBackKind::Everything);
    scenario.shard.disk.end_calls();
    let mut shard = TestShard::start(&scenario.shard.disk, 2, long).unwrap();
    append_one(&mut shard);
    settle(&mut shard);
    let frames = shard.read_all(test_partition(0));
    let disk = power_cycled(&shard.disk);
    lose_slots(&disk);
    let mut shard = TestShard::start(&disk, 3, long).unwrap();
    assert!(shard.report().damaged.is_empty(), "{}", shard.report());
    assert_eq!(shard.read_all(test_partition(0)), frames);
}

/// Write-back ended the segment, with a footer, before a frame that was never durable. The next life goes on in that
/// segment, over the footer, and nothing is cut off because of a damaged group: the trailer is left.
#[test]
fn a_trailer_behind_which_a_later_life_went_on_is_not_believed() {
    for is_damaged in [true, false] {
        let mut scenario = Scenario::new(11, TestSizes::default());
        scenario.append_and_commit(1, 500);
        (0..3).for_each(|_| scenario.append_and_commit(0, 3900));
        scenario.append(0, 5000);
        scenario.shard.write_back(WriteBackKind::Everything);
        let cut = PowerCut { call: scenario.shard.disk.call_count(), unflushed: Unflushed::Kept };
        let disk = scenario.shard.disk.crash(cut);
        if is_damaged {
            let (path, at, _) = journal_groups(&disk).into_iter().find(|(.., header)| header.entry_count > 0).unwrap();
            disk.flip_bit(&path, at + 400, 1);
        }
        let mut shard = start(&disk, 2, "the second life");
        let spare = test_layout().checkpoint_spare(TEST_SHARD);
        let kept = shard.disk.files()[&spare].clone();
        append_one(&mut shard);
        settle(&mut shard);
        // Others write until the ring has gone round.
        for _ in 0..60 {
            let frame = shard.source(test_partition(1), 9).next(2, 3000);
            shard.append(&frame);
            shard.commit();
            shard.make_room();
        }
        settle(&mut shard);
        let frames = shard.read_all(test_partition(0));
        overwrite(&shard.disk, &spare, 0, &kept);
        let disk = power_cycled(&shard.disk);
        lose_slots(&disk);
        let mut again = start(&disk, 3, "again");
        assert!(again.read_all(test_partition(0)) == frames, "damaged: {is_damaged}: {}", again.report());
    }
}

/// Write-back padded each frame to a block and ended the segment. The next life, which replays them from the journal, puts
/// them closer together, and one more into the block before the footer; nothing is cut off because of a damaged group. Then the
/// slots are lost, so that the segment ends without a footer of its own, and then all checkpoints.
#[test]
fn a_trailer_is_not_believed_when_frames_lead_past_it_to_the_next_segment() {
    let sizes = TestSizes { segment_len: 16 * 1024, ..TestSizes::default() };
    let mut scenario = Scenario::new(13, sizes);
    let id = test_partition(0);
    scenario.append_and_commit(1, 500);
    for len in [2900, 2900, 2900, 1500] {
        scenario.append_and_commit(0, len);
        scenario.shard.write_back(WriteBackKind::Everything);
    }
    let path = segment_file(&test_layout().partition_dir(id), Offset::ZERO);
    let disk = scenario.shard.disk.crash(PowerCut { call: scenario.shard.disk.call_count(), unflushed: Unflushed::Kept });
    let ended_at = disk.files()[&path].len();
    assert_eq!(ended_at, 24 * 1024, "three blocks of frames, and a footer behind them");
    let (group, at, _) = journal_groups(&disk).into_iter().find(|(.., header)| header.entry_count > 0).unwrap();
    disk.flip_bit(&group, at + 400, 1);
    let begin = |disk: &FaultDisk, number| TestShard::start(disk, number, sizes).unwrap();
    let mut shard = begin(&disk, 2);
    assert_eq!((shard.log(id).segment_count(), shard.disk.files()[&path].len()), (1, ended_at), "{}", shard.report());
    settle(&mut shard);
    let disk = power_cycled(&shard.disk);
    lose_slots(&disk);
    let mut shard = begin(&disk, 3);
    append_one(&mut shard);
    settle(&mut shard);
    wrap_ring(&mut shard);
    let frames = shard.read_all(id);
    assert_eq!(frames.len(), 5);
    let disk = power_cycled(&shard.disk);
    lose_all(&disk);
    let mut shard = begin(&disk, 4);
    assert!(shard.report().spare_lost && shard.report().damaged.is_empty(), "{}", shard.report());
    assert_eq!(shard.read_all(id), frames);
}

#[test]
fn a_file_that_was_deleted_before_the_spare_was_written_ends_where_its_footer_says() {
    let mut scenario = Scenario::new(10, TestSizes::default());
    let id = test_partition(0);
    for _ in 0..12 {
        scenario.append_and_commit(0, 150);
    }
    // What is cut off stands whole behind the end of its segment, in the block that the footer leaves over.
    let frames = scenario.shard.read_all(id);
    let fifth = *sluice_model::FrameHeader::parse(&frames[5]).unwrap();
    assert_eq!(scenario.shard.truncate(id, fifth.base_offset()), fifth.base_offset());
    append_one(&mut scenario.shard);
    let end = scenario.shard.log(id).log_end_offset();
    append_one(&mut scenario.shard);
    assert_eq!(scenario.shard.truncate(id, end), end);
    let path = segment_file(&test_layout().partition_dir(id), Offset::ZERO);
    let bytes = scenario.shard.disk.files()[&path].clone();
    scenario.shard.set_log_start(id, end);
    settle(&mut scenario.shard);
    let mut shard = start(&power_cycled(&scenario.shard.disk), 2, "all of it deleted");
    append_one(&mut shard);
    shard.mark_idle();
    let frames = shard.read_all(id);
    let disk = power_cycled(&shard.disk);
    assert!(!disk.files().contains_key(&path), "it is removed");
    let file = block_on(disk.open(&path, OpenMode::CreateNew)).unwrap();
    block_on(file.write_at(0, bytes)).unwrap();
    block_on(file.sync()).unwrap();
    lose_slots(&disk);
    let mut again = start(&disk, 3, "with a file that is back");
    assert_eq!((again.report().rebuilt, again.report().out_of_place), (true, 0), "{}", again.report());
    assert!(again.report().damaged.is_empty() && again.report().possibly_short.is_empty(), "{}", again.report());
    assert_eq!(again.read_all(id), frames);
}

/// Zeros in the place of a segment's last frame, as a write leaves that never arrived, and a rotten trailer behind it.
fn lose_last_frame_and_trailer(disk: &FaultDisk, base: Offset, last_frame: u64) {
    let path = segment_file(&test_layout().partition_dir(test_partition(0)), base);
    let file_len = disk.files()[&path].len() as u64;
    overwrite(disk, &path, last_frame, &vec![0; sluice_model::limits::BLOCK_LEN]);
    disk.flip_bit(&path, file_len - 4096 + 20, 1);
}

/// Records of another partition, until the journal holds no group of before.
fn wrap_ring(shard: &mut TestShard) {
    for _ in 0..40 {
        let frame = shard.source(test_partition(1), 9).next(1, 3000);
        shard.append(&frame);
        shard.commit();
        shard.make_room();
    }
    settle(shard);
}

/// Frames that each begin a block; gives back their segment's base and where the last one stands.
fn append_in_blocks(shard: &mut TestShard, count: u64) -> (Offset, u64) {
    let id = test_partition(0);
    let base = shard.log(id).log_end_offset();
    for _ in 0..count {
        append_one(shard);
        shard.write_back(WriteBackKind::Everything);
    }
    (base, count * sluice_model::limits::BLOCK_LEN as u64)
}

#[test]
fn a_rotten_footer_behind_a_rotten_last_frame_loses_nothing_silently() {
    let id = test_partition(0);
    // A truncation has ended the segment, and nothing stands behind it: the spare knows where the log ended.
    let mut shard = TestShard::start(&FaultDisk::new(1), 1, TestSizes::default()).unwrap();
    shard.source(id, 9);
    let (base, last_frame) = append_in_blocks(&mut shard, 4);
    append_in_blocks(&mut shard, 1);
    let end = shard.truncate(id, Offset(8));
    assert_eq!(end, Offset(8));
    wrap_ring(&mut shard);
    let disk = power_cycled(&shard.disk);
    lose_slots(&disk);
    lose_last_frame_and_trailer(&disk, base, last_frame);
    let mut shard = start(&disk, 2, "after a truncation");
    assert_eq!(shard.log(id).log_end_offset(), end, "{}", shard.report());
    assert_eq!(shard.report().damaged[&id], [crate::damage::DamagedRange { from: Offset(6), until: end }], "{}", shard.report());

    // The next segment was begun, and its first frame is in a file, or in the journal alone.
    for is_in_file in [true, false] {
        let sizes = TestSizes { segment_len: 5 * 4096, ..TestSizes::default() };
        let mut shard = TestShard::start(&FaultDisk::new(1), 1, sizes).unwrap();
        shard.source(id, 9);
        let (base, last_frame) = append_in_blocks(&mut shard, 4);
        if !is_in_file {
            wrap_ring(&mut shard);
        }
        append_one(&mut shard);
        if is_in_file {
            wrap_ring(&mut shard);
        } else {
            // The segment before is written to its end now, with its footer, and the next one is begun, which is lost.
            shard.write_back(WriteBackKind::Everything);
            shard.flush();
        }
        let disk = power_cycled(&shard.disk);
        let path = segment_file(&test_layout().partition_dir(id), Offset(8));
        assert!(disk.files().contains_key(&path), "the next segment was begun");
        if !is_in_file {
            block_on(disk.remove_file(&path)).unwrap();
        }
        lose_slots(&disk);
        lose_last_frame_and_trailer(&disk, base, last_frame);
        let mut shard = start(&disk, 2, "the next segment was begun");
        let what = format!("in a file: {is_in_file}: {}", shard.report());
        assert_eq!(shard.log(id).log_end_offset(), Offset(10), "{what}");
        let lost = [crate::damage::DamagedRange { from: Offset(6), until: Offset(8) }];
        assert_eq!(shard.report().damaged.get(&id).map(Vec::as_slice), Some(&lost[..]), "{what}");
    }
}

/// Neither header nor trailer says anything of it, nor do slots: its frames follow those of the segment before it, or nothing
/// at all, and prove themselves.
#[test]
fn a_segment_without_header_and_trailer_is_taken_frame_by_frame() {
    let mut scenario = Scenario::new(1, TestSizes::default());
    for _ in 0..12 {
        scenario.append_and_commit(0, 4000);
        scenario.shard.make_room();
    }
    settle(&mut scenario.shard);
    // The journal has none of it any more, nor the spare: that one is of the start.
    wrap_ring(&mut scenario.shard);
    let id = test_partition(0);
    let frames = scenario.shard.read_all(id);
    let sealed = scenario.shard.log(id).checkpoint(Offset::ZERO).sealed;
    assert!(sealed.len() >= 2, "{sealed:?}");
    for segment in &sealed {
        let disk = power_cycled(&scenario.shard.disk);
        let path = segment_file(&test_layout().partition_dir(id), segment.base_offset);
        disk.flip_bit(&path, 1801, 3);
        disk.flip_bit(&path, segment.file_len - 1000, 4);
        lose_slots(&disk);
        let mut shard = start(&disk, 2, "neither header nor trailer");
        assert!(shard.report().rebuilt && shard.report().damaged.is_empty(), "{:?}: {}", segment, shard.report());
        assert_eq!(shard.read_all(id), frames, "{segment:?}");
        // Nor does the next start miss them.
        let mut again = start(&power_cycled(&shard.disk), 3, "with slots");
        assert_eq!((again.read_all(id), again.report().damaged.len()), (frames.clone(), 0), "{segment:?}");
    }
}
