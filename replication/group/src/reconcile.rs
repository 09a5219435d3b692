//! One member's step from what it has to what it is to have: the only place where partitions change hands.
//!
//! What it says it has given up is free. What it has and is not to have, it is told to give up. What it is to have and
//! nobody has, it gets. Each step is one member's own; nobody waits for all. A partition that it was told to give up is
//! never given back before it has said so, because it may be about to say so.

use crate::group::{Group, Member};
use crate::ids::{GroupId, MemberEpoch, MemberId};
use crate::record::{Hold, MemberAssigned, Record, held_by_topic};
use sluice_model::TopicPartition;
use std::collections::BTreeMap;

/// What a member gave up.
pub(crate) struct GivenUp<'a> {
    /// The epoch under which it was told to.
    pub(crate) epoch: MemberEpoch,
    pub(crate) partitions: &'a [TopicPartition],
}

/// What a member has from an epoch on.
#[derive(Clone)]
pub(crate) struct Holding {
    pub(crate) epoch: MemberEpoch,
    pub(crate) held: BTreeMap<TopicPartition, Hold>,
}

/// The step, if there is one to be made. A member that was never told anything is always told.
pub(crate) fn step(group: &Group, member_id: MemberId, given_up: &GivenUp<'_>) -> Option<Holding> {
    let member = group.member(member_id)?;
    let next = member.epoch.next();
    let mut held = member.held.clone();
    for id in given_up.partitions {
        // What names an epoch before it was told to give it up is late: it is about an earlier time that it had it.
        let is_told = |hold: &Hold| hold.revoked_at.is_some_and(|epoch| epoch <= given_up.epoch);
        if held.get(id).is_some_and(is_told) {
            held.remove(id);
        }
    }
    for (id, hold) in &mut held {
        if hold.revoked_at.is_none() && !member.target.contains(id) {
            hold.revoked_at = Some(next);
        }
    }
    for &id in &member.target {
        if group.owner(id).is_none_or(|owner| owner == member_id) {
            held.entry(id).or_insert(Hold { since: next, revoked_at: None });
        }
    }
    let is_told = member.epoch > MemberEpoch(0);
    (held != member.held || !is_told).then_some(Holding { epoch: next, held })
}

impl Holding {
    pub(crate) fn of(member: &Member) -> Self {
        Self { epoch: member.epoch, held: member.held.clone() }
    }

    pub(crate) fn record(&self, group_id: &GroupId, member_id: MemberId) -> Record {
        let (group_id, member_epoch, held) = (group_id.clone(), self.epoch, held_by_topic(&self.held));
        Record::MemberAssigned(MemberAssigned { group_id, member_id, member_epoch, held })
    }
}

/// Whether the member's next heartbeat is answered with something new, whatever it says.
pub(crate) fn has_news(group: &Group, member: &Member) -> bool {
    let is_to_give_up = |(id, hold): (&TopicPartition, &Hold)| hold.revoked_at.is_none() && !member.target.contains(id);
    let is_to_get = |id: &TopicPartition| group.owner(*id).is_none();
    member.epoch == MemberEpoch(0) || member.held.iter().any(is_to_give_up) || member.target.iter().any(is_to_get)
}
