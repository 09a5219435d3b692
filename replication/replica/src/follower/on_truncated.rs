//! The log is cut off, durably, with the tables as of the cut: producers are what the frames that stay make of them.

use super::{Follower, FollowerEffect, FollowerEffects, Phase};
use crate::leader::on_truncate::TruncatedLog;
use sluice_model::Offset;

/// Why the cut is not the one that was wanted. The replica has to be opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TruncatedRefusal {
    /// No cut was wanted.
    NotTruncating,
    /// The log ends elsewhere: above, or below what may have been acknowledged.
    OtherEnd { got: Offset, wanted: Offset },
}

impl Follower {
    /// There is no frame boundary between the log start and the place where it was to be cut off: all of the log goes, and
    /// it begins again where the leader's does. Only a cut that an operator has asked for comes to that.
    pub fn on_cut_below_log_start(&mut self, effects: &mut FollowerEffects) {
        if let (Phase::Truncating { .. }, true) = (self.phase, self.damage_is_declared) {
            let first_offset = Offset::ZERO;
            self.phase = Phase::AskingBeginning { first_offset };
            effects.push(FollowerEffect::AskBeginning { first_offset });
        }
        self.assert_invariants();
    }

    /// The log ends at the frame boundary at or below where it was to be cut off; it goes on fetching from there.
    pub fn on_truncated(&mut self, log: TruncatedLog) -> Result<(), TruncatedRefusal> {
        let Phase::Truncating { end_offset: wanted } = self.phase else { return Err(TruncatedRefusal::NotTruncating) };
        let TruncatedLog { end_offset, last_header_crc, epochs, producers } = log;
        let is_too_low = end_offset < self.high_watermark.min(wanted) && !self.damage_is_declared;
        if end_offset > wanted || is_too_low || end_offset < self.log_start_offset {
            return Err(TruncatedRefusal::OtherEnd { got: end_offset, wanted });
        }
        self.log_end_offset = end_offset;
        self.flushed = self.flushed.min(end_offset);
        self.high_watermark = self.high_watermark.min(end_offset);
        self.last_header_crc = last_header_crc;
        self.epochs = epochs;
        self.producers = producers;
        self.phase = Phase::Fetching;
        self.assert_invariants();
        Ok(())
    }
}

#[cfg(test)]
#[path = "on_truncated_test.rs"]
mod tests;
