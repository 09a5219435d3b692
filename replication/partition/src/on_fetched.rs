//! Frames come from a leader: verified, judged, and appended as they are, as far as there is room.
//!
//! Bytes from outside: every frame proves itself by both of its checksums before anything is asked of the rules, which
//! look at partition, offset, epoch and chain. What stands before a bad frame is kept. The expensive mistake is an append
//! that the journal has no room for: a follower takes what fits and fetches the rest later, it never waits here and never
//! fails. Deliberately absent: sockets, sessions, and when to fetch again.

use crate::partition::Partition;
use crate::partitions::{PartitionCell, Partitions};
use crate::run_follower_effects::Before;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{Clock, FrameError, FrameHeader, LeaderEpoch, Now, Offset, TopicPartition};
use sluice_replica::{FetchedFrames, FetchedRefusal, LogState};
use sluice_storage::commit_group::OFFSET_MAX;
use sluice_storage::disk::Disk;
use std::fmt;

/// What a leader has answered for one partition.
#[derive(Clone, Copy, Debug)]
pub struct FetchedReplica<'a> {
    /// The leader epoch and the offset that the fetch named.
    pub leader_epoch: LeaderEpoch,
    pub fetch_offset: Offset,
    /// Whole frames, back to back.
    pub frames: &'a [u8],
    pub high_watermark: Offset,
    pub log_start_offset: Offset,
}

/// How much of it was appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    pub frame_count: usize,
    pub len: usize,
    /// All that came; otherwise there was no room for the rest, which is to be fetched again when there is.
    pub had_room: bool,
}

/// Why an answer, or the rest of it from a frame on, is not taken. What came before that frame is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyRefusal {
    UnknownPartition(TopicPartition),
    /// This shard leads it.
    NotFollower(TopicPartition),
    ShuttingDown,
    Frame(FrameError),
    /// No log reaches this offset.
    OffsetTooLarge {
        got: Offset,
    },
    Rules(FetchedRefusal),
}

impl fmt::Display for CopyRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPartition(id) => write!(f, "partition {id} is not on this shard"),
            Self::NotFollower(id) => write!(f, "this broker leads partition {id}"),
            Self::ShuttingDown => write!(f, "the broker is shutting down"),
            Self::Frame(error) => write!(f, "the leader sent bytes that are no good frame: {error}"),
            Self::OffsetTooLarge { got } => write!(f, "the leader sent offset {got}, which no log reaches"),
            Self::Rules(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for CopyRefusal {}

/// The good frames at the front of an answer.
struct Verified<'a> {
    headers: Vec<FrameHeader>,
    bodies: Vec<&'a [u8]>,
    len: usize,
    had_room: bool,
    /// What is wrong with the rest.
    refusal: Option<CopyRefusal>,
}

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// Appends what follows the log end, as far as there is room. Nothing has changed when the answer is not to the fetch
    /// that is under way.
    pub fn on_fetched(&self, now: Now, id: TopicPartition, answer: FetchedReplica<'_>) -> Result<Copied, CopyRefusal> {
        let cell = self.get(id).ok_or(CopyRefusal::UnknownPartition(id))?;
        if self.shared.closing.get() {
            return Err(CopyRefusal::ShuttingDown);
        }
        let verified = self.verify(answer.frames);
        let mut partition = cell.borrow_mut();
        let partition = &mut *partition;
        let judged = self.shared.replication.with_effects(|effects| {
            let follower = partition.follower_mut().ok_or(CopyRefusal::NotFollower(id))?;
            let fetched = FetchedFrames {
                leader_epoch: answer.leader_epoch,
                fetch_offset: answer.fetch_offset,
                headers: &verified.headers,
                high_watermark: answer.high_watermark,
                log_start_offset: answer.log_start_offset,
            };
            let (before, high_watermark) = (follower.log_state(), follower.high_watermark());
            let judged = follower.on_fetched(fetched, effects).map_err(CopyRefusal::Rules);
            let is_whole_again = before == LogState::PossiblyShort && follower.log_state() == LogState::Whole;
            if is_whole_again {
                partition.log.end_doubt();
                partition.changed = true;
                self.shared.spare_wanted.set(true);
            }
            self.run_follower_effects(&cell, partition, Before { now, bodies: &verified.bodies, high_watermark }, effects);
            judged
        });
        self.settle_log_start(&cell, partition);
        judged?;
        match verified.refusal {
            Some(refusal) => Err(refusal),
            None => Ok(Copied { frame_count: verified.headers.len(), len: verified.len, had_room: verified.had_room }),
        }
    }

    /// Whole good frames, as many as there is room for.
    fn verify<'a>(&self, frames: &'a [u8]) -> Verified<'a> {
        let mut verified = Verified { headers: Vec::new(), bodies: Vec::new(), len: 0, had_room: true, refusal: None };
        let mut rest = frames;
        while !rest.is_empty() {
            let (header, body) = match FrameHeader::parse_frame(rest) {
                Ok(frame) => frame,
                Err(error) => {
                    verified.refusal = Some(CopyRefusal::Frame(error));
                    break;
                }
            };
            if header.base_offset().0 > OFFSET_MAX {
                verified.refusal = Some(CopyRefusal::OffsetTooLarge { got: header.base_offset() });
                break;
            }
            let len = verified.len + header.frame_len();
            if !self.has_room_for_copy(len as u64, verified.headers.is_empty()) {
                verified.had_room = false;
                break;
            }
            verified.headers.push(*header);
            verified.bodies.push(body);
            verified.len = len;
            rest = rest.get(header.frame_len()..).unwrap_or_default();
        }
        verified
    }

    /// The log begins where the replica's rules have it, once the journal has room for saying so.
    pub(crate) fn settle_log_start(&self, cell: &PartitionCell<D>, partition: &mut Partition<D>) {
        let Some(follower) = partition.follower_mut() else { return };
        let wanted = follower.log_start_offset();
        if partition.log_work.is_none()
            && wanted > partition.log.log_start_offset()
            && self.admit_control(BLOCK_LEN as u64).is_ok()
        {
            self.move_log_start(cell, partition, wanted, None);
        }
    }
}
