//! The numbers of one record, encoded before its length is known: they go out with few copies, and nothing is computed
//! twice.
//!
//! A record's length stands before it and counts all of it, so it is written last, in front of the others. The expensive
//! mistake is a length that is not that of the bytes that follow; the builder asserts it in tests.

use super::records_builder::{NewRecord, headers_len, put_nullable};
use super::varint::{VARLONG_LEN_MAX, zigzag};
use bytes::{BufMut, BytesMut};

/// Where the fields behind the record's length begin.
const FIELDS_START: usize = VARLONG_LEN_MAX;
/// Attributes, and five numbers behind the length.
const FIELDS_END_MAX: usize = FIELDS_START + 1 + 5 * VARLONG_LEN_MAX;

pub(super) struct RecordFields {
    bytes: [u8; FIELDS_END_MAX],
    /// Where the record's length begins.
    start: usize,
    /// What lies before it is followed by the key.
    key_at: usize,
    /// What lies before it is followed by the value.
    value_at: usize,
    /// The count of the headers ends here.
    end: usize,
    /// Bytes of the whole record.
    record_len: usize,
}

impl RecordFields {
    pub(super) fn encode(record: &NewRecord<'_>, timestamp_delta_ms: i64, offset_delta: u32) -> Self {
        // Attributes are zero.
        let mut fields = Self {
            bytes: [0; FIELDS_END_MAX],
            start: FIELDS_START,
            key_at: 0,
            value_at: 0,
            end: FIELDS_START + 1,
            record_len: 0,
        };
        fields.put(timestamp_delta_ms);
        fields.put(i64::from(offset_delta));
        fields.put(record.key.map_or(-1, |key| key.len() as i64));
        fields.key_at = fields.end;
        fields.put(record.value.map_or(-1, |value| value.len() as i64));
        fields.value_at = fields.end;
        fields.put(record.headers.len() as i64);
        let payload_len = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        let content_len = fields.end - FIELDS_START + payload_len + headers_len(record.headers);
        fields.put_before(content_len as i64);
        fields.record_len = FIELDS_START - fields.start + content_len;
        fields
    }

    /// Bytes of the whole record, its length included.
    pub(super) fn record_len(&self) -> usize {
        self.record_len
    }

    /// Appends the record these fields are of.
    pub(super) fn write(&self, record: &NewRecord<'_>, out: &mut BytesMut) {
        match record.key {
            None => out.put_slice(&self.bytes[self.start..self.value_at]),
            Some(key) => {
                out.put_slice(&self.bytes[self.start..self.key_at]);
                out.put_slice(key);
                out.put_slice(&self.bytes[self.key_at..self.value_at]);
            }
        }
        if let Some(value) = record.value {
            out.put_slice(value);
        }
        if record.headers.is_empty() {
            return out.put_u8(0);
        }
        out.put_slice(&self.bytes[self.value_at..self.end]);
        for header in record.headers {
            put_nullable(out, Some(header.key));
            put_nullable(out, header.value);
        }
    }

    #[inline]
    fn put(&mut self, value: i64) {
        let mut rest = zigzag(value);
        while rest >= 0x80 {
            self.bytes[self.end] = (rest & 0x7f) as u8 | 0x80;
            self.end += 1;
            rest >>= 7;
        }
        self.bytes[self.end] = rest as u8;
        self.end += 1;
    }

    /// In front of the others, ending where they begin.
    #[inline]
    fn put_before(&mut self, value: i64) {
        let len = super::varint::varlong_len(value);
        let mut rest = zigzag(value);
        self.start = FIELDS_START - len;
        for byte in &mut self.bytes[self.start..FIELDS_START - 1] {
            *byte = (rest & 0x7f) as u8 | 0x80;
            rest >>= 7;
        }
        self.bytes[FIELDS_START - 1] = rest as u8;
    }
}
