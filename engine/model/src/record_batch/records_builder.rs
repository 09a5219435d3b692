//! Writing records: a records section that grows record by record and knows its exact length beforehand.

use super::record_fields::RecordFields;
use super::records::HeaderRef;
use super::varint::{put_varlong, varlong_len};
use crate::limits::{FRAME_BODY_LEN_MAX, HEADERS_PER_RECORD_MAX, RECORDS_PER_BATCH_MAX};
use bytes::{BufMut, BytesMut};
use std::fmt;

/// A record to be written.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewRecord<'a> {
    /// Milliseconds since 1970-01-01 UTC, not negative.
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// At most `HEADERS_PER_RECORD_MAX`.
    pub headers: &'a [HeaderRef<'a>],
}

/// Why a record was not appended; the builder is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordRefusal {
    /// The section would pass its largest length. A record that does not fit an empty builder never fits.
    Full {
        len: usize,
        len_max: usize,
    },
    /// The section has `RECORDS_PER_BATCH_MAX` records.
    CountFull,
    TooManyHeaders {
        got: usize,
        max: usize,
    },
    NegativeTimestamp {
        got: i64,
    },
}

impl fmt::Display for RecordRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { len, len_max } => {
                write!(f, "the batch would have {len} bytes of records, at most {len_max} are allowed")
            }
            Self::CountFull => write!(f, "the batch has {RECORDS_PER_BATCH_MAX} records, the most allowed"),
            Self::TooManyHeaders { got, max } => write!(f, "the record has {got} headers, at most {max} are allowed"),
            Self::NegativeTimestamp { got } => write!(f, "the record has the negative timestamp {got}"),
        }
    }
}

impl std::error::Error for RecordRefusal {}

/// A finished section and what its batch header has to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltRecords {
    pub body: BytesMut,
    /// At least 1.
    pub record_count: u32,
    /// The first record's timestamp.
    pub base_timestamp_ms: i64,
    pub max_timestamp_ms: i64,
}

/// Gathers records into one section. Offset deltas are 0, 1, 2, …
#[derive(Debug)]
pub struct RecordsBuilder {
    body: BytesMut,
    len_max: usize,
    record_count: u32,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
}

impl RecordsBuilder {
    /// `len_max` bounds the section, bytes; it is itself bounded by `FRAME_BODY_LEN_MAX`. Nothing is allocated yet.
    #[must_use]
    pub fn new(len_max: usize) -> Self {
        let len_max = len_max.min(FRAME_BODY_LEN_MAX);
        Self { body: BytesMut::new(), len_max, record_count: 0, base_timestamp_ms: 0, max_timestamp_ms: 0 }
    }

    /// Appends one record and gives back its offset delta.
    pub fn append(&mut self, record: &NewRecord<'_>) -> Result<u32, RecordRefusal> {
        self.check(record)?;
        let fields = RecordFields::encode(record, self.timestamp_delta_ms(record), self.record_count);
        let len = self.body.len() + fields.record_len();
        if len > self.len_max {
            return Err(RecordRefusal::Full { len, len_max: self.len_max });
        }
        if self.record_count == 0 {
            self.base_timestamp_ms = record.timestamp_ms;
            self.max_timestamp_ms = record.timestamp_ms;
        }
        debug_assert_eq!(fields.record_len(), self.record_len(record), "the predicted length of a record");
        self.body.reserve(fields.record_len());
        fields.write(record, &mut self.body);
        debug_assert_eq!(self.body.len(), len, "the encoded length of a record");
        self.max_timestamp_ms = self.max_timestamp_ms.max(record.timestamp_ms);
        self.record_count += 1;
        Ok(self.record_count - 1)
    }

    /// Makes room for `len` bytes of records, at most for the largest section, so that a section that is expected to
    /// become long is not copied while it grows.
    pub fn reserve(&mut self, len: usize) {
        self.body.reserve(len.min(self.len_max).saturating_sub(self.body.len()));
    }

    /// Exactly how many bytes [`Self::append`] would add for `record` now.
    #[must_use]
    pub fn record_len(&self, record: &NewRecord<'_>) -> usize {
        prefixed_len(self.content_len(record))
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.body.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    #[must_use]
    pub fn record_count(&self) -> u32 {
        self.record_count
    }

    /// Takes the section out, leaving the builder empty and ready for the next; `None` when there is no record.
    pub fn take(&mut self) -> Option<BuiltRecords> {
        if self.is_empty() {
            return None;
        }
        let built = BuiltRecords {
            body: self.body.split(),
            record_count: self.record_count,
            base_timestamp_ms: self.base_timestamp_ms,
            max_timestamp_ms: self.max_timestamp_ms,
        };
        self.record_count = 0;
        Some(built)
    }

    fn check(&self, record: &NewRecord<'_>) -> Result<(), RecordRefusal> {
        if record.timestamp_ms < 0 {
            return Err(RecordRefusal::NegativeTimestamp { got: record.timestamp_ms });
        }
        if record.headers.len() > HEADERS_PER_RECORD_MAX {
            return Err(RecordRefusal::TooManyHeaders { got: record.headers.len(), max: HEADERS_PER_RECORD_MAX });
        }
        if self.record_count == RECORDS_PER_BATCH_MAX {
            return Err(RecordRefusal::CountFull);
        }
        Ok(())
    }

    /// Two timestamps that are not negative differ by an `i64`; for others [`Self::append`] refuses anyway.
    fn timestamp_delta_ms(&self, record: &NewRecord<'_>) -> i64 {
        if self.record_count == 0 { 0 } else { record.timestamp_ms.saturating_sub(self.base_timestamp_ms) }
    }

    /// Length of the record without its length prefix.
    fn content_len(&self, record: &NewRecord<'_>) -> usize {
        1 + varlong_len(self.timestamp_delta_ms(record))
            + varlong_len(i64::from(self.record_count))
            + nullable_len(record.key)
            + nullable_len(record.value)
            + varlong_len(record.headers.len() as i64)
            + headers_len(record.headers)
    }
}

fn prefixed_len(content_len: usize) -> usize {
    varlong_len(content_len as i64) + content_len
}

fn nullable_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |b| varlong_len(b.len() as i64) + b.len())
}

/// Bytes of the headers behind their count.
pub(super) fn headers_len(headers: &[HeaderRef<'_>]) -> usize {
    headers.iter().map(|header| nullable_len(Some(header.key)) + nullable_len(header.value)).sum()
}

pub(super) fn put_nullable(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varlong(out, -1),
        Some(bytes) => {
            put_varlong(out, bytes.len() as i64);
            out.put_slice(bytes);
        }
    }
}
