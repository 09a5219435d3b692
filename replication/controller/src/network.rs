//! How the consensus engine reaches the other controllers: through a [`Transport`] that carries bytes.
//!
//! The expensive mistake is to count the answer of a broker that has lost its folder: it has forgotten what it voted for
//! and what it held. Its votes count again once it is registered with the folder it has now. Deliberately absent:
//! connections, authentication, addresses of voters (the settings' business).

use crate::messages::{Answer, AnswerBody, Request, RequestBody, Sender, WhyRefused};
use crate::raft_types::TypeConfig;
use crate::state_machine::SharedState;
use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, SnapshotMismatch, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{BasicNode, SnapshotSegmentId};
use sluice_metadata::{ClusterId, FolderId};
use sluice_model::BrokerId;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a controller that could not be reached is left alone.
const UNREACHABLE_PAUSE: Duration = Duration::from_millis(200);

/// What a call will give.
pub type Call = Pin<Box<dyn Future<Output = io::Result<Vec<u8>>> + Send>>;

/// Carries a message to another controller and its answer back.
///
/// An error says that no answer came; the message may have arrived all the same, unless its kind is `NotConnected` or
/// `ConnectionRefused`: nothing was sent then. A call that is dropped is given up. The
/// bytes are those that the other's `ControllerNode::on_message` takes and gives, at most `CONTROLLER_MESSAGE_LEN_MAX` of
/// them each way. Calls to one controller may be under way at once and need not stay in order.
pub trait Transport: Send + Sync + 'static {
    /// `address` is the controller's, as the settings or the broker itself have said.
    fn call(&self, to: BrokerId, address: &str, message: Vec<u8>) -> Call;
}

/// Another cluster's controller answered at an address that the settings name, or called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignCluster {
    pub broker: BrokerId,
    pub theirs: ClusterId,
    pub ours: ClusterId,
}

/// What a node says of itself, and knows of the others.
pub(crate) struct Peers {
    pub(crate) broker: BrokerId,
    pub(crate) folder_id: FolderId,
    pub(crate) state: Arc<SharedState>,
    /// By the settings, which are newer than the log.
    pub(crate) voters: BTreeMap<BrokerId, String>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) foreign: Mutex<Option<ForeignCluster>>,
}

impl Peers {
    pub(crate) fn sender(&self) -> Sender {
        let cluster_id = self.state.image().image.cluster_id().0;
        Sender { broker: self.broker.0, folder_id: self.folder_id.0, cluster_id }
    }

    /// Why a sender is not listened to, if it is not. Only who votes has to be in the folder it is known with.
    pub(crate) fn refusal(&self, from: &Sender, votes: bool) -> Option<WhyRefused> {
        let image = self.state.image().image;
        let (ours, theirs) = (image.cluster_id(), ClusterId(from.cluster_id));
        let unknown = ClusterId([0; 16]);
        if ours != unknown && theirs != unknown && ours != theirs {
            let foreign = ForeignCluster { broker: BrokerId(from.broker), theirs, ours };
            *self.foreign.lock().unwrap_or_else(PoisonError::into_inner) = Some(foreign);
            return Some(WhyRefused::OtherCluster { cluster_id: ours.0 });
        }
        let known = image.broker(BrokerId(from.broker)).map(|broker| broker.folder_id);
        let known = known.filter(|known| votes && known.0 != from.folder_id)?;
        Some(WhyRefused::OtherFolder { known: known.0 })
    }

    /// Sends and waits for the answer of one that may be listened to and listens.
    pub(crate) async fn call(&self, to: BrokerId, address: &str, body: RequestBody) -> io::Result<AnswerBody> {
        match self.ask(to, address, body).await? {
            AnswerBody::Refused { why } => Err(io::Error::other(format!("it does not listen: {why:?}"))),
            AnswerBody::Unavailable => Err(io::Error::other("it cannot answer now")),
            body => Ok(body),
        }
    }

    /// Sends and waits for the answer of one that may be listened to. An error says that there is none: what was asked
    /// for may have happened.
    pub(crate) async fn ask(&self, to: BrokerId, address: &str, body: RequestBody) -> io::Result<AnswerBody> {
        let votes = matches!(body, RequestBody::Vote { .. });
        let address = self.voters.get(&to).map_or(address, |address| address);
        let message = Request { from: self.sender(), body }.encode();
        let bytes = self.transport.call(to, address, message).await?;
        let answer = Answer::decode(&bytes).map_err(|error| io::Error::other(format!("its answer: {error}")))?;
        if !answer.is_sound() {
            return Err(io::Error::other("its answer makes no sense"));
        }
        if answer.from.broker != to.0 {
            return Err(io::Error::other(format!("broker {} answers where broker {to} should", answer.from.broker)));
        }
        let why = self.refusal(&answer.from, votes);
        match (why, answer.body) {
            // Who refuses has done nothing, whoever it is.
            (_, AnswerBody::Refused { why }) => Ok(AnswerBody::Refused { why }),
            (Some(why), _) => Err(io::Error::other(format!("its answer does not count: {why:?}"))),
            (None, body) => Ok(body),
        }
    }
}

pub(crate) struct Network {
    pub(crate) peers: Arc<Peers>,
}

pub(crate) struct Peer {
    peers: Arc<Peers>,
    to: u64,
    address: String,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Peer {
        Peer { peers: self.peers.clone(), to: target, address: node.addr.clone() }
    }
}

impl Peer {
    async fn call(&self, body: RequestBody) -> Result<AnswerBody, io::Error> {
        let to = u32::try_from(self.to).map_err(|_| io::Error::other(format!("{} is no broker id", self.to)))?;
        self.peers.call(BrokerId(to), &self.address, body).await
    }
}

fn unreachable<E: std::error::Error>(error: io::Error) -> RPCError<u64, BasicNode, E> {
    RPCError::Unreachable(Unreachable::new(&error))
}

fn unexpected<E: std::error::Error>(answer: &AnswerBody) -> RPCError<u64, BasicNode, E> {
    RPCError::Network(NetworkError::new(&io::Error::other(format!("an unexpected answer: {answer:?}"))))
}

impl RaftNetwork<TypeConfig> for Peer {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        let body = RequestBody::Append {
            vote: rpc.vote.into(),
            previous: rpc.prev_log_id.map(Into::into),
            entries: rpc.entries.into_iter().map(Into::into).collect(),
            committed: rpc.leader_commit.map(Into::into),
        };
        match self.call(body).await.map_err(unreachable)? {
            AnswerBody::Appended => Ok(AppendEntriesResponse::Success),
            AnswerBody::AppendedTo { last } => Ok(AppendEntriesResponse::PartialSuccess(last.map(Into::into))),
            AnswerBody::Conflict => Ok(AppendEntriesResponse::Conflict),
            AnswerBody::HigherVote { vote } => Ok(AppendEntriesResponse::HigherVote(vote.into())),
            other => Err(unexpected(&other)),
        }
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, RPCError<u64, BasicNode, RaftError<u64, InstallSnapshotError>>> {
        let segment = |offset| SnapshotSegmentId { id: rpc.meta.snapshot_id.clone(), offset };
        let mismatch = SnapshotMismatch { expect: segment(0), got: segment(rpc.offset) };
        let (meta, offset) = ((&rpc.meta).into(), rpc.offset);
        let body = RequestBody::Snapshot { vote: rpc.vote.into(), meta, offset, data: rpc.data, done: rpc.done };
        match self.call(body).await.map_err(unreachable)? {
            AnswerBody::SnapshotTaken { vote } => Ok(InstallSnapshotResponse { vote: vote.into() }),
            AnswerBody::SnapshotMismatch => {
                let error = RaftError::APIError(InstallSnapshotError::SnapshotMismatch(mismatch));
                Err(RPCError::RemoteError(RemoteError::new(self.to, error)))
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        _option: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        let body = RequestBody::Vote { vote: rpc.vote.into(), last: rpc.last_log_id.map(Into::into) };
        match self.call(body).await.map_err(unreachable)? {
            AnswerBody::Voted { vote, granted, last } => {
                Ok(VoteResponse { vote: vote.into(), vote_granted: granted, last_log_id: last.map(Into::into) })
            }
            other => Err(unexpected(&other)),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(UNREACHABLE_PAUSE))
    }
}
