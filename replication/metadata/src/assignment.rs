//! Which brokers and shards hold a new partition, and which of them leads it.
//!
//! One partition after the other, one replica after the other, each goes where the least lies: the leader where the
//! fewest lead, the others where the fewest replicas lie, on racks that the partition is not on yet. What counts first
//! is the topic, so that one busy topic has every core of every broker, and then all topics; loads are per shard, so a
//! broker with twice the shards gets twice as much. Among equals, a leader's first follower is the one that is it least:
//! it takes over when the leader dies, and all the others should. Deterministic: equal images give equal assignments.
//!
//! Racks come before evenness: the expensive mistake is a partition whose replicas fail together.

use crate::broker_state::BrokerState;
use crate::image::{Broker, Image};
use crate::record::Partition;
use crate::refusal::Refusal;
use sluice_model::{BrokerId, ShardIndex, TopicId};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// A shard of a broker.
type Slot = (BrokerId, ShardIndex);

/// The next `count` partitions: of a new topic, or of an existing one (`topic`). Active brokers hold them; where those
/// are too few, others do too, and are not in sync. Refused when the brokers are too few for so many replicas, or the
/// active ones for `min_insync`.
pub(crate) fn assign(
    image: &Image,
    topic: Option<TopicId>,
    count: u32,
    replicas: u32,
    min_insync: usize,
) -> Result<Vec<Partition>, Refusal> {
    let is_active = |broker: &Broker| broker.state == BrokerState::Active;
    let registered = image.brokers().count();
    let active = image.brokers().filter(|(_, broker)| is_active(broker)).count();
    if registered == 0 {
        return Err(Refusal::NoBrokers);
    }
    if (replicas as usize) > registered {
        return Err(Refusal::NotEnoughBrokers { wanted: replicas, registered });
    }
    if active < min_insync.max(1) {
        return Err(Refusal::NotEnoughActiveBrokers { wanted: min_insync.max(1), active, registered });
    }
    let needs_others = active < replicas as usize;
    let mut loads = Loads::of(image, topic, |broker| needs_others || is_active(broker));
    let in_sync = |id| image.broker(id).is_some_and(is_active);
    Ok((0..count).map(|_| Partition::with_replicas(&loads.place(replicas, &in_sync), in_sync)).collect())
}

/// What lies on a shard, or on a broker. Ordered as far as one shard goes: the first that differs decides.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Load {
    leaders_of_topic: usize,
    of_topic: usize,
    leaders: usize,
    all: usize,
}

impl Load {
    fn add(&mut self, leads: bool, of_topic: bool) {
        self.all += 1;
        self.leaders += usize::from(leads);
        self.of_topic += usize::from(of_topic);
        self.leaders_of_topic += usize::from(leads && of_topic);
    }

    /// In the order in which they decide where a leader goes.
    fn for_leader(&self) -> [usize; 4] {
        [self.leaders_of_topic, self.of_topic, self.leaders, self.all]
    }

    /// In the order in which they decide where a follower goes.
    fn for_follower(&self) -> [usize; 2] {
        [self.of_topic, self.all]
    }
}

struct BrokerLoad<'a> {
    id: BrokerId,
    rack: Option<&'a str>,
    sum: Load,
    shards: Vec<Load>,
}

struct Loads<'a> {
    brokers: Vec<BrokerLoad<'a>>,
    /// Partitions of the topic by leader and follower: those where it is the first one, and all.
    pairs: BTreeMap<(BrokerId, BrokerId), (usize, usize)>,
}

impl<'a> Loads<'a> {
    fn of(image: &'a Image, topic: Option<TopicId>, is_usable: impl Fn(&Broker) -> bool) -> Self {
        let of_broker = |(id, broker): (BrokerId, &'a Broker)| BrokerLoad {
            id,
            rack: broker.rack.as_deref(),
            sum: Load::default(),
            shards: vec![Load::default(); broker.shard_count()],
        };
        let brokers = image.brokers().filter(|(_, broker)| is_usable(broker)).map(of_broker).collect();
        let mut loads = Self { brokers, pairs: BTreeMap::new() };
        for (id, partition) in image.partitions() {
            let slots: Vec<Slot> = partition.replicas.iter().map(|r| (r.broker, r.placement.shard)).collect();
            loads.count(&slots, Some(id.topic_id) == topic);
        }
        loads
    }

    /// Counts a partition, whose first slot is its preferred leader's.
    fn count(&mut self, slots: &[Slot], of_topic: bool) {
        for (index, &(id, shard)) in slots.iter().enumerate() {
            let Ok(at) = self.brokers.binary_search_by_key(&id, |b| b.id) else { continue };
            let broker = &mut self.brokers[at];
            broker.sum.add(index == 0, of_topic);
            if let Some(shard) = broker.shards.get_mut(usize::from(shard.0)) {
                shard.add(index == 0, of_topic);
            }
            if of_topic && index > 0 {
                let (first, all) = self.pairs.entry((slots[0].0, id)).or_default();
                *first += usize::from(index == 1);
                *all += 1;
            }
        }
    }

    /// Where the next partition goes, leader first. Some broker is active.
    fn place(&mut self, replicas: u32, is_active: &impl Fn(BrokerId) -> bool) -> Vec<Slot> {
        let leader = self
            .brokers
            .iter()
            .filter(|b| is_active(b.id))
            .min_by(|a, b| per_shard(&a.sum.for_leader(), a.shards.len(), &b.sum.for_leader(), b.shards.len()));
        let mut chosen: Vec<&BrokerLoad<'_>> = leader.into_iter().collect();
        while chosen.len() < replicas as usize {
            let Some(next) = self.next_follower(&chosen, is_active) else { break };
            chosen.push(next);
        }
        let mut slots = Vec::with_capacity(chosen.len());
        for (index, broker) in chosen.iter().enumerate() {
            let leader_shard = || broker.shards.iter().enumerate().min_by_key(|(_, load)| load.for_leader());
            let follower_shard = || broker.shards.iter().enumerate().min_by_key(|(_, load)| load.for_follower());
            let shard = if index == 0 { leader_shard() } else { follower_shard() };
            let shard = shard.map_or(0, |(shard, _)| shard);
            slots.push((broker.id, ShardIndex(u16::try_from(shard).expect("SHARDS_PER_BROKER_MAX fits"))));
        }
        self.count(&slots, true);
        slots
    }

    fn next_follower(&self, chosen: &[&BrokerLoad<'a>], is_active: &impl Fn(BrokerId) -> bool) -> Option<&BrokerLoad<'a>> {
        let on_rack = |b: &BrokerLoad<'_>| chosen.iter().filter(|c| c.rack.is_some() && c.rack == b.rack).count();
        let follows = |b: &BrokerLoad<'_>| {
            let leader = chosen.first().map_or(BrokerId(0), |leader| leader.id);
            let (first, all) = self.pairs.get(&(leader, b.id)).copied().unwrap_or_default();
            if chosen.len() == 1 { first } else { all }
        };
        let free = self.brokers.iter().filter(|b| chosen.iter().all(|c| c.id != b.id));
        free.min_by(|a, b| {
            let [of_topic_a, all_a] = a.sum.for_follower();
            let [of_topic_b, all_b] = b.sum.for_follower();
            let (shards_a, shards_b) = (a.shards.len(), b.shards.len());
            is_active(b.id)
                .cmp(&is_active(a.id))
                .then_with(|| on_rack(a).cmp(&on_rack(b)))
                .then_with(|| per_shard(&[of_topic_a], shards_a, &[of_topic_b], shards_b))
                .then_with(|| per_shard(&[follows(a)], shards_a, &[follows(b)], shards_b))
                .then_with(|| per_shard(&[all_a], shards_a, &[all_b], shards_b))
        })
    }
}

/// Which of two brokers has less on each shard, once it gets one more.
fn per_shard(a: &[usize], shards_a: usize, b: &[usize], shards_b: usize) -> Ordering {
    let crossed = a.iter().zip(b).map(|(a, b)| ((a + 1) * shards_b).cmp(&((b + 1) * shards_a)));
    crossed.fold(Ordering::Equal, Ordering::then)
}

#[cfg(test)]
#[path = "assignment_test.rs"]
mod tests;
