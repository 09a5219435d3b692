//! What a rebuilt log is said to be possibly short for, and what not.

use super::rebuild_cases_tests::settle;
use super::rebuild_tests::{lose_all, lose_slots, start};
use super::tests::power_cycled;
use super::*;
use crate::damage::DamagedRange;
use crate::layout::segment_file;
use crate::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use crate::testing::frames::{TestFrame, test_partition};
use crate::testing::test_shard::{TestShard, test_layout};
use crate::write_back::WriteBackKind;
use sluice_model::FRAME_HEADER_LEN;
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

/// What a power cut leaves of a write that was never flushed, of frames that were never acknowledged: a truncation was under
/// way, which writes everything back first. The second of them is torn; all of them are given back with what was acknowledged.
fn torn_in_the_middle() -> (FaultDisk, Vec<TestFrame>, Vec<TestFrame>) {
    let id = test_partition(0);
    let mut shard = start(&FaultDisk::new(1), 1, "a new shard");
    let mut source = shard.source(id, 3);
    let acknowledged: Vec<_> = (0..3).map(|_| source.next(2, 600)).collect();
    acknowledged.iter().for_each(|frame| shard.append(frame));
    shard.commit();
    settle(&mut shard);
    let mut shard = start(&power_cycled(&shard.disk), 2, "one segment");
    let mut source = shard.source(id, 4);
    let never: Vec<_> = (0..4).map(|_| source.next(2, 600)).collect();
    never.iter().for_each(|frame| shard.append(frame));
    shard.write_back(WriteBackKind::Everything);
    let disk = shard.disk.crash(PowerCut { call: shard.disk.call_count(), unflushed: Unflushed::Kept });
    let header = never[1].header.as_bytes().to_vec();
    let file = disk.files()[&segment_path()].clone();
    let at = file.windows(FRAME_HEADER_LEN).position(|bytes| bytes == header).expect("it is in the file");
    disk.flip_bit(&segment_path(), at as u64 + 40, 1);
    (disk, acknowledged, never)
}

#[test]
fn what_was_never_acknowledged_is_no_damage_where_spare_and_journal_say_so() {
    let (disk, acknowledged, never) = torn_in_the_middle();
    lose_slots(&disk);
    let mut shard = start(&disk, 3, "the journal has all since the spare");
    assert!(shard.report().rebuilt && !shard.report().spare_lost, "{}", shard.report());
    let bytes = acknowledged.iter().chain(&never[..1]).map(TestFrame::bytes).collect::<Vec<_>>();
    assert_eq!(shard.read_good(test_partition(0)), (bytes, Vec::new()), "{}", shard.report());
    assert!(shard.report().damaged.is_empty() && shard.report().possibly_short.is_empty(), "{}", shard.report());
}

#[test]
fn without_slots_and_spare_what_was_never_acknowledged_may_be_named() {
    let (disk, acknowledged, never) = torn_in_the_middle();
    lose_all(&disk);
    let mut shard = start(&disk, 3, "nothing says where the log ended");
    assert!(shard.report().rebuilt && shard.report().spare_lost, "{}", shard.report());
    let bytes = acknowledged.iter().chain(&never[..1]).chain(&never[2..]).map(TestFrame::bytes).collect::<Vec<_>>();
    let named = DamagedRange { from: never[1].header.base_offset(), until: never[1].header.next_offset() };
    assert_eq!(shard.read_good(test_partition(0)), (bytes, vec![named]), "{}", shard.report());
    assert_eq!(shard.report().possibly_short.get(&test_partition(0)), Some(&never[3].header.next_offset()));
}
