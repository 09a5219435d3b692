//! One file per request. Each checks what it was asked, asks the partitions, the view or the control thread, and
//! answers or leaves word where the answer will come from.

mod on_admin;
mod on_broker_challenge;
mod on_broker_proof;
mod on_delete_records;
mod on_describe_cluster;
mod on_describe_metrics;
mod on_describe_partitions;
mod on_describe_replicas;
mod on_describe_shard;
mod on_elect_leaders;
mod on_fetch;
pub(crate) mod on_hello;
pub(crate) mod on_init_producer;
mod on_list_offsets;
mod on_metadata;
mod on_produce;
mod on_replica_beginning;
mod on_replica_fetch;
mod on_replica_flush;

use crate::answer::ReplyTo;
use crate::connection::Phase;
use crate::data_plane::DataPlane;
use crate::error_table::WireError;
use crate::peer::{Peer, PeerBroker};
use sluice_model::ErrorCode;
use sluice_protocol::{Api, Malformed, Prefix};

impl DataPlane {
    /// One whole request: `rest` is its body and frames. Every request that comes here is answered exactly once, but
    /// for produces that ask for no answer.
    pub(crate) fn handle(&mut self, to: ReplyTo, prefix: Prefix, rest: &[u8]) {
        let now_ms = self.now_ms();
        let Some(connection) = self.connections.get_mut(&to.connection) else { return };
        connection.in_flight += 1;
        connection.on_request(now_ms);
        self.parts.metrics.requests.add(1);
        let api = match judge(prefix, connection.phase, &connection.peer) {
            Ok(api) => api,
            Err(Judgement::Refuse(error)) => return self.refuse(to, error),
            Err(Judgement::Close(error)) => return self.refuse_and_close(to, error),
        };
        if self.is_stopping {
            return self.refuse(to, WireError::shutting_down());
        }
        let (body, frames) = rest.split_at(prefix.body_len.min(rest.len()));
        if let Err(malformed) = self.dispatch(api, to, body, frames) {
            self.refuse_and_close(to, WireError::new(ErrorCode::MalformedRequest, malformed));
        }
    }

    /// A handler that returns an error has neither answered nor changed anything.
    fn dispatch(&mut self, api: Api, to: ReplyTo, body: &[u8], frames: &[u8]) -> Result<(), Malformed> {
        if !matches!(api, Api::Produce | Api::ControllerMessage) && !frames.is_empty() {
            return Err(Malformed::Frames { named: 0, got: frames.len() });
        }
        match api {
            Api::Hello => self.on_hello(to, body),
            Api::Metadata => self.on_metadata(to, body),
            Api::Produce => self.on_produce(to, body, frames),
            Api::Fetch => self.on_fetch(to, body),
            Api::ListOffsets => self.on_list_offsets(to, body),
            Api::InitProducer => self.on_init_producer(to, body),
            Api::DescribePartitions => self.on_describe_partitions(to, body),
            Api::DescribeShard => self.on_describe_shard(to, body),
            Api::DescribeMetrics => self.on_describe_metrics(to, body),
            Api::DescribeCluster => self.on_describe_cluster(to, body),
            Api::DescribeReplicas => self.on_describe_replicas(to, body),
            Api::ElectLeaders => self.on_elect_leaders(to, body),
            Api::CreateTopic => self.on_create_topic(to, body),
            Api::DeleteTopic => self.on_delete_topic(to, body),
            Api::AlterTopic => self.on_alter_topic(to, body),
            Api::DeleteRecords => self.on_delete_records(to, body),
            Api::BrokerChallenge => self.on_broker_challenge(to, body),
            Api::BrokerProof => self.on_broker_proof(to, body),
            Api::ReplicaFetch => self.of_broker(to, |plane, peer| plane.on_replica_fetch(to, peer, body)),
            Api::ReplicaFlush => self.of_broker(to, |plane, peer| plane.on_replica_flush(to, peer, body)),
            Api::ReplicaBeginning => self.on_replica_beginning(to, body),
            Api::ControllerMessage => {
                let text = "controllers speak to each other at their own listener, not at a shard's";
                self.refuse(to, WireError::new(ErrorCode::UnsupportedApi, text));
                Ok(())
            }
            Api::Refusal => Err(Malformed::Value { what: "request", got: u64::from(Api::Refusal.number()) }),
        }
    }
}

impl DataPlane {
    /// For requests that `judge` lets through only on a broker's connection.
    fn of_broker(
        &mut self,
        to: ReplyTo,
        handle: impl FnOnce(&mut Self, PeerBroker) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        match self.connections.get(&to.connection).and_then(|connection| connection.peer.broker()) {
            Some(peer) => handle(self, peer),
            None => Ok(()),
        }
    }
}

enum Judgement {
    Refuse(WireError),
    Close(WireError),
}

/// What the prefix alone decides.
fn judge(prefix: Prefix, phase: Phase, peer: &Peer) -> Result<Api, Judgement> {
    let api = prefix.api().filter(|api| api.is_request());
    if phase == Phase::New && api != Some(Api::Hello) {
        let text = "the first request of a connection must be Hello; is the peer speaking this protocol?";
        return Err(Judgement::Close(WireError::new(ErrorCode::MalformedRequest, text)));
    }
    let Some(api) = api else {
        let text = format!("this broker has no api {}; see the versions in its Hello", prefix.api);
        return Err(Judgement::Refuse(WireError::new(ErrorCode::UnsupportedApi, text)));
    };
    let (min, max) = api.versions();
    if !(min..=max).contains(&prefix.version) {
        let text = format!("{api} is spoken in versions {min} to {max} here, not {}", prefix.version);
        return Err(Judgement::Refuse(WireError::new(ErrorCode::UnsupportedVersion, text)));
    }
    if api.needs_broker() && peer.broker().is_none() {
        let text = format!("{api} is for the brokers of this cluster, and this connection has not proved to be one's");
        return Err(Judgement::Refuse(WireError::new(ErrorCode::AuthenticationRequired, text)));
    }
    Ok(api)
}
