//! Why a record does not apply: the log is not one that these rules wrote. The caller stops and says so.

use crate::ids::MemberId;
use sluice_model::TopicPartition;
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    UnknownGroup {
        group_id: String,
    },
    UnknownMember {
        member_id: MemberId,
    },
    InvalidGroupId,
    /// An epoch is smaller than before, or the same for something else.
    EpochGoesBack,
    /// A member's place in the order was not given out.
    JoinNumber {
        member_id: MemberId,
    },
    /// Two members have one instance id, or one changes it.
    InstanceTaken {
        member_id: MemberId,
    },
    OwnedTwice {
        id: TopicPartition,
        owner: MemberId,
        other: MemberId,
    },
    TargetTwice {
        id: TopicPartition,
        other: MemberId,
    },
    /// A partition is held under an epoch that its member never had.
    HoldEpoch {
        member_id: MemberId,
        id: TopicPartition,
    },
    /// A group that is deleted has members.
    NotEmpty {
        group_id: String,
    },
    /// A member commits what is behind what is committed.
    OffsetGoesBack {
        id: TopicPartition,
    },
    MetadataTooLong {
        id: TopicPartition,
    },
    /// A snapshot says that it has other groups than it has.
    SnapshotGroups {
        got: usize,
        expected: u64,
    },
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownGroup { group_id } => write!(f, "there is no group {group_id:?}"),
            Self::UnknownMember { member_id } => write!(f, "there is no member {member_id}"),
            Self::InvalidGroupId => write!(f, "a group has a name that none can have"),
            Self::EpochGoesBack => write!(f, "an epoch goes back"),
            Self::JoinNumber { member_id } => write!(f, "the place of member {member_id} was not given out"),
            Self::InstanceTaken { member_id } => write!(f, "the instance id of member {member_id} is another one's"),
            Self::OwnedTwice { id, owner, other } => write!(f, "partition {id} is of {owner} and would be of {other} too"),
            Self::TargetTwice { id, other } => write!(f, "partition {id} is in the target of {other} and of another member"),
            Self::HoldEpoch { member_id, id } => write!(f, "{member_id} holds partition {id} under an epoch that it never had"),
            Self::NotEmpty { group_id } => write!(f, "the group {group_id:?} is deleted and has members"),
            Self::OffsetGoesBack { id } => write!(f, "the offset of partition {id} goes back"),
            Self::MetadataTooLong { id } => write!(f, "the metadata of partition {id} is too long"),
            Self::SnapshotGroups { got, expected } => write!(f, "a snapshot of {expected} groups leaves {got}"),
        }
    }
}

impl std::error::Error for ApplyError {}
