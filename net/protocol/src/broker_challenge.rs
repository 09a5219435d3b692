//! BrokerChallenge: a broker that has connected says who it is and draws the other side's nonce.
//!
//! Nothing is proved by it. [`crate::BrokerProofRequest`] has to follow on the same connection, and what it proves is
//! exactly what stands here and in the answer ([`crate::Introduction`]).

use crate::api::Api;
use crate::cluster_secret::{BrokerName, BrokerRole, Nonce};
use crate::message::{Malformed, Message, Request, at_most};
use crate::text::TEXT_LEN_MAX;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::{BrokerId, Incarnation, ShardIndex};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct BrokerChallengeRequest {
    pub broker_id: u32,
    pub incarnation_number: u64,
    pub incarnation_random: u64,
    /// The shard that connects; 0 for a control thread.
    pub shard: u16,
    /// [`BrokerRole`].
    pub role: u8,
    /// The broker that it means to reach.
    pub wanted_broker_id: u32,
    /// Random; of this connection alone.
    pub nonce: Nonce,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerChallengeAnswer {
    pub error: u16,
    pub text: String,
    pub broker_id: u32,
    pub incarnation_number: u64,
    pub incarnation_random: u64,
    /// The shard this connection ends at; 0 for a control thread.
    pub shard: u16,
    /// Random; of this connection alone.
    pub nonce: Nonce,
}

impl BrokerChallengeRequest {
    #[must_use]
    pub fn new(name: BrokerName, role: BrokerRole, wanted: BrokerId) -> Self {
        let BrokerName { broker, incarnation, shard, nonce } = name;
        Self {
            broker_id: broker.0,
            incarnation_number: incarnation.number,
            incarnation_random: incarnation.random,
            shard: shard.0,
            role: role as u8,
            wanted_broker_id: wanted.0,
            nonce,
        }
    }

    #[must_use]
    pub fn name(&self) -> BrokerName {
        let incarnation = Incarnation { number: self.incarnation_number, random: self.incarnation_random };
        BrokerName { broker: BrokerId(self.broker_id), incarnation, shard: ShardIndex(self.shard), nonce: self.nonce }
    }

    /// What the connection is for; [`Message::check`] has seen that it is one of those.
    #[must_use]
    pub fn role(&self) -> Option<BrokerRole> {
        BrokerRole::from_u8(self.role)
    }
}

impl BrokerChallengeAnswer {
    #[must_use]
    pub fn new(name: BrokerName) -> Self {
        let BrokerName { broker, incarnation, shard, nonce } = name;
        Self {
            error: 0,
            text: String::new(),
            broker_id: broker.0,
            incarnation_number: incarnation.number,
            incarnation_random: incarnation.random,
            shard: shard.0,
            nonce,
        }
    }

    #[must_use]
    pub fn name(&self) -> BrokerName {
        let incarnation = Incarnation { number: self.incarnation_number, random: self.incarnation_random };
        BrokerName { broker: BrokerId(self.broker_id), incarnation, shard: ShardIndex(self.shard), nonce: self.nonce }
    }
}

impl Message for BrokerChallengeRequest {
    const API: Api = Api::BrokerChallenge;
    const NAME: &'static str = "BrokerChallenge request";

    fn check(archived: &ArchivedBrokerChallengeRequest) -> Result<(), Malformed> {
        if BrokerRole::from_u8(archived.role).is_none() {
            return Err(Malformed::Value { what: "role (0 follower, 1 controller)", got: u64::from(archived.role) });
        }
        if archived.broker_id.to_native() == 0 {
            return Err(Malformed::Value { what: "broker id", got: 0 });
        }
        Ok(())
    }
}

impl Request for BrokerChallengeRequest {
    type Answer = BrokerChallengeAnswer;
}

impl Message for BrokerChallengeAnswer {
    const API: Api = Api::BrokerChallenge;
    const NAME: &'static str = "BrokerChallenge answer";

    fn check(archived: &ArchivedBrokerChallengeAnswer) -> Result<(), Malformed> {
        at_most("bytes of text", archived.text.len(), TEXT_LEN_MAX)
    }
}
