//! The 16 bytes before every message. Nothing is allocated for a message before they were checked here.

use crate::api::Api;
use sluice_model::limits::{MESSAGE_BODY_LEN_MAX, MESSAGE_LEN_MAX};
use std::fmt;

/// `u32 length | u16 api | u16 version | u32 correlation_id | u32 body_length`.
pub const PREFIX_LEN: usize = 16;
/// What `length` counts of the prefix itself: everything after its own four bytes.
const COUNTED_PREFIX_LEN: usize = PREFIX_LEN - 4;

const _: () = assert!(MESSAGE_LEN_MAX <= u32::MAX as usize && MESSAGE_BODY_LEN_MAX + PREFIX_LEN < MESSAGE_LEN_MAX);

/// A checked prefix: the whole message is at most `MESSAGE_LEN_MAX` bytes and its body at most
/// `MESSAGE_BODY_LEN_MAX`. The api number may still be unknown; such a request is refused, its connection kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    pub api: u16,
    pub version: u16,
    pub correlation_id: u32,
    pub body_len: usize,
    /// Bytes of frames after the body.
    pub frames_len: usize,
}

/// Why 16 bytes are not the beginning of a message. The stream cannot be read on: close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixError {
    /// `length` is shorter than the rest of the prefix and the body it names.
    TooShort {
        length: u32,
        body_length: u32,
    },
    MessageTooLong {
        length: u32,
        max: usize,
    },
    BodyTooLong {
        body_length: u32,
        max: usize,
    },
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { length, body_length } => {
                write!(
                    f,
                    "message of length {length} is too short for its prefix and a body of {body_length} bytes; is the peer speaking this protocol?"
                )
            }
            Self::MessageTooLong { length, max } => {
                write!(f, "message of length {length} is longer than the {max} allowed; is the peer speaking this protocol?")
            }
            Self::BodyTooLong { body_length, max } => {
                write!(f, "message body of {body_length} bytes is longer than the {max} allowed")
            }
        }
    }
}

impl std::error::Error for PrefixError {}

impl Prefix {
    /// Reads the first bytes of a message and checks every length in them.
    pub fn parse(bytes: &[u8; PREFIX_LEN]) -> Result<Self, PrefixError> {
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let (length, body_length) = (u32_at(0), u32_at(12));
        if length as usize > MESSAGE_LEN_MAX - 4 {
            return Err(PrefixError::MessageTooLong { length, max: MESSAGE_LEN_MAX - 4 });
        }
        if body_length as usize > MESSAGE_BODY_LEN_MAX {
            return Err(PrefixError::BodyTooLong { body_length, max: MESSAGE_BODY_LEN_MAX });
        }
        let frames_len = (length as usize)
            .checked_sub(COUNTED_PREFIX_LEN + body_length as usize)
            .ok_or(PrefixError::TooShort { length, body_length })?;
        Ok(Self { api: u16_at(4), version: u16_at(6), correlation_id: u32_at(8), body_len: body_length as usize, frames_len })
    }

    /// The bytes of this prefix. Lengths must be within the limits (they are in any parsed or encoded prefix).
    #[must_use]
    pub fn to_bytes(&self) -> [u8; PREFIX_LEN] {
        assert!(self.body_len <= MESSAGE_BODY_LEN_MAX && self.message_len() <= MESSAGE_LEN_MAX, "prefix out of bounds: {self:?}");
        let mut bytes = [0; PREFIX_LEN];
        let length = (COUNTED_PREFIX_LEN + self.rest_len()) as u32;
        bytes[0..4].copy_from_slice(&length.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.api.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.version.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.correlation_id.to_le_bytes());
        bytes[12..16].copy_from_slice(&(self.body_len as u32).to_le_bytes());
        bytes
    }

    /// The api, when this program knows it.
    #[must_use]
    pub fn api(&self) -> Option<Api> {
        Api::from_u16(self.api)
    }

    /// Bytes after the prefix: body and frames.
    #[must_use]
    pub fn rest_len(&self) -> usize {
        self.body_len + self.frames_len
    }

    /// Bytes of the whole message.
    #[must_use]
    pub fn message_len(&self) -> usize {
        PREFIX_LEN + self.rest_len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: u32, body_length: u32) -> [u8; PREFIX_LEN] {
        let mut bytes = [0; PREFIX_LEN];
        bytes[0..4].copy_from_slice(&length.to_le_bytes());
        bytes[12..16].copy_from_slice(&body_length.to_le_bytes());
        bytes
    }

    #[test]
    fn lengths_out_of_bounds_are_refused() {
        let body_max = MESSAGE_BODY_LEN_MAX as u32;
        let message_max = (MESSAGE_LEN_MAX - 4) as u32;
        let table = [
            (bytes(0, 0), Err(PrefixError::TooShort { length: 0, body_length: 0 })),
            (bytes(11, 0), Err(PrefixError::TooShort { length: 11, body_length: 0 })),
            (bytes(12, 0), Ok(0)),
            (bytes(12, 1), Err(PrefixError::TooShort { length: 12, body_length: 1 })),
            (bytes(20, 8), Ok(0)),
            (bytes(21, 8), Ok(1)),
            (bytes(u32::MAX, 0), Err(PrefixError::MessageTooLong { length: u32::MAX, max: MESSAGE_LEN_MAX - 4 })),
            (bytes(message_max, 0), Ok(MESSAGE_LEN_MAX - PREFIX_LEN)),
            (bytes(message_max + 1, 0), Err(PrefixError::MessageTooLong { length: message_max + 1, max: MESSAGE_LEN_MAX - 4 })),
            (
                bytes(message_max, body_max + 1),
                Err(PrefixError::BodyTooLong { body_length: body_max + 1, max: MESSAGE_BODY_LEN_MAX }),
            ),
            (bytes(12, u32::MAX), Err(PrefixError::BodyTooLong { body_length: u32::MAX, max: MESSAGE_BODY_LEN_MAX })),
        ];
        for (bytes, expected) in table {
            assert_eq!(Prefix::parse(&bytes).map(|p| p.frames_len), expected);
        }
    }

    #[test]
    fn a_prefix_reads_back() {
        let prefix = Prefix { api: 2, version: 3, correlation_id: 0xfeed_f00d, body_len: 77, frames_len: 4096 };
        assert_eq!(Prefix::parse(&prefix.to_bytes()), Ok(prefix));
    }
}
