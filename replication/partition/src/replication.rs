//! What a shard's replicas have to tell those who drive them, and what they want done with their logs.
//!
//! Plain queues, each entry there once: the driver takes all that there is in one go and asks for the present state. The
//! expensive mistake is news that is lost: whatever is taken is armed again before it is looked at. Deliberately absent:
//! sessions and sockets.

use crate::replica_start::RecoveredReplica;
use sluice_model::TopicPartition;
use sluice_replica::{FollowerEffects, IsrProposal, StateRefusal, Trouble};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

/// State of one shard that its replicas share.
pub(crate) struct Replication {
    /// The broker has a lease with the controller.
    pub(crate) has_lease: Cell<bool>,
    /// Partitions that are led here and have followers.
    pub(crate) replicated: RefCell<BTreeSet<TopicPartition>>,
    pub(crate) isr_reviewed_us: Cell<u64>,
    pub(crate) isr_proposals: RefCell<Vec<IsrProposal>>,
    /// Watches of follower shards that have come true.
    pub(crate) news: RefCell<Vec<(u64, TopicPartition)>>,
    /// Followers that have flushed something since that was last taken.
    pub(crate) flushed: RefCell<Vec<TopicPartition>>,
    /// Followers whose logs are to be cut off or replaced.
    pub(crate) log_work: RefCell<BTreeSet<TopicPartition>>,
    /// Followers that ask where their leaders' logs begin, without having been told so by an answer.
    pub(crate) beginnings: RefCell<Vec<TopicPartition>>,
    pub(crate) troubles: RefCell<Vec<(TopicPartition, Trouble)>>,
    /// Why a state that nobody waited to hear of was not taken; the last word of each partition.
    refused_states: RefCell<BTreeMap<TopicPartition, StateRefusal>>,
    /// As of the opening of the shard.
    pub(crate) recovered: RefCell<Vec<(TopicPartition, RecoveredReplica)>>,
    /// Empty; keeps its memory from event to event.
    effects: Cell<FollowerEffects>,
}

impl Replication {
    pub(crate) fn new(now_us: u64) -> Self {
        Self {
            has_lease: Cell::new(true),
            replicated: RefCell::default(),
            isr_reviewed_us: Cell::new(now_us),
            isr_proposals: RefCell::default(),
            news: RefCell::default(),
            flushed: RefCell::default(),
            log_work: RefCell::default(),
            beginnings: RefCell::default(),
            troubles: RefCell::default(),
            refused_states: RefCell::default(),
            recovered: RefCell::default(),
            effects: Cell::default(),
        }
    }

    pub(crate) fn on_removed(&self, id: TopicPartition) {
        self.replicated.borrow_mut().remove(&id);
        self.log_work.borrow_mut().remove(&id);
        self.refused_states.borrow_mut().remove(&id);
    }

    /// A state was not taken that came with the opening of its partition, or was kept until now. One that is stale by then
    /// is no news.
    pub(crate) fn note_refused_state(&self, id: TopicPartition, refusal: StateRefusal) {
        if !matches!(refusal, StateRefusal::Stale { .. }) {
            self.refused_states.borrow_mut().insert(id, refusal);
        }
    }

    pub(crate) fn take_refused_states(&self, into: &mut Vec<(TopicPartition, StateRefusal)>) {
        into.extend(std::mem::take(&mut *self.refused_states.borrow_mut()));
    }

    /// For one event: what it wants done is put into effects that were allocated for an earlier one.
    pub(crate) fn with_effects<T>(&self, event: impl FnOnce(&mut FollowerEffects) -> T) -> T {
        let mut effects = self.effects.take();
        let outcome = event(&mut effects);
        effects.clear();
        self.effects.set(effects);
        outcome
    }
}

/// Takes all that is queued; the queue keeps its memory for what comes next.
pub(crate) fn take_all<T>(queue: &RefCell<Vec<T>>, each: impl FnMut(T)) {
    queue.borrow_mut().drain(..).for_each(each);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_is_taken_keeps_its_memory() {
        let queue = RefCell::new((0..100).collect::<Vec<u32>>());
        let capacity = queue.borrow().capacity();
        let mut taken = Vec::new();
        take_all(&queue, |number| taken.push(number));
        assert_eq!((taken, queue.borrow().len(), queue.borrow().capacity()), ((0..100).collect(), 0, capacity));
    }
}
