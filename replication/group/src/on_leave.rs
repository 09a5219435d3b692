//! A member goes. Whoever leaves has finished and committed before: what it had is free at once.
//!
//! A static member goes for a while, unless it says that it is for good: its partitions stay its own until its session
//! ends, so that a restart moves nothing.

use crate::coordinator::Coordinator;
use crate::decision::{Answer, Decision, Renewal};
use crate::draft::Draft;
use crate::ids::{GroupId, MemberEpoch, MemberId};
use crate::refusal::Refusal;
use sluice_model::Now;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveGroup {
    pub group_id: GroupId,
    pub member_id: MemberId,
    /// The last one that it was told.
    pub member_epoch: MemberEpoch,
    /// Whether a static member goes for good.
    pub for_good: bool,
}

impl Coordinator {
    pub fn on_leave(&self, now: Now, request: &LeaveGroup) -> Result<Decision, Refusal> {
        let LeaveGroup { ref group_id, member_id, member_epoch: epoch, for_good } = *request;
        let (group, member) = self.heard(group_id, member_id, epoch)?;
        if member.state.instance_id.is_some() && !for_good {
            let renewal = Renewal { group_id: group_id.clone(), member_id, epoch, has_polled: false };
            return Ok(Decision::answered(Vec::new(), Answer::Left).renewing(renewal));
        }
        let mut draft = Draft::of(group_id, group);
        draft.remove(member_id);
        draft.begin_epoch(&self.topics, now.wall_ms);
        Ok(Decision::answered(draft.records, Answer::Left))
    }
}

#[cfg(test)]
#[path = "on_leave_test.rs"]
mod tests;
