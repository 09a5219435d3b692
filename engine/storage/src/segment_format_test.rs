use super::*;
use sluice_model::{LeaderEpoch, PartitionIndex, ProducerEntry, ProducerEpoch, ProducerId, RecentBatch, Sequence, TopicId};
use std::collections::VecDeque;

fn id() -> TopicPartition {
    TopicPartition { topic_id: TopicId([9; 16]), partition: PartitionIndex(4) }
}

fn footer() -> SegmentFooter {
    let mut index = SegmentIndex { frame_count: 5, append_time_ms_max: 77, timestamp_ms_max: 99, ..SegmentIndex::default() };
    for n in 0..3u32 {
        let base_offset = Offset(100 + u64::from(n) * 10);
        index.offsets.push(OffsetEntry { base_offset, position: 4096 + n * 70_000, prev_header_crc: n });
        index.times.push(TimeEntry { timestamp_ms: i64::from(n) * 5, base_offset });
    }
    let epochs = LeaderEpochHistory::from_entries(vec![(LeaderEpoch(1), Offset(0)), (LeaderEpoch(3), Offset(110))]).unwrap();
    let mut producers = ProducerTable::default();
    for n in 1..4i64 {
        let batch = RecentBatch { base_sequence: Sequence(5), record_count: 2, base_offset: Offset(101) };
        let batches = VecDeque::from(vec![batch; usize::try_from(n).unwrap()]);
        producers.insert(ProducerId(n), ProducerEntry { epoch: ProducerEpoch(0), last_append_ms: n, batches });
    }
    SegmentFooter { index, epochs, producers }
}

fn end() -> SegmentEnd {
    let header = SegmentHeader { id: id(), base_offset: Offset(100), prev_header_crc: 7 };
    SegmentEnd { header, next_offset: Offset(200), end_position: 200_000, footer_position: block_up(200_000), last_header_crc: 8 }
}

#[test]
fn a_header_block_reads_back_and_every_flipped_bit_is_found() {
    let header = end().header;
    let block = header.encode();
    assert_eq!(block.len(), BLOCK_LEN);
    assert_eq!(SegmentHeader::decode_expecting(&block, id(), Offset(100)), Ok(header));
    for bit in 0..block.len() * 8 {
        let mut bad = block.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(SegmentHeader::decode(&bad).is_err(), "bit {bit} flipped and not noticed");
    }
    let other = SegmentHeader::decode_expecting(&block, id(), Offset(101));
    assert_eq!(other, Err(BlockError::BaseOffset { expected: Offset(101), actual: Offset(100) }));
}

#[test]
fn a_footer_reads_back_and_every_flipped_bit_is_found() {
    let (bytes, trailer) = footer().encode(&end());
    let file_len = end().footer_position + bytes.len() as u64;
    let decode = |bytes: &[u8]| -> Result<SegmentFooter, BlockError> {
        let (footer, last) = bytes.split_at(bytes.len() - BLOCK_LEN);
        let trailer = SegmentTrailer::decode_expecting(last, file_len, id(), Offset(100))?;
        SegmentFooter::decode(footer, &trailer)
    };
    assert_eq!(SegmentTrailer::decode(&bytes[bytes.len() - BLOCK_LEN..], file_len), Ok(trailer));
    assert_eq!(decode(&bytes), Ok(footer()));
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&bad).is_err(), "bit {bit} flipped and not noticed");
    }
}

#[test]
fn nonsense_under_a_good_checksum_is_refused_without_a_panic() {
    let (bytes, trailer) = footer().encode(&end());
    let footer_len = bytes.len() - BLOCK_LEN;
    for at in 0..600 {
        for value in [0u8, 1, 0x7f, 0xff] {
            let mut bad = bytes[..footer_len].to_vec();
            bad[at] = value;
            let trailer = SegmentTrailer { footer_crc: crc32c::crc32c(&bad), ..trailer };
            let _ = SegmentFooter::decode(&bad, &trailer);
        }
    }
    let mut counts = bytes[..footer_len].to_vec();
    counts[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    let trailer = SegmentTrailer { footer_crc: crc32c::crc32c(&counts), ..trailer };
    assert_eq!(SegmentFooter::decode(&counts, &trailer), Err(BlockError::Content { field: "offset_index" }));
}
