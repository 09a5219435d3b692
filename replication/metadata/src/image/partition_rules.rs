//! The rules of one partition by itself, and of one state after another. Who its brokers are is looked at elsewhere
//! (`apply.rs`, `invariants.rs`).

use super::ApplyError;
use crate::partition_state::PartitionState;
use sluice_model::{BrokerId, LeaderEpoch, PlacementEpoch, TopicPartition};

/// Each rule with its name, and whether it is kept.
pub(crate) fn partition_rules(partition: &PartitionState) -> [(bool, &'static str); 14] {
    let PartitionState { replicas, isr, eligible_leader_replicas: eligible, damaged, restarted, leader, .. } = partition;
    let ascending = |brokers: &[BrokerId]| brokers.is_sorted_by(|a, b| a < b);
    let leads = |broker: BrokerId| *leader == Some(broker);
    [
        (!replicas.is_empty(), "there are replicas"),
        (
            !replicas.iter().enumerate().any(|(n, r)| replicas[..n].iter().any(|q| q.broker == r.broker)),
            "a broker holds one replica",
        ),
        (ascending(isr) && ascending(eligible), "in-sync set and eligible leaders ascend"),
        (isr.iter().chain(eligible).all(|&b| partition.is_replica(b)), "in-sync set and eligible leaders are replicas"),
        (!isr.iter().any(|b| eligible.contains(b)), "an eligible leader is not in the in-sync set"),
        (leader.is_none_or(|b| isr.contains(&b)), "the leader is in the in-sync set"),
        (!isr.is_empty(), "the in-sync set is not empty"),
        (partition.leader_epoch >= LeaderEpoch(1), "leader epochs begin at 1"),
        (replicas.iter().all(|r| r.placement.placement_epoch >= PlacementEpoch(1)), "placement epochs begin at 1"),
        (leader.is_none() || partition.last_known_leader.is_none(), "a leader is not the last one known"),
        (ascending(damaged) && damaged.iter().all(|&b| partition.is_replica(b)), "damaged replicas ascend and are replicas"),
        (!damaged.iter().any(|b| eligible.contains(b) || leads(*b)), "a damaged replica neither leads nor is eligible"),
        (leader.is_none() || !isr.iter().any(|b| damaged.contains(b)), "under a leader no damaged replica is in sync"),
        (
            restarted.is_sorted_by(|a, b| a.broker < b.broker)
                && restarted.iter().all(|r| partition.is_trusted(r.broker) && !damaged.contains(&r.broker) && !leads(r.broker)),
            "restarted replicas ascend, are trusted and do not lead",
        ),
    ]
}

pub(super) fn check_partition(id: TopicPartition, partition: &PartitionState) -> Result<(), ApplyError> {
    match partition_rules(partition).iter().find(|(kept, _)| !kept) {
        Some(&(_, rule)) => Err(ApplyError::MalformedPartition { id, rule }),
        None => Ok(()),
    }
}

/// What may follow what: the partition's epoch is the next one, others never go back, and another leader or another
/// shard has a greater one.
pub(super) fn check_succession(id: TopicPartition, from: &PartitionState, to: &PartitionState) -> Result<(), ApplyError> {
    if from.partition_epoch.0.checked_add(1) != Some(to.partition_epoch.0) {
        return Err(ApplyError::PartitionEpoch { id, from: from.partition_epoch, to: to.partition_epoch });
    }
    let same_leader = from.leader == to.leader;
    if to.leader_epoch < from.leader_epoch || (!same_leader && to.leader_epoch == from.leader_epoch) {
        return Err(ApplyError::LeaderEpoch { id, from: from.leader_epoch, to: to.leader_epoch });
    }
    for replica in &to.replicas {
        let Some(before) = from.placement(replica.broker) else { continue };
        let (old, new) = (before.placement_epoch, replica.placement.placement_epoch);
        if new < old || (before.shard != replica.placement.shard && new == old) {
            return Err(ApplyError::PlacementEpoch { id, from: old, to: new });
        }
    }
    Ok(())
}

/// A new leader held all that was acknowledged.
pub(super) fn check_eligible_leader(id: TopicPartition, from: &PartitionState, to: &PartitionState) -> Result<(), ApplyError> {
    match to.leader {
        Some(leader) if from.leader != to.leader && (!from.is_trusted(leader) || from.damaged.contains(&leader)) => {
            Err(ApplyError::NotEligible { id, leader: Some(leader) })
        }
        _ => Ok(()),
    }
}
