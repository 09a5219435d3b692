//! What must be true of any group, of one in which nothing is left to be done, and of one that a batch has made of another.
//!
//! The first is asserted whenever members change; tests look at all three after every step.

use crate::group::{Group, Member};
use crate::ids::{MemberEpoch, MemberId};
use crate::image::Image;
use crate::record::Mode;
use crate::topics::Topics;
use sluice_model::TopicPartition;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A rule that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Of what it does not hold.
    pub of: String,
    pub rule: &'static str,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} breaks the rule: {}", self.of, self.rule)
    }
}

impl std::error::Error for Broken {}

/// Of all groups of any image.
pub fn check(image: &Image) -> Result<(), Broken> {
    let members: usize = image.groups().map(|(_, group)| group.member_count()).sum();
    let offsets: usize = image.groups().map(|(group_id, _)| image.offsets(group_id).count()).sum();
    let all = image.groups().flat_map(|(group_id, _)| image.offsets(group_id));
    let metadata_len: usize = all.map(|(_, committed)| committed.metadata.len()).sum();
    first_broken(
        || "the image".into(),
        &[
            (members == image.member_count(), "members are counted"),
            (offsets == image.offset_count() && metadata_len == image.metadata_len(), "offsets are counted"),
        ],
    )?;
    image.groups().try_for_each(|(_, group)| check_group(group))
}

/// Of any group.
pub fn check_group(group: &Group) -> Result<(), Broken> {
    let mut owners: BTreeMap<TopicPartition, MemberId> = BTreeMap::new();
    let mut targets: BTreeMap<TopicPartition, MemberId> = BTreeMap::new();
    let mut join_numbers = BTreeSet::new();
    for (member_id, member) in group.members() {
        let owned_once = member.held.keys().all(|&id| owners.insert(id, member_id).is_none());
        let wanted_once = member.target.iter().all(|&id| targets.insert(id, member_id).is_none());
        let join_number = member.state.join_number;
        first_broken(
            || format!("member {member_id}"),
            &[
                (owned_once, "no partition is owned twice"),
                (wanted_once, "no partition is in two targets"),
                (join_numbers.insert(join_number), "every member has a place of its own"),
                (join_number < group.state().next_join_number, "places are given out"),
                (holds_are_known(member), "a partition is held, and given up, under an epoch that its member had"),
            ],
        )?;
    }
    let statics = group.members().filter_map(|(id, member)| Some((member.state.instance_id.as_deref()?, id)));
    let statics: BTreeMap<&str, MemberId> = statics.collect();
    let active = group.members_in_order().first().map(|&(member_id, _)| member_id);
    let only_active = targets.values().all(|&member_id| Some(member_id) == active);
    first_broken(
        || "the group".into(),
        &[
            (owners == *group.owners() && targets == *group.targets(), "the indexes are what the members have"),
            (statics.into_iter().eq(group.instances()), "the index of static members is what they are"),
            (
                group.state().empty_since_ms.is_some() == (group.member_count() == 0),
                "a group is empty since its last member went",
            ),
            (group.mode() != Mode::Exclusive || group.member_count() <= 1, "an exclusive group has one member"),
            (group.mode() == Mode::Partitioned || only_active, "only the first member is active"),
        ],
    )
}

fn holds_are_known(member: &Member) -> bool {
    let is_known = |epoch: MemberEpoch| epoch > MemberEpoch(0) && epoch <= member.epoch;
    member
        .held
        .values()
        .all(|hold| is_known(hold.since) && hold.revoked_at.is_none_or(|epoch| is_known(epoch) && epoch >= hold.since))
}

/// Of a group whose members have said all that they have to: each has what it is to have, and all that the active ones
/// subscribe to is somebody's.
pub fn check_settled(group: &Group, topics: &Topics) -> Result<(), Broken> {
    check_group(group)?;
    let active = if group.mode() == Mode::Partitioned { usize::MAX } else { 1 };
    for (index, (member_id, member)) in group.members_in_order().into_iter().enumerate() {
        let subscribed = topics.subscribed(&member.state.subscription);
        let mut partitions = subscribed.iter().flat_map(|&topic_id| topics.partitions(topic_id));
        let is_owned = |id: TopicPartition| group.owner(id).is_some();
        let is_wanted = |id: &TopicPartition| topics.contains(*id) && subscribed.contains(&id.topic_id);
        first_broken(
            || format!("member {member_id}"),
            &[
                (member.is_settled(), "a member has what it is to have"),
                (member.target.iter().all(is_wanted), "a member has only what it subscribes to"),
                (index >= active || partitions.all(is_owned), "every partition that is subscribed to is somebody's"),
            ],
        )?;
    }
    Ok(())
}

/// Of an image and the one that a batch has made of it.
pub fn check_succession(before: &Image, after: &Image) -> Result<(), Broken> {
    for (group_id, to) in after.groups() {
        let Some(from) = before.group(group_id) else { continue };
        let members: BTreeSet<MemberId> = from.members().map(|(id, _)| id).collect();
        let same_members = to.members().map(|(id, _)| id).eq(members.iter().copied());
        let has_grown = to.epoch() > from.epoch();
        first_broken(
            || format!("group {group_id}"),
            &[
                (to.epoch() >= from.epoch(), "group epochs grow"),
                (same_members || has_grown, "new members have a new epoch"),
                (to.targets() == from.targets() || has_grown, "a new target has a new epoch"),
            ],
        )?;
        for (member_id, now) in to.members() {
            let Some(then) = from.member(member_id) else { continue };
            let changed = now.held != then.held;
            let given_anew = |id: &TopicPartition| match (then.held.get(id), now.held.get(id)) {
                (Some(then), Some(now)) => then.since == now.since || now.since > then.since,
                (None, Some(hold)) => hold.since > then.epoch,
                _ => true,
            };
            first_broken(
                || format!("member {member_id} of group {group_id}"),
                &[
                    (now.epoch >= then.epoch && (!changed || now.epoch > then.epoch), "member epochs grow with what they have"),
                    (now.held.keys().all(given_anew), "what is given is given under an epoch that the member has never named"),
                ],
            )?;
        }
    }
    Ok(())
}

fn first_broken(of: impl Fn() -> String, rules: &[(bool, &'static str)]) -> Result<(), Broken> {
    match rules.iter().find(|(kept, _)| !kept) {
        Some(&(_, rule)) => Err(Broken { of: of(), rule }),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "invariants_test.rs"]
mod tests;
