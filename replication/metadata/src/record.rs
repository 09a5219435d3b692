//! The records of the metadata log.
//!
//! The expensive mistake is to change one. A variant and its payload are frozen once a release has written them; what
//! changes gets a new variant at the end, and the version in `batch.rs` is raised, so that an older build says "from
//! a newer version" instead of misreading. Payloads are archived out of line, so that a new variant, however large,
//! leaves the others where they are. Records say what is so afterwards, not how it was decided: deciding may change
//! from build to build, a written record may not.

use crate::broker_state::BrokerState;
use crate::identity::FolderId;
use crate::partition_state::{PartitionState, ShownReplica};
use rkyv::with::AsBox;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::{BrokerId, Incarnation, LeaderEpoch, PartitionIndex, PlacementEpoch, ProducerId, ShardIndex, TopicId};
use std::fmt;

/// One change of the cluster's metadata.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A broker started.
    BrokerRegistered(#[rkyv(with = AsBox)] BrokerRegistered),
    TopicCreated(#[rkyv(with = AsBox)] TopicCreated),
    /// The topic is gone for clients; brokers may still hold its files.
    TopicDeleted(#[rkyv(with = AsBox)] TopicDeleted),
    /// No broker holds files of the deleted topic any more.
    TopicPurged(#[rkyv(with = AsBox)] TopicPurged),
    TopicSettingsChanged(#[rkyv(with = AsBox)] TopicSettingsChanged),
    PartitionsAdded(#[rkyv(with = AsBox)] PartitionsAdded),
    PartitionChanged(#[rkyv(with = AsBox)] PartitionChanged),
    ProducerIdsAllocated(#[rkyv(with = AsBox)] ProducerIdsAllocated),

    // Since version 2.
    /// A broker started that leads nothing before it is let in.
    BrokerIncarnationRegistered(#[rkyv(with = AsBox)] BrokerIncarnationRegistered),
    BrokerStateChanged(#[rkyv(with = AsBox)] BrokerStateChanged),
    PartitionStateChanged(#[rkyv(with = AsBox)] PartitionStateChanged),
    /// A leader that may lack what was acknowledged, at an operator's command.
    UncleanLeaderElected(#[rkyv(with = AsBox)] UncleanLeaderElected),
}

impl Record {
    /// The version of the format that this record came with.
    pub(crate) fn version(&self) -> u8 {
        match self {
            Self::BrokerRegistered(_)
            | Self::TopicCreated(_)
            | Self::TopicDeleted(_)
            | Self::TopicPurged(_)
            | Self::TopicSettingsChanged(_)
            | Self::PartitionsAdded(_)
            | Self::PartitionChanged(_)
            | Self::ProducerIdsAllocated(_) => 1,
            Self::BrokerIncarnationRegistered(_)
            | Self::BrokerStateChanged(_)
            | Self::PartitionStateChanged(_)
            | Self::UncleanLeaderElected(_) => 2,
        }
    }
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct BrokerRegistered {
    pub broker: BrokerId,
    pub incarnation: Incarnation,
    pub folder_id: FolderId,
    /// Where each shard listens; as many as the broker has shards.
    pub addresses: Vec<Address>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TopicCreated {
    pub topic_id: TopicId,
    pub name: String,
    pub settings: Vec<SettingOverride>,
    /// Partition 0 first.
    pub partitions: Vec<Partition>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TopicDeleted {
    pub topic_id: TopicId,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TopicPurged {
    pub topic_id: TopicId,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TopicSettingsChanged {
    pub topic_id: TopicId,
    /// All that differ from the default from now on.
    pub settings: Vec<SettingOverride>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PartitionsAdded {
    pub topic_id: TopicId,
    /// The first new one; those before it stay.
    pub first: PartitionIndex,
    pub partitions: Vec<Partition>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PartitionChanged {
    pub topic_id: TopicId,
    pub partition: PartitionIndex,
    pub state: Partition,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ProducerIdsAllocated {
    pub broker: BrokerId,
    pub first: ProducerId,
    pub count: u32,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct BrokerIncarnationRegistered {
    pub broker: BrokerId,
    pub incarnation: Incarnation,
    pub folder_id: FolderId,
    /// Where each shard listens; as many as the broker has shards.
    pub addresses: Vec<Address>,
    pub rack: Option<String>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerStateChanged {
    pub broker: BrokerId,
    /// The registered one.
    pub incarnation: Incarnation,
    pub state: BrokerState,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PartitionStateChanged {
    pub topic_id: TopicId,
    pub partition: PartitionIndex,
    pub state: PartitionState,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct UncleanLeaderElected {
    pub topic_id: TopicId,
    pub partition: PartitionIndex,
    /// What the operator was shown and decided on; the new leader is among them.
    pub shown: Vec<ShownReplica>,
    pub state: PartitionState,
}

/// A setting of a topic that differs from its default. The code is `SettingKey`'s number.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingOverride {
    pub code: u16,
    pub value: i64,
}

/// Who leads a partition, who is in sync, and where it lies: as version 1 says it, and as a partition begins.
/// [`PartitionState`] is what the image makes of it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// `None` while no broker may lead it.
    pub leader: Option<BrokerId>,
    /// Greater with every new leader and every start of one. From 1.
    pub leader_epoch: LeaderEpoch,
    /// The in-sync set, ascending. The leader is in it.
    pub isr: Vec<BrokerId>,
    /// Not in sync, but known to hold all that was acknowledged (KIP-966). Ascending, disjoint from `isr`.
    pub eligible_leader_replicas: Vec<BrokerId>,
    /// Every broker that holds it, preferred leader first.
    pub replicas: Vec<Replica>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    pub broker: BrokerId,
    pub placement: Placement,
}

/// The shard of a broker that owns its replica. Of two shards with files of it, the greater epoch's owns it.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    pub shard: ShardIndex,
    /// From 1; one more with every move.
    pub placement_epoch: PlacementEpoch,
}

/// Where a shard can be reached by clients.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address.
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Partition {
    /// A new partition with one replica, which leads it.
    #[must_use]
    pub fn new(broker: BrokerId, shard: ShardIndex) -> Self {
        Self::with_replicas(&[(broker, shard)], |_| true)
    }

    /// A new partition, led by the first of `slots`; of the others those are in sync of which `in_sync` says so. All
    /// replicas of a new partition are empty, and hold what the others do.
    pub(crate) fn with_replicas(slots: &[(BrokerId, ShardIndex)], in_sync: impl Fn(BrokerId) -> bool) -> Self {
        let placed = |shard| Placement { shard, placement_epoch: PlacementEpoch(1) };
        let leader = slots.first().map(|&(broker, _)| broker);
        let mut isr: Vec<_> = slots.iter().map(|&(broker, _)| broker).filter(|&b| Some(b) == leader || in_sync(b)).collect();
        isr.sort_unstable();
        Self {
            leader,
            leader_epoch: LeaderEpoch(1),
            isr,
            eligible_leader_replicas: Vec::new(),
            replicas: slots.iter().map(|&(broker, shard)| Replica { broker, placement: placed(shard) }).collect(),
        }
    }
}
