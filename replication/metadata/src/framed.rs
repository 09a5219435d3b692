//! What metadata is written and sent as: magic, version, checksum, then the rkyv archive.
//!
//! The first eight bytes mean the same in every version, so that damage is told from a newer version: the checksum
//! is looked at before the version. The expensive mistake is to trust a length from outside: a frame is bounded before it
//! is looked at, and its archive is validated in place before anything is allocated for it.

use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator, to_bytes_in};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Failure;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;

pub const HEADER_LEN: usize = 8;

/// A kind of frame: how it begins, and how long it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameKind {
    pub magic: [u8; 3],
    /// The newest that this build reads.
    pub version: u8,
    /// Header and archive, bytes.
    pub len_max: usize,
}

/// Why bytes are not a frame this build can read, or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramedError {
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

impl fmt::Display for FramedError {
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

impl std::error::Error for FramedError {}

/// `value` as a frame that bears `version`. `len` is a guess that saves copies, bytes.
///
/// # Errors
/// `TooLong`, and nothing else.
pub fn framed_bytes<T>(value: &T, kind: FrameKind, version: u8, len: usize) -> Result<Vec<u8>, FramedError>
where
    T: for<'a> Serialize<HighSerializer<Vec<u8>, ArenaHandle<'a>, Failure>>,
{
    let mut head = Vec::with_capacity(HEADER_LEN + len);
    head.extend_from_slice(&kind.magic);
    head.push(version);
    head.extend_from_slice(&[0; 4]);
    let mut bytes = to_bytes_in::<_, Failure>(value, head)
        .expect("writing to memory fails only beyond the 2 GiB that a relative pointer spans");
    if bytes.len() > kind.len_max {
        return Err(FramedError::TooLong { got: bytes.len(), max: kind.len_max });
    }
    let crc = checksum(&bytes);
    bytes[4..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

/// Reads bytes from disk or from outside. Never allocates more than a small multiple of their length.
pub fn from_framed<T>(bytes: &[u8], kind: FrameKind) -> Result<T, FramedError>
where
    T: Archive,
    T::Archived: for<'a> CheckBytes<HighValidator<'a, Failure>> + Deserialize<T, HighDeserializer<Failure>>,
{
    let archived = rkyv::access::<T::Archived, Failure>(checked_body(bytes, kind)?).map_err(|_| FramedError::Unreadable)?;
    rkyv::deserialize::<T, Failure>(archived).map_err(|_| FramedError::Unreadable)
}

/// What follows the header, once length, magic, checksum and version are good.
fn checked_body(bytes: &[u8], kind: FrameKind) -> Result<&[u8], FramedError> {
    if bytes.len() > kind.len_max {
        return Err(FramedError::TooLong { got: bytes.len(), max: kind.len_max });
    }
    let Some((&[m0, m1, m2, version, c0, c1, c2, c3], body)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return Err(FramedError::Truncated { got: bytes.len() });
    };
    if [m0, m1, m2] != kind.magic {
        return Err(FramedError::Magic { got: [m0, m1, m2], wanted: kind.magic });
    }
    let (expected, actual) = (u32::from_le_bytes([c0, c1, c2, c3]), checksum(bytes));
    if expected != actual {
        return Err(FramedError::Checksum { expected, actual });
    }
    if version > kind.version {
        return Err(FramedError::NewerVersion { got: version, known: kind.version });
    }
    Ok(body)
}

/// CRC-32C of everything but the checksum itself.
///
/// # Panics
/// On less than a header.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..4]), &bytes[HEADER_LEN..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: FrameKind = FrameKind { magic: *b"SLT", version: 3, len_max: 64 };

    #[test]
    fn what_is_longer_than_its_kind_may_be_is_neither_written_nor_read() {
        let fits = framed_bytes(&vec![7u8; 40], KIND, 2, 0).unwrap();
        assert_eq!((&fits[..4], from_framed::<Vec<u8>>(&fits, KIND)), (&b"SLT\x02"[..], Ok(vec![7; 40])));
        let too_long = framed_bytes(&vec![7u8; 60], KIND, 2, 0).unwrap_err();
        assert_eq!(too_long, FramedError::TooLong { got: 8 + 60 + 8, max: 64 });
        let wider = FrameKind { len_max: 100, ..KIND };
        let bytes = framed_bytes(&vec![7u8; 60], wider, 2, 0).unwrap();
        assert_eq!(from_framed::<Vec<u8>>(&bytes, KIND), Err(too_long));
    }
}
