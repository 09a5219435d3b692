//! When a broker's lease ends. A rule: time comes in.
//!
//! A lease is counted from receipt here and from sending on the broker, so the broker stops first. Whoever becomes the
//! controller gives every broker a full lease first: it has not heard those who renewed with its predecessor. Safety
//! never rests on any of it (leader epochs fence); a lease only shortens how long a cut-off leader refuses.

use sluice_metadata::{EndLease, Image};
use sluice_model::{BrokerId, Incarnation};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Leases {
    lease: Duration,
    /// Until when, on the monotonic clock of the caller.
    until: BTreeMap<BrokerId, (Incarnation, Duration)>,
}

impl Leases {
    pub(crate) fn new(lease: Duration) -> Self {
        Self { lease, until: BTreeMap::new() }
    }

    pub(crate) fn lease(&self) -> Duration {
        self.lease
    }

    /// This broker has become the controller.
    pub(crate) fn on_leading(&mut self, now: Duration, image: &Image) {
        self.until.clear();
        self.on_image(now, image);
    }

    /// A broker that holds a lease by the metadata and is not known here gets a full one.
    pub(crate) fn on_image(&mut self, now: Duration, image: &Image) {
        let until = now + self.lease;
        let held: BTreeMap<BrokerId, Incarnation> = held(image).collect();
        self.until.retain(|broker, (incarnation, _)| held.get(broker) == Some(incarnation));
        for (broker, incarnation) in held {
            self.until.entry(broker).or_insert((incarnation, until));
        }
    }

    /// A word of a broker that holds a lease renews it. What comes late, or from an earlier start, changes nothing.
    pub(crate) fn on_heartbeat(&mut self, now: Duration, broker: BrokerId, incarnation: Incarnation) {
        let until = now + self.lease;
        if let Some((known, end)) = self.until.get_mut(&broker)
            && *known == incarnation
        {
            *end = until.max(*end);
        }
    }

    /// Nobody could be heard for so long, through no fault of theirs.
    pub(crate) fn on_stall(&mut self, stall: Duration) {
        for (_, until) in self.until.values_mut() {
            *until += stall;
        }
    }

    /// Whose leases have ended. They are named until the metadata says so, too.
    pub(crate) fn ended(&self, now: Duration) -> Vec<EndLease> {
        let ended = self.until.iter().filter(|(_, (_, until))| *until <= now);
        ended.map(|(&broker, &(incarnation, _))| EndLease { broker, incarnation }).collect()
    }

    /// When the next one ends.
    pub(crate) fn next_end(&self) -> Option<Duration> {
        self.until.values().map(|(_, until)| *until).min()
    }
}

fn held(image: &Image) -> impl Iterator<Item = (BrokerId, Incarnation)> {
    image.brokers().filter(|(_, broker)| broker.state.holds_lease()).map(|(id, broker)| (id, broker.incarnation))
}

#[cfg(test)]
#[path = "leases_test.rs"]
mod tests;
