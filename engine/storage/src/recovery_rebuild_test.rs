//! Both checkpoint slots are gone, whatever was under way: segments and journal give it all back.

use super::rebuild_cases_tests::{journal_groups, settle};
use super::tests::{Scenario, power_cycled, walk_scenario};
use super::*;
use crate::checkpoint_slots::{SlotFound, read_slots};
use crate::commit_group::GROUP_HEADER_LEN;
use crate::disk::{DiskFile, OpenMode};
use crate::layout::{journal_file, segment_file};
use crate::testing::executor::block_on;
use crate::testing::fault_disk::{FaultDisk, FaultKind, PowerCut, Unflushed};
use crate::testing::frames::test_partition;
use crate::testing::test_shard::{TEST_SHARD, TestShard, TestSizes, test_layout};
use crate::write_back::WriteBackKind;
use sluice_model::limits::BLOCK_LEN;
use std::path::Path;
use std::path::PathBuf;

/// How a slot gets lost.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Deleted,
    Zeroed,
    Flipped,
}

const LOSSES: [Loss; 3] = [Loss::Deleted, Loss::Zeroed, Loss::Flipped];

fn slot(index: usize) -> PathBuf {
    test_layout().checkpoint_slot(TEST_SHARD, index)
}

fn spare() -> PathBuf {
    test_layout().checkpoint_spare(TEST_SHARD)
}

pub(super) fn lose_slots(disk: &FaultDisk) {
    (0..2).for_each(|index| lose(disk, &slot(index), Loss::Flipped));
}

pub(super) fn lose_all(disk: &FaultDisk) {
    lose_slots(disk);
    lose(disk, &spare(), Loss::Flipped);
}

fn lose(disk: &FaultDisk, path: &Path, loss: Loss) {
    let bytes = disk.files().remove(path).filter(|bytes| !bytes.is_empty());
    match (loss, bytes) {
        (_, None) => {}
        (Loss::Deleted, Some(_)) => block_on(disk.remove_file(path)).unwrap(),
        (Loss::Flipped, Some(_)) => disk.flip_bit(path, 30, 2),
        (Loss::Zeroed, Some(bytes)) => overwrite(disk, path, 0, &vec![0; bytes.len().next_multiple_of(BLOCK_LEN)]),
    }
}

pub(super) fn overwrite(disk: &FaultDisk, path: &Path, position: u64, bytes: &[u8]) {
    let file = block_on(disk.open(path, OpenMode::Existing)).unwrap();
    block_on(file.write_at(position, bytes.to_vec())).unwrap();
    block_on(file.sync()).unwrap();
}

pub(super) fn start(disk: &FaultDisk, number: u64, what: &str) -> TestShard {
    TestShard::start(disk, number, TestSizes::default()).unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// Whether the shard was made as a whole: before that its loss is that of nothing.
fn is_in_use(disk: &FaultDisk) -> bool {
    let slots = block_on(read_slots(disk, &test_layout(), TEST_SHARD)).unwrap();
    slots
        .iter()
        .all(|slot| matches!(slot, SlotFound::Good(found) if found.ring_state == crate::checkpoint_slots::RingState::InUse))
}

#[test]
fn without_checkpoints_nothing_acknowledged_is_lost_wherever_the_power_goes() {
    let (mut rebuilt, mut replayed, mut doubted) = (0, 0, 0);
    for seed in 20..28 {
        let scenario = walk_scenario(seed, 60, TestSizes::default());
        let disk = &scenario.shard.disk;
        for call in (0..=disk.call_count()).skip(usize::try_from(seed).unwrap() % 3).step_by(3) {
            for unflushed in [Unflushed::Kept, Unflushed::Lost, Unflushed::Torn(seed + call as u64)] {
                let crashed = disk.crash(PowerCut { call, unflushed });
                if !is_in_use(&crashed) {
                    continue;
                }
                let losses = [LOSSES[call % 3], LOSSES[call / 3 % 3]];
                let what = format!("seed {seed}, cut at call {call} ({}), {unflushed:?}, {losses:?}", disk.describe_call(call));
                (0..2).for_each(|index| lose(&crashed, &slot(index), losses[index]));
                if call % 2 == 0 {
                    lose(&crashed, &spare(), losses[0]);
                }
                let mut shard = start(&crashed, 2, &what);
                let report = shard.report().clone();
                assert!(report.rebuilt && !report.is_clean() && report.to_string().contains("rebuilt from segments"), "{what}");
                // The first write to a recycled file, torn: whether that file was free already only a checkpoint knew.
                let recycling = disk.describe_call(call).contains(" at 0 to /data/journal");
                doubted += u32::from(!report.lost_groups.is_empty());
                assert!(report.lost_groups.is_empty() && report.damaged_groups.is_empty() || recycling, "{what}: {report}");
                assert!(report.damaged.is_empty() && report.out_of_place == 0, "{what}: {report}");
                scenario.model.check_rebuilt(&mut shard, call, &what);
                let mut again = start(&power_cycled(&shard.disk), 3, &what);
                assert!(!again.report().rebuilt && again.report().entries_replayed == 0, "{what}: {}", again.report());
                scenario.model.check_rebuilt(&mut again, call, &what);
                rebuilt += 1;
                replayed += report.entries_replayed;
            }
        }
    }
    println!("rebuilt {rebuilt} times, {replayed} entries replayed, {doubted} times in doubt of a recycled file");
    assert!(rebuilt > 1000 && replayed > 1000, "{rebuilt} rebuilt, {replayed} replayed");
}

#[test]
fn a_rebuilding_may_be_cut_off_anywhere_and_be_run_again() {
    let mut images = 0;
    for seed in [30, 31] {
        let scenario = walk_scenario(seed, 50, TestSizes::default());
        let disk = &scenario.shard.disk;
        for call in (disk.call_count() / 2..=disk.call_count()).step_by(17) {
            let crashed = disk.crash(PowerCut { call, unflushed: Unflushed::Torn(call as u64) });
            (0..2).for_each(|index| lose(&crashed, &slot(index), Loss::Flipped));
            let rebuilding = start(&crashed, 2, "rebuilding").disk;
            for again in 0..=rebuilding.call_count() {
                for unflushed in [Unflushed::Kept, Unflushed::Lost, Unflushed::Torn(again as u64)] {
                    let what = format!("seed {seed}, call {call}, rebuilding cut at {again}, {unflushed:?}");
                    let mut shard = start(&rebuilding.crash(PowerCut { call: again, unflushed }), 3, &what);
                    scenario.model.check_rebuilt(&mut shard, call, &what);
                    images += 1;
                }
            }
        }
    }
    assert!(images > 500, "{images} images");
}

#[test]
fn a_slot_that_cannot_be_read_is_a_lost_slot() {
    let mut scenario = walk_scenario(9, 40, TestSizes::default());
    scenario.commit();
    let calls = scenario.shard.disk.call_count();
    for (failing, rebuilt) in [(vec![0], false), (vec![1], false), (vec![0, 0], true)] {
        let disk = power_cycled(&scenario.shard.disk);
        // A slot that fails at its first read is not read on, so the next read is the other one's.
        failing.iter().for_each(|&nth| disk.fail(FaultKind::Read, nth));
        if rebuilt {
            lose(&disk, &slot(1), Loss::Flipped);
        }
        let what = format!("reads {failing:?} of slots fail");
        let mut shard = start(&disk, 2, &what);
        assert_eq!(shard.report().rebuilt, rebuilt, "{what}");
        assert_eq!(shard.report().checkpoint_slots_bad, if rebuilt { 2 } else { 1 }, "{what}");
        scenario.model.check_rebuilt(&mut shard, calls, &what);
        assert!(is_in_use(&power_cycled(&shard.disk)), "{what}: both slots are written anew");
    }
}

#[test]
fn a_log_start_inside_a_segment_comes_back_from_the_journal() {
    let mut scenario = Scenario::new(1, TestSizes::default());
    for _ in 0..4 {
        scenario.append_and_commit(0, 1000);
    }
    let id = test_partition(0);
    let offset = Offset(scenario.shard.log(id).log_end_offset().0 / 2);
    scenario.shard.set_log_start(id, offset);
    scenario.shard.write_back(WriteBackKind::Everything);
    scenario.shard.flush();
    scenario.shard.checkpoint();
    let disk = power_cycled(&scenario.shard.disk);
    (0..2).for_each(|index| lose(&disk, &slot(index), Loss::Deleted));
    let mut shard = start(&disk, 2, "log start");
    assert_eq!(shard.log(id).log_start_offset(), offset);
    assert_eq!(shard.shard.partitions[&id].high_watermark, offset, "nothing is left that says what was committed");
}

#[test]
fn rot_in_segments_of_a_rebuilt_shard_is_named_and_the_rest_served() {
    let mut missing = 0;
    for seed in [32, 33] {
        let mut scenario = walk_scenario(seed, 60, TestSizes::default());
        scenario.commit();
        scenario.shard.mark_idle();
        let disk = power_cycled(&scenario.shard.disk);
        let mut random = crate::testing::random::Random::new(seed);
        let files: Vec<_> =
            disk.files().into_iter().filter(|(path, bytes)| !bytes.is_empty() && !path.ends_with("lock")).collect();
        for _ in 0..150 {
            let (path, bytes) = &files[usize::try_from(random.below(files.len() as u64)).unwrap()];
            let position = random.below(bytes.len() as u64);
            let rotten = power_cycled(&disk);
            rotten.flip_bit(path, position, 3);
            (0..2).for_each(|index| lose(&rotten, &slot(index), Loss::Deleted));
            let what = format!("seed {seed}, bit 3 of byte {position} of {}", path.display());
            // Another version in a header may be rot, and is refused all the same: nothing is read by guess.
            match TestShard::start(&rotten, 2, TestSizes::default()) {
                Ok(mut shard) => missing += scenario.model.check_rotten(&mut shard, &what),
                Err(RecoveryError::OtherVersion { .. }) => {}
                Err(error) => panic!("{what}: {error}"),
            }
        }
    }
    println!("{missing} frames were lost, each named");
}

#[test]
fn a_journal_that_is_gone_as_well_is_an_error_and_nothing_is_changed() {
    let mut scenario = Scenario::new(1, TestSizes::default());
    scenario.append_and_commit(0, 100);
    let disk = power_cycled(&scenario.shard.disk);
    lose(&disk, &slot(0), Loss::Flipped);
    lose(&disk, &slot(1), Loss::Flipped);
    block_on(disk.remove_file(&journal_file(&test_layout().shard_journal_dir(TEST_SHARD), 1))).unwrap();
    let before = disk.files();
    let error = TestShard::start(&disk, 2, TestSizes::default()).map(|_| ()).unwrap_err();
    assert!(matches!(error, RecoveryError::JournalMissing { .. }) && error.to_string().contains("accept-loss"), "{error}");
    assert_eq!(disk.files(), before);
}

#[test]
fn what_another_version_wrote_is_refused_by_name_and_not_touched() {
    let mut scenario = Scenario::new(1, TestSizes::default());
    // All in the journal's first file.
    for _ in 0..3 {
        scenario.append_and_commit(0, 4000);
    }
    scenario.shard.write_back(WriteBackKind::Everything);
    scenario.shard.flush();
    let refused = |disk: &FaultDisk, path: &Path, version: u32| {
        let before = disk.files();
        let error = TestShard::start(disk, 2, TestSizes::default()).map(|_| ()).unwrap_err();
        assert!(
            matches!(&error, RecoveryError::OtherVersion { path: at, found, .. } if at == path && *found == version),
            "{error}"
        );
        assert!(error.to_string().contains(&format!("version {version}")), "{error}");
        assert_eq!(disk.files(), before, "nothing was changed");
    };
    // Version 1 of a slot, whose checksum did not cover the magic; the other slot is good.
    for index in 0..2 {
        let disk = power_cycled(&scenario.shard.disk);
        let mut block = disk.files()[&slot(index)][..BLOCK_LEN].to_vec();
        block[3] = 1;
        let crc = crc32c::crc32c(&block[8..80]);
        block[4..8].copy_from_slice(&crc.to_le_bytes());
        overwrite(&disk, &slot(index), 0, &block);
        refused(&disk, &slot(index), 1);
    }
    let disk = power_cycled(&scenario.shard.disk);
    (0..2).for_each(|index| lose(&disk, &slot(index), Loss::Deleted));
    let segment = segment_file(&test_layout().partition_dir(test_partition(0)), Offset::ZERO);
    let mut block = disk.files()[&segment][..BLOCK_LEN].to_vec();
    block[8..12].copy_from_slice(&7u32.to_le_bytes());
    // From version 2 on the checksums of segments and groups cover magic and version.
    let crc = crc32c::crc32c_append(crc32c::crc32c(&block[..12]), &block[16..]);
    block[12..16].copy_from_slice(&crc.to_le_bytes());
    overwrite(&disk, &segment, 0, &block);
    refused(&disk, &segment, 7);
    let disk = power_cycled(&scenario.shard.disk);
    (0..2).for_each(|index| lose(&disk, &slot(index), Loss::Deleted));
    let path = journal_file(&test_layout().shard_journal_dir(TEST_SHARD), 0);
    let mut bytes = disk.files()[&path].clone();
    for block in bytes.chunks_mut(BLOCK_LEN).filter(|block| block.starts_with(b"SLG")) {
        block[3] = 9;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&block[..4]), &block[8..GROUP_HEADER_LEN]);
        block[4..8].copy_from_slice(&crc.to_le_bytes());
    }
    overwrite(&disk, &path, 0, &bytes);
    refused(&disk, &path, 9);
}

#[test]
fn rot_in_the_version_of_a_segment_or_of_a_group_refuses_no_start() {
    let mut scenario = Scenario::new(1, TestSizes::default());
    scenario.append_and_commit(0, 4000);
    settle(&mut scenario.shard);
    // In its ring is one group of its own, at the start of a file.
    let shard = start(&power_cycled(&scenario.shard.disk), 2, "before the rot");
    let (group, at, _) = journal_groups(&shard.disk).pop().unwrap();
    let segment = segment_file(&test_layout().partition_dir(test_partition(0)), Offset::ZERO);
    for (path, position) in [(segment, 8), (group, at + 3)] {
        for bit in 0..8 {
            let disk = power_cycled(&shard.disk);
            (0..2).for_each(|index| lose(&disk, &slot(index), Loss::Deleted));
            disk.flip_bit(&path, position, bit);
            let again = start(&disk, 3, "with a rotten version");
            assert!(again.report().rebuilt && !again.report().is_clean(), "{}", again.report());
        }
    }
}

#[test]
fn a_log_start_of_a_damaged_group_deletes_nothing() {
    let mut scenario = Scenario::new(1, TestSizes::default());
    for _ in 0..4 {
        scenario.append_and_commit(0, 1000);
    }
    let id = test_partition(0);
    scenario.shard.set_log_start(id, Offset(1));
    scenario.append_and_commit(0, 1000);
    scenario.shard.mark_idle();
    let disk = power_cycled(&scenario.shard.disk);
    let log_start = crate::commit_group::JournalEntry::LogStart { id, offset: Offset(1) };
    let mut entry = vec![0; log_start.encoded_len()];
    log_start.encode(&mut entry);
    let find = |bytes: &[u8]| bytes.windows(entry.len()).position(|window| window == entry);
    let (path, at) = disk
        .files()
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "journal"))
        .find_map(|(path, bytes)| Some((path, find(&bytes)?)))
        .expect("the journal holds the log start");
    // Offset 1 becomes one that is above everything.
    disk.flip_bit(&path, (at + entry.len() - 4) as u64, 3);
    (0..2).for_each(|index| lose(&disk, &slot(index), Loss::Deleted));
    let mut shard = start(&disk, 2, "a damaged log start");
    assert_eq!(shard.report().damaged_groups.len(), 1);
    assert_eq!(shard.log(id).log_start_offset(), Offset::ZERO);
    assert_eq!(scenario.model.check_rotten(&mut shard, "a damaged log start"), 0);
}

/// A log cut to its middle and written on under a greater epoch, all of that in segments, and the truncation the oldest
/// thing that the journal knows of it.
fn cut_and_written_on(seed: u64) -> (Scenario, Offset, Vec<Vec<u8>>) {
    let mut scenario = Scenario::new(seed, TestSizes::default());
    let id = test_partition(0);
    for _ in 0..6 {
        scenario.append_and_commit(0, 1500);
    }
    let middle = Offset(scenario.shard.log(id).log_end_offset().0 / 2);
    let end_offset = scenario.truncate(0, middle);
    let mut source = scenario.shard.source(id, seed);
    source.leader_epoch = sluice_model::LeaderEpoch(7);
    for _ in 0..5 {
        let frame = source.next(2, 900);
        scenario.model.on_append(&frame);
        scenario.shard.append(&frame);
        scenario.commit();
    }
    scenario.shard.write_back(WriteBackKind::Everything);
    scenario.shard.flush();
    scenario.shard.checkpoint();
    scenario.shard.mark_idle();
    let frames = scenario.shard.read_all(id);
    (scenario, end_offset, frames)
}

#[test]
fn damage_behind_a_truncation_does_not_cut_off_what_came_after_it() {
    let mut damaged_groups = 0;
    for seed in 0..12 {
        let (scenario, end_offset, frames) = cut_and_written_on(seed);
        let image = power_cycled(&scenario.shard.disk);
        let dir = test_layout().shard_journal_dir(TEST_SHARD);
        let mut groups = Vec::new();
        for (path, bytes) in image.files().into_iter().filter(|(path, _)| path.starts_with(&dir)) {
            for at in (0..bytes.len()).step_by(BLOCK_LEN) {
                if let Some((header, _)) = crate::commit_group::GroupHeader::parse(&bytes[at..]) {
                    groups.push((header.sequence, path.clone(), at as u64, header.truncates, header.entry_count));
                }
            }
        }
        groups.sort();
        let cut = groups.iter().position(|group| group.3).expect("the journal holds the truncation");
        let behind: Vec<_> = groups[cut + 1..].iter().filter(|group| group.4 > 0).cloned().collect();
        assert_eq!(behind.len(), 6, "seed {seed}: the truncation again, and five frames");
        // Bodies and headers of the last group, of every one but the first, of all of them, and of the truncation's second.
        for first in [5, 2, 1, 0] {
            for at in [50, 600] {
                let disk = power_cycled(&image);
                behind[first..].iter().for_each(|(_, path, position, ..)| disk.flip_bit(path, position + at, 1));
                (0..2).for_each(|index| lose(&disk, &slot(index), Loss::Deleted));
                let what = format!("seed {seed}, cut at {end_offset}, groups behind it from {first} on damaged at {at}");
                let mut shard = start(&disk, 2, &what);
                assert!(shard.report().rebuilt && !shard.report().is_clean(), "{what}");
                assert_eq!(shard.read_good(test_partition(0)).0, frames, "{what}: {}", shard.report());
                damaged_groups += shard.report().damaged_groups.len() + shard.report().lost_groups.len();
            }
        }
    }
    assert!(damaged_groups > 20, "{damaged_groups} groups damaged");
}
