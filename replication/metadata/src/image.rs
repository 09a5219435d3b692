//! The image: what all records of the metadata log together say.
//!
//! It is changed by [`Image::apply_batch`] and by nothing else, so every holder of the same log has the same image.
//! Deliberately absent: anything that is not in the log (when a lease ends, what a shard is doing).

mod apply;
mod apply_error;
mod partition_rules;
mod snapshot;

pub use apply_error::ApplyError;
pub(crate) use partition_rules::partition_rules;
pub use snapshot::{SNAPSHOT_LEN_MAX, SnapshotError};

use crate::broker_state::BrokerState;
use crate::identity::{ClusterId, FolderId};
use crate::partition_state::PartitionState;
use crate::record::Address;
use crate::refusal::Refusal;
use crate::topic_settings::TopicSettings;
use sluice_model::{BrokerId, Incarnation, PartitionIndex, ProducerId, ShardIndex, TopicId, TopicPartition};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The cluster's metadata as of some log index. A clone shares what neither of the two changes afterwards: a change of
/// one partition copies a pointer per topic and per partition of its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    cluster_id: ClusterId,
    brokers: Arc<BTreeMap<BrokerId, Broker>>,
    topics: Arc<BTreeMap<TopicId, Arc<Topic>>>,
    /// Exactly the topics of `topics`, by name.
    topic_ids: Arc<BTreeMap<String, TopicId>>,
    /// Topics that something of a broker may still name. Disjoint from `topics`.
    deleted_topics: Arc<BTreeMap<TopicId, DeletedTopic>>,
    /// All partitions of `topics`.
    partition_count: usize,
    next_producer_id: ProducerId,
}

/// A broker as it last registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub incarnation: Incarnation,
    pub folder_id: FolderId,
    /// Where each shard listens, shard 0 first; never empty.
    pub addresses: Vec<Address>,
    /// What fails together with it.
    pub rack: Option<String>,
    pub state: BrokerState,
}

impl Broker {
    #[must_use]
    pub fn shard_count(&self) -> usize {
        self.addresses.len()
    }

    #[must_use]
    pub fn address(&self, shard: ShardIndex) -> Option<&Address> {
        self.addresses.get(usize::from(shard.0))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub settings: TopicSettings,
    /// Partition 0 first; never empty.
    pub partitions: Vec<Arc<PartitionState>>,
    /// By broker, the number of the incarnation it was in when the topic was created; none for a topic whose
    /// partitions had a life before that (`on_adopt_topic`).
    created_in: BTreeMap<BrokerId, u64>,
}

impl Topic {
    #[must_use]
    pub fn partition(&self, partition: PartitionIndex) -> Option<&PartitionState> {
        self.partitions.get(usize::try_from(partition.0).ok()?).map(|state| &**state)
    }

    /// Each partition with its number.
    pub fn numbered_partitions(&self) -> impl Iterator<Item = (PartitionIndex, &PartitionState)> {
        (0..).map(PartitionIndex).zip(self.partitions.iter().map(|state| &**state))
    }

    /// Replicas of each of its partitions; what is added gets as many.
    #[must_use]
    pub fn replication_factor(&self) -> u32 {
        let replicas = self.partitions.first().map_or(0, |partition| partition.replicas.len());
        u32::try_from(replicas).unwrap_or(u32::MAX)
    }

    /// So many in sync let the high watermark move.
    #[must_use]
    pub fn min_insync(&self) -> usize {
        self.settings.min_insync_replicas() as usize
    }
}

/// The tombstone of a deleted topic: what is remembered of it until nothing that a broker holds can name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletedTopic {
    pub name: String,
    pub partition_count: u32,
    created_in: BTreeMap<BrokerId, u64>,
    deleted_in: BTreeMap<BrokerId, u64>,
}

impl DeletedTopic {
    /// Number of the first incarnation of `broker` that may have written something of the topic; 0 when that is not
    /// known.
    #[must_use]
    pub fn first_incarnation(&self, broker: BrokerId) -> u64 {
        self.created_in.get(&broker).copied().unwrap_or(0)
    }

    /// Number of the last incarnation of `broker` that may have written something of the topic; 0 when there was none.
    #[must_use]
    pub fn last_incarnation(&self, broker: BrokerId) -> u64 {
        self.deleted_in.get(&broker).copied().unwrap_or(0)
    }
}

impl Image {
    /// The image of an empty log.
    #[must_use]
    pub fn new(cluster_id: ClusterId) -> Self {
        Self {
            cluster_id,
            brokers: Arc::default(),
            topics: Arc::default(),
            topic_ids: Arc::default(),
            deleted_topics: Arc::default(),
            partition_count: 0,
            next_producer_id: ProducerId(0),
        }
    }

    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    #[must_use]
    pub fn broker(&self, broker: BrokerId) -> Option<&Broker> {
        self.brokers.get(&broker)
    }

    /// Ascending by id.
    pub fn brokers(&self) -> impl Iterator<Item = (BrokerId, &Broker)> {
        self.brokers.iter().map(|(&id, broker)| (id, broker))
    }

    /// The broker, if `incarnation` is the one that is registered: a word of any other counts for nothing.
    pub(crate) fn registered(&self, broker: BrokerId, incarnation: Incarnation) -> Result<&Broker, Refusal> {
        let known = self.broker(broker).ok_or(Refusal::UnknownBroker { broker })?;
        if known.incarnation != incarnation {
            return Err(Refusal::FencedIncarnation { broker, got: incarnation, current: known.incarnation });
        }
        Ok(known)
    }

    /// The number the next start of `broker` takes, unless recovery finds a greater one in its data folder. From 1.
    #[must_use]
    pub fn next_incarnation_number(&self, broker: BrokerId) -> u64 {
        self.broker(broker).map_or(1, |b| b.incarnation.number.saturating_add(1))
    }

    #[must_use]
    pub fn topic(&self, topic_id: TopicId) -> Option<&Topic> {
        self.topics.get(&topic_id).map(|topic| &**topic)
    }

    #[must_use]
    pub fn topic_by_name(&self, name: &str) -> Option<(TopicId, &Topic)> {
        let topic_id = *self.topic_ids.get(name)?;
        Some((topic_id, &self.topics[&topic_id]))
    }

    /// Ascending by id.
    pub fn topics(&self) -> impl Iterator<Item = (TopicId, &Topic)> {
        self.topics.iter().map(|(&id, topic)| (id, &**topic))
    }

    /// Ascending by name, those after `after`.
    pub fn topics_by_name<'a>(&'a self, after: Option<&str>) -> impl Iterator<Item = (TopicId, &'a Topic)> + use<'a> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.topic_ids.range::<str, _>((from, Unbounded)).map(|(_, id)| (*id, &*self.topics[id]))
    }

    #[must_use]
    pub fn partition(&self, id: TopicPartition) -> Option<&PartitionState> {
        self.topic(id.topic_id)?.partition(id.partition)
    }

    /// Every partition of every topic, ascending.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicPartition, &PartitionState)> {
        self.topics.iter().flat_map(|(&topic_id, topic)| {
            topic.numbered_partitions().map(move |(partition, state)| (TopicPartition { topic_id, partition }, state))
        })
    }

    /// What `broker` leads, ascending. A broker that shuts down may stop when there is nothing left of it.
    pub fn led_by(&self, broker: BrokerId) -> impl Iterator<Item = TopicPartition> {
        self.partitions().filter(move |(_, partition)| partition.leader == Some(broker)).map(|(id, _)| id)
    }

    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// Whether files of this topic may be removed: it was deleted and is not yet purged.
    #[must_use]
    pub fn is_deleted(&self, topic_id: TopicId) -> bool {
        self.deleted_topics.contains_key(&topic_id)
    }

    /// Deleted and not yet purged, ascending by id.
    pub fn deleted_topics(&self) -> impl Iterator<Item = (TopicId, &DeletedTopic)> {
        self.deleted_topics.iter().map(|(&id, topic)| (id, topic))
    }

    /// The first producer id not yet given out.
    #[must_use]
    pub fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id
    }
}
