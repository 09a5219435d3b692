//! Who is at the other end of a connection: a client, or a broker that has proved that it belongs to the cluster.
//!
//! The expensive mistake is to take a broker at its word, so what it says of itself counts only with the proof, and that
//! covers every word of it. Deliberately absent: the proof (`sluice_protocol::ClusterSecret`), and whether that broker
//! has the replica it asks for, which the partition's leader knows.

use sluice_model::{BrokerId, Incarnation, ShardIndex};
use sluice_protocol::{BrokerRole, Introduction};

#[derive(Debug, Default)]
pub(crate) enum Peer {
    /// A client, as far as anybody knows.
    #[default]
    Client,
    /// It says that it is a broker, and was told what to prove.
    Challenged(Box<Introduction>),
    Broker(PeerBroker),
}

/// A broker that has proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerBroker {
    pub(crate) broker: BrokerId,
    pub(crate) incarnation: Incarnation,
    pub(crate) shard: ShardIndex,
    pub(crate) role: BrokerRole,
}

impl Peer {
    pub(crate) fn broker(&self) -> Option<PeerBroker> {
        match self {
            Self::Broker(broker) => Some(*broker),
            Self::Client | Self::Challenged(_) => None,
        }
    }
}

impl PeerBroker {
    /// The side that has connected, once its proof holds.
    pub(crate) fn proved(introduction: &Introduction) -> Self {
        let name = introduction.connecting;
        Self { broker: name.broker, incarnation: name.incarnation, shard: name.shard, role: introduction.role }
    }
}
