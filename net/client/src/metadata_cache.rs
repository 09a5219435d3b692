//! What the client knows of topics and of the shards that own their partitions. It may be old; whoever finds out
//! refreshes it.

use crate::address::Address;
use crate::connection::lock;
use sluice_model::TopicId;
use sluice_protocol::{PartitionMetadata, ShardAddress, TopicMetadata};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

/// One topic, as the broker last described it.
#[derive(Clone, Debug)]
pub struct TopicInfo {
    pub name: Arc<str>,
    pub topic_id: TopicId,
    /// Largest frame the topic accepts, header included, bytes.
    pub frame_len_max: u32,
    /// Settings that differ from the default, as text.
    pub settings: Vec<(String, String)>,
    /// By partition number.
    pub partitions: Vec<PartitionInfo>,
    /// Grows with every description the client gets.
    pub(crate) generation: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    pub partition: u32,
    /// The broker that leads it.
    pub leader: Option<u32>,
    pub leader_epoch: u32,
    /// The shard of the leader that owns it.
    pub shard: u16,
    /// Brokers in sync.
    pub isr: Vec<u32>,
    /// Where that shard listens; `None` while there is no leader.
    pub address: Option<Address>,
}

#[derive(Default)]
pub(crate) struct MetadataCache {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    topics: HashMap<Arc<str>, Arc<TopicInfo>>,
    shards: BTreeMap<(u32, u16), Address>,
    generation: u64,
}

impl MetadataCache {
    pub(crate) fn topic(&self, name: &str) -> Option<Arc<TopicInfo>> {
        lock(&self.inner).topics.get(name).cloned()
    }

    /// Every shard heard of.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        lock(&self.inner).shards.values().cloned().collect()
    }

    pub(crate) fn forget(&self, name: &str) {
        lock(&self.inner).topics.remove(name);
    }

    pub(crate) fn add_shards(&self, shards: &[ShardAddress]) {
        let mut inner = lock(&self.inner);
        for shard in shards {
            inner.shards.insert((shard.broker_id, shard.shard), Address::new(&shard.host, shard.port));
        }
    }

    pub(crate) fn add_topic(&self, topic: TopicMetadata) -> Arc<TopicInfo> {
        let mut inner = lock(&self.inner);
        inner.generation += 1;
        let mut partitions: Vec<PartitionInfo> = topic.partitions.into_iter().map(|p| inner.partition(p)).collect();
        partitions.sort_unstable_by_key(|p| p.partition);
        // Numbers have no gaps; should a broker say otherwise, what follows the gap is left out.
        let contiguous = partitions.iter().zip(0..).take_while(|(p, number)| p.partition == *number).count();
        partitions.truncate(contiguous);
        let name: Arc<str> = topic.name.into();
        let info = Arc::new(TopicInfo {
            name: name.clone(),
            topic_id: TopicId(topic.topic_id),
            frame_len_max: topic.frame_len_max,
            settings: topic.settings,
            partitions,
            generation: inner.generation,
        });
        inner.topics.insert(name, info.clone());
        info
    }
}

impl Inner {
    fn partition(&self, p: PartitionMetadata) -> PartitionInfo {
        let address = p.leader.and_then(|leader| self.shards.get(&(leader, p.shard)).cloned());
        PartitionInfo {
            partition: p.partition,
            leader: p.leader,
            leader_epoch: p.leader_epoch,
            shard: p.shard,
            isr: p.isr,
            address,
        }
    }
}
