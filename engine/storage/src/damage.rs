//! What is wrong with bytes that a device gave back: typed, naming segment, position, expected and actual.

use crate::value_codec::Malformed;
use sluice_model::{FrameError, LeaderEpoch, Offset, TopicPartition};
use std::fmt;

/// Bytes of one segment that cannot be proved good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentDamage {
    pub id: TopicPartition,
    /// Base offset of the segment, its file's name.
    pub segment: Offset,
    /// Byte of the file at which the bad frame or block begins.
    pub position: u64,
    pub kind: DamageKind,
    /// The offsets that cannot be served: from the first (where it is known) to where serving may go on.
    pub range: DamagedRange,
}

/// Offsets from `from` (included) to `until` (not included) that are not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedRange {
    pub from: Offset,
    pub until: Offset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    Frame(FrameError),
    /// The frame is good, but of another partition.
    Partition {
        expected: TopicPartition,
        actual: TopicPartition,
    },
    Offset {
        expected: Offset,
        actual: Offset,
    },
    /// The frame does not follow the one before it.
    Chain {
        expected: u32,
        actual: u32,
    },
    /// The frame is good and was cut off: the one that belongs here was appended under a later leader epoch.
    LeaderEpoch {
        expected: LeaderEpoch,
        actual: LeaderEpoch,
    },
    /// A frame reaches behind the recorded end of the segment's frames.
    PastEnd {
        expected: u64,
        actual: u64,
    },
    /// Zeros where a frame has to be.
    NoFrame,
    /// The segment's file is gone, and nobody here removed it.
    FileMissing,
    /// The file ends before the segment does.
    FileTooShort {
        expected: u64,
        actual: u64,
    },
    /// The header block, or the footer, does not verify.
    Block(BlockError),
    /// The device does not give the bytes, however often it is asked.
    Unreadable,
    /// The bytes before the recovery point differ from the journal's copy of the same frame.
    Replayed {
        expected: u8,
        actual: u8,
    },
}

/// Why a header block, a trailer or a footer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockError {
    Truncated {
        wanted: usize,
        got: usize,
    },
    Magic {
        expected: u64,
        actual: u64,
    },
    Version {
        expected: u32,
        actual: u32,
    },
    Crc {
        expected: u32,
        actual: u32,
    },
    Partition {
        expected: TopicPartition,
        actual: TopicPartition,
    },
    BaseOffset {
        expected: Offset,
        actual: Offset,
    },
    /// The checksum agrees and the content makes no sense: written by a program with a fault.
    Content {
        field: &'static str,
    },
}

impl fmt::Display for SegmentDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, segment, position, kind, range } = self;
        write!(
            f,
            "partition {id}, segment {segment}, position {position}: {kind}; offsets {} up to {} are not served",
            range.from, range.until
        )
    }
}

impl std::error::Error for SegmentDamage {}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => write!(f, "{error}"),
            Self::Partition { expected, actual } => write!(f, "expected a frame of partition {expected}, found one of {actual}"),
            Self::Offset { expected, actual } => write!(f, "expected a frame with base offset {expected}, found {actual}"),
            Self::Chain { expected, actual } => {
                write!(f, "expected a frame that follows {expected:08x}, found one that follows {actual:08x}")
            }
            Self::LeaderEpoch { expected, actual } => {
                write!(f, "expected a frame of leader epoch {expected}, found one of {actual} that was cut off")
            }
            Self::PastEnd { expected, actual } => {
                write!(f, "expected frames to end at {expected}, found one that ends at {actual}")
            }
            Self::NoFrame => write!(f, "expected a frame, found zeros"),
            Self::FileMissing => write!(f, "expected a file, found none"),
            Self::FileTooShort { expected, actual } => write!(f, "expected a file of at least {expected} bytes, found {actual}"),
            Self::Block(error) => write!(f, "{error}"),
            Self::Unreadable => write!(f, "the device failed to read it"),
            Self::Replayed { expected, actual } => write!(f, "expected the journal's byte {expected:02x}, found {actual:02x}"),
        }
    }
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { wanted, got } => write!(f, "{wanted} bytes wanted, {got} there"),
            Self::Magic { expected, actual } => write!(f, "expected magic {expected:016x}, found {actual:016x}"),
            Self::Version { expected, actual } => write!(f, "expected format version {expected}, found {actual}"),
            Self::Crc { expected, actual } => write!(f, "expected checksum {expected:08x}, found {actual:08x}"),
            Self::Partition { expected, actual } => write!(f, "expected partition {expected}, found {actual}"),
            Self::BaseOffset { expected, actual } => write!(f, "expected base offset {expected}, found {actual}"),
            Self::Content { field } => write!(f, "the field {field} makes no sense"),
        }
    }
}

impl std::error::Error for BlockError {}

impl From<Malformed> for BlockError {
    fn from(malformed: Malformed) -> Self {
        Self::Content { field: malformed.field }
    }
}
