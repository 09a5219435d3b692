//! A broker's lease has expired, or the broker gave it up because it stops: it is fenced. Whatever it leads goes to
//! another replica that holds all that was acknowledged, and it leaves every in-sync set but those it is the last of.
//!
//! When a lease ends is the controller's business, and comes in as a fact. The partitions change first and the broker
//! last, so that no beginning of the records has a fenced broker lead.

use crate::broker_state::BrokerState;
use crate::election::Settling;
use crate::image::Image;
use crate::record::{BrokerStateChanged, Record};
use crate::refusal::Refusal;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::{BrokerId, Incarnation};

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndLease {
    pub broker: BrokerId,
    /// The one that held the lease.
    pub incarnation: Incarnation,
}

/// A lease that has ended already needs no records.
pub fn on_lease_ended(image: &Image, event: &EndLease) -> Result<Vec<Record>, Refusal> {
    let EndLease { broker, incarnation } = *event;
    if !image.registered(broker, incarnation)?.state.holds_lease() {
        return Ok(Vec::new());
    }
    let state = BrokerState::Fenced;
    let settling = Settling::new(image).with_broker(broker, state);
    let mut records = settling.records(|_, partition| partition.is_trusted(broker).then(|| partition.clone()));
    records.push(Record::BrokerStateChanged(BrokerStateChanged { broker, incarnation, state }));
    Ok(records)
}

#[cfg(test)]
#[path = "on_lease_ended_test.rs"]
mod tests;
