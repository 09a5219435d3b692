//! BrokerChallenge: a broker says who it is, and is told what to prove.
//!
//! A stranger learns from it which broker this is, as from Hello, and a nonce; nothing here is made with the secret.

use crate::answer::ReplyTo;
use crate::data_plane::DataPlane;
use crate::error_table::WireError;
use crate::peer::Peer;
use crate::random::random_bytes;
use sluice_model::ErrorCode;
use sluice_protocol::{BrokerChallengeAnswer, BrokerChallengeRequest, BrokerName, BrokerRole, Introduction, Malformed, decode};

impl DataPlane {
    pub(crate) fn on_broker_challenge(&mut self, to: ReplyTo, body: &[u8]) -> Result<(), Malformed> {
        let request = decode::<BrokerChallengeRequest>(body)?;
        match self.introduction(to, &request) {
            Ok(introduction) => {
                if let Some(connection) = self.connections.get_mut(&to.connection) {
                    connection.peer = Peer::Challenged(Box::new(introduction));
                }
                self.answer(to, &BrokerChallengeAnswer::new(introduction.accepting));
            }
            Err(error) => self.refuse_and_close(to, error),
        }
        Ok(())
    }

    fn introduction(&self, to: ReplyTo, request: &BrokerChallengeRequest) -> Result<Introduction, WireError> {
        let broker = self.parts.config.broker;
        if self.parts.config.cluster.is_none() {
            return Err(WireError::not_authenticated(format!("broker {broker} belongs to no cluster: it has no secret")));
        }
        if !matches!(self.connections.get(&to.connection).map(|connection| &connection.peer), Some(Peer::Client)) {
            return Err(WireError::new(ErrorCode::InvalidArgument, "a connection introduces itself once"));
        }
        if request.wanted_broker_id != broker.0 || request.broker_id == broker.0 {
            let text = format!(
                "broker {} wants to reach broker {}, this is broker {broker}; see the addresses that brokers are told",
                request.broker_id, request.wanted_broker_id
            );
            return Err(WireError::not_authenticated(text));
        }
        let role = request.role().filter(|role| *role == BrokerRole::Follower);
        let Some(role) = role else {
            let text = "controllers speak to each other at their own listener, not at a shard's";
            return Err(WireError::new(ErrorCode::InvalidArgument, text));
        };
        let nonce = random_bytes().map_err(|error| WireError::not_ready(format!("no random bytes: {error}")))?;
        let accepting = BrokerName { broker, incarnation: self.parts.incarnation, shard: self.parts.shard, nonce };
        Ok(Introduction { role, connecting: request.name(), accepting })
    }
}
