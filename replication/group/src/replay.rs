//! A coordinator's log read from its start to its end, by whoever leads it next.
//!
//! The expensive mistake is to begin in the middle, with groups and offsets missing that were acknowledged: a log that
//! does not begin at offset 0 begins with a whole snapshot, or it is refused.

use crate::batch::Batch;
use crate::image::{ApplyError, Image};
use crate::record::Record;
use sluice_model::Offset;
use std::fmt;

#[derive(Debug)]
pub struct Replay {
    image: Image,
    start: Start,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// At offset 0: everything is in the log.
    Whole,
    /// Before a snapshot.
    Expected(Offset),
    /// Within one.
    Begun(Offset),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayError {
    Apply(ApplyError),
    /// The log begins in the middle, and not with a whole snapshot.
    NoSnapshot {
        log_start: Offset,
    },
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apply(error) => write!(f, "the log of the groups is not one that sluice wrote: {error}"),
            Self::NoSnapshot { log_start } => {
                write!(f, "the log of the groups begins at offset {log_start} without a whole snapshot: something is missing")
            }
        }
    }
}

impl std::error::Error for ReplayError {}

impl Replay {
    #[must_use]
    pub fn new(log_start: Offset) -> Self {
        let start = if log_start == Offset::ZERO { Start::Whole } else { Start::Expected(log_start) };
        Self { image: Image::default(), start }
    }

    /// The next batch of the log. After an error the replay is good for nothing.
    pub fn on_batch(&mut self, batch: &Batch) -> Result<(), ReplayError> {
        if let Start::Expected(log_start) = self.start {
            if !matches!(batch.records.first(), Some(Record::SnapshotBegun(_))) {
                return Err(ReplayError::NoSnapshot { log_start });
            }
            self.start = Start::Begun(log_start);
        }
        self.image.apply_batch(batch).map_err(ReplayError::Apply)?;
        if batch.records.iter().any(|record| matches!(record, Record::SnapshotEnded(_))) {
            self.start = Start::Whole;
        }
        Ok(())
    }

    /// The log has ended.
    pub fn finish(self) -> Result<Image, ReplayError> {
        match self.start {
            Start::Whole => Ok(self.image),
            Start::Expected(log_start) | Start::Begun(log_start) => Err(ReplayError::NoSnapshot { log_start }),
        }
    }
}

#[cfg(test)]
#[path = "replay_test.rs"]
mod tests;
