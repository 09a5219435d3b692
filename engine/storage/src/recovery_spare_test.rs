//! When a spare checkpoint counts, and what a journal has to be beside it.

use super::rebuild_cases_tests::settle;
use super::rebuild_tests::{lose_slots, overwrite, start};
use super::tests::{Scenario, power_cycled};
use super::*;
use crate::checkpoint_slots::read_spare;
use crate::commit_group::JournalEntry;
use crate::damage::DamagedRange;
use crate::layout::{journal_file, segment_file};
use crate::testing::executor::block_on;
use crate::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use crate::testing::frames::test_partition;
use crate::testing::test_shard::{TEST_SHARD, TestShard, TestSizes, test_layout};
use crate::write_back::WriteBackKind;
use sluice_model::LeaderEpoch;

fn spare_of(disk: &FaultDisk) -> Option<Box<FoundCheckpoint>> {
    block_on(read_spare(disk, &test_layout(), TEST_SHARD)).unwrap()
}

/// The truncation stands in the old ring alone, and the spare that is left is of before it.
#[test]
fn a_ring_that_is_made_anew_takes_no_truncation_with_it() {
    let mut scenario = Scenario::new(13, TestSizes::default());
    (0..6).for_each(|_| scenario.append_and_commit(0, 1000));
    settle(&mut scenario.shard);
    let id = test_partition(0);
    let path = test_layout().checkpoint_spare(TEST_SHARD);
    let kept = scenario.shard.disk.files()[&path].clone();
    scenario.truncate(0, Offset(4));
    let mut shard = scenario.shard;
    let mut source = shard.source(id, 5);
    source.leader_epoch = LeaderEpoch(2);
    let frame = source.next(1, 700);
    shard.append(&frame);
    shard.commit();
    let frames = shard.read_all(id);
    overwrite(&shard.disk, &path, 0, &kept);
    let disk = power_cycled(&shard.disk);
    let sizes = TestSizes { journal_file_blocks: 16, ..TestSizes::default() };
    let again = TestShard::start(&disk, 3, sizes).unwrap();
    let (mut refused, mut rebuilt) = (0, 0);
    for call in 0..=again.disk.call_count() {
        let image = again.disk.crash(PowerCut { call, unflushed: Unflushed::Lost });
        lose_slots(&image);
        let after = again.disk.describe_call(call.saturating_sub(1));
        match TestShard::start(&image, 4, sizes) {
            Ok(mut third) => {
                rebuilt += 1;
                let (got, bad) = third.read_good(id);
                assert!(got == frames && bad.is_empty(), "cut at call {call}, after {after}: {bad:?}, {}", third.report());
            }
            Err(error) => {
                println!("cut at call {call}, after {after}: {error}");
                refused += 1;
            }
        }
    }
    assert!(rebuilt > 20 && refused == 0, "{rebuilt} cuts, {refused} refused");
}

#[test]
fn a_spare_that_could_not_be_written_does_not_count() {
    let mut scenario = Scenario::new(14, TestSizes::default());
    scenario.append_and_commit(0, 1000);
    settle(&mut scenario.shard);
    let shard = scenario.shard;
    let found = spare_of(&shard.disk).unwrap();
    let mut larger = found.checkpoint.clone();
    larger.partitions.extend((10..300).map(test_partition).map(PartitionCheckpoint::empty));
    shard.disk.set_capacity(shard.disk.files().values().map(|bytes| (bytes.len() as u64).next_multiple_of(4096)).sum());
    let full = block_on(shard.shard.checkpoints.write_spare(&larger)).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    assert!(spare_of(&power_cycled(&shard.disk)).is_none(), "it does not know those that came");
    shard.disk.set_capacity(u64::MAX);
    block_on(shard.shard.checkpoints.write_spare(&larger)).unwrap();
    assert_eq!(spare_of(&power_cycled(&shard.disk)).unwrap().checkpoint, larger);
}

#[test]
fn a_last_journal_file_that_is_gone_is_missed_although_the_settings_ask_for_fewer() {
    let mut scenario = Scenario::new(15, TestSizes::default());
    scenario.append_and_commit(0, 1000);
    let disk = power_cycled(&scenario.shard.disk);
    lose_slots(&disk);
    let fewer = TestSizes { journal_file_count: 3, ..TestSizes::default() };
    let image = power_cycled(&disk);
    block_on(image.remove_file(&journal_file(&test_layout().shard_journal_dir(TEST_SHARD), 3))).unwrap();
    let files = image.files();
    match TestShard::start(&image, 2, fewer).map(|_| ()) {
        Err(RecoveryError::JournalMissing { error, .. }) => assert!(error.to_string().contains("3 files"), "{error}"),
        other => panic!("the last file may have held the newest groups: {other:?}"),
    }
    assert!(files == image.files(), "nothing was changed");
    TestShard::start(&disk, 2, fewer).unwrap();
}

#[test]
fn a_ring_that_is_new_holds_nothing_and_one_that_was_rebuilt_from_says_what_it_held() {
    let mut scenario = Scenario::new(16, TestSizes::default());
    assert_eq!(scenario.shard.report().ring_incarnation_number, None);
    scenario.append_and_commit(0, 1000);
    let disk = power_cycled(&scenario.shard.disk);
    let shard = start(&disk, 2, "the second start");
    assert_eq!(shard.report().ring_incarnation_number, Some(1));
    let disk = power_cycled(&shard.disk);
    lose_slots(&disk);
    assert_eq!(start(&disk, 3, "without slots").report().ring_incarnation_number, Some(2));
}

/// Files go as soon as the journal and the spare say where the log begins; slots say so later.
#[test]
fn a_log_start_whose_entry_is_lost_is_known_from_the_spare() {
    let id = test_partition(0);
    let mut scenario = Scenario::new(17, TestSizes { segment_len: 16 * 1024, ..TestSizes::default() });
    (0..12).for_each(|_| scenario.append_and_commit(0, 3000));
    let mut shard = scenario.shard;
    shard.write_back(WriteBackKind::Everything);
    shard.flush();
    (0..2).for_each(|_| shard.checkpoint());
    let first = shard.log(id).sealed[0].info;
    let offset = first.next_offset;
    let mut spare = spare_of(&shard.disk).unwrap().checkpoint;
    shard.set_log_start(id, offset);
    spare.partitions = shard.shard.partitions.values().map(|partition| partition.log.checkpoint(Offset::ZERO)).collect();
    block_on(shard.shard.checkpoints.write_spare(&spare)).unwrap();
    let dir = test_layout().partition_dir(id);
    block_on(shard.disk.remove_file(&segment_file(&dir, first.base_offset))).unwrap();
    block_on(shard.disk.sync_dir(&dir)).unwrap();
    shard.mark_idle();
    let entry = JournalEntry::LogStart { id, offset };
    let mut bytes = vec![0; entry.encoded_len()];
    entry.encode(&mut bytes);
    let find = |file: &[u8]| file.windows(bytes.len()).position(|window| window == bytes);
    let (path, at) = shard
        .disk
        .files()
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|name| name == "journal"))
        .find_map(|(path, file)| Some((path, find(&file)?)))
        .expect("the journal has the entry");
    let disk = power_cycled(&shard.disk);
    disk.flip_bit(&path, at as u64 + 1, 3);
    let sizes = TestSizes { segment_len: 16 * 1024, ..TestSizes::default() };
    let mut again = TestShard::start(&power_cycled(&disk), 2, sizes).unwrap();
    assert!(again.report().damaged_groups.len() == 1 && again.report().damaged.is_empty(), "{}", again.report());
    assert_eq!(again.log(id).log_start_offset(), offset);
    overwrite(&disk, &test_layout().checkpoint_spare(TEST_SHARD), 0, &[0; 4096]);
    let mut without = TestShard::start(&disk, 2, sizes).unwrap();
    let missing = DamagedRange { from: first.base_offset, until: offset };
    let damaged = without.log(id).damaged().to_vec();
    assert_eq!(damaged, [missing], "{}", without.report());
}
