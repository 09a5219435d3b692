//! A broker that has started says what recovery found of each replica. A replica that was trusted is trusted on if its
//! recovery was clean; one that is damaged, may be short, or is not named at all is marked as damaged and is not.
//!
//! The expensive mistake is to trust what was not proved: absence of a word is damage. The mark outlives restarts, for
//! a later recovery that finds nothing wrong does not bring back what an earlier one has given up.

use crate::broker_state::BrokerState;
use crate::election::Settling;
use crate::image::Image;
use crate::partition_state::{PartitionState, ReplicaEnd, RestartedReplica};
use crate::record::{BrokerStateChanged, Record};
use crate::refusal::Refusal;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::PARTITIONS_PER_COMMAND_MAX;
use sluice_model::{BrokerId, Incarnation, LeaderEpoch, TopicPartition};
use std::collections::BTreeMap;

/// Leader epochs beyond this are never given out: a log that has one was not written by this cluster.
pub const LEADER_EPOCH_PLAUSIBLE_END: LeaderEpoch = LeaderEpoch(1 << 31);

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ReportRecovery {
    pub broker: BrokerId,
    pub incarnation: Incarnation,
    /// At most `PARTITIONS_PER_COMMAND_MAX`; more come in further reports. Of what is named twice the last word counts.
    pub replicas: Vec<(TopicPartition, Recovered)>,
    /// Nothing follows: what was not named is not there. A replica of which a folder has no trace, all of whose shards
    /// have recovered, is named as whole and empty: nothing was ever flushed to it.
    pub complete: bool,
}

/// What recovery found of one replica.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// All that was flushed, up to `end`.
    Whole { end: ReplicaEnd },
    /// The same, and behind it a group that was not whole and was cut off.
    CutTornGroup { end: ReplicaEnd },
    /// Something that was flushed cannot be read, or the log may be short.
    Damaged,
}

/// Replicas that the metadata does not know are nobody's business here (`on_adopt_topic`).
pub fn on_report_recovery(image: &Image, report: &ReportRecovery) -> Result<Vec<Record>, Refusal> {
    let ReportRecovery { broker, incarnation, ref replicas, complete } = *report;
    if replicas.len() > PARTITIONS_PER_COMMAND_MAX {
        return Err(Refusal::TooManyAtOnce { got: replicas.len(), max: PARTITIONS_PER_COMMAND_MAX });
    }
    if image.registered(broker, incarnation)?.state != BrokerState::Recovering {
        return Err(Refusal::RecoveryReported { broker });
    }
    let recovered: BTreeMap<TopicPartition, Recovered> = replicas.iter().copied().collect();
    let mut records = Settling::new(image).records(|id, partition| match recovered.get(&id) {
        Some(recovered) if partition.is_replica(broker) => Some(reported(broker, *recovered, partition)),
        None if complete => unnamed(broker, partition),
        _ => None,
    });
    if complete {
        let state = BrokerState::Fenced;
        records.push(Record::BrokerStateChanged(BrokerStateChanged { broker, incarnation, state }));
    }
    Ok(records)
}

fn reported(broker: BrokerId, recovered: Recovered, partition: &PartitionState) -> PartitionState {
    let mut next = partition.clone();
    let (end, cut_torn_group) = match recovered {
        Recovered::Whole { end } => (Some(end), false),
        Recovered::CutTornGroup { end } => (Some(end), true),
        Recovered::Damaged => (None, false),
    };
    match end.filter(|end| end.leader_epoch < LEADER_EPOCH_PLAUSIBLE_END) {
        None => next.mark_damaged(broker),
        Some(end) if partition.is_trusted(broker) && !partition.damaged.contains(&broker) => {
            next.note_restarted(RestartedReplica { broker, end, cut_torn_group });
        }
        Some(_) => {}
    }
    next
}

/// It was trusted and did not come back.
fn unnamed(broker: BrokerId, partition: &PartitionState) -> Option<PartitionState> {
    let known = partition.restarted(broker).is_some() || partition.damaged.contains(&broker);
    (partition.is_trusted(broker) && !known).then(|| reported(broker, Recovered::Damaged, partition))
}

#[cfg(test)]
#[path = "on_report_recovery_test.rs"]
mod tests;
