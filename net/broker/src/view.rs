//! What a shard knows of the cluster: who leads which partition, and where.
//!
//! A view never changes; the control thread sends a new one. The expensive mistake is to answer "unknown" for what is
//! merely elsewhere: a client would give up instead of going there.

use crate::error_table::WireError;
use sluice_metadata::{Address, Image, Topic};
use sluice_model::{BrokerId, ErrorCode, Incarnation, LeaderEpoch, ShardIndex, TopicId, TopicPartition};
use sluice_partition::{PartitionAssignment, PartitionSettings};
use sluice_protocol::ShardAddress;
use sluice_replica::PartitionState;
use std::cell::{Cell, Ref, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

/// One state of the cluster, as the control thread saw it.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) broker: BrokerId,
    pub(crate) image: Arc<Image>,
}

/// Where a partition is, seen from one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Here {
        leader_epoch: LeaderEpoch,
    },
    Elsewhere(ShardAddress),
    /// This shard leads it and is not open yet.
    Recovering(ShardIndex),
    /// Nobody leads it now.
    NoLeader,
    UnknownTopic,
    UnknownPartition {
        count: usize,
    },
}

impl View {
    pub(crate) fn place(&self, id: TopicPartition, here: ShardIndex) -> Place {
        let Some(topic) = self.image.topic(id.topic_id) else { return Place::UnknownTopic };
        let Some(partition) = topic.partition(id.partition) else {
            return Place::UnknownPartition { count: topic.partitions.len() };
        };
        let Some(leader) = partition.leader else { return Place::NoLeader };
        let Some(placement) = partition.placement(leader) else { return Place::NoLeader };
        if leader == self.broker && placement.shard == here {
            return Place::Here { leader_epoch: partition.leader_epoch };
        }
        let address = self.image.broker(leader).and_then(|broker| broker.address(placement.shard));
        address.map_or(Place::NoLeader, |address| Place::Elsewhere(shard_address(leader, placement.shard, address)))
    }

    /// Every shard of every broker.
    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardAddress> {
        self.image.brokers().flat_map(|(id, broker)| {
            let numbered = (0..).map(ShardIndex).zip(&broker.addresses);
            numbered.map(move |(shard, address)| shard_address(id, shard, address))
        })
    }

    /// Topics whose files are to go.
    pub(crate) fn deleted(&self) -> BTreeSet<TopicId> {
        self.image.deleted_topics().map(|(id, _)| id).collect()
    }

    /// The replicas that one shard of this broker holds.
    pub(crate) fn assignments(&self, shard: ShardIndex) -> Vec<PartitionAssignment> {
        let mut assignments = Vec::new();
        for (topic_id, topic) in self.image.topics() {
            let settings = partition_settings(topic);
            for (partition, state) in topic.numbered_partitions() {
                let Some(placement) = state.placement(self.broker).filter(|placement| placement.shard == shard) else { continue };
                assignments.push(PartitionAssignment {
                    id: TopicPartition { topic_id, partition },
                    placement_epoch: placement.placement_epoch,
                    state: Some(self.partition_state(state)),
                    settings,
                });
            }
        }
        assignments
    }
}

impl View {
    /// What the controller has decided, as a replica hears it.
    fn partition_state(&self, state: &sluice_metadata::PartitionState) -> PartitionState {
        let incarnation = |broker| self.image.broker(broker).map(|broker| broker.incarnation);
        let replicas = state.replicas.iter().filter_map(|replica| Some((replica.broker, incarnation(replica.broker)?)));
        PartitionState {
            leader_epoch: state.leader_epoch,
            partition_epoch: state.partition_epoch,
            leader: state.leader,
            isr: state.isr.iter().copied().collect(),
            replicas: replicas.collect(),
        }
    }
}

fn partition_settings(topic: &Topic) -> PartitionSettings {
    PartitionSettings {
        segment_len: topic.settings.segment_len(),
        retention_bytes: topic.settings.retention_bytes(),
        retention_ms: topic.settings.retention_ms(),
        frame_len_max: topic.settings.frame_len_max(),
        min_insync_replicas: topic.settings.min_insync_replicas(),
    }
}

fn shard_address(broker: BrokerId, shard: ShardIndex, address: &Address) -> ShardAddress {
    ShardAddress { broker_id: broker.0, shard: shard.0, host: address.host.clone(), port: address.port }
}

impl Place {
    /// What to say of a partition that is not here, and where it is.
    pub(crate) fn refusal(self) -> (WireError, Option<ShardAddress>) {
        match self {
            Self::Elsewhere(address) => {
                let text = format!("shard {} of broker {} leads this partition", address.shard, address.broker_id);
                (WireError::new(ErrorCode::NotLeader, text), Some(address))
            }
            Self::Recovering(shard) => (WireError::recovering(shard), None),
            Self::NoLeader => (WireError::not_ready("no broker leads this partition now"), None),
            Self::UnknownTopic => (WireError::new(ErrorCode::UnknownTopic, "there is no topic with this id"), None),
            Self::UnknownPartition { count } => {
                (WireError::new(ErrorCode::UnknownPartition, format!("the topic has {count} partitions, counted from 0")), None)
            }
            // Asked of a partition that is here, and has just gone.
            Self::Here { .. } => (WireError::not_ready("the partition is being opened or removed"), None),
        }
    }
}

/// The newest view of a shard. Clones are the same cell.
#[derive(Clone)]
pub(crate) struct ViewCell {
    view: Rc<RefCell<Arc<View>>>,
    applied: Rc<Cell<u64>>,
    /// As of the last view that was acted on.
    registered: Rc<RefCell<BTreeMap<BrokerId, Incarnation>>>,
}

impl ViewCell {
    pub(crate) fn new(view: Arc<View>) -> Self {
        Self { view: Rc::new(RefCell::new(view)), applied: Rc::default(), registered: Rc::default() }
    }

    /// Not to be held over an await.
    pub(crate) fn get(&self) -> Ref<'_, View> {
        Ref::map(self.view.borrow(), |view| &**view)
    }

    pub(crate) fn set(&self, view: Arc<View>) {
        *self.view.borrow_mut() = view;
    }

    /// Brokers whose incarnation is another one than when this was asked last.
    pub(crate) fn take_registrations(&self) -> Vec<(BrokerId, Incarnation)> {
        let mut registered = self.registered.borrow_mut();
        let view = self.view.borrow();
        let brokers = view.image.brokers().map(|(id, broker)| (id, broker.incarnation));
        brokers.filter(|&(id, incarnation)| registered.insert(id, incarnation) != Some(incarnation)).collect()
    }

    /// The shard's partitions are what the view says.
    pub(crate) fn note_applied(&self) {
        self.applied.set(self.applied.get() + 1);
    }

    /// How often that has been so.
    pub(crate) fn applied(&self) -> u64 {
        self.applied.get()
    }
}
