//! There is a newer image here.

use super::{Effects, Known, Member, MembershipError};
use sluice_metadata::{BrokerState, Image, Refusal};
use std::time::Duration;

impl Member {
    /// `index`: the batches in it.
    pub(crate) fn on_image(&mut self, now: Duration, image: &Image, index: u64, effects: &mut Effects) {
        if self.is_over || self.known.is_some_and(|known| known.index == index) {
            return;
        }
        let broker = self.broker;
        let Some(registered) = image.broker(broker) else {
            return self.end(Err(MembershipError::Refused(Refusal::UnknownBroker { broker })), effects);
        };
        if registered.incarnation != self.incarnation {
            return self.superseded(registered.incarnation, effects);
        }
        let leads = image.led_by(broker).next().is_some();
        let is_fenced = registered.state == BrokerState::Fenced;
        let fenced_before = self.known.and_then(|known| known.fenced_index);
        if is_fenced && fenced_before.is_none() {
            // How far the controller is now says whether this one may be let in.
            self.next_renewal = now;
        }
        let fenced_index = is_fenced.then_some(fenced_before.unwrap_or(index));
        self.known = Some(Known { state: registered.state, index, leads, fenced_index });
        if registered.state != BrokerState::Recovering {
            self.report.clear();
        }
        // An image from before the lease was granted says nothing of it.
        if !registered.state.holds_lease() && index >= self.granted_index {
            self.lose_lease(effects);
        }
        self.next_step(now, effects);
    }
}
