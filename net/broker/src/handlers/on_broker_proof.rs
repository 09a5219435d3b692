//! BrokerProof: whoever shows that it knows the cluster's secret is a broker from now on, and is shown the same.
//!
//! A challenge is good for one proof: after one that does not hold, the connection is closed.

use crate::answer::ReplyTo;
use crate::data_plane::DataPlane;
use crate::error_table::WireError;
use crate::peer::{Peer, PeerBroker};
use sluice_model::ErrorCode;
use sluice_protocol::{BrokerProofAnswer, BrokerProofRequest, Malformed, ProofOf, decode};

impl DataPlane {
    pub(crate) fn on_broker_proof(&mut self, to: ReplyTo, body: &[u8]) -> Result<(), Malformed> {
        let BrokerProofRequest { proof } = decode(body)?;
        let config = std::sync::Arc::clone(&self.parts.config);
        let Some(connection) = self.connections.get_mut(&to.connection) else { return Ok(()) };
        let (Some(cluster), Peer::Challenged(introduction)) = (&config.cluster, &connection.peer) else {
            let text = "nothing was asked to be proved; BrokerChallenge comes first";
            self.refuse_and_close(to, WireError::new(ErrorCode::InvalidArgument, text));
            return Ok(());
        };
        let introduction = **introduction;
        let peer = PeerBroker::proved(&introduction);
        if !cluster.secret.is_proof(ProofOf::Connecting, &introduction, &proof) {
            connection.peer = Peer::Client;
            tracing::warn!(broker = peer.broker.0, shard = peer.shard.0, "a peer said it is this broker and did not prove it");
            let text = "the proof does not hold: all brokers of a cluster need the same cluster secret";
            self.refuse_and_close(to, WireError::not_authenticated(text));
            return Ok(());
        }
        connection.peer = Peer::Broker(peer);
        tracing::debug!(connection = to.connection.number(), broker = peer.broker.0, shard = peer.shard.0, "a broker connected");
        let proof = cluster.secret.prove(ProofOf::Accepting, &introduction);
        self.answer(to, &BrokerProofAnswer { proof, ..BrokerProofAnswer::default() });
        Ok(())
    }
}
