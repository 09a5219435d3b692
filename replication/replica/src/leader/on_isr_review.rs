//! Who should be in the in-sync set? Asked now and then, for all partitions of a shard at a time, so that a slow disk's
//! changes go to the controller as one.
//!
//! A replica joins when its flushed offset has reached the high watermark and the start of the leader epoch, under its
//! current incarnation, with a log that is whole. It leaves when its log is not whole, or when it has not held everything
//! for too long, whatever the size of the set: a set that lies is worse than a small one. It leaves for slow flushes only
//! while enough remain. The expensive mistake is a member that joins without the records that were acknowledged without
//! it: from the moment it is proposed it counts (`InSyncSet::maximal`).

use super::Leader;
use crate::log_position::LogState;
use sluice_model::{BrokerId, Incarnation, LeaderEpoch, PartitionEpoch, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

/// A change to be asked of the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsrProposal {
    pub id: TopicPartition,
    /// Names it in the answer.
    pub number: u64,
    pub leader_epoch: LeaderEpoch,
    /// What the change is based on: the controller refuses it on any other.
    pub partition_epoch: PartitionEpoch,
    /// Each member but the leader, in the incarnation that is meant (KIP-903). The leader's is that of whoever asks.
    pub followers: BTreeMap<BrokerId, Incarnation>,
}

impl Leader {
    /// The change to ask for now, if any. One is in flight at a time; one without an answer is asked for again.
    pub fn on_isr_review(&mut self, now_us: u64) -> Option<IsrProposal> {
        if self.not_leading().is_some() || self.followers.is_empty() {
            return None;
        }
        self.look_at_followers(now_us);
        if let Some(since_us) = self.isr.waiting_since_us() {
            if now_us.saturating_sub(since_us) < self.isr_times.retry_us {
                return None;
            }
            self.isr.give_up_waiting();
        }
        if now_us < self.isr_quiet_until_us {
            return None;
        }
        let (wanted, slow) = self.wanted_isr(now_us);
        // What is undecided is made void by a decision, be it one for the set that there is.
        if wanted == *self.isr.committed() && !self.isr.has_undecided() {
            return None;
        }
        for broker in &slow {
            if let Some(follower) = self.followers.get_mut(broker) {
                follower.timing.on_left_for_slowness();
            }
        }
        let followers = wanted.iter().filter_map(|broker| Some((*broker, self.followers.get(broker)?.incarnation))).collect();
        let partition_epoch = self.isr.partition_epoch();
        let number = self.isr.propose(now_us, wanted);
        self.assert_invariants();
        Some(IsrProposal { id: self.id, number, leader_epoch: self.leader_epoch, partition_epoch, followers })
    }

    fn look_at_followers(&mut self, now_us: u64) {
        let (local_flushed, log_end, times) = (self.local_flushed, self.log_end_offset, self.isr_times);
        for follower in self.followers.values_mut() {
            let pace = super::Pace { flushed: follower.flushed, local_flushed, log_end };
            follower.timing.look(now_us, pace, &times);
        }
    }

    /// The set as it should be, and who is not in it for being slow.
    fn wanted_isr(&self, now_us: u64) -> (BTreeSet<BrokerId>, Vec<BrokerId>) {
        let times = &self.isr_times;
        let mut wanted = BTreeSet::from([self.broker]);
        let mut slow = Vec::new();
        for (&broker, follower) in &self.followers {
            let is_member = self.isr.committed().contains(&broker);
            if follower.log_state != LogState::Whole {
                continue;
            }
            if is_member && !follower.timing.lags(now_us, times) {
                wanted.insert(broker);
                slow.extend(follower.timing.slow_since_us(now_us, times).map(|since_us| (since_us, broker)));
            }
            let held = self.high_watermark.max(self.epoch_start_offset);
            let holds_all = follower.flushed.is_some_and(|flushed| flushed >= held);
            if !is_member && holds_all && follower.timing.may_join(now_us, times) {
                wanted.insert(broker);
            }
        }
        slow.sort_unstable();
        let spare = wanted.len().saturating_sub(self.min_insync_replicas.max(1) as usize);
        let slow: Vec<_> = slow.into_iter().take(spare).map(|(_, broker)| broker).collect();
        wanted.retain(|broker| !slow.contains(broker));
        (wanted, slow)
    }
}

#[cfg(test)]
#[path = "on_isr_review_test.rs"]
mod tests;
