//! A broker has a lease and has caught up with the metadata: it may lead and be in sync from now on. Partitions without
//! a leader that it holds get one, if it or another one may be trusted.
//!
//! Asked again of a broker that is active, this finishes what a controller that died in between has left.

use crate::broker_state::BrokerState;
use crate::election::Settling;
use crate::image::Image;
use crate::record::{BrokerStateChanged, Record};
use crate::refusal::Refusal;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::{BrokerId, Incarnation};

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnfenceBroker {
    pub broker: BrokerId,
    pub incarnation: Incarnation,
}

/// Refused until the incarnation has said what its recovery found, and when it has begun to shut down.
pub fn on_unfence_broker(image: &Image, request: &UnfenceBroker) -> Result<Vec<Record>, Refusal> {
    let UnfenceBroker { broker, incarnation } = *request;
    let state = BrokerState::Active;
    let mut records = match image.registered(broker, incarnation)?.state {
        BrokerState::Recovering => return Err(Refusal::NotRecovered { broker }),
        BrokerState::ShuttingDown => return Err(Refusal::BrokerShuttingDown { broker }),
        BrokerState::Fenced => vec![Record::BrokerStateChanged(BrokerStateChanged { broker, incarnation, state })],
        BrokerState::Active => Vec::new(),
    };
    let settling = Settling::new(image).with_broker(broker, state);
    let leaderless = settling.records(|_, p| (p.leader.is_none() && p.is_replica(broker)).then(|| p.clone()));
    records.extend(leaderless);
    Ok(records)
}

#[cfg(test)]
#[path = "on_unfence_broker_test.rs"]
mod tests;
