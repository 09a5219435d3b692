//! What this replica would fetch next is deleted on the leader: it begins again where the leader's log begins.
//!
//! What it has lies below the leader's log start, so somebody wanted it deleted. Producer state and leader epochs as of
//! that place come from the leader, because the frames they were made of are gone.

use super::{Follower, FollowerEffect, FollowerEffects, Phase};
use crate::log_position::LogState;
use sluice_model::{LeaderEpoch, LeaderEpochHistory, Offset, ProducerTable};

/// The beginning of the leader's log.
#[derive(Clone, Debug)]
pub struct LogBeginning {
    pub leader_epoch: LeaderEpoch,
    /// Base offset of the first frame that the leader keeps.
    pub first_offset: Offset,
    /// `header_crc` of the frame before it, 0 for none.
    pub prev_header_crc: u32,
    /// Epochs of frames below `first_offset`, as far as the leader remembers.
    pub epochs: LeaderEpochHistory,
    /// As of `first_offset`.
    pub producers: ProducerTable,
}

/// Why the log does not begin there. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginningRefusal {
    /// Nobody has asked, or another leader epoch has begun since; the next fetch tells again.
    Stale,
    /// An epoch in it is above the leader's, or began at or beyond the beginning.
    Epochs,
}

impl Follower {
    /// Wants the leader's state at its first frame. An answer to another fetch changes nothing: `false`.
    pub fn on_below_log_start(
        &mut self,
        leader_epoch: LeaderEpoch,
        fetch_offset: Offset,
        first_offset: Offset,
        effects: &mut FollowerEffects,
    ) -> bool {
        let is_current = self.phase == Phase::Fetching
            && leader_epoch == self.leader_epoch
            && fetch_offset == self.log_end_offset
            && first_offset > self.log_end_offset;
        if is_current {
            self.phase = Phase::AskingBeginning { first_offset };
            effects.push(FollowerEffect::AskBeginning { first_offset });
            self.assert_invariants();
        }
        is_current
    }

    /// The leader could not be asked: the next fetch tells again where its log begins.
    pub fn on_beginning_failed(&mut self) {
        if let Phase::AskingBeginning { .. } = self.phase {
            self.phase = Phase::Fetching;
        }
        self.assert_invariants();
    }

    /// The leader has said where its log begins: this one is empty now, and begins there.
    pub fn on_beginning(&mut self, beginning: LogBeginning, effects: &mut FollowerEffects) -> Result<(), BeginningRefusal> {
        let Phase::AskingBeginning { first_offset } = self.phase else { return Err(BeginningRefusal::Stale) };
        // The leader's log may begin later by now.
        if beginning.leader_epoch != self.leader_epoch || beginning.first_offset < first_offset {
            return Err(BeginningRefusal::Stale);
        }
        let epochs_fit = beginning
            .epochs
            .entries()
            .last()
            .is_none_or(|&(epoch, start)| epoch <= self.leader_epoch && start < beginning.first_offset);
        if !epochs_fit {
            return Err(BeginningRefusal::Epochs);
        }
        let offset = beginning.first_offset;
        self.log_start_offset = offset;
        self.log_end_offset = offset;
        self.flushed = offset;
        self.high_watermark = offset;
        self.last_header_crc = beginning.prev_header_crc;
        self.epochs = beginning.epochs;
        self.producers = beginning.producers;
        self.log_state = LogState::Whole;
        self.damage_is_declared = false;
        self.phase = Phase::Replacing;
        effects.push(FollowerEffect::Replace { first_offset: offset });
        self.assert_invariants();
        Ok(())
    }

    /// The log on disk is the empty one.
    pub fn on_replaced(&mut self) {
        if self.phase == Phase::Replacing {
            self.phase = Phase::Fetching;
        }
        self.assert_invariants();
    }
}

#[cfg(test)]
#[path = "on_below_log_start_test.rs"]
mod tests;
