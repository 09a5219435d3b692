//! Produce requests that are encoded once and sent over and over, so that the generator costs a copy into the socket and
//! nothing else.
//!
//! They carry no producer id: a request with a sequence could not be sent twice. What is left out with it is one look-up in
//! the broker. Records are of one size, without key, of bytes that no compression shortens.

use std::time::{SystemTime, UNIX_EPOCH};

use sluice_model::frame::{FrameHeader, ProducerBatch};
use sluice_model::ids::{ProducerEpoch, ProducerId, Sequence, TopicPartition};
use sluice_model::limits::FRAME_BODY_LEN_MAX;
use sluice_model::record_batch::{BuiltRecords, NewRecord, RecordsBuilder};
use sluice_protocol::{Acks, PREFIX_LEN, Prefix, ProducePartition, ProduceRequest, encode};

use crate::error::BenchError;

/// Records of a batch, and bytes of each one's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchShape {
    pub record_count: u32,
    pub value_len: usize,
}

/// A whole produce request, ready to be sent under any correlation id.
#[derive(Clone, Debug)]
pub struct PreparedProduce {
    message: Vec<u8>,
    prefix: Prefix,
    record_count: u64,
    record_value_len: usize,
}

impl PreparedProduce {
    /// One batch of `batch` for each of `partitions`, in one request with acks=all.
    pub fn new(partitions: &[TopicPartition], batch: BatchShape, version: u16) -> Result<Self, BenchError> {
        let frames = partitions.iter().map(|&id| frame(id, batch)).collect::<Result<Vec<_>, _>>()?;
        let named = partitions.iter().zip(&frames).map(|(id, frame)| ProducePartition {
            topic_id: id.topic_id.0,
            partition: id.partition.0,
            frame_len: u32::try_from(frame.len()).expect("a frame is within FRAME_BODY_LEN_MAX"),
        });
        let request = ProduceRequest { acks: Acks::All as u8, partitions: named.collect() };
        let frames_len = frames.iter().map(Vec::len).sum();
        let mut message = encode(0, version, &request, frames_len).map_err(BenchError::protocol)?.to_vec();
        message.extend(frames.iter().flatten());
        let head = message.first_chunk::<PREFIX_LEN>().expect("an encoded message begins with its prefix");
        let prefix = Prefix::parse(head).map_err(BenchError::protocol)?;
        let record_count = u64::from(batch.record_count) * partitions.len() as u64;
        Ok(Self { message, prefix, record_count, record_value_len: batch.value_len })
    }

    /// The bytes to send under this correlation id.
    pub fn stamped(&mut self, correlation_id: u32) -> &[u8] {
        self.prefix.correlation_id = correlation_id;
        self.message[..PREFIX_LEN].copy_from_slice(&self.prefix.to_bytes());
        &self.message
    }

    pub fn record_count(&self) -> u64 {
        self.record_count
    }

    /// Bytes of values in it: what throughput counts.
    pub fn value_len(&self) -> u64 {
        self.record_count * self.record_value_len as u64
    }
}

/// Header and body of one batch.
fn frame(id: TopicPartition, shape: BatchShape) -> Result<Vec<u8>, BenchError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let timestamp_ms = i64::try_from(now.as_millis()).unwrap_or(0);
    let mut records = RecordsBuilder::new(FRAME_BODY_LEN_MAX);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..shape.record_count {
        let value = incompressible(&mut state, shape.value_len);
        records.append(&NewRecord { timestamp_ms, value: Some(&value), ..NewRecord::default() }).map_err(BenchError::protocol)?;
    }
    let Some(built) = records.take() else {
        return Err(BenchError::protocol("a batch without records"));
    };
    Ok([frame_header(id, &built).as_bytes().as_slice(), &built.body].concat())
}

/// The header of a batch without producer id, as all of the benchmark's are.
pub(crate) fn frame_header(id: TopicPartition, built: &BuiltRecords) -> FrameHeader {
    let batch = ProducerBatch {
        topic_partition: id,
        attributes: 0,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: Sequence::NONE,
        record_count: built.record_count,
        base_timestamp_ms: built.base_timestamp_ms,
        max_timestamp_ms: built.max_timestamp_ms,
    };
    FrameHeader::new(batch, &built.body)
}

fn incompressible(state: &mut u64, len: usize) -> Vec<u8> {
    let mut value = vec![0; len.next_multiple_of(8)];
    for word in value.chunks_exact_mut(8) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    value.truncate(len);
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_model::ids::{PartitionIndex, TopicId};
    use sluice_model::record_batch::validate_records;
    use sluice_protocol::{Message, access};

    #[test]
    fn what_is_sent_is_what_a_broker_accepts() {
        let partition = |index| TopicPartition { topic_id: TopicId([7; 16]), partition: PartitionIndex(index) };
        let mut prepared =
            PreparedProduce::new(&[partition(0), partition(3)], BatchShape { record_count: 5, value_len: 1024 }, 0)
                .expect("a request");
        assert_eq!((prepared.record_count(), prepared.value_len()), (10, 10 * 1024));
        let bytes = prepared.stamped(42).to_vec();
        let prefix = Prefix::parse(bytes.first_chunk().expect("a prefix")).expect("a good prefix");
        assert_eq!((prefix.correlation_id, prefix.api, prefix.message_len()), (42, ProduceRequest::API.number(), bytes.len()));
        let (body, frames) = bytes[PREFIX_LEN..].split_at(prefix.body_len);
        let request = access::<ProduceRequest>(body).expect("a valid body");
        for (range, index) in request.frame_ranges(prefix.frames_len).expect("frame ranges").into_iter().zip([0, 3]) {
            let (header, body) = FrameHeader::parse_frame(&frames[range]).expect("a sealed frame");
            assert_eq!(header.topic_partition(), partition(index));
            validate_records(header, body).expect("records that agree with their header");
        }
    }
}
