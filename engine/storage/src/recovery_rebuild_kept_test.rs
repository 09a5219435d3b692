//! What the spare knows better than the segments.

use super::rebuild_cases_tests::{journal_groups, settle};
use super::rebuild_tests::{lose_slots, overwrite, start};
use super::tests::{Scenario, power_cycled};
use crate::layout::segment_file;
use crate::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use crate::testing::frames::test_partition;
use crate::testing::test_shard::{TestShard, TestSizes, test_layout};
use crate::write_back::WriteBackKind;
use sluice_model::Offset;
use std::collections::BTreeMap;

/// Write-back ended the segment behind a frame that was never durable. In the next life another frame stands there, on
/// the next block, and a third behind it, and nothing is cut off because of a damaged group: the trailer is left.
#[test]
fn a_trailer_is_not_believed_when_the_spare_has_more_of_its_segment() {
    // No longer than the file is: what is allocated moves no trailer away from its end.
    let long = TestSizes { segment_len: 20 * 1024, ..TestSizes::default() };
    let mut scenario = Scenario::new(15, TestSizes { segment_len: 16 * 1024, ..TestSizes::default() });
    scenario.append_and_commit(1, 500);
    scenario.append_and_commit(0, 3000);
    scenario.append(0, 3000);
    scenario.append(0, 8000);
    scenario.shard.write_back(WriteBackKind::Everything);
    let disk = scenario.shard.disk.crash(PowerCut { call: scenario.shard.disk.call_count(), unflushed: Unflushed::Kept });
    let (path, at, _) = journal_groups(&disk).into_iter().find(|(.., header)| header.entry_count > 0).unwrap();
    disk.flip_bit(&path, at + 400, 1);
    let mut shard = TestShard::start(&disk, 2, long).unwrap();
    assert_eq!(shard.report().damaged_groups.len(), 1, "{}", shard.report());
    let append = |shard: &mut TestShard, partition| {
        let frame = shard.source(test_partition(partition), 9).next(2, 3000);
        shard.append(&frame);
        shard.commit();
        shard.make_room();
    };
    (0..2).for_each(|_| append(&mut shard, 0));
    settle(&mut shard);
    // Another partition comes, which the spare has to name; then others write until the ring has gone round.
    shard.log(test_partition(2));
    (0..60).for_each(|_| append(&mut shard, 1));
    settle(&mut shard);
    let frames = shard.read_all(test_partition(0));
    let disk = power_cycled(&shard.disk);
    lose_slots(&disk);
    let mut again = TestShard::start(&disk, 3, long).unwrap();
    assert!(again.report().rebuilt && !again.report().spare_lost, "{}", again.report());
    assert!(again.read_all(test_partition(0)) == frames, "{}", again.report());
}

/// The footer of a segment arrived, and the frame before it, never acknowledged, did not. A start that found this without
/// slots ended the segment before that frame, and left the footer.
#[test]
fn a_trailer_is_not_believed_when_the_spare_has_the_segment_end_before_it() {
    let id = test_partition(0);
    let mut scenario = Scenario::new(18, TestSizes::default());
    scenario.append_and_commit(0, 3000);
    scenario.shard.write_back(WriteBackKind::Everything);
    scenario.append(0, 1000);
    scenario.append(0, 12_000);
    scenario.shard.write_back(WriteBackKind::Everything);
    let disk = scenario.shard.disk.crash(PowerCut { call: scenario.shard.disk.call_count(), unflushed: Unflushed::Kept });
    let segment = segment_file(&test_layout().partition_dir(id), Offset::ZERO);
    overwrite(&disk, &segment, 8192, &[0; 4096]);
    let mut ends = Vec::new();
    for number in [2, 3] {
        lose_slots(&disk);
        let mut shard = start(&disk, number, "without slots");
        assert!(shard.report().rebuilt && shard.report().damaged.is_empty(), "{}", shard.report());
        ends.push((shard.log(id).log_end_offset(), shard.read_all(id).len()));
    }
    assert_eq!(ends, [(Offset(1), 1), (Offset(1), 1)]);
}

#[test]
fn what_producers_had_in_deleted_segments_is_remembered() {
    let id = test_partition(0);
    let mut scenario = Scenario::new(16, TestSizes::default());
    // One segment each.
    (0..5).for_each(|_| scenario.append_and_commit(0, 9000));
    settle(&mut scenario.shard);
    let log_start = scenario.shard.log(id).log_end_offset();
    scenario.append_and_commit(0, 9000);
    settle(&mut scenario.shard);
    scenario.shard.set_log_start(id, log_start);
    (0..3).for_each(|_| scenario.shard.checkpoint());
    let shard = start(&power_cycled(&scenario.shard.disk), 2, "one segment is left, without a footer");
    assert_eq!(shard.shard.partitions[&id].log.segment_count(), 1);
    let producers = shard.shard.partitions[&id].producers.clone();
    assert!(producers.iter().any(|(_, entry)| entry.batches.len() == 5), "{producers:?}");
    let disk = power_cycled(&shard.disk);
    lose_slots(&disk);
    let again = start(&disk, 3, "without slots");
    assert_eq!(again.shard.partitions[&id].producers, producers, "{}", again.report());
}

/// The process was ended and the machine was not: what write-back has done last is in the page cache alone.
#[test]
fn what_a_log_is_rebuilt_from_is_made_durable() {
    let id = test_partition(0);
    let segments = |disk: &FaultDisk| {
        let dir = test_layout().partition_dir(id);
        disk.files().into_iter().filter(|(path, _)| path.starts_with(&dir)).collect::<BTreeMap<_, _>>()
    };
    // In the first segment, or behind its footer; acknowledged, or not yet.
    for (body_len, is_committed) in [(1000, false), (12_000, true), (12_000, false)] {
        let what = format!("{body_len} bytes, committed: {is_committed}");
        let mut scenario = Scenario::new(17, TestSizes::default());
        scenario.append_and_commit(0, 6000);
        settle(&mut scenario.shard);
        let mut shard = start(&power_cycled(&scenario.shard.disk), 2, "one frame");
        let frame = shard.source(id, 9).next(2, body_len);
        shard.append(&frame);
        if is_committed {
            shard.commit();
        }
        shard.write_back(WriteBackKind::Everything);
        shard.disk.end_calls();
        lose_slots(&shard.disk);
        let mut shard = start(&shard.disk, 3, &what);
        let frames = shard.read_all(id);
        assert_eq!(frames.len(), 2, "{what}: {}", shard.report());
        let disk = power_cycled(&shard.disk);
        assert!(segments(&disk) == segments(&shard.disk), "{what}: the power has taken some of it");
        assert!(start(&disk, 4, &what).read_all(id) == frames, "{what}");
    }
}
