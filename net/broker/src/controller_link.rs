//! The way between the controllers of two brokers: bytes there and bytes back, over connections that have proved whose
//! they are. It runs on the control thread's runtime.
//!
//! A call is numbered by its correlation id, so an answer that comes late is never taken for another call's; a call that is
//! given up leaves nothing behind but that number. Connections are opened when they are needed, kept, and closed when what
//! is owed does not come. The expensive mistake is to listen to somebody who only says that it is a broker: what comes
//! before both sides have proved that they know the cluster's secret is refused by name. Deliberately absent: what the
//! bytes mean, and trying again, which is the caller's.

mod dial;
mod links;
mod listener;
mod parts;

#[cfg(test)]
#[path = "controller_link_test.rs"]
mod tests;

pub use links::ControllerLinks;
pub use listener::{ControllerListener, MessageHandler};

use sluice_model::{BrokerId, Incarnation, ShardIndex};
use sluice_protocol::{BrokerName, ClusterSecret, ControllerMessageKind, Nonce};

/// Who speaks, and the secret by which both sides know each other.
#[derive(Clone, Debug)]
pub struct ControllerIdentity {
    pub broker: BrokerId,
    /// Any that is this start's: what registers as an incarnation comes later.
    pub incarnation: Incarnation,
    pub secret: ClusterSecret,
}

/// Who asks, and for whom its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskedBy {
    pub broker: BrokerId,
    pub kind: ControllerMessageKind,
}

impl ControllerIdentity {
    fn name(&self, nonce: Nonce) -> BrokerName {
        BrokerName { broker: self.broker, incarnation: self.incarnation, shard: ShardIndex(0), nonce }
    }
}
