//! What a shard finds on its disk when it starts: a commit group, a checkpoint, and a whole folder with that checkpoint in it.

use super::seal;
use sluice_model::ShardIndex;
use sluice_model::limits::{BLOCK_LEN, GROUP_LEN_MAX};
use sluice_storage::checkpoint_slots::{FoundCheckpoint, SlotFound, read_slots};
use sluice_storage::commit_group::{Entries, GROUP_HEADER_LEN, GroupHeader};
use sluice_storage::disk::{Disk, DiskFile, OpenMode};
use sluice_storage::testing::executor::block_on;
use sluice_storage::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use sluice_storage::testing::frames::test_partition;
use sluice_storage::testing::test_shard::{TEST_SHARD, TestShard, TestSizes, test_layout};
use sluice_storage::write_back::WriteBackKind;
use std::path::Path;

/// What of a slot's first block is not zero.
pub(super) const SLOT_HEADER_LEN: usize = 80;
/// More than any disk here needs, so that a length that is believed fails and is not tried.
const DISK_LEN: u64 = 64 << 20;

/// A commit group: its header, then its entries, without padding.
pub fn journal_group(data: &[u8]) -> bool {
    let mut sealed = data.to_vec();
    seal::group(&mut sealed);
    read_group(data) | read_group(&sealed)
}

fn read_group(bytes: &[u8]) -> bool {
    let Some((header, _)) = GroupHeader::parse(bytes) else { return false };
    assert!(header.group_len() <= GROUP_LEN_MAX, "{header:?} is within bounds");
    let Some(body) = bytes.get(GROUP_HEADER_LEN..).and_then(|rest| rest.get(..header.body_len as usize)) else { return false };
    let (mut written, mut good) = (Vec::new(), true);
    for entry in Entries::new(body) {
        let Ok(entry) = entry else {
            good = false;
            continue;
        };
        let start = written.len();
        written.resize(start + entry.encoded_len(), 0);
        entry.encode(&mut written[start..]);
    }
    assert!(!good || written == body, "entries are written as they were read");
    good
}

/// A checkpoint slot: the used part of its header block, then its partitions.
pub fn checkpoint_slot(data: &[u8]) -> bool {
    both_seals(data, |slot, shard| {
        let disk = FaultDisk::new(1);
        write_file(&disk, &test_layout().checkpoint_slot(shard, 0), slot);
        let [found, other] = block_on(read_slots(&disk, &test_layout(), shard)).expect("the disk works");
        assert_eq!(other, SlotFound::Missing);
        let SlotFound::Good(found) = found else { return false };
        use_values(&found);
        true
    })
}

/// What is done with a checkpoint's values besides recovery.
fn use_values(found: &FoundCheckpoint) {
    for partition in &found.checkpoint.partitions {
        let _ = partition.epochs.end_offset(partition.epochs.latest().unwrap_or_default(), partition.high_watermark);
        let batches = partition.producers.iter().filter_map(|(_, entry)| entry.batches.back());
        batches.for_each(|batch| _ = batch.next_sequence());
    }
}

/// The same, as the only checkpoint of a folder with a journal and segments, and the start of a shard on it.
pub fn recovery(data: &[u8]) -> bool {
    both_seals(data, |slot, shard| {
        if shard != TEST_SHARD {
            return false;
        }
        thread_local!(static FOLDER: FaultDisk = folder());
        let disk = FOLDER.with(|disk| disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Kept }));
        disk.set_capacity(DISK_LEN);
        for slot in 0..2 {
            block_on(disk.remove_file(&test_layout().checkpoint_slot(shard, slot))).expect("the folder has two slots");
        }
        write_file(&disk, &test_layout().checkpoint_slot(shard, 0), slot);
        match TestShard::start(&disk, 100, TestSizes::default()) {
            Ok(_) => true,
            Err(error) => error.to_string().is_empty(),
        }
    })
}

/// A shard's folder after a crash: two partitions, frames in segments and frames only in the journal.
pub(super) fn folder() -> FaultDisk {
    let disk = FaultDisk::new(5);
    let mut shard = TestShard::start(&disk, 1, TestSizes::default()).expect("an empty disk is a new shard");
    for index in 0..2 {
        let mut source = shard.source(test_partition(index), 3);
        for n in 0..8 {
            let frame = source.next(3, 1500);
            shard.append(&frame);
            shard.commit();
            if n == 5 {
                shard.write_back(WriteBackKind::Everything);
                shard.flush();
                shard.checkpoint();
                shard.checkpoint();
            }
        }
    }
    disk
}

/// `read` over the slot's bytes as they came and once more sealed; and the shard whose slot it says to be.
fn both_seals(data: &[u8], read: impl Fn(&[u8], ShardIndex) -> bool) -> bool {
    let Some((header, body)) = data.split_first_chunk::<SLOT_HEADER_LEN>() else { return false };
    let shard = ShardIndex(u16::from_le_bytes([header[16], header[17]]));
    let mut slot = vec![0; BLOCK_LEN + body.len().next_multiple_of(BLOCK_LEN)];
    slot[..SLOT_HEADER_LEN].copy_from_slice(header);
    slot[BLOCK_LEN..][..body.len()].copy_from_slice(body);
    let raw = read(&slot, shard);
    seal::slot_header(&mut slot[..SLOT_HEADER_LEN], body);
    raw | read(&slot, shard)
}

fn write_file(disk: &FaultDisk, path: &Path, bytes: &[u8]) {
    let mut buffer = disk.buffer(bytes.len());
    buffer.copy_from_slice(bytes);
    let written = block_on(async {
        disk.create_dir_all(path.parent().expect("a slot lies in a folder")).await?;
        disk.open(path, OpenMode::CreateNew).await?.write_at(0, buffer).await
    });
    written.expect("the disk works");
}
