//! The leader says where its history parts from this one: what is here beyond that place is cut off (KIP-101, KIP-320).
//!
//! It was never committed, because a leader has all that was. Where the place lies below the high watermark, that is not
//! so: somebody has elected a replica that was not in sync, or a log is damaged. Then nothing is cut off before the damage
//! is declared, and it is reported.

use super::{Follower, FollowerEffect, FollowerEffects, Phase, Trouble};
use sluice_model::{LeaderEpoch, Offset};

/// What the leader answers to a fetch from a history that is not its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diverging {
    /// The leader epoch and the offset that the fetch named.
    pub leader_epoch: LeaderEpoch,
    pub fetch_offset: Offset,
    /// The greatest of the leader's epochs that is not above that of the follower's last frame; `None` when all are.
    pub epoch: Option<LeaderEpoch>,
    /// Where it ended on the leader.
    pub end_offset: Offset,
}

impl Follower {
    /// Wants the log cut off where the histories part. An answer to another fetch changes nothing: `false`.
    pub fn on_diverging(&mut self, answer: Diverging, effects: &mut FollowerEffects) -> bool {
        let is_current = self.phase == Phase::Fetching
            && self.leader.is_some()
            && answer.leader_epoch == self.leader_epoch
            && answer.fetch_offset == self.log_end_offset;
        if !is_current {
            return false;
        }
        let end_offset = self.common_end(answer.epoch, answer.end_offset);
        let high_watermark = self.high_watermark;
        if end_offset >= self.log_end_offset {
            self.stop(Trouble::NoProgress { end_offset }, effects);
        } else if end_offset < high_watermark && !self.damage_is_declared {
            self.stop(Trouble::DivergesBelowHighWatermark { end_offset, high_watermark }, effects);
        } else {
            self.phase = Phase::Truncating { end_offset };
            effects.push(FollowerEffect::Truncate { end_offset });
        }
        self.assert_invariants();
        true
    }

    /// The frames differ although the epochs agree: it stops. Nobody knows where they begin to, so once the damage is
    /// declared all of them are copied again. An answer to another fetch changes nothing: `false`.
    pub fn on_chain_mismatch(&mut self, leader_epoch: LeaderEpoch, offset: Offset, effects: &mut FollowerEffects) -> bool {
        let is_current = self.phase == Phase::Fetching && leader_epoch == self.leader_epoch && offset == self.log_end_offset;
        if is_current && self.damage_is_declared {
            let end_offset = self.log_start_offset;
            self.phase = Phase::Truncating { end_offset };
            effects.push(FollowerEffect::Truncate { end_offset });
        } else if is_current {
            self.stop(Trouble::ChainMismatch { offset }, effects);
        }
        self.assert_invariants();
        is_current
    }

    /// How much of this log the leader may have as well: both have no more of `epoch` than the one with less has.
    fn common_end(&self, epoch: Option<LeaderEpoch>, end_offset: Offset) -> Offset {
        let first = || self.epochs.entries().first().map_or(self.log_end_offset, |&(_, start)| start);
        let here = match epoch {
            Some(epoch) => self.epochs.floor(epoch, self.log_end_offset).map_or_else(first, |(_, end)| end),
            // The leader keeps no epoch as old as any here. Where its log begins, the chain tells whether both have the same
            // below; when it has told that, nothing here is the leader's.
            None if end_offset < self.log_end_offset => end_offset,
            None => first(),
        };
        here.min(end_offset).max(self.log_start_offset)
    }
}

#[cfg(test)]
#[path = "on_diverging_test.rs"]
mod tests;
