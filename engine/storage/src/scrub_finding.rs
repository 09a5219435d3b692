//! What the scrubber has found: file, position, what is wrong, and which offsets that costs.
//!
//! The expensive mistake is to name offsets lost that are not, or too few: a finding has offsets only where frames
//! can no longer be proved good. Deliberately absent: what is done about it.

use crate::damage::{BlockError, DamageKind, DamagedRange};
use sluice_model::TopicPartition;
use std::fmt;
use std::path::PathBuf;

/// Bytes that are not what they have to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubFinding {
    pub file: PathBuf,
    /// Byte of the file at which the bad part begins.
    pub position: u64,
    pub kind: ScrubKind,
    /// Whose, when they are a segment's.
    pub id: Option<TopicPartition>,
    /// The offsets that are not served on account of it; `None` when every record can still be proved good.
    pub lost: Option<DamagedRange>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrubKind {
    /// Of a segment: a frame, or the file itself.
    Segment(DamageKind),
    /// A segment's header block.
    Header(BlockError),
    /// A segment's footer.
    Footer(BlockError),
    /// A segment's last block, which finds the footer.
    Trailer(BlockError),
    /// A footer that verifies and says something else than the frames do, or than the checkpoint.
    Disagrees { field: &'static str },
    /// Padding is zeros.
    NotZero { actual: u8 },
    /// What memory and journal hold of the frame that is being written differs from the file.
    NotAsWritten { expected: u8, actual: u8 },
    /// The device does not give the bytes, or did so only when it was asked again.
    Unreadable,
    /// A checkpoint slot no longer holds what was written to it.
    Slot { field: &'static str },
    /// A group of the journal that a checkpoint still needs.
    Group { sequence: u64, field: &'static str },
}

impl fmt::Display for ScrubKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(kind) => write!(f, "{kind}"),
            Self::Header(error) => write!(f, "the segment's header block: {error}"),
            Self::Footer(error) => write!(f, "the segment's footer: {error}"),
            Self::Trailer(error) => write!(f, "the segment's trailer: {error}"),
            Self::Disagrees { field } => write!(f, "the footer's {field} disagrees with the frames"),
            Self::NotZero { actual } => write!(f, "expected padding of zeros, found {actual:02x}"),
            Self::NotAsWritten { expected, actual } => {
                write!(f, "expected the byte {expected:02x} that was written, found {actual:02x}")
            }
            Self::Unreadable => write!(f, "the device failed to read it"),
            Self::Slot { field } => write!(f, "the checkpoint does not verify: {field}"),
            Self::Group { sequence, field } => write!(f, "group {sequence} of the journal does not verify: {field}"),
        }
    }
}

impl fmt::Display for ScrubFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, position {}: {}", self.file.display(), self.position, self.kind)?;
        match &self.lost {
            Some(range) => write!(f, "; offsets {} up to {} are not served", range.from, range.until),
            None => write!(f, "; no record is lost by it"),
        }
    }
}
