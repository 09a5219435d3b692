//! Changes of in-sync sets on their way to the controller: all that the shards of this broker propose at once are one
//! command.
//!
//! The expensive mistake is to take a change for refused that may be decided: the leader would count a set that is smaller
//! than the controller's. A refusal counts only where it was given after both epochs were found to be the change's; all
//! else is unknown, and asked for again by the leader.

use sluice_controller::{Command, CommandError, Submitted};
use sluice_metadata::{AlterPartitions, IsrChange, PartitionRefusal, PartitionState};
use sluice_model::limits::PARTITIONS_PER_COMMAND_MAX;
use sluice_model::{BrokerId, Incarnation, LeaderEpoch, ShardIndex, TopicPartition};
use sluice_replica::{IsrAnswer, IsrProposal};
use std::collections::BTreeMap;

/// What has become of one proposal, for the shard that leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnsweredProposal {
    pub(crate) id: TopicPartition,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) number: u64,
    pub(crate) answer: IsrAnswer,
}

pub(super) struct IsrChanges {
    broker: BrokerId,
    incarnation: Incarnation,
    waiting: Vec<(ShardIndex, IsrProposal)>,
    /// Whose turn it is, in the order of the command.
    under_way: Vec<(ShardIndex, IsrProposal)>,
}

impl IsrChanges {
    pub(super) fn new(broker: BrokerId, incarnation: Incarnation) -> Self {
        Self { broker, incarnation, waiting: Vec::new(), under_way: Vec::new() }
    }

    pub(super) fn push(&mut self, shard: ShardIndex, proposals: Vec<IsrProposal>) {
        for proposal in proposals {
            // The leader has given up what it proposed before.
            self.waiting.retain(|(_, waiting)| waiting.id != proposal.id);
            self.waiting.push((shard, proposal));
        }
    }

    /// The next command, when there is one and none is under way.
    pub(super) fn next(&mut self) -> Option<Command> {
        if self.waiting.is_empty() || !self.under_way.is_empty() {
            return None;
        }
        let count = self.waiting.len().min(PARTITIONS_PER_COMMAND_MAX);
        self.under_way = self.waiting.drain(..count).collect();
        let leader = (self.broker, self.incarnation);
        let changes = self.under_way.iter().map(|(_, proposal)| IsrChange {
            id: proposal.id,
            leader_epoch: proposal.leader_epoch,
            partition_epoch: proposal.partition_epoch,
            isr: proposal.followers.iter().map(|(&broker, &incarnation)| (broker, incarnation)).chain([leader]).collect(),
        });
        let changes = changes.collect();
        Some(Command::AlterPartitions(AlterPartitions { broker: self.broker, incarnation: self.incarnation, changes }))
    }

    /// What the command that was under way came to, for each shard, and the batch that they are to have seen before.
    pub(super) fn on_answer(
        &mut self,
        result: Result<Submitted, CommandError>,
    ) -> (u64, BTreeMap<ShardIndex, Vec<AnsweredProposal>>) {
        let (index, answers) = match result {
            Ok(submitted) => (submitted.index, submitted.answers),
            Err(_) => (0, Vec::new()),
        };
        let mut answers = answers.into_iter();
        let mut of_shards: BTreeMap<ShardIndex, Vec<AnsweredProposal>> = BTreeMap::new();
        for (shard, IsrProposal { id, number, leader_epoch, .. }) in self.under_way.drain(..) {
            let answer = isr_answer(leader_epoch, answers.next());
            of_shards.entry(shard).or_default().push(AnsweredProposal { id, leader_epoch, number, answer });
        }
        (index, of_shards)
    }
}

fn isr_answer(leader_epoch: LeaderEpoch, answer: Option<Result<PartitionState, PartitionRefusal>>) -> IsrAnswer {
    match answer {
        Some(Ok(state)) if state.leader_epoch == leader_epoch => {
            IsrAnswer::Decided { partition_epoch: state.partition_epoch, members: state.isr.into_iter().collect() }
        }
        Some(Err(refusal)) if refusal.judges_change() => IsrAnswer::Refused,
        _ => IsrAnswer::Unknown,
    }
}

#[cfg(test)]
#[path = "isr_changes_test.rs"]
mod tests;
