//! Sealed frames for tests, each chained to the one before.

use crate::testing::random::Random;
use sluice_model::frame::LeaderSeal;
use sluice_model::{
    FrameHeader, LeaderEpoch, Offset, PartitionIndex, ProducerBatch, ProducerEpoch, ProducerId, Sequence, TopicId, TopicPartition,
};

/// A frame as an append would get it.
#[derive(Clone, Debug)]
pub struct TestFrame {
    pub header: FrameHeader,
    pub body: Vec<u8>,
}

impl TestFrame {
    /// Header and body as they stand in a segment.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        [self.header.as_bytes().as_slice(), &self.body].concat()
    }
}

#[must_use]
pub fn test_partition(partition: u32) -> TopicPartition {
    TopicPartition { topic_id: TopicId([7; 16]), partition: PartitionIndex(partition) }
}

/// Makes the frames of one partition, one after the other.
#[derive(Clone, Debug)]
pub struct FrameSource {
    pub id: TopicPartition,
    pub next_offset: Offset,
    pub prev_header_crc: u32,
    pub leader_epoch: LeaderEpoch,
    sequence: Sequence,
    random: Random,
}

impl FrameSource {
    #[must_use]
    pub fn new(id: TopicPartition, seed: u64) -> Self {
        Self {
            id,
            next_offset: Offset::ZERO,
            prev_header_crc: 0,
            leader_epoch: LeaderEpoch(1),
            sequence: Sequence(0),
            random: Random::new(seed),
        }
    }

    /// The next frame: `record_count` records in `body_len` random bytes.
    pub fn next(&mut self, record_count: u32, body_len: usize) -> TestFrame {
        let mut body = vec![0; body_len];
        self.random.fill(&mut body);
        self.next_with(record_count, body)
    }

    /// The next frame, with this body.
    pub fn next_with(&mut self, record_count: u32, body: Vec<u8>) -> TestFrame {
        let time_ms = i64::try_from(self.next_offset.0).expect("test offsets are small") * 10;
        let batch = ProducerBatch {
            topic_partition: self.id,
            attributes: 0,
            producer_id: ProducerId(i64::from(self.id.partition.0) + 1),
            producer_epoch: ProducerEpoch(0),
            base_sequence: self.sequence,
            record_count,
            base_timestamp_ms: time_ms,
            max_timestamp_ms: time_ms,
        };
        let seal = LeaderSeal {
            base_offset: self.next_offset,
            leader_epoch: self.leader_epoch,
            append_time_ms: time_ms,
            prev_header_crc: self.prev_header_crc,
        };
        let header = FrameHeader::new(batch, &body).sealed(seal);
        self.sequence = self.sequence.advanced(record_count);
        self.next_offset = header.next_offset();
        self.prev_header_crc = header.header_crc.to_native();
        TestFrame { header, body }
    }
}
