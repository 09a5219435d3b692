//! A topic is created, with one replica per partition.

use crate::image::Image;
use crate::placement::place;
use crate::record::{Partition, Record, TopicCreated};
use crate::refusal::Refusal;
use crate::topic_name::check_topic_name;
use crate::topic_settings::TopicSettings;
use sluice_model::TopicId;
use sluice_model::limits::{PARTITIONS_PER_CLUSTER_MAX, PARTITIONS_PER_TOPIC_MAX};

/// Replicas of each partition.
pub(crate) const REPLICAS: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTopic {
    /// Random, drawn by the caller.
    pub topic_id: TopicId,
    pub name: String,
    /// 1 to `PARTITIONS_PER_TOPIC_MAX`.
    pub partitions: u32,
    /// Name and value as people write them.
    pub settings: Vec<(String, String)>,
}

pub fn on_create_topic(image: &Image, request: &CreateTopic) -> Result<Vec<Record>, Refusal> {
    let CreateTopic { topic_id, name, partitions, settings } = request;
    check_topic_name(name).map_err(|fault| Refusal::InvalidTopicName { name: name.clone(), fault })?;
    if let Some((topic_id, _)) = image.topic_by_name(name) {
        return Err(Refusal::TopicExists { name: name.clone(), topic_id });
    }
    check_partition_count(image, *partitions, 0)?;
    let settings = TopicSettings::default().changed(settings, REPLICAS)?;
    if *topic_id == TopicId::default() || image.topic(*topic_id).is_some() || image.is_deleted(*topic_id) {
        return Err(Refusal::TopicIdTaken { topic_id: *topic_id });
    }
    let slots = place(image, None, *partitions);
    if slots.is_empty() {
        return Err(Refusal::NoBrokers);
    }
    Ok(vec![Record::TopicCreated(TopicCreated {
        topic_id: *topic_id,
        name: name.clone(),
        settings: settings.to_record(),
        partitions: slots.into_iter().map(|(broker, shard)| Partition::new(broker, shard)).collect(),
    })])
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
