//! A topic is created. In a cluster of three or more brokers its partitions have three replicas, of which two have to be
//! in sync, unless something else is asked for; otherwise they have one.

use crate::assignment::assign;
use crate::image::Image;
use crate::record::{Record, TopicCreated};
use crate::refusal::Refusal;
use crate::topic_name::check_topic_name;
use crate::topic_settings::TopicSettings;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::TopicId;
use sluice_model::limits::{PARTITIONS_PER_CLUSTER_MAX, PARTITIONS_PER_TOPIC_MAX, REPLICAS_PER_PARTITION_MAX};

/// Replicas of each partition, unless something else is asked for, where there are as many brokers; else one.
pub const REPLICATION_FACTOR_DEFAULT: u32 = 3;

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct CreateTopic {
    /// Random, drawn by the caller.
    pub topic_id: TopicId,
    pub name: String,
    /// 1 to `PARTITIONS_PER_TOPIC_MAX`.
    pub partitions: u32,
    /// Replicas of each partition; `None`: the default of the cluster.
    pub replication_factor: Option<u32>,
    /// Name and value as people write them.
    pub settings: Vec<(String, String)>,
}

pub fn on_create_topic(image: &Image, request: &CreateTopic) -> Result<Vec<Record>, Refusal> {
    let CreateTopic { topic_id, name, partitions, replication_factor, settings } = request;
    check_topic_name(name).map_err(|fault| Refusal::InvalidTopicName { name: name.clone(), fault })?;
    if let Some((topic_id, _)) = image.topic_by_name(name) {
        return Err(Refusal::TopicExists { name: name.clone(), topic_id });
    }
    check_partition_count(image, *partitions, 0)?;
    let replicas = replication_factor.unwrap_or_else(|| default_replication_factor(image));
    if replicas == 0 || replicas > REPLICAS_PER_PARTITION_MAX {
        return Err(Refusal::InvalidReplicationFactor { got: replicas, max: REPLICAS_PER_PARTITION_MAX });
    }
    let settings = TopicSettings::of_replicas(replicas).changed(settings, replicas)?;
    if *topic_id == TopicId::default() || image.topic(*topic_id).is_some() || image.is_deleted(*topic_id) {
        return Err(Refusal::TopicIdTaken { topic_id: *topic_id });
    }
    let partitions = assign(image, None, *partitions, replicas, settings.min_insync_replicas() as usize)?;
    let (topic_id, name, settings) = (*topic_id, name.clone(), settings.to_record());
    Ok(vec![Record::TopicCreated(TopicCreated { topic_id, name, settings, partitions })])
}

fn default_replication_factor(image: &Image) -> u32 {
    if image.brokers().count() >= REPLICATION_FACTOR_DEFAULT as usize { REPLICATION_FACTOR_DEFAULT } else { 1 }
}

/// Whether a topic that has `current` partitions may have `count`.
pub(crate) fn check_partition_count(image: &Image, count: u32, current: u32) -> Result<(), Refusal> {
    if count == 0 || count > PARTITIONS_PER_TOPIC_MAX {
        return Err(Refusal::InvalidPartitionCount { got: count, max: PARTITIONS_PER_TOPIC_MAX });
    }
    if count < current {
        return Err(Refusal::FewerPartitions { got: count, current });
    }
    let got = image.partition_count() + (count - current) as usize;
    if got > PARTITIONS_PER_CLUSTER_MAX {
        return Err(Refusal::TooManyPartitions { got, max: PARTITIONS_PER_CLUSTER_MAX });
    }
    Ok(())
}

#[cfg(test)]
#[path = "on_create_topic_test.rs"]
mod tests;
