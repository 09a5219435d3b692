//! A decision that changes a group's members, as it is made: each record is applied to a copy of the group, so that what
//! is decided next sees it.

use crate::assignor::{Subscriber, assign};
use crate::group::Group;
use crate::ids::{GroupEpoch, GroupId, MemberId};
use crate::record::{GroupChanged, GroupState, MemberRemoved, Mode, Record, TargetChanged, by_topic};
use crate::subscription::Subscription;
use crate::topics::Topics;
use sluice_model::{TopicId, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub(crate) struct Draft {
    pub(crate) group_id: GroupId,
    pub(crate) group: Group,
    pub(crate) records: Vec<Record>,
}

impl Draft {
    pub(crate) fn of(group_id: &GroupId, group: &Group) -> Self {
        Self { group_id: group_id.clone(), group: group.clone(), records: Vec::new() }
    }

    /// A group that there was not.
    pub(crate) fn new_group(group_id: &GroupId, state: GroupState) -> Self {
        let records = vec![Record::GroupChanged(GroupChanged { group_id: group_id.clone(), state: state.clone() })];
        Self { group_id: group_id.clone(), group: Group::new(state), records }
    }

    pub(crate) fn push(&mut self, record: Record) {
        if let Err(error) = self.group.apply(&record) {
            panic!("a decision about group {} does not apply: {error}: {record:?}", self.group_id);
        }
        self.records.push(record);
    }

    pub(crate) fn change_state(&mut self, change: impl FnOnce(&mut GroupState)) {
        let mut state = self.group.state().clone();
        change(&mut state);
        if state != *self.group.state() {
            self.push(Record::GroupChanged(GroupChanged { group_id: self.group_id.clone(), state }));
        }
    }

    pub(crate) fn remove(&mut self, member_id: MemberId) {
        self.push(Record::MemberRemoved(MemberRemoved { group_id: self.group_id.clone(), member_id }));
    }

    /// The members have changed: the next epoch begins, with a target for it.
    pub(crate) fn begin_epoch(&mut self, topics: &Topics, wall_ms: i64) {
        let is_empty = self.group.member_count() == 0;
        self.change_state(|state| {
            state.epoch = next(state.epoch);
            state.empty_since_ms = if is_empty { Some(state.empty_since_ms.unwrap_or(wall_ms)) } else { None };
        });
        for (member_id, target) in changed_targets(&self.group, topics) {
            self.push_target(member_id, &target);
        }
    }

    /// The topics may have changed: if that changes a target, the next epoch begins.
    pub(crate) fn follow_topics(&mut self, topics: &Topics) {
        let changed = changed_targets(&self.group, topics);
        if changed.is_empty() {
            return;
        }
        self.change_state(|state| state.epoch = next(state.epoch));
        for (member_id, target) in changed {
            self.push_target(member_id, &target);
        }
    }

    pub(crate) fn push_target(&mut self, member_id: MemberId, target: &BTreeSet<TopicPartition>) {
        let (group_id, target) = (self.group_id.clone(), by_topic(target));
        self.push(Record::TargetChanged(TargetChanged { group_id, member_id, target }));
    }
}

fn next(epoch: GroupEpoch) -> GroupEpoch {
    GroupEpoch(epoch.0.checked_add(1).expect("a group changes fewer than 2^32 times"))
}

/// What each member is to have that is to have something else than so far.
fn changed_targets(group: &Group, topics: &Topics) -> BTreeMap<MemberId, BTreeSet<TopicPartition>> {
    let mut members = group.members_in_order();
    let waiting = match group.mode() {
        Mode::Partitioned => Vec::new(),
        Mode::Exclusive | Mode::Failover => members.split_off(members.len().min(1)),
    };
    // Most members of a group subscribe to the same.
    let mut known: BTreeMap<&Subscription, Rc<BTreeSet<TopicId>>> = BTreeMap::new();
    let mut subscribed =
        |subscription| Rc::clone(known.entry(subscription).or_insert_with(|| Rc::new(topics.subscribed(subscription))));
    let subscriber = |&(member_id, member): &(MemberId, _)| {
        let member: &crate::group::Member = member;
        (member_id, &member.state.subscription)
    };
    let active: Vec<Subscriber> = members
        .iter()
        .map(subscriber)
        .map(|(member_id, subscription)| Subscriber { member_id, topics: subscribed(subscription) })
        .collect();
    let mut targets = assign(group.assignor(), &active, topics, group.targets());
    targets.extend(waiting.iter().map(|&(member_id, _)| (member_id, BTreeSet::new())));
    targets.retain(|&member_id, target| group.member(member_id).is_some_and(|member| member.target != *target));
    targets
}
