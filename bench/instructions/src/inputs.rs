//! Frames and batches of fixed content.

use bytes::{Bytes, BytesMut};
use sluice_model::frame::{LeaderSeal, ProducerBatch};
use sluice_model::record_batch::{BuiltRecords, HeaderRef, NewRecord, RecordsBuilder};
use sluice_model::{
    FrameHeader, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, TopicId, TopicPartition,
};

const TIMESTAMP_MS: i64 = 1_800_000_000_000;
pub const PRODUCER: ProducerId = ProducerId(7);

/// Records of a batch, and bytes of each one's value.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub record_count: u32,
    pub value_len: usize,
    /// With a key of 16 bytes and two headers each.
    pub is_rich: bool,
}

/// The single record of the latency figures.
pub const ONE_OF_1K: Shape = Shape { record_count: 1, value_len: 1024, is_rich: false };
/// A batch of small records.
pub const HUNDRED_OF_100: Shape = Shape { record_count: 100, value_len: 100, is_rich: false };
pub const HUNDRED_RICH: Shape = Shape { record_count: 100, value_len: 100, is_rich: true };
/// A batch as bulk producers send it.
pub const BULK: Shape = Shape { record_count: 64, value_len: 1024, is_rich: false };

pub fn partition(index: u32) -> TopicPartition {
    TopicPartition { topic_id: TopicId([3; 16]), partition: PartitionIndex(index) }
}

/// Bytes without a pattern, the same ones every time.
pub fn value(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Gives every record of `shape` to `builder`.
pub fn build_into(builder: &mut RecordsBuilder, shape: Shape, value: &[u8]) {
    let headers = [
        HeaderRef { key: b"trace", value: Some(b"0123456789abcdef") },
        HeaderRef { key: b"content-type", value: Some(b"text/plain") },
    ];
    for index in 0..shape.record_count {
        let record = NewRecord {
            timestamp_ms: TIMESTAMP_MS + i64::from(index / 8),
            key: shape.is_rich.then_some(b"key-of-16-bytes!".as_slice()),
            value: Some(value),
            headers: if shape.is_rich { &headers } else { &[] },
        };
        builder.append(&record).expect("the batch has room");
    }
}

pub fn records(shape: Shape) -> BuiltRecords {
    let mut builder = RecordsBuilder::new(sluice_model::limits::FRAME_BODY_LEN_MAX);
    build_into(&mut builder, shape, &value(shape.value_len));
    builder.take().expect("a batch has records")
}

/// What a producer says of its batch; with a sequence it is one of an idempotent producer.
pub fn batch(id: TopicPartition, built: &BuiltRecords, base_sequence: Option<i32>) -> ProducerBatch {
    ProducerBatch {
        topic_partition: id,
        attributes: 0,
        producer_id: base_sequence.map_or(ProducerId::NONE, |_| PRODUCER),
        producer_epoch: base_sequence.map_or(ProducerEpoch::NONE, |_| ProducerEpoch(0)),
        base_sequence: base_sequence.map_or(Sequence::NONE, Sequence),
        record_count: built.record_count,
        base_timestamp_ms: built.base_timestamp_ms,
        max_timestamp_ms: built.max_timestamp_ms,
    }
}

/// A frame as it comes from a producer.
#[derive(Clone, Debug)]
pub struct Frame {
    pub header: FrameHeader,
    pub body: Bytes,
}

impl Frame {
    pub fn bytes(&self) -> Bytes {
        let mut bytes = BytesMut::from(self.header.as_bytes().as_slice());
        bytes.extend_from_slice(&self.body);
        bytes.freeze()
    }
}

/// The frames of one idempotent producer to one partition, in sequence.
pub fn produced(id: TopicPartition, shape: Shape, count: usize) -> Vec<Frame> {
    let built = records(shape);
    let body = built.body.clone().freeze();
    let frame = |index: usize| {
        let sequence = i32::try_from(index).expect("few frames") * i32::try_from(shape.record_count).expect("few records");
        Frame { header: FrameHeader::new(batch(id, &built, Some(sequence)), &body), body: body.clone() }
    };
    (0..count).map(frame).collect()
}

/// The same, sealed and chained by their leader, from offset 0 on.
pub fn sealed(id: TopicPartition, shape: Shape, count: usize) -> Vec<Frame> {
    let (mut base_offset, mut prev_header_crc) = (Offset::ZERO, 0);
    let seal = |frame: Frame| {
        let header = frame.header.sealed(seal(base_offset, prev_header_crc));
        (base_offset, prev_header_crc) = (header.next_offset(), header.header_crc.to_native());
        Frame { header, ..frame }
    };
    produced(id, shape, count).into_iter().map(seal).collect()
}

pub fn seal(base_offset: Offset, prev_header_crc: u32) -> LeaderSeal {
    LeaderSeal { base_offset, leader_epoch: LeaderEpoch(1), append_time_ms: TIMESTAMP_MS, prev_header_crc }
}
