use super::*;
use crate::commit_group::GroupHeader;
use crate::layout::journal_file;
use crate::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use crate::testing::frames::test_partition;
use crate::testing::random::Random;
use crate::testing::test_shard::{ShardModel, TEST_SHARD, TestShard, TestSizes, test_layout};
use crate::write_back::WriteBackKind;
use sluice_model::limits::BLOCK_LEN;

const WHOLE_BLOCKS: WriteBackKind = WriteBackKind::WholeBlocks { at_least: BLOCK_LEN };

/// The same device after a stop without notice, nothing unflushed kept.
fn power_cycled(disk: &FaultDisk) -> FaultDisk {
    disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost })
}

/// A shard, the model of it, and the chance that drives both.
struct Scenario {
    shard: TestShard,
    model: ShardModel,
    random: Random,
}

impl Scenario {
    fn new(seed: u64, sizes: TestSizes) -> Self {
        let disk = FaultDisk::new(seed);
        let shard = TestShard::start(&disk, 1, sizes).expect("a new shard");
        Self { shard, model: ShardModel::default(), random: Random::new(seed) }
    }

    fn append(&mut self, partition: u32, body_len: usize) {
        let seed = self.random.next_u64();
        let records = 1 + u32::try_from(self.random.below(3)).unwrap();
        self.shard.log(test_partition(partition));
        let frame = self.shard.source(test_partition(partition), seed).next(records, body_len);
        self.model.on_append(&frame);
        self.shard.append(&frame);
    }

    fn commit(&mut self) {
        self.shard.commit();
        self.model.on_commit(self.shard.disk.call_count());
    }

    fn append_and_commit(&mut self, partition: u32, body_len: usize) {
        self.append(partition, body_len);
        self.commit();
    }

    fn move_log_start(&mut self, partition: u32) {
        let id = test_partition(partition);
        let offset = Offset(self.shard.log(id).log_end_offset().0 / 2);
        if offset > self.shard.log(id).log_start_offset() {
            self.commit();
            let before = self.shard.disk.call_count();
            self.shard.set_log_start(id, offset);
            self.model.on_log_start(id, offset, before, self.shard.disk.call_count());
        }
    }

    /// One step of what a shard's life is made of.
    fn step(&mut self) {
        match self.random.below(20) {
            0..8 => {
                for _ in 0..=self.random.below(3) {
                    let partition = u32::try_from(self.random.below(3)).unwrap();
                    let body_len = usize::try_from(self.random.below(5000)).unwrap();
                    self.append(partition, body_len);
                }
            }
            8..13 => self.commit(),
            13 => self.shard.write_back(WHOLE_BLOCKS),
            14 => self.shard.write_back(WriteBackKind::Everything),
            15 => self.shard.flush(),
            16 => self.shard.checkpoint(),
            17 => {
                self.commit();
                self.shard.mark_idle();
            }
            18 => self.move_log_start(0),
            _ => {
                self.shard.write_back(WHOLE_BLOCKS);
                self.shard.flush();
                self.shard.checkpoint();
            }
        }
        self.shard.make_room();
    }
}

fn start(disk: &FaultDisk, number: u64) -> TestShard {
    TestShard::start(disk, number, TestSizes::default()).unwrap_or_else(|error| panic!("start {number}: {error}"))
}

#[test]
fn a_new_shard_is_made_and_found_again() {
    let disk = FaultDisk::new(1);
    assert!(start(&disk, 1).report().created);
    let again = start(&power_cycled(&disk), 2);
    assert!(!again.report().created && again.report().is_clean());
    assert!(again.shard.partitions.is_empty());
}

#[test]
fn what_was_acknowledged_comes_back_from_the_journal_alone() {
    let mut scenario = Scenario::new(1, TestSizes::default());
    for n in 0..6 {
        scenario.append_and_commit(n % 2, 1500);
    }
    let calls = scenario.shard.disk.call_count();
    let mut again = start(&power_cycled(&scenario.shard.disk), 2);
    assert_eq!(again.report().entries_replayed, 6);
    assert!(!again.report().torn_group_cut && again.report().is_clean());
    scenario.model.check(&mut again, calls, "journal alone");
    let mut third = start(&power_cycled(&again.disk), 3);
    assert_eq!(third.report().entries_replayed, 0, "recovery left it all in segments");
    scenario.model.check(&mut third, calls, "segments alone");
}

#[test]
fn wherever_the_power_goes_nothing_acknowledged_is_lost_and_nothing_is_invented() {
    for seed in [1, 2, 3] {
        let mut scenario = Scenario::new(seed, TestSizes::default());
        for _ in 0..60 {
            scenario.step();
        }
        let disk = scenario.shard.disk.clone();
        for call in 0..=disk.call_count() {
            for unflushed in [Unflushed::Kept, Unflushed::Lost, Unflushed::Torn(seed), Unflushed::Torn(seed + 100)] {
                let what = format!("seed {seed}, cut at call {call} ({}), {unflushed:?}", disk.describe_call(call));
                let crashed = disk.crash(PowerCut { call, unflushed });
                let mut shard =
                    TestShard::start(&crashed, 2, TestSizes::default()).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert!(shard.report().is_clean(), "{what}: {}", shard.report());
                scenario.model.check(&mut shard, call, &what);
            }
        }
    }
}
