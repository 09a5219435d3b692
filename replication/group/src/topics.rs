//! The topics of the cluster as a coordinator sees them: a value that the caller makes of the metadata image.
//!
//! It may be older than another coordinator's: nothing that was acknowledged hangs on it. A topic that is missing in it
//! is not assigned for a while; committed offsets go only when the caller says that a topic was deleted.

use crate::subscription::{Subscription, matches};
use sluice_model::limits::PARTITIONS_PER_CLUSTER_MAX;
use sluice_model::{PartitionIndex, TopicId, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

/// Topics by name, each with its id and its number of partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topics {
    by_name: BTreeMap<String, TopicId>,
    partition_counts: BTreeMap<TopicId, u32>,
    partition_count: usize,
}

impl Topics {
    /// # Panics
    /// When a name or an id comes twice, or there are more partitions than `PARTITIONS_PER_CLUSTER_MAX`: the metadata
    /// image allows neither.
    #[must_use]
    pub fn new(topics: impl IntoIterator<Item = (String, TopicId, u32)>) -> Self {
        let mut all = Self::default();
        for (name, id, partition_count) in topics {
            assert!(all.by_name.insert(name.clone(), id).is_none(), "two topics are called {name}");
            assert!(all.partition_counts.insert(id, partition_count).is_none(), "two topics have the id {id}");
            all.partition_count += partition_count as usize;
        }
        assert!(all.partition_count <= PARTITIONS_PER_CLUSTER_MAX, "{} partitions are too many", all.partition_count);
        all
    }

    /// Whether there is such a partition.
    #[must_use]
    pub fn contains(&self, id: TopicPartition) -> bool {
        self.partition_counts.get(&id.topic_id).is_some_and(|&count| id.partition.0 < count)
    }

    /// Those of a subscription that there are.
    #[must_use]
    pub fn subscribed(&self, subscription: &Subscription) -> BTreeSet<TopicId> {
        let named = subscription.topics.iter().filter_map(|name| self.by_name.get(name));
        let matched = self.by_name.iter().filter(|(name, _)| subscription.patterns.iter().any(|pattern| matches(pattern, name)));
        named.chain(matched.map(|(_, id)| id)).copied().collect()
    }

    /// The partitions of a topic, ascending; none of one that there is not.
    pub fn partitions(&self, topic_id: TopicId) -> impl Iterator<Item = TopicPartition> + use<> {
        let count = self.partition_counts.get(&topic_id).copied().unwrap_or(0);
        (0..count).map(move |partition| TopicPartition { topic_id, partition: PartitionIndex(partition) })
    }
}
