//! Who is to have which partition: pure functions of the members in order, what each subscribes to, and what each was to
//! have before.
//!
//! Every partition that some member subscribes to is one member's, and nobody gets what it does not subscribe to.
//! Deterministic: equal arguments give equal assignments, and an assignment that is still right stays as it is.

mod range;
mod round_robin;
mod sticky;
mod sticky_even;

use crate::ids::MemberId;
use crate::record::Assignor;
use crate::topics::Topics;
use sluice_model::{TopicId, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A member and the topics that it subscribes to.
pub(crate) struct Subscriber {
    pub(crate) member_id: MemberId,
    pub(crate) topics: Rc<BTreeSet<TopicId>>,
}

/// What every member is to have. `members` in the order in which they joined; `before`: whose each partition was to be.
pub(crate) fn assign(
    assignor: Assignor,
    members: &[Subscriber],
    topics: &Topics,
    before: &BTreeMap<TopicPartition, MemberId>,
) -> BTreeMap<MemberId, BTreeSet<TopicPartition>> {
    let problem = Problem::of(members, topics, before);
    let owners = match assignor {
        Assignor::Range => range::assign(&problem),
        Assignor::RoundRobin => round_robin::assign(&problem),
        Assignor::Sticky if problem.is_even() => sticky_even::assign(&problem),
        Assignor::Sticky => sticky::assign(&problem),
    };
    let mut assigned: BTreeMap<_, _> = members.iter().map(|member| (member.member_id, BTreeSet::new())).collect();
    for (partition, owner) in problem.partitions.iter().zip(owners) {
        assigned.entry(members[owner].member_id).or_default().insert(partition.id);
    }
    assigned
}

/// Members and topics by number.
struct Problem {
    member_count: usize,
    /// Members that subscribe to each topic, in order; of every topic somebody subscribes to.
    subscribers: Vec<Vec<usize>>,
    /// Topic by topic, ascending.
    partitions: Vec<Partition>,
}

struct Partition {
    id: TopicPartition,
    topic: usize,
    /// Whose it was to be, if that member is still there and still subscribes to it.
    before: Option<usize>,
}

impl Problem {
    fn of(members: &[Subscriber], topics: &Topics, before: &BTreeMap<TopicPartition, MemberId>) -> Self {
        let numbers: BTreeMap<MemberId, usize> = members.iter().enumerate().map(|(n, member)| (member.member_id, n)).collect();
        let mut subscribers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
        for (number, member) in members.iter().enumerate() {
            for &topic_id in member.topics.iter() {
                subscribers.entry(topic_id).or_default().push(number);
            }
        }
        let mut partitions = Vec::new();
        for (topic, (&topic_id, _)) in subscribers.iter().enumerate() {
            partitions.extend(topics.partitions(topic_id).map(|id| {
                let number = before.get(&id).and_then(|member_id| numbers.get(member_id)).copied();
                Partition { id, topic, before: number.filter(|&number| members[number].topics.contains(&topic_id)) }
            }));
        }
        Self { member_count: members.len(), subscribers: subscribers.into_values().collect(), partitions }
    }

    /// Whether all members subscribe to the same.
    fn is_even(&self) -> bool {
        self.subscribers.iter().all(|members| members.len() == self.member_count)
    }
}

#[cfg(test)]
#[path = "../assignor_test.rs"]
mod tests;
