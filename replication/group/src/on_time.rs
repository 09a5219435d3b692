//! Time has passed: sessions, polls and revocations end, topics are followed, offsets expire. One group at a time.
//!
//! A member whose session, poll or revocation has ended is gone, all at once of a group: their partitions are free, and
//! what they still say is refused. That is safe because a member stops by its own clock no later (`sessions.rs`).
//! A decision that the log does not take comes again: the caller waits a little.

use crate::coordinator::Coordinator;
use crate::decision::Decision;
use crate::draft::Draft;
use crate::ids::GroupId;
use sluice_model::Now;

impl Coordinator {
    /// When `on_time` has something to do, microseconds of the monotonic clock; not before.
    #[must_use]
    pub fn next_deadline(&self) -> u64 {
        if !self.to_look_at.is_empty() {
            return 0;
        }
        self.sessions.next_us().unwrap_or(u64::MAX).min(self.expiry_us)
    }

    /// What is due, if anything is: to be called again until nothing is. Its decisions have no answer.
    #[must_use]
    pub fn on_time(&mut self, now: Now) -> Option<Decision> {
        if let Some(group_id) = self.sessions.due(now.mono_us) {
            return Some(self.on_session_ended(now, &group_id));
        }
        if let Some(decision) = self.look_at_topics() {
            return Some(decision);
        }
        if now.mono_us < self.expiry_us {
            return None;
        }
        let decision = self.expire_next(now);
        if decision.is_none() {
            self.expiry_us = now.mono_us + u64::from(self.settings.expiry_interval_ms) * 1000;
        }
        decision
    }

    fn on_session_ended(&self, now: Now, group_id: &GroupId) -> Decision {
        let group = self.image.group(group_id).expect("sessions are of groups that there are");
        let mut draft = Draft::of(group_id, group);
        for member_id in self.sessions.ended(now.mono_us, group_id) {
            draft.remove(member_id);
        }
        draft.begin_epoch(&self.topics, now.wall_ms);
        Decision::unasked(draft.records)
    }
}

#[cfg(test)]
#[path = "on_time_test.rs"]
mod tests;
