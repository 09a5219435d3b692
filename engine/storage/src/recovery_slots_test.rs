//! Checkpoints that a start could not read, or that speak of more than the journal still holds.

use super::tests::{Scenario, WHOLE_BLOCKS, power_cycled};
use crate::checkpoint::ShardCheckpoint;
use crate::checkpoint_slots::{SlotFound, read_slots};
use crate::commit_group::GroupHeader;
use crate::testing::executor::block_on;
use crate::testing::fault_disk::{FaultDisk, FaultKind, PowerCut, Unflushed};
use crate::testing::frames::test_partition;
use crate::testing::test_shard::{TEST_SHARD, TestShard, TestSizes, test_layout};
use sluice_model::Offset;
use sluice_model::limits::BLOCK_LEN;

fn start(disk: &FaultDisk, number: u64, what: &str) -> TestShard {
    TestShard::start(disk, number, TestSizes::default()).unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// Two checkpoints of one segment, and frames that only the newer one says are in it.
fn two_checkpoints() -> Scenario {
    let mut scenario = Scenario::new(5, TestSizes::default());
    scenario.append_and_commit(0, 1000);
    scenario.shard.checkpoint();
    (0..6).for_each(|_| scenario.append_and_commit(0, 1500));
    scenario.shard.write_back(WHOLE_BLOCKS);
    scenario.shard.flush();
    scenario.shard.checkpoint();
    scenario.append_and_commit(0, 1000);
    scenario
}

#[test]
fn a_slot_that_is_read_again_after_a_start_without_it_vouches_for_nothing() {
    let (mut unread, mut images) = (0, 0);
    let scenario = two_checkpoints();
    let calls = scenario.shard.disk.call_count();
    // Header and partitions of one slot, then those of the other.
    for failing in 0..4 {
        let disk = power_cycled(&scenario.shard.disk);
        disk.fail(FaultKind::Read, failing);
        // With little memory it writes every frame back as it comes, to a block of its own.
        let sizes = TestSizes { tail_budget_len: BLOCK_LEN as u64, ..TestSizes::default() };
        let shard = TestShard::start(&disk, 2, sizes).unwrap_or_else(|error| panic!("one slot is not read: {error}"));
        unread += shard.report().checkpoint_slots_bad;
        for call in 0..=shard.disk.call_count() {
            let what = format!("read {failing} fails, cut at call {call} ({})", shard.disk.describe_call(call));
            let crashed = shard.disk.crash(PowerCut { call, unflushed: Unflushed::Kept });
            scenario.model.check(&mut start(&crashed, 3, &what), calls, &what);
            images += 1;
        }
    }
    assert!(unread == 4 && images > 40, "{unread} slots were not read, {images} images");
}

#[test]
fn a_slot_whose_flush_did_not_happen_is_made_durable_before_the_other_is_written_over() {
    let mut scenario = two_checkpoints();
    let checkpoint = ShardCheckpoint {
        shard: TEST_SHARD,
        incarnation: scenario.shard.incarnation,
        journal_sequence: 1,
        partitions: vec![scenario.shard.log(test_partition(0)).checkpoint(Offset::ZERO)],
    };
    // The process ends there, and the machine does not.
    let disk = scenario.shard.disk.clone();
    let before = disk.call_count();
    disk.fail(FaultKind::Sync, 0);
    assert!(block_on(scenario.shard.shard.checkpoints.write(&checkpoint)).is_err());
    disk.end_calls();
    let shard = start(&disk, 2, "a slot that only the page cache may have");
    assert_eq!(shard.report().checkpoint_slots_bad, 0);
    for call in before..=disk.call_count() {
        for seed in 0..4 {
            let crashed = disk.crash(PowerCut { call, unflushed: Unflushed::Torn(seed) });
            let slots = block_on(read_slots(&crashed, &test_layout(), TEST_SHARD)).unwrap();
            let is_good = slots.iter().any(|slot| matches!(slot, SlotFound::Good(_)));
            assert!(is_good, "cut at call {call} ({}), torn by {seed}", disk.describe_call(call));
        }
    }
}

#[test]
fn a_log_whose_newest_records_are_lost_does_not_start_behind_its_end() {
    let id = test_partition(0);
    let mut scenario = Scenario::new(7, TestSizes::default());
    (0..3).for_each(|_| scenario.append_and_commit(0, 1000));
    let end = scenario.shard.log(id).log_end_offset();
    scenario.shard.set_log_start(id, end);
    scenario.shard.checkpoint();
    scenario.shard.mark_idle();
    let disk = power_cycled(&scenario.shard.disk);
    flip_a_body(&disk, 2);
    let mut shard = start(&disk, 2, "the third group is lost");
    let (log_start, log_end) = (shard.log(id).log_start_offset(), shard.log(id).log_end_offset());
    assert!(log_end < end && log_start == log_end, "{log_start} to {log_end}, of {end}");
    assert_eq!(shard.report().possibly_short.get(&id), Some(&log_end));
    let mut next = scenario.resumed(shard, 8);
    next.append_and_commit(0, 500);
    assert_eq!(next.shard.read_all(id).len(), 1, "it goes on where it ends");
    let mut again = start(&power_cycled(&next.shard.disk), 3, "and once more");
    assert_eq!(again.log(id).log_start_offset(), log_start);
    assert_eq!(again.read_all(id).len(), 1);
}

/// Changes a bit in the body of the `nth` group with one.
fn flip_a_body(disk: &FaultDisk, nth: usize) {
    let dir = test_layout().shard_journal_dir(TEST_SHARD);
    let mut bodies = Vec::new();
    for (path, bytes) in disk.files().into_iter().filter(|(path, _)| path.starts_with(&dir)) {
        for (block, bytes) in bytes.chunks(BLOCK_LEN).enumerate() {
            if let Some((header, _)) = GroupHeader::parse(bytes).filter(|(header, _)| header.entry_count > 0) {
                bodies.push((header.sequence, path.clone(), (block * BLOCK_LEN) as u64));
            }
        }
    }
    bodies.sort();
    let (_, path, position) = &bodies[nth];
    disk.flip_bit(path, position + 500, 1);
}
