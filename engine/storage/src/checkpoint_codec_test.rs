use super::*;
use crate::testing::frames::{FrameSource, test_partition};
use crate::testing::random::Random;
use sluice_model::{LeaderEpoch, LeaderEpochHistory, Offset, ProducerTable};

pub(crate) fn partition(index: u32) -> PartitionCheckpoint {
    let mut epochs = LeaderEpochHistory::default();
    epochs.on_append(LeaderEpoch(1), Offset(0));
    epochs.on_append(LeaderEpoch(4), Offset(70));
    let mut producers = ProducerTable::default();
    let mut source = FrameSource::new(test_partition(index), 1);
    (0..7).for_each(|_| producers.on_append(&source.next(10, 3).header));
    let sealed = |base_offset: u64| SealedSegmentInfo {
        base_offset: Offset(base_offset),
        next_offset: Offset(base_offset + 30),
        file_len: 8192,
        last_header_crc: 0xaabb_ccdd,
        append_time_ms_max: -1,
        timestamp_ms_max: i64::MAX,
        has_footer: base_offset == 0,
    };
    PartitionCheckpoint {
        id: test_partition(index),
        placement_epoch: PlacementEpoch(2),
        log_start_offset: Offset(10),
        high_watermark: Offset(100),
        recovery_point: RecoveryPoint {
            offset: Offset(90),
            segment_base: Offset(60),
            next_frame_position: 5000,
            position: 8192,
            held: EntryAddress { sequence: 17, index: 3 },
            prev_header_crc: 0x0102_0304,
        },
        epochs,
        producers,
        sealed: vec![sealed(0), sealed(30)],
        damaged: vec![range(15, 17), range(20, 44)],
        accepted: vec![range(12, 14)],
        possibly_short: index.is_multiple_of(2).then_some(Offset(91)),
    }
}

fn range(from: u64, until: u64) -> DamagedRange {
    DamagedRange { from: Offset(from), until: Offset(until) }
}

fn header() -> SlotHeader {
    SlotHeader {
        slot_sequence: 7,
        shard: ShardIndex(2),
        incarnation: Incarnation { number: 3, random: 4 },
        journal_sequence: 17,
        ring: RingGeometry { file_len: 65536, file_count: 4 },
        ring_state: RingState::InUse,
        partition_count: 2,
        body_len: 1000,
        body_crc: 0x1234_5678,
    }
}

#[test]
fn a_header_reads_back_and_any_flipped_bit_is_noticed() {
    for ring_state in [RingState::InUse, RingState::Rebuilt] {
        let header = SlotHeader { ring_state, ..header() };
        let mut block = vec![0; BLOCK_LEN];
        header.write(&mut block);
        assert_eq!(SlotHeader::parse(&block), Some(header));
        for bit in 0..SLOT_HEADER_LEN * 8 {
            let mut flipped = block.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SlotHeader::parse(&flipped), None, "bit {bit}");
        }
    }
}

#[test]
fn another_version_is_known_by_its_checksum_and_rot_in_the_version_is_none() {
    let mut block = vec![0; BLOCK_LEN];
    header().write(&mut block);
    assert_eq!(SlotHeader::other_version(&block), None, "our own");
    for bit in 0..8 {
        let mut rotten = block.clone();
        rotten[3] ^= 1 << bit;
        assert_eq!(SlotHeader::other_version(&rotten), None, "bit {bit} of the version");
    }
    let mut newer = block.clone();
    newer[3] = 3;
    let crc = header_crc(&newer);
    newer[4..8].copy_from_slice(&crc.to_le_bytes());
    assert_eq!((SlotHeader::parse(&newer), SlotHeader::other_version(&newer)), (None, Some(3)));
    let mut older = block;
    older[3] = 1;
    let crc = crc32c::crc32c(&older[8..SLOT_HEADER_LEN]);
    older[4..8].copy_from_slice(&crc.to_le_bytes());
    assert_eq!((SlotHeader::parse(&older), SlotHeader::other_version(&older)), (None, Some(1)));
}

#[test]
fn ranges_that_overlap_or_have_no_end_are_refused() {
    let refused = |change: fn(&mut PartitionCheckpoint)| {
        let (mut partition, mut body) = (partition(0), Vec::new());
        change(&mut partition);
        put_partition(&mut body, &partition);
        parse_partitions(&body, 1).is_none()
    };
    assert!(!refused(|_| {}));
    assert!(refused(|p| p.damaged = vec![range(20, 30), range(30, 40)]), "they touch");
    assert!(refused(|p| p.damaged = vec![range(20, 20)]));
    assert!(refused(|p| p.accepted = vec![range(20, u64::MAX)]));
    assert!(refused(|p| p.possibly_short = Some(Offset(COUNT_MAX + 1))));
    assert!(refused(|p| p.damaged = (0..=DAMAGED_RANGES_MAX as u64).map(|n| range(n * 3, n * 3 + 1)).collect()), "too many");
}

#[test]
fn partitions_read_back() {
    let partitions: Vec<_> = (0..3).map(partition).collect();
    let mut body = Vec::new();
    partitions.iter().for_each(|partition| put_partition(&mut body, partition));
    assert_eq!(parse_partitions(&body, 3), Some(partitions));
    assert_eq!(parse_partitions(&body, 2), None, "bytes are left over");
    assert_eq!(parse_partitions(&body, 4), None, "bytes are missing");
}

#[test]
fn an_epoch_that_begins_behind_the_recovery_point_is_refused() {
    let (mut partition, mut body) = (partition(0), Vec::new());
    partition.epochs.on_append(LeaderEpoch(5), partition.recovery_point.offset);
    put_partition(&mut body, &partition);
    assert_eq!(parse_partitions(&body, 1), None);
}

#[test]
fn numbers_that_nothing_can_count_on_from_are_refused() {
    let points: [fn(&mut RecoveryPoint); 4] = [
        |point| point.position = u64::MAX - 4095,
        |point| point.next_frame_position = u64::MAX,
        |point| point.held.sequence = u64::MAX,
        |point| point.offset = Offset(u64::MAX),
    ];
    for change in points {
        let (mut partition, mut body) = (partition(0), Vec::new());
        change(&mut partition.recovery_point);
        put_partition(&mut body, &partition);
        assert_eq!(parse_partitions(&body, 1), None, "{:?}", partition.recovery_point);
    }
    for header in [SlotHeader { slot_sequence: u64::MAX, ..header() }, SlotHeader { journal_sequence: u64::MAX, ..header() }] {
        let mut block = vec![0; BLOCK_LEN];
        header.write(&mut block);
        assert_eq!(SlotHeader::parse(&block), None, "{header:?}");
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let mut good = Vec::new();
    put_partition(&mut good, &partition(0));
    let mut random = Random::new(5);
    for _ in 0..20_000 {
        let mut body = good.clone();
        for _ in 0..=random.below(3) {
            let at = usize::try_from(random.below(good.len() as u64)).unwrap();
            body[at] = random.next_u64().to_le_bytes()[0];
        }
        body.truncate(usize::try_from(random.below(2 * good.len() as u64)).unwrap());
        parse_partitions(&body, 1);
    }
}
