//! What must be true of every image, and of one image after another, by name.
//!
//! [`check`] holds after every batch; [`check_settled`] once all that a decision asked for is applied; and
//! [`check_succession`] between an image and the one a batch later. Tests call them at every step, and the simulator
//! does; applying a record asserts those that a record can break by itself (`image/partition_rules.rs`).

use crate::broker_state::BrokerState;
use crate::image::{Image, Topic, partition_rules};
use crate::partition_state::PartitionState;
use sluice_model::{BrokerId, TopicPartition};
use std::fmt;

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Of what it does not hold: a partition or a broker.
    pub of: String,
    pub rule: &'static str,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} breaks the rule: {}", self.of, self.rule)
    }
}

impl std::error::Error for Broken {}

/// Of any image.
pub fn check(image: &Image) -> Result<(), Broken> {
    for (topic_id, topic) in image.topics() {
        for (partition, state) in topic.numbered_partitions() {
            let id = TopicPartition { topic_id, partition };
            first_broken(id, &partition_rules(state))?;
            first_broken(id, &rules_of_brokers(image, topic, state))?;
        }
    }
    Ok(())
}

/// The rules of a partition that look at its brokers and its topic.
fn rules_of_brokers(image: &Image, topic: &Topic, partition: &PartitionState) -> [(bool, &'static str); 5] {
    let state = |b: &BrokerId| image.broker(*b).map(|known| known.state);
    let holds_lease = |b: &BrokerId| state(b).is_some_and(BrokerState::holds_lease);
    let placed = |r: &crate::Replica| image.broker(r.broker).is_some_and(|b| b.address(r.placement.shard).is_some());
    let recovers = |b: BrokerId| state(&b) == Some(BrokerState::Recovering);
    let eligible = &partition.eligible_leader_replicas;
    [
        (partition.replicas.iter().all(placed), "replicas lie on shards that there are"),
        (partition.leader.is_none_or(|b| holds_lease(&b)), "no fenced broker leads"),
        (partition.leader.is_none() || partition.isr.iter().all(holds_lease), "under a leader no fenced broker is in sync"),
        (eligible.is_empty() || partition.isr.len() < topic.min_insync(), "nobody is eligible while the in-sync set suffices"),
        (!partition.leader.is_some_and(recovers), "nobody leads before it has said what it recovered"),
    ]
}

/// Of an image in which nothing is left to be done: nobody waits for a leader who could have one.
pub fn check_settled(image: &Image) -> Result<(), Broken> {
    check(image)?;
    for (id, partition) in image.partitions().filter(|(_, partition)| partition.leader.is_none()) {
        let state = |b: BrokerId| image.broker(b).map(|known| known.state);
        let trusted = || partition.replicas.iter().map(|r| r.broker).filter(|&b| partition.is_trusted(b));
        let fit = || trusted().filter(|b| !partition.damaged.contains(b));
        let cut = |b: BrokerId| partition.restarted(b).is_some_and(|r| r.cut_torn_group);
        let is_active = |b: BrokerId| state(b) == Some(BrokerState::Active);
        let led = fit().any(|b| is_active(b) && !cut(b));
        let all_cut = fit().next().is_some() && fit().all(is_active);
        first_broken(id, &[(!led && !all_cut, "whoever may be trusted and is there leads")])?;
    }
    Ok(())
}

/// Of an image and the one that a batch has made of it.
pub fn check_succession(before: &Image, after: &Image) -> Result<(), Broken> {
    for (id, known) in before.brokers() {
        let goes_on = after.broker(id).is_some_and(|now| now.incarnation.number >= known.incarnation.number);
        let of = || format!("broker {id}");
        if !goes_on {
            return Err(Broken { of: of(), rule: "incarnations grow" });
        }
    }
    for (id, to) in after.partitions() {
        let Some(from) = before.partition(id) else { continue };
        first_broken(id, &rules_of_succession(from, to))?;
    }
    Ok(())
}

fn rules_of_succession(from: &PartitionState, to: &PartitionState) -> [(bool, &'static str); 4] {
    let placed_later =
        |r: &crate::Replica| from.placement(r.broker).is_none_or(|before| before.placement_epoch <= r.placement.placement_epoch);
    [
        (to.partition_epoch >= from.partition_epoch, "partition epochs grow"),
        ((to.partition_epoch == from.partition_epoch) == (to == from), "every change has a partition epoch of its own"),
        (
            to.leader_epoch > from.leader_epoch || (to.leader_epoch == from.leader_epoch && to.leader == from.leader),
            "every leader has a leader epoch of its own",
        ),
        (to.replicas.iter().all(placed_later), "placement epochs grow"),
    ]
}

fn first_broken(id: TopicPartition, rules: &[(bool, &'static str)]) -> Result<(), Broken> {
    match rules.iter().find(|(kept, _)| !kept) {
        Some(&(_, rule)) => Err(Broken { of: format!("partition {id}"), rule }),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "invariants_test.rs"]
mod tests;
