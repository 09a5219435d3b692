use super::tests::{Scenario, check_cut};
use crate::checkpoint_slots::{SlotFound, read_slots};
use crate::commit_group::{ENTRY_HEADER_LEN, GROUP_HEADER_LEN, GroupHeader};
use crate::testing::executor::block_on;
use crate::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use crate::testing::frames::test_partition;
use crate::testing::test_shard::{TEST_SHARD, TestShard, TestSizes, test_layout};
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{Offset, TopicPartition};
use std::path::PathBuf;

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

/// File, position and body length of the groups that hold a truncation.
fn truncating_groups(disk: &FaultDisk) -> Vec<(PathBuf, u64, GroupHeader)> {
    let of_journal = disk.files().into_iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "journal"));
    let in_file = |(path, bytes): (PathBuf, Vec<u8>)| {
        let blocks = bytes.chunks(BLOCK_LEN).enumerate();
        let parsed = blocks.filter_map(|(block, bytes)| Some((block, GroupHeader::parse(bytes)?.0)));
        let found = parsed.filter(|(_, header)| header.truncates);
        found.map(|(block, header)| (path.clone(), (block * BLOCK_LEN) as u64, header)).collect::<Vec<_>>()
    };
    of_journal.flat_map(in_file).collect()
}

/// Every frame that is served, by partition.
fn served(shard: &mut TestShard) -> Vec<(TopicPartition, Vec<Vec<u8>>)> {
    [0, 1].map(test_partition).map(|id| (id, shard.read_all(id))).to_vec()
}

/// Two logs, one of which is cut off and goes on, both with entries after that. The journal has all of it, or, with
/// `is_checkpointed`, the newer slot knows of the cut.
fn cut_and_gone_on(is_checkpointed: bool) -> Scenario {
    let mut scenario = Scenario::new(1, TestSizes { journal_file_blocks: 32, ..TestSizes::default() });
    for n in 0..8 {
        scenario.append_and_commit(n % 2, 700);
    }
    let cut = boundary(&mut scenario, 0, Offset(4));
    assert!(cut > Offset::ZERO && cut < scenario.shard.log(test_partition(0)).log_end_offset());
    scenario.truncate(0, cut);
    for n in 0..4 {
        scenario.append_and_commit(n % 2, 500);
    }
    if is_checkpointed {
        scenario.shard.write_back(crate::write_back::WriteBackKind::Everything);
        scenario.shard.flush();
        scenario.shard.checkpoint();
    }
    scenario.shard.mark_idle();
    scenario
}

#[test]
fn no_single_group_is_all_that_knows_of_a_truncation() {
    let mut recovered = 0;
    for is_checkpointed in [false, true] {
        let mut scenario = cut_and_gone_on(is_checkpointed);
        let expected = served(&mut scenario.shard);
        let disk = &scenario.shard.disk;
        let groups = truncating_groups(disk);
        assert_eq!(groups.len(), 2, "one truncation, in two groups");
        assert_ne!(groups[0].2.sequence, groups[1].2.sequence);
        for (path, position, header) in groups {
            let len = GROUP_HEADER_LEN + header.body_len as usize;
            assert!(len > GROUP_HEADER_LEN + ENTRY_HEADER_LEN, "an entry is in it");
            for at in 0..len as u64 {
                let rotten = disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost });
                if is_checkpointed {
                    let slots = block_on(read_slots(&rotten, &test_layout(), TEST_SHARD)).unwrap();
                    let sequence = |slot: &SlotFound| if let SlotFound::Good(good) = slot { good.slot_sequence } else { 0 };
                    let newest = usize::from(sequence(&slots[1]) > sequence(&slots[0]));
                    rotten.flip_bit(&test_layout().checkpoint_slot(TEST_SHARD, newest), 70, 2);
                }
                let bit = u8::try_from(at % 8).unwrap();
                rotten.flip_bit(&path, position + at, bit);
                let what = format!("bit {bit} of byte {at} of group {}, checkpointed: {is_checkpointed}", header.sequence);
                let mut shard = TestShard::start(&rotten, 2, TestSizes { journal_file_blocks: 32, ..TestSizes::default() })
                    .unwrap_or_else(|error| panic!("{what}: {error}"));
                let report = shard.report();
                assert_eq!(report.lost_groups.len() + report.damaged_groups.len(), 1, "{what}: {report}");
                assert!(report.damaged.is_empty() && report.possibly_short.is_empty(), "{what}: {report}");
                assert_eq!(report.out_of_place, 0, "{what}: {report}");
                assert_eq!(served(&mut shard), expected, "{what}");
                recovered += 1;
            }
        }
    }
    println!("{recovered} recoveries");
    assert!(recovered > 400);
}

#[test]
fn a_log_ends_where_it_was_cut_although_the_batch_below_cannot_be_found() {
    let mut scenario = Scenario::new(3, TestSizes::default());
    let id = test_partition(0);
    for _ in 0..6 {
        scenario.append_and_commit(0, 500);
    }
    let frames = scenario.shard.read_all(id);
    let headers: Vec<_> = frames.iter().map(|frame| *sluice_model::FrameHeader::parse(frame).unwrap()).collect();
    let (at, inside) = (1..5).map(|at| (at, headers[at])).find(|(_, header)| header.record_count.to_native() > 1).unwrap();
    scenario.shard.write_back(crate::write_back::WriteBackKind::Everything);
    scenario.shard.flush();
    scenario.shard.checkpoint();
    // As where the batch could not be read then, so that the cut went through it.
    let (boundary, end_offset) = (inside.base_offset(), inside.base_offset().advanced(1));
    let last_header_crc = headers[at - 1].header_crc.to_native();
    scenario.shard.shard.journal.append(crate::commit_group::JournalEntry::Truncate { id, end_offset, last_header_crc });
    scenario.shard.commit();
    let disk = &scenario.shard.disk;
    let mut disk = disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost });
    for number in 2..4 {
        let mut shard = TestShard::start(&disk, number, TestSizes::default()).unwrap();
        let what = format!("start {number}: {}", shard.report());
        let log = shard.log(id);
        assert_eq!((log.log_end_offset(), log.last_header_crc()), (end_offset, last_header_crc), "{what}");
        assert_eq!(log.damaged(), [crate::damage::DamagedRange { from: boundary, until: end_offset }], "{what}");
        assert_eq!(log.possibly_short(), None, "{what}");
        assert_eq!(shard.read_good(id).0, frames[..at], "{what}");
        disk = shard.disk.crash(PowerCut { call: shard.disk.call_count(), unflushed: Unflushed::Lost });
    }
}

/// A write-back that went astray, and then a cut through what the segment does not hold: where the batches of it begin is
/// not known, so that the log ends inside one. The journal has them all, and a start must not go on with that batch, behind
/// which nothing fits that was appended since.
#[test]
fn a_cut_through_a_batch_that_its_segment_does_not_hold_is_replayed_as_it_was() {
    let id = test_partition(0);
    let disk = FaultDisk::new(1);
    let mut shard = TestShard::start(&disk, 1, TestSizes::default()).unwrap();
    let mut source = shard.source(id, 5);
    let frames: Vec<_> = (0..6).map(|_| source.next(4, 3000)).collect();
    for frame in &frames[..2] {
        shard.append(frame);
    }
    shard.commit();
    shard.write_back(crate::write_back::WriteBackKind::Everything);
    for frame in &frames[2..] {
        shard.append(frame);
    }
    shard.commit();
    disk.lose_write(0, ".log");
    let end = shard.truncate(id, Offset(14));
    assert_eq!((end, disk.scar_count()), (Offset(14), 2), "nobody knows that a batch begins at 12");
    let mut source = shard.source(id, 6);
    source.leader_epoch = sluice_model::LeaderEpoch(9);
    let later: Vec<_> = (0..3).map(|_| source.next(2, 500)).collect();
    for frame in &later {
        shard.append(frame);
    }
    shard.commit();
    let bytes = |frames: &[crate::testing::frames::TestFrame]| frames.iter().map(|frame| frame.bytes()).collect::<Vec<_>>();
    assert_eq!(shard.read_good(id).0, [bytes(&frames[..2]), bytes(&later)].concat());

    let crashed = disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost });
    let mut shard = TestShard::start(&crashed, 2, TestSizes::default()).unwrap();
    let (good, refused) = shard.read_good(id);
    assert_eq!(good, [bytes(&frames[..3]), bytes(&later)].concat(), "{}", shard.report());
    assert_eq!(refused, [crate::damage::DamagedRange { from: Offset(12), until: Offset(14) }]);
    assert_eq!((shard.report().out_of_place, shard.report().possibly_short.len()), (0, 0), "{}", shard.report());
}

/// The write of the entry fails, and the next process reads it back all the same. It goes by it, the power goes, and with it
/// what no flush has made durable: then the log is whole, or was cut, and never a file that is cut and nothing that says so.
#[test]
fn a_truncation_whose_write_failed_is_durable_before_files_are_cut() {
    let (id, mut cut, mut whole) = (test_partition(0), 0, 0);
    for seed in 0..12 {
        let mut scenario = Scenario::new(seed, TestSizes::default());
        (0..6).for_each(|_| scenario.append_and_commit(0, 3000));
        let frames = scenario.shard.read_all(id);
        scenario.shard.write_back(crate::write_back::WriteBackKind::Everything);
        scenario.shard.flush();
        scenario.shard.checkpoint();
        let before = *sluice_model::FrameHeader::parse(&frames[1]).unwrap();
        let (end_offset, last_header_crc) = (before.next_offset(), before.header_crc.to_native());
        let (disk, journal) = (scenario.shard.disk.clone(), scenario.shard.shard.journal.clone());
        journal.append(crate::commit_group::JournalEntry::Truncate { id, end_offset, last_header_crc });
        disk.fail(crate::testing::fault_disk::FaultKind::Write, 0);
        block_on(journal.commit_next()).expect_err("the write fails");
        let ended_at = disk.call_count();
        let shard = TestShard::start(&disk, 2, TestSizes::default()).unwrap();
        if shard.shard.partitions[&id].log.log_end_offset() > end_offset {
            continue;
        }
        for call in ended_at..=disk.call_count() {
            let what = format!("seed {seed}, cut at call {call} ({})", disk.describe_call(call));
            let crashed = disk.crash(PowerCut { call, unflushed: Unflushed::Lost });
            let mut shard = TestShard::start(&crashed, 3, TestSizes::default()).unwrap_or_else(|error| panic!("{what}: {error}"));
            let (served, refused) = shard.read_good(id);
            assert!(refused.is_empty(), "{what}: {refused:?} are gone: {}", shard.report());
            match served.len() {
                2 => cut += 1,
                _ => whole += 1,
            }
            assert!(served == frames[..2] || served == frames, "{what}: {} frames: {}", served.len(), shard.report());
        }
    }
    println!("{cut} cut, {whole} whole");
    assert!(cut > 20 && whole > 3, "too little was met: {cut} cut, {whole} whole");
}
