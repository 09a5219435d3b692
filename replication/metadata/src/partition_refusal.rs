//! Commands that name many partitions: each is answered for itself, in the order of the command.

use crate::image::{Image, Topic};
use crate::partition_state::PartitionState;
use crate::record::Record;
use crate::refusal::Refusal;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::PARTITIONS_PER_COMMAND_MAX;
use sluice_model::{BrokerId, Incarnation, LeaderEpoch, PartitionEpoch, TopicPartition};
use std::collections::BTreeSet;
use std::fmt;

/// What a command about many partitions does, and what is said of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    pub records: Vec<Record>,
    /// What the partition is once the records are applied, or why it stays as it is.
    pub answers: Vec<Result<PartitionState, PartitionRefusal>>,
}

/// Why nothing is changed of one partition.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionRefusal {
    UnknownPartition {
        id: TopicPartition,
    },
    /// The command names it twice, and this is the second time.
    NamedTwice,
    NotLeader {
        leader: Option<BrokerId>,
    },
    StaleLeaderEpoch {
        got: LeaderEpoch,
        current: LeaderEpoch,
    },
    StalePartitionEpoch {
        got: PartitionEpoch,
        current: PartitionEpoch,
    },
    /// The in-sync set would be without its leader, or empty.
    LeaderNotInSync,
    MemberNamedTwice {
        broker: BrokerId,
    },
    NotReplica {
        broker: BrokerId,
    },
    /// It holds no lease, or is about to stop.
    MemberNotActive {
        broker: BrokerId,
    },
    /// What the leader knows of it is about another start (KIP-903).
    MemberIncarnation {
        broker: BrokerId,
        got: Incarnation,
        current: Incarnation,
    },
    MemberDamaged {
        broker: BrokerId,
    },
    NotInSync {
        broker: BrokerId,
    },
    /// There is nobody who leads it.
    NoLeader,
    /// There is somebody who leads it.
    HasLeader {
        leader: BrokerId,
    },
    /// The operator was not shown how far its log goes.
    NotShown {
        broker: BrokerId,
    },
    ImplausibleEpoch {
        got: LeaderEpoch,
    },
}

impl PartitionRefusal {
    /// Of a change of an in-sync set: whether it was judged under the very epochs it names, and so was certainly not taken
    /// before. Any other refusal may be the doing of the change itself, when it came twice.
    #[must_use]
    pub fn judges_change(&self) -> bool {
        match self {
            Self::LeaderNotInSync
            | Self::MemberNamedTwice { .. }
            | Self::NotReplica { .. }
            | Self::MemberNotActive { .. }
            | Self::MemberIncarnation { .. }
            | Self::MemberDamaged { .. } => true,
            Self::UnknownPartition { .. }
            | Self::NamedTwice
            | Self::NotLeader { .. }
            | Self::StaleLeaderEpoch { .. }
            | Self::StalePartitionEpoch { .. }
            | Self::NotInSync { .. }
            | Self::NoLeader
            | Self::HasLeader { .. }
            | Self::NotShown { .. }
            | Self::ImplausibleEpoch { .. } => false,
        }
    }
}

impl fmt::Display for PartitionRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPartition { id } => write!(f, "there is no partition {id}"),
            Self::NamedTwice => write!(f, "the partition is named twice in one command"),
            Self::NotLeader { leader: Some(leader) } => write!(f, "broker {leader} leads the partition"),
            Self::NotLeader { leader: None } | Self::NoLeader => write!(f, "no broker leads the partition"),
            Self::StaleLeaderEpoch { got, current } => write!(f, "the leader epoch is {current}, not {got}"),
            Self::StalePartitionEpoch { got, current } => {
                write!(f, "the partition has changed meanwhile: its epoch is {current}, not {got}")
            }
            Self::LeaderNotInSync => write!(f, "the leader has to be in the in-sync set"),
            Self::MemberNamedTwice { broker } => write!(f, "broker {broker} is named twice"),
            Self::NotReplica { broker } => write!(f, "broker {broker} holds no replica of the partition"),
            Self::MemberNotActive { broker } => write!(f, "broker {broker} is fenced or shuts down"),
            Self::MemberIncarnation { broker, got, current } => {
                write!(f, "broker {broker} is registered as incarnation {current}, not {got}")
            }
            Self::MemberDamaged { broker } => write!(f, "the replica of broker {broker} is damaged and not yet repaired"),
            Self::NotInSync { broker } => write!(f, "broker {broker} is not in sync"),
            Self::HasLeader { leader } => write!(f, "broker {leader} leads the partition: nothing has to be given up"),
            Self::NotShown { broker } => write!(f, "it was not shown how far the log of broker {broker} goes"),
            Self::ImplausibleEpoch { got } => write!(f, "leader epoch {got} was never given out"),
        }
    }
}

impl std::error::Error for PartitionRefusal {}

/// Answers one partition after the other.
pub(crate) struct Sequence {
    pub(crate) answered: Answered,
    named: BTreeSet<TopicPartition>,
}

impl Sequence {
    pub(crate) fn of(count: usize) -> Result<Self, Refusal> {
        if count > PARTITIONS_PER_COMMAND_MAX {
            return Err(Refusal::TooManyAtOnce { got: count, max: PARTITIONS_PER_COMMAND_MAX });
        }
        Ok(Self { answered: Answered::default(), named: BTreeSet::new() })
    }

    /// `decide` gives the next state, or `None` when the partition stays as it is.
    pub(crate) fn answer(
        &mut self,
        image: &Image,
        id: TopicPartition,
        decide: impl FnOnce(&Topic, &PartitionState) -> Result<Option<PartitionState>, PartitionRefusal>,
    ) {
        let answer = self.decided(image, id, decide);
        self.answered.answers.push(answer);
    }

    fn decided(
        &mut self,
        image: &Image,
        id: TopicPartition,
        decide: impl FnOnce(&Topic, &PartitionState) -> Result<Option<PartitionState>, PartitionRefusal>,
    ) -> Result<PartitionState, PartitionRefusal> {
        let topic = image.topic(id.topic_id).ok_or(PartitionRefusal::UnknownPartition { id })?;
        let partition = topic.partition(id.partition).ok_or(PartitionRefusal::UnknownPartition { id })?;
        if !self.named.insert(id) {
            return Err(PartitionRefusal::NamedTwice);
        }
        let Some(next) = decide(topic, partition)? else { return Ok(partition.clone()) };
        self.answered.records.push(next.clone().record(id));
        Ok(next)
    }
}

/// Whether `broker` leads the partition under `leader_epoch`.
pub(crate) fn check_leader(
    partition: &PartitionState,
    broker: BrokerId,
    leader_epoch: LeaderEpoch,
) -> Result<(), PartitionRefusal> {
    if partition.leader != Some(broker) {
        return Err(PartitionRefusal::NotLeader { leader: partition.leader });
    }
    if partition.leader_epoch != leader_epoch {
        return Err(PartitionRefusal::StaleLeaderEpoch { got: leader_epoch, current: partition.leader_epoch });
    }
    Ok(())
}
