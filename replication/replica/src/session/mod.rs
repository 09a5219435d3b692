//! Fetch sessions between a shard that follows and a shard that leads (KIP-227): one carries all their partitions and
//! names only what changed.
//!
//! Both ends remember what was named. The expensive mistake is a change that one end has and the other has not, because a
//! request was lost: every request of a session has the number after the one before, and one that does not is answered
//! by "full again", whatever it says. A session is opened by a full request, which names everything, under an id that is
//! greater than any that this follower shard has used in this incarnation; one that comes late opens nothing.
//!
//! What flushes while a fetch is parked is said by a further request of the session, with the next number, that names
//! flushed offsets only and does not end the parked one. Deliberately absent: what the offsets mean (`leader`), sockets,
//! and how long a fetch may be parked.

pub mod follower;
pub mod leader;

use crate::log_position::{LogPosition, LogState};
use sluice_model::{BrokerId, Incarnation, LeaderEpoch, Offset, ShardIndex, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

/// Whose session it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FollowerShard {
    pub broker: BrokerId,
    pub shard: ShardIndex,
}

/// A session and a request in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestNumber {
    /// Of the session; grows from one to the next of the same follower shard and incarnation.
    pub session: u64,
    /// Of the request in it: 0 is the full one that opens it.
    pub number: u64,
}

/// What a follower says of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionFetch {
    pub leader_epoch: LeaderEpoch,
    pub position: LogPosition,
    pub flushed: Offset,
    pub log_state: LogState,
}

/// A fetch of all partitions of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest {
    pub at: RequestNumber,
    /// All partitions when the number is 0, else those of which something changed.
    pub named: BTreeMap<TopicPartition, PartitionFetch>,
    /// No longer fetched in this session.
    pub forgotten: BTreeSet<TopicPartition>,
}

/// What was flushed while a fetch is parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlushRequest {
    pub at: RequestNumber,
    pub flushed: BTreeMap<TopicPartition, Offset>,
}

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionRefusal {
    /// The session is not known, or a request of it was lost, repeated or overtaken: it is closed, and the follower opens
    /// another with a full request.
    FullAgain,
    /// An earlier incarnation of the broker, or an earlier session of this one, which is not its present one: nothing has
    /// changed.
    Stale,
}

/// What a leader tells of one partition beside its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub high_watermark: Offset,
    pub log_start_offset: Offset,
}

/// In which incarnation a request was sent.
pub type SentBy = (FollowerShard, Incarnation);
