//! A broker is about to stop and gives away what it can: leadership to replicas that are in sync, its place in in-sync
//! sets that have other members. What nobody else may lead it leads on; it takes in who catches up, asks again, and
//! that one leads. It may stop when `Image::led_by` has nothing of it, and should not wait for that for ever.

use crate::broker_state::BrokerState;
use crate::election::Settling;
use crate::image::Image;
use crate::record::{BrokerStateChanged, Record};
use crate::refusal::Refusal;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::{BrokerId, Incarnation};

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeginShutdown {
    pub broker: BrokerId,
    pub incarnation: Incarnation,
}

/// A broker without a lease has nothing to give away. Asked again, it gives away what it can by now.
pub fn on_begin_shutdown(image: &Image, request: &BeginShutdown) -> Result<Vec<Record>, Refusal> {
    let BeginShutdown { broker, incarnation } = *request;
    let known = image.registered(broker, incarnation)?.state;
    if !known.holds_lease() {
        return Ok(Vec::new());
    }
    let state = BrokerState::ShuttingDown;
    let settling = Settling::new(image).with_broker(broker, state);
    let mut records = settling.records(|_, partition| partition.is_trusted(broker).then(|| partition.clone()));
    if known != state {
        records.push(Record::BrokerStateChanged(BrokerStateChanged { broker, incarnation, state }));
    }
    Ok(records)
}

#[cfg(test)]
#[path = "on_begin_shutdown_test.rs"]
mod tests;
