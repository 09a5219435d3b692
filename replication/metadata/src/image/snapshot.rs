//! An image as bytes. A snapshot stands for every batch up to it.
//!
//! The rows are frozen with the version, like records; what an image comes to know of later gets rows of a next one. The
//! expensive mistake is to believe the bytes: what is read keeps every rule that applying records would have checked.

use super::partition_rules::check_partition;
use super::{ApplyError, Broker, DeletedTopic, Image, Topic};
use crate::broker_state::BrokerState;
use crate::framed::{FrameKind, FramedError, framed_bytes, from_framed};
use crate::identity::{ClusterId, FolderId};
use crate::partition_state::PartitionState;
use crate::record::{Address, SettingOverride};
use crate::topic_settings::TopicSettings;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::{BrokerId, Incarnation, ProducerId, TopicId, TopicPartition};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Largest snapshot, bytes. The largest cluster's stays far below it.
pub const SNAPSHOT_LEN_MAX: usize = 256 * 1024 * 1024;

const VERSION: u8 = 1;
const KIND: FrameKind = FrameKind { magic: *b"SLI", version: VERSION, len_max: SNAPSHOT_LEN_MAX };

#[derive(Archive, Serialize, Deserialize)]
struct ImageRows {
    cluster_id: ClusterId,
    brokers: Vec<BrokerRow>,
    topics: Vec<TopicRow>,
    deleted_topics: Vec<DeletedTopicRow>,
    next_producer_id: ProducerId,
}

#[derive(Archive, Serialize, Deserialize)]
struct BrokerRow {
    broker: BrokerId,
    incarnation: Incarnation,
    folder_id: FolderId,
    addresses: Vec<Address>,
    rack: Option<String>,
    state: BrokerState,
}

#[derive(Archive, Serialize, Deserialize)]
struct TopicRow {
    topic_id: TopicId,
    name: String,
    settings: Vec<SettingOverride>,
    partitions: Vec<PartitionState>,
    created_in: Vec<StartRow>,
}

#[derive(Archive, Serialize, Deserialize)]
struct DeletedTopicRow {
    topic_id: TopicId,
    name: String,
    partition_count: u32,
    created_in: Vec<StartRow>,
    deleted_in: Vec<StartRow>,
}

/// The number of a broker's incarnation.
#[derive(Archive, Serialize, Deserialize)]
struct StartRow {
    broker: BrokerId,
    number: u64,
}

/// Why bytes are not a snapshot of an image that this build can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// The bytes; what is said of a batch is said of them.
    Bytes(FramedError),
    /// They are intact and contradict the rules of an image.
    Rules(ApplyError),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(error) => error.fmt(f),
            Self::Rules(error) => write!(f, "it contradicts itself: {error}"),
        }
    }
}

impl std::error::Error for SnapshotError {}

impl Image {
    /// # Panics
    /// When it is longer than `SNAPSHOT_LEN_MAX`, which none of a largest cluster is.
    #[must_use]
    pub fn encode_snapshot(&self) -> Vec<u8> {
        let framed = framed_bytes(&self.rows(), KIND, VERSION, 256 * (self.partition_count + 1));
        framed.unwrap_or_else(|error| panic!("a snapshot of {} partitions: {error}", self.partition_count))
    }

    /// Reads bytes from disk or from outside. Never allocates more than a small multiple of their length.
    pub fn decode_snapshot(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let rows: ImageRows = from_framed(bytes, KIND).map_err(SnapshotError::Bytes)?;
        Self::from_rows(rows).map_err(SnapshotError::Rules)
    }

    fn rows(&self) -> ImageRows {
        let broker = |(&broker, known): (&BrokerId, &Broker)| {
            let Broker { incarnation, folder_id, addresses, rack, state } = known.clone();
            BrokerRow { broker, incarnation, folder_id, addresses, rack, state }
        };
        let topic = |(&topic_id, topic): (&TopicId, &Arc<Topic>)| TopicRow {
            topic_id,
            name: topic.name.clone(),
            settings: topic.settings.to_record(),
            partitions: topic.partitions.iter().map(|partition| PartitionState::clone(partition)).collect(),
            created_in: start_rows(&topic.created_in),
        };
        let deleted = |(&topic_id, topic): (&TopicId, &DeletedTopic)| DeletedTopicRow {
            topic_id,
            name: topic.name.clone(),
            partition_count: topic.partition_count,
            created_in: start_rows(&topic.created_in),
            deleted_in: start_rows(&topic.deleted_in),
        };
        ImageRows {
            cluster_id: self.cluster_id,
            brokers: self.brokers.iter().map(broker).collect(),
            topics: self.topics.iter().map(topic).collect(),
            deleted_topics: self.deleted_topics.iter().map(deleted).collect(),
            next_producer_id: self.next_producer_id,
        }
    }

    fn from_rows(rows: ImageRows) -> Result<Self, ApplyError> {
        let mut image = Self::new(rows.cluster_id);
        image.next_producer_id = rows.next_producer_id;
        for BrokerRow { broker, incarnation, folder_id, addresses, rack, state } in rows.brokers {
            image.insert_broker(broker, Broker { incarnation, folder_id, addresses, rack, state })?;
        }
        let (mut topics, mut topic_ids, mut deleted_topics) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for row in rows.deleted_topics {
            let DeletedTopicRow { topic_id, name, partition_count, created_in, deleted_in } = row;
            let (created_in, deleted_in) = (starts(created_in), starts(deleted_in));
            let topic = DeletedTopic { name, partition_count, created_in, deleted_in };
            if deleted_topics.insert(topic_id, topic).is_some() {
                return Err(ApplyError::TopicIdTaken { topic_id });
            }
        }
        for TopicRow { topic_id, name, settings, partitions, created_in } in rows.topics {
            if deleted_topics.contains_key(&topic_id) || topics.contains_key(&topic_id) {
                return Err(ApplyError::TopicIdTaken { topic_id });
            }
            if topic_ids.insert(name.clone(), topic_id).is_some() {
                return Err(ApplyError::TopicNameTaken { name });
            }
            let settings = TopicSettings::from_record(&settings).map_err(|code| ApplyError::UnknownSetting { code })?;
            image.partition_count += partitions.len();
            let partitions = partitions.into_iter().map(Arc::new).collect();
            let topic = Topic { name, settings, partitions, created_in: starts(created_in) };
            image.check_topic(topic_id, &topic)?;
            topics.insert(topic_id, Arc::new(topic));
        }
        image.topics = Arc::new(topics);
        image.topic_ids = Arc::new(topic_ids);
        image.deleted_topics = Arc::new(deleted_topics);
        Ok(image)
    }

    fn check_topic(&self, topic_id: TopicId, topic: &Topic) -> Result<(), ApplyError> {
        for (partition, state) in topic.numbered_partitions() {
            let id = TopicPartition { topic_id, partition };
            check_partition(id, state)?;
            self.check_brokers(id, state)?;
        }
        Ok(())
    }
}

fn start_rows(starts: &BTreeMap<BrokerId, u64>) -> Vec<StartRow> {
    starts.iter().map(|(&broker, &number)| StartRow { broker, number }).collect()
}

fn starts(rows: Vec<StartRow>) -> BTreeMap<BrokerId, u64> {
    rows.into_iter().map(|row| (row.broker, row.number)).collect()
}

#[cfg(test)]
#[path = "snapshot_test.rs"]
mod tests;
