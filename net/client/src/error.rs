//! What can go wrong for a client, said so that one knows what to do.

use sluice_model::{ErrorCode, Outcome};
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    InvalidSetting {
        setting: &'static str,
        text: String,
    },
    /// An address that cannot be one.
    InvalidAddress {
        address: String,
        text: String,
    },
    /// Every address was tried; what each said.
    Unreachable {
        tried: Vec<(String, String)>,
    },
    /// The broker answered with an error.
    Broker {
        code: ErrorCode,
        text: String,
    },
    /// The connection ended, or no answer came in time; whether the request was carried out is not known.
    Lost {
        address: String,
        text: String,
    },
    /// The peer does not speak this protocol, or not this request.
    Protocol {
        address: String,
        text: String,
    },
    /// A partition has no leader now.
    NoLeader {
        topic: String,
        partition: u32,
    },
    /// The producer or consumer was closed.
    Closed,
}

impl ClientError {
    /// The broker's code, when it was the broker who said no.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The broker says that it did nothing.
    pub(crate) fn is_refusal(&self) -> bool {
        self.code().is_some_and(|code| code.outcome() == Outcome::Refused)
    }

    /// The same may succeed when tried again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        use sluice_model::error_code::Retry;
        match self {
            Self::Broker { code, .. } => code.retry() != Retry::Never,
            Self::Unreachable { .. } | Self::Lost { .. } | Self::NoLeader { .. } => true,
            _ => false,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidSetting { setting, text } => write!(f, "setting {setting}: {text}"),
            Self::InvalidAddress { address, text } => {
                write!(f, "{address:?} is not a broker address: {text}; write HOST:PORT, for example 127.0.0.1:7400")
            }
            Self::Unreachable { tried } => {
                write!(f, "cannot reach any of the brokers:")?;
                tried.iter().try_for_each(|(address, text)| write!(f, " {address} ({text})"))?;
                write!(f, "; is a broker running there, and are address and port those it advertises?")
            }
            Self::Broker { code, text } if text.is_empty() => write!(f, "the broker answered {code:?}"),
            Self::Broker { code, text } => write!(f, "the broker answered {code:?}: {text}"),
            Self::Lost { address, text } => {
                write!(
                    f,
                    "the connection to {address} was lost before the answer came ({text}); the request may have been carried out"
                )
            }
            Self::Protocol { address, text } => write!(f, "{address}: {text}"),
            Self::NoLeader { topic, partition } => {
                write!(
                    f,
                    "partition {partition} of topic {topic} has no leader now; it gets one when a broker that holds it is up"
                )
            }
            Self::Closed => write!(f, "it was closed"),
        }
    }
}

impl std::error::Error for ClientError {}

/// The broker's `error` and `text` of an answer as a result.
pub(crate) fn check(error: u16, text: impl Into<String>) -> Result<(), ClientError> {
    match code_of(error) {
        ErrorCode::None => Ok(()),
        code => Err(ClientError::Broker { code, text: text.into() }),
    }
}

/// A code of a newer broker that this client does not know says as little as `Internal`.
pub(crate) fn code_of(error: u16) -> ErrorCode {
    ErrorCode::from_u16(error).unwrap_or(ErrorCode::Internal)
}
