use super::tests::{Scenario, check_cut};
use crate::checkpoint_slots::{SlotFound, read_slots};
use crate::testing::executor::block_on;
use crate::testing::fault_disk::{PowerCut, Unflushed};
use crate::testing::frames::test_partition;
use crate::testing::test_shard::{TEST_SHARD, TestShard, TestSizes, test_layout};
use sluice_model::Offset;

/// What a walk has met, so that one that tests nothing is noticed.
#[derive(Debug, Default)]
struct Met {
    images: usize,
    truncations: usize,
    entries_truncated: u64,
    replayed: u64,
    sealed: usize,
}

impl Met {
    fn add(&mut self, shard: &TestShard) {
        self.images += 1;
        self.entries_truncated += shard.report().entries_truncated;
        self.replayed += shard.report().entries_replayed;
        self.sealed += shard.shard.partitions.values().map(|partition| partition.log.segment_count() - 1).sum::<usize>();
    }
}

/// A step of a shard's life, in which logs are truncated now and then: some way back, or a little.
fn step(scenario: &mut Scenario, met: &mut Met) {
    if scenario.random.below(5) > 0 {
        return scenario.step();
    }
    let partition = u32::try_from(scenario.random.below(3)).unwrap();
    let log = scenario.shard.log(test_partition(partition));
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    let reach = if scenario.random.coin() { 6 } else { end.0 - start.0 };
    let back = scenario.random.below(reach.min(end.0 - start.0) + 1);
    if boundary(scenario, partition, Offset(end.0 - back)) >= start && back > 0 {
        scenario.truncate(partition, Offset(end.0 - back));
        met.truncations += 1;
    }
    scenario.shard.make_room();
}

/// The frame boundary at or below `offset`, as the frames themselves say.
fn boundary(scenario: &mut Scenario, partition: u32, offset: Offset) -> Offset {
    let id = test_partition(partition);
    let frames = scenario.shard.read_all(id);
    let headers = frames.iter().map(|frame| *sluice_model::FrameHeader::parse(frame).unwrap());
    let mut below = headers.filter(|header| header.next_offset() <= offset).map(|header| header.next_offset());
    let first = frames.first().map_or(offset, |frame| sluice_model::FrameHeader::parse(frame).unwrap().base_offset());
    below.next_back().unwrap_or(first.min(offset))
}

fn walk(seed: u64, steps: usize, met: &mut Met) -> Scenario {
    let mut scenario = Scenario::new(seed, TestSizes::default());
    for _ in 0..steps {
        step(&mut scenario, met);
    }
    scenario
}

#[test]
fn wherever_the_power_goes_nothing_that_was_truncated_comes_back() {
    let mut met = Met::default();
    for seed in 1..=8 {
        let scenario = walk(seed, 60, &mut met);
        let disk = &scenario.shard.disk;
        for call in 0..=disk.call_count() {
            for unflushed in [Unflushed::Kept, Unflushed::Lost, Unflushed::Torn(seed), Unflushed::Torn(seed + 100)] {
                let what = format!("seed {seed}, cut at call {call} ({}), {unflushed:?}", disk.describe_call(call));
                met.add(&check_cut(disk, PowerCut { call, unflushed }, &scenario, call, 2, &what));
            }
        }
    }
    println!("{met:?}");
    assert!(met.truncations > 40 && met.entries_truncated > 500 && met.replayed > 1000 && met.sealed > 100, "too little was met");
}

#[test]
fn a_restart_goes_on_and_truncates_again() {
    let mut met = Met::default();
    for seed in 11..=14 {
        let scenario = walk(seed, 50, &mut met);
        let disk = &scenario.shard.disk;
        for call in (0..=disk.call_count()).step_by(5) {
            let what = format!("seed {seed}, cut at call {call} ({})", disk.describe_call(call));
            let cut = PowerCut { call, unflushed: Unflushed::Torn(seed + call as u64) };
            let shard = check_cut(disk, cut, &scenario, call, 2, &what);
            let mut second = scenario.resumed(shard, seed + call as u64);
            for _ in 0..25 {
                step(&mut second, &mut met);
            }
            let disk = second.shard.disk.clone();
            let cut = PowerCut { call: disk.call_count(), unflushed: Unflushed::Torn(call as u64) };
            met.add(&check_cut(&disk, cut, &second, disk.call_count(), 3, &format!("{what}, and again")));
        }
    }
    println!("{met:?}");
    assert!(met.truncations > 200 && met.entries_truncated > 50, "too little was met");
}

#[test]
fn a_recovery_that_truncates_may_be_cut_off_anywhere_and_be_run_again() {
    let mut met = Met::default();
    for seed in 21..=24 {
        let scenario = walk(seed, 50, &mut met);
        let disk = &scenario.shard.disk;
        for call in (0..=disk.call_count()).step_by(17) {
            let first = PowerCut { call, unflushed: Unflushed::Torn(call as u64) };
            let what = format!("seed {seed}, {first:?}");
            let recovered = check_cut(disk, first, &scenario, call, 2, &what);
            let ends = |shard: &TestShard| -> Vec<_> {
                let logs = shard.shard.partitions.values().map(|partition| &partition.log);
                logs.map(|log| (log.id(), log.log_end_offset(), log.last_header_crc())).collect()
            };
            for again in 0..=recovered.disk.call_count() {
                for unflushed in [Unflushed::Kept, Unflushed::Lost, Unflushed::Torn(again as u64)] {
                    let cut = PowerCut { call: again, unflushed };
                    let at = recovered.disk.describe_call(again);
                    let what = format!("{what}, then recovery cut at {again} ({at}), {unflushed:?}");
                    let shard = check_cut(&recovered.disk, cut, &scenario, call, 3, &what);
                    assert_eq!(ends(&shard), ends(&recovered), "{what}: the journal said where the logs end");
                    met.add(&shard);
                }
            }
        }
    }
    println!("{met:?}");
    assert!(met.images > 1000 && met.entries_truncated > 500, "too little was met");
}

#[test]
fn a_slot_that_is_lost_brings_nothing_back() {
    let (mut met, mut lost) = (Met::default(), 0);
    for seed in 31..=36 {
        let first = walk(seed, 20, &mut met);
        let cut = PowerCut { call: first.shard.disk.call_count(), unflushed: Unflushed::Kept };
        let recovered = check_cut(&first.shard.disk, cut, &first, cut.call, 2, "first life");
        let recovered_at = recovered.disk.call_count();
        let mut scenario = first.resumed(recovered, seed);
        for _ in 0..60 {
            step(&mut scenario, &mut met);
        }
        let disk = &scenario.shard.disk;
        for call in (recovered_at + 1..=disk.call_count()).step_by(2) {
            let cut = PowerCut { call, unflushed: Unflushed::Torn(call as u64) };
            let slots = block_on(read_slots(&disk.crash(cut), &test_layout(), TEST_SHARD)).unwrap();
            if !slots.iter().all(|slot| matches!(slot, SlotFound::Good(_))) {
                continue;
            }
            for slot in 0..2 {
                let rotten = disk.crash(cut);
                rotten.flip_bit(&test_layout().checkpoint_slot(TEST_SHARD, slot), 70, 2);
                let all = PowerCut { call: rotten.call_count(), unflushed: Unflushed::Kept };
                let what = format!("seed {seed}, {cut:?}, slot {slot} lost");
                met.add(&check_cut(&rotten, all, &scenario, call, 3, &what));
                lost += 1;
            }
        }
    }
    println!("{met:?}, {lost} slots lost");
    assert!(lost > 300 && met.truncations > 40 && met.entries_truncated > 300, "too little was met");
}
