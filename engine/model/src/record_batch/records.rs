//! Reading records: an iterator over an uncompressed records section, and the check of such a section against its
//! header.
//!
//! A record: length, attributes, timestamp delta, offset delta, key, value, headers. Its length must be used up
//! exactly. The expensive mistake is a check that the iterator makes and the validation does not, or the other way
//! round, so the validation is a walk with the iterator.

use super::varint::{take_varint, take_varlong};
use super::{Attributes, TimestampType};
use crate::frame::FrameHeader;
use crate::limits::HEADERS_PER_RECORD_MAX;
use std::fmt;

/// One record, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// Added to the batch's base offset; never negative.
    pub offset_delta: u32,
    /// Added to the batch's base timestamp, milliseconds. Of no meaning in a batch with the broker's time.
    pub timestamp_delta_ms: i64,
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// One header of a record. Keys are text by Kafka's documentation and bytes by what its clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderRef<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

/// The headers of one record, known to be well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Headers<'a> {
    rest: &'a [u8],
    count: usize,
}

impl<'a> Iterator for Headers<'a> {
    type Item = HeaderRef<'a>;

    fn next(&mut self) -> Option<HeaderRef<'a>> {
        self.count = self.count.checked_sub(1)?;
        take_header(&mut self.rest)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// Why a records section is not good. `record` is the index in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordsError {
    /// The section ends before the record does, or before the count of the header is reached.
    Truncated {
        record: u32,
    },
    /// A field of the record is not what its type or the record's length allows.
    Malformed {
        record: u32,
        field: &'static str,
    },
    TooManyHeaders {
        record: u32,
        got: i32,
        max: usize,
    },
    /// Bytes are left after the last record.
    TrailingBytes {
        len: usize,
    },
    /// Offset deltas must be 0, 1, 2, …
    OffsetDelta {
        record: u32,
        got: u32,
    },
    /// Base timestamp and delta give no `i64`.
    TimestampDelta {
        record: u32,
        got: i64,
    },
    /// The greatest timestamp of the records is not the header's.
    MaxTimestamp {
        header_ms: i64,
        records_ms: i64,
    },
}

impl fmt::Display for RecordsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { record } => write!(f, "the records end inside record {record}"),
            Self::Malformed { record, field } => write!(f, "record {record} has a malformed {field}"),
            Self::TooManyHeaders { record, got, max } => {
                write!(f, "record {record} names {got} headers, at most {max} are allowed")
            }
            Self::TrailingBytes { len } => write!(f, "{len} bytes follow the last record"),
            Self::OffsetDelta { record, got } => write!(f, "record {record} has offset delta {got}"),
            Self::TimestampDelta { record, got } => write!(f, "record {record} has timestamp delta {got}, which is out of range"),
            Self::MaxTimestamp { header_ms, records_ms } => {
                write!(f, "the greatest timestamp is {records_ms}, the header says {header_ms}")
            }
        }
    }
}

impl std::error::Error for RecordsError {}

/// The records of an uncompressed section, in order. Gives one error at most, then ends.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    next: u32,
    count: u32,
    ended: bool,
}

impl<'a> Records<'a> {
    /// `record_count` is the header's; a section with fewer or more records is an error at the end of the walk.
    #[must_use]
    pub fn new(body: &'a [u8], record_count: u32) -> Self {
        Self { rest: body, next: 0, count: record_count, ended: false }
    }

    /// Bytes of the section after the last record given out.
    #[must_use]
    pub fn rest_len(&self) -> usize {
        self.rest.len()
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordRef<'a>, RecordsError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.next == self.count {
            self.ended = true;
            return (!self.rest.is_empty()).then_some(Err(RecordsError::TrailingBytes { len: self.rest.len() }));
        }
        let record = take_record(&mut self.rest, self.next);
        self.next += 1;
        self.ended = record.is_err();
        Some(record)
    }
}

/// Checks an uncompressed (or by now decompressed) records section against its header: the count, offset deltas
/// 0, 1, 2, …, the greatest timestamp (unless the batch has the broker's), no byte left over. Costs a walk.
pub fn validate_records(header: &FrameHeader, body: &[u8]) -> Result<(), RecordsError> {
    let base_ms = header.base_timestamp_ms.to_native();
    let mut max_ms = i64::MIN;
    for (index, record) in (0..).zip(Records::new(body, header.record_count.to_native())) {
        let record = record?;
        if record.offset_delta != index {
            return Err(RecordsError::OffsetDelta { record: index, got: record.offset_delta });
        }
        let delta = record.timestamp_delta_ms;
        let at = base_ms.checked_add(delta).ok_or(RecordsError::TimestampDelta { record: index, got: delta })?;
        max_ms = max_ms.max(at);
    }
    let header_ms = header.max_timestamp_ms.to_native();
    let create_time = Attributes(header.attributes.to_native()).timestamp_type() == TimestampType::CreateTime;
    if create_time && max_ms != header_ms {
        return Err(RecordsError::MaxTimestamp { header_ms, records_ms: max_ms });
    }
    Ok(())
}

#[inline]
fn take_record<'a>(rest: &mut &'a [u8], record: u32) -> Result<RecordRef<'a>, RecordsError> {
    let malformed = |field| RecordsError::Malformed { record, field };
    if rest.is_empty() {
        return Err(RecordsError::Truncated { record });
    }
    let len = usize::try_from(take_varint(rest).ok_or(malformed("length"))?).map_err(|_| malformed("length"))?;
    let (mut bytes, after) = rest.split_at_checked(len).ok_or(RecordsError::Truncated { record })?;
    *rest = after;
    bytes = bytes.get(1..).ok_or(malformed("attributes"))?;
    let timestamp_delta_ms = take_varlong(&mut bytes).ok_or(malformed("timestamp delta"))?;
    let offset_delta = take_varint(&mut bytes).and_then(|d| u32::try_from(d).ok()).ok_or(malformed("offset delta"))?;
    let key = take_nullable(&mut bytes).ok_or(malformed("key"))?;
    let value = take_nullable(&mut bytes).ok_or(malformed("value"))?;
    // A count of 0 and nothing after it: most records have no headers.
    let headers = if *bytes == [0] { Headers::default() } else { take_headers(bytes, record)? };
    Ok(RecordRef { offset_delta, timestamp_delta_ms, key, value, headers })
}

/// The headers, which must be all that `bytes` holds.
fn take_headers(mut bytes: &[u8], record: u32) -> Result<Headers<'_>, RecordsError> {
    let malformed = |field| RecordsError::Malformed { record, field };
    let got = take_varint(&mut bytes).ok_or(malformed("header count"))?;
    let count = usize::try_from(got).map_err(|_| malformed("header count"))?;
    if count > HEADERS_PER_RECORD_MAX {
        return Err(RecordsError::TooManyHeaders { record, got, max: HEADERS_PER_RECORD_MAX });
    }
    let headers = Headers { rest: bytes, count };
    for _ in 0..count {
        take_header(&mut bytes).ok_or(malformed("header"))?;
    }
    if bytes.is_empty() { Ok(headers) } else { Err(malformed("length")) }
}

fn take_header<'a>(bytes: &mut &'a [u8]) -> Option<HeaderRef<'a>> {
    let key = take_nullable(bytes)??;
    let value = take_nullable(bytes)?;
    Some(HeaderRef { key, value })
}

/// A length and as many bytes; length -1 is null.
#[inline]
fn take_nullable<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let len = take_varint(bytes)?;
    if len == -1 {
        return Some(None);
    }
    let (taken, rest) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
    *bytes = rest;
    Some(Some(taken))
}
