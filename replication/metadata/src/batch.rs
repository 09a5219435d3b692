//! A batch of records as bytes: magic, version, checksum, then the rkyv archive.
//!
//! The first eight bytes mean the same in every version, so that damage is told from a newer version: the checksum
//! is looked at before the version. A batch bears the version of its newest kind of record: what a single broker
//! writes can be read by every build that has read it before.

use crate::record::Record;
use rkyv::rancor::Failure;
use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;

/// The records of one log entry: they take effect together or not at all.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub records: Vec<Record>,
}

/// Largest encoded batch, bytes. All partitions of a largest cluster changed at once stay far below it.
pub const BATCH_LEN_MAX: usize = 64 * 1024 * 1024;
/// Most records of one batch, where a decision may be cut into several: all partitions of a largest topic, and what came
/// with them.
pub const RECORDS_PER_BATCH_MAX: usize = 12_000;
/// Raised with every new variant of [`Record`].
pub const BATCH_VERSION: u8 = 2;

const MAGIC: [u8; 3] = *b"SLM";
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
        wanted: [u8; 3],
    },
    Checksum {
        expected: u32,
        actual: u32,
    },
    NewerVersion {
        got: u8,
        known: u8,
    },
    /// The checksum agrees and the archive is not one: written by a build that breaks the format, or by something else.
    Unreadable,
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { got } => write!(f, "it has {got} bytes, fewer than its header"),
            Self::TooLong { got, max } => write!(f, "it has {got} bytes, more than the {max} allowed"),
            Self::Magic { got, wanted } => write!(f, "it begins with {got:02x?}, not with {wanted:02x?}"),
            Self::Checksum { expected, actual } => write!(f, "its checksum is {actual:08x}, its header says {expected:08x}"),
            Self::NewerVersion { got, known } => {
                write!(f, "it is from a newer version of sluice (metadata format {got}, this program reads up to {known})")
            }
            Self::Unreadable => write!(f, "its checksum is right and its content cannot be read"),
        }
    }
}

impl std::error::Error for BatchError {}

impl Batch {
    /// The records of one decision, in order. All of the batches are appended before the next event is decided.
    #[must_use]
    pub fn split(records: &[Record]) -> Vec<Self> {
        let mut batches = Vec::new();
        Self::extend(&mut batches, records);
        batches
    }

    /// Puts the records of one more decision behind those of earlier ones: into the last batch, as far as that has room,
    /// and into further ones, of at most `RECORDS_PER_BATCH_MAX` each. Rules order their records such that every beginning
    /// of them keeps the invariants, so a controller that dies in between leaves something to be done and nothing to be
    /// undone: its successor decides the same event again. A registration stays whole, because the shards of a broker and
    /// what lies on them change together.
    pub fn extend(batches: &mut Vec<Self>, mut records: &[Record]) {
        let registers = |r: &Record| matches!(r, Record::BrokerRegistered(_) | Record::BrokerIncarnationRegistered(_));
        let room = batches.last().map_or(0, |last| RECORDS_PER_BATCH_MAX.saturating_sub(last.records.len()));
        if records.len() > room && records.iter().any(registers) {
            return batches.push(Self { records: records.to_vec() });
        }
        if let Some(last) = batches.last_mut() {
            let (now, later) = records.split_at(records.len().min(room));
            last.records.extend_from_slice(now);
            records = later;
        }
        batches.extend(records.chunks(RECORDS_PER_BATCH_MAX).map(|records| Self { records: records.to_vec() }));
    }

    /// The lowest that every build with all of its kinds of records reads.
    fn version(&self) -> u8 {
        self.records.iter().map(Record::version).max().unwrap_or(1)
    }

    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(HEADER_LEN + 128 * self.records.len());
        head.extend_from_slice(&MAGIC);
        head.push(self.version());
        head.extend_from_slice(&[0; 4]);
        let mut bytes = rkyv::api::high::to_bytes_in::<_, Failure>(self, head)
            .expect("writing to memory fails only beyond the 2 GiB that a relative pointer spans");
        assert!(bytes.len() <= BATCH_LEN_MAX, "a batch of {} records has {} bytes", self.records.len(), bytes.len());
        let crc = checksum(&bytes);
        bytes[4..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads bytes from disk or from outside. Never allocates more than a small multiple of their length.
    pub fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        let body = checked_body(bytes, MAGIC, BATCH_VERSION, BATCH_LEN_MAX)?;
        let archived = rkyv::access::<ArchivedBatch, Failure>(body).map_err(|_| BatchError::Unreadable)?;
        rkyv::deserialize::<Self, Failure>(archived).map_err(|_| BatchError::Unreadable)
    }
}

/// What follows the header, once length, magic, checksum and version are good. Snapshots have the same header.
pub(crate) fn checked_body(bytes: &[u8], magic: [u8; 3], known: u8, len_max: usize) -> Result<&[u8], BatchError> {
    if bytes.len() > len_max {
        return Err(BatchError::TooLong { got: bytes.len(), max: len_max });
    }
    let Some((&[m0, m1, m2, version, c0, c1, c2, c3], body)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return Err(BatchError::Truncated { got: bytes.len() });
    };
    if [m0, m1, m2] != magic {
        return Err(BatchError::Magic { got: [m0, m1, m2], wanted: magic });
    }
    let (expected, actual) = (u32::from_le_bytes([c0, c1, c2, c3]), checksum(bytes));
    if expected != actual {
        return Err(BatchError::Checksum { expected, actual });
    }
    if version > known {
        return Err(BatchError::NewerVersion { got: version, known });
    }
    Ok(body)
}

/// CRC-32C of everything but the checksum itself.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..4]), &bytes[HEADER_LEN..])
}

#[cfg(test)]
#[path = "batch_test.rs"]
mod tests;
