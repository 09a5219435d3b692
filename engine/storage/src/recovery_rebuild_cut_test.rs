//! What a truncation has left behind the end of a segment, where nothing says any more where that end is.

use super::rebuild_tests::{lose_all, lose_slots, start};
use super::tests::power_cycled;
use crate::damage::DamagedRange;
use crate::layout::segment_file;
use crate::testing::fault_disk::FaultDisk;
use crate::testing::frames::{FrameSource, TestFrame, test_partition};
use crate::testing::test_shard::{TestShard, test_layout};
use crate::write_back::WriteBackKind;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{FRAME_HEADER_LEN, LeaderEpoch, Offset};

fn appended(shard: &mut TestShard, source: &mut FrameSource, count: usize) -> Vec<TestFrame> {
    let frames: Vec<_> = (0..count).map(|_| source.next(2, 300)).collect();
    frames.iter().for_each(|frame| shard.append(frame));
    shard.commit();
    frames
}

/// It follows the last frame that stays as well as the one that was appended instead, which the journal has.
#[test]
fn a_frame_that_was_cut_off_is_not_taken_for_what_the_journal_has_in_its_place() {
    let id = test_partition(0);
    let mut shard = start(&FaultDisk::new(1), 1, "first");
    let mut source = shard.source(id, 5);
    let frames = appended(&mut shard, &mut source, 5);
    let cut = frames[3].header.base_offset();
    assert_eq!(shard.truncate(id, cut), cut);
    (0..2).for_each(|_| shard.checkpoint());
    // From now on the journal says nothing of the cut.
    let mut shard = start(&power_cycled(&shard.disk), 2, "second");
    let mut source = shard.source(id, 6);
    let later = appended(&mut shard, &mut source, 3);
    shard.mark_idle();

    let disk = power_cycled(&shard.disk);
    let path = segment_file(&test_layout().partition_dir(id), Offset::ZERO);
    let trailer = disk.files()[&path].len() - BLOCK_LEN;
    disk.flip_bit(&path, trailer as u64 + 40, 1);
    lose_all(&disk);
    let mut shard = start(&disk, 3, "third");
    let bytes = frames[..3].iter().chain(&later).map(TestFrame::bytes).collect::<Vec<_>>();
    assert_eq!(shard.read_good(id), (bytes, Vec::<DamagedRange>::new()), "{}", shard.report());
    assert_eq!(shard.report().out_of_place, 0, "{}", shard.report());
}

/// They follow what stands before them, and the write of the frame that took their place never arrived. The spare knows under
/// which leader epoch that one was appended.
#[test]
fn frames_that_were_cut_off_are_not_taken_for_what_the_spare_has_in_their_place() {
    let id = test_partition(0);
    let mut shard = start(&FaultDisk::new(1), 1, "first");
    let mut source = shard.source(id, 5);
    let mut frames = appended(&mut shard, &mut source, 4);
    let mut earlier = source.clone();
    let cut_off = [earlier.next(1, 300), earlier.next(1, 300)].map(|frame| frame.bytes()).concat();
    source.leader_epoch = LeaderEpoch(2);
    let (large, later) = (source.next(3, 900), source.next(3, 900));
    [&large, &later].into_iter().for_each(|frame| shard.append(frame));
    shard.commit();
    shard.write_back(WriteBackKind::Everything);
    shard.flush();
    (0..2).for_each(|_| shard.checkpoint());
    // From now on the journal says nothing of them, and the spare does.
    let shard = start(&power_cycled(&shard.disk), 2, "second");
    shard.mark_idle();

    let disk = power_cycled(&shard.disk);
    let path = segment_file(&test_layout().partition_dir(id), Offset::ZERO);
    let file = disk.files()[&path].clone();
    let at = file.windows(FRAME_HEADER_LEN).position(|bytes| bytes == large.header.as_bytes()).expect("it is in the file");
    assert!(cut_off.len() < large.header.frame_len());
    for (position, (there, earlier)) in (at..).zip(file[at..].iter().zip(&cut_off)) {
        let bits = (0..8).filter(|bit| (there ^ earlier) >> bit & 1 == 1);
        bits.for_each(|bit| disk.flip_bit(&path, position as u64, bit));
    }
    lose_slots(&disk);
    let mut shard = start(&disk, 3, "third");
    assert!(shard.report().rebuilt && !shard.report().spare_lost, "{}", shard.report());
    frames.push(later);
    let bytes = frames.iter().map(TestFrame::bytes).collect::<Vec<_>>();
    let lost = DamagedRange { from: large.header.base_offset(), until: large.header.next_offset() };
    assert_eq!(shard.read_good(id), (bytes, vec![lost]), "{}", shard.report());
}
