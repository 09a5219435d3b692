//! What a rebuilt log is said to be possibly short for, and what not.

use super::rebuild_cases_tests::settle;
use super::rebuild_tests::{lose_slots, start};
use super::tests::power_cycled;
use super::*;
use crate::layout::segment_file;
use crate::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use crate::testing::frames::test_partition;
use crate::testing::test_shard::{TestShard, test_layout};
use crate::write_back::WriteBackKind;
use sluice_model::limits::BLOCK_LEN;

/// A log whose segment goes on in this life, behind `end`, with what the journal never had; the `groups` of that life are of
/// another log.
fn written_back_and_never_committed(groups: usize) -> (FaultDisk, Offset) {
    let id = test_partition(0);
    let mut shard = start(&FaultDisk::new(1), 1, "a new shard");
    let append = |shard: &mut TestShard, partition, body_len| {
        let frame = shard.source(test_partition(partition), 3).next(2, body_len);
        shard.append(&frame);
    };
    append(&mut shard, 0, 6000);
    append(&mut shard, 1, 500);
    shard.commit();
    settle(&mut shard);
    let mut shard = start(&power_cycled(&shard.disk), 2, "one segment each");
    let end = shard.log(id).log_end_offset();
    for _ in 0..groups {
        append(&mut shard, 1, 500);
        shard.commit();
        shard.make_room();
    }
    // Its last block waits in memory, and so does the group that has it.
    append(&mut shard, 0, 5000);
    let before = shard.disk.files().remove(&segment_path());
    shard.write_back(WriteBackKind::WholeBlocks { at_least: BLOCK_LEN });
    let disk = shard.disk.crash(PowerCut { call: shard.disk.call_count(), unflushed: Unflushed::Kept });
    assert!(disk.files().remove(&segment_path()) != before, "the segment goes on");
    lose_slots(&disk);
    (disk, end)
}

fn segment_path() -> std::path::PathBuf {
    segment_file(&test_layout().partition_dir(test_partition(0)), Offset(0))
}

#[test]
fn a_torn_end_that_no_group_of_a_whole_journal_has_was_never_acknowledged() {
    let (disk, end) = written_back_and_never_committed(1);
    let mut shard = start(&disk, 3, "the journal has all since the spare");
    assert!(shard.report().rebuilt && !shard.report().spare_lost, "{}", shard.report());
    assert_eq!(shard.log(test_partition(0)).log_end_offset(), end);
    assert!(shard.report().possibly_short.is_empty(), "{}", shard.report());
}

#[test]
fn where_the_journal_has_forgotten_what_came_after_the_spare_a_torn_end_is_doubted() {
    let (disk, end) = written_back_and_never_committed(60);
    let shard = start(&disk, 3, "the ring has gone round");
    assert!(shard.report().rebuilt && !shard.report().spare_lost, "{}", shard.report());
    assert_eq!(shard.report().possibly_short.get(&test_partition(0)), Some(&end), "{}", shard.report());
}

#[test]
fn a_ring_without_any_group_vouches_for_nothing() {
    let (disk, end) = written_back_and_never_committed(1);
    for (path, bytes) in disk.files() {
        if path.extension().is_some_and(|extension| extension == "journal") {
            (0..bytes.len() as u64).step_by(BLOCK_LEN).for_each(|block| disk.flip_bit(&path, block, 0));
        }
    }
    let shard = start(&disk, 3, "every group of the ring has rotted");
    assert!(shard.report().rebuilt && !shard.report().spare_lost, "{}", shard.report());
    assert_eq!(shard.report().possibly_short.get(&test_partition(0)), Some(&end), "{}", shard.report());
}
