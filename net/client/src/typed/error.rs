//! What keeps a record from being one of the type wanted.

use crate::consumer::ConsumeError;
use crate::producer::SendError;
use std::fmt;
use std::sync::Arc;

/// A record that is not of the type its reader wants. The records behind it can be read all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeError {
    pub topic: Arc<str>,
    pub partition: u32,
    pub offset: u64,
    /// Name and fingerprint of the type the reader wants.
    pub expected: (&'static str, u64),
    pub cause: TypeErrorCause,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeErrorCause {
    /// It is of another type, or of the same one with another layout.
    Mismatch { name: String, fingerprint: u64 },
    /// It does not say what it is: nobody wrote it as a typed record.
    Untyped,
    /// It says that it is of the type, and its bytes are not.
    Invalid { text: String },
}

impl fmt::Display for TypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, fingerprint) = self.expected;
        write!(f, "topic {}, partition {}, offset {}: ", self.topic, self.partition, self.offset)?;
        match &self.cause {
            TypeErrorCause::Mismatch { name: found, fingerprint: layout } if found == name => write!(
                f,
                "the record is of type {found} with layout {layout:016x}, this program's {name} has layout {fingerprint:016x}: their fields differ; read it with the declaration it was written with"
            ),
            TypeErrorCause::Mismatch { name: found, fingerprint: layout } => {
                write!(f, "the record is of type {found} (layout {layout:016x}), not {name} (layout {fingerprint:016x})")
            }
            TypeErrorCause::Untyped => write!(
                f,
                "the record names no type, {name} (layout {fingerprint:016x}) was expected; an untyped consumer reads it"
            ),
            TypeErrorCause::Invalid { text } => {
                write!(f, "the record says that it is of type {name} (layout {fingerprint:016x}), but its bytes are not: {text}")
            }
        }
    }
}

impl std::error::Error for TypeError {}

/// Why a typed stream gave no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypedConsumeError {
    /// The partition cannot be read on.
    Consume(ConsumeError),
    /// This record is of another type; the stream goes on behind it.
    Type(TypeError),
}

impl fmt::Display for TypedConsumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Consume(error) => error.fmt(f),
            Self::Type(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TypedConsumeError {}

/// Why a typed record was not taken. Nothing of it was sent.
#[derive(Debug)]
pub enum TypedSendError {
    /// rkyv could not write it.
    Encode {
        text: String,
    },
    Send(SendError),
}

impl fmt::Display for TypedSendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode { text } => write!(f, "the record cannot be written: {text}"),
            Self::Send(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TypedSendError {}

impl From<SendError> for TypedSendError {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}
