//! Frames as a producer makes them.

use sluice_model::record_batch::{NewRecord, RecordsBuilder};
use sluice_model::{FrameHeader, PartitionIndex, ProducerBatch, ProducerEpoch, ProducerId, Sequence, TopicId, TopicPartition};

/// What a frame is made from.
#[derive(Clone, Debug)]
pub struct FrameSpec {
    pub topic_id: [u8; 16],
    pub partition: u32,
    pub producer_id: i64,
    pub epoch: i16,
    pub sequence: i32,
    pub values: Vec<Vec<u8>>,
    pub timestamp_ms: i64,
}

impl FrameSpec {
    pub fn new(topic_id: [u8; 16], values: &[&[u8]]) -> Self {
        let values = values.iter().map(|value| value.to_vec()).collect();
        Self { topic_id, partition: 0, producer_id: -1, epoch: -1, sequence: -1, values, timestamp_ms: 1_000 }
    }

    pub fn sequenced(self, producer_id: i64, epoch: i16, sequence: i32) -> Self {
        Self { producer_id, epoch, sequence, ..self }
    }
}

/// Header and body, and the two apart.
pub fn parts(spec: &FrameSpec) -> (FrameHeader, Vec<u8>) {
    let mut builder = RecordsBuilder::new(8 << 20);
    for value in &spec.values {
        let record = NewRecord { timestamp_ms: spec.timestamp_ms, value: Some(value), ..NewRecord::default() };
        builder.append(&record).expect("a small record");
    }
    let built = builder.take().expect("at least one record");
    let batch = ProducerBatch {
        topic_partition: TopicPartition { topic_id: TopicId(spec.topic_id), partition: PartitionIndex(spec.partition) },
        attributes: 0,
        producer_id: ProducerId(spec.producer_id),
        producer_epoch: ProducerEpoch(spec.epoch),
        base_sequence: Sequence(spec.sequence),
        record_count: built.record_count,
        base_timestamp_ms: built.base_timestamp_ms,
        max_timestamp_ms: built.max_timestamp_ms,
    };
    (FrameHeader::new(batch, &built.body), built.body.to_vec())
}

pub fn frame(spec: &FrameSpec) -> Vec<u8> {
    let (header, body) = parts(spec);
    [header.as_bytes().as_slice(), &body].concat()
}

/// The values of all records in whole frames that lie back to back, with their offsets.
pub fn values(mut frames: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut out = Vec::new();
    while !frames.is_empty() {
        let (header, body) = FrameHeader::parse_frame(frames).expect("a good frame");
        let records = sluice_model::record_batch::Records::new(body, header.record_count.to_native());
        for (record, offset) in records.zip(header.base_offset().0..) {
            out.push((offset, record.expect("a good record").value.expect("a value").to_vec()));
        }
        frames = &frames[header.frame_len()..];
    }
    out
}
