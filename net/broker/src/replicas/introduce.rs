//! How a shard that follows begins with a leader: Hello, who it is, the proof that it knows the secret, the leader's proof.
//!
//! The expensive mistake is to copy the log of somebody who only says that it is the leader, so nothing is fetched before
//! its proof holds, and that names the broker that the metadata calls the leader.

use crate::replicas::fetcher::{Asked, Fetcher, FetcherState, Stage};
use sluice_model::{BrokerId, Incarnation, ShardIndex};
use sluice_protocol::{
    Api, BrokerChallengeAnswer, BrokerChallengeRequest, BrokerName, BrokerProofAnswer, BrokerProofRequest, BrokerRole,
    ClusterSecret, HelloAnswer, HelloRequest, Introduction, Nonce, ProofOf, negotiate, supported_versions,
};

/// Who connects.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnName {
    pub(crate) broker: BrokerId,
    pub(crate) incarnation: Incarnation,
    pub(crate) shard: ShardIndex,
}

impl Fetcher {
    /// The connection is there: says who is speaking.
    pub(crate) fn introduce(&mut self, own: OwnName, nonce: Nonce) -> Result<(), String> {
        let OwnName { broker, incarnation, shard } = own;
        let name = BrokerName { broker, incarnation, shard, nonce };
        let hello = HelloRequest {
            client_id: format!("broker {broker} shard {shard}"),
            session_id: [0; 16],
            session_attempt: 0,
            versions: supported_versions(),
        };
        let challenge = BrokerChallengeRequest::new(name, BrokerRole::Follower, self.leader.0);
        self.ask(&hello, Asked::Hello).map_err(|error| error.to_string())?;
        self.ask(&challenge, Asked::Challenge).map_err(|error| error.to_string())?;
        if let Some(link) = self.link() {
            link.stage = Stage::Introducing(name);
        }
        Ok(())
    }

    pub(crate) fn on_hello_answer(&mut self, answer: &HelloAnswer) -> Result<(), String> {
        if answer.error != 0 {
            return Err(format!("Hello: {}", answer.text));
        }
        let negotiated = negotiate(&supported_versions(), &answer.versions);
        let needed = [Api::BrokerChallenge, Api::BrokerProof, Api::ReplicaFetch, Api::ReplicaFlush, Api::ReplicaBeginning];
        match needed.iter().find(|api| negotiated.version(**api).is_none()) {
            Some(api) => Err(format!("it does not speak {api} as this broker does: run the same version on both")),
            None => Ok(()),
        }
    }

    /// The leader has said who it is: proves that this is a broker of its cluster.
    pub(crate) fn on_challenge_answer(&mut self, answer: &BrokerChallengeAnswer, secret: &ClusterSecret) -> Result<(), String> {
        let accepting = answer.name();
        let (broker, shard) = self.leader;
        if answer.error != 0 {
            return Err(answer.text.clone());
        }
        if (accepting.broker, accepting.shard) != (broker, shard) {
            return Err(format!("shard {} of broker {} answers at this address", accepting.shard, accepting.broker));
        }
        let Some(link) = self.link() else { return Ok(()) };
        let Stage::Introducing(connecting) = link.stage else { return Err("it answers a challenge twice".to_owned()) };
        let introduction = Introduction { role: BrokerRole::Follower, connecting, accepting };
        link.stage = Stage::Proving(introduction);
        let proof = secret.prove(ProofOf::Connecting, &introduction);
        self.ask(&BrokerProofRequest { proof }, Asked::Proof).map_err(|error| error.to_string())
    }

    /// The leader has proved itself, or not.
    pub(crate) fn on_proof_answer(&mut self, answer: &BrokerProofAnswer, secret: &ClusterSecret) -> Result<(), String> {
        if answer.error != 0 {
            return Err(answer.text.clone());
        }
        let Some(link) = self.link() else { return Ok(()) };
        let Stage::Proving(introduction) = link.stage else { return Err("it answers a proof twice".to_owned()) };
        if !secret.is_proof(ProofOf::Accepting, &introduction, &answer.proof) {
            return Err("it has not proved to know the cluster's secret: all brokers need the same one".to_owned());
        }
        link.stage = Stage::Open;
        self.backoff.reset();
        Ok(())
    }

    /// The connection has gone, or is given up: tried again after a while. Gives back the partitions whose beginnings were
    /// asked for.
    pub(crate) fn part(&mut self, now_us: u64) -> Vec<sluice_model::TopicPartition> {
        self.lose_session();
        self.asked.clear();
        self.state = FetcherState::Apart { until_us: now_us + self.backoff.next_us() };
        std::mem::take(&mut self.beginnings).into_keys().collect()
    }
}
