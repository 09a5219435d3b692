//! The controller has answered a change of the in-sync set, or has decided one that it was not asked for.

use super::Leader;
use crate::effect::Effects;
use sluice_model::{BrokerId, LeaderEpoch, PartitionEpoch};
use std::collections::BTreeSet;

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IsrAnswer {
    /// This is the set now; a set that was decided before this request came is told the same way.
    Decided { partition_epoch: PartitionEpoch, members: BTreeSet<BrokerId> },
    /// Both epochs were found to be those of the change, and it was not taken (`PartitionRefusal::judges_change`). A change
    /// that comes twice finds other epochs the second time because of the first: that is `Unknown`.
    Refused,
    /// No answer came, or one that does not tell.
    Unknown,
}

impl Leader {
    /// The answer to change `number` of `leader_epoch`. Late ones and those of another leader epoch change nothing but
    /// what they decide.
    pub fn on_isr_answer(
        &mut self,
        now_us: u64,
        leader_epoch: LeaderEpoch,
        number: u64,
        answer: IsrAnswer,
        effects: &mut Effects,
    ) {
        if leader_epoch != self.leader_epoch {
            return;
        }
        match answer {
            IsrAnswer::Decided { partition_epoch, members } => {
                self.isr_decided(partition_epoch, members);
            }
            IsrAnswer::Refused => {
                if self.isr.on_refused(number) {
                    self.isr_quiet_until_us = now_us.saturating_add(self.isr_times.retry_us);
                }
            }
            IsrAnswer::Unknown => {
                if self.isr.on_unknown(number) {
                    self.isr_quiet_until_us = now_us.saturating_add(self.isr_times.retry_us);
                }
            }
        }
        self.advance_high_watermark(effects);
        self.assert_invariants();
    }

    /// The set was decided under this leader epoch, at the leader's wish or not. `false` when that is not news.
    pub fn on_isr_decided(
        &mut self,
        partition_epoch: PartitionEpoch,
        members: BTreeSet<BrokerId>,
        effects: &mut Effects,
    ) -> bool {
        let is_news = self.isr_decided(partition_epoch, members);
        self.advance_high_watermark(effects);
        self.assert_invariants();
        is_news
    }

    fn isr_decided(&mut self, partition_epoch: PartitionEpoch, members: BTreeSet<BrokerId>) -> bool {
        // A set without the leader is one of another leader epoch, whose decision comes by itself.
        members.contains(&self.broker) && self.isr.on_decided(partition_epoch, members)
    }
}

#[cfg(test)]
#[path = "on_isr_answer_test.rs"]
mod tests;
