//! Frames for another broker's follower: up to the log end, flushed here or not.
//!
//! The expensive mistake is to send what follows in this log to somebody whose log is another one up to there: frames go
//! only to a follower whose place was proved by its last fetch. Deliberately absent: waiting (`replica_watch`).

use crate::fetch::FetchedFrames;
use crate::follower_fetch::From;
use crate::partition::Partition;
use crate::partitions::Partitions;
use crate::refusal::FetchRefusal;
use bytes::Bytes;
use sluice_model::{Clock, FrameHeader, Offset, TopicPartition};
use sluice_replica::session::{PartitionFetch, Told};
use sluice_storage::disk::Disk;
use std::fmt;

/// What a follower is to be sent.
pub struct ReplicaFrames<D: Disk> {
    pub told: Told,
    pub log_end_offset: Offset,
    pub frames: FetchedFrames<D>,
}

/// Why nothing is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaFramesRefusal {
    UnknownPartition(TopicPartition),
    /// Another broker leads it, or nobody does.
    NotLeader(TopicPartition),
    /// The last fetch of this follower was not served, or at another place, or under another leader epoch.
    NotProved,
    Log(FetchRefusal),
}

impl fmt::Display for ReplicaFramesRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPartition(id) => write!(f, "partition {id} is not on this shard"),
            Self::NotLeader(id) => write!(f, "this broker does not lead partition {id} now"),
            Self::NotProved => write!(f, "the follower's log is not known to be this one's up to there"),
            Self::Log(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for ReplicaFramesRefusal {}

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// What follows the place that `from` has named last, at most `len_max` bytes. For frames on disk, run
    /// [`Self::catch_up`] for a [`crate::Reader::Follower`].
    pub fn replica_frames(
        &self,
        from: From,
        id: TopicPartition,
        fetch: &PartitionFetch,
        len_max: usize,
    ) -> Result<ReplicaFrames<D>, ReplicaFramesRefusal> {
        let cell = self.get(id).ok_or(ReplicaFramesRefusal::UnknownPartition(id))?;
        let mut partition = cell.borrow_mut();
        let leader = partition.leader().ok_or(ReplicaFramesRefusal::NotLeader(id))?;
        if fetch.leader_epoch != leader.leader_epoch() || leader.follower_position(from.0) != Some(fetch.position) {
            return Err(ReplicaFramesRefusal::NotProved);
        }
        let told = Told { high_watermark: leader.high_watermark(), log_start_offset: partition.log.log_start_offset() };
        let log_end_offset = partition.log.log_end_offset();
        let frames = partition.frames_to_copy(fetch.position.offset, len_max).map_err(ReplicaFramesRefusal::Log)?;
        if let FetchedFrames::Memory(slices) = &frames {
            partition.note_sent(from, slices);
        }
        Ok(ReplicaFrames { told, log_end_offset, frames })
    }
}

impl<D: Disk> Partition<D> {
    /// Frames from `offset` on, where one begins, up to the log end. What is not served is not stepped over either.
    pub(crate) fn frames_to_copy(&self, offset: Offset, len_max: usize) -> Result<FetchedFrames<D>, FetchRefusal> {
        // The log may begin inside the frame that is copied first.
        let from = offset.max(self.log.log_start_offset());
        let until = self.log.first_offset(from);
        if until > from {
            return Err(FetchRefusal::Damaged { from, until });
        }
        self.frames(from, len_max, self.log.log_end_offset())
    }

    /// The follower's next fetch goes on behind these, and need not be looked up.
    pub(crate) fn note_sent(&mut self, (broker, incarnation): From, slices: &[Bytes]) {
        if let (Some(last), Some(leader)) = (last_header(slices), self.leader_mut()) {
            leader.on_sent(broker, incarnation, &last);
        }
    }
}

/// Of whole frames, back to back.
fn last_header(slices: &[Bytes]) -> Option<FrameHeader> {
    let mut last = None;
    let mut rest: &[u8] = slices.last()?;
    while let Ok(header) = FrameHeader::parse(rest) {
        last = Some(*header);
        rest = rest.get(header.frame_len()..)?;
    }
    last
}
