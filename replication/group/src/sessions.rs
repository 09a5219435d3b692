//! When each member is given up, by the monotonic clock. None of it is in the log: whoever takes over gives every member
//! its whole time again, so that a failover ends no session.
//!
//! Three times run for a member: its session (it is heard of), its poll (its application takes records), and its
//! revocation (it gives up what it was told to, counted from when it is known to have been told). Each ends no sooner
//! here than by the member's own clock, which counts from when it sent or learned what this one has received: a member
//! that stops by itself in time never has what was given to another.
//!
//! A time that is put off is not put off in the order of times: an entry that comes too early is looked at and put back.

use crate::decision::Renewal;
use crate::group::{Group, Member};
use crate::ids::{GroupId, MemberEpoch, MemberId};
use crate::image::Image;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions {
    by_group: BTreeMap<GroupId, BTreeMap<MemberId, Session>>,
    /// One entry for each session, at its `timer_us`, which is never later than its end.
    timers: BTreeSet<(u64, GroupId, MemberId)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    session_end_us: u64,
    poll_end_us: u64,
    /// The oldest epoch of what is to be given up and is known to be told, and when it has to be.
    revocation: Option<(MemberEpoch, u64)>,
    /// The greatest epoch that the member has named. What names a smaller one is late.
    pub(crate) heard: MemberEpoch,
    timer_us: u64,
}

impl Session {
    fn new(now_us: u64, member: &Member) -> Self {
        let session_end_us = after(now_us, member.state.session_timeout_ms);
        let poll_end_us = after(now_us, member.state.poll_timeout_ms);
        let timer_us = session_end_us.min(poll_end_us);
        Self { session_end_us, poll_end_us, revocation: None, heard: MemberEpoch(0), timer_us }
    }

    fn end_us(&self) -> u64 {
        let revocation = self.revocation.map_or(u64::MAX, |(_, end)| end);
        self.session_end_us.min(self.poll_end_us).min(revocation)
    }

    fn renew(&mut self, now_us: u64, member: &Member, renewal: &Renewal) {
        self.session_end_us = after(now_us, member.state.session_timeout_ms);
        if renewal.has_polled {
            self.poll_end_us = after(now_us, member.state.poll_timeout_ms);
        }
        self.heard = self.heard.max(renewal.epoch);
        let told = member.held.values().filter_map(|hold| hold.revoked_at).filter(|&epoch| epoch <= self.heard).min();
        let running = self.revocation.map(|(epoch, _)| epoch);
        if told != running {
            self.revocation = told.map(|epoch| (epoch, after(now_us, member.state.poll_timeout_ms)));
        }
    }
}

fn after(now_us: u64, timeout_ms: u32) -> u64 {
    now_us.saturating_add(u64::from(timeout_ms) * 1000)
}

impl Sessions {
    /// All members of `image` begin now.
    pub(crate) fn new(now_us: u64, image: &Image) -> Self {
        let mut sessions = Self::default();
        for (group_id, group) in image.groups() {
            sessions.follow(now_us, group_id, Some(group));
        }
        sessions
    }

    pub(crate) fn session(&self, group_id: &GroupId, member_id: MemberId) -> Option<&Session> {
        self.by_group.get(group_id)?.get(&member_id)
    }

    /// The members of a group are these now: new ones begin, those that are gone end.
    pub(crate) fn follow(&mut self, now_us: u64, group_id: &GroupId, group: Option<&Group>) {
        let sessions = self.by_group.entry(group_id.clone()).or_default();
        let timers = &mut self.timers;
        sessions.retain(|&member_id, session| {
            let is_there = group.is_some_and(|group| group.member(member_id).is_some());
            if !is_there {
                timers.remove(&(session.timer_us, group_id.clone(), member_id));
            }
            is_there
        });
        for (member_id, member) in group.into_iter().flat_map(Group::members) {
            sessions.entry(member_id).or_insert_with(|| {
                let session = Session::new(now_us, member);
                timers.insert((session.timer_us, group_id.clone(), member_id));
                session
            });
        }
        if sessions.is_empty() {
            self.by_group.remove(group_id);
        }
    }

    pub(crate) fn renew(&mut self, now_us: u64, member: &Member, renewal: &Renewal) {
        let (group_id, member_id) = (&renewal.group_id, renewal.member_id);
        let Some(session) = self.by_group.get_mut(group_id).and_then(|of_group| of_group.get_mut(&member_id)) else { return };
        session.renew(now_us, member, renewal);
        let (timer_us, end_us) = (session.timer_us, session.end_us());
        if end_us < timer_us {
            session.timer_us = end_us;
            self.timers.remove(&(timer_us, group_id.clone(), member_id));
            self.timers.insert((end_us, group_id.clone(), member_id));
        }
    }

    /// Nothing ends before, microseconds of the monotonic clock.
    pub(crate) fn next_us(&self) -> Option<u64> {
        self.timers.first().map(|&(at, _, _)| at)
    }

    /// A group of which something has ended.
    pub(crate) fn due(&mut self, now_us: u64) -> Option<GroupId> {
        while let Some((at, group_id, member_id)) = self.timers.first().filter(|(at, _, _)| *at <= now_us).cloned() {
            let session = self.by_group.get_mut(&group_id).and_then(|of_group| of_group.get_mut(&member_id));
            let session = session.expect("every timer is of a session");
            if session.end_us() <= now_us {
                return Some(group_id);
            }
            session.timer_us = session.end_us();
            self.timers.remove(&(at, group_id.clone(), member_id));
            self.timers.insert((session.timer_us, group_id, member_id));
        }
        None
    }

    /// Of one group, whose session, poll or revocation has ended, ascending.
    pub(crate) fn ended(&self, now_us: u64, group_id: &GroupId) -> Vec<MemberId> {
        let of_group = self.by_group.get(group_id).into_iter().flatten();
        of_group.filter(|(_, session)| session.end_us() <= now_us).map(|(&member_id, _)| member_id).collect()
    }
}

#[cfg(test)]
#[path = "sessions_test.rs"]
mod tests;
