//! A member commits how far it has got.
//!
//! Each partition is answered for itself. The expensive mistake is a commit of an earlier time: of a member that has lost
//! the partition since, or of the same member before it lost the partition and got it back, or one that was overtaken by
//! a later one. The first two name an epoch below the one that the partition was given under; the last would take the
//! offset back, which only a reset does. A partition that is being given up can still be committed: that is what it waits
//! for. An epoch between the giving and the present is good: other partitions came and went meanwhile.

use crate::coordinator::Coordinator;
use crate::decision::{Answer, Decision};
use crate::group::Member;
use crate::ids::{GroupId, MemberEpoch, MemberId};
use crate::limits::{
    METADATA_LEN_MAX, METADATA_LEN_PER_COORDINATOR_MAX, METADATA_LEN_PER_REQUEST_MAX, OFFSETS_PER_COORDINATOR_MAX,
};
use crate::record::{CommittedOffset, OffsetsWritten, Record, WrittenOffset};
use crate::refusal::Refusal;
use sluice_model::limits::PARTITIONS_PER_REQUEST_MAX;
use sluice_model::{LeaderEpoch, Now, Offset, TopicPartition};
use std::collections::BTreeSet;
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitOffsets {
    pub group_id: GroupId,
    pub member_id: MemberId,
    /// The last one that the member had been told when it took the records.
    pub member_epoch: MemberEpoch,
    /// At most `PARTITIONS_PER_REQUEST_MAX`, no partition twice.
    pub offsets: Vec<OffsetCommit>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommit {
    pub id: TopicPartition,
    /// Of the first record that is not done.
    pub offset: Offset,
    /// Of the last record that is done; 0 when that is not known.
    pub leader_epoch: LeaderEpoch,
    /// At most `METADATA_LEN_MAX` bytes.
    pub metadata: String,
}

/// Why the offset of one partition is not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitRefusal {
    /// The partition is not the member's (any more).
    NotOwned,
    /// The member has lost it since, and got it back at this epoch.
    FencedMemberEpoch {
        since: MemberEpoch,
    },
    /// More is committed already; only a reset goes back.
    Behind {
        committed: Offset,
    },
    MetadataTooLong {
        got: usize,
        max: usize,
    },
}

impl fmt::Display for CommitRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOwned => write!(f, "the partition is not this member's any more"),
            Self::FencedMemberEpoch { since } => {
                write!(f, "the partition was taken away in between, and given again at member epoch {since}")
            }
            Self::Behind { committed } => write!(f, "offset {committed} is committed already; to go back, reset the group"),
            Self::MetadataTooLong { got, max } => write!(f, "the metadata has {got} bytes, at most {max} are allowed"),
        }
    }
}

impl Coordinator {
    /// Any epoch that the member was told is good here, those that it has named since included: its heartbeats overtake
    /// its commits.
    pub fn on_commit_offsets(&self, now: Now, request: &CommitOffsets) -> Result<Decision, Refusal> {
        let CommitOffsets { ref group_id, member_id, member_epoch: epoch, ref offsets } = *request;
        let (_, member) = self.known_member(group_id, member_id)?;
        if epoch == MemberEpoch(0) || epoch > member.epoch {
            return Err(Refusal::FencedMemberEpoch { got: epoch, current: member.epoch });
        }
        self.check_commit(group_id, offsets)?;
        let mut written = Vec::new();
        let mut answers = Vec::with_capacity(offsets.len());
        for commit in offsets {
            let OffsetCommit { id, offset, leader_epoch, ref metadata } = *commit;
            let committed = CommittedOffset { offset, leader_epoch, metadata: metadata.clone(), commit_ms: now.wall_ms };
            let before = self.image.offset(group_id, id);
            let outcome = check_partition(member, id, epoch, &committed, before);
            answers.push((id, outcome));
            if outcome.is_ok() && before.is_none_or(|before| !says_the_same(before, &committed)) {
                written.push(WrittenOffset { topic_id: id.topic_id, partition: id.partition, committed });
            }
        }
        let mut records = Vec::new();
        if !written.is_empty() {
            records.push(Record::OffsetsCommitted(OffsetsWritten { group_id: group_id.clone(), offsets: written }));
        }
        Ok(Decision::answered(records, Answer::Committed(answers)))
    }

    fn check_commit(&self, group_id: &GroupId, offsets: &[OffsetCommit]) -> Result<(), Refusal> {
        if offsets.len() > PARTITIONS_PER_REQUEST_MAX {
            return Err(Refusal::TooManyAtOnce { got: offsets.len(), max: PARTITIONS_PER_REQUEST_MAX });
        }
        let partitions: BTreeSet<TopicPartition> = offsets.iter().map(|commit| commit.id).collect();
        if partitions.len() < offsets.len() {
            return Err(Refusal::NamedTwice);
        }
        let metadata_len: usize = offsets.iter().map(|commit| commit.metadata.len()).sum();
        if metadata_len > METADATA_LEN_PER_REQUEST_MAX {
            return Err(Refusal::TooManyAtOnce { got: metadata_len, max: METADATA_LEN_PER_REQUEST_MAX });
        }
        let new = partitions.iter().filter(|&&id| self.image.offset(group_id, id).is_none()).count();
        self.check_offset_room(new, metadata_len)
    }

    /// Whether so many more offsets, with so many bytes of metadata, have room.
    pub(crate) fn check_offset_room(&self, new: usize, metadata_len: usize) -> Result<(), Refusal> {
        if new > 0 && self.image.offset_count() + new > OFFSETS_PER_COORDINATOR_MAX {
            return Err(Refusal::TooManyOffsets { max: OFFSETS_PER_COORDINATOR_MAX });
        }
        let got = self.image.metadata_len() + metadata_len;
        if metadata_len > 0 && got > METADATA_LEN_PER_COORDINATOR_MAX {
            return Err(Refusal::TooManyAtOnce { got, max: METADATA_LEN_PER_COORDINATOR_MAX });
        }
        Ok(())
    }
}

fn check_partition(
    member: &Member,
    id: TopicPartition,
    epoch: MemberEpoch,
    committed: &CommittedOffset,
    before: Option<&CommittedOffset>,
) -> Result<(), CommitRefusal> {
    let hold = member.held.get(&id).ok_or(CommitRefusal::NotOwned)?;
    if epoch < hold.since {
        return Err(CommitRefusal::FencedMemberEpoch { since: hold.since });
    }
    if committed.metadata.len() > METADATA_LEN_MAX {
        return Err(CommitRefusal::MetadataTooLong { got: committed.metadata.len(), max: METADATA_LEN_MAX });
    }
    match before.filter(|before| committed.is_behind(before)) {
        Some(before) => Err(CommitRefusal::Behind { committed: before.offset }),
        None => Ok(()),
    }
}

fn says_the_same(before: &CommittedOffset, committed: &CommittedOffset) -> bool {
    (before.offset, before.leader_epoch, &before.metadata) == (committed.offset, committed.leader_epoch, &committed.metadata)
}

#[cfg(test)]
#[path = "on_commit_offsets_test.rs"]
mod tests;
