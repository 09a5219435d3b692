//! The command that was under way is decided, or given up.

use super::{Asked, Effects, Member, MembershipError, RETRY_PAUSE};
use crate::command_error::CommandError;
use sluice_metadata::Refusal;
use std::time::Duration;

impl Member {
    /// The newest image comes first (`on_image`).
    pub(crate) fn on_submitted(&mut self, now: Duration, answer: Result<(), CommandError>, effects: &mut Effects) {
        let Some(asked) = self.asked.take().filter(|_| !self.is_over) else { return };
        match (asked, answer) {
            (_, Err(CommandError::Refused(Refusal::FencedIncarnation { current, .. }))) => self.superseded(current, effects),
            (_, Err(CommandError::Store(error))) => self.end(Err(MembershipError::Store(error)), effects),
            // A lease that nobody ended ends by itself.
            (Asked::EndLease, _) => self.end(Ok(()), effects),
            (Asked::Report, Ok(())) => {
                self.report.pop_front();
            }
            (Asked::Unfence, Ok(())) => {
                // The lease begins with the first renewal after this.
                self.next_renewal = now;
            }
            (Asked::BeginShutdown, Ok(())) => {}
            (_, Err(_)) => self.retry_at = Some(now + RETRY_PAUSE),
        }
        self.next_step(now, effects);
    }
}
