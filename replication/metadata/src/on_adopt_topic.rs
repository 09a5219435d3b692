//! Partitions that the metadata does not know are found in a broker's folder, and an operator gives them a topic or does
//! away with them.
//!
//! The expensive mistake is an epoch that was used before: frames under a leader epoch below those in the log are not
//! replayed after a crash, and a placement epoch that a checkpoint names already does not say which folder is the
//! newer. Adopted partitions begin above both. Retention of the lost settings is unknown, and the defaults could
//! delete at once what was just brought back: without a setting of its own an adopted topic keeps everything.

use crate::image::{Image, Topic};
use crate::on_create_topic::check_partition_count;
use crate::record::{Partition, PartitionsAdded, Record, Replica, TopicCreated, TopicDeleted};
use crate::refusal::Refusal;
use crate::topic_name::check_topic_name;
use crate::topic_settings::TopicSettings;
use rkyv::with::AsVec;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::{BrokerId, LeaderEpoch, PartitionIndex, PlacementEpoch, ShardIndex, TopicId};
use std::collections::BTreeMap;

/// A partition as a broker's folder has it.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundPartition {
    pub shard: ShardIndex,
    /// The greatest that a checkpoint names.
    pub placement_epoch: PlacementEpoch,
    /// The greatest of its frames; 0 when it has none.
    pub leader_epoch: LeaderEpoch,
}

/// Partitions get a topic: a new one of their id, or, when the metadata knows the id, those beyond its partitions.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct AdoptTopic {
    pub topic_id: TopicId,
    /// Of a known topic it may be left out.
    pub name: Option<String>,
    /// Of a new topic, as people write them.
    pub settings: Vec<(String, String)>,
    pub broker: BrokerId,
    #[rkyv(with = AsVec)]
    pub found: BTreeMap<PartitionIndex, FoundPartition>,
}

pub fn on_adopt_topic(image: &Image, request: &AdoptTopic) -> Result<Vec<Record>, Refusal> {
    if image.is_deleted(request.topic_id) {
        return Err(Refusal::TopicDeleted { topic_id: request.topic_id });
    }
    let broker = image.broker(request.broker).ok_or(Refusal::UnknownBroker { broker: request.broker })?;
    if !broker.state.holds_lease() {
        return Err(Refusal::BrokerFenced { broker: request.broker });
    }
    let shard_count = broker.shard_count();
    let known = image.topic(request.topic_id);
    let first = known.map_or(0, |topic| topic.partitions.len());
    let highest = request.found.last_key_value().map_or(0, |(partition, _)| partition.0.saturating_add(1));
    let current = u32::try_from(first).unwrap_or(u32::MAX);
    if highest <= current {
        return Err(Refusal::NothingToAdopt { topic_id: request.topic_id });
    }
    check_partition_count(image, highest, current)?;
    let partitions = (current..highest).map(|index| partition(request, PartitionIndex(index), shard_count)).collect();
    match known {
        Some(topic) => more_of(request, topic, PartitionIndex(current), partitions),
        None => new_topic(image, request, partitions),
    }
}

fn more_of(
    request: &AdoptTopic,
    topic: &Topic,
    first: PartitionIndex,
    partitions: Vec<Partition>,
) -> Result<Vec<Record>, Refusal> {
    if !request.settings.is_empty() || request.name.as_ref().is_some_and(|name| *name != topic.name) {
        return Err(Refusal::TopicIsKnown { topic_id: request.topic_id, name: topic.name.clone() });
    }
    Ok(vec![Record::PartitionsAdded(PartitionsAdded { topic_id: request.topic_id, first, partitions })])
}

fn new_topic(image: &Image, request: &AdoptTopic, partitions: Vec<Partition>) -> Result<Vec<Record>, Refusal> {
    let name = request.name.clone().unwrap_or_default();
    check_topic_name(&name).map_err(|fault| Refusal::InvalidTopicName { name: name.clone(), fault })?;
    if let Some((topic_id, _)) = image.topic_by_name(&name) {
        return Err(Refusal::TopicExists { name, topic_id });
    }
    let keep_all = [("retention_ms".to_owned(), "none".to_owned()), ("retention_bytes".to_owned(), "none".to_owned())];
    let unset = keep_all.into_iter().filter(|(key, _)| request.settings.iter().all(|(given, _)| given != key));
    let settings: Vec<_> = request.settings.iter().cloned().chain(unset).collect();
    let settings = TopicSettings::default().changed(&settings, 1)?.to_record();
    Ok(vec![Record::TopicCreated(TopicCreated { topic_id: request.topic_id, name, settings, partitions })])
}

/// Where it lies, when that shard is still there; one that was not found is empty and goes where the first one lies.
fn partition(request: &AdoptTopic, index: PartitionIndex, shard_count: usize) -> Partition {
    let found = request.found.get(&index);
    let at = found.or_else(|| request.found.values().next()).map_or(ShardIndex(0), |found| found.shard);
    let shard_count = u16::try_from(shard_count).expect("SHARDS_PER_BROKER_MAX fits");
    let mut partition = Partition::new(request.broker, ShardIndex(at.0 % shard_count));
    partition.leader_epoch = LeaderEpoch(found.map_or(0, |found| found.leader_epoch.0).max(1).saturating_add(1));
    let epoch = found.map_or(0, |found| found.placement_epoch.0).saturating_add(1);
    for Replica { placement, .. } in &mut partition.replicas {
        placement.placement_epoch = PlacementEpoch(epoch);
    }
    partition
}

/// Partitions without a topic are to go: a tombstone is made, and the next start drops what it finds of them.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoveOrphan {
    pub topic_id: TopicId,
    pub broker: BrokerId,
}

pub fn on_remove_orphan(image: &Image, request: &RemoveOrphan) -> Result<Vec<Record>, Refusal> {
    let RemoveOrphan { topic_id, broker } = *request;
    if let Some(topic) = image.topic(topic_id) {
        return Err(Refusal::TopicIsKnown { topic_id, name: topic.name.clone() });
    }
    if image.is_deleted(topic_id) {
        return Err(Refusal::TopicDeleted { topic_id });
    }
    image.broker(broker).ok_or(Refusal::UnknownBroker { broker })?;
    // It was there before this record, so its leader epoch is not a new topic's; one partition stands for all of them.
    // No topic name has a space, so this one is in nobody's way.
    let mut partition = Partition::new(broker, ShardIndex(0));
    partition.leader_epoch = LeaderEpoch(2);
    let (name, settings) = (format!("orphan {topic_id}"), TopicSettings::default().to_record());
    let created = TopicCreated { topic_id, name, settings, partitions: vec![partition] };
    Ok(vec![Record::TopicCreated(created), Record::TopicDeleted(TopicDeleted { topic_id })])
}

#[cfg(test)]
#[path = "on_adopt_topic_test.rs"]
mod tests;
