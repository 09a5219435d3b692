use super::*;
use crate::testing::fault_disk::{FaultDisk, SCRATCH_BYTE};
use sluice_model::{Offset, PartitionIndex, TopicId, TopicPartition};

const TARGET: usize = 64 * BLOCK_LEN;

fn group(capacity: usize, entries: usize) -> (FaultDisk, PendingGroup<Vec<u8>>) {
    let disk = FaultDisk::new(1);
    let mut group = PendingGroup::new(&disk, 1, capacity);
    let id = TopicPartition { topic_id: TopicId([7; 16]), partition: PartitionIndex(3) };
    for offset in 0..entries as u64 {
        group.push(&disk, &JournalEntry::LogStart { id, offset: Offset(offset) }, TARGET);
    }
    group.seal(GroupHeader::default());
    (disk, group)
}

#[test]
fn what_is_written_is_the_entries_and_zeros() {
    assert!(FaultDisk::new(1).scratch_buffer(BLOCK_LEN).iter().all(|byte| *byte == SCRATCH_BYTE), "else this shows nothing");
    // A buffer that fits, one that has grown, one with slack that is written along, and one that is copied to a shorter one.
    for (capacity, entries, written_len) in [
        (BLOCK_LEN, 5, BLOCK_LEN),
        (BLOCK_LEN, 440, 4 * BLOCK_LEN),
        (10 * BLOCK_LEN, 1000, 10 * BLOCK_LEN),
        (8 * BLOCK_LEN, 5, BLOCK_LEN),
    ] {
        let (disk, group) = group(capacity, entries);
        let used = GROUP_HEADER_LEN + group.body_len();
        let buffer = group.into_buffer(&disk, TARGET as u64);
        assert_eq!(buffer.len(), written_len, "{entries} entries in {capacity} bytes");
        let parsed = crate::commit_group::Entries::new(&buffer[GROUP_HEADER_LEN..used]);
        assert_eq!(parsed.filter(Result::is_ok).count(), entries);
        assert!(buffer[used..].iter().all(|byte| *byte == 0), "{entries} entries in {capacity} bytes");
    }
}
