//! What the consensus engine is told to work with. Its types stay in this package.

use openraft::{BasicNode, LogId, SnapshotMeta, StoredMembership, Vote};
use sluice_metadata::ClusterId;
use std::io::Cursor;
use std::sync::Arc;

openraft::declare_raft_types!(
    pub(crate) TypeConfig:
        D = LogEntry,
        R = Outcome,
        NodeId = u64,
        Node = BasicNode,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = Cursor<Vec<u8>>,
        Responder = openraft::impls::OneshotResponder<TypeConfig>,
        AsyncRuntime = openraft::TokioRuntime,
);

pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type RaftLogId = LogId<u64>;
pub(crate) type RaftVote = Vote<u64>;
pub(crate) type RaftMembership = StoredMembership<u64, BasicNode>;
pub(crate) type RaftSnapshotMeta = SnapshotMeta<u64, BasicNode>;
pub(crate) type StorageError = openraft::StorageError<u64>;

/// What an entry of the log says, beside the engine's own entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogEntry {
    /// Which cluster this is. The first one that is applied counts.
    Founded { cluster_id: ClusterId },
    /// What was decided on the image of `base` batches. It counts only where that image still stands: whoever decided on
    /// an older one, and was the controller again meanwhile, has decided nothing.
    Batch { base: u64, batch: Arc<[u8]> },
}

/// What applying an entry led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Nothing,
    Applied {
        index: u64,
    },
    /// Decided on an image that is not the one it met.
    Stale {
        index: u64,
    },
}
