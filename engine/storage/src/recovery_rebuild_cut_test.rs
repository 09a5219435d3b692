//! What a truncation has left behind the end of a segment, where nothing says any more where that end is.

use super::rebuild_tests::{lose_all, start};
use super::tests::power_cycled;
use crate::damage::DamagedRange;
use crate::layout::segment_file;
use crate::testing::fault_disk::FaultDisk;
use crate::testing::frames::{FrameSource, TestFrame, test_partition};
use crate::testing::test_shard::{TestShard, test_layout};
use sluice_model::{Offset, limits::BLOCK_LEN};

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
