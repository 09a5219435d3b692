//! Why a record does not apply: the log is not one that the rules of this image wrote.

use crate::broker_state::BrokerState;
use sluice_model::{
    BrokerId, Incarnation, LeaderEpoch, PartitionEpoch, PartitionIndex, PlacementEpoch, ProducerId, TopicId, TopicPartition,
};
use std::fmt;

/// Why a record does not apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    IncarnationNotNewer {
        broker: BrokerId,
        got: Incarnation,
        current: Incarnation,
    },
    NoShards {
        broker: BrokerId,
    },
    TopicIdTaken {
        topic_id: TopicId,
    },
    TopicNameTaken {
        name: String,
    },
    UnknownTopic {
        topic_id: TopicId,
    },
    NotDeleted {
        topic_id: TopicId,
    },
    UnknownSetting {
        code: u16,
    },
    /// Partitions are added after those there are, at least one.
    PartitionsNotNext {
        topic_id: TopicId,
        first: PartitionIndex,
        current: usize,
    },
    UnknownPartition {
        id: TopicPartition,
    },
    /// A partition's replicas, in-sync set, eligible leaders and leader contradict each other.
    MalformedPartition {
        id: TopicPartition,
        rule: &'static str,
    },
    UnknownBroker {
        broker: BrokerId,
    },
    /// A record about a broker's incarnation that is not the registered one.
    OtherIncarnation {
        broker: BrokerId,
        got: Incarnation,
        current: Incarnation,
    },
    BrokerState {
        broker: BrokerId,
        from: BrokerState,
        to: BrokerState,
    },
    /// A broker without a lease would lead.
    FencedLeader {
        id: TopicPartition,
        broker: BrokerId,
    },
    /// Elected from outside of the in-sync set and the eligible leader replicas, and not by an operator who was shown it.
    NotEligible {
        id: TopicPartition,
        leader: Option<BrokerId>,
    },
    PartitionEpoch {
        id: TopicPartition,
        from: PartitionEpoch,
        to: PartitionEpoch,
    },
    LeaderEpoch {
        id: TopicPartition,
        from: LeaderEpoch,
        to: LeaderEpoch,
    },
    PlacementEpoch {
        id: TopicPartition,
        from: PlacementEpoch,
        to: PlacementEpoch,
    },
    /// A replica lies on a broker or shard that there is not.
    NoSuchShard {
        id: TopicPartition,
        broker: BrokerId,
    },
    ProducerIdsNotNext {
        first: ProducerId,
        next: ProducerId,
    },
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IncarnationNotNewer { broker, got, current } => {
                write!(f, "broker {broker} registers as incarnation {got} after {current}")
            }
            Self::NoShards { broker } => write!(f, "broker {broker} registers without shards"),
            Self::TopicIdTaken { topic_id } => write!(f, "topic id {topic_id} is created twice"),
            Self::TopicNameTaken { name } => write!(f, "topic {name:?} is created twice"),
            Self::UnknownTopic { topic_id } => write!(f, "there is no topic with id {topic_id}"),
            Self::NotDeleted { topic_id } => write!(f, "topic {topic_id} is purged and was not deleted"),
            Self::UnknownSetting { code } => write!(f, "topic setting {code} is not known"),
            Self::PartitionsNotNext { topic_id, first, current } => {
                write!(f, "topic {topic_id} with {current} partitions gets more from {first} on")
            }
            Self::UnknownPartition { id } => write!(f, "there is no partition {id}"),
            Self::MalformedPartition { id, rule } => write!(f, "partition {id} breaks the rule: {rule}"),
            Self::UnknownBroker { broker } => write!(f, "broker {broker} is not registered"),
            Self::OtherIncarnation { broker, got, current } => {
                write!(f, "broker {broker} is registered as incarnation {current}, not {got}")
            }
            Self::BrokerState { broker, from, to } => write!(f, "broker {broker} goes from {from} to {to}"),
            Self::FencedLeader { id, broker } => write!(f, "broker {broker} leads partition {id} and holds no lease"),
            Self::NotEligible { id, leader: Some(leader) } => write!(f, "broker {leader} is not eligible to lead partition {id}"),
            Self::NotEligible { id, leader: None } => write!(f, "an operator's election leaves partition {id} without a leader"),
            Self::PartitionEpoch { id, from, to } => write!(f, "the epoch of partition {id} goes from {from} to {to}"),
            Self::LeaderEpoch { id, from, to } => write!(f, "the leader epoch of partition {id} goes from {from} to {to}"),
            Self::PlacementEpoch { id, from, to } => write!(f, "the placement epoch of partition {id} goes from {from} to {to}"),
            Self::NoSuchShard { id, broker } => write!(f, "partition {id} lies on a shard that broker {broker} does not have"),
            Self::ProducerIdsNotNext { first, next } => write!(f, "producer ids from {first} on are given out, {next} is next"),
        }
    }
}

impl std::error::Error for ApplyError {}
