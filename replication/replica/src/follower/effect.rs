//! What a follower wants done, as values, in the order they are to be executed.

use sluice_model::{FrameHeader, Offset};
use std::fmt;

/// Why a follower has stopped. It keeps all that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The leader's history parts from this one below what may have been acknowledged.
    DivergesBelowHighWatermark { end_offset: Offset, high_watermark: Offset },
    /// Frames below this offset differ under the same leader epochs: one of the two logs is damaged.
    ChainMismatch { offset: Offset },
    /// The leader names no place below the log end where the histories part.
    NoProgress { end_offset: Offset },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DivergesBelowHighWatermark { end_offset, high_watermark } => write!(
                f,
                "the leader has other records from offset {end_offset} on, and here those below {high_watermark} are known to be \
                 committed; declare the damage to give them up"
            ),
            Self::ChainMismatch { offset } => {
                write!(f, "the frames below offset {offset} differ from the leader's: one of the two logs is damaged")
            }
            Self::NoProgress { end_offset } => {
                write!(f, "the leader says that the histories part at {end_offset}, which is not below the end of this log")
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum FollowerEffect {
    /// Append the frame of this header unchanged to log and journal.
    Append { header: FrameHeader },
    /// Records may be read up to here.
    HighWatermarkMoved { high_watermark: Offset },
    /// The log begins here now; what is below may be deleted.
    LogStartMoved { log_start_offset: Offset },
    /// Cut the log off here, durably, then call `on_truncated`.
    Truncate { end_offset: Offset },
    /// Ask the leader for its producer state and leader epochs as of its first frame, then call `on_beginning`.
    AskBeginning { first_offset: Offset },
    /// Replace the log by an empty one that begins here, durably, then call `on_replaced`.
    Replace { first_offset: Offset },
    /// Tell whoever looks after the broker.
    Report { trouble: Trouble },
}

impl PartialEq for FollowerEffect {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Append { header: a }, Self::Append { header: b }) => a.as_bytes() == b.as_bytes(),
            (Self::HighWatermarkMoved { high_watermark: a }, Self::HighWatermarkMoved { high_watermark: b })
            | (Self::LogStartMoved { log_start_offset: a }, Self::LogStartMoved { log_start_offset: b })
            | (Self::Truncate { end_offset: a }, Self::Truncate { end_offset: b })
            | (Self::AskBeginning { first_offset: a }, Self::AskBeginning { first_offset: b })
            | (Self::Replace { first_offset: a }, Self::Replace { first_offset: b }) => a == b,
            (Self::Report { trouble: a }, Self::Report { trouble: b }) => a == b,
            _ => false,
        }
    }
}

/// Effects of one event, in the order they are to be executed.
pub type FollowerEffects = Vec<FollowerEffect>;
