//! Why an event was refused. Nothing has changed then. Which code goes over the wire is decided at the edge.

use crate::human_value::{self, Unit, ValueError};
use crate::identity::FolderId;
use crate::setting_name::SettingName;
use crate::topic_name::NameFault;
use crate::topic_settings::SETTINGS;
use rkyv::with::Map;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::RACK_LEN_MAX;
use sluice_model::{BrokerId, Incarnation, TopicId};
use std::fmt;

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    // Brokers.
    /// An incarnation registers whose number is not greater than the registered one's, or one that is not registered
    /// any more asks for something.
    FencedIncarnation {
        broker: BrokerId,
        got: Incarnation,
        current: Incarnation,
    },
    /// The broker is known with another data folder.
    OtherFolder {
        broker: BrokerId,
        known: FolderId,
        got: FolderId,
    },
    InvalidBrokerId {
        got: BrokerId,
    },
    InvalidShardCount {
        got: usize,
        max: usize,
    },
    InvalidAddress {
        shard: usize,
        got: String,
    },
    UnknownBroker {
        broker: BrokerId,
    },
    /// No broker has registered that could hold a partition.
    NoBrokers,
    /// The folder is another broker's: a copy was started.
    FolderTaken {
        folder_id: FolderId,
        by: BrokerId,
    },
    /// A broker that is one of several starts as if it were the only one.
    NotAlone {
        broker: BrokerId,
    },
    InvalidRack {
        got: String,
    },
    /// The broker has not said yet what its recovery found.
    NotRecovered {
        broker: BrokerId,
    },
    /// The broker has said already what its recovery found.
    RecoveryReported {
        broker: BrokerId,
    },
    BrokerFenced {
        broker: BrokerId,
    },
    BrokerShuttingDown {
        broker: BrokerId,
    },
    /// One command names too much.
    TooManyAtOnce {
        got: usize,
        max: usize,
    },
    /// The controller cannot read the command.
    CommandNotUnderstood {
        by: BrokerId,
    },
    /// One command is longer than another broker takes it, bytes.
    CommandTooLong {
        got: usize,
        max: usize,
    },

    // Topics.
    InvalidTopicName {
        name: String,
        fault: NameFault,
    },
    TopicExists {
        name: String,
        topic_id: TopicId,
    },
    /// The random id is in use, or was, or is zero: draw another.
    TopicIdTaken {
        topic_id: TopicId,
    },
    UnknownTopic {
        name: String,
    },
    /// The topic to be purged is not a deleted one.
    TopicNotDeleted {
        topic_id: TopicId,
    },
    /// The topic was deleted, and what is left of it goes.
    TopicDeleted {
        topic_id: TopicId,
    },
    /// The partitions belong to a topic that has a name and settings already, and cannot be removed without it.
    TopicIsKnown {
        topic_id: TopicId,
        name: String,
    },
    /// Every partition that was found is the topic's already.
    NothingToAdopt {
        topic_id: TopicId,
    },
    InvalidPartitionCount {
        got: u32,
        max: u32,
    },
    FewerPartitions {
        got: u32,
        current: u32,
    },
    TooManyPartitions {
        got: usize,
        max: usize,
    },
    InvalidReplicationFactor {
        got: u32,
        max: u32,
    },
    /// Each replica wants a broker of its own.
    NotEnoughBrokers {
        wanted: u32,
        registered: usize,
    },
    /// With so few brokers there, nothing could be written to the topic.
    NotEnoughActiveBrokers {
        wanted: usize,
        active: usize,
        registered: usize,
    },

    // Settings.
    UnknownSetting {
        name: String,
        #[rkyv(with = Map<SettingName>)]
        nearest: Option<&'static str>,
    },
    RepeatedSetting {
        name: String,
    },
    InvalidSetting {
        #[rkyv(with = SettingName)]
        setting: &'static str,
        value: String,
        fault: SettingFault,
    },

    ProducerIdsExhausted,
}

/// What is wrong with the value of a setting.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingFault {
    Value(ValueError),
    OutOfBounds { min: i64, max: i64, unit: Unit, may_be_none: bool },
    MoreThanReplicas { replicas: u32 },
}

impl fmt::Display for SettingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Value(error) => error.fmt(f),
            Self::OutOfBounds { min, max, unit, may_be_none } => {
                let none = if may_be_none { ", or none" } else { "" };
                write!(f, "it must be {} to {}{none}", human_value::format(min, unit), human_value::format(max, unit))
            }
            Self::MoreThanReplicas { replicas } => {
                write!(f, "the topic has {replicas} replica{}", if replicas == 1 { "" } else { "s" })
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FencedIncarnation { broker, got, current } => {
                write!(f, "broker {broker} is registered as incarnation {current}; {got} is not newer")
            }
            Self::OtherFolder { broker, known, got } => {
                write!(
                    f,
                    "broker {broker} is known with data folder {known}, not {got}; start it on its own folder, or name the lost one that this one replaces"
                )
            }
            Self::InvalidBrokerId { got } => write!(f, "{got} is no broker id; they begin at 1"),
            Self::InvalidShardCount { got, max } => write!(f, "a broker has 1 to {max} shards, not {got}"),
            Self::InvalidAddress { shard, got } => {
                write!(f, "shard {shard} has the address {}, which no client can connect to", Quoted(got))
            }
            Self::UnknownBroker { broker } => write!(f, "broker {broker} is not registered"),
            Self::NoBrokers => write!(f, "no broker is registered that could hold a partition"),
            Self::FolderTaken { folder_id, by } => {
                write!(f, "data folder {folder_id} is that of broker {by}; a copy cannot be another broker")
            }
            Self::NotAlone { broker } => write!(f, "broker {broker} is one of a cluster and has to register as such"),
            Self::InvalidRack { got } => {
                write!(f, "{} is no name of a rack; it has 1 to {RACK_LEN_MAX} bytes", Quoted(got))
            }
            Self::NotRecovered { broker } => write!(f, "broker {broker} has not yet said what its recovery found"),
            Self::RecoveryReported { broker } => write!(f, "broker {broker} has said already what its recovery found"),
            Self::BrokerFenced { broker } => write!(f, "broker {broker} is fenced"),
            Self::BrokerShuttingDown { broker } => write!(f, "broker {broker} is shutting down; it comes back by a new start"),
            Self::TooManyAtOnce { got, max } => write!(f, "{got} partitions are named in one command, at most {max} are allowed"),
            Self::CommandNotUnderstood { by } => {
                write!(
                    f,
                    "broker {by}, the controller, does not understand the command; it may be of an older version than this one"
                )
            }
            Self::CommandTooLong { got, max } => {
                write!(f, "the command has {got} bytes, at most {max} are allowed; ask for less at once")
            }
            Self::InvalidTopicName { name, fault } => write!(f, "{} is no topic name: {fault}", Quoted(name)),
            Self::TopicExists { name, .. } => write!(f, "topic {} exists already", Quoted(name)),
            Self::TopicIdTaken { topic_id } => write!(f, "topic id {topic_id} is taken"),
            Self::UnknownTopic { name } => write!(f, "there is no topic {}", Quoted(name)),
            Self::TopicNotDeleted { topic_id } => write!(f, "topic id {topic_id} is not a deleted topic's"),
            Self::TopicDeleted { topic_id } => {
                write!(f, "topic {topic_id} was deleted; what is left of it goes at the broker's next start")
            }
            Self::TopicIsKnown { topic_id, name } => write!(
                f,
                "topic {topic_id} is known as {}: it can adopt its further partitions under that name and its own settings, nothing else",
                Quoted(name)
            ),
            Self::NothingToAdopt { topic_id } => write!(f, "nothing was found of topic {topic_id} that has no topic"),
            Self::InvalidPartitionCount { got, max } => write!(f, "a topic has 1 to {max} partitions, not {got}"),
            Self::FewerPartitions { got, current } => {
                write!(f, "the topic has {current} partitions; it can get more, not fewer ({got})")
            }
            Self::TooManyPartitions { got, max } => {
                write!(f, "the cluster would have {got} partitions, at most {max} are allowed")
            }
            Self::InvalidReplicationFactor { got, max } => write!(f, "a partition has 1 to {max} replicas, not {got}"),
            Self::NotEnoughBrokers { wanted, registered } => {
                let (are, s) = if *registered == 1 { ("is", "") } else { ("are", "s") };
                write!(f, "{wanted} replicas want {wanted} brokers; there {are} {registered} broker{s}")
            }
            Self::NotEnoughActiveBrokers { wanted, active, registered } => write!(
                f,
                "{wanted} brokers have to be active for the topic to take records; of {registered} there {} active",
                if *active == 1 { "is 1".to_owned() } else { format!("are {active}") }
            ),
            Self::UnknownSetting { name, nearest: Some(nearest) } => {
                write!(f, "there is no topic setting {}; did you mean {nearest}?", Quoted(name))
            }
            Self::UnknownSetting { name, nearest: None } => {
                let names: Vec<_> = SETTINGS.iter().map(|s| s.name).collect();
                write!(f, "there is no topic setting {}; there are {}", Quoted(name), names.join(", "))
            }
            Self::RepeatedSetting { name } => write!(f, "topic setting {} is given twice", Quoted(name)),
            Self::InvalidSetting { setting, value, fault } => {
                write!(f, "topic setting {setting} cannot be {}: {fault}", Quoted(value))
            }
            Self::ProducerIdsExhausted => write!(f, "all producer ids are given out"),
        }
    }
}

impl std::error::Error for Refusal {}

/// A text from outside, escaped and cut to a length that suits a message.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CHARS_MAX: usize = 80;
        match self.0.char_indices().nth(CHARS_MAX) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}…", &self.0[..end]),
        }
    }
}
