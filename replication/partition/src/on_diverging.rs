//! A leader says that its history parts from a follower's, or that frames differ: what is cut off, and what is reported.

use crate::partitions::Partitions;
use crate::run_follower_effects::Before;
use sluice_model::{Clock, LeaderEpoch, Offset, TopicPartition};
use sluice_replica::{Diverging, Follower, FollowerEffects, Trouble};
use sluice_storage::disk::Disk;

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// Wants the log cut off where the histories part, or stops. `false`: it is not an answer to the fetch that is under way.
    pub fn on_diverging(&self, id: TopicPartition, answer: Diverging) -> bool {
        self.follower_event(id, |follower, effects| follower.on_diverging(answer, effects))
    }

    /// The frames below `offset` differ although the epochs agree. `false` as above.
    pub fn on_chain_mismatch(&self, id: TopicPartition, leader_epoch: LeaderEpoch, offset: Offset) -> bool {
        self.follower_event(id, |follower, effects| follower.on_chain_mismatch(leader_epoch, offset, effects))
    }

    /// An operator gives up what this replica has and the leader has not. `false` when it leads, or is not here.
    pub fn on_damage_declared(&self, id: TopicPartition) -> bool {
        self.follower_event(id, |follower, _| {
            follower.on_damage_declared();
            true
        })
    }

    /// Moves the reasons of followers that have stopped into `into`, each told once, to be logged.
    pub fn take_troubles(&self, into: &mut Vec<(TopicPartition, Trouble)>) {
        self.shared.completions.take_wake();
        into.append(&mut self.shared.replication.troubles.borrow_mut());
    }

    /// One event of a follower that brings no frames.
    pub(crate) fn follower_event(
        &self,
        id: TopicPartition,
        event: impl FnOnce(&mut Follower, &mut FollowerEffects) -> bool,
    ) -> bool {
        let Some(cell) = self.get(id) else { return false };
        let mut partition = cell.borrow_mut();
        let before = Before { now: self.shared.clock.now(), bodies: &[], high_watermark: partition.replica.high_watermark() };
        self.shared.replication.with_effects(|effects| {
            let Some(follower) = partition.follower_mut() else { return false };
            let is_current = event(follower, effects);
            self.run_follower_effects(&cell, &mut partition, before, effects);
            is_current
        })
    }
}
