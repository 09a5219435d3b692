//! Encoding and validated reading of message bodies.
//!
//! Reading never allocates more than the body it is given: rkyv's validation refuses archives whose parts overlap
//! or point outside, so what [`decode`] builds is bounded by the body's own length.

use crate::api::Api;
use crate::prefix::{PREFIX_LEN, Prefix};
use bytes::BytesMut;
use rkyv::api::high::{HighDeserializer, HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Failure;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::ser::{Positional, Writer};
use rkyv::{Archive, Deserialize, Portable, Serialize};
use sluice_model::limits::{MESSAGE_BODY_LEN_MAX, MESSAGE_LEN_MAX};
use std::fmt;

/// The body of a request or an answer.
pub trait Message:
    Sized
    + Archive<Archived: Portable + for<'a> CheckBytes<HighValidator<'a, Failure>> + Deserialize<Self, HighDeserializer<Failure>>>
    + for<'a> Serialize<HighSerializer<Body, ArenaHandle<'a>, Failure>>
{
    const API: Api;
    /// What it is called in errors.
    const NAME: &'static str;

    /// Checks counts and lengths that the type alone does not bound.
    fn check(archived: &Self::Archived) -> Result<(), Malformed>;
}

/// A request and the type of its answer.
pub trait Request: Message {
    type Answer: Message;
}

/// Why a body is not the message it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Not a valid archive of this type.
    Body {
        message: &'static str,
    },
    /// More entries, or a longer text, than the limit.
    TooMany {
        what: &'static str,
        count: usize,
        max: usize,
    },
    /// The frames do not have the lengths the body names.
    Frames {
        named: u64,
        got: usize,
    },
    Value {
        what: &'static str,
        got: u64,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body { message } => write!(f, "the body is not a valid {message}"),
            Self::TooMany { what, count, max } => write!(f, "{count} {what}, at most {max} are allowed"),
            Self::Frames { named, got } => write!(f, "the body names {named} bytes of frames, {got} follow it"),
            Self::Value { what, got } => write!(f, "{got} is not a valid {what}"),
        }
    }
}

impl std::error::Error for Malformed {}

/// A message that would be longer than a peer may accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeError {
    pub message: &'static str,
    pub len: usize,
    pub max: usize,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {} of {} bytes is longer than the {} allowed; name fewer things in it", self.message, self.len, self.max)
    }
}

impl std::error::Error for EncodeError {}

/// Prefix and body in one buffer; the sender lets `frames_len` bytes of frames follow.
pub fn encode<M: Message>(correlation_id: u32, version: u16, message: &M, frames_len: usize) -> Result<BytesMut, EncodeError> {
    let mut buffer = BytesMut::with_capacity(PREFIX_LEN + size_of::<M::Archived>() + 112);
    buffer.extend_from_slice(&[0; PREFIX_LEN]);
    let too_long = |len, max| EncodeError { message: M::NAME, len, max };
    let mut buffer = rkyv::api::high::to_bytes_in::<_, Failure>(message, Body(buffer))
        .map_err(|_| too_long(MESSAGE_BODY_LEN_MAX + 1, MESSAGE_BODY_LEN_MAX))?
        .0;
    let prefix = Prefix { api: M::API.number(), version, correlation_id, body_len: buffer.len() - PREFIX_LEN, frames_len };
    if prefix.body_len > MESSAGE_BODY_LEN_MAX {
        return Err(too_long(prefix.body_len, MESSAGE_BODY_LEN_MAX));
    }
    if frames_len > MESSAGE_LEN_MAX || prefix.message_len() > MESSAGE_LEN_MAX {
        return Err(too_long(frames_len.saturating_add(buffer.len()), MESSAGE_LEN_MAX));
    }
    buffer[..PREFIX_LEN].copy_from_slice(&prefix.to_bytes());
    Ok(buffer)
}

/// The message in `body`, read in place.
pub fn access<M: Message>(body: &[u8]) -> Result<&M::Archived, Malformed> {
    let archived = rkyv::access::<M::Archived, Failure>(body).map_err(|_| Malformed::Body { message: M::NAME })?;
    M::check(archived)?;
    Ok(archived)
}

/// The message in `body`, copied out.
pub fn decode<M: Message>(body: &[u8]) -> Result<M, Malformed> {
    rkyv::deserialize::<M, Failure>(access::<M>(body)?).map_err(|_| Malformed::Body { message: M::NAME })
}

/// The buffer a message is written into, after the place of its prefix. Stops growing at the largest body.
#[derive(Debug)]
pub struct Body(BytesMut);

impl Positional for Body {
    fn pos(&self) -> usize {
        self.0.len() - PREFIX_LEN
    }
}

impl Writer<Failure> for Body {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.pos() + bytes.len() > MESSAGE_BODY_LEN_MAX {
            return Err(Failure);
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Shared by the `check` of the messages.
pub(crate) fn at_most(what: &'static str, count: usize, max: usize) -> Result<(), Malformed> {
    if count > max { Err(Malformed::TooMany { what, count, max }) } else { Ok(()) }
}
