//! What an operator sees of groups. Like any answer it waits for the last batch: it shows nothing that may be lost.

use crate::coordinator::Coordinator;
use crate::decision::{Answer, Decision};
use crate::group::{Group, Member};
use crate::ids::{GroupEpoch, GroupId, MemberEpoch, MemberId};
use crate::record::{Assignor, CommittedOffset, Mode};
use crate::refusal::Refusal;
use crate::subscription::Subscription;
use sluice_model::TopicPartition;
use std::ops::Bound::{Excluded, Unbounded};

/// Most groups in one answer.
pub const GROUPS_PER_ANSWER_MAX: usize = 1000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    pub group_id: GroupId,
    pub mode: Mode,
    pub member_count: usize,
    pub progress: Progress,
}

/// Whether partitions are about to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There are no members.
    Empty,
    /// So many members have not yet what they are to have, or still have what they are not to.
    Reconciling {
        members: usize,
    },
    Stable,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    pub listing: GroupListing,
    pub assignor: Assignor,
    pub epoch: GroupEpoch,
    /// When the last member went, milliseconds of the append clock.
    pub empty_since_ms: Option<i64>,
    /// In the order in which they joined; of a failover group the first one is active.
    pub members: Vec<MemberDescription>,
    /// Ascending by partition.
    pub offsets: Vec<(TopicPartition, CommittedOffset)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    pub member_id: MemberId,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub epoch: MemberEpoch,
    pub subscription: Subscription,
    /// What it has and keeps, ascending.
    pub assigned: Vec<TopicPartition>,
    /// What it has and is to give up.
    pub revoking: Vec<TopicPartition>,
    /// What it is to have and another one still has.
    pub waiting_for: Vec<TopicPartition>,
}

impl Coordinator {
    /// At most `GROUPS_PER_ANSWER_MAX`, those after `after`, ascending.
    pub fn on_list_groups(&self, after: Option<&GroupId>) -> Decision {
        let from = after.map_or(Unbounded, |group_id| Excluded(group_id.clone()));
        let groups = self.image.groups_from(from).take(GROUPS_PER_ANSWER_MAX);
        let listings = groups.map(|(group_id, group)| listing(group_id, group)).collect();
        Decision::answered(Vec::new(), Answer::Groups(listings))
    }

    pub fn on_describe_group(&self, group_id: &GroupId) -> Result<Decision, Refusal> {
        let group = self.known_group(group_id)?;
        let members = group.members_in_order();
        let description = GroupDescription {
            listing: listing(group_id, group),
            assignor: group.assignor(),
            epoch: group.epoch(),
            empty_since_ms: group.state().empty_since_ms,
            members: members.into_iter().map(|(member_id, member)| described(member_id, member)).collect(),
            offsets: self.image.offsets(group_id).map(|(id, committed)| (id, committed.clone())).collect(),
        };
        Ok(Decision::answered(Vec::new(), Answer::Group(Box::new(description))))
    }
}

fn listing(group_id: &GroupId, group: &Group) -> GroupListing {
    let unsettled = group.members().filter(|(_, member)| !member.is_settled()).count();
    let progress = match (group.member_count(), unsettled) {
        (0, _) => Progress::Empty,
        (_, 0) => Progress::Stable,
        (_, members) => Progress::Reconciling { members },
    };
    GroupListing { group_id: group_id.clone(), mode: group.mode(), member_count: group.member_count(), progress }
}

fn described(member_id: MemberId, member: &Member) -> MemberDescription {
    let (mut assigned, mut revoking) = (Vec::new(), Vec::new());
    for (&id, hold) in &member.held {
        let is_kept = hold.revoked_at.is_none() && member.target.contains(&id);
        if is_kept { assigned.push(id) } else { revoking.push(id) }
    }
    MemberDescription {
        member_id,
        instance_id: member.state.instance_id.clone(),
        client_id: member.state.client_id.clone(),
        client_host: member.state.client_host.clone(),
        epoch: member.epoch,
        subscription: member.state.subscription.clone(),
        assigned,
        revoking,
        waiting_for: member.target.iter().filter(|id| !member.held.contains_key(id)).copied().collect(),
    }
}

#[cfg(test)]
#[path = "describe_test.rs"]
mod tests;
