//! A renewal of the lease was answered, or nobody was found who answers.

use super::{Effect, Effects, Heard, Member, MembershipError};
use crate::command_error::CommandError;
use crate::node_config::LEASE_RENEWAL_MS;
use sluice_metadata::{BrokerState, Refusal};
use std::time::Duration;

/// What a controller has answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Renewal {
    pub(crate) state: BrokerState,
    /// Its last batch.
    pub(crate) index: u64,
    pub(crate) sent: Duration,
    pub(crate) lease: Duration,
}

impl Member {
    pub(crate) fn on_renewed(&mut self, now: Duration, answer: Result<Renewal, CommandError>, effects: &mut Effects) {
        self.is_renewing = false;
        if self.is_over {
            return;
        }
        match answer {
            Ok(renewal) => {
                self.next_renewal = now.max(renewal.sent + Duration::from_millis(LEASE_RENEWAL_MS));
                self.heard = Some(Heard { index: renewal.index, at: now });
                self.on_granted(now, renewal, effects);
            }
            Err(CommandError::Refused(Refusal::FencedIncarnation { current, .. })) => self.superseded(current, effects),
            Err(CommandError::Refused(refusal)) => self.end(Err(MembershipError::Refused(refusal)), effects),
            Err(CommandError::Store(error)) => self.end(Err(MembershipError::Store(error)), effects),
            // It was tried for as long as a lease lasts.
            Err(CommandError::NotController { .. } | CommandError::Undecided | CommandError::DiskFull) => {
                self.next_renewal = now;
            }
        }
        self.next_step(now, effects);
    }

    fn on_granted(&mut self, now: Duration, renewal: Renewal, effects: &mut Effects) {
        let until = renewal.sent + renewal.lease;
        if renewal.index < self.granted_index {
            return;
        }
        if !renewal.state.holds_lease() {
            return self.lose_lease(effects);
        }
        if !self.has_resigned && until > now && self.lease_until.is_none_or(|known| known < until) {
            self.lease_until = Some(until);
            self.granted_index = renewal.index;
            effects.push(Effect::Lease(Some(until)));
        }
    }
}
