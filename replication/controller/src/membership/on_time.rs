//! Time has passed: a lease ends that was not renewed, and what is due is done.

use super::{Effect, Effects, Member};
use std::time::Duration;

impl Member {
    pub(crate) fn on_time(&mut self, now: Duration, effects: &mut Effects) {
        if self.is_over {
            return;
        }
        if self.lease_until.is_some_and(|until| until <= now) {
            self.lose_lease(effects);
        }
        if !self.is_renewing && self.next_renewal <= now {
            self.is_renewing = true;
            effects.push(Effect::Renew);
        }
        self.next_step(now, effects);
        self.retry_at = self.retry_at.filter(|at| *at > now);
    }

    /// When there is something to do.
    pub(crate) fn next_time(&self) -> Option<Duration> {
        let renewal = (!self.is_renewing).then_some(self.next_renewal);
        let (retry, stop) = match self.asked {
            None => (self.retry_at, self.stop_until),
            Some(_) => (None, None),
        };
        [self.lease_until, renewal, retry, stop].into_iter().flatten().min()
    }
}
