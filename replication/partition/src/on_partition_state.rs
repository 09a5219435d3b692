//! The controller has decided about a partition: this shard leads it, follows another, or goes on as it did.
//!
//! The expensive mistake is a produce that waits for ever, or is called refused, because the leader that took it is none
//! any more: whatever waits is answered as unknown in the breath in which the role changes. Deliberately absent: which
//! state is the right one (`sluice_replica::Replica`), and where it comes from.

use crate::completions::{Completed, Completion};
use crate::partition::Partition;
use crate::partitions::{PartitionCell, Partitions};
use sluice_model::{Clock, TopicPartition};
use sluice_replica::{PartitionState, RoleChange, StateRefusal};
use sluice_storage::disk::Disk;
use std::fmt;

/// What a state has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateTaken {
    /// A leader epoch begins here.
    Leads,
    /// A leader epoch begins elsewhere, or nowhere.
    Follows,
    /// The leader epoch goes on with another in-sync set.
    Continues,
    /// The log is being cut off or replaced: it is taken by itself after that, unless a later one comes.
    Later,
}

/// Why a state has changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionStateRefusal {
    UnknownPartition(TopicPartition),
    Refused(StateRefusal),
}

impl fmt::Display for PartitionStateRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPartition(id) => write!(f, "partition {id} is not on this shard"),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for PartitionStateRefusal {}

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// States may come in any order, and more than once.
    pub fn on_partition_state(&self, id: TopicPartition, state: PartitionState) -> Result<StateTaken, PartitionStateRefusal> {
        let cell = self.get(id).ok_or(PartitionStateRefusal::UnknownPartition(id))?;
        let mut partition = cell.borrow_mut();
        self.take_state(&cell, &mut partition, state).map_err(PartitionStateRefusal::Refused)
    }

    /// Nobody waits to hear what became of this one: why it was not taken is told by [`Self::take_refused_states`].
    pub(crate) fn take_kept_state(&self, cell: &PartitionCell<D>, partition: &mut Partition<D>, state: PartitionState) {
        if let Err(refusal) = self.take_state(cell, partition, state) {
            self.shared.replication.note_refused_state(partition.id(), refusal);
            self.shared.completions.tell();
        }
    }

    /// Moves why states were not taken into `into` that a partition was opened with, or that were kept until its log had
    /// been cut off or replaced: the last one of each partition.
    pub fn take_refused_states(&self, into: &mut Vec<(TopicPartition, StateRefusal)>) {
        self.shared.replication.take_refused_states(into);
    }

    pub(crate) fn take_state(
        &self,
        cell: &PartitionCell<D>,
        partition: &mut Partition<D>,
        state: PartitionState,
    ) -> Result<StateTaken, StateRefusal> {
        partition.note_log_state();
        let facts = partition.log_facts();
        let now = self.shared.clock.now();
        self.shared.with_effects(|effects| {
            let taken = match partition.replica.on_partition_state(&state, facts, effects) {
                Ok(RoleChange::Leads) => StateTaken::Leads,
                Ok(RoleChange::Follows { unknown }) => {
                    self.complete_unknown(unknown);
                    StateTaken::Follows
                }
                Ok(RoleChange::Continues) => StateTaken::Continues,
                Err(StateRefusal::LogInWork) => {
                    if partition.later_state.as_ref().is_none_or(|kept| state.is_later_than(kept)) {
                        partition.later_state = Some(Box::new(state));
                    }
                    return Ok(StateTaken::Later);
                }
                Err(refusal) => {
                    // Whatever it means for this broker: the epoch that is led here, if one is, is over.
                    let leader = partition.leader_mut();
                    let unknown = leader.map(|leader| leader.on_newer_leader_epoch(state.leader_epoch));
                    self.complete_unknown(unknown.unwrap_or_default());
                    return Err(refusal);
                }
            };
            self.note_role(partition, &state, taken);
            self.run_effects(cell, partition, &[], now, effects);
            Ok(taken)
        })
    }

    fn note_role(&self, partition: &mut Partition<D>, state: &PartitionState, taken: StateTaken) {
        let id = partition.id();
        let mut replicated = self.shared.replication.replicated.borrow_mut();
        if partition.leader().is_some() && state.replicas.len() > 1 {
            replicated.insert(id);
        } else {
            replicated.remove(&id);
        }
        drop(replicated);
        if taken != StateTaken::Continues {
            partition.looked_up.clear();
            // Whoever waits for records here has to ask elsewhere, or may go on.
            self.shared.completions.push_watched(partition.watchers.drain(..));
        }
        self.tell_replicas(partition);
        self.shared.completions.tell();
    }

    /// These were appended, and nobody can say what becomes of them.
    pub(crate) fn complete_unknown(&self, tokens: Vec<u64>) {
        for token in tokens {
            self.shared.completions.push(Completion { token, outcome: Completed::LeadershipLost });
        }
    }
}
