//! Applying records. Total: any record either applies or is an error that says why, whatever it contains.
//!
//! An error here means that the log is not one this image's rules wrote: the caller stops and says so. Each record is
//! checked before it changes anything; what only holds between the records of a batch (a partition lies on a shard
//! that its broker has, and is led by a broker with a lease) is checked at the batch's end.

use super::partition_rules::{check_eligible_leader, check_partition, check_succession};
use super::{ApplyError, Broker, DeletedTopic, Image, Topic};
use crate::batch::Batch;
use crate::broker_state::BrokerState;
use crate::partition_state::PartitionState;
use crate::record::{
    Address, BrokerIncarnationRegistered, BrokerRegistered, BrokerStateChanged, Partition, PartitionChanged,
    PartitionStateChanged, PartitionsAdded, ProducerIdsAllocated, Record, TopicCreated, TopicDeleted, TopicPurged,
    TopicSettingsChanged, UncleanLeaderElected,
};
use crate::topic_settings::TopicSettings;
use sluice_model::{BrokerId, LeaderEpoch, PartitionEpoch, PartitionIndex, ProducerId, TopicId, TopicPartition};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Image {
    /// Applies all records of a log entry. After an error the image is good for nothing.
    pub fn apply_batch(&mut self, batch: &Batch) -> Result<(), ApplyError> {
        batch.records.iter().try_for_each(|record| self.apply(record))?;
        batch.records.iter().try_for_each(|record| self.check_brokers_after(record))
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
            Record::BrokerIncarnationRegistered(r) => self.apply_broker_incarnation_registered(r),
            Record::BrokerStateChanged(r) => self.apply_broker_state_changed(*r),
            Record::PartitionStateChanged(r) => self.apply_partition_state_changed(r),
            Record::UncleanLeaderElected(r) => self.apply_unclean_leader_elected(r),
        }
    }

    fn apply_broker_registered(&mut self, record: &BrokerRegistered) -> Result<(), ApplyError> {
        let BrokerRegistered { broker, incarnation, folder_id, ref addresses } = *record;
        let state = BrokerState::Active;
        self.insert_broker(broker, Broker { incarnation, folder_id, addresses: addresses.clone(), rack: None, state })
    }

    fn apply_broker_incarnation_registered(&mut self, record: &BrokerIncarnationRegistered) -> Result<(), ApplyError> {
        let BrokerIncarnationRegistered { broker, incarnation, folder_id, ref addresses, ref rack } = *record;
        let (addresses, rack): (Vec<Address>, _) = (addresses.clone(), rack.clone());
        self.insert_broker(broker, Broker { incarnation, folder_id, addresses, rack, state: BrokerState::Recovering })
    }

    pub(super) fn insert_broker(&mut self, id: BrokerId, broker: Broker) -> Result<(), ApplyError> {
        let got = broker.incarnation;
        if let Some(known) = self.brokers.get(&id)
            && got.number <= known.incarnation.number
        {
            return Err(ApplyError::IncarnationNotNewer { broker: id, got, current: known.incarnation });
        }
        if broker.addresses.is_empty() {
            return Err(ApplyError::NoShards { broker: id });
        }
        Arc::make_mut(&mut self.brokers).insert(id, broker);
        Ok(())
    }

    fn apply_broker_state_changed(&mut self, record: BrokerStateChanged) -> Result<(), ApplyError> {
        use BrokerState::{Active, Fenced, Recovering, ShuttingDown};
        let BrokerStateChanged { broker, incarnation: got, state: to } = record;
        let known = Arc::make_mut(&mut self.brokers).get_mut(&broker).ok_or(ApplyError::UnknownBroker { broker })?;
        if known.incarnation != got {
            return Err(ApplyError::OtherIncarnation { broker, got, current: known.incarnation });
        }
        let from = known.state;
        if !matches!((from, to), (Recovering | Active | ShuttingDown, Fenced) | (Fenced, Active) | (Active, ShuttingDown)) {
            return Err(ApplyError::BrokerState { broker, from, to });
        }
        known.state = to;
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
        let partitions = new_partitions(topic_id, 0, &record.partitions)?;
        let settings = TopicSettings::from_record(&record.settings).map_err(|code| ApplyError::UnknownSetting { code })?;
        self.partition_count += record.partitions.len();
        Arc::make_mut(&mut self.topic_ids).insert(record.name.clone(), topic_id);
        // Leader epochs of a new partition begin at 1: what begins above it was written to before.
        let is_new = record.partitions.iter().all(|partition| partition.leader_epoch == LeaderEpoch(1));
        let created_in = if is_new { self.incarnation_numbers() } else { BTreeMap::new() };
        let topic = Topic { name: record.name.clone(), settings, partitions, created_in };
        Arc::make_mut(&mut self.topics).insert(topic_id, Arc::new(topic));
        Ok(())
    }

    fn incarnation_numbers(&self) -> BTreeMap<BrokerId, u64> {
        self.brokers.iter().map(|(&id, broker)| (id, broker.incarnation.number)).collect()
    }

    fn apply_topic_deleted(&mut self, record: &TopicDeleted) -> Result<(), ApplyError> {
        let topic_id = record.topic_id;
        let topic = Arc::make_mut(&mut self.topics).remove(&topic_id).ok_or(ApplyError::UnknownTopic { topic_id })?;
        let topic = Arc::unwrap_or_clone(topic);
        Arc::make_mut(&mut self.topic_ids).remove(&topic.name);
        self.partition_count -= topic.partitions.len();
        let partition_count = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
        let (name, created_in, deleted_in) = (topic.name, topic.created_in, self.incarnation_numbers());
        Arc::make_mut(&mut self.deleted_topics).insert(topic_id, DeletedTopic { name, partition_count, created_in, deleted_in });
        Ok(())
    }

    fn apply_topic_purged(&mut self, record: &TopicPurged) -> Result<(), ApplyError> {
        let topic_id = record.topic_id;
        Arc::make_mut(&mut self.deleted_topics).remove(&topic_id).map(drop).ok_or(ApplyError::NotDeleted { topic_id })
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
        let partitions = new_partitions(record.topic_id, current, &record.partitions)?;
        if record.partitions.iter().any(|partition| partition.leader_epoch > LeaderEpoch(1)) {
            topic.created_in.clear();
        }
        topic.partitions.extend(partitions);
        self.partition_count += record.partitions.len();
        Ok(())
    }

    fn apply_partition_changed(&mut self, record: &PartitionChanged) -> Result<(), ApplyError> {
        let id = TopicPartition { topic_id: record.topic_id, partition: record.partition };
        let current = self.partition_mut(id)?;
        let next = PartitionState::from_version_1(&record.state, PartitionEpoch(current.partition_epoch.0.saturating_add(1)));
        check_partition(id, &next)?;
        check_succession(id, current, &next)?;
        *current = Arc::new(next);
        Ok(())
    }

    fn apply_partition_state_changed(&mut self, record: &PartitionStateChanged) -> Result<(), ApplyError> {
        let id = TopicPartition { topic_id: record.topic_id, partition: record.partition };
        let current = self.partition_mut(id)?;
        check_partition(id, &record.state)?;
        check_succession(id, current, &record.state)?;
        check_eligible_leader(id, current, &record.state)?;
        *current = Arc::new(record.state.clone());
        Ok(())
    }

    fn apply_unclean_leader_elected(&mut self, record: &UncleanLeaderElected) -> Result<(), ApplyError> {
        let id = TopicPartition { topic_id: record.topic_id, partition: record.partition };
        let current = self.partition_mut(id)?;
        check_partition(id, &record.state)?;
        check_succession(id, current, &record.state)?;
        let shown = |leader| record.shown.iter().any(|replica| replica.broker == leader && replica.end.is_some());
        match record.state.leader {
            Some(leader) if current.leader.is_none() && shown(leader) => {}
            leader => return Err(ApplyError::NotEligible { id, leader }),
        }
        *current = Arc::new(record.state.clone());
        Ok(())
    }

    fn apply_producer_ids_allocated(&mut self, record: &ProducerIdsAllocated) -> Result<(), ApplyError> {
        let (first, next) = (record.first, self.next_producer_id);
        let after = first.0.checked_add(i64::from(record.count)).filter(|_| first == next);
        self.next_producer_id = ProducerId(after.ok_or(ApplyError::ProducerIdsNotNext { first, next })?);
        Ok(())
    }

    fn topic_mut(&mut self, topic_id: TopicId) -> Result<&mut Topic, ApplyError> {
        let topic = Arc::make_mut(&mut self.topics).get_mut(&topic_id).ok_or(ApplyError::UnknownTopic { topic_id })?;
        Ok(Arc::make_mut(topic))
    }

    fn partition_mut(&mut self, id: TopicPartition) -> Result<&mut Arc<PartitionState>, ApplyError> {
        let topic = self.topic_mut(id.topic_id)?;
        let slot = usize::try_from(id.partition.0).ok().and_then(|index| topic.partitions.get_mut(index));
        slot.ok_or(ApplyError::UnknownPartition { id })
    }

    /// Every partition that `record` touched lies on shards that there are, and is led by a broker with a lease.
    fn check_brokers_after(&self, record: &Record) -> Result<(), ApplyError> {
        let of_broker = |broker| {
            let mut held = self.partitions().filter(|(_, p)| p.is_replica(broker));
            held.try_for_each(|(id, partition)| self.check_brokers(id, partition))
        };
        match record {
            Record::BrokerRegistered(BrokerRegistered { broker, .. })
            | Record::BrokerIncarnationRegistered(BrokerIncarnationRegistered { broker, .. }) => of_broker(*broker),
            Record::BrokerStateChanged(r) if !r.state.holds_lease() => of_broker(r.broker),
            Record::TopicCreated(TopicCreated { topic_id, .. }) | Record::PartitionsAdded(PartitionsAdded { topic_id, .. }) => {
                let Some(topic) = self.topic(*topic_id) else { return Ok(()) };
                let id = |partition| TopicPartition { topic_id: *topic_id, partition };
                topic.numbered_partitions().try_for_each(|(partition, state)| self.check_brokers(id(partition), state))
            }
            Record::PartitionChanged(PartitionChanged { topic_id, partition, .. })
            | Record::PartitionStateChanged(PartitionStateChanged { topic_id, partition, .. })
            | Record::UncleanLeaderElected(UncleanLeaderElected { topic_id, partition, .. }) => {
                let id = TopicPartition { topic_id: *topic_id, partition: *partition };
                self.partition(id).map_or(Ok(()), |partition| self.check_brokers(id, partition))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_brokers(&self, id: TopicPartition, partition: &PartitionState) -> Result<(), ApplyError> {
        let there = |broker: BrokerId, shard: u16| self.broker(broker).is_some_and(|b| usize::from(shard) < b.shard_count());
        if let Some(replica) = partition.replicas.iter().find(|r| !there(r.broker, r.placement.shard.0)) {
            return Err(ApplyError::NoSuchShard { id, broker: replica.broker });
        }
        let leads = |broker| self.broker(broker).is_some_and(|b| b.state.holds_lease());
        match partition.leader.filter(|&broker| !leads(broker)) {
            Some(broker) => Err(ApplyError::FencedLeader { id, broker }),
            None => Ok(()),
        }
    }
}

fn new_partitions(topic_id: TopicId, first: usize, partitions: &[Partition]) -> Result<Vec<Arc<PartitionState>>, ApplyError> {
    let checked = |(index, partition): (usize, &Partition)| {
        let index = u32::try_from(index).map_err(|_| ApplyError::UnknownTopic { topic_id })?;
        let state = PartitionState::from_version_1(partition, PartitionEpoch(0));
        check_partition(TopicPartition { topic_id, partition: PartitionIndex(index) }, &state)?;
        Ok(Arc::new(state))
    };
    (first..).zip(partitions).map(checked).collect()
}

#[cfg(test)]
#[path = "apply_test.rs"]
mod tests;
