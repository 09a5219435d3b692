//! What the spare knows better than the segments.

use super::rebuild_cases_tests::{journal_groups, settle};
use super::rebuild_tests::{lose_slots, start};
use super::tests::{Scenario, power_cycled};
use crate::testing::fault_disk::{PowerCut, Unflushed};
use crate::testing::frames::test_partition;
use crate::testing::test_shard::{TestShard, TestSizes};
use crate::write_back::WriteBackKind;

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
