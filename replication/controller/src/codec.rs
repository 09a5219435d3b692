//! What the consensus engine stores and sends, as bytes: rows that mirror the engine's types, framed as all metadata is.
//!
//! The rows are this package's own, so that another version of the engine changes no byte on disk or on the wire.

use crate::raft_types::{Entry, LogEntry, RaftLogId, RaftMembership, RaftSnapshotMeta, RaftVote};
use openraft::{BasicNode, EntryPayload, LeaderId, Membership};
use rkyv::{Archive, Deserialize, Serialize};
use sluice_metadata::ClusterId;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) use sluice_metadata::FramedError;

/// Of everything below.
pub(crate) const CODEC_VERSION: u8 = 1;

macro_rules! framed {
    ($type:ty, $magic:literal, $len_max:expr) => {
        impl $type {
            const KIND: sluice_metadata::framed::FrameKind =
                sluice_metadata::framed::FrameKind { magic: *$magic, version: $crate::codec::CODEC_VERSION, len_max: $len_max };

            /// Whoever makes one sees to it that it is not too long.
            pub(crate) fn encode(&self) -> Vec<u8> {
                self.try_encode().unwrap_or_else(|error| panic!(concat!(stringify!($type), ": {}"), error))
            }

            /// `TooLong`, if anything.
            pub(crate) fn try_encode(&self) -> Result<Vec<u8>, $crate::codec::FramedError> {
                sluice_metadata::framed::framed_bytes(self, Self::KIND, $crate::codec::CODEC_VERSION, 256)
            }

            pub(crate) fn decode(bytes: &[u8]) -> Result<Self, $crate::codec::FramedError> {
                sluice_metadata::framed::from_framed(bytes, Self::KIND)
            }
        }
    };
}
pub(crate) use framed;

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogIdRow {
    pub(crate) term: u64,
    pub(crate) node: u64,
    pub(crate) index: u64,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VoteRow {
    pub(crate) term: u64,
    pub(crate) node: u64,
    pub(crate) committed: bool,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct MembershipRow {
    pub(crate) configs: Vec<Vec<u64>>,
    pub(crate) nodes: Vec<NodeRow>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeRow {
    pub(crate) node: u64,
    pub(crate) address: String,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntryRow {
    pub(crate) log_id: LogIdRow,
    pub(crate) payload: PayloadRow,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) enum PayloadRow {
    Blank,
    Membership(MembershipRow),
    Founded { cluster_id: [u8; 16] },
    Batch { base: u64, batch: Vec<u8> },
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotMetaRow {
    pub(crate) last_log_id: Option<LogIdRow>,
    pub(crate) membership_log_id: Option<LogIdRow>,
    pub(crate) membership: MembershipRow,
    pub(crate) snapshot_id: String,
}

framed!(EntryRow, b"SLE", sluice_metadata::batch::BATCH_LEN_MAX + 1024 * 1024);

impl From<RaftLogId> for LogIdRow {
    fn from(id: RaftLogId) -> Self {
        Self { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
    }
}

impl From<LogIdRow> for RaftLogId {
    fn from(row: LogIdRow) -> Self {
        Self::new(LeaderId::new(row.term, row.node), row.index)
    }
}

impl From<RaftVote> for VoteRow {
    fn from(vote: RaftVote) -> Self {
        Self { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
    }
}

impl From<VoteRow> for RaftVote {
    fn from(row: VoteRow) -> Self {
        Self { leader_id: LeaderId::new(row.term, row.node), committed: row.committed }
    }
}

impl From<&Membership<u64, BasicNode>> for MembershipRow {
    fn from(membership: &Membership<u64, BasicNode>) -> Self {
        let configs = membership.get_joint_config().iter().map(|voters| voters.iter().copied().collect()).collect();
        let nodes = membership.nodes().map(|(&node, at)| NodeRow { node, address: at.addr.clone() }).collect();
        Self { configs, nodes }
    }
}

impl From<MembershipRow> for Membership<u64, BasicNode> {
    fn from(row: MembershipRow) -> Self {
        let configs = row.configs.into_iter().map(BTreeSet::from_iter).collect();
        let nodes: BTreeMap<u64, BasicNode> = row.nodes.into_iter().map(|at| (at.node, BasicNode { addr: at.address })).collect();
        Self::new(configs, nodes)
    }
}

impl From<Entry> for EntryRow {
    fn from(entry: Entry) -> Self {
        let payload = match entry.payload {
            EntryPayload::Blank => PayloadRow::Blank,
            EntryPayload::Membership(membership) => PayloadRow::Membership((&membership).into()),
            EntryPayload::Normal(LogEntry::Founded { cluster_id }) => PayloadRow::Founded { cluster_id: cluster_id.0 },
            EntryPayload::Normal(LogEntry::Batch { base, batch }) => PayloadRow::Batch { base, batch: batch.to_vec() },
        };
        Self { log_id: entry.log_id.into(), payload }
    }
}

impl From<EntryRow> for Entry {
    fn from(row: EntryRow) -> Self {
        let payload = match row.payload {
            PayloadRow::Blank => EntryPayload::Blank,
            PayloadRow::Membership(membership) => EntryPayload::Membership(membership.into()),
            PayloadRow::Founded { cluster_id } => EntryPayload::Normal(LogEntry::Founded { cluster_id: ClusterId(cluster_id) }),
            PayloadRow::Batch { base, batch } => EntryPayload::Normal(LogEntry::Batch { base, batch: batch.into() }),
        };
        Self { log_id: row.log_id.into(), payload }
    }
}

impl From<&RaftSnapshotMeta> for SnapshotMetaRow {
    fn from(meta: &RaftSnapshotMeta) -> Self {
        Self {
            last_log_id: meta.last_log_id.map(Into::into),
            membership_log_id: meta.last_membership.log_id().map(Into::into),
            membership: meta.last_membership.membership().into(),
            snapshot_id: meta.snapshot_id.clone(),
        }
    }
}

impl From<SnapshotMetaRow> for RaftSnapshotMeta {
    fn from(row: SnapshotMetaRow) -> Self {
        Self {
            last_log_id: row.last_log_id.map(Into::into),
            last_membership: RaftMembership::new(row.membership_log_id.map(Into::into), row.membership.into()),
            snapshot_id: row.snapshot_id,
        }
    }
}
