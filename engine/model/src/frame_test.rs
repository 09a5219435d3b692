use super::*;

fn batch(record_count: u32) -> ProducerBatch {
    ProducerBatch {
        topic_partition: TopicPartition { topic_id: TopicId([7; 16]), partition: PartitionIndex(3) },
        attributes: 0,
        producer_id: ProducerId(11),
        producer_epoch: ProducerEpoch(2),
        base_sequence: Sequence(40),
        record_count,
        base_timestamp_ms: 1_700_000_000_000,
        max_timestamp_ms: 1_700_000_000_005,
    }
}

fn sealed_frame(body: &[u8]) -> Vec<u8> {
    let seal = LeaderSeal { base_offset: Offset(100), leader_epoch: LeaderEpoch(4), append_time_ms: 9, prev_header_crc: 77 };
    let header = FrameHeader::new(batch(5), body).sealed(seal);
    [header.as_bytes().as_slice(), body].concat()
}

#[test]
fn a_sealed_frame_reads_back() {
    let frame = sealed_frame(b"the records");
    let (header, body) = FrameHeader::parse_frame(&frame).unwrap();
    assert_eq!(body, b"the records");
    assert_eq!((header.base_offset(), header.last_offset(), header.next_offset()), (Offset(100), Offset(104), Offset(105)));
    assert_eq!((header.leader_epoch(), header.base_sequence()), (LeaderEpoch(4), Sequence(40)));
}

#[test]
fn every_flipped_bit_is_found() {
    let frame = sealed_frame(b"the records");
    for bit in 0..frame.len() * 8 {
        let mut bad = frame.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(FrameHeader::parse_frame(&bad).is_err(), "bit {bit} flipped and not noticed");
    }
}

#[test]
fn every_cut_is_found() {
    let frame = sealed_frame(b"the records");
    for len in 0..frame.len() {
        assert!(matches!(FrameHeader::parse_frame(&frame[..len]), Err(FrameError::Truncated { .. })), "cut at {len}");
    }
}

#[test]
fn sealing_leaves_the_producers_checksum_alone() {
    let header = FrameHeader::new(batch(1), b"x");
    let seal = LeaderSeal { base_offset: Offset(9), leader_epoch: LeaderEpoch(1), append_time_ms: 5, prev_header_crc: 1 };
    assert_eq!(header.batch_crc.to_native(), header.sealed(seal).batch_crc.to_native());
}
