//! A broker has made damaged replicas whole again from their leader: they may join the in-sync set again.
//!
//! Only under a leader, and only what was fetched under its present epoch: without one there is nobody who says what
//! whole is, and the operator decides (`on_elect_unclean_leader`).

use crate::election::with_next_epoch;
use crate::image::Image;
use crate::partition_refusal::{Answered, PartitionRefusal, Sequence};
use crate::partition_state::PartitionState;
use crate::refusal::Refusal;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::{BrokerId, Incarnation, LeaderEpoch, TopicPartition};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct RepairReplicas {
    pub broker: BrokerId,
    pub incarnation: Incarnation,
    /// At most `PARTITIONS_PER_COMMAND_MAX`, each with the leader epoch it was made whole under.
    pub replicas: Vec<(TopicPartition, LeaderEpoch)>,
}

/// Each partition is answered for itself, with what it is afterwards. One that was not damaged stays as it is.
pub fn on_repair_replicas(image: &Image, request: &RepairReplicas) -> Result<Answered, Refusal> {
    let RepairReplicas { broker, incarnation, ref replicas } = *request;
    image.registered(broker, incarnation)?;
    let mut sequence = Sequence::of(replicas.len())?;
    for &(id, leader_epoch) in replicas {
        sequence.answer(image, id, |_, partition| repaired(broker, leader_epoch, partition));
    }
    Ok(sequence.answered)
}

fn repaired(
    broker: BrokerId,
    leader_epoch: LeaderEpoch,
    partition: &PartitionState,
) -> Result<Option<PartitionState>, PartitionRefusal> {
    if !partition.is_replica(broker) {
        return Err(PartitionRefusal::NotReplica { broker });
    }
    if partition.leader.is_none() {
        return Err(PartitionRefusal::NoLeader);
    }
    if leader_epoch != partition.leader_epoch {
        return Err(PartitionRefusal::StaleLeaderEpoch { got: leader_epoch, current: partition.leader_epoch });
    }
    let mut next = partition.clone();
    next.damaged.retain(|&b| b != broker);
    Ok(with_next_epoch(partition, next))
}

#[cfg(test)]
#[path = "on_repair_replicas_test.rs"]
mod tests;
