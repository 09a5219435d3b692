//! What keeps a consumer from going on in a partition, and how to go on.

use crate::error::ClientError;
use std::fmt;
use std::sync::Arc;

/// A partition that cannot be read on. It stands still until `seek` or `skip_past`; the others go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumeError {
    pub topic: Arc<str>,
    pub partition: u32,
    pub cause: ConsumeCause,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumeCause {
    /// The log begins at `start` and its last readable record is before `end`.
    OffsetOutOfRange { offset: u64, start: u64, end: u64 },
    /// The broker knows that these records are damaged and does not serve them.
    Damaged { first: u64, last: u64 },
    /// The bytes of this batch are not what its checksum or its header says.
    BadBatch { first: u64, last: u64, text: String },
    /// What came at this offset is no frame.
    BadFrame { offset: u64, text: String },
    /// The next record is not the next one.
    Gap { expected: u64, got: u64 },
    /// A batch that is longer than any answer may be.
    TooLarge { offset: u64, len: u64 },
    /// Anything else that does not go away by itself.
    Client(ClientError),
}

impl ConsumeError {
    /// The last offset to step over with `skip_past`, when stepping over helps.
    #[must_use]
    pub fn skippable(&self) -> Option<u64> {
        match &self.cause {
            ConsumeCause::Damaged { last, .. } | ConsumeCause::BadBatch { last, .. } => Some(*last),
            ConsumeCause::Gap { got, .. } => got.checked_sub(1),
            _ => None,
        }
    }
}

impl fmt::Display for ConsumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic {}, partition {}: ", self.topic, self.partition)?;
        match &self.cause {
            ConsumeCause::OffsetOutOfRange { offset, start, end } => write!(
                f,
                "offset {offset} is out of range, the log has {start} to {end}; seek into it, or choose the reset policy earliest or latest"
            ),
            ConsumeCause::Damaged { first, last } => {
                write!(
                    f,
                    "offsets {first} to {last} are damaged on the broker and not served; skip_past({last}) steps over them, `sluice log accept-loss` on the stopped broker accepts their loss"
                )
            }
            ConsumeCause::BadBatch { first, last, text } => {
                write!(f, "the batch of offsets {first} to {last} cannot be read: {text}; skip_past({last}) steps over it")
            }
            ConsumeCause::BadFrame { offset, text } => write!(
                f,
                "what the broker sent at offset {offset} is no good frame: {text}; seek to {offset} fetches it again, `sluice log verify` looks at the broker's copy"
            ),
            ConsumeCause::Gap { expected, got } => {
                write!(
                    f,
                    "offset {expected} was asked for and {got} came, those between are missing; seek to {got} goes on there"
                )
            }
            ConsumeCause::TooLarge { offset, len } => {
                write!(f, "the batch at offset {offset} has {len} bytes, more than an answer may have")
            }
            ConsumeCause::Client(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ConsumeError {}
