//! Another broker's follower says where its log ends and what of it is flushed; the partition's leader judges that.
//!
//! The expensive mistake is to count what a follower of another history has flushed: the rules are given what this log has
//! at that place, or nothing. Deliberately absent: sessions, and the frames to send (`replica_frames`).

use crate::partition::Partition;
use crate::partitions::{PartitionCell, Partitions};
use sluice_model::{BrokerId, Clock, Incarnation, Now, Offset, TopicPartition};
use sluice_replica::session::PartitionFetch;
use sluice_replica::{Effects, FetchOutcome, FollowerFetch, FollowerFlush, FollowerRefusal, LeaderLog, Link};
use sluice_storage::disk::Disk;
use std::fmt;

/// A broker, and the incarnation of it that speaks.
pub type From = (BrokerId, Incarnation);

/// Why what a follower says counts for nothing. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaRefusal {
    UnknownPartition(TopicPartition),
    /// Another broker leads it, or nobody does.
    NotLeader(TopicPartition),
    Rules(FollowerRefusal),
}

impl fmt::Display for ReplicaRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPartition(id) => write!(f, "partition {id} is not on this shard"),
            Self::NotLeader(id) => write!(f, "this broker does not lead partition {id} now"),
            Self::Rules(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for ReplicaRefusal {}

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// A fetch of `from` names this of `id`. For [`FetchOutcome::LookUp`], run [`Self::look_up_chain`] and come again.
    pub fn follower_fetch(
        &self,
        now: Now,
        from: From,
        id: TopicPartition,
        fetch: &PartitionFetch,
    ) -> Result<FetchOutcome, ReplicaRefusal> {
        let cell = self.get(id).ok_or(ReplicaRefusal::UnknownPartition(id))?;
        let mut partition = cell.borrow_mut();
        let partition = &mut *partition;
        self.shared.with_effects(|effects| {
            let judged = judge(partition, now, from, fetch, effects);
            self.finish_report(&cell, partition, now, effects, judged)
        })
    }

    /// `from` has flushed this of `id` while its fetch is parked.
    pub fn follower_flush(&self, now: Now, from: From, id: TopicPartition, fetch: &PartitionFetch) -> Result<(), ReplicaRefusal> {
        let cell = self.get(id).ok_or(ReplicaRefusal::UnknownPartition(id))?;
        let mut partition = cell.borrow_mut();
        let partition = &mut *partition;
        let (broker, incarnation) = from;
        let flush = FollowerFlush { broker, incarnation, leader_epoch: fetch.leader_epoch, flushed: fetch.flushed };
        self.shared.with_effects(|effects| {
            let leader = partition.leader_mut().ok_or(ReplicaRefusal::NotLeader(id))?;
            let judged = leader.on_follower_flush(now.mono_us, &flush, effects).map_err(ReplicaRefusal::Rules);
            self.finish_report(&cell, partition, now, effects, judged)
        })
    }

    fn finish_report<T>(
        &self,
        cell: &PartitionCell<D>,
        partition: &mut Partition<D>,
        now: Now,
        effects: &Effects,
        judged: Result<T, ReplicaRefusal>,
    ) -> Result<T, ReplicaRefusal> {
        if let (Err(ReplicaRefusal::Rules(FollowerRefusal::UnknownLeaderEpoch { got, .. })), Some(leader)) =
            (&judged, partition.leader_mut())
        {
            let unknown = leader.on_newer_leader_epoch(*got);
            self.complete_unknown(unknown);
        }
        self.run_effects(cell, partition, &[], now, effects);
        judged
    }
}

fn judge<D: Disk>(
    partition: &mut Partition<D>,
    now: Now,
    (broker, incarnation): From,
    fetch: &PartitionFetch,
    effects: &mut Effects,
) -> Result<FetchOutcome, ReplicaRefusal> {
    let PartitionFetch { leader_epoch, position, flushed, log_state } = *fetch;
    let asked = FollowerFetch { broker, incarnation, leader_epoch, position, flushed, log_state };
    let id = partition.id();
    let log_start = partition.log.log_start_offset();
    let mut ask = |partition: &mut Partition<D>, first_offset: Offset, link: Link| {
        let leader = partition.leader_mut().ok_or(ReplicaRefusal::NotLeader(id))?;
        let log = LeaderLog { first_offset, link };
        leader.on_follower_fetch(now.mono_us, &asked, log, effects).map_err(ReplicaRefusal::Rules)
    };
    let mut first_offset = log_start;
    let mut outcome = ask(partition, first_offset, Link::NotLookedUp)?;
    if let FetchOutcome::BelowLogStart { .. } = outcome {
        // The log begins inside a frame perhaps, which is kept and copied.
        let Some(first) = partition.frame_at(log_start) else { return Ok(FetchOutcome::LookUp { offset: log_start }) };
        first_offset = first.base_offset;
        let link = match position.offset == first.base_offset {
            true => Link::Frame { header_crc: first.prev_header_crc },
            false => Link::NotLookedUp,
        };
        outcome = ask(partition, first_offset, link)?;
    }
    let FetchOutcome::LookUp { offset } = outcome else { return Ok(outcome) };
    if offset < log_start {
        // Inside the frame that holds the log start.
        return ask(partition, first_offset, Link::NoBoundary);
    }
    let Some(found) = partition.frame_at(offset) else { return Ok(outcome) };
    let link = match found.base_offset == offset {
        true => Link::Frame { header_crc: found.prev_header_crc },
        false => Link::NoBoundary,
    };
    ask(partition, first_offset, link)
}
