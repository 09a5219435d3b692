//! What the client knows of topics and of the shards that own their partitions. It may be old; whoever finds out
//! refreshes it.
//!
//! Brokers learn of changes at different times, so an answer may be older than what is known: of each partition what
//! has the greater leader epoch counts, and partitions never get fewer while the topic is the same. The expensive mistake is
//! to forget epochs: the next answer, however old, would be believed.

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

impl TopicInfo {
    /// A later description says nothing that this one does not.
    pub(crate) fn is_as_new_as(&self, later: &Self) -> bool {
        self.topic_id == later.topic_id && self.partitions == later.partitions
    }
}

#[derive(Default)]
pub(crate) struct MetadataCache {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    topics: HashMap<Arc<str>, Known>,
    shards: BTreeMap<(u32, u16), Address>,
    generation: u64,
}

struct Known {
    info: Arc<TopicInfo>,
    /// Not to be relied on before a broker has been asked again; its leader epochs still count.
    outdated: bool,
}

impl MetadataCache {
    pub(crate) fn topic(&self, name: &str) -> Option<Arc<TopicInfo>> {
        lock(&self.inner).topics.get(name).filter(|known| !known.outdated).map(|known| known.info.clone())
    }

    /// A topic as last described, outdated or not.
    pub(crate) fn newest(&self, name: &str) -> Option<Arc<TopicInfo>> {
        lock(&self.inner).topics.get(name).map(|known| known.info.clone())
    }

    /// Every shard heard of: the first of each broker, then the second of each, and so on.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        let inner = lock(&self.inner);
        let mut shards: Vec<_> = inner.shards.iter().collect();
        shards.sort_by_key(|((broker, shard), _)| (*shard, *broker));
        shards.into_iter().map(|(_, address)| address.clone()).collect()
    }

    /// Whoever needs the topic next asks a broker.
    pub(crate) fn outdate(&self, name: &str) {
        if let Some(known) = lock(&self.inner).topics.get_mut(name) {
            known.outdated = true;
        }
    }

    /// The topic is gone, or is about to be another one.
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
        if let Some(known) = inner.topics.get(&name).filter(|known| known.info.topic_id.0 == topic.topic_id) {
            inner.keep_newer(&known.info, &mut partitions);
        }
        let info = Arc::new(TopicInfo {
            name: name.clone(),
            topic_id: TopicId(topic.topic_id),
            frame_len_max: topic.frame_len_max,
            settings: topic.settings,
            partitions,
            generation: inner.generation,
        });
        inner.topics.insert(name, Known { info: info.clone(), outdated: false });
        info
    }
}

impl Inner {
    /// Puts back what is known and newer than what an answer says.
    fn keep_newer(&self, known: &TopicInfo, partitions: &mut Vec<PartitionInfo>) {
        for (index, known) in known.partitions.iter().enumerate() {
            let known = PartitionInfo { address: self.address(known.leader, known.shard), ..known.clone() };
            match partitions.get_mut(index) {
                Some(answered) if answered.leader_epoch < known.leader_epoch => *answered = known,
                Some(_) => {}
                None => partitions.push(known),
            }
        }
    }

    fn address(&self, leader: Option<u32>, shard: u16) -> Option<Address> {
        leader.and_then(|leader| self.shards.get(&(leader, shard)).cloned())
    }

    fn partition(&self, p: PartitionMetadata) -> PartitionInfo {
        let address = self.address(p.leader, p.shard);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(broker_id: u32, port: u16) -> ShardAddress {
        ShardAddress { broker_id, shard: 0, host: "h".into(), port }
    }

    /// Topic `t` with an id, each partition led by a broker in an epoch.
    fn topic(id: u8, leaders: &[(u32, u32)]) -> TopicMetadata {
        let partitions = (0..).zip(leaders).map(|(partition, &(leader, leader_epoch))| PartitionMetadata {
            partition,
            leader: Some(leader),
            leader_epoch,
            ..PartitionMetadata::default()
        });
        TopicMetadata { name: "t".into(), topic_id: [id; 16], partitions: partitions.collect(), ..TopicMetadata::default() }
    }

    fn leaders(info: &TopicInfo) -> Vec<(u32, u16)> {
        info.partitions.iter().map(|p| (p.leader_epoch, p.address.as_ref().unwrap().port)).collect()
    }

    #[test]
    fn an_older_answer_takes_nothing_back() {
        let cache = MetadataCache::default();
        cache.add_shards(&[shard(1, 10), shard(2, 20)]);
        let first = cache.add_topic(topic(1, &[(1, 5), (1, 5), (1, 5)]));
        assert_eq!(leaders(&first), [(5, 10), (5, 10), (5, 10)]);
        // Newer in one partition, older in another, and from before the third was there.
        let mixed = cache.add_topic(topic(1, &[(2, 6), (2, 4)]));
        assert_eq!(leaders(&mixed), [(6, 20), (5, 10), (5, 10)]);
        assert!(mixed.generation > first.generation);
        cache.outdate("t");
        assert!(cache.topic("t").is_none() && cache.newest("t").is_some());
        assert_eq!(leaders(&cache.add_topic(topic(1, &[(1, 5)]))), [(6, 20), (5, 10), (5, 10)], "epochs are remembered");
        assert!(cache.topic("t").is_some());
        // What is kept is looked up at the addresses that are known now.
        cache.add_shards(&[shard(2, 21)]);
        assert_eq!(leaders(&cache.add_topic(topic(1, &[(1, 5)])))[0], (6, 21));
        // Another topic of this name begins anew.
        assert_eq!(leaders(&cache.add_topic(topic(2, &[(1, 1)]))), [(1, 10)]);
        cache.forget("t");
        assert!(cache.newest("t").is_none());
    }
}
