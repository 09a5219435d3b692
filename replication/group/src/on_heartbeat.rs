//! A member says that it is there, what it has given up, and perhaps that it subscribes to something else; it hears what
//! it has now.
//!
//! The expensive mistake is to take a late message for a new one. What it says counts by the epoch that it names: one
//! that is older than the member has named before is refused, one that was never told too, and what it has given up
//! counts only for what it had been told to give up then. Its subscriptions are numbered.

use crate::coordinator::Coordinator;
use crate::decision::{Answer, Assigned, Assignment, Decision, Renewal};
use crate::draft::Draft;
use crate::group::{Group, Member};
use crate::ids::{GroupId, MemberEpoch, MemberId};
use crate::reconcile::{GivenUp, Holding, step};
use crate::record::{MemberChanged, MemberState, Record};
use crate::refusal::Refusal;
use crate::subscription::Subscription;
use sluice_model::limits::PARTITIONS_PER_REQUEST_MAX;
use sluice_model::{Now, TopicPartition};

/// So many heartbeats in one session.
const HEARTBEATS_PER_SESSION: u32 = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    pub group_id: GroupId,
    pub member_id: MemberId,
    /// The last one that it was told.
    pub member_epoch: MemberEpoch,
    /// Whether its application has asked for records since the last heartbeat that was answered.
    pub has_polled: bool,
    /// What it was told to give up and has: it delivers nothing of it any more, what was delivered is done, and its
    /// offsets are committed. At most `PARTITIONS_PER_REQUEST_MAX`; the others next time.
    pub revoked: Vec<TopicPartition>,
    /// When it is to subscribe to something else.
    pub subscription: Option<SubscriptionChange>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionChange {
    /// From 1, greater with every change; said again until a heartbeat that says it is answered.
    pub version: u32,
    pub subscription: Subscription,
}

impl Coordinator {
    pub fn on_heartbeat(&self, now: Now, request: &Heartbeat) -> Result<Decision, Refusal> {
        let Heartbeat { ref group_id, member_id, member_epoch: epoch, has_polled, ref revoked, .. } = *request;
        let (group, member) = self.heard(group_id, member_id, epoch)?;
        if revoked.len() > PARTITIONS_PER_REQUEST_MAX {
            return Err(Refusal::TooManyAtOnce { got: revoked.len(), max: PARTITIONS_PER_REQUEST_MAX });
        }
        let given_up = GivenUp { epoch, partitions: revoked };
        let renewal = Renewal { group_id: group_id.clone(), member_id, epoch, has_polled };
        let change = request.subscription.as_ref().filter(|change| change.version > member.state.subscription_version);
        if let Some(change) = change {
            return self.resubscribed(now, (group, member), change, &given_up, renewal);
        }
        let next = step(group, member_id, &given_up);
        let records = next.iter().map(|next| next.record(group_id, member_id)).collect();
        let answer = member_answer(member, &next.unwrap_or_else(|| Holding::of(member)), epoch);
        Ok(Decision::answered(records, answer).renewing(renewal))
    }

    fn resubscribed(
        &self,
        now: Now,
        (group, member): (&Group, &Member),
        change: &SubscriptionChange,
        given_up: &GivenUp<'_>,
        renewal: Renewal,
    ) -> Result<Decision, Refusal> {
        let Renewal { ref group_id, member_id, epoch, .. } = renewal;
        change.subscription.check().map_err(Refusal::InvalidSubscription)?;
        let (subscription, subscription_version) = (change.subscription.clone(), change.version);
        let state = MemberState { subscription, subscription_version, ..member.state.clone() };
        let mut draft = Draft::of(group_id, group);
        draft.push(Record::MemberChanged(MemberChanged { group_id: group_id.clone(), member_id, state }));
        draft.begin_epoch(&self.topics, now.wall_ms);
        let answer = draft.answer_step(member_id, given_up, epoch);
        Ok(Decision::answered(draft.records, answer).renewing(renewal))
    }
}

impl Draft {
    /// The member's step, and what it hears.
    pub(crate) fn answer_step(&mut self, member_id: MemberId, given_up: &GivenUp<'_>, epoch: MemberEpoch) -> Answer {
        if let Some(next) = step(&self.group, member_id, given_up) {
            self.push(next.record(&self.group_id, member_id));
        }
        let member = self.group.member(member_id).expect("whoever is answered is a member");
        member_answer(member, &Holding::of(member), epoch)
    }
}

/// What a member that names `epoch` hears.
pub(crate) fn member_answer(member: &Member, now: &Holding, epoch: MemberEpoch) -> Answer {
    let assignment = || {
        let mut assignment = Assignment::default();
        for (&id, hold) in &now.held {
            match hold.revoked_at {
                None => assignment.assigned.push(Assigned { id, since: hold.since }),
                Some(_) => assignment.revoking.push(Assigned { id, since: hold.since }),
            }
        }
        assignment
    };
    Answer::Member {
        member_epoch: now.epoch,
        assignment: (epoch != now.epoch).then(assignment),
        heartbeat_interval_ms: member.state.session_timeout_ms / HEARTBEATS_PER_SESSION,
    }
}

#[cfg(test)]
#[path = "on_heartbeat_test.rs"]
mod tests;
