//! What is to be asked of the controller next, by what the metadata says of this broker.

use super::{Asked, Effect, Effects, HAND_OVER_PAUSE, Heard, Known, Member};
use crate::command::Command;
use crate::node_config::LEASE_RENEWAL_MS;
use sluice_metadata::{BeginShutdown, BrokerState, EndLease, UnfenceBroker};
use std::time::Duration;

impl Member {
    pub(super) fn next_step(&mut self, now: Duration, effects: &mut Effects) {
        let Some(known) = self.known.filter(|_| !self.is_over) else { return };
        if let Some(until) = self.stop_until {
            return self.next_step_to_stop(now, known, until, effects);
        }
        if !self.may_ask(now) {
            return;
        }
        match known.state {
            BrokerState::Recovering => {
                if let Some(piece) = self.report.front().cloned() {
                    self.ask(Asked::Report, Command::ReportRecovery(piece), effects);
                }
            }
            BrokerState::Fenced if self.is_up_to_date(now, known) => {
                let unfence = UnfenceBroker { broker: self.broker, incarnation: self.incarnation };
                self.ask(Asked::Unfence, Command::UnfenceBroker(unfence), effects);
            }
            BrokerState::Fenced | BrokerState::Active | BrokerState::ShuttingDown => {}
        }
    }

    fn next_step_to_stop(&mut self, now: Duration, known: Known, until: Duration, effects: &mut Effects) {
        // One that is being let in has something to give away soon.
        if !known.state.holds_lease() && self.asked != Some(Asked::Unfence) {
            return self.end(Ok(()), effects);
        }
        if self.asked.is_some() {
            return;
        }
        let (broker, incarnation) = (self.broker, self.incarnation);
        let has_begun = known.state == BrokerState::ShuttingDown;
        if now >= until || (has_begun && !known.leads) {
            // Nothing is acknowledged any more when others are elected.
            self.has_resigned = true;
            self.lose_lease(effects);
            return self.ask(Asked::EndLease, Command::EndLease(EndLease { broker, incarnation }), effects);
        }
        if self.may_ask(now) {
            self.retry_at = Some(now + HAND_OVER_PAUSE);
            self.ask(Asked::BeginShutdown, Command::BeginShutdown(BeginShutdown { broker, incarnation }), effects);
        }
    }

    fn may_ask(&self, now: Duration) -> bool {
        self.asked.is_none() && self.retry_at.is_none_or(|at| at <= now)
    }

    fn ask(&mut self, asked: Asked, command: Command, effects: &mut Effects) {
        self.asked = Some(asked);
        effects.push(Effect::Submit(command));
    }

    /// Whoever leads by old metadata leads the wrong partitions: it is let in once it has heard of the controller as a
    /// fenced broker, and has seen what there was then, a moment ago.
    fn is_up_to_date(&self, now: Duration, known: Known) -> bool {
        let recent = Duration::from_millis(2 * LEASE_RENEWAL_MS);
        let since = known.fenced_index.unwrap_or(u64::MAX);
        self.heard.is_some_and(|Heard { index, at }| now <= at + recent && (since..=known.index).contains(&index))
    }
}
