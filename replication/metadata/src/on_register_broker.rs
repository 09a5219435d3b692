//! A broker starts.
//!
//! Each start is a new incarnation, and whatever the broker leads it leads under a new leader epoch from then on, so
//! that nothing meant for the earlier start is taken for this one's. With another number of shards its partitions are
//! placed anew, with as few moves as make the shards even.
//!
//! What the broker's folder holds may be newer than the metadata, when that was put back from an older copy. Epochs
//! then begin above every one that may have been used since: a placement epoch that two folders name would not say
//! which one is the newer, and frames under a used leader epoch would not be replayed.

use crate::identity::FolderId;
use crate::image::{Broker, Image};
use crate::placement;
use crate::record::{Address, BrokerRegistered, Partition, PartitionChanged, Placement, Record};
use crate::refusal::Refusal;
use sluice_model::limits::{HOST_LEN_MAX, SHARDS_PER_BROKER_MAX};
use sluice_model::{BrokerId, Incarnation, LeaderEpoch, PlacementEpoch, ShardIndex, TopicPartition};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterBroker {
    /// From 1.
    pub broker: BrokerId,
    /// Its number is greater than the one registered before.
    pub incarnation: Incarnation,
    pub folder_id: FolderId,
    /// Where each shard can be reached by clients; as many as there are shards.
    pub addresses: Vec<Address>,
    pub held: HeldPartitions,
}

/// What the checkpoints in a broker's folder say, by the newest of each shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldPartitions {
    /// The greatest incarnation number that any of them was written under; 0 when there is none.
    pub incarnation_number: u64,
    /// Where each partition's newest state is.
    pub placements: BTreeMap<TopicPartition, Placement>,
}

/// A registration that repeats the one in force needs no records.
pub fn on_register_broker(image: &Image, request: &RegisterBroker) -> Result<Vec<Record>, Refusal> {
    check(request)?;
    let known = image.broker(request.broker);
    if let Some(known) = known {
        if known.folder_id != request.folder_id {
            return Err(Refusal::OtherFolder { broker: request.broker, known: known.folder_id, got: request.folder_id });
        }
        if known.incarnation == request.incarnation && known.addresses == request.addresses {
            return Ok(Vec::new());
        }
        if request.incarnation.number <= known.incarnation.number {
            let (got, current) = (request.incarnation, known.incarnation);
            return Err(Refusal::FencedIncarnation { broker: request.broker, got, current });
        }
    }
    let mut records = vec![Record::BrokerRegistered(BrokerRegistered {
        broker: request.broker,
        incarnation: request.incarnation,
        folder_id: request.folder_id,
        addresses: request.addresses.clone(),
    })];
    records.extend(known.into_iter().flat_map(|known| changed_partitions(image, request, known)));
    Ok(records)
}

fn check(request: &RegisterBroker) -> Result<(), Refusal> {
    if request.broker == BrokerId(0) {
        return Err(Refusal::InvalidBrokerId { got: request.broker });
    }
    let shard_count = request.addresses.len();
    if shard_count == 0 || shard_count > SHARDS_PER_BROKER_MAX {
        return Err(Refusal::InvalidShardCount { got: shard_count, max: SHARDS_PER_BROKER_MAX });
    }
    let usable =
        |a: &Address| a.port != 0 && (1..=HOST_LEN_MAX).contains(&a.host.len()) && a.host.bytes().all(|b| b.is_ascii_graphic());
    match request.addresses.iter().position(|a| !usable(a)) {
        Some(shard) => Err(Refusal::InvalidAddress { shard, got: request.addresses[shard].to_string() }),
        None => Ok(()),
    }
}

fn changed_partitions(image: &Image, request: &RegisterBroker, known: &Broker) -> Vec<Record> {
    let broker = request.broker;
    let moves = if request.addresses.len() == known.shard_count() {
        Default::default()
    } else {
        placement::moves(image, broker, request.addresses.len())
    };
    // Leader epochs grow by no more than incarnation numbers do, so this passes all of the starts that are forgotten.
    let forgotten = request.held.incarnation_number.saturating_sub(known.incarnation.number);
    let leader_epochs = u32::try_from(forgotten).unwrap_or(u32::MAX).saturating_add(1);
    let changed = |partition: &Partition, shard: Option<&ShardIndex>, held: Option<&Placement>| {
        let mut state = partition.clone();
        if state.leader == Some(broker) {
            state.leader_epoch = LeaderEpoch(state.leader_epoch.0.saturating_add(leader_epochs));
        }
        if let Some(&shard) = shard {
            move_replica(&mut state, broker, shard);
        }
        if let Some(held) = held {
            place_above(&mut state, broker, *held);
        }
        (state != *partition).then_some(state)
    };
    image
        .partitions()
        .filter_map(|(id, partition)| {
            let state = changed(partition, moves.get(&id), request.held.placements.get(&id))?;
            Some(Record::PartitionChanged(PartitionChanged { topic_id: id.topic_id, partition: id.partition, state }))
        })
        .collect()
}

fn move_replica(partition: &mut Partition, broker: BrokerId, shard: ShardIndex) {
    for replica in partition.replicas.iter_mut().filter(|r| r.broker == broker) {
        replica.placement.shard = shard;
        replica.placement.placement_epoch = PlacementEpoch(replica.placement.placement_epoch.0 + 1);
    }
}

/// A placement that the folder does not know as another one, or as an older one.
fn place_above(partition: &mut Partition, broker: BrokerId, held: Placement) {
    for replica in partition.replicas.iter_mut().filter(|r| r.broker == broker) {
        let placement = &mut replica.placement;
        if held.placement_epoch > placement.placement_epoch
            || (held.placement_epoch == placement.placement_epoch && held.shard != placement.shard)
        {
            placement.placement_epoch = PlacementEpoch(held.placement_epoch.0.saturating_add(1));
        }
    }
}

#[cfg(test)]
#[path = "on_register_broker_test.rs"]
mod tests;
