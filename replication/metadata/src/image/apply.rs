//! Applying records. Total: any record either applies or is an error that says why, whatever it contains.
//!
//! An error here means that the log is not one this image's rules wrote: the caller stops and says so. Each record is
//! checked before it changes anything; what only holds between the records of a batch (a partition lies on a shard
//! that its broker has) is checked at the batch's end.

use super::{Broker, DeletedTopic, Image, Topic};
use crate::batch::Batch;
use crate::record::{
    BrokerRegistered, Partition, PartitionChanged, PartitionsAdded, ProducerIdsAllocated, Record, TopicCreated, TopicDeleted,
    TopicPurged, TopicSettingsChanged,
};
use crate::topic_settings::TopicSettings;
use sluice_model::{BrokerId, Incarnation, LeaderEpoch, PartitionIndex, PlacementEpoch, ProducerId, TopicId, TopicPartition};
use std::collections::BTreeMap;
use std::fmt;

/// Why a record does not apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    IncarnationNotNewer {
        broker: BrokerId,
        got: Incarnation,
        current: Incarnation,
    },
    NoShards {
        broker: BrokerId,
    },
    TopicIdTaken {
        topic_id: TopicId,
    },
    TopicNameTaken {
        name: String,
    },
    UnknownTopic {
        topic_id: TopicId,
    },
    NotDeleted {
        topic_id: TopicId,
    },
    UnknownSetting {
        code: u16,
    },
    /// Partitions are added after those there are, at least one.
    PartitionsNotNext {
        topic_id: TopicId,
        first: PartitionIndex,
        current: usize,
    },
    UnknownPartition {
        id: TopicPartition,
    },
    /// A partition's replicas, in-sync set, eligible leaders and leader contradict each other.
    MalformedPartition {
        id: TopicPartition,
        rule: &'static str,
    },
    LeaderEpoch {
        id: TopicPartition,
        from: LeaderEpoch,
        to: LeaderEpoch,
    },
    PlacementEpoch {
        id: TopicPartition,
        from: PlacementEpoch,
        to: PlacementEpoch,
    },
    /// A replica lies on a broker or shard that there is not.
    NoSuchShard {
        id: TopicPartition,
        broker: BrokerId,
    },
    ProducerIdsNotNext {
        first: ProducerId,
        next: ProducerId,
    },
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IncarnationNotNewer { broker, got, current } => {
                write!(f, "broker {broker} registers as incarnation {got} after {current}")
            }
            Self::NoShards { broker } => write!(f, "broker {broker} registers without shards"),
            Self::TopicIdTaken { topic_id } => write!(f, "topic id {topic_id} is created twice"),
            Self::TopicNameTaken { name } => write!(f, "topic {name:?} is created twice"),
            Self::UnknownTopic { topic_id } => write!(f, "there is no topic with id {topic_id}"),
            Self::NotDeleted { topic_id } => write!(f, "topic {topic_id} is purged and was not deleted"),
            Self::UnknownSetting { code } => write!(f, "topic setting {code} is not known"),
            Self::PartitionsNotNext { topic_id, first, current } => {
                write!(f, "topic {topic_id} with {current} partitions gets more from {first} on")
            }
            Self::UnknownPartition { id } => write!(f, "there is no partition {id}"),
            Self::MalformedPartition { id, rule } => write!(f, "partition {id} breaks the rule: {rule}"),
            Self::LeaderEpoch { id, from, to } => write!(f, "the leader epoch of partition {id} goes from {from} to {to}"),
            Self::PlacementEpoch { id, from, to } => write!(f, "the placement epoch of partition {id} goes from {from} to {to}"),
            Self::NoSuchShard { id, broker } => write!(f, "partition {id} lies on a shard that broker {broker} does not have"),
            Self::ProducerIdsNotNext { first, next } => write!(f, "producer ids from {first} on are given out, {next} is next"),
        }
    }
}

impl std::error::Error for ApplyError {}

impl Image {
    /// Applies all records of a log entry. After an error the image is good for nothing.
    pub fn apply_batch(&mut self, batch: &Batch) -> Result<(), ApplyError> {
        batch.records.iter().try_for_each(|record| self.apply(record))?;
        batch.records.iter().try_for_each(|record| self.check_shards_after(record))
    }

    /// Applies one record. Callers apply batches; the rules of a batch's end are not checked here.
    fn apply(&mut self, record: &Record) -> Result<(), ApplyError> {
        match record {
            Record::BrokerRegistered(r) => self.apply_broker_registered(r),
            Record::TopicCreated(r) => self.apply_topic_created(r),
            Record::TopicDeleted(r) => self.apply_topic_deleted(r),
            Record::TopicPurged(r) => self.apply_topic_purged(r),
            Record::TopicSettingsChanged(r) => self.apply_topic_settings_changed(r),
            Record::PartitionsAdded(r) => self.apply_partitions_added(r),
            Record::PartitionChanged(r) => self.apply_partition_changed(r),
            Record::ProducerIdsAllocated(r) => self.apply_producer_ids_allocated(r),
        }
    }

    fn apply_broker_registered(&mut self, record: &BrokerRegistered) -> Result<(), ApplyError> {
        let (broker, got) = (record.broker, record.incarnation);
        if let Some(known) = self.brokers.get(&broker)
            && got.number <= known.incarnation.number
        {
            return Err(ApplyError::IncarnationNotNewer { broker, got, current: known.incarnation });
        }
        if record.addresses.is_empty() {
            return Err(ApplyError::NoShards { broker });
        }
        let state = Broker { incarnation: got, folder_id: record.folder_id, addresses: record.addresses.clone() };
        self.brokers.insert(broker, state);
        Ok(())
    }

    fn apply_topic_created(&mut self, record: &TopicCreated) -> Result<(), ApplyError> {
        let topic_id = record.topic_id;
        if self.topics.contains_key(&topic_id) || self.deleted_topics.contains_key(&topic_id) {
            return Err(ApplyError::TopicIdTaken { topic_id });
        }
        if self.topic_ids.contains_key(&record.name) {
            return Err(ApplyError::TopicNameTaken { name: record.name.clone() });
        }
        if record.partitions.is_empty() {
            return Err(ApplyError::PartitionsNotNext { topic_id, first: PartitionIndex(0), current: 0 });
        }
        check_partitions(topic_id, 0, &record.partitions)?;
        let settings = TopicSettings::from_record(&record.settings).map_err(|code| ApplyError::UnknownSetting { code })?;
        self.partition_count += record.partitions.len();
        self.topic_ids.insert(record.name.clone(), topic_id);
        // Leader epochs of a new partition begin at 1: what begins above it was written to before.
        let is_new = record.partitions.iter().all(|partition| partition.leader_epoch == LeaderEpoch(1));
        let created_in = if is_new { self.incarnation_numbers() } else { BTreeMap::new() };
        let (name, partitions) = (record.name.clone(), record.partitions.clone());
        self.topics.insert(topic_id, Topic { name, settings, partitions, created_in });
        Ok(())
    }

    fn incarnation_numbers(&self) -> BTreeMap<BrokerId, u64> {
        self.brokers.iter().map(|(&id, broker)| (id, broker.incarnation.number)).collect()
    }

    fn apply_topic_deleted(&mut self, record: &TopicDeleted) -> Result<(), ApplyError> {
        let topic_id = record.topic_id;
        let topic = self.topics.remove(&topic_id).ok_or(ApplyError::UnknownTopic { topic_id })?;
        self.topic_ids.remove(&topic.name);
        self.partition_count -= topic.partitions.len();
        let partition_count = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
        let (name, created_in, deleted_in) = (topic.name, topic.created_in, self.incarnation_numbers());
        self.deleted_topics.insert(topic_id, DeletedTopic { name, partition_count, created_in, deleted_in });
        Ok(())
    }

    fn apply_topic_purged(&mut self, record: &TopicPurged) -> Result<(), ApplyError> {
        let topic_id = record.topic_id;
        self.deleted_topics.remove(&topic_id).map(drop).ok_or(ApplyError::NotDeleted { topic_id })
    }

    fn apply_topic_settings_changed(&mut self, record: &TopicSettingsChanged) -> Result<(), ApplyError> {
        let settings = TopicSettings::from_record(&record.settings).map_err(|code| ApplyError::UnknownSetting { code })?;
        self.topic_mut(record.topic_id)?.settings = settings;
        Ok(())
    }

    fn apply_partitions_added(&mut self, record: &PartitionsAdded) -> Result<(), ApplyError> {
        let topic = self.topic_mut(record.topic_id)?;
        let current = topic.partitions.len();
        if record.partitions.is_empty() || usize::try_from(record.first.0) != Ok(current) {
            return Err(ApplyError::PartitionsNotNext { topic_id: record.topic_id, first: record.first, current });
        }
        check_partitions(record.topic_id, current, &record.partitions)?;
        if record.partitions.iter().any(|partition| partition.leader_epoch > LeaderEpoch(1)) {
            topic.created_in.clear();
        }
        topic.partitions.extend_from_slice(&record.partitions);
        self.partition_count += record.partitions.len();
        Ok(())
    }

    fn apply_partition_changed(&mut self, record: &PartitionChanged) -> Result<(), ApplyError> {
        let id = TopicPartition { topic_id: record.topic_id, partition: record.partition };
        let topic = self.topic_mut(record.topic_id)?;
        let slot = usize::try_from(record.partition.0).ok().and_then(|index| topic.partitions.get_mut(index));
        let current = slot.ok_or(ApplyError::UnknownPartition { id })?;
        check_partition(id, &record.state)?;
        check_succession(id, current, &record.state)?;
        *current = record.state.clone();
        Ok(())
    }

    fn apply_producer_ids_allocated(&mut self, record: &ProducerIdsAllocated) -> Result<(), ApplyError> {
        let (first, next) = (record.first, self.next_producer_id);
        let after = first.0.checked_add(i64::from(record.count)).filter(|_| first == next);
        self.next_producer_id = ProducerId(after.ok_or(ApplyError::ProducerIdsNotNext { first, next })?);
        Ok(())
    }

    fn topic_mut(&mut self, topic_id: TopicId) -> Result<&mut Topic, ApplyError> {
        self.topics.get_mut(&topic_id).ok_or(ApplyError::UnknownTopic { topic_id })
    }

    /// Every partition that `record` touched lies on shards that there are.
    fn check_shards_after(&self, record: &Record) -> Result<(), ApplyError> {
        match record {
            Record::BrokerRegistered(r) => {
                let mut held = self.partitions().filter(|(_, p)| p.placement(r.broker).is_some());
                held.try_for_each(|(id, partition)| self.check_shards(id, partition))
            }
            Record::TopicCreated(TopicCreated { topic_id, .. }) | Record::PartitionsAdded(PartitionsAdded { topic_id, .. }) => {
                let Some(topic) = self.topic(*topic_id) else { return Ok(()) };
                let id = |partition| TopicPartition { topic_id: *topic_id, partition };
                topic.numbered_partitions().try_for_each(|(partition, state)| self.check_shards(id(partition), state))
            }
            Record::PartitionChanged(r) => {
                let id = TopicPartition { topic_id: r.topic_id, partition: r.partition };
                self.partition(id).map_or(Ok(()), |partition| self.check_shards(id, partition))
            }
            _ => Ok(()),
        }
    }

    fn check_shards(&self, id: TopicPartition, partition: &Partition) -> Result<(), ApplyError> {
        let there = |broker: BrokerId, shard: u16| self.broker(broker).is_some_and(|b| usize::from(shard) < b.shard_count());
        match partition.replicas.iter().find(|r| !there(r.broker, r.placement.shard.0)) {
            Some(replica) => Err(ApplyError::NoSuchShard { id, broker: replica.broker }),
            None => Ok(()),
        }
    }
}

fn check_partitions(topic_id: TopicId, first: usize, partitions: &[Partition]) -> Result<(), ApplyError> {
    for (index, partition) in (first..).zip(partitions) {
        let index = u32::try_from(index).map_err(|_| ApplyError::UnknownTopic { topic_id })?;
        check_partition(TopicPartition { topic_id, partition: PartitionIndex(index) }, partition)?;
    }
    Ok(())
}

/// The rules of one partition by itself.
fn check_partition(id: TopicPartition, partition: &Partition) -> Result<(), ApplyError> {
    let replicas = &partition.replicas;
    let holds = |broker: &BrokerId| replicas.iter().any(|r| r.broker == *broker);
    let (isr, eligible) = (&partition.isr, &partition.eligible_leader_replicas);
    let rules = [
        (!replicas.is_empty(), "there are replicas"),
        (
            !replicas.iter().enumerate().any(|(n, r)| replicas[..n].iter().any(|q| q.broker == r.broker)),
            "a broker holds one replica",
        ),
        (isr.is_sorted_by(|a, b| a < b) && eligible.is_sorted_by(|a, b| a < b), "in-sync set and eligible leaders ascend"),
        (isr.iter().chain(eligible).all(holds), "in-sync set and eligible leaders are replicas"),
        (!isr.iter().any(|b| eligible.contains(b)), "an eligible leader is not in the in-sync set"),
        (partition.leader.is_none_or(|b| isr.contains(&b)), "the leader is in the in-sync set"),
        (partition.leader_epoch >= LeaderEpoch(1), "leader epochs begin at 1"),
        (replicas.iter().all(|r| r.placement.placement_epoch >= PlacementEpoch(1)), "placement epochs begin at 1"),
    ];
    match rules.iter().find(|(kept, _)| !kept) {
        Some(&(_, rule)) => Err(ApplyError::MalformedPartition { id, rule }),
        None => Ok(()),
    }
}

/// What may follow what: epochs never go back, and another leader or another shard has a greater one.
fn check_succession(id: TopicPartition, from: &Partition, to: &Partition) -> Result<(), ApplyError> {
    let same_leader = from.leader == to.leader;
    if to.leader_epoch < from.leader_epoch || (!same_leader && to.leader_epoch == from.leader_epoch) {
        return Err(ApplyError::LeaderEpoch { id, from: from.leader_epoch, to: to.leader_epoch });
    }
    for replica in &to.replicas {
        let Some(before) = from.placement(replica.broker) else { continue };
        let (old, new) = (before.placement_epoch, replica.placement.placement_epoch);
        if new < old || (before.shard != replica.placement.shard && new == old) {
            return Err(ApplyError::PlacementEpoch { id, from: old, to: new });
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "apply_test.rs"]
mod tests;
