//! A message of another controller comes in.

use crate::codec::FramedError;
use crate::forward;
use crate::messages::{Answer, AnswerBody, Request, RequestBody, WhyRefused};
use crate::node::Shared;
use openraft::error::{InstallSnapshotError, RaftError};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, VoteRequest};
use sluice_model::{BrokerId, Incarnation};

pub(crate) async fn on_message(shared: &Shared, bytes: &[u8]) -> Vec<u8> {
    let body = match Request::decode(bytes) {
        Ok(request) => listen(shared, request).await,
        Err(error) => {
            if let FramedError::NewerVersion { got, known } = error {
                tracing::warn!(got, known, "a controller of a newer version speaks; this broker does not understand it");
            }
            AnswerBody::Refused { why: WhyRefused::Malformed }
        }
    };
    Answer { from: shared.peers.sender(), body }.encode()
}

async fn listen(shared: &Shared, request: Request) -> AnswerBody {
    if !request.is_sound() {
        return AnswerBody::Refused { why: WhyRefused::Malformed };
    }
    let votes = matches!(request.body, RequestBody::Vote { .. });
    if let Some(why) = shared.peers.refusal(&request.from, votes) {
        tracing::warn!(from = request.from.broker, ?why, "a controller is not listened to");
        return AnswerBody::Refused { why };
    }
    let raft = shared.raft();
    match request.body {
        RequestBody::Append { vote, previous, entries, committed } => {
            let entries = entries.into_iter().map(Into::into).collect();
            let (prev_log_id, leader_commit) = (previous.map(Into::into), committed.map(Into::into));
            let request = AppendEntriesRequest { vote: vote.into(), prev_log_id, entries, leader_commit };
            match raft.append_entries(request).await {
                Ok(AppendEntriesResponse::Success) => AnswerBody::Appended,
                Ok(AppendEntriesResponse::PartialSuccess(last)) => AnswerBody::AppendedTo { last: last.map(Into::into) },
                Ok(AppendEntriesResponse::Conflict) => AnswerBody::Conflict,
                Ok(AppendEntriesResponse::HigherVote(vote)) => AnswerBody::HigherVote { vote: vote.into() },
                Err(_) => AnswerBody::Unavailable,
            }
        }
        RequestBody::Vote { vote, last } => {
            let request = VoteRequest { vote: vote.into(), last_log_id: last.map(Into::into) };
            match raft.vote(request).await {
                Ok(answer) => AnswerBody::Voted {
                    vote: answer.vote.into(),
                    granted: answer.vote_granted,
                    last: answer.last_log_id.map(Into::into),
                },
                Err(_) => AnswerBody::Unavailable,
            }
        }
        RequestBody::Snapshot { vote, meta, offset, data, done } => {
            let request = InstallSnapshotRequest { vote: vote.into(), meta: meta.into(), offset, data, done };
            match raft.install_snapshot(request).await {
                Ok(answer) => AnswerBody::SnapshotTaken { vote: answer.vote.into() },
                Err(RaftError::APIError(InstallSnapshotError::SnapshotMismatch(_))) => AnswerBody::SnapshotMismatch,
                Err(RaftError::Fatal(_)) => AnswerBody::Unavailable,
            }
        }
        RequestBody::Submit { command } => forward::on_submit(shared, &command).await,
        RequestBody::Renew { number, random } => {
            forward::on_renew(shared, BrokerId(request.from.broker), Incarnation { number, random }).await
        }
        RequestBody::Join { address } => crate::join::on_join(shared, request.from.broker, address).await,
    }
}
