//! A leader epoch begins, and this replica follows.
//!
//! Nothing is cut off: where the histories part, the new leader's answer to the first fetch says (KIP-101). To cut off at
//! the high watermark, because what is above may not be committed, is the mistake that loses acknowledged records.

use super::{Follower, Phase};
use sluice_model::{BrokerId, LeaderEpoch};

/// Why a leader is not followed. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaderRefusal {
    /// That leader epoch is over.
    StaleEpoch { got: LeaderEpoch, current: LeaderEpoch },
}

impl Follower {
    /// Follows `leader` (nobody for `None`) under `leader_epoch`. The epoch that it follows already may come again, and
    /// names the leader where it was not known.
    pub fn on_leader(&mut self, leader_epoch: LeaderEpoch, leader: Option<BrokerId>) -> Result<(), LeaderRefusal> {
        let current = self.leader_epoch;
        if leader_epoch < current || leader_epoch == current && self.leader.is_some() && leader != self.leader {
            return Err(LeaderRefusal::StaleEpoch { got: leader_epoch, current });
        }
        let is_new = leader_epoch > current;
        self.leader_epoch = leader_epoch;
        self.leader = leader;
        // Another leader may have what the last one had not. Work on the log that is under way goes to its end.
        if is_new && !self.log_is_in_work() {
            self.phase = Phase::Fetching;
        }
        self.assert_invariants();
        Ok(())
    }
}

#[cfg(test)]
#[path = "on_leader_test.rs"]
mod tests;
