//! An operator makes a replica the leader that may lack what was acknowledged, because those that hold it will not come
//! back. It names the replica, and was shown how far each one's log goes; the record keeps what it was shown.
//!
//! This is the only way in which a leader comes from outside of those who are trusted. Nobody else is trusted with
//! anything then: what another replica holds beyond the new leader's log it gives up when it comes back.

use crate::election::with_next_epoch;
use crate::image::Image;
use crate::on_report_recovery::LEADER_EPOCH_PLAUSIBLE_END;
use crate::partition_refusal::PartitionRefusal;
use crate::partition_state::{PartitionState, ShownReplica};
use crate::record::{Record, UncleanLeaderElected};
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::{BrokerId, LeaderEpoch, PartitionEpoch, TopicPartition};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ElectUncleanLeader {
    pub id: TopicPartition,
    /// The replica that is to lead; its broker has to be active.
    pub broker: BrokerId,
    /// Of the state that was shown: when it has changed since, the operator has to look again.
    pub partition_epoch: PartitionEpoch,
    /// Each replica that was shown, `broker` among them and asked.
    pub shown: Vec<ShownReplica>,
}

/// Refused while there is a leader.
pub fn on_elect_unclean_leader(image: &Image, request: &ElectUncleanLeader) -> Result<Vec<Record>, PartitionRefusal> {
    let ElectUncleanLeader { id, broker, partition_epoch, ref shown } = *request;
    let from = image.partition(id).ok_or(PartitionRefusal::UnknownPartition { id })?;
    if let Some(leader) = from.leader {
        return Err(PartitionRefusal::HasLeader { leader });
    }
    if partition_epoch != from.partition_epoch {
        return Err(PartitionRefusal::StalePartitionEpoch { got: partition_epoch, current: from.partition_epoch });
    }
    let epoch_shown = check_shown(from, broker, shown)?;
    if !crate::election::Settling::new(image).is_active(broker) {
        return Err(PartitionRefusal::MemberNotActive { broker });
    }
    let mut next = from.clone();
    next.leader = Some(broker);
    next.leader_epoch = LeaderEpoch(from.leader_epoch.max(epoch_shown).0.saturating_add(1));
    next.last_known_leader = None;
    next.isr = vec![broker];
    next.eligible_leader_replicas.clear();
    next.damaged.retain(|&b| b != broker);
    next.restarted.clear();
    let records = with_next_epoch(from, next).into_iter().map(|state| {
        let (topic_id, partition, shown) = (id.topic_id, id.partition, shown.clone());
        Record::UncleanLeaderElected(UncleanLeaderElected { topic_id, partition, shown, state })
    });
    Ok(records.collect())
}

/// The greatest leader epoch that any of them has.
fn check_shown(partition: &PartitionState, broker: BrokerId, shown: &[ShownReplica]) -> Result<LeaderEpoch, PartitionRefusal> {
    for (index, replica) in shown.iter().enumerate() {
        if !partition.is_replica(replica.broker) {
            return Err(PartitionRefusal::NotReplica { broker: replica.broker });
        }
        if shown[..index].iter().any(|earlier| earlier.broker == replica.broker) {
            return Err(PartitionRefusal::MemberNamedTwice { broker: replica.broker });
        }
    }
    if !partition.is_replica(broker) {
        return Err(PartitionRefusal::NotReplica { broker });
    }
    if !shown.iter().any(|replica| replica.broker == broker && replica.end.is_some()) {
        return Err(PartitionRefusal::NotShown { broker });
    }
    let epochs = shown.iter().filter_map(|replica| replica.end).map(|end| end.leader_epoch);
    let greatest = epochs.max().unwrap_or_default();
    if greatest >= LEADER_EPOCH_PLAUSIBLE_END {
        return Err(PartitionRefusal::ImplausibleEpoch { got: greatest });
    }
    Ok(greatest)
}

#[cfg(test)]
#[path = "on_elect_unclean_leader_test.rs"]
mod tests;
