//! A batch of records as bytes: magic, version, length of all, then the rkyv archive.
//!
//! It is the value of the one record of a frame, whose checksums cover it; there is none of its own. The first eight
//! bytes mean the same in every version.

use crate::limits::BATCH_LEN_MAX;
use crate::record::Record;
use rkyv::rancor::Failure;
use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;

/// The records of one decision: they take effect together or not at all.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub records: Vec<Record>,
}

/// Raised with every new variant of [`Record`]. From version 2 on a batch has to bear the version of its newest kind of
/// record, so that what an older build can read it can go on reading; all of today's are of version 1.
pub const BATCH_VERSION: u8 = 1;

const MAGIC: [u8; 3] = *b"SLG";
const HEADER_LEN: usize = 8;

/// Why bytes are not a batch this build can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchError {
    Truncated {
        got: usize,
    },
    TooLong {
        got: usize,
        max: usize,
    },
    Magic {
        got: [u8; 3],
    },
    NewerVersion {
        got: u8,
        known: u8,
    },
    /// Written by a build that breaks the format, or by something else.
    Unreadable,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { got } => write!(f, "it has {got} bytes, fewer than its header"),
            Self::TooLong { got, max } => write!(f, "it has {got} bytes, more than the {max} allowed"),
            Self::Magic { got } => write!(f, "it begins with {got:02x?}, not with {MAGIC:02x?}"),
            Self::NewerVersion { got, known } => {
                write!(f, "it is from a newer version of sluice (group format {got}, this program reads up to {known})")
            }
            Self::Unreadable => write!(f, "its content cannot be read"),
        }
    }
}

impl std::error::Error for BatchError {}

impl Batch {
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(HEADER_LEN + 128 * self.records.len());
        head.extend_from_slice(&MAGIC);
        head.push(BATCH_VERSION);
        head.extend_from_slice(&[0; 4]);
        let mut bytes = rkyv::api::high::to_bytes_in::<_, Failure>(self, head)
            .expect("writing to memory fails only beyond the 2 GiB that a relative pointer spans");
        assert!(bytes.len() <= BATCH_LEN_MAX, "a batch of {} records has {} bytes", self.records.len(), bytes.len());
        let len = u32::try_from(bytes.len()).expect("BATCH_LEN_MAX fits");
        bytes[4..HEADER_LEN].copy_from_slice(&len.to_le_bytes());
        bytes
    }

    /// Reads bytes from a log. Never allocates more than a small multiple of their length.
    pub fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        if bytes.len() > BATCH_LEN_MAX {
            return Err(BatchError::TooLong { got: bytes.len(), max: BATCH_LEN_MAX });
        }
        let Some((&[m0, m1, m2, version, l0, l1, l2, l3], body)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return Err(BatchError::Truncated { got: bytes.len() });
        };
        if [m0, m1, m2] != MAGIC {
            return Err(BatchError::Magic { got: [m0, m1, m2] });
        }
        if version > BATCH_VERSION {
            return Err(BatchError::NewerVersion { got: version, known: BATCH_VERSION });
        }
        if usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])) != Ok(bytes.len()) {
            return Err(BatchError::Unreadable);
        }
        let archived = rkyv::access::<ArchivedBatch, Failure>(body).map_err(|_| BatchError::Unreadable)?;
        rkyv::deserialize::<Self, Failure>(archived).map_err(|_| BatchError::Unreadable)
    }
}

#[cfg(test)]
#[path = "batch_test.rs"]
mod tests;
