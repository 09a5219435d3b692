//! The records of a coordinator's log.
//!
//! The expensive mistake is to change one. A variant and its payload are frozen once a release has written them; what
//! changes gets a new variant at the end, and the version in `batch.rs` is raised. Payloads are archived out of line, so
//! that a new variant leaves the others where they are. Records say what is so afterwards, not how it was decided, and
//! each says all of its subject: said again, they change nothing, which is what makes a snapshot of them (`on_snapshot.rs`).

use crate::ids::{GroupEpoch, GroupId, MemberEpoch, MemberId};
use crate::subscription::Subscription;
use rkyv::with::AsBox;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};
use std::collections::BTreeMap;

/// One change of one group.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A group, all but its members and offsets.
    GroupChanged(#[rkyv(with = AsBox)] GroupChanged),
    /// The group and its offsets are gone. It has no members.
    GroupDeleted(#[rkyv(with = AsBox)] GroupDeleted),
    /// Who a member is and what it asks for.
    MemberChanged(#[rkyv(with = AsBox)] MemberChanged),
    /// The member is gone, and what it held is free.
    MemberRemoved(#[rkyv(with = AsBox)] MemberRemoved),
    /// What a member is to have.
    TargetChanged(#[rkyv(with = AsBox)] TargetChanged),
    /// What a member has.
    MemberAssigned(#[rkyv(with = AsBox)] MemberAssigned),
    /// By a member, none of them behind what was committed before.
    OffsetsCommitted(#[rkyv(with = AsBox)] OffsetsWritten),
    /// By an operator, to any offset; or by a snapshot.
    OffsetsReset(#[rkyv(with = AsBox)] OffsetsWritten),
    OffsetsRemoved(#[rkyv(with = AsBox)] OffsetsRemoved),
    /// From here to `SnapshotEnded` the whole state follows.
    SnapshotBegun(#[rkyv(with = AsBox)] SnapshotEdge),
    SnapshotEnded(#[rkyv(with = AsBox)] SnapshotEdge),
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GroupChanged {
    pub group_id: GroupId,
    pub state: GroupState,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GroupState {
    pub mode: Mode,
    pub assignor: Assignor,
    pub epoch: GroupEpoch,
    /// The place in the order of members that the next one gets.
    pub next_join_number: u64,
    /// When the last member went; none while there are members. Milliseconds of the append clock.
    pub empty_since_ms: Option<i64>,
}

/// How the members of a group share what they subscribe to.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Every partition is one member's.
    #[default]
    Partitioned,
    /// One member has everything; a second one is refused.
    Exclusive,
    /// The member that joined first has everything, the others wait in the order in which they joined.
    Failover,
}

/// How partitions are shared out in a partitioned group.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Assignor {
    /// Evenly, and as few as possible move.
    #[default]
    Sticky,
    /// Of each topic a run of neighbours: equal numbers of several topics are one member's.
    Range,
    /// One after the other, dealt round.
    RoundRobin,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GroupDeleted {
    pub group_id: GroupId,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct MemberChanged {
    pub group_id: GroupId,
    pub member_id: MemberId,
    pub state: MemberState,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct MemberState {
    /// Its place in the order of members. A static member that comes back has its old one.
    pub join_number: u64,
    /// Of a static member (KIP-345): the same in every life of it.
    pub instance_id: Option<String>,
    /// The life of this static member before this one, whose late messages count for nothing.
    pub predecessor: Option<MemberId>,
    /// For people to read.
    pub client_id: String,
    pub client_host: String,
    pub subscription: Subscription,
    /// Greater with every change of the subscription.
    pub subscription_version: u32,
    /// A member that was not heard of for so long is gone, milliseconds.
    pub session_timeout_ms: u32,
    /// An application that has not polled for so long, or not given up for so long what it was told to, is taken for
    /// stuck, milliseconds.
    pub poll_timeout_ms: u32,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct MemberRemoved {
    pub group_id: GroupId,
    pub member_id: MemberId,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TargetChanged {
    pub group_id: GroupId,
    pub member_id: MemberId,
    pub target: Vec<TopicPartitions>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct MemberAssigned {
    pub group_id: GroupId,
    pub member_id: MemberId,
    pub member_epoch: MemberEpoch,
    pub held: Vec<HeldTopic>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct HeldTopic {
    pub topic_id: TopicId,
    pub partitions: Vec<HeldPartition>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldPartition {
    pub partition: PartitionIndex,
    pub hold: Hold,
}

/// How a member has a partition.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The epoch it was given under. A commit that names an earlier one was decided before, and is fenced.
    pub since: MemberEpoch,
    /// The epoch under which the member was told to give it up; it has it until it says that it has done so.
    pub revoked_at: Option<MemberEpoch>,
}

/// Partitions of one topic, ascending.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct TopicPartitions {
    pub topic_id: TopicId,
    pub partitions: Vec<PartitionIndex>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct OffsetsWritten {
    pub group_id: GroupId,
    pub offsets: Vec<WrittenOffset>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct WrittenOffset {
    pub topic_id: TopicId,
    pub partition: PartitionIndex,
    pub committed: CommittedOffset,
}

/// Where a group goes on in a partition.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// Of the first record that is not done.
    pub offset: Offset,
    /// Of the record before it; 0 when that is not known.
    pub leader_epoch: LeaderEpoch,
    /// The client's, at most `METADATA_LEN_MAX` bytes.
    pub metadata: String,
    /// Milliseconds of the append clock.
    pub commit_ms: i64,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct OffsetsRemoved {
    pub group_id: GroupId,
    pub partitions: Vec<TopicPartitions>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotEdge {
    /// How many groups the snapshot has.
    pub group_count: u64,
}

impl CommittedOffset {
    /// Whether `self` stands before `other` in the history of the partition. Leader epochs come first: after an unclean
    /// election a greater epoch may go on at a smaller offset.
    #[must_use]
    pub fn is_behind(&self, other: &Self) -> bool {
        let is_known = self.leader_epoch > LeaderEpoch(0) && other.leader_epoch > LeaderEpoch(0);
        let place = |committed: &Self| (if is_known { committed.leader_epoch } else { LeaderEpoch(0) }, committed.offset);
        place(self) < place(other)
    }
}

/// Ascending partitions, topic by topic.
pub(crate) fn by_topic<'a>(partitions: impl IntoIterator<Item = &'a TopicPartition>) -> Vec<TopicPartitions> {
    let mut topics: Vec<TopicPartitions> = Vec::new();
    for &TopicPartition { topic_id, partition } in partitions {
        match topics.last_mut().filter(|last| last.topic_id == topic_id) {
            Some(last) => last.partitions.push(partition),
            None => topics.push(TopicPartitions { topic_id, partitions: vec![partition] }),
        }
    }
    topics
}

/// The partitions of such a list.
pub(crate) fn partitions_of(topics: &[TopicPartitions]) -> impl Iterator<Item = TopicPartition> {
    topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|&partition| TopicPartition { topic_id: topic.topic_id, partition }))
}

/// What a member holds, topic by topic.
pub(crate) fn held_by_topic(held: &BTreeMap<TopicPartition, Hold>) -> Vec<HeldTopic> {
    let mut topics: Vec<HeldTopic> = Vec::new();
    for (&TopicPartition { topic_id, partition }, &hold) in held {
        let entry = HeldPartition { partition, hold };
        match topics.last_mut().filter(|last| last.topic_id == topic_id) {
            Some(last) => last.partitions.push(entry),
            None => topics.push(HeldTopic { topic_id, partitions: vec![entry] }),
        }
    }
    topics
}
