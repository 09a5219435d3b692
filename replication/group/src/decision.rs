//! What an event comes to, as values: records to append, an answer, and whom else it concerns.
//!
//! The expensive mistake is an answer that comes before its records are committed: a member would begin with a partition
//! that after a failover is another's, or count on an offset that is lost. So an answer names the batch that it waits
//! for, and one without records of its own waits for the last one before it, whose effect it shows.

use crate::describe::{GroupDescription, GroupListing};
use crate::ids::{BatchNumber, GroupId, MemberEpoch, MemberId};
use crate::on_commit_offsets::CommitRefusal;
use crate::on_reset_offsets::OffsetChange;
use crate::record::{CommittedOffset, Record};
use sluice_model::TopicPartition;

/// To be appended as one batch, and then handed to `Coordinator::on_appended` before anything else is decided. When the
/// log does not take it, it is dropped, and nothing has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Decision {
    /// Empty when there is nothing to append.
    pub records: Vec<Record>,
    /// None for what nobody asked for.
    pub answer: Option<Answer>,
    pub(crate) renewal: Option<Renewal>,
    /// It says again what is so.
    pub(crate) piece: Option<Piece>,
}

/// Of a snapshot, by the numbers of the batches that it becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Of the snapshot's first batch.
    pub(crate) from: BatchNumber,
    /// Of this one: right after what it was made from and the pieces before it.
    pub(crate) number: BatchNumber,
}

/// A member was heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Renewal {
    pub(crate) group_id: GroupId,
    pub(crate) member_id: MemberId,
    /// The epoch that it named.
    pub(crate) epoch: MemberEpoch,
    /// Its application has polled.
    pub(crate) has_polled: bool,
}

impl Decision {
    pub(crate) fn answered(records: Vec<Record>, answer: Answer) -> Self {
        Self { records, answer: Some(answer), renewal: None, piece: None }
    }

    pub(crate) fn unasked(records: Vec<Record>) -> Self {
        Self { records, answer: None, renewal: None, piece: None }
    }

    pub(crate) fn snapshot(records: Vec<Record>, piece: Piece) -> Self {
        Self { records, answer: None, renewal: None, piece: Some(piece) }
    }

    pub(crate) fn renewing(self, renewal: Renewal) -> Self {
        Self { renewal: Some(renewal), ..self }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Of a join or a heartbeat.
    Member {
        /// To be named in whatever the member says next.
        member_epoch: MemberEpoch,
        /// All that the member has, when the epoch that it named is not the present one.
        assignment: Option<Assignment>,
        /// Milliseconds until its next heartbeat, at the latest.
        heartbeat_interval_ms: u32,
    },
    /// The member is gone, or, static, has its partitions kept until its session ends.
    Left,
    /// By partition, in the order of the request.
    Committed(Vec<(TopicPartition, Result<(), CommitRefusal>)>),
    /// By partition, in the order of the request; none where nothing is committed.
    Offsets(Vec<(TopicPartition, Option<CommittedOffset>)>),
    /// What was changed, or would be.
    Reset(Vec<OffsetChange>),
    Deleted,
    Groups(Vec<GroupListing>),
    Group(Box<GroupDescription>),
}

/// What a member has. It delivers what is `assigned`, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Ascending.
    pub assigned: Vec<Assigned>,
    /// To be finished, committed and given up, and then named as `revoked` in heartbeats until it is not in here any
    /// more. What has another epoch than the member had it under is given up without a commit. Ascending.
    pub revoking: Vec<Assigned>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    pub id: TopicPartition,
    /// The epoch it was given under. When the member had it under another one, it was taken away or reset in between:
    /// what it has not committed is void, and it goes on at the committed offset.
    pub since: MemberEpoch,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// To whoever asked, once `after` is committed.
    Answer { after: BatchNumber, answer: Answer },
    /// A heartbeat of this member that waits for news is to be decided again: it would be answered otherwise now.
    MemberHasNews { group_id: GroupId, member_id: MemberId },
    /// Once `after` is committed, the log may begin with the batch `to`.
    MoveLogStart { to: BatchNumber, after: BatchNumber },
}
