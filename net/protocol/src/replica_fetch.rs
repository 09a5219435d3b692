//! ReplicaFetch: a shard that follows asks a shard that leads for what comes behind its log ends, of all partitions
//! between the two at once.
//!
//! It is one request of a numbered session (`sluice_replica::session`): number 0 names every partition, the others only
//! those of which something changed, and those that are no longer fetched. The answer waits until one of the session's
//! partitions has something to say, and names only those. Frames are the leader's own bytes, below its log end, not its
//! high watermark. What a partition's entry answers is named in it (leader epoch and fetch offset), so that a follower
//! never takes the answer to an earlier fetch for this one's.

use crate::api::Api;
use crate::describe_partitions::PartitionRef;
use crate::frames::{FrameRanges, split_frames};
use crate::message::{Malformed, Message, Request, at_most};
use crate::text::{PARTITION_TEXT_LEN_MAX, TEXT_LEN_MAX};
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::{REPLICA_ENTRY_LEN_MAX, REPLICAS_PER_FETCH_MAX};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaFetchRequest {
    /// Grows from one session to the next of the same follower shard and incarnation.
    pub session: u64,
    /// Of the request in its session; 0 opens one.
    pub number: u64,
    /// Wait at most this long for something to say, milliseconds; the broker takes `FETCH_WAIT_MS_MAX` for more.
    pub wait_ms_max: u32,
    /// Largest answer, its body included, bytes. One frame is sent even when it alone is longer.
    pub len_max: u32,
    pub named: Vec<ReplicaPosition>,
    pub forgotten: Vec<PartitionRef>,
}

/// What a follower says of one partition.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaPosition {
    pub topic_id: [u8; 16],
    pub partition: u32,
    /// That it follows.
    pub leader_epoch: u32,
    /// Its log end.
    pub offset: u64,
    /// Leader epoch of the frame that ends there; `None` when there is none.
    pub last_epoch: Option<u32>,
    /// `header_crc` of that frame, 0 when there is none.
    pub last_header_crc: u32,
    /// Everything below this is on its disk, device cache included.
    pub flushed: u64,
    /// [`ReplicaLogState`].
    pub log_state: u8,
}

/// What is known of the bytes of a follower's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ReplicaLogState {
    Whole = 0,
    /// Records may be missing at its end that were flushed.
    PossiblyShort = 1,
    /// Some range is not served.
    Damaged = 2,
}

impl ReplicaLogState {
    #[must_use]
    pub fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Whole),
            1 => Some(Self::PossiblyShort),
            2 => Some(Self::Damaged),
            _ => None,
        }
    }
}

/// Followed by the frames of each entry, in order.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaFetchAnswer {
    /// Of the session; a partition's errors stand in its entry.
    pub error: u16,
    pub text: String,
    /// Of the request that this answers.
    pub session: u64,
    pub number: u64,
    pub partitions: Vec<ReplicaFetched>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ReplicaFetched {
    pub topic_id: [u8; 16],
    pub partition: u32,
    /// As the fetch that is answered named them.
    pub leader_epoch: u32,
    pub fetch_offset: u64,
    pub outcome: ReplicaOutcome,
}

/// What a follower gets of one partition.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum ReplicaOutcome {
    /// Frames from the fetch offset on, perhaps none, and what has changed beside them.
    Frames { frames_len: u32, high_watermark: u64, log_start_offset: u64 },
    /// The histories part. `epoch` is the greatest of the leader's epochs that is not above that of the follower's last
    /// frame, `None` when all are; `end_offset` is where it ended.
    Diverging { epoch: Option<u32>, end_offset: u64 },
    /// What it asks for is deleted on the leader, whose log begins here.
    BelowLogStart { first_offset: u64 },
    /// The fetch of this partition counts for nothing; `error` is a code.
    Refused { error: u16, text: String },
}

impl ReplicaFetchAnswer {
    /// Where each partition's frames lie in the `frames_len` bytes after the body.
    pub fn frame_ranges(&self, frames_len: usize) -> Result<FrameRanges, Malformed> {
        split_frames(self.partitions.iter().map(|fetched| fetched.outcome.frames_len()), frames_len)
    }
}

impl ReplicaOutcome {
    /// Bytes of frames after the body.
    #[must_use]
    pub fn frames_len(&self) -> u32 {
        match self {
            Self::Frames { frames_len, .. } => *frames_len,
            _ => 0,
        }
    }
}

const _: () = assert!(size_of::<ArchivedReplicaPosition>() <= REPLICA_ENTRY_LEN_MAX);
const _: () = assert!(size_of::<ArchivedReplicaFetched>() <= REPLICA_ENTRY_LEN_MAX);

impl Message for ReplicaFetchRequest {
    const API: Api = Api::ReplicaFetch;
    const NAME: &'static str = "ReplicaFetch request";

    fn check(archived: &ArchivedReplicaFetchRequest) -> Result<(), Malformed> {
        let count = archived.named.len() + archived.forgotten.len();
        at_most("partitions named and forgotten", count, REPLICAS_PER_FETCH_MAX)?;
        match archived.named.iter().find(|position| ReplicaLogState::from_u8(position.log_state).is_none()) {
            Some(position) => Err(Malformed::Value {
                what: "log state (0 whole, 1 possibly short, 2 damaged)",
                got: u64::from(position.log_state),
            }),
            None => Ok(()),
        }
    }
}

impl Request for ReplicaFetchRequest {
    type Answer = ReplicaFetchAnswer;
}

impl Message for ReplicaFetchAnswer {
    const API: Api = Api::ReplicaFetch;
    const NAME: &'static str = "ReplicaFetch answer";

    fn check(archived: &ArchivedReplicaFetchAnswer) -> Result<(), Malformed> {
        at_most("bytes of text", archived.text.len(), TEXT_LEN_MAX)?;
        at_most("partitions", archived.partitions.len(), REPLICAS_PER_FETCH_MAX)?;
        archived.partitions.iter().try_for_each(|fetched| match &fetched.outcome {
            ArchivedReplicaOutcome::Refused { text, .. } => {
                at_most("bytes of text of a partition", text.len(), PARTITION_TEXT_LEN_MAX)
            }
            _ => Ok(()),
        })
    }
}
