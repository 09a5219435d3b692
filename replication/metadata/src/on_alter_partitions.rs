//! A leader asks for other in-sync sets of what it leads (KIP-497), many at once: when a disk turns slow, its replicas
//! leave as one.
//!
//! The expensive mistake is a set that was decided about something else: an earlier leader epoch, an earlier state of
//! the partition, an earlier start of a member (KIP-903: it fetched, was added, and meanwhile came back without what it
//! had). So a change names all three, and every member is looked at, not only those that are new.

use crate::broker_state::BrokerState;
use crate::election::Settling;
use crate::image::{Image, Topic};
use crate::partition_refusal::{Answered, PartitionRefusal, Sequence, check_leader};
use crate::partition_state::PartitionState;
use crate::refusal::Refusal;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::{BrokerId, Incarnation, LeaderEpoch, PartitionEpoch, TopicPartition};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct AlterPartitions {
    /// The leader.
    pub broker: BrokerId,
    pub incarnation: Incarnation,
    /// At most `PARTITIONS_PER_COMMAND_MAX`.
    pub changes: Vec<IsrChange>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct IsrChange {
    pub id: TopicPartition,
    /// The one it leads under.
    pub leader_epoch: LeaderEpoch,
    /// The one that the change is based on.
    pub partition_epoch: PartitionEpoch,
    /// The whole set, in any order, each in the incarnation that the leader has seen fetch.
    pub isr: Vec<(BrokerId, Incarnation)>,
}

/// Each partition is answered for itself, with what it is afterwards. The leader goes by the answer once it has applied
/// the metadata that it is part of: a set that shrinks is safe only together with the `min_insync_replicas` that was in
/// force when it did.
pub fn on_alter_partitions(image: &Image, request: &AlterPartitions) -> Result<Answered, Refusal> {
    let AlterPartitions { broker, incarnation, ref changes } = *request;
    if !image.registered(broker, incarnation)?.state.holds_lease() {
        return Err(Refusal::BrokerFenced { broker });
    }
    // A leader that shuts down takes members in, and hands over to them by a step of its own.
    let settling = Settling::new(image).with_broker(broker, BrokerState::Active);
    let mut sequence = Sequence::of(changes.len())?;
    for change in changes {
        sequence.answer(image, change.id, |topic, partition| {
            check_leader(partition, broker, change.leader_epoch)?;
            altered(image, &settling, change, topic, partition)
        });
    }
    Ok(sequence.answered)
}

fn altered(
    image: &Image,
    settling: &Settling<'_>,
    change: &IsrChange,
    topic: &Topic,
    partition: &PartitionState,
) -> Result<Option<PartitionState>, PartitionRefusal> {
    if change.partition_epoch != partition.partition_epoch {
        let (got, current) = (change.partition_epoch, partition.partition_epoch);
        return Err(PartitionRefusal::StalePartitionEpoch { got, current });
    }
    for (index, &(broker, incarnation)) in change.isr.iter().enumerate() {
        if change.isr[..index].iter().any(|&(earlier, _)| earlier == broker) {
            return Err(PartitionRefusal::MemberNamedTwice { broker });
        }
        check_member(image, partition, broker, incarnation)?;
    }
    let mut next = partition.clone();
    next.isr = change.isr.iter().map(|&(broker, _)| broker).collect();
    next.isr.sort_unstable();
    if partition.leader.is_none_or(|leader| !next.isr.contains(&leader)) {
        return Err(PartitionRefusal::LeaderNotInSync);
    }
    // The leader has seen them hold what it holds: how they started no longer counts.
    next.restarted.retain(|r| !next.isr.contains(&r.broker));
    let settled = settling.settled(partition, next, topic.min_insync());
    Ok(Some(settled.unwrap_or_else(|| at_next_epoch(partition))))
}

/// The same under the next partition epoch. A leader that asks for the set that there is does so because an earlier change of its
/// was not answered: from now on that one is refused, whenever it comes.
fn at_next_epoch(partition: &PartitionState) -> PartitionState {
    PartitionState { partition_epoch: PartitionEpoch(partition.partition_epoch.0.saturating_add(1)), ..partition.clone() }
}

fn check_member(image: &Image, partition: &PartitionState, broker: BrokerId, got: Incarnation) -> Result<(), PartitionRefusal> {
    let Some(known) = image.broker(broker).filter(|_| partition.is_replica(broker)) else {
        return Err(PartitionRefusal::NotReplica { broker });
    };
    if known.incarnation != got {
        return Err(PartitionRefusal::MemberIncarnation { broker, got, current: known.incarnation });
    }
    let is_leader = partition.leader == Some(broker);
    if known.state != BrokerState::Active && !(is_leader && known.state.holds_lease()) {
        return Err(PartitionRefusal::MemberNotActive { broker });
    }
    if partition.damaged.contains(&broker) {
        return Err(PartitionRefusal::MemberDamaged { broker });
    }
    Ok(())
}

#[cfg(test)]
#[path = "on_alter_partitions_test.rs"]
mod tests;
