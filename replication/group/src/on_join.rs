//! A member joins, or a static member comes back as another life.
//!
//! The group is made by its first member, who says how it is shared. A join whose answer was lost is tried again with the
//! same member id and answered again. A static member that comes back while its last life's session runs takes over what
//! that one had (KIP-345): only what it was about to give up is free, because nobody works on it any more. The expensive
//! mistake is a late join of the life before, which would take everything back: it is refused.

use crate::coordinator::{Coordinator, successor};
use crate::decision::{Decision, Renewal};
use crate::draft::Draft;
use crate::group::{Group, Member};
use crate::ids::{GroupEpoch, GroupId, MemberEpoch, MemberId, is_text};
use crate::limits::{
    GROUPS_PER_COORDINATOR_MAX, INSTANCE_ID_LEN_MAX, MEMBERS_PER_COORDINATOR_MAX, MEMBERS_PER_GROUP_MAX, POLL_TIMEOUT_MS_MAX,
    POLL_TIMEOUT_MS_MIN, SESSION_TIMEOUT_MS_MAX, SESSION_TIMEOUT_MS_MIN,
};
use crate::on_heartbeat::member_answer;
use crate::reconcile::{GivenUp, Holding};
use crate::record::{Assignor, GroupState, Hold, MemberChanged, MemberState, Mode, Record};
use crate::refusal::Refusal;
use crate::subscription::Subscription;
use sluice_model::Now;
use sluice_model::limits::{CLIENT_ID_LEN_MAX, HOST_LEN_MAX};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinGroup {
    pub group_id: GroupId,
    /// Random, drawn by the client for this life of the member.
    pub member_id: MemberId,
    /// Of a static member, at most `INSTANCE_ID_LEN_MAX` bytes.
    pub instance_id: Option<String>,
    pub mode: Mode,
    /// None: whatever the group has.
    pub assignor: Option<Assignor>,
    pub subscription: Subscription,
    /// For people to read.
    pub client_id: String,
    pub client_host: String,
    /// Milliseconds; none: as the broker is set.
    pub session_timeout_ms: Option<u32>,
    pub poll_timeout_ms: Option<u32>,
}

impl Coordinator {
    pub fn on_join(&self, now: Now, request: &JoinGroup) -> Result<Decision, Refusal> {
        let state = self.joining_state(request)?;
        let group_id = &request.group_id;
        let group = self.image.group(group_id);
        if let Some(member) = group.and_then(|group| group.member(request.member_id)) {
            return self.joined_before(member, request);
        }
        if let Some(by) = group.and_then(|group| successor(group, request.member_id)) {
            return Err(Refusal::FencedInstance { by });
        }
        let before = group.and_then(|group| group.instance(request.instance_id.as_deref()?));
        if let Some(group) = group {
            check_sharing(group, request, before)?;
        }
        self.check_room(group, before.is_some())?;

        let mut draft = match group {
            Some(group) => Draft::of(group_id, group),
            None => Draft::new_group(group_id, new_group(request)),
        };
        let member = |state| MemberChanged { group_id: group_id.clone(), member_id: request.member_id, state };
        if let Some(before) = before {
            take_over(&mut draft, before, &member(state));
        } else {
            let join_number = draft.group.state().next_join_number;
            draft.change_state(|state| {
                state.next_join_number += 1;
                state.empty_since_ms = None;
                state.mode = request.mode;
                state.assignor = request.assignor.unwrap_or(state.assignor);
            });
            draft.push(Record::MemberChanged(member(MemberState { join_number, ..state })));
        }
        draft.begin_epoch(&self.topics, now.wall_ms);
        let nothing = GivenUp { epoch: MemberEpoch(0), partitions: &[] };
        let answer = draft.answer_step(request.member_id, &nothing, MemberEpoch(0));
        Ok(Decision::answered(draft.records, answer).renewing(renewal(request)))
    }

    /// The member's answer was lost, or its join comes twice.
    fn joined_before(&self, member: &Member, request: &JoinGroup) -> Result<Decision, Refusal> {
        let member_id = request.member_id;
        let session = self.sessions.session(&request.group_id, member_id);
        if session.is_some_and(|session| session.heard > MemberEpoch(0)) || member.state.instance_id != request.instance_id {
            return Err(Refusal::MemberIdTaken { member_id });
        }
        let answer = member_answer(member, &Holding::of(member), MemberEpoch(0));
        Ok(Decision::answered(Vec::new(), answer).renewing(renewal(request)))
    }

    /// What the request asks for, within its bounds. Its place in the order is not yet in it.
    fn joining_state(&self, request: &JoinGroup) -> Result<MemberState, Refusal> {
        if !request.group_id.is_valid() {
            return Err(Refusal::InvalidGroupId);
        }
        for (what, text, len_max) in [
            ("instance id", request.instance_id.as_deref().unwrap_or_default(), INSTANCE_ID_LEN_MAX),
            ("client id", &request.client_id, CLIENT_ID_LEN_MAX),
            ("client host", &request.client_host, HOST_LEN_MAX),
        ] {
            if !is_text(text, len_max) {
                return Err(Refusal::InvalidText { what, len_max });
            }
        }
        request.subscription.check().map_err(Refusal::InvalidSubscription)?;
        let session_timeout_ms = request.session_timeout_ms.unwrap_or(self.settings.session_timeout_ms);
        let poll_timeout_ms = request.poll_timeout_ms.unwrap_or(self.settings.poll_timeout_ms);
        for (what, got, min, max) in [
            ("session timeout", session_timeout_ms, SESSION_TIMEOUT_MS_MIN, SESSION_TIMEOUT_MS_MAX),
            ("poll timeout", poll_timeout_ms, POLL_TIMEOUT_MS_MIN, POLL_TIMEOUT_MS_MAX),
        ] {
            if !(min..=max).contains(&got) {
                return Err(Refusal::InvalidTimeout { what, got, min, max });
            }
        }
        Ok(MemberState {
            join_number: 0,
            instance_id: request.instance_id.clone(),
            predecessor: None,
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            subscription: request.subscription.clone(),
            subscription_version: 0,
            session_timeout_ms,
            poll_timeout_ms,
        })
    }

    fn check_room(&self, group: Option<&Group>, takes_over: bool) -> Result<(), Refusal> {
        if group.is_none() && self.image.group_count() >= GROUPS_PER_COORDINATOR_MAX {
            return Err(Refusal::TooManyGroups { max: GROUPS_PER_COORDINATOR_MAX });
        }
        if takes_over {
            return Ok(());
        }
        if group.is_some_and(|group| group.member_count() >= MEMBERS_PER_GROUP_MAX) {
            return Err(Refusal::TooManyMembers { max: MEMBERS_PER_GROUP_MAX });
        }
        if self.image.member_count() >= MEMBERS_PER_COORDINATOR_MAX {
            return Err(Refusal::TooManyMembers { max: MEMBERS_PER_COORDINATOR_MAX });
        }
        Ok(())
    }
}

fn renewal(request: &JoinGroup) -> Renewal {
    let (group_id, member_id) = (request.group_id.clone(), request.member_id);
    Renewal { group_id, member_id, epoch: MemberEpoch(0), has_polled: true }
}

/// Whether the member may share the group with those that are there, `before` not counted.
fn check_sharing(group: &Group, request: &JoinGroup, before: Option<MemberId>) -> Result<(), Refusal> {
    let Some((by, other)) = group.members().find(|(member_id, _)| Some(*member_id) != before) else {
        // Alone, it says how the group is shared. Taking over, it finds the group as its last life left it.
        let is_other = before.is_some() && group.mode() != request.mode;
        return if is_other { Err(Refusal::OtherMode { current: group.mode() }) } else { Ok(()) };
    };
    if group.mode() != request.mode {
        return Err(Refusal::OtherMode { current: group.mode() });
    }
    if group.mode() == Mode::Exclusive {
        let (client_id, client_host) = (other.state.client_id.clone(), other.state.client_host.clone());
        return Err(Refusal::GroupBusy { by, client_id, client_host });
    }
    match request.assignor {
        Some(assignor) if assignor != group.assignor() => Err(Refusal::OtherAssignor { current: group.assignor() }),
        _ => Ok(()),
    }
}

fn new_group(request: &JoinGroup) -> GroupState {
    GroupState {
        mode: request.mode,
        assignor: request.assignor.unwrap_or_default(),
        epoch: GroupEpoch(0),
        next_join_number: 0,
        empty_since_ms: None,
    }
}

/// The new life has the place, the target and the partitions of the one before.
fn take_over(draft: &mut Draft, before: MemberId, changed: &MemberChanged) {
    let Some(last) = draft.group.member(before).cloned() else { return };
    let member_id = changed.member_id;
    draft.remove(before);
    let state = MemberState {
        join_number: last.state.join_number,
        predecessor: Some(before),
        subscription_version: 0,
        ..changed.state.clone()
    };
    draft.push(Record::MemberChanged(MemberChanged { state, ..changed.clone() }));
    draft.push_target(member_id, &last.target);
    let since = last.epoch.next();
    let is_kept = last.held.iter().filter(|(_, hold)| hold.revoked_at.is_none());
    let held = is_kept.map(|(&id, _)| (id, Hold { since, revoked_at: None })).collect();
    draft.push(Holding { epoch: since, held }.record(&changed.group_id, member_id));
}

#[cfg(test)]
#[path = "on_join_test.rs"]
mod tests;
