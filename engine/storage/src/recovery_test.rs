use super::*;
use crate::checkpoint_slots::{SlotFound, read_slots};
use crate::layout::journal_file;

use crate::testing::executor::block_on;
use crate::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use crate::testing::frames::test_partition;
use crate::testing::random::Random;
use crate::testing::shard_model::ShardModel;
use crate::testing::test_shard::{TEST_SHARD, TestShard, TestSizes, test_layout};
use crate::write_back::WriteBackKind;
use sluice_model::limits::BLOCK_LEN;

pub(super) const WHOLE_BLOCKS: WriteBackKind = WriteBackKind::WholeBlocks { at_least: BLOCK_LEN };

/// The same device after a stop without notice, nothing unflushed kept.
pub(super) fn power_cycled(disk: &FaultDisk) -> FaultDisk {
    disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost })
}

/// A shard, the model of it, and the chance that drives both.
pub(super) struct Scenario {
    pub(super) shard: TestShard,
    pub(super) model: ShardModel,
    pub(super) random: Random,
    sizes: TestSizes,
}

impl Scenario {
    pub(super) fn new(seed: u64, sizes: TestSizes) -> Self {
        let disk = FaultDisk::new(seed);
        let shard = TestShard::start(&disk, 1, sizes).expect("a new shard");
        Self { shard, model: ShardModel::default(), random: Random::new(seed), sizes }
    }

    /// The life of a shard after a restart; what was recovered is durable, and the rest never was.
    pub(super) fn resumed(&self, shard: TestShard, seed: u64) -> Self {
        let calls = shard.disk.call_count();
        let model = self.model.resumed(&shard, calls);
        Self { shard, model, random: Random::new(seed), sizes: self.sizes }
    }

    pub(super) fn append(&mut self, partition: u32, body_len: usize) {
        let seed = self.random.next_u64();
        let records = 1 + u32::try_from(self.random.below(3)).unwrap();
        self.shard.log(test_partition(partition));
        let frame = self.shard.source(test_partition(partition), seed).next(records, body_len);
        self.model.on_append(&frame);
        self.shard.append(&frame);
    }

    pub(super) fn commit(&mut self) {
        self.shard.commit();
        self.model.on_commit(self.shard.disk.call_count());
    }

    pub(super) fn append_and_commit(&mut self, partition: u32, body_len: usize) {
        self.append(partition, body_len);
        self.commit();
    }

    /// Ends a log at or below `end_offset`, which is not below its start.
    pub(super) fn truncate(&mut self, partition: u32, end_offset: Offset) -> Offset {
        let id = test_partition(partition);
        let before = self.shard.disk.call_count();
        let end_offset = self.shard.truncate(id, end_offset);
        self.model.on_truncate(id, end_offset, before, self.shard.disk.call_count());
        end_offset
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
    pub(super) fn step(&mut self) {
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

/// What a walk over cut points has met, so that a scenario that tests nothing is noticed.
#[derive(Debug, Default)]
struct Met {
    images: usize,
    torn: usize,
    replayed: u64,
    bad_slots: u32,
    set_aside: usize,
    sealed: usize,
    log_starts: usize,
}

impl Met {
    fn add(&mut self, shard: &TestShard) {
        self.images += 1;
        self.torn += usize::from(shard.report().torn_group_cut);
        self.replayed += shard.report().entries_replayed;
        self.bad_slots += shard.report().checkpoint_slots_bad;
        self.set_aside += shard.report().set_aside.len();
        let logs = || shard.shard.partitions.values().map(|partition| &partition.log);
        self.sealed += logs().map(|log| log.segment_count() - 1).sum::<usize>();
        self.log_starts += logs().filter(|log| log.log_start_offset() > Offset::ZERO).count();
    }
}

/// Restarts from the image that a cut leaves and holds it against the model.
pub(super) fn check_cut(
    disk: &FaultDisk,
    cut: PowerCut,
    scenario: &Scenario,
    calls: usize,
    number: u64,
    what: &str,
) -> TestShard {
    let crashed = disk.crash(cut);
    let mut shard = TestShard::start(&crashed, number, scenario.sizes).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(shard.report().is_clean(), "{what}: {}", shard.report());
    scenario.model.check(&mut shard, calls, what);
    shard
}

pub(super) fn walk_scenario(seed: u64, steps: usize, sizes: TestSizes) -> Scenario {
    let mut scenario = Scenario::new(seed, sizes);
    for _ in 0..steps {
        scenario.step();
    }
    scenario
}

#[test]
fn wherever_the_power_goes_nothing_acknowledged_is_lost_and_nothing_is_invented() {
    let mut met = Met::default();
    for seed in [1, 2, 3] {
        let scenario = walk_scenario(seed, 70, TestSizes::default());
        let disk = &scenario.shard.disk;
        for call in 0..=disk.call_count() {
            for unflushed in [Unflushed::Kept, Unflushed::Lost, Unflushed::Torn(seed), Unflushed::Torn(seed + 100)] {
                let what = format!("seed {seed}, cut at call {call} ({}), {unflushed:?}", disk.describe_call(call));
                let cut = PowerCut { call, unflushed };
                met.add(&check_cut(disk, cut, &scenario, call, 2, &what));
            }
        }
    }
    println!("{met:?}");
    let Met { torn, replayed, bad_slots, sealed, log_starts, set_aside, .. } = met;
    assert!(
        torn > 20 && replayed > 1000 && bad_slots > 5 && sealed > 100 && log_starts > 100 && set_aside > 0,
        "too little was met"
    );
}

#[test]
fn a_restart_goes_on_and_the_next_one_finds_all_of_it() {
    for seed in [4, 5] {
        let scenario = walk_scenario(seed, 60, TestSizes::default());
        let disk = &scenario.shard.disk;
        for call in (0..=disk.call_count()).step_by(7) {
            let what = format!("seed {seed}, cut at call {call} ({})", disk.describe_call(call));
            let cut = PowerCut { call, unflushed: Unflushed::Torn(seed + call as u64) };
            let shard = check_cut(disk, cut, &scenario, call, 2, &what);
            let mut second = scenario.resumed(shard, seed + call as u64);
            for _ in 0..25 {
                second.step();
            }
            let disk = second.shard.disk.clone();
            let cut = PowerCut { call: disk.call_count(), unflushed: Unflushed::Torn(call as u64) };
            check_cut(&disk, cut, &second, disk.call_count(), 3, &format!("{what}, and again"));
        }
    }
}

#[test]
fn recovery_may_be_cut_off_anywhere_and_be_run_again() {
    for seed in [6, 7] {
        let scenario = walk_scenario(seed, 60, TestSizes::default());
        let disk = &scenario.shard.disk;
        for call in (0..=disk.call_count()).step_by(23) {
            let first = PowerCut { call, unflushed: Unflushed::Torn(call as u64) };
            let what = format!("seed {seed}, {first:?}");
            let recovering = check_cut(disk, first, &scenario, call, 2, &what).disk;
            for again in 0..=recovering.call_count() {
                for unflushed in [Unflushed::Kept, Unflushed::Lost, Unflushed::Torn(again as u64)] {
                    let what =
                        format!("{what}, then recovery cut at {again} ({}), {unflushed:?}", recovering.describe_call(again));
                    check_cut(&recovering, PowerCut { call: again, unflushed }, &scenario, call, 3, &what);
                }
            }
        }
    }
}

#[test]
fn replay_keeps_within_the_tail_budget() {
    let sizes = TestSizes { journal_file_blocks: 256, segment_len: 1 << 20, tail_budget_len: 256 * 1024, ..TestSizes::default() };
    let mut scenario = Scenario::new(1, TestSizes { tail_budget_len: 1 << 30, ..sizes });
    for n in 0..300 {
        scenario.append_and_commit(n % 3, 4000);
    }
    let calls = scenario.shard.disk.call_count();
    let mut again = TestShard::start(&power_cycled(&scenario.shard.disk), 2, sizes).unwrap();
    assert_eq!(again.report().entries_replayed, 300);
    assert!(again.memory.used_len() <= sizes.tail_budget_len, "{} bytes of tails", again.memory.used_len());
    scenario.model.check(&mut again, calls, "small budget");
}

#[test]
fn a_journal_of_another_shape_is_read_and_made_anew() {
    let mut scenario = walk_scenario(8, 40, TestSizes::default());
    scenario.commit();
    let calls = scenario.shard.disk.call_count();
    scenario.sizes = TestSizes { journal_file_blocks: 16, journal_file_count: 5, ..TestSizes::default() };
    let cut = PowerCut { call: calls, unflushed: Unflushed::Lost };
    let disk = scenario.shard.disk.clone();
    let recovering = check_cut(&disk, cut, &scenario, calls, 2, "larger ring").disk;
    assert_eq!(recovering.files().keys().filter(|path| path.starts_with(test_layout().shard_journal_dir(TEST_SHARD))).count(), 5);
    for again in 0..=recovering.call_count() {
        let cut = PowerCut { call: again, unflushed: Unflushed::Torn(again as u64) };
        check_cut(&recovering, cut, &scenario, calls, 3, &format!("larger ring, cut at {again}"));
    }
}

#[test]
fn a_slot_that_is_lost_costs_nothing() {
    let mut lost = 0;
    for seed in [9, 10] {
        // In its first life a shard's slots are of one incarnation from the start; in its second they were of another.
        let first = walk_scenario(seed, 40, TestSizes::default());
        let cut = PowerCut { call: first.shard.disk.call_count(), unflushed: Unflushed::Kept };
        let recovered = check_cut(&first.shard.disk, cut, &first, cut.call, 2, "first life");
        let recovered_at = recovered.disk.call_count();
        let mut scenario = first.resumed(recovered, seed);
        for _ in 0..60 {
            scenario.step();
        }
        let disk = &scenario.shard.disk;
        for call in (0..=disk.call_count()).step_by(3) {
            let cut = PowerCut { call, unflushed: Unflushed::Torn(call as u64) };
            let slots = block_on(read_slots(&disk.crash(cut), &test_layout(), TEST_SHARD)).unwrap();
            if !slots.iter().all(|slot| matches!(slot, SlotFound::Good(_))) {
                continue;
            }
            // A cut inside the second recovery shows the first life: its model is not this one.
            for slot in (0..2).filter(|_| call > recovered_at) {
                let rotten = disk.crash(cut);
                rotten.flip_bit(&test_layout().checkpoint_slot(TEST_SHARD, slot), 70, 2);
                let all = PowerCut { call: rotten.call_count(), unflushed: Unflushed::Kept };
                let what = format!("seed {seed}, {cut:?}, slot {slot} lost");
                assert_eq!(check_cut(&rotten, all, &scenario, call, 3, &what).report().checkpoint_slots_bad, 1);
                lost += 1;
            }
        }
    }
    assert!(lost > 50, "only {lost} slots were lost");
}

#[test]
fn what_has_to_be_there_and_is_not_is_an_error_and_no_new_shard() {
    let mut scenario = Scenario::new(1, TestSizes::default());
    scenario.append_and_commit(0, 100);
    let start = |disk: &FaultDisk, number| TestShard::start(disk, number, TestSizes::default()).map(|_| ()).unwrap_err();
    let disk = power_cycled(&scenario.shard.disk);
    assert!(matches!(start(&disk, 1), RecoveryError::IncarnationTooLow { found: 1, given: 1 }));
    for slot in 0..2 {
        disk.flip_bit(&test_layout().checkpoint_slot(TEST_SHARD, slot), 10, 0);
    }
    assert!(matches!(start(&disk, 1), RecoveryError::IncarnationTooLow { found: 1, given: 1 }), "without checkpoints too");
    let disk = power_cycled(&scenario.shard.disk);
    block_on(disk.remove_file(&journal_file(&test_layout().shard_journal_dir(TEST_SHARD), 2))).unwrap();
    assert!(matches!(start(&disk, 2), RecoveryError::JournalMissing { .. }));
}

#[test]
fn entries_after_a_restart_are_not_taken_for_those_that_segments_held_before() {
    let mut scenario = Scenario::new(1, TestSizes::default());
    scenario.append_and_commit(0, 100);
    (0..3).for_each(|_| scenario.append(0, 100));
    // Written back and checkpointed, and never durable in the journal.
    scenario.shard.write_back(WriteBackKind::Everything);
    scenario.shard.flush();
    scenario.shard.checkpoint();
    let calls = scenario.shard.disk.call_count();
    let cut = PowerCut { call: calls, unflushed: Unflushed::Lost };
    let shard = check_cut(&scenario.shard.disk, cut, &scenario, calls, 2, "held beyond the journal");
    let mut second = scenario.resumed(shard, 2);
    second.append_and_commit(0, 100);
    let calls = second.shard.disk.call_count();
    let cut = PowerCut { call: calls, unflushed: Unflushed::Lost };
    let shard = check_cut(&second.shard.disk, cut, &second, calls, 3, "appended after it");
    assert_eq!(shard.report().entries_replayed, 1);
}
