//! A record to keep: its parts share the memory of the batch it came in, and nothing is copied.
//!
//! One record kept keeps its whole batch in memory; copy out what is to be kept for long.

use super::record_batch::{ConsumerRecord, RecordBatch, access};
use bytes::Bytes;
use rkyv::api::high::HighValidator;
use rkyv::bytecheck::CheckBytes;
use rkyv::{Archive, Portable};
use sluice_model::record_batch::{Records, TimestampType};
use std::sync::Arc;

/// One record, independent of the batch it came in.
#[derive(Clone, Debug)]
pub struct OwnedRecord {
    pub topic: Arc<str>,
    pub partition: u32,
    pub offset: u64,
    /// Milliseconds since 1970, by the clock `timestamp_type` names.
    pub timestamp_ms: i64,
    pub timestamp_type: TimestampType,
    pub key: Option<Bytes>,
    /// `None` is a tombstone.
    pub value: Option<Bytes>,
    pub headers: Vec<OwnedHeader>,
}

/// One header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedHeader {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

impl OwnedRecord {
    /// The value as an archived `T`, in place: validated, not deserialised. A tombstone is an error.
    pub fn access<T>(&self) -> Result<&T::Archived, rkyv::rancor::Error>
    where
        T: Archive,
        T::Archived: Portable + for<'v> CheckBytes<HighValidator<'v, rkyv::rancor::Error>>,
    {
        access::<T>(self.value.as_deref().unwrap_or_default())
    }

    /// The value of the first header with this key.
    #[must_use]
    pub fn header(&self, key: &[u8]) -> Option<&Bytes> {
        self.headers.iter().find(|header| header.key == key).and_then(|header| header.value.as_ref())
    }
}

impl ConsumerRecord<'_> {
    /// The record to keep: shares the memory of its batch.
    #[must_use]
    pub fn into_owned(self) -> OwnedRecord {
        let slice = |bytes: &[u8]| self.body.slice_ref(bytes);
        OwnedRecord {
            topic: self.topic.clone(),
            partition: self.partition,
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            timestamp_type: self.timestamp_type,
            key: self.key.map(slice),
            value: self.value.map(slice),
            headers: self.headers.map(|h| OwnedHeader { key: slice(h.key), value: h.value.map(slice) }).collect(),
        }
    }
}

/// The records of a batch, in order, each to keep.
#[derive(Clone, Debug)]
pub struct OwnedRecords {
    batch: RecordBatch,
    /// Where the next one begins in the batch's records section.
    position: usize,
    /// Records from there on, those that are not handed out included.
    left: u32,
}

impl RecordBatch {
    /// The records, in order, each to keep.
    #[must_use]
    pub fn into_records(self) -> OwnedRecords {
        let left = self.header().record_count.to_native();
        OwnedRecords { batch: self, position: 0, left }
    }
}

impl Iterator for OwnedRecords {
    type Item = OwnedRecord;

    fn next(&mut self) -> Option<OwnedRecord> {
        let body = self.batch.body();
        loop {
            let mut records = Records::new(body.get(self.position..)?, self.left);
            // The whole section was walked when the batch was made, so no record is an error any more.
            let record = records.next()?.ok()?;
            self.position = body.len() - records.rest_len();
            self.left -= 1;
            let record = self.batch.record(record);
            if record.offset >= self.batch.first_offset() {
                return Some(record.into_owned());
            }
        }
    }
}
