//! A broker starts.
//!
//! Each start is a new incarnation. What the one before led is led under a new leader epoch from then on, so that
//! nothing meant for the earlier start is taken for this one's. With another number of shards its partitions are
//! placed anew, with as few moves as make the shards even.
//!
//! A broker without others leads what it holds at once, as long as nobody else holds any of it. One of a cluster begins
//! without anything: it leads nothing and is in no in-sync set but those it was the last of, until it has said what its
//! recovery found (`on_report_recovery`) and has a lease (`on_unfence_broker`). On the same folder it inherits what its
//! predecessor could be trusted with, if recovery agrees. The expensive mistake is to let a fresh folder inherit that:
//! it would lead with nothing in it, and the others would throw away what they have.
//!
//! What the broker's folder holds may be newer than the metadata, when that was put back from an older copy. Epochs
//! then begin above every one that may have been used since: a placement epoch that two folders name would not say
//! which one is the newer, and frames under a used leader epoch would not be replayed.

use crate::broker_state::BrokerState;
use crate::election::{Settling, with_next_epoch};
use crate::identity::FolderId;
use crate::image::{Broker, Image};
use crate::partition_state::PartitionState;
use crate::placement;
use crate::record::{Address, BrokerIncarnationRegistered, BrokerRegistered, Placement, Record};
use crate::refusal::Refusal;
use rkyv::with::AsVec;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::{HOST_LEN_MAX, RACK_LEN_MAX, SHARDS_PER_BROKER_MAX};
use sluice_model::{BrokerId, Incarnation, LeaderEpoch, PlacementEpoch, ShardIndex, TopicPartition};
use std::collections::BTreeMap;

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct RegisterBroker {
    /// From 1.
    pub broker: BrokerId,
    /// Its number is greater than the one registered before.
    pub incarnation: Incarnation,
    pub folder_id: FolderId,
    /// Where each shard can be reached by clients; as many as there are shards.
    pub addresses: Vec<Address>,
    pub held: HeldPartitions,
    pub start: Start,
}

/// Among whom a broker starts.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// There is no other broker.
    Alone,
    InCluster {
        /// What fails together with it; replicas are spread over racks.
        rack: Option<String>,
        /// The folder that is lost and that this one takes the place of. Without it another folder than the known one
        /// is refused: nothing that is on the old one counts any more.
        replaces_folder: Option<FolderId>,
    },
}

/// What the checkpoints in a broker's folder say, by the newest of each shard.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldPartitions {
    /// The greatest incarnation number that any of them was written under; 0 when there is none.
    pub incarnation_number: u64,
    /// Where each partition's newest state is.
    #[rkyv(with = AsVec)]
    pub placements: BTreeMap<TopicPartition, Placement>,
}

/// A registration that repeats the one in force needs no records. All records belong into one batch.
pub fn on_register_broker(image: &Image, request: &RegisterBroker) -> Result<Vec<Record>, Refusal> {
    check(request)?;
    let known = image.broker(request.broker);
    if let Some(known) = known {
        check_folder(request, known)?;
        if known.incarnation == request.incarnation && is_same(request, known) {
            return Ok(Vec::new());
        }
        if request.incarnation.number <= known.incarnation.number {
            let (got, current) = (request.incarnation, known.incarnation);
            return Err(Refusal::FencedIncarnation { broker: request.broker, got, current });
        }
    }
    let RegisterBroker { broker, incarnation, folder_id, ref addresses, .. } = *request;
    let addresses = addresses.clone();
    match &request.start {
        Start::Alone => {
            check_alone(image, broker, known)?;
            let mut records = vec![Record::BrokerRegistered(BrokerRegistered { broker, incarnation, folder_id, addresses })];
            records.extend(known.into_iter().flat_map(|known| led_on(image, request, known)));
            Ok(records)
        }
        Start::InCluster { rack, .. } => {
            if let Some((by, _)) = image.brokers().find(|(id, other)| *id != broker && other.folder_id == folder_id) {
                return Err(Refusal::FolderTaken { folder_id, by });
            }
            let rack = rack.clone();
            let registered = BrokerIncarnationRegistered { broker, incarnation, folder_id, addresses, rack };
            let mut records = vec![Record::BrokerIncarnationRegistered(registered)];
            records.extend(known.into_iter().flat_map(|known| begun_anew(image, request, known)));
            Ok(records)
        }
    }
}

fn is_same(request: &RegisterBroker, known: &Broker) -> bool {
    let same_rack = match &request.start {
        Start::Alone => true,
        Start::InCluster { rack, .. } => *rack == known.rack,
    };
    same_rack && known.addresses == request.addresses && known.folder_id == request.folder_id
}

fn check_folder(request: &RegisterBroker, known: &Broker) -> Result<(), Refusal> {
    let replaces = match &request.start {
        Start::Alone => None,
        Start::InCluster { replaces_folder, .. } => *replaces_folder,
    };
    if known.folder_id == request.folder_id || replaces == Some(known.folder_id) {
        return Ok(());
    }
    Err(Refusal::OtherFolder { broker: request.broker, known: known.folder_id, got: request.folder_id })
}

fn check_alone(image: &Image, broker: BrokerId, known: Option<&Broker>) -> Result<(), Refusal> {
    let has_state = known.is_some_and(|known| known.state != BrokerState::Active);
    let has_peers = || image.partitions().any(|(_, p)| p.is_replica(broker) && p.replicas.len() > 1);
    if has_state || has_peers() { Err(Refusal::NotAlone { broker }) } else { Ok(()) }
}

fn check(request: &RegisterBroker) -> Result<(), Refusal> {
    if request.broker == BrokerId(0) {
        return Err(Refusal::InvalidBrokerId { got: request.broker });
    }
    let shard_count = request.addresses.len();
    if shard_count == 0 || shard_count > SHARDS_PER_BROKER_MAX {
        return Err(Refusal::InvalidShardCount { got: shard_count, max: SHARDS_PER_BROKER_MAX });
    }
    if let Start::InCluster { rack: Some(rack), .. } = &request.start
        && (rack.is_empty() || rack.len() > RACK_LEN_MAX)
    {
        return Err(Refusal::InvalidRack { got: rack.clone() });
    }
    let usable =
        |a: &Address| a.port != 0 && (1..=HOST_LEN_MAX).contains(&a.host.len()) && a.host.bytes().all(|b| b.is_ascii_graphic());
    match request.addresses.iter().position(|a| !usable(a)) {
        Some(shard) => Err(Refusal::InvalidAddress { shard, got: request.addresses[shard].to_string() }),
        None => Ok(()),
    }
}

/// What lies elsewhere from now on.
struct Moved<'a> {
    broker: BrokerId,
    moves: BTreeMap<TopicPartition, ShardIndex>,
    held: &'a HeldPartitions,
}

impl<'a> Moved<'a> {
    fn of(image: &Image, request: &'a RegisterBroker, known: &Broker) -> Self {
        let moves = if request.addresses.len() == known.shard_count() {
            Default::default()
        } else {
            placement::moves(image, request.broker, request.addresses.len())
        };
        Self { broker: request.broker, moves, held: &request.held }
    }

    fn place(&self, id: TopicPartition, partition: &mut PartitionState) {
        if let Some(&shard) = self.moves.get(&id) {
            move_replica(partition, self.broker, shard);
        }
        if let Some(held) = self.held.placements.get(&id) {
            place_above(partition, self.broker, *held);
        }
    }
}

/// What a broker without others leads, under the next leader epoch.
fn led_on(image: &Image, request: &RegisterBroker, known: &Broker) -> Vec<Record> {
    let moved = Moved::of(image, request, known);
    // Leader epochs grow by no more than incarnation numbers do, so this passes all of the starts that are forgotten.
    let forgotten = request.held.incarnation_number.saturating_sub(known.incarnation.number);
    let leader_epochs = u32::try_from(forgotten).unwrap_or(u32::MAX).saturating_add(1);
    let changed = |(id, partition): (TopicPartition, &PartitionState)| {
        let mut state = partition.clone();
        if state.leader == Some(request.broker) {
            state.leader_epoch = LeaderEpoch(state.leader_epoch.0.saturating_add(leader_epochs));
        }
        moved.place(id, &mut state);
        Some(with_next_epoch(partition, state)?.record(id))
    };
    image.partitions().filter_map(changed).collect()
}

/// What an earlier incarnation led and was trusted with, when there is a new one that has not yet said what it holds.
fn begun_anew(image: &Image, request: &RegisterBroker, known: &Broker) -> Vec<Record> {
    let broker = request.broker;
    let is_fresh = known.folder_id != request.folder_id;
    let moved = Moved::of(image, request, known);
    let settling = Settling::new(image).with_broker(broker, BrokerState::Recovering);
    settling.records(|id, partition| {
        if !partition.is_replica(broker) {
            return None;
        }
        let mut next = partition.clone();
        next.restarted.retain(|r| r.broker != broker);
        if is_fresh && partition.is_trusted(broker) {
            next.mark_damaged(broker);
        }
        moved.place(id, &mut next);
        Some(next)
    })
}

fn move_replica(partition: &mut PartitionState, broker: BrokerId, shard: ShardIndex) {
    for replica in partition.replicas.iter_mut().filter(|r| r.broker == broker) {
        replica.placement.shard = shard;
        replica.placement.placement_epoch = PlacementEpoch(replica.placement.placement_epoch.0 + 1);
    }
}

/// A placement that the folder does not know as another one, or as an older one.
fn place_above(partition: &mut PartitionState, broker: BrokerId, held: Placement) {
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
