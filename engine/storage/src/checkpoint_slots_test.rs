use super::*;
use crate::checkpoint_codec::tests::partition;
use crate::testing::executor::block_on;
use crate::testing::fault_disk::{FaultDisk, FaultKind, PowerCut, Unflushed};
use sluice_model::Incarnation;

const SHARD: ShardIndex = ShardIndex(2);
const RING: RingGeometry = RingGeometry { file_len: 65536, file_count: 4 };

fn layout() -> Layout {
    Layout::new(Path::new("/data"))
}

fn checkpoint(journal_sequence: u64, partition_count: u32) -> ShardCheckpoint {
    let partitions = (0..partition_count).map(partition).collect();
    ShardCheckpoint { shard: SHARD, incarnation: Incarnation { number: 1, random: 2 }, journal_sequence, partitions }
}

fn newest(disk: &FaultDisk) -> Option<FoundCheckpoint> {
    let slots = block_on(read_slots(disk, &layout(), SHARD)).unwrap();
    slots
        .into_iter()
        .filter_map(|slot| if let SlotFound::Good(found) = slot { Some(*found) } else { None })
        .max_by_key(|f| f.slot_sequence)
}

fn open(disk: &FaultDisk) -> Checkpoints<FaultDisk> {
    block_on(Checkpoints::open(disk, &layout(), SHARD, newest(disk).as_ref(), RING)).unwrap()
}

#[test]
fn slots_are_written_in_turn() {
    let disk = FaultDisk::new(1);
    let mut checkpoints = open(&disk);
    assert_eq!(newest(&disk), None);
    for sequence in 1..=5 {
        block_on(checkpoints.write(&checkpoint(sequence, 3))).unwrap();
        let found = newest(&disk).unwrap();
        assert_eq!((found.slot_sequence, found.checkpoint), (sequence, checkpoint(sequence, 3)));
        assert_eq!(checkpoints.needed_from_sequence(), sequence - 1, "the older slot still needs more");
    }
    let mut checkpoints = open(&disk);
    assert_eq!(checkpoints.needed_from_sequence(), 0, "until both are written anew");
    block_on(checkpoints.write(&checkpoint(6, 1))).unwrap();
    assert_eq!(newest(&disk).unwrap().checkpoint, checkpoint(6, 1));
}

#[test]
fn a_large_checkpoint_goes_out_in_pieces_and_reads_back() {
    let disk = FaultDisk::new(1);
    let mut checkpoints = open(&disk);
    block_on(checkpoints.write(&checkpoint(1, 3000))).unwrap();
    assert_eq!(newest(&disk).unwrap().checkpoint, checkpoint(1, 3000));
}

#[test]
fn whenever_the_power_goes_the_older_or_the_newer_one_is_there() {
    let disk = FaultDisk::new(1);
    let mut checkpoints = open(&disk);
    block_on(checkpoints.write(&checkpoint(1, 40))).unwrap();
    for sequence in 2..6 {
        let before = disk.call_count();
        block_on(checkpoints.write(&checkpoint(sequence, 40))).unwrap();
        for call in before..disk.call_count() {
            for unflushed in [Unflushed::Kept, Unflushed::Lost, Unflushed::Torn(1), Unflushed::Torn(2), Unflushed::Torn(3)] {
                let found = newest(&disk.crash(PowerCut { call, unflushed })).expect("one slot is good");
                let got = found.checkpoint.journal_sequence;
                assert!(got == sequence || got == sequence - 1, "call {call}, {unflushed:?}: {got}");
                assert_eq!(found.checkpoint, checkpoint(got, 40));
            }
        }
    }
}

#[test]
fn after_a_failed_write_the_same_slot_is_written_again() {
    let disk = FaultDisk::new(1);
    let mut checkpoints = open(&disk);
    block_on(checkpoints.write(&checkpoint(1, 2))).unwrap();
    block_on(checkpoints.write(&checkpoint(2, 2))).unwrap();
    disk.fail(FaultKind::Write, 0);
    assert!(block_on(checkpoints.write(&checkpoint(3, 40))).is_err());
    assert_eq!(checkpoints.needed_from_sequence(), 0);
    assert_eq!(newest(&disk).unwrap().checkpoint.journal_sequence, 2);
    block_on(checkpoints.write(&checkpoint(4, 2))).unwrap();
    assert_eq!(newest(&disk).unwrap().checkpoint.journal_sequence, 4);
    assert_eq!(checkpoints.needed_from_sequence(), 2);
}

#[test]
fn rot_in_a_slot_is_noticed() {
    let disk = FaultDisk::new(1);
    let mut checkpoints = open(&disk);
    block_on(checkpoints.write(&checkpoint(1, 2))).unwrap();
    block_on(checkpoints.write(&checkpoint(2, 2))).unwrap();
    disk.flip_bit(&layout().checkpoint_slot(SHARD, 1), 4200, 1);
    assert_eq!(newest(&disk).unwrap().checkpoint.journal_sequence, 1);
    disk.flip_bit(&layout().checkpoint_slot(SHARD, 0), 9, 1);
    assert_eq!(block_on(read_slots(&disk, &layout(), SHARD)).unwrap(), [SlotFound::Bad, SlotFound::Bad]);
}
