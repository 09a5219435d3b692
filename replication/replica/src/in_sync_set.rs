//! The in-sync set as the leader sees it: what the controller has decided, and what it may have decided since.
//!
//! `committed` is the newest decision that the leader knows of. While a change is in flight the larger of both sets,
//! `maximal`, has to hold a record before it counts (KIP-497): acknowledging by a set that is about to grow would let a
//! member lead that never had the record. A change names the partition epoch that it is based on, so of all that were
//! sent on one epoch at most one is ever accepted.
//!
//! The expensive mistake is to take a change for dead that the controller may still accept, because an answer was lost
//! or a retry was refused: its members count until the partition epoch has moved on, which alone makes it void.
//! Deliberately absent: who should be a member, and when (`leader::on_isr_review`).

use sluice_model::{BrokerId, PartitionEpoch};
use std::collections::BTreeSet;

/// The change whose answer is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Attempt {
    number: u64,
    sent_us: u64,
    members: BTreeSet<BrokerId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InSyncSet {
    partition_epoch: PartitionEpoch,
    committed: BTreeSet<BrokerId>,
    waiting: Option<Attempt>,
    /// What was proposed on this partition epoch and neither decided nor certainly refused.
    undecided: BTreeSet<BTreeSet<BrokerId>>,
    /// Of the last attempt that was sent.
    last_number: u64,
    /// Members of a proposed set that are not in the committed one.
    joining: BTreeSet<BrokerId>,
    /// Size of the smallest set that may be the decided one.
    len_min: usize,
}

impl InSyncSet {
    /// The set that a partition begins with. It is never empty and always holds the leader.
    #[must_use]
    pub fn new(committed: BTreeSet<BrokerId>) -> Self {
        Self::decided(PartitionEpoch(0), committed)
    }

    /// The set that was decided as `partition_epoch`. It is never empty and always holds the leader.
    #[must_use]
    pub fn decided(partition_epoch: PartitionEpoch, committed: BTreeSet<BrokerId>) -> Self {
        assert!(!committed.is_empty(), "an in-sync set is never empty");
        let len_min = committed.len();
        Self {
            partition_epoch,
            committed,
            waiting: None,
            undecided: BTreeSet::new(),
            last_number: 0,
            joining: BTreeSet::new(),
            len_min,
        }
    }

    #[must_use]
    pub fn partition_epoch(&self) -> PartitionEpoch {
        self.partition_epoch
    }

    #[must_use]
    pub fn committed(&self) -> &BTreeSet<BrokerId> {
        &self.committed
    }

    /// Every broker that has to hold a record before it counts as committed.
    pub fn maximal(&self) -> impl Iterator<Item = BrokerId> {
        self.committed.iter().chain(&self.joining).copied()
    }

    /// Whether the decided set is large enough for a produce with acks=all, counting a member that is about to
    /// leave as gone.
    #[must_use]
    pub fn satisfies(&self, min_insync_replicas: u32) -> bool {
        self.len_min >= min_insync_replicas as usize
    }

    /// When the change was sent whose answer is waited for, microseconds.
    #[must_use]
    pub fn waiting_since_us(&self) -> Option<u64> {
        self.waiting.as_ref().map(|attempt| attempt.sent_us)
    }

    /// Whether a change was sent of which nobody knows what became of it.
    #[must_use]
    pub fn has_undecided(&self) -> bool {
        !self.undecided.is_empty()
    }

    /// A change to `members` is sent; gives back its number. One at a time is waited for.
    pub fn propose(&mut self, now_us: u64, members: BTreeSet<BrokerId>) -> u64 {
        assert!(self.waiting.is_none() && !members.is_empty(), "one change is in flight at a time: {self:?}");
        self.last_number += 1;
        self.waiting = Some(Attempt { number: self.last_number, sent_us: now_us, members });
        self.settle();
        self.last_number
    }

    /// The controller has decided this set, whoever asked for it. `false` when that is not news.
    pub fn on_decided(&mut self, partition_epoch: PartitionEpoch, members: BTreeSet<BrokerId>) -> bool {
        if partition_epoch <= self.partition_epoch {
            return false;
        }
        assert!(!members.is_empty(), "an in-sync set is never empty");
        self.partition_epoch = partition_epoch;
        self.committed = members;
        // Whatever was asked for on an earlier partition epoch cannot be accepted any more.
        self.waiting = None;
        self.undecided.clear();
        self.settle();
        true
    }

    /// The controller has refused change `number`. That says nothing of an earlier one that was sent on the same
    /// partition epoch. `false` when nobody waits for it.
    pub fn on_refused(&mut self, number: u64) -> bool {
        let answered = self.waiting.take_if(|attempt| attempt.number == number).is_some();
        self.settle();
        answered
    }

    /// Nobody knows what became of change `number`. `false` when nobody waits for it.
    pub fn on_unknown(&mut self, number: u64) -> bool {
        if self.waiting.as_ref().is_some_and(|attempt| attempt.number == number) {
            return self.give_up_waiting();
        }
        false
    }

    /// The answer has not come in time. `false` when none was waited for.
    pub fn give_up_waiting(&mut self) -> bool {
        let Some(attempt) = self.waiting.take() else { return false };
        self.undecided.insert(attempt.members);
        self.settle();
        true
    }

    fn settle(&mut self) {
        let open = || self.undecided.iter().chain(self.waiting.iter().map(|attempt| &attempt.members));
        self.len_min = open().map(BTreeSet::len).fold(self.committed.len(), usize::min);
        self.joining = open().flatten().filter(|member| !self.committed.contains(member)).copied().collect();
    }
}

#[cfg(test)]
#[path = "in_sync_set_test.rs"]
mod tests;
