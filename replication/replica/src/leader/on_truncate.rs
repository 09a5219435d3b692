//! The log is cut off below its end: what was promised above the cut can be promised no more, and what is appended
//! from now on stands under a new leader epoch.
//!
//! The expensive mistake is to acknowledge a batch that is gone, because a flush that was under way reports later:
//! nothing that waits for more than the cut is left waiting.

use super::Leader;
use sluice_model::{LeaderEpoch, LeaderEpochHistory, Offset, ProducerTable};

/// The log of a leader or follower as it is once it is truncated.
#[derive(Clone, Debug)]
pub struct TruncatedLog {
    pub end_offset: Offset,
    /// `header_crc` of the last frame that stays, 0 for none.
    pub last_header_crc: u32,
    /// As of the cut.
    pub epochs: LeaderEpochHistory,
    /// As of the cut.
    pub producers: ProducerTable,
}

impl Leader {
    /// The log ends at `log.end_offset` now, and goes on under `leader_epoch`, greater than any so far. Gives back the tokens of produces that waited for more than that: of
    /// them nobody can say whether they were ever durable.
    pub fn on_truncate(&mut self, leader_epoch: LeaderEpoch, log: TruncatedLog) -> Vec<u64> {
        let TruncatedLog { end_offset, last_header_crc, epochs, producers } = log;
        assert!(
            leader_epoch > self.leader_epoch && end_offset <= self.log_end_offset,
            "{}: truncated to {end_offset} under epoch {leader_epoch}, ends at {} under epoch {}",
            self.id,
            self.log_end_offset,
            self.leader_epoch
        );
        self.local_flushed = self.local_flushed.min(end_offset);
        self.log_end_offset = end_offset;
        self.last_header_crc = last_header_crc;
        self.high_watermark = self.high_watermark.min(end_offset);
        self.epochs = epochs;
        self.producers = producers;
        self.begin_epoch(leader_epoch);
        let lost = self.pending.drain_above(end_offset);
        self.assert_invariants();
        lost
    }

    /// Nothing had to be cut off; what is appended from now on stands under this epoch, greater than any so far.
    pub fn on_leader_epoch(&mut self, leader_epoch: LeaderEpoch) {
        assert!(leader_epoch > self.leader_epoch, "{}: epoch {leader_epoch} after {}", self.id, self.leader_epoch);
        self.begin_epoch(leader_epoch);
        self.assert_invariants();
    }
}

#[cfg(test)]
#[path = "on_truncate_test.rs"]
mod tests;
