//! Checkpoints that a start could not read.

use super::tests::{Scenario, WHOLE_BLOCKS, power_cycled};
use crate::testing::fault_disk::{FaultDisk, FaultKind, PowerCut, Unflushed};
use crate::testing::test_shard::{TestShard, TestSizes};
use crate::write_back::WriteBackKind;
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
