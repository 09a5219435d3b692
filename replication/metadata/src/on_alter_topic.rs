//! A topic gets other settings or more partitions. Never fewer: records would be lost, and keys would find others.

use crate::image::Image;
use crate::on_create_topic::{REPLICAS, check_partition_count};
use crate::placement::place;
use crate::record::{Partition, PartitionsAdded, Record, TopicSettingsChanged};
use crate::refusal::Refusal;
use sluice_model::PartitionIndex;

#[derive(Clone, Debug, PartialEq, Eq)]
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
    let settings = topic.settings.changed(&request.settings, REPLICAS)?;
    if settings != topic.settings {
        records.push(Record::TopicSettingsChanged(TopicSettingsChanged { topic_id, settings: settings.to_record() }));
    }
    let current = u32::try_from(topic.partitions.len()).expect("PARTITIONS_PER_TOPIC_MAX fits");
    let count = request.partitions.unwrap_or(current);
    check_partition_count(image, count, current)?;
    if count > current {
        let slots = place(image, Some(topic_id), count - current);
        records.push(Record::PartitionsAdded(PartitionsAdded {
            topic_id,
            first: PartitionIndex(current),
            partitions: slots.into_iter().map(|(broker, shard)| Partition::new(broker, shard)).collect(),
        }));
    }
    Ok(records)
}

#[cfg(test)]
#[path = "on_alter_topic_test.rs"]
mod tests;
