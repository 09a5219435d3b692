//! Which frame of a leader's log holds an offset, and what it follows: the chain there, by which a follower is judged.
//!
//! Memory knows it of the tail and of the ends of segments; of the rest a plan reads the one frame. The expensive mistake is
//! to remember what another log had there: it is forgotten whenever the log is cut off or the leader epoch changes.
//! Deliberately absent: judging.

use crate::pace::PaceClass;
use crate::partition::Partition;
use crate::partitions::Partitions;
use crate::refusal::FetchRefusal;
use sluice_model::limits::FRAME_BODY_LEN_MAX;
use sluice_model::{Clock, FRAME_HEADER_LEN, FrameHeader, LeaderEpoch, Offset, TopicPartition};
use sluice_storage::disk::Disk;
use sluice_storage::read_plan::{DiskRead, DiskReadError, ReadPlan, ReadRefusal};
use std::fmt;

/// Frames that are remembered for the followers of one partition.
const LOOKED_UP_MAX: usize = 4;
/// Plans whose segment was removed before they were done, before it is left at that.
const REPLANS_MAX: usize = 4;

/// A frame that holds an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LookedUp {
    /// What was asked for.
    pub(crate) offset: Offset,
    /// Where the frame begins, and what it follows.
    pub(crate) base_offset: Offset,
    pub(crate) prev_header_crc: u32,
}

/// Why nobody can say now what stands at an offset.
#[derive(Debug)]
pub enum LookUpError {
    /// Another replica leads it, or it is led under another epoch by now.
    NotLeader(TopicPartition),
    Refused(FetchRefusal),
    Failed(DiskReadError),
}

impl fmt::Display for LookUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeader(id) => write!(f, "partition {id} is not led here under that epoch"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LookUpError {}

impl<D: Disk> Partition<D> {
    /// As far as memory knows.
    pub(crate) fn frame_at(&self, offset: Offset) -> Option<LookedUp> {
        let in_log = self.log.frame_at(offset);
        let in_log = in_log.map(|(base_offset, prev_header_crc)| LookedUp { offset, base_offset, prev_header_crc });
        in_log.or_else(|| self.looked_up.iter().find(|found| found.offset == offset).copied())
    }
}

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// Reads what stands at `offset`, for the next [`Self::follower_fetch`] to know. Waits its turn at the device.
    pub async fn look_up_chain(&self, id: TopicPartition, offset: Offset) -> Result<(), LookUpError> {
        let turns = self.read_turns(PaceClass::CatchUpRead);
        let mut replans_left = REPLANS_MAX;
        loop {
            let Some((leader_epoch, plan)) = self.plan_look_up(id, offset)? else { return Ok(()) };
            let read = plan.with_first_of(FRAME_HEADER_LEN + FRAME_BODY_LEN_MAX).run_in_turns(&turns).await;
            let frames = match read {
                Ok(frames) => frames,
                Err(DiskReadError::Removed) if replans_left > 0 => {
                    replans_left -= 1;
                    continue;
                }
                Err(error) => {
                    if let DiskReadError::Damaged(damage) = &error {
                        self.quarantine(id, damage.range);
                    }
                    return Err(LookUpError::Failed(error));
                }
            };
            let first = frames.slices.first().map(|slice| FrameHeader::parse(slice));
            let Some(Ok(header)) = first else { return Err(LookUpError::Failed(DiskReadError::Removed)) };
            let (base_offset, prev_header_crc) = (header.base_offset(), header.prev_header_crc.to_native());
            self.remember(id, leader_epoch, LookedUp { offset, base_offset, prev_header_crc });
            return Ok(());
        }
    }

    /// `None` when memory knows it.
    fn plan_look_up(&self, id: TopicPartition, offset: Offset) -> Result<Option<(LeaderEpoch, DiskRead<D>)>, LookUpError> {
        let cell = self.get(id).ok_or(LookUpError::Refused(FetchRefusal::UnknownPartition(id)))?;
        let partition = cell.borrow();
        let leader = partition.leader().ok_or(LookUpError::NotLeader(id))?;
        if partition.frame_at(offset).is_some() {
            return Ok(None);
        }
        let (log, high_watermark) = (&partition.log, leader.high_watermark());
        let log_start_offset = log.log_start_offset();
        match log.read(offset, 1, log.log_end_offset()) {
            Ok(ReadPlan::Disk(_)) if log.first_offset(offset) > offset => {
                let (from, until) = (offset, log.first_offset(offset));
                Err(LookUpError::Refused(FetchRefusal::Damaged { from, until }))
            }
            Ok(ReadPlan::Disk(read)) => Ok(Some((leader.leader_epoch(), read))),
            Err(ReadRefusal::Damaged { from, until }) => Err(LookUpError::Refused(FetchRefusal::Damaged { from, until })),
            Ok(ReadPlan::Memory(_) | ReadPlan::Empty) | Err(ReadRefusal::OutOfRange { .. } | ReadRefusal::TooSmall { .. }) => {
                Err(LookUpError::Refused(FetchRefusal::OutOfRange { got: offset, log_start_offset, high_watermark }))
            }
        }
    }

    fn remember(&self, id: TopicPartition, leader_epoch: LeaderEpoch, found: LookedUp) {
        let Some(cell) = self.get(id) else { return };
        let mut partition = cell.borrow_mut();
        if partition.replica.leader_epoch() != leader_epoch || partition.leader().is_none() {
            return;
        }
        if partition.looked_up.len() == LOOKED_UP_MAX {
            partition.looked_up.remove(0);
        }
        partition.looked_up.push(found);
    }
}
