//! A topic gets other settings or more partitions. Never fewer: records would be lost, and keys would find others.
//!
//! Where fewer in-sync replicas let the high watermark move again, those that are out of sync no longer hold all that
//! is acknowledged: they stop being eligible before the setting changes.

use crate::assignment::assign;
use crate::election::Settling;
use crate::image::{Image, Topic};
use crate::on_create_topic::check_partition_count;
use crate::record::{PartitionsAdded, Record, TopicSettingsChanged};
use crate::refusal::Refusal;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::{PartitionIndex, TopicId, TopicPartition};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct AlterTopic {
    pub name: String,
    /// Name and value as people write them; those not named stay, an empty value puts the default back.
    pub settings: Vec<(String, String)>,
    /// How many there are from now on; `None`: as many as there are.
    pub partitions: Option<u32>,
}

/// All of it or none. What is so already needs no records.
pub fn on_alter_topic(image: &Image, request: &AlterTopic) -> Result<Vec<Record>, Refusal> {
    let Some((topic_id, topic)) = image.topic_by_name(&request.name) else {
        return Err(Refusal::UnknownTopic { name: request.name.clone() });
    };
    let mut records = Vec::new();
    let replicas = topic.replication_factor();
    let settings = topic.settings.changed(&request.settings, replicas)?;
    let min_insync = settings.min_insync_replicas() as usize;
    if settings != topic.settings {
        if min_insync != topic.min_insync() {
            records = settled(image, topic_id, topic, min_insync);
        }
        records.push(Record::TopicSettingsChanged(TopicSettingsChanged { topic_id, settings: settings.to_record() }));
    }
    let current = u32::try_from(topic.partitions.len()).expect("PARTITIONS_PER_TOPIC_MAX fits");
    let count = request.partitions.unwrap_or(current);
    check_partition_count(image, count, current)?;
    if count > current {
        let partitions = assign(image, Some(topic_id), count - current, replicas, min_insync)?;
        let first = PartitionIndex(current);
        records.push(Record::PartitionsAdded(PartitionsAdded { topic_id, first, partitions }));
    }
    Ok(records)
}

/// What another `min_insync_replicas` makes of the partitions there are.
fn settled(image: &Image, topic_id: TopicId, topic: &Topic, min_insync: usize) -> Vec<Record> {
    let settling = Settling::new(image);
    let record = |(partition, from): (PartitionIndex, &crate::PartitionState)| {
        let next = settling.settled(from, from.clone(), min_insync)?;
        Some(next.record(TopicPartition { topic_id, partition }))
    };
    topic.numbered_partitions().filter_map(record).collect()
}

#[cfg(test)]
#[path = "on_alter_topic_test.rs"]
mod tests;
