//! A batch as a consumer gets it: checked, decompressed, read in place.

use super::error::ConsumeCause;
use crate::compression::decompress;
use bytes::Bytes;
use rkyv::api::high::HighValidator;
use rkyv::bytecheck::CheckBytes;
use rkyv::{Archive, Portable};
use sluice_model::record_batch::{Attributes, Headers, RecordRef, Records, TimestampType, validate_records};
use sluice_model::{FRAME_HEADER_LEN, FrameHeader};
use std::sync::Arc;

/// Records of one partition, one after the other. Holds the bytes they were fetched in.
#[derive(Clone, Debug)]
pub struct RecordBatch {
    topic: Arc<str>,
    header: FrameHeader,
    /// The records section, decompressed and known to agree with the header.
    body: Bytes,
    /// Records below it are not handed out.
    first_offset: u64,
}

/// One record, in place.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerRecord<'a> {
    pub topic: &'a Arc<str>,
    pub partition: u32,
    pub offset: u64,
    /// Milliseconds since 1970, by the clock `timestamp_type` names.
    pub timestamp_ms: i64,
    pub timestamp_type: TimestampType,
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
    pub(super) body: &'a Bytes,
}

impl RecordBatch {
    /// Checks and decompresses a whole frame; `bytes` begins with a good header.
    pub(super) fn read(topic: Arc<str>, bytes: &Bytes, first_offset: u64, len_max: usize) -> Result<Self, ConsumeCause> {
        let header = match FrameHeader::parse_frame(bytes) {
            Ok((header, _)) => *header,
            Err(error) => return Err(bad_batch(bytes, first_offset, error.to_string())),
        };
        let bad = |text: String| bad_batch(bytes, first_offset, text);
        let compression = Attributes(header.attributes.to_native()).compression();
        let compression = compression.ok_or_else(|| bad("its compression is none that this client knows".into()))?;
        let body = bytes.slice(FRAME_HEADER_LEN..header.frame_len());
        let body = decompress(compression, &body, len_max).map_err(|e| bad(e.to_string()))?;
        validate_records(&header, &body).map_err(|e| bad(e.to_string()))?;
        Ok(Self { topic, header, body, first_offset })
    }

    #[must_use]
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    #[must_use]
    pub fn partition(&self) -> u32 {
        self.header.partition.to_native()
    }

    /// The offset of the first record handed out.
    #[must_use]
    pub fn first_offset(&self) -> u64 {
        self.first_offset.max(self.header.base_offset().0)
    }

    /// The offset after the last record.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.header.next_offset().0
    }

    /// The frame's header.
    #[must_use]
    pub fn header(&self) -> &FrameHeader {
        &self.header
    }

    /// True for a batch of the broker's own markers, which no application wrote.
    #[must_use]
    pub fn is_control(&self) -> bool {
        Attributes(self.header.attributes.to_native()).is_control()
    }

    /// How many records are handed out.
    #[must_use]
    pub fn len(&self) -> usize {
        (self.next_offset() - self.first_offset()) as usize
    }

    /// Never true of a batch that was polled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The records, in order.
    pub fn records(&self) -> impl Iterator<Item = ConsumerRecord<'_>> {
        // The whole section was walked when the batch was made, so no record is an error any more.
        let records = Records::new(&self.body, self.header.record_count.to_native()).filter_map(Result::ok);
        records.map(|record| self.record(record)).filter(|record| record.offset >= self.first_offset)
    }

    /// The records section.
    pub(super) fn body(&self) -> &Bytes {
        &self.body
    }

    pub(super) fn record<'a>(&'a self, record: RecordRef<'a>) -> ConsumerRecord<'a> {
        let timestamp_type = Attributes(self.header.attributes.to_native()).timestamp_type();
        let timestamp_ms = match timestamp_type {
            TimestampType::CreateTime => self.header.base_timestamp_ms.to_native().saturating_add(record.timestamp_delta_ms),
            TimestampType::LogAppendTime => self.header.max_timestamp_ms.to_native(),
        };
        ConsumerRecord {
            topic: &self.topic,
            partition: self.partition(),
            offset: self.header.base_offset().0 + u64::from(record.offset_delta),
            timestamp_ms,
            timestamp_type,
            key: record.key,
            value: record.value,
            headers: record.headers,
            body: &self.body,
        }
    }
}

impl<'a> ConsumerRecord<'a> {
    /// The value, to keep: shares the memory of its batch.
    #[must_use]
    pub fn value_bytes(&self) -> Option<Bytes> {
        self.value.map(|value| self.body.slice_ref(value))
    }

    /// The key, to keep: shares the memory of its batch.
    #[must_use]
    pub fn key_bytes(&self) -> Option<Bytes> {
        self.key.map(|key| self.body.slice_ref(key))
    }

    /// The value as an archived `T`, in place: validated, not deserialised. A tombstone is an error.
    pub fn access<T>(&self) -> Result<&'a T::Archived, rkyv::rancor::Error>
    where
        T: Archive,
        T::Archived: Portable + for<'v> CheckBytes<HighValidator<'v, rkyv::rancor::Error>>,
    {
        access::<T>(self.value.unwrap_or_default())
    }
}

/// `bytes` as an archived `T`, in place: validated, not deserialised.
pub fn access<T>(bytes: &[u8]) -> Result<&T::Archived, rkyv::rancor::Error>
where
    T: Archive,
    T::Archived: Portable + for<'v> CheckBytes<HighValidator<'v, rkyv::rancor::Error>>,
{
    rkyv::access::<T::Archived, rkyv::rancor::Error>(bytes)
}

fn bad_batch(bytes: &[u8], first_offset: u64, text: String) -> ConsumeCause {
    match FrameHeader::parse(bytes) {
        Ok(header) => {
            let base = header.base_offset().0;
            let last = base.saturating_add(header.last_offset_delta.to_native().into());
            ConsumeCause::BadBatch { first: base, last, text }
        }
        Err(_) => ConsumeCause::BadFrame { offset: first_offset, text },
    }
}
