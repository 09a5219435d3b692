//! What became of a record, or of the batch it was in.

use sluice_model::ErrorCode;
use sluice_protocol::Durability;
use std::fmt;
use std::sync::Arc;

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// `base_offset` is `None` when the broker knows that it is written but no longer where.
    Acknowledged {
        base_offset: Option<u64>,
        append_time_ms: i64,
        durability: Durability,
    },
    Refused {
        reason: Reason,
        text: String,
        retry_after_ms: u32,
    },
    Unknown {
        reason: Reason,
        text: String,
    },
}

impl Settlement {
    pub(crate) fn given_up(maybe_written: bool, reason: Reason, text: String, retry_after_ms: u32) -> Self {
        match maybe_written {
            true => Self::Unknown { reason, text },
            false => Self::Refused { reason, text, retry_after_ms },
        }
    }
}

/// Who gave up, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The broker's answer.
    Broker(ErrorCode),
    /// `delivery_timeout_ms` passed.
    DeliveryTimeout,
    /// The producer was closed or dropped.
    Closed,
    /// The client could not make a frame of the batch.
    Client,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(code) => write!(f, "{code:?}"),
            Self::DeliveryTimeout => write!(f, "delivery timeout"),
            Self::Closed => write!(f, "producer closed"),
            Self::Client => write!(f, "client"),
        }
    }
}

/// What became of a record. The three are all there is, and each is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Written, and as durable as `durability` says.
    Acknowledged(Acknowledgement),
    /// Certainly not written; it may be sent again without becoming a duplicate.
    Refused(Failure),
    /// It may or may not be written, and the delivery timeout leaves no time to find out. Sent again, it may be
    /// there twice.
    Unknown(Failure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    pub partition: u32,
    /// `None` with `acks` none, and for a retry of a batch so old that the broker no longer knows where it is.
    pub offset: Option<u64>,
    pub durability: Durability,
    /// How often the broker refused the record's batch before it was acknowledged; 0 when it was admitted at once.
    pub refusal_count: u32,
    /// The broker's clock at the append, milliseconds since 1970; 0 with `acks` none.
    pub append_time_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub partition: u32,
    pub reason: Reason,
    pub text: Arc<str>,
    /// Of a record that was refused: when the broker's last answer said it may be offered again, milliseconds after that
    /// answer; 0 when it named no time, and when it never answered.
    pub retry_after_ms: u32,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {}: {}: {}", self.partition, self.reason, self.text)
    }
}

impl Delivery {
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        matches!(self, Self::Acknowledged(_))
    }

    /// The acknowledgement, or the whole as an error.
    pub fn acknowledged(self) -> Result<Acknowledgement, DeliveryError> {
        match self {
            Self::Acknowledged(ack) => Ok(ack),
            Self::Refused(failure) => Err(DeliveryError::Refused(failure)),
            Self::Unknown(failure) => Err(DeliveryError::Unknown(failure)),
        }
    }
}

/// A record that was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryError {
    Refused(Failure),
    Unknown(Failure),
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(failure) => write!(f, "refused, certainly not written: {failure}"),
            Self::Unknown(failure) => write!(f, "unknown, may be written: {failure}"),
        }
    }
}

impl std::error::Error for DeliveryError {}
