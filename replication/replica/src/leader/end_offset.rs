//! Where the log ends, for those who read it.
//!
//! A new leader may know a smaller high watermark than the one before it did; an end told from that would go backward
//! for whoever asked both (KIP-207). So it is told only once the high watermark has reached the start of the epoch.

use super::{Leader, NotLeading};
use sluice_model::{LeaderEpoch, Offset};
use std::fmt;

/// Why no end offset is told. The same question has an answer later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndOffsetRefusal {
    NotLeading(NotLeading),
    /// The high watermark has not reached the start of this leader epoch yet.
    NotCaughtUp {
        high_watermark: Offset,
        epoch_start_offset: Offset,
    },
}

impl fmt::Display for EndOffsetRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeading(_) => write!(f, "this broker does not lead the partition now"),
            Self::NotCaughtUp { high_watermark, epoch_start_offset } => write!(
                f,
                "the new leader knows records below {high_watermark} to be committed and has to know those below {epoch_start_offset}"
            ),
        }
    }
}

impl Leader {
    /// The end of what consumers may read.
    pub fn end_offset(&self) -> Result<Offset, EndOffsetRefusal> {
        if let Some(reason) = self.not_leading() {
            return Err(EndOffsetRefusal::NotLeading(reason));
        }
        let (high_watermark, epoch_start_offset) = (self.high_watermark, self.epoch_start_offset);
        if high_watermark < epoch_start_offset {
            return Err(EndOffsetRefusal::NotCaughtUp { high_watermark, epoch_start_offset });
        }
        Ok(high_watermark)
    }

    /// The greatest leader epoch that is not above `epoch`, and where it ended in this log: a consumer that has read
    /// beyond it has read what was taken back (KIP-320). `None` when this log has none as old.
    #[must_use]
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.epochs.floor(epoch, self.log_end_offset)
    }
}

#[cfg(test)]
#[path = "end_offset_test.rs"]
mod tests;
