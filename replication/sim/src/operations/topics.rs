//! Topics come, change and go while others work.

use crate::control::topic_settings;
use crate::demand;
use crate::oracle::Violation;
use crate::oracle::partition::PartitionModel;
use crate::world::{Done, World};
use sluice_model::{ShardIndex, TopicId, TopicPartition};
use sluice_partition::{Failure, OpenError, PartitionSettings};
use std::collections::BTreeMap;

impl World {
    pub fn create_topic(&mut self) -> Result<(), Violation> {
        let count = self.control.ids().count() as u64;
        if count >= self.plan.partitions_max {
            return Ok(());
        }
        let partitions = 1 + self.random.below(self.plan.partitions_max - count);
        let settings = topic_settings(&mut self.random, &self.plan);
        let ids = self.control.create_topic(partitions, settings);
        self.trace.note(format_args!("  create {ids:?} with {settings:?}"));
        for id in &ids {
            self.oracle.partitions.insert(*id, PartitionModel::new(*id, settings));
            if let Some(shard) = self.control.shard_of(*id) {
                self.faults.homes.insert(*id, shard);
            }
        }
        for (shard, ids) in self.by_shard(&ids) {
            let Some(life) = self.shards.get(&shard) else { continue };
            let partitions = life.partitions.clone();
            let assignments = ids.iter().filter_map(|id| self.control.assignment(*id)).collect();
            self.spawn(async move { Done::Created(ids, partitions.create(assignments).await) });
        }
        Ok(())
    }

    pub(super) fn delete_topic(&mut self) -> Result<(), Violation> {
        let Some(topic) = self.any_partition().map(|id| id.topic_id) else { return Ok(()) };
        let ids: Vec<TopicPartition> = self.control.ids().filter(|id| id.topic_id == topic).collect();
        if !self.is_created(topic) || self.control.ids().count() == ids.len() {
            return Ok(());
        }
        self.trace.note(format_args!("  delete {topic}"));
        let by_shard = self.by_shard(&ids);
        self.control.delete_topic(topic);
        for id in &ids {
            self.oracle.partitions.remove(id);
            self.clients.forget(*id);
            self.faults.homes.remove(id);
        }
        self.removing.insert(topic, by_shard.len());
        for (shard, ids) in by_shard {
            let Some(life) = self.shards.get(&shard) else { continue };
            let partitions = life.partitions.clone();
            self.spawn(async move { Done::Removed(topic, partitions.remove(&ids).await) });
        }
        Ok(())
    }

    pub(super) fn alter_topic(&mut self) -> Result<(), Violation> {
        let Some(topic) = self.any_partition().map(|id| id.topic_id) else { return Ok(()) };
        if !self.is_created(topic) {
            return Ok(());
        }
        let settings = topic_settings(&mut self.random, &self.plan);
        self.change_settings(topic, settings);
        Ok(())
    }

    pub(super) fn change_settings(&mut self, topic: TopicId, settings: PartitionSettings) {
        self.trace.note(format_args!("  alter {topic}: {settings:?}"));
        self.control.settings.insert(topic, settings);
        for id in self.control.ids().filter(|id| id.topic_id == topic).collect::<Vec<_>>() {
            self.oracle.partition_mut(id).settings = settings;
            if let Some(partitions) = self.partitions_of(id) {
                partitions.alter(id, settings);
            }
        }
    }

    /// The controller makes one change at a time: a topic that is being created is neither altered nor deleted.
    fn is_created(&self, topic: TopicId) -> bool {
        let mut ids = self.control.ids().filter(|id| id.topic_id == topic);
        ids.all(|id| self.partitions_of(id).is_some_and(|partitions| partitions.contains(id)))
    }

    fn by_shard(&self, ids: &[TopicPartition]) -> BTreeMap<ShardIndex, Vec<TopicPartition>> {
        let mut by_shard: BTreeMap<ShardIndex, Vec<TopicPartition>> = BTreeMap::new();
        for id in ids {
            if let Some(shard) = self.control.shard_of(*id) {
                by_shard.entry(shard).or_default().push(*id);
            }
        }
        by_shard
    }

    /// A task has ended.
    pub(crate) fn on_done(&mut self, outcome: Done) -> Result<(), Violation> {
        match outcome {
            Done::Read(read, result) => self.on_read(read, result),
            Done::Failed(shard, failure) => self.on_failed(shard, &failure),
            Done::Created(ids, Ok(())) => {
                self.trace.note(format_args!("  created {ids:?}"));
                let there = |id: &TopicPartition| self.partitions_of(*id).is_some_and(|partitions| partitions.contains(*id));
                demand!(ids.iter().all(there), "{ids:?} were created, and are not there");
                Ok(())
            }
            Done::Created(ids, Err(OpenError::DiskFull)) => {
                demand!(self.faults.is_full, "{ids:?}: the disk is said to be full, and has room");
                self.coverage.hit("topic: not created, disk full");
                Ok(())
            }
            Done::Removed(topic, Ok(())) => {
                self.on_removed(topic);
                Ok(())
            }
            Done::Created(_, Err(error)) | Done::Removed(_, Err(error)) => self.on_open_error(&error),
            Done::Truncated(shard, id, result) => self.on_truncated(shard, id, result),
            Done::Closed(shard, Ok(())) => {
                self.trace.note(format_args!("  shard {shard} is closed"));
                self.closed.push(shard);
                Ok(())
            }
            Done::Closed(shard, Err(failure)) => self.on_failed(shard, &failure),
        }
    }

    fn on_removed(&mut self, topic: TopicId) {
        self.trace.note(format_args!("  removed {topic} from a shard"));
        let Some(left) = self.removing.get_mut(&topic) else { return };
        *left -= 1;
        if *left == 0 {
            // The tombstone stays: journals name the topic for as long as they hold its records.
            self.removing.remove(&topic);
            self.coverage.hit("topic: removed");
        }
    }

    fn on_open_error(&mut self, error: &OpenError) -> Result<(), Violation> {
        self.trace.note(format_args!("  {error:?}"));
        demand!(self.faults.device_errors > 0, "a change of topics failed: {error}");
        self.failed = Some(error.to_string());
        Ok(())
    }

    pub(super) fn on_failed(&mut self, shard: ShardIndex, failure: &Failure) -> Result<(), Violation> {
        self.trace.note(format_args!("  shard {shard} has failed: {failure:?}"));
        demand!(self.faults.device_errors > 0, "shard {shard} has failed, and the device has not: {failure}");
        self.coverage.hit(match failure {
            Failure::Journal(_) => "failure: journal",
            Failure::WriteBack { .. } => "failure: write back",
            Failure::Flush { .. } => "failure: flush",
            Failure::Checkpoint(_) => "failure: checkpoint",
            Failure::Remove { .. } => "failure: remove",
            Failure::Reserve(_) => "failure: reserve",
            Failure::Truncate { .. } => "failure: truncate",
            Failure::Earlier => "failure: met again",
        });
        self.failed = Some(failure.to_string());
        Ok(())
    }
}
