//! The frame: one format on the wire, in the journal and in segments.
//!
//! A frame is a 100-byte header and a body. The body is the records section of a Kafka v2 record batch, opaque
//! to the broker. Two checksums, because two parties write: the producer seals the body and its own fields
//! (`batch_crc`), the leader seals the header (`header_crc`) and chains it to the one before
//! (`prev_header_crc`). The expensive mistake is to trust a length before it is checked.
//!
//! The header is a portable struct of explicit little-endian integers, so it has the same bytes whatever rkyv
//! features an application selects, and may be read at any address.

use crate::ids::{LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, TopicId, TopicPartition};
use crate::limits::{FRAME_BODY_LEN_MAX, RECORDS_PER_BATCH_MAX};
use rkyv::rend::unaligned::{i16_ule, i32_ule, i64_ule, u16_ule, u32_ule, u64_ule};
use std::fmt;
use std::mem::offset_of;

pub const FRAME_HEADER_LEN: usize = 100;
/// "SLC" and the format version, the first four bytes of every frame. The first is never zero.
pub const FRAME_MAGIC: [u8; 4] = [b'S', b'L', b'C', 1];

/// The bytes of a frame header. Field order is the format (table in the design, section 5).
#[derive(Clone, Copy, rkyv::Portable, rkyv::bytecheck::CheckBytes)]
#[bytecheck(crate = rkyv::bytecheck)]
#[rkyv(crate = rkyv)]
#[repr(C)]
pub struct FrameHeader {
    pub magic: [u8; 4],
    /// CRC-32C of the header from byte 8 on.
    pub header_crc: u32_ule,
    /// The `header_crc` of the frame before this one in its log; 0 for the first of a log.
    pub prev_header_crc: u32_ule,
    pub body_len: u32_ule,
    pub topic_id: [u8; 16],
    pub partition: u32_ule,
    pub leader_epoch: u32_ule,
    pub base_offset: u64_ule,
    pub append_time_ms: i64_ule,
    /// Kafka's CRC-32C over the batch from `attributes` to the end of the records.
    pub batch_crc: u32_ule,
    pub attributes: u16_ule,
    pub producer_epoch: i16_ule,
    pub base_sequence: i32_ule,
    pub last_offset_delta: u32_ule,
    pub record_count: u32_ule,
    pub base_timestamp_ms: i64_ule,
    pub max_timestamp_ms: i64_ule,
    pub producer_id: i64_ule,
}

const _: () = assert!(size_of::<FrameHeader>() == FRAME_HEADER_LEN && align_of::<FrameHeader>() == 1);
const _: () = assert!(offset_of!(FrameHeader, prev_header_crc) == 8);
const _: () = assert!(offset_of!(FrameHeader, topic_id) == 16);
const _: () = assert!(offset_of!(FrameHeader, base_offset) == 40);
const _: () = assert!(offset_of!(FrameHeader, batch_crc) == 56);
const _: () = assert!(offset_of!(FrameHeader, base_timestamp_ms) == 76);

/// Why bytes are not a good frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Fewer bytes than a header, or than the header says.
    Truncated {
        wanted: usize,
        got: usize,
    },
    Magic {
        got: [u8; 4],
    },
    BodyTooLong {
        got: usize,
        max: usize,
    },
    RecordCount {
        record_count: u32,
        last_offset_delta: u32,
    },
    HeaderCrc {
        expected: u32,
        actual: u32,
    },
    BatchCrc {
        expected: u32,
        actual: u32,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { wanted, got } => write!(f, "frame is cut short: {wanted} bytes wanted, {got} there"),
            Self::Magic { got } if got[..3] == FRAME_MAGIC[..3] => {
                write!(f, "frame has format version {}, this program reads {}", got[3], FRAME_MAGIC[3])
            }
            Self::Magic { got } => write!(f, "frame begins with {got:02x?}, not with {FRAME_MAGIC:02x?}"),
            Self::BodyTooLong { got, max } => write!(f, "frame body of {got} bytes is longer than the {max} allowed"),
            Self::RecordCount { record_count, last_offset_delta } => {
                write!(f, "frame names {record_count} records and last offset delta {last_offset_delta}")
            }
            Self::HeaderCrc { expected, actual } => {
                write!(f, "frame header checksum is {actual:08x}, the header says {expected:08x}")
            }
            Self::BatchCrc { expected, actual } => {
                write!(f, "record batch checksum is {actual:08x}, the header says {expected:08x}")
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// What a producer fills in; the leader adds the rest in [`FrameHeader::seal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerBatch {
    pub topic_partition: TopicPartition,
    pub attributes: u16,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub base_sequence: Sequence,
    pub record_count: u32,
    pub base_timestamp_ms: i64,
    pub max_timestamp_ms: i64,
}

/// What the leader decides about a batch it appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderSeal {
    pub base_offset: Offset,
    pub leader_epoch: LeaderEpoch,
    pub append_time_ms: i64,
    pub prev_header_crc: u32,
}

impl FrameHeader {
    /// A producer's header for `body`, which must be within `FRAME_BODY_LEN_MAX`; its leader fields are zero.
    #[must_use]
    pub fn new(batch: ProducerBatch, body: &[u8]) -> Self {
        let body_len = u32::try_from(body.len()).expect("a body is within FRAME_BODY_LEN_MAX");
        let mut header = Self {
            magic: FRAME_MAGIC,
            header_crc: 0.into(),
            prev_header_crc: 0.into(),
            body_len: body_len.into(),
            topic_id: batch.topic_partition.topic_id.0,
            partition: batch.topic_partition.partition.0.into(),
            leader_epoch: 0.into(),
            base_offset: 0.into(),
            append_time_ms: 0.into(),
            batch_crc: 0.into(),
            attributes: batch.attributes.into(),
            producer_epoch: batch.producer_epoch.0.into(),
            base_sequence: batch.base_sequence.0.into(),
            last_offset_delta: batch.record_count.saturating_sub(1).into(),
            record_count: batch.record_count.into(),
            base_timestamp_ms: batch.base_timestamp_ms.into(),
            max_timestamp_ms: batch.max_timestamp_ms.into(),
            producer_id: batch.producer_id.0.into(),
        };
        header.batch_crc = header.compute_batch_crc(body).into();
        header.header_crc = header.compute_header_crc().into();
        header
    }

    /// Reads a header from the front of `bytes` and checks everything that can be checked without the body and
    /// without the header checksum (a producer's frame has none of the leader's fields yet).
    pub fn parse(bytes: &[u8]) -> Result<&Self, FrameError> {
        let Some(head) = bytes.get(..FRAME_HEADER_LEN) else {
            return Err(FrameError::Truncated { wanted: FRAME_HEADER_LEN, got: bytes.len() });
        };
        let magic = [head[0], head[1], head[2], head[3]];
        if magic != FRAME_MAGIC {
            return Err(FrameError::Magic { got: magic });
        }
        let header = rkyv::access::<Self, rkyv::rancor::Failure>(head)
            .map_err(|_| FrameError::Truncated { wanted: FRAME_HEADER_LEN, got: bytes.len() })?;
        if header.body_len() > FRAME_BODY_LEN_MAX {
            return Err(FrameError::BodyTooLong { got: header.body_len(), max: FRAME_BODY_LEN_MAX });
        }
        let (record_count, last_offset_delta) = (header.record_count.to_native(), header.last_offset_delta.to_native());
        if record_count == 0 || record_count > RECORDS_PER_BATCH_MAX || last_offset_delta != record_count - 1 {
            return Err(FrameError::RecordCount { record_count, last_offset_delta });
        }
        Ok(header)
    }

    /// [`Self::parse`], and the header checksum agrees: what a leader sealed.
    pub fn parse_sealed(bytes: &[u8]) -> Result<&Self, FrameError> {
        let header = Self::parse(bytes)?;
        let (expected, actual) = (header.header_crc.to_native(), header.compute_header_crc());
        if expected != actual {
            return Err(FrameError::HeaderCrc { expected, actual });
        }
        Ok(header)
    }

    /// A whole sealed frame at the front of `bytes`: header checksum, length and batch checksum agree. The second
    /// value is its body.
    pub fn parse_frame(bytes: &[u8]) -> Result<(&Self, &[u8]), FrameError> {
        let header = Self::parse_sealed(bytes)?;
        let body = header.body_of(bytes)?;
        header.verify_body(body)?;
        Ok((header, body))
    }

    /// The body behind this header, when `frame` (which begins with this header) has it whole.
    pub fn body_of<'a>(&self, frame: &'a [u8]) -> Result<&'a [u8], FrameError> {
        frame.get(FRAME_HEADER_LEN..self.frame_len()).ok_or(FrameError::Truncated { wanted: self.frame_len(), got: frame.len() })
    }

    pub fn verify_body(&self, body: &[u8]) -> Result<(), FrameError> {
        let (expected, actual) = (self.batch_crc.to_native(), self.compute_batch_crc(body));
        if expected == actual { Ok(()) } else { Err(FrameError::BatchCrc { expected, actual }) }
    }

    /// This header with the leader's fields filled in and sealed.
    #[must_use]
    pub fn sealed(&self, seal: LeaderSeal) -> Self {
        let mut header = *self;
        header.base_offset = seal.base_offset.0.into();
        header.leader_epoch = seal.leader_epoch.0.into();
        header.append_time_ms = seal.append_time_ms.into();
        header.prev_header_crc = seal.prev_header_crc.into();
        header.header_crc = header.compute_header_crc().into();
        header
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; FRAME_HEADER_LEN] {
        // SAFETY: the struct is repr(C), has alignment 1, no padding (its size is the sum of its fields, asserted
        // above) and every field is plain bytes.
        unsafe { &*std::ptr::from_ref(self).cast() }
    }

    fn compute_header_crc(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[8..])
    }

    /// Kafka's checksum: big-endian attributes, last offset delta, timestamps, producer fields, count, then the body.
    fn compute_batch_crc(&self, body: &[u8]) -> u32 {
        let mut head = [0u8; 40];
        head[0..2].copy_from_slice(&self.attributes.to_native().to_be_bytes());
        head[2..6].copy_from_slice(&self.last_offset_delta.to_native().to_be_bytes());
        head[6..14].copy_from_slice(&self.base_timestamp_ms.to_native().to_be_bytes());
        head[14..22].copy_from_slice(&self.max_timestamp_ms.to_native().to_be_bytes());
        head[22..30].copy_from_slice(&self.producer_id.to_native().to_be_bytes());
        head[30..32].copy_from_slice(&self.producer_epoch.to_native().to_be_bytes());
        head[32..36].copy_from_slice(&self.base_sequence.to_native().to_be_bytes());
        head[36..40].copy_from_slice(&self.record_count.to_native().to_be_bytes());
        crc32c::crc32c_append(crc32c::crc32c(&head), body)
    }

    #[must_use]
    pub fn body_len(&self) -> usize {
        self.body_len.to_native() as usize
    }

    /// Header and body, bytes.
    #[must_use]
    pub fn frame_len(&self) -> usize {
        FRAME_HEADER_LEN + self.body_len()
    }

    #[must_use]
    pub fn topic_partition(&self) -> TopicPartition {
        TopicPartition { topic_id: TopicId(self.topic_id), partition: PartitionIndex(self.partition.to_native()) }
    }

    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.leader_epoch.to_native())
    }

    #[must_use]
    pub fn base_offset(&self) -> Offset {
        Offset(self.base_offset.to_native())
    }

    #[must_use]
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.to_native() + u64::from(self.last_offset_delta.to_native()))
    }

    /// The offset after this frame's last record.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        Offset(self.base_offset.to_native() + u64::from(self.record_count.to_native()))
    }

    #[must_use]
    pub fn producer_id(&self) -> ProducerId {
        ProducerId(self.producer_id.to_native())
    }

    #[must_use]
    pub fn producer_epoch(&self) -> ProducerEpoch {
        ProducerEpoch(self.producer_epoch.to_native())
    }

    #[must_use]
    pub fn base_sequence(&self) -> Sequence {
        Sequence(self.base_sequence.to_native())
    }
}

impl fmt::Debug for FrameHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameHeader")
            .field("topic_partition", &self.topic_partition().to_string())
            .field("leader_epoch", &self.leader_epoch().0)
            .field("base_offset", &self.base_offset().0)
            .field("record_count", &self.record_count.to_native())
            .field("body_len", &self.body_len())
            .field("producer_id", &self.producer_id().0)
            .field("producer_epoch", &self.producer_epoch().0)
            .field("base_sequence", &self.base_sequence().0)
            .field("header_crc", &format_args!("{:08x}", self.header_crc.to_native()))
            .field("prev_header_crc", &format_args!("{:08x}", self.prev_header_crc.to_native()))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "frame_test.rs"]
mod tests;
