use super::*;
use crate::checkpoint_slots::FoundCheckpoint;
use crate::disk::{DiskFile, OpenMode};
use crate::layout::{journal_file, segment_file};
use crate::segment_check::tests::several_segments;
use crate::testing::executor::block_on;
use crate::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use crate::testing::frames::test_partition;
use crate::testing::test_shard::{TEST_SHARD, TestShard, TestSizes, test_layout};
use crate::unnamed_partition::{name_partitions, unnamed_partition};
use crate::write_back::WriteBackKind;
use sluice_model::Offset;
use std::path::Path;

/// All of a partition in segments, and its frames.
fn stopped(seed: u64) -> (FaultDisk, Vec<Vec<u8>>, Offset) {
    let mut shard = several_segments(seed);
    shard.write_back(WriteBackKind::Everything);
    shard.flush();
    (0..2).for_each(|_| shard.checkpoint());
    let id = test_partition(0);
    let (frames, end) = (shard.read_all(id), shard.log(id).log_end_offset());
    (shard.disk.crash(PowerCut { call: shard.disk.call_count(), unflushed: Unflushed::Lost }), frames, end)
}

fn find(disk: &FaultDisk, file_count: u32) -> Option<LostShard> {
    let placed = [(test_partition(0), PlacementEpoch(1))];
    block_on(find_lost_shard(disk, &test_layout(), TEST_SHARD, file_count, &placed)).expect("it can be read")
}

fn remove_slots(disk: &FaultDisk) {
    (0..2).for_each(|slot| block_on(disk.remove_file(&test_layout().checkpoint_slot(TEST_SHARD, slot))).unwrap());
}

fn remove_journal(disk: &FaultDisk, indices: impl Iterator<Item = u32>) {
    let dir = test_layout().shard_journal_dir(TEST_SHARD);
    indices.for_each(|index| block_on(disk.remove_file(&journal_file(&dir, index))).unwrap());
}

#[test]
fn a_shard_is_lost_without_checkpoints_and_a_whole_journal_and_not_before() {
    let sizes = TestSizes::default();
    let count = sizes.journal_file_count;
    let (disk, _, end) = stopped(61);
    assert!(find(&disk, count).is_none(), "it has checkpoints");
    remove_slots(&disk);
    assert!(find(&disk, count).is_none(), "its journal is whole");
    let more = find(&disk, count + 1).expect("the settings say more files");
    assert!(more.problem.to_string().contains("the settings say"), "{}", more.problem);
    for left in (0..count).rev() {
        remove_journal(&disk, std::iter::once(left));
        let lost = find(&disk, count).expect("a file is missing");
        let from: Vec<_> = lost.partitions.iter().map(|loss| (loss.id, loss.journal_from)).collect();
        assert_eq!(from, [(test_partition(0), Some(end))], "without {left}");
    }
    // Nothing was ever here: no slots, no journal, no segments.
    let fresh = FaultDisk::new(1);
    assert!(find(&fresh, count).is_none());
}

/// A shard that is made anew beside segments that it does not know.
fn unnamed(seed: u64) -> (FaultDisk, Vec<Vec<u8>>, Offset) {
    let (disk, frames, end) = stopped(seed);
    remove_slots(&disk);
    block_on(disk.remove_file(&test_layout().checkpoint_spare(TEST_SHARD))).unwrap();
    remove_journal(&disk, 0..TestSizes::default().journal_file_count);
    // Its files are not there while that happens: no shard is made over them.
    let files = disk.files();
    let start = || TestShard::start(&disk, 2, TestSizes::default());
    assert!(matches!(start(), Err(RecoveryError::UnknownData { id }) if id == test_partition(0)) && disk.files() == files);
    files.keys().for_each(|path| block_on(disk.remove_file(path)).unwrap());
    let dir = test_layout().partition_dir(test_partition(0));
    block_on(disk.sync_dir(&dir)).unwrap();
    let shard = start().expect("it is made");
    assert!(shard.report().created && shard.shard.partitions.is_empty());
    for (path, bytes) in files {
        block_on(put_back(&disk, &path, &bytes)).unwrap();
    }
    block_on(disk.sync_dir(&dir)).unwrap();
    (disk, frames, end)
}

async fn put_back(disk: &FaultDisk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = disk.open(path, OpenMode::CreateNew).await?;
    let mut buffer = disk.buffer(bytes.len());
    buffer.copy_from_slice(bytes);
    file.write_at(0, buffer).await?;
    file.sync().await
}

fn newest(disk: &FaultDisk) -> FoundCheckpoint {
    let slots = block_on(read_slots(disk, &test_layout(), TEST_SHARD)).expect("they can be read");
    let good = slots.into_iter().filter_map(|slot| if let SlotFound::Good(found) = slot { Some(*found) } else { None });
    good.max_by_key(|found| found.slot_sequence).expect("one is good")
}

#[test]
fn a_partition_that_nobody_names_is_taken_from_its_segments_wherever_the_power_goes() {
    let id = test_partition(0);
    let (disk, frames, end) = unnamed(62);
    let taken = block_on(unnamed_partition(&disk, &test_layout(), id, PlacementEpoch(1))).unwrap().expect("it has segments");
    assert_eq!((taken.recovery_point.offset, taken.possibly_short, taken.high_watermark), (end, Some(end), end));
    assert!(block_on(unnamed_partition(&disk, &test_layout(), test_partition(1), PlacementEpoch(1))).unwrap().is_none());
    let (found, before) = (newest(&disk), disk.call_count());
    block_on(name_partitions(&disk, &test_layout(), &found, vec![taken.clone()])).unwrap();
    let mut named = 0;
    for call in before..=disk.call_count() {
        for unflushed in [Unflushed::Lost, Unflushed::Kept, Unflushed::Torn(call as u64)] {
            let image = disk.crash(PowerCut { call, unflushed });
            let found = newest(&image);
            named += usize::from(!found.checkpoint.partitions.is_empty());
            if found.checkpoint.partitions.is_empty() {
                block_on(name_partitions(&image, &test_layout(), &found, vec![taken.clone()])).unwrap();
            }
            let mut shard = TestShard::start(&image, 3, TestSizes::default()).expect("it starts");
            assert_eq!(shard.report().possibly_short.get(&id), Some(&end), "cut at call {call}");
            assert_eq!(shard.read_all(id), frames, "cut at call {call}");
        }
    }
    assert!(named > 0);
}

#[test]
fn rot_in_unnamed_segments_is_named_and_not_served() {
    let id = test_partition(0);
    let (disk, frames, _) = unnamed(63);
    let first = segment_file(&test_layout().partition_dir(id), Offset::ZERO);
    disk.flip_bit(&first, 4096 + 150, 3);
    // The trailer says where frames end; nothing else does.
    let taken = block_on(unnamed_partition(&disk, &test_layout(), id, PlacementEpoch(1))).unwrap().expect("it has segments");
    let found = newest(&disk);
    block_on(name_partitions(&disk, &test_layout(), &found, vec![taken])).unwrap();
    let mut shard = TestShard::start(&disk, 3, TestSizes::default()).expect("it starts");
    let (read, refused) = shard.read_good(id);
    assert_eq!(read.len() + 1, frames.len());
    assert_eq!(refused.len(), 1);
}
