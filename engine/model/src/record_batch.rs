//! The records section of a Kafka v2 record batch: attribute bits, the record codec, and Kafka's own 61-byte header
//! rebuilt from a frame's.
//!
//! The expensive mistake is to believe a length or a count that stands in the body: every one is checked against
//! what is there before it is used, and nothing is ever allocated by it. Deliberately absent: compression; the
//! client compresses and decompresses, the broker carries compressed bodies unread.

mod attributes;
mod record_fields;
mod records;
mod records_builder;
pub mod varint;

pub use attributes::{Attributes, Compression, TimestampType};
pub use records::{HeaderRef, Headers, RecordRef, Records, RecordsError, validate_records};
pub use records_builder::{BuiltRecords, NewRecord, RecordRefusal, RecordsBuilder};

use crate::frame::FrameHeader;

/// Length of Kafka's v2 record batch header, bytes.
pub const KAFKA_BATCH_HEADER_LEN: usize = 61;
/// What Kafka's batch length does not count: base offset and the length itself.
const KAFKA_LENGTH_FROM: usize = 12;
const KAFKA_MAGIC: u8 = 2;

/// Kafka's header for the batch in this frame, bit for bit as a Kafka producer wrote it (but for base offset and
/// leader epoch, which the leader decides and the checksum leaves out). Header and body together are a Kafka batch.
#[must_use]
pub fn kafka_batch_header(header: &FrameHeader) -> [u8; KAFKA_BATCH_HEADER_LEN] {
    let batch_len = header.body_len.to_native() + (KAFKA_BATCH_HEADER_LEN - KAFKA_LENGTH_FROM) as u32;
    let mut bytes = [0u8; KAFKA_BATCH_HEADER_LEN];
    bytes[0..8].copy_from_slice(&header.base_offset.to_native().to_be_bytes());
    bytes[8..12].copy_from_slice(&batch_len.to_be_bytes());
    bytes[12..16].copy_from_slice(&header.leader_epoch.to_native().to_be_bytes());
    bytes[16] = KAFKA_MAGIC;
    bytes[17..21].copy_from_slice(&header.batch_crc.to_native().to_be_bytes());
    bytes[21..23].copy_from_slice(&header.attributes.to_native().to_be_bytes());
    bytes[23..27].copy_from_slice(&header.last_offset_delta.to_native().to_be_bytes());
    bytes[27..35].copy_from_slice(&header.base_timestamp_ms.to_native().to_be_bytes());
    bytes[35..43].copy_from_slice(&header.max_timestamp_ms.to_native().to_be_bytes());
    bytes[43..51].copy_from_slice(&header.producer_id.to_native().to_be_bytes());
    bytes[51..53].copy_from_slice(&header.producer_epoch.to_native().to_be_bytes());
    bytes[53..57].copy_from_slice(&header.base_sequence.to_native().to_be_bytes());
    bytes[57..61].copy_from_slice(&header.record_count.to_native().to_be_bytes());
    bytes
}

#[cfg(test)]
#[path = "record_batch_test.rs"]
mod tests;
