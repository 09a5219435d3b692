//! Why an event was refused. Nothing has changed then. Which code goes over the wire is decided at the edge.

use crate::ids::{GroupId, MemberEpoch, MemberId};
use crate::record::{Assignor, Mode};
use crate::subscription::SubscriptionFault;
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    // The request itself.
    InvalidGroupId,
    /// A text is too long or has control characters.
    InvalidText {
        what: &'static str,
        len_max: usize,
    },
    InvalidSubscription(SubscriptionFault),
    /// A time is outside its bounds, milliseconds.
    InvalidTimeout {
        what: &'static str,
        got: u32,
        min: u32,
        max: u32,
    },
    TooManyAtOnce {
        got: usize,
        max: usize,
    },
    /// A partition is named twice in one request.
    NamedTwice,

    // The member.
    UnknownGroup {
        group_id: GroupId,
    },
    /// It has left, or was missed, or was stuck, or was never there. What it held may be another's: it stops, and joins
    /// again as a new member.
    UnknownMember {
        member_id: MemberId,
    },
    /// What it names is older than what it has said before, or was never told. It stops, and joins again as a new member.
    FencedMemberEpoch {
        got: MemberEpoch,
        current: MemberEpoch,
    },
    /// A later life of this static member has taken its place.
    FencedInstance {
        by: MemberId,
    },
    /// A member joins with the id of one that has been heard since it joined.
    MemberIdTaken {
        member_id: MemberId,
    },

    // The group.
    /// It has members that share it in another way.
    OtherMode {
        current: Mode,
    },
    OtherAssignor {
        current: Assignor,
    },
    /// An exclusive group has its consumer.
    GroupBusy {
        by: MemberId,
        client_id: String,
        client_host: String,
    },
    /// It cannot be deleted or, unless that is forced, reset while it has members.
    GroupNotEmpty {
        members: usize,
    },

    // Bounds.
    TooManyGroups {
        max: usize,
    },
    TooManyMembers {
        max: usize,
    },
    TooManyOffsets {
        max: usize,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidGroupId => write!(f, "a group id has 1 to 255 bytes and no control characters"),
            Self::InvalidText { what, len_max } => {
                write!(f, "the {what} has more than {len_max} bytes, or control characters")
            }
            Self::InvalidSubscription(fault) => write!(f, "the subscription is not valid: {fault}"),
            Self::InvalidTimeout { what, got, min, max } => write!(f, "the {what} is {got} ms; it has to be {min} to {max} ms"),
            Self::TooManyAtOnce { got, max } => write!(f, "{got} are too many for one request, at most {max} are allowed"),
            Self::NamedTwice => write!(f, "a partition is named twice in one request"),
            Self::UnknownGroup { group_id } => write!(f, "there is no group {:?}", group_id.0),
            Self::UnknownMember { member_id } => {
                write!(f, "{member_id} is not a member (any more): it left, was missed or was stuck; join again as a new member")
            }
            Self::FencedMemberEpoch { got, current } => {
                write!(f, "member epoch {got} is not valid (now {current}); join again as a new member")
            }
            Self::FencedInstance { by } => write!(f, "{by} has joined since with the same instance id"),
            Self::MemberIdTaken { member_id } => write!(f, "{member_id} is a member already; join with a new id"),
            Self::OtherMode { current } => write!(f, "the members of the group share it in the mode {current:?}"),
            Self::OtherAssignor { current } => write!(f, "the group assigns by {current:?}"),
            Self::GroupBusy { by, client_id, client_host } => {
                write!(f, "the group is exclusive and has a consumer: {client_id:?} at {client_host:?} ({by})")
            }
            Self::GroupNotEmpty { members } => write!(f, "the group has {members} members; stop them first"),
            Self::TooManyGroups { max } => write!(f, "there are {max} groups here already; delete some"),
            Self::TooManyMembers { max } => write!(f, "there are {max} members already"),
            Self::TooManyOffsets { max } => write!(f, "there are {max} committed offsets here already; delete some groups"),
        }
    }
}

impl std::error::Error for Refusal {}
