//! What the image knows of one partition.
//!
//! Who may be trusted with what was acknowledged: the in-sync set and, while that is smaller than the topic's
//! `min_insync_replicas`, the eligible leader replicas (KIP-966), less those that are marked as damaged. Nobody else.
//! The in-sync set is never empty: the last one that left stays in it as the one to wait for, and does not lead.

use crate::record::{Partition, Placement, Replica};
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::{BrokerId, LeaderEpoch, Offset, PartitionEpoch, TopicPartition};

/// Frozen with version 2 of the records.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// One more with every change of anything here; 0 when it is created.
    pub partition_epoch: PartitionEpoch,
    /// `None` while no broker may lead it.
    pub leader: Option<BrokerId>,
    /// Greater with every new leader, every start of one, and when there is none any more. From 1.
    pub leader_epoch: LeaderEpoch,
    /// Who led last, while nobody does.
    pub last_known_leader: Option<BrokerId>,
    /// The in-sync set, ascending, never empty. The leader is in it.
    pub isr: Vec<BrokerId>,
    /// Not in sync, but known to hold all that was acknowledged (KIP-966). Ascending, disjoint from `isr`.
    pub eligible_leader_replicas: Vec<BrokerId>,
    /// Every broker that holds it, preferred leader first.
    pub replicas: Vec<Replica>,
    /// Replicas that were trusted and may lack what was acknowledged: recovery found damage or may have left the log
    /// short, or the folder is a new one. They neither lead nor join until they are repaired. Ascending.
    pub damaged: Vec<BrokerId>,
    /// Members of `isr` and `eligible_leader_replicas` that have started since they were last in sync under a leader.
    /// Ascending by broker.
    pub restarted: Vec<RestartedReplica>,
}

/// What a restarted replica recovered.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartedReplica {
    pub broker: BrokerId,
    pub end: ReplicaEnd,
    /// Recovery cut a group off that was not whole. Nearly always it was being written and nobody was told of it; rot in
    /// the very last group looks the same, so such a replica leads only when there is no other one to wait for.
    pub cut_torn_group: bool,
}

/// How far a replica's log goes. The greater one holds more of what was written last.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplicaEnd {
    /// Of its last frame; 0 when it has none.
    pub leader_epoch: LeaderEpoch,
    /// The offset after its last record.
    pub end_offset: Offset,
}

/// What an operator was shown of a replica before it decided.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownReplica {
    pub broker: BrokerId,
    /// `None` when the replica could not be asked.
    pub end: Option<ReplicaEnd>,
}

impl PartitionState {
    /// Where `broker` keeps it; `None` when it does not.
    #[must_use]
    pub fn placement(&self, broker: BrokerId) -> Option<Placement> {
        self.replicas.iter().find(|r| r.broker == broker).map(|r| r.placement)
    }

    #[must_use]
    pub fn is_replica(&self, broker: BrokerId) -> bool {
        self.replicas.iter().any(|r| r.broker == broker)
    }

    /// The leader as long as all is well.
    #[must_use]
    pub fn preferred_leader(&self) -> Option<BrokerId> {
        self.replicas.first().map(|r| r.broker)
    }

    /// In sync or eligible: expected to hold all that was acknowledged. It may be marked as damaged all the same.
    #[must_use]
    pub fn is_trusted(&self, broker: BrokerId) -> bool {
        self.isr.contains(&broker) || self.eligible_leader_replicas.contains(&broker)
    }

    #[must_use]
    pub fn restarted(&self, broker: BrokerId) -> Option<&RestartedReplica> {
        self.restarted.iter().find(|r| r.broker == broker)
    }

    pub(crate) fn mark_damaged(&mut self, broker: BrokerId) {
        self.restarted.retain(|r| r.broker != broker);
        if let Err(at) = self.damaged.binary_search(&broker) {
            self.damaged.insert(at, broker);
        }
    }

    pub(crate) fn note_restarted(&mut self, restarted: RestartedReplica) {
        self.restarted.retain(|r| r.broker != restarted.broker);
        let at = self.restarted.partition_point(|r| r.broker < restarted.broker);
        self.restarted.insert(at, restarted);
    }

    /// What version 1 of the records can say of it; `None` when that is not all.
    pub(crate) fn as_version_1(&self) -> Option<Partition> {
        let plain = self.replicas.len() == 1
            && self.last_known_leader.is_none()
            && self.damaged.is_empty()
            && self.restarted.is_empty()
            && self.leader.is_some();
        plain.then(|| Partition {
            leader: self.leader,
            leader_epoch: self.leader_epoch,
            isr: self.isr.clone(),
            eligible_leader_replicas: self.eligible_leader_replicas.clone(),
            replicas: self.replicas.clone(),
        })
    }

    /// What a record of version 1 makes of a partition whose epoch goes to `partition_epoch`.
    pub(crate) fn from_version_1(partition: &Partition, partition_epoch: PartitionEpoch) -> Self {
        Self {
            partition_epoch,
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            last_known_leader: None,
            isr: partition.isr.clone(),
            eligible_leader_replicas: partition.eligible_leader_replicas.clone(),
            replicas: partition.replicas.clone(),
            damaged: Vec::new(),
            restarted: Vec::new(),
        }
    }

    /// The record that makes it so. A partition with one replica is written as it always was.
    pub(crate) fn record(self, id: TopicPartition) -> crate::record::Record {
        use crate::record::{PartitionChanged, PartitionStateChanged, Record};
        let TopicPartition { topic_id, partition } = id;
        match self.as_version_1() {
            Some(state) => Record::PartitionChanged(PartitionChanged { topic_id, partition, state }),
            None => Record::PartitionStateChanged(PartitionStateChanged { topic_id, partition, state: self }),
        }
    }
}
