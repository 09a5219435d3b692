//! What the consensus engine stores and sends, as bytes: magic, version, checksum, then the rkyv archive of rows that
//! mirror the engine's types.
//!
//! The rows are this package's own, so that another version of the engine changes no byte on disk or on the wire. The
//! expensive mistake is to trust a length from outside: a frame is bounded before it is looked at, and its archive is
//! validated in place before anything is allocated for it.

use crate::raft_types::{Entry, LogEntry, RaftLogId, RaftMembership, RaftSnapshotMeta, RaftVote};
use openraft::{BasicNode, EntryPayload, LeaderId, Membership};
use rkyv::{Archive, Deserialize, Serialize};
use sluice_metadata::ClusterId;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub(crate) const HEADER_LEN: usize = 8;
/// Of everything below.
pub(crate) const CODEC_VERSION: u8 = 1;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodecError {
    Truncated {
        got: usize,
    },
    TooLong {
        got: usize,
        max: usize,
    },
    Magic {
        got: [u8; 3],
    },
    Checksum {
        expected: u32,
        actual: u32,
    },
    NewerVersion {
        got: u8,
        known: u8,
    },
    /// The checksum agrees and the content makes no sense.
    Unreadable,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { got } => write!(f, "it has {got} bytes, fewer than its header"),
            Self::TooLong { got, max } => write!(f, "it has {got} bytes, more than the {max} allowed"),
            Self::Magic { got } => write!(f, "it begins with {got:02x?}"),
            Self::Checksum { expected, actual } => write!(f, "its checksum is {actual:08x}, its header says {expected:08x}"),
            Self::NewerVersion { got, known } => {
                write!(f, "it is from a newer version of sluice (format {got}, this program reads up to {known})")
            }
            Self::Unreadable => write!(f, "its checksum is right and its content cannot be read"),
        }
    }
}

impl std::error::Error for CodecError {}

/// A kind of frame: how it begins, and how long it may be.
pub(crate) trait Framed: Sized {
    const MAGIC: [u8; 3];
    const LEN_MAX: usize;
}

macro_rules! framed {
    ($type:ty, $archived:ty, $magic:literal, $len_max:expr) => {
        impl Framed for $type {
            const MAGIC: [u8; 3] = *$magic;
            const LEN_MAX: usize = $len_max;
        }

        impl $type {
            pub(crate) fn encode(&self) -> Vec<u8> {
                let mut head = Vec::with_capacity(HEADER_LEN + 256);
                head.extend_from_slice(&Self::MAGIC);
                head.push($crate::codec::CODEC_VERSION);
                head.extend_from_slice(&[0; 4]);
                let mut bytes = rkyv::api::high::to_bytes_in::<_, rkyv::rancor::Failure>(self, head)
                    .expect("writing to memory fails only beyond the 2 GiB that a relative pointer spans");
                let crc = $crate::codec::checksum(&bytes);
                bytes[4..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
                bytes
            }

            pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
                let body = $crate::codec::checked_body::<Self>(bytes)?;
                let archived = rkyv::access::<$archived, rkyv::rancor::Failure>(body).map_err(|_| CodecError::Unreadable)?;
                rkyv::deserialize::<Self, rkyv::rancor::Failure>(archived).map_err(|_| CodecError::Unreadable)
            }
        }
    };
}
pub(crate) use framed;

pub(crate) fn checked_body<T: Framed>(bytes: &[u8]) -> Result<&[u8], CodecError> {
    if bytes.len() > T::LEN_MAX {
        return Err(CodecError::TooLong { got: bytes.len(), max: T::LEN_MAX });
    }
    let Some((&[m0, m1, m2, version, c0, c1, c2, c3], body)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return Err(CodecError::Truncated { got: bytes.len() });
    };
    if [m0, m1, m2] != T::MAGIC {
        return Err(CodecError::Magic { got: [m0, m1, m2] });
    }
    let (expected, actual) = (u32::from_le_bytes([c0, c1, c2, c3]), checksum(bytes));
    if expected != actual {
        return Err(CodecError::Checksum { expected, actual });
    }
    if version > CODEC_VERSION {
        return Err(CodecError::NewerVersion { got: version, known: CODEC_VERSION });
    }
    Ok(body)
}

/// CRC-32C of everything but the checksum itself.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..4]), &bytes[HEADER_LEN..])
}

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

framed!(EntryRow, ArchivedEntryRow, b"SLE", sluice_metadata::batch::BATCH_LEN_MAX + 1024 * 1024);

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
