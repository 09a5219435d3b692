//! Frames come from the leader: they are appended as they are, each at the log end and chained to the one before.
//!
//! The producer state follows frame by frame, by the leader's own rule. The expensive mistake is an answer to an earlier
//! fetch, or of an earlier leader, taken for this one's.

use super::{Follower, FollowerEffect, FollowerEffects, Phase};
use crate::log_position::LogState;
use sluice_model::{FrameHeader, LeaderEpoch, Offset, TopicPartition};
use std::fmt;

/// What the leader answers to a fetch, for one partition.
#[derive(Clone, Copy, Debug)]
pub struct FetchedFrames<'a> {
    /// The leader epoch that the fetch named.
    pub leader_epoch: LeaderEpoch,
    /// The offset that it named.
    pub fetch_offset: Offset,
    /// Headers of whole frames, in order, whose checksums have been verified over header and body.
    pub headers: &'a [FrameHeader],
    pub high_watermark: Offset,
    pub log_start_offset: Offset,
}

/// Why an answer, or the rest of it from a frame on, is not taken. What was appended before that frame stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchedRefusal {
    /// Nothing is fetched now, or from another place, or from the leader of another epoch.
    Stale,
    WrongPartition {
        got: TopicPartition,
    },
    /// Not at the log end.
    Gap {
        got: Offset,
        expected: Offset,
    },
    /// Below the epoch of the frame before it, or above the leader's.
    Epoch {
        got: LeaderEpoch,
        last: Option<LeaderEpoch>,
        leader: LeaderEpoch,
    },
    /// It does not follow the last frame.
    Unchained {
        offset: Offset,
        got: u32,
        expected: u32,
    },
    /// The leader's log begins beyond what it has committed.
    LogStart {
        log_start_offset: Offset,
        high_watermark: Offset,
    },
}

impl fmt::Display for FetchedRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale => write!(f, "the answer is not to the fetch that is under way"),
            Self::WrongPartition { got } => write!(f, "the leader sent a frame of partition {got}"),
            Self::Gap { got, expected } => write!(f, "the leader sent a frame at offset {got}, not at {expected}"),
            Self::Epoch { got, last, leader } => {
                write!(f, "the leader of epoch {leader} sent a frame of epoch {got} after one of {last:?}")
            }
            Self::Unchained { offset, got, expected } => {
                write!(
                    f,
                    "the frame at offset {offset} follows one with checksum {got:08x}, the last one here has {expected:08x}"
                )
            }
            Self::LogStart { log_start_offset, high_watermark } => {
                write!(f, "the leader's log begins at {log_start_offset}, beyond its high watermark {high_watermark}")
            }
        }
    }
}

impl Follower {
    /// Appends what follows the log end. After a refusal, what came before the frame that is refused is appended.
    pub fn on_fetched(&mut self, answer: FetchedFrames<'_>, effects: &mut FollowerEffects) -> Result<(), FetchedRefusal> {
        let is_current = self.phase == Phase::Fetching
            && self.leader.is_some()
            && answer.leader_epoch == self.leader_epoch
            && answer.fetch_offset == self.log_end_offset;
        if !is_current {
            return Err(FetchedRefusal::Stale);
        }
        if answer.log_start_offset > answer.high_watermark {
            let FetchedFrames { log_start_offset, high_watermark, .. } = answer;
            return Err(FetchedRefusal::LogStart { log_start_offset, high_watermark });
        }
        // The leader serves only a history that is its own.
        self.damage_is_declared = false;
        let appended = answer.headers.iter().try_for_each(|header| self.append(header, effects));
        self.advance_high_watermark(answer.high_watermark, effects);
        self.advance_log_start(answer.log_start_offset, effects);
        if self.log_state == LogState::PossiblyShort && self.flushed >= answer.high_watermark {
            // Whatever was lost at its end, it has again from the leader what was committed.
            self.log_state = LogState::Whole;
        }
        self.assert_invariants();
        appended
    }

    fn append(&mut self, header: &FrameHeader, effects: &mut FollowerEffects) -> Result<(), FetchedRefusal> {
        if header.topic_partition() != self.id {
            return Err(FetchedRefusal::WrongPartition { got: header.topic_partition() });
        }
        if header.base_offset() != self.log_end_offset {
            return Err(FetchedRefusal::Gap { got: header.base_offset(), expected: self.log_end_offset });
        }
        let (got, last) = (header.leader_epoch(), self.epochs.latest());
        if last.is_some_and(|last| got < last) || got > self.leader_epoch {
            return Err(FetchedRefusal::Epoch { got, last, leader: self.leader_epoch });
        }
        let (got, expected) = (header.prev_header_crc.to_native(), self.last_header_crc);
        if got != expected {
            return Err(FetchedRefusal::Unchained { offset: self.log_end_offset, got, expected });
        }
        self.epochs.on_append(header.leader_epoch(), self.log_end_offset);
        self.producers.on_append(header);
        self.log_end_offset = header.next_offset();
        self.last_header_crc = header.header_crc.to_native();
        effects.push(FollowerEffect::Append { header: *header });
        Ok(())
    }

    /// The leader's log start decides, as far as this log reaches.
    fn advance_log_start(&mut self, leaders: Offset, effects: &mut FollowerEffects) {
        let log_start_offset = leaders.min(self.high_watermark);
        if log_start_offset > self.log_start_offset {
            self.log_start_offset = log_start_offset;
            self.epochs.advance_log_start(log_start_offset);
            effects.push(FollowerEffect::LogStartMoved { log_start_offset });
        }
    }
}

#[cfg(test)]
#[path = "on_fetched_test.rs"]
mod tests;
