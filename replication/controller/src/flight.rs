//! Entries under way, and who waits for them.

use crate::command_error::CommandError;
use crate::node::Applied;
use crate::node_config::PROPOSAL_MS_MAX;
use crate::raft_types::{LogEntry, Outcome, TypeConfig};
use openraft::error::{ClientWriteError, RaftError};
use openraft::{BasicNode, Raft};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub(crate) type Reply = oneshot::Sender<Result<Applied, CommandError>>;
pub(crate) type WriteError = RaftError<u64, ClientWriteError<u64, BasicNode>>;
pub(crate) type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pub(crate) struct Flight {
    pub(crate) task: Task<Result<Written, WriteError>>,
    /// What each is told once all is written.
    pub(crate) answers: Vec<(Reply, Result<Applied, CommandError>)>,
    /// Nobody is kept longer.
    pub(crate) until: Instant,
}

pub(crate) enum Written {
    All,
    /// Another leader has decided something in between: nothing, or not all of it, counts.
    Stale {
        some: bool,
    },
    /// Another leader came before the last of them.
    Cut,
}

impl Flight {
    pub(crate) fn begin(
        raft: Raft<TypeConfig>,
        entries: Vec<LogEntry>,
        answers: Vec<(Reply, Result<Applied, CommandError>)>,
    ) -> Self {
        let until = Instant::now() + Duration::from_millis(PROPOSAL_MS_MAX);
        Self { task: Box::pin(write(raft, entries)), answers, until }
    }
}

/// One after the other; each counts only on what the one before it has left.
async fn write(raft: Raft<TypeConfig>, entries: Vec<LogEntry>) -> Result<Written, WriteError> {
    for (number, entry) in entries.into_iter().enumerate() {
        let some = number > 0;
        match raft.client_write(entry).await {
            Ok(written) => match written.data {
                Outcome::Applied { .. } => {}
                Outcome::Nothing | Outcome::Stale { .. } => return Ok(Written::Stale { some }),
            },
            Err(RaftError::APIError(_)) if some => return Ok(Written::Cut),
            Err(error) => return Err(error),
        }
    }
    Ok(Written::All)
}
