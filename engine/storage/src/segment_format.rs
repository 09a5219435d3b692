//! The bytes of a segment file that are not frames: the header block in front, the footer and the trailer behind.
//!
//! ```text
//! 0                 4096                      end_position   next block          file_len - 4096
//! | header block    | frames back to back ... | zeros        | footer            | trailer block |
//! ```
//!
//! A zero byte where a frame would begin means: go on at the next block. The trailer is the last block of the file
//! and finds the footer; the footer holds both indexes, and epochs and producers as of the segment's end, so
//! that producer state survives the loss of every checkpoint. The expensive mistake is to trust a count before it is bounded by the bytes
//! that are there. Every block carries a checksum over all of it, padding included. Deliberately absent: reading and writing.
//!
//! Faults it must survive: a cut costs nothing, because what lies behind the recovery point is not read and what lies
//! before it is flushed. Rot or a misdirected write in frames costs those frames, in the header block what no index
//! reaches, in padding, footer or trailer nothing (the index is rebuilt by a walk); readers are refused the range.

use crate::damage::BlockError;
use crate::offset_index::{OffsetEntry, OffsetIndex};
use crate::segment_index::SegmentIndex;
use crate::time_index::{TimeEntry, TimeIndex};
use crate::value_codec::{PutValue, ValueReader};
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{LeaderEpochHistory, Offset, ProducerTable, TopicPartition};

pub const SEGMENT_FORMAT_VERSION: u32 = 1;
const HEADER_MAGIC: u64 = u64::from_le_bytes(*b"SluiceSH");
const TRAILER_MAGIC: u64 = u64::from_le_bytes(*b"SluiceST");
/// Magic, version and checksum, in front of every block of ours.
const PREFIX_LEN: usize = 16;

/// The first block of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub id: TopicPartition,
    pub base_offset: Offset,
    /// `header_crc` of the last frame of the segment before, 0 at the start of a log.
    pub prev_header_crc: u32,
}

/// The last block of a sealed segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentTrailer {
    pub id: TopicPartition,
    pub base_offset: Offset,
    /// The offset after its last record.
    pub next_offset: Offset,
    /// End of the last frame, bytes.
    pub end_position: u64,
    /// Where the footer begins, a multiple of `BLOCK_LEN`, at or behind `end_position`.
    pub footer_position: u64,
    /// Bytes of the footer, a multiple of `BLOCK_LEN`; the trailer follows it.
    pub footer_len: u64,
    pub footer_crc: u32,
    pub last_header_crc: u32,
    pub frame_count: u64,
    pub append_time_ms_max: i64,
    pub timestamp_ms_max: i64,
}

/// What a footer holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentFooter {
    pub index: SegmentIndex,
    /// As of the segment's end.
    pub epochs: LeaderEpochHistory,
    /// As of the segment's end.
    pub producers: ProducerTable,
}

/// What ends a segment, besides its footer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentEnd {
    pub header: SegmentHeader,
    pub next_offset: Offset,
    pub end_position: u64,
    pub footer_position: u64,
    pub last_header_crc: u32,
}

/// The smallest multiple of `BLOCK_LEN` at or above `position`.
#[must_use]
pub fn block_up(position: u64) -> u64 {
    position.next_multiple_of(BLOCK_LEN as u64)
}

/// The greatest multiple of `BLOCK_LEN` at or below `position`.
#[must_use]
pub fn block_down(position: u64) -> u64 {
    position - position % BLOCK_LEN as u64
}

impl SegmentHeader {
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = prefix();
        out.put_id(self.id);
        out.put_u64(self.base_offset.0);
        out.put_u32(self.prev_header_crc);
        sealed_block(out, HEADER_MAGIC)
    }

    pub fn decode(block: &[u8]) -> Result<Self, BlockError> {
        let mut reader = open_block(block, HEADER_MAGIC)?;
        Ok(Self {
            id: reader.id("id")?,
            base_offset: reader.offset("base_offset")?,
            prev_header_crc: reader.u32("prev_header_crc")?,
        })
    }

    /// [`Self::decode`], and it is the header of this segment.
    pub fn decode_expecting(block: &[u8], id: TopicPartition, base_offset: Offset) -> Result<Self, BlockError> {
        let header = Self::decode(block)?;
        expect_segment(header.id, header.base_offset, id, base_offset)?;
        Ok(header)
    }
}

impl SegmentTrailer {
    /// Decodes the last block of a file of `file_len` bytes and checks that its positions fit in that file.
    pub fn decode(block: &[u8], file_len: u64) -> Result<Self, BlockError> {
        let mut reader = open_block(block, TRAILER_MAGIC)?;
        let trailer = Self {
            id: reader.id("id")?,
            base_offset: reader.offset("base_offset")?,
            next_offset: reader.offset("next_offset")?,
            end_position: reader.u64("end_position")?,
            footer_position: reader.u64("footer_position")?,
            footer_len: reader.u64("footer_len")?,
            footer_crc: reader.u32("footer_crc")?,
            last_header_crc: reader.u32("last_header_crc")?,
            frame_count: reader.u64("frame_count")?,
            append_time_ms_max: reader.i64("append_time_ms_max")?,
            timestamp_ms_max: reader.i64("timestamp_ms_max")?,
        };
        let block_len = BLOCK_LEN as u64;
        let aligned = trailer.footer_position.is_multiple_of(block_len) && trailer.footer_len.is_multiple_of(block_len);
        let end = trailer.footer_position.checked_add(trailer.footer_len).and_then(|end| end.checked_add(block_len));
        if !aligned || end != Some(file_len) {
            return Err(BlockError::Content { field: "footer_position" });
        }
        if trailer.end_position < block_len || trailer.end_position > trailer.footer_position || file_len > u64::from(u32::MAX) {
            return Err(BlockError::Content { field: "end_position" });
        }
        if trailer.next_offset < trailer.base_offset {
            return Err(BlockError::Content { field: "next_offset" });
        }
        Ok(trailer)
    }

    /// [`Self::decode`], and it is the trailer of this segment.
    pub fn decode_expecting(block: &[u8], file_len: u64, id: TopicPartition, base_offset: Offset) -> Result<Self, BlockError> {
        let trailer = Self::decode(block, file_len)?;
        expect_segment(trailer.id, trailer.base_offset, id, base_offset)?;
        Ok(trailer)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = prefix();
        out.put_id(self.id);
        for value in [self.base_offset.0, self.next_offset.0, self.end_position, self.footer_position, self.footer_len] {
            out.put_u64(value);
        }
        out.put_u32(self.footer_crc);
        out.put_u32(self.last_header_crc);
        out.put_u64(self.frame_count);
        out.put_i64(self.append_time_ms_max);
        out.put_i64(self.timestamp_ms_max);
        sealed_block(out, TRAILER_MAGIC)
    }
}

impl SegmentFooter {
    /// Footer and trailer of a segment that ends with `end`: whole blocks, to be written at `end.footer_position`.
    /// The second value is the trailer they end with.
    #[must_use]
    pub fn encode(&self, end: &SegmentEnd) -> (Vec<u8>, SegmentTrailer) {
        let mut out = Vec::new();
        out.put_count(self.index.offsets.entries().len());
        for entry in self.index.offsets.entries() {
            out.put_u64(entry.base_offset.0);
            out.put_u32(entry.position);
            out.put_u32(entry.prev_header_crc);
        }
        out.put_count(self.index.times.entries().len());
        for entry in self.index.times.entries() {
            out.put_i64(entry.timestamp_ms);
            out.put_u64(entry.base_offset.0);
        }
        out.put_epochs(&self.epochs);
        out.put_producers(&self.producers);
        out.resize(out.len().next_multiple_of(BLOCK_LEN), 0);
        let trailer = SegmentTrailer {
            id: end.header.id,
            base_offset: end.header.base_offset,
            next_offset: end.next_offset,
            end_position: end.end_position,
            footer_position: end.footer_position,
            footer_len: out.len() as u64,
            footer_crc: crc32c::crc32c(&out),
            last_header_crc: end.last_header_crc,
            frame_count: self.index.frame_count,
            append_time_ms_max: self.index.append_time_ms_max,
            timestamp_ms_max: self.index.timestamp_ms_max,
        };
        out.extend_from_slice(&trailer.encode());
        (out, trailer)
    }

    /// Decodes the `trailer.footer_len` bytes at `trailer.footer_position`.
    pub fn decode(bytes: &[u8], trailer: &SegmentTrailer) -> Result<Self, BlockError> {
        if bytes.len() as u64 != trailer.footer_len {
            let wanted = usize::try_from(trailer.footer_len).unwrap_or(usize::MAX);
            return Err(BlockError::Truncated { wanted, got: bytes.len() });
        }
        let actual = crc32c::crc32c(bytes);
        if actual != trailer.footer_crc {
            return Err(BlockError::Crc { expected: trailer.footer_crc, actual });
        }
        let mut reader = ValueReader::new(bytes);
        let offsets = read_offset_index(&mut reader, trailer)?;
        let times = read_time_index(&mut reader)?;
        let epochs = reader.epochs()?;
        let producers = reader.producers()?;
        let index = SegmentIndex {
            offsets,
            times,
            frame_count: trailer.frame_count,
            append_time_ms_max: trailer.append_time_ms_max,
            timestamp_ms_max: trailer.timestamp_ms_max,
        };
        Ok(Self { index, epochs, producers })
    }
}

fn expect_segment(id: TopicPartition, base: Offset, wanted_id: TopicPartition, wanted_base: Offset) -> Result<(), BlockError> {
    if id != wanted_id {
        return Err(BlockError::Partition { expected: wanted_id, actual: id });
    }
    if base != wanted_base {
        return Err(BlockError::BaseOffset { expected: wanted_base, actual: base });
    }
    Ok(())
}

fn prefix() -> Vec<u8> {
    let mut out = Vec::with_capacity(BLOCK_LEN);
    out.resize(PREFIX_LEN, 0);
    out
}

/// Pads the block and fills in its prefix.
fn sealed_block(mut block: Vec<u8>, magic: u64) -> Vec<u8> {
    assert!(block.len() <= BLOCK_LEN, "a block's content is {} bytes", block.len());
    block.resize(BLOCK_LEN, 0);
    block[..8].copy_from_slice(&magic.to_le_bytes());
    block[8..12].copy_from_slice(&SEGMENT_FORMAT_VERSION.to_le_bytes());
    let crc = crc32c::crc32c(&block[PREFIX_LEN..]);
    block[12..16].copy_from_slice(&crc.to_le_bytes());
    block
}

fn open_block(block: &[u8], magic: u64) -> Result<ValueReader<'_>, BlockError> {
    if block.len() != BLOCK_LEN {
        return Err(BlockError::Truncated { wanted: BLOCK_LEN, got: block.len() });
    }
    let mut reader = ValueReader::new(block);
    let actual = reader.u64("magic")?;
    if actual != magic {
        return Err(BlockError::Magic { expected: magic, actual });
    }
    let version = reader.u32("version")?;
    let expected = reader.u32("crc")?;
    let is_other = version != SEGMENT_FORMAT_VERSION;
    let actual = if is_other { other_crc(block) } else { crc32c::crc32c(&block[PREFIX_LEN..]) };
    if expected != actual {
        return Err(BlockError::Crc { expected, actual });
    }
    if is_other {
        return Err(BlockError::Version { expected: SEGMENT_FORMAT_VERSION, actual: version });
    }
    Ok(reader)
}

/// The checksum of every version but the first covers magic and version too, so rot in the version is not taken for one.
fn other_crc(block: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&block[..12]), &block[PREFIX_LEN..])
}

fn read_offset_index(reader: &mut ValueReader<'_>, trailer: &SegmentTrailer) -> Result<OffsetIndex, BlockError> {
    let field = "offset_index";
    let count = reader.count(field, 16)?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let base_offset = reader.offset(field)?;
        let (position, prev_header_crc) = (reader.u32(field)?, reader.u32(field)?);
        if u64::from(position) >= trailer.end_position || (position as usize) < BLOCK_LEN {
            return Err(BlockError::Content { field });
        }
        entries.push(OffsetEntry { base_offset, position, prev_header_crc });
    }
    OffsetIndex::from_entries(entries).ok_or(BlockError::Content { field })
}

fn read_time_index(reader: &mut ValueReader<'_>) -> Result<TimeIndex, BlockError> {
    let field = "time_index";
    let count = reader.count(field, 16)?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push(TimeEntry { timestamp_ms: reader.i64(field)?, base_offset: reader.offset(field)? });
    }
    TimeIndex::from_entries(entries).ok_or(BlockError::Content { field })
}

#[cfg(test)]
#[path = "segment_format_test.rs"]
mod tests;
