//! One group without its offsets: who its members are, what each is to have, and what each has.
//!
//! It is changed by [`Group::apply`] and by nothing else. The expensive mistake is a partition that two members have at
//! the same time: `owners` is the index that refuses it, whatever a record says.

use crate::ids::{GroupEpoch, MemberEpoch, MemberId};
use crate::image::ApplyError;
use crate::record::{
    Assignor, GroupState, Hold, MemberAssigned, MemberChanged, MemberRemoved, MemberState, Mode, Record, TargetChanged,
    partitions_of,
};
use sluice_model::TopicPartition;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    state: GroupState,
    members: BTreeMap<MemberId, Member>,
    /// The static members, by instance id.
    instances: BTreeMap<String, MemberId>,
    /// Whose target each partition is in.
    targets: BTreeMap<TopicPartition, MemberId>,
    /// Who has each partition, those that are being given up included.
    owners: BTreeMap<TopicPartition, MemberId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub state: MemberState,
    pub epoch: MemberEpoch,
    /// What it is to have, once whoever has it has given it up.
    pub target: BTreeSet<TopicPartition>,
    /// What it has.
    pub held: BTreeMap<TopicPartition, Hold>,
}

impl Member {
    /// Whether it has what it is to have, and nothing else.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.held.len() == self.target.len()
            && self.held.iter().all(|(id, hold)| hold.revoked_at.is_none() && self.target.contains(id))
    }
}

impl Group {
    /// A group without members.
    pub(crate) fn new(state: GroupState) -> Self {
        let (members, instances) = (BTreeMap::new(), BTreeMap::new());
        Self { state, members, instances, targets: BTreeMap::new(), owners: BTreeMap::new() }
    }

    #[must_use]
    pub fn state(&self) -> &GroupState {
        &self.state
    }

    #[must_use]
    pub fn mode(&self) -> Mode {
        self.state.mode
    }

    #[must_use]
    pub fn assignor(&self) -> Assignor {
        self.state.assignor
    }

    #[must_use]
    pub fn epoch(&self) -> GroupEpoch {
        self.state.epoch
    }

    #[must_use]
    pub fn member(&self, member_id: MemberId) -> Option<&Member> {
        self.members.get(&member_id)
    }

    /// Ascending by id.
    pub fn members(&self) -> impl Iterator<Item = (MemberId, &Member)> {
        self.members.iter().map(|(&id, member)| (id, member))
    }

    #[must_use]
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// In the order in which they joined.
    #[must_use]
    pub fn members_in_order(&self) -> Vec<(MemberId, &Member)> {
        let mut members: Vec<_> = self.members().collect();
        members.sort_unstable_by_key(|(_, member)| member.state.join_number);
        members
    }

    #[must_use]
    pub fn instance(&self, instance_id: &str) -> Option<MemberId> {
        self.instances.get(instance_id).copied()
    }

    /// The static members, by instance id.
    pub fn instances(&self) -> impl Iterator<Item = (&str, MemberId)> {
        self.instances.iter().map(|(instance, &id)| (instance.as_str(), id))
    }

    /// Who has the partition; it may be about to give it up.
    #[must_use]
    pub fn owner(&self, id: TopicPartition) -> Option<MemberId> {
        self.owners.get(&id).copied()
    }

    /// Whose target the partition is in.
    #[must_use]
    pub fn target_owner(&self, id: TopicPartition) -> Option<MemberId> {
        self.targets.get(&id).copied()
    }

    pub(crate) fn owners(&self) -> &BTreeMap<TopicPartition, MemberId> {
        &self.owners
    }

    pub(crate) fn targets(&self) -> &BTreeMap<TopicPartition, MemberId> {
        &self.targets
    }

    /// Applies a record of this group that is about its members. Total: what does not apply is an error.
    pub(crate) fn apply(&mut self, record: &Record) -> Result<(), ApplyError> {
        match record {
            Record::GroupChanged(r) => self.apply_group_changed(&r.state),
            Record::MemberChanged(r) => self.apply_member_changed(r),
            Record::MemberRemoved(r) => self.apply_member_removed(r),
            Record::TargetChanged(r) => self.apply_target_changed(r),
            Record::MemberAssigned(r) => self.apply_member_assigned(r),
            Record::GroupDeleted(_)
            | Record::OffsetsCommitted(_)
            | Record::OffsetsReset(_)
            | Record::OffsetsRemoved(_)
            | Record::SnapshotBegun(_)
            | Record::SnapshotEnded(_) => Ok(()),
        }
    }

    fn apply_group_changed(&mut self, state: &GroupState) -> Result<(), ApplyError> {
        if state.epoch < self.state.epoch || state.next_join_number < self.state.next_join_number {
            return Err(ApplyError::EpochGoesBack);
        }
        self.state = state.clone();
        Ok(())
    }

    fn apply_member_changed(&mut self, record: &MemberChanged) -> Result<(), ApplyError> {
        let MemberChanged { member_id, ref state, .. } = *record;
        if state.join_number >= self.state.next_join_number {
            return Err(ApplyError::JoinNumber { member_id });
        }
        if let Some(instance_id) = &state.instance_id
            && self.instances.get(instance_id).is_some_and(|&holder| holder != member_id)
        {
            return Err(ApplyError::InstanceTaken { member_id });
        }
        let known = self.members.get_mut(&member_id);
        if let Some(known) = known {
            if known.state.instance_id != state.instance_id {
                return Err(ApplyError::InstanceTaken { member_id });
            }
            known.state = state.clone();
            return Ok(());
        }
        if let Some(instance_id) = &state.instance_id {
            self.instances.insert(instance_id.clone(), member_id);
        }
        let (target, held) = (BTreeSet::new(), BTreeMap::new());
        self.members.insert(member_id, Member { state: state.clone(), epoch: MemberEpoch(0), target, held });
        Ok(())
    }

    fn apply_member_removed(&mut self, record: &MemberRemoved) -> Result<(), ApplyError> {
        let member_id = record.member_id;
        let gone = self.members.remove(&member_id).ok_or(ApplyError::UnknownMember { member_id })?;
        if let Some(instance_id) = &gone.state.instance_id {
            self.instances.remove(instance_id);
        }
        gone.held.keys().for_each(|id| {
            self.owners.remove(id);
        });
        release(&mut self.targets, &gone.target, member_id);
        Ok(())
    }

    /// Targets change together: of two members that exchange a partition, one is changed first. So whose target it is in
    /// is looked at when the batch ends (`check_targets`).
    fn apply_target_changed(&mut self, record: &TargetChanged) -> Result<(), ApplyError> {
        let member_id = record.member_id;
        let member = self.members.get_mut(&member_id).ok_or(ApplyError::UnknownMember { member_id })?;
        release(&mut self.targets, &member.target, member_id);
        member.target = partitions_of(&record.target).collect();
        self.targets.extend(member.target.iter().map(|&id| (id, member_id)));
        Ok(())
    }

    fn apply_member_assigned(&mut self, record: &MemberAssigned) -> Result<(), ApplyError> {
        let MemberAssigned { member_id, member_epoch, ref held, .. } = *record;
        let member = self.members.get_mut(&member_id).ok_or(ApplyError::UnknownMember { member_id })?;
        let is_known = |epoch: MemberEpoch| epoch > MemberEpoch(0) && epoch <= member_epoch;
        let mut next = BTreeMap::new();
        for topic in held {
            for entry in &topic.partitions {
                let id = TopicPartition { topic_id: topic.topic_id, partition: entry.partition };
                let hold = entry.hold;
                if !is_known(hold.since) || hold.revoked_at.is_some_and(|epoch| !is_known(epoch) || epoch < hold.since) {
                    return Err(ApplyError::HoldEpoch { member_id, id });
                }
                if let Some(&owner) = self.owners.get(&id)
                    && owner != member_id
                {
                    return Err(ApplyError::OwnedTwice { id, owner, other: member_id });
                }
                next.insert(id, hold);
            }
        }
        if member_epoch < member.epoch || (member_epoch == member.epoch && next != member.held) {
            return Err(ApplyError::EpochGoesBack);
        }
        member.held.keys().for_each(|id| {
            self.owners.remove(id);
        });
        self.owners.extend(next.keys().map(|&id| (id, member_id)));
        (member.epoch, member.held) = (member_epoch, next);
        Ok(())
    }

    /// No partition is in the target of two members.
    pub(crate) fn check_targets(&self) -> Result<(), ApplyError> {
        for (&member_id, member) in &self.members {
            if let Some(&id) = member.target.iter().find(|id| self.targets.get(id) != Some(&member_id)) {
                return Err(ApplyError::TargetTwice { id, other: member_id });
            }
        }
        Ok(())
    }
}

/// Takes those of `member_id` out of the index.
fn release(index: &mut BTreeMap<TopicPartition, MemberId>, ids: &BTreeSet<TopicPartition>, member_id: MemberId) {
    for id in ids {
        if index.get(id) == Some(&member_id) {
            index.remove(id);
        }
    }
}
