//! One answer put together from several reads of a log's segments, piece by piece and each in its turn at the device;
//! and searches by time, which read as they do.
//!
//! Between two pieces anything may happen to the log. The expensive mistake is an answer whose first frames a truncation
//! has removed meanwhile and whose later ones came after it: a truncation always comes with a new leader epoch, so what
//! was read under another one is dropped, and the answer begun again. Deliberately absent: waiting for frames, and
//! budgets.

use crate::fetch::FetchedFrames;
use crate::follower_fetch::From;
use crate::pace::{PaceClass, ReadPace};
use crate::partitions::Partitions;
use crate::refusal::FetchRefusal;
use bytes::Bytes;
use sluice_model::{Clock, LeaderEpoch, Offset, TopicPartition};
use sluice_storage::disk::Disk;
use sluice_storage::read_plan::{DiskReadError, ReadFrames};
use sluice_storage::read_turns::Turns;
use sluice_storage::timestamp_lookup::{FoundTimestamp, TimestampLookup};
use std::rc::Rc;

/// Plans for one answer whose segment was removed or truncated before they were done, before it is left at that.
const REPLANS_MAX: usize = 4;

/// What an answer is to be made of.
#[derive(Clone, Copy, Debug)]
pub struct CatchUpRead {
    pub id: TopicPartition,
    pub offset: Offset,
    /// Bytes of frames in all, at most.
    pub len_max: usize,
    /// Bytes of frames read at a time, unless one frame is longer.
    pub piece_len: usize,
    pub reader: Reader,
}

/// For whom it is read.
#[derive(Clone, Copy, Debug)]
pub enum Reader {
    /// Up to the high watermark.
    Consumer,
    /// Up to the log end, as long as the partition is led under this epoch.
    Follower { from: From, leader_epoch: LeaderEpoch },
}

/// What came of it.
#[derive(Debug)]
pub enum CaughtUp {
    /// Whole frames, back to back; none when there is nothing for that reader. And how many bytes of frames the
    /// disk gave for them.
    Frames {
        slices: Vec<Bytes>,
        disk_len: usize,
    },
    Refused(FetchRefusal),
    Failed(DiskReadError),
}

/// Frames read so far, all under one leader epoch.
struct Answer {
    slices: Vec<Bytes>,
    next_offset: Offset,
    left: usize,
    disk_len: usize,
    leader_epoch: Option<LeaderEpoch>,
}

impl Answer {
    fn begin(read: &CatchUpRead) -> Self {
        Self { slices: Vec::new(), next_offset: read.offset, left: read.len_max, disk_len: 0, leader_epoch: None }
    }

    /// Whether that is all there will be: a rest that is too short for another frame like the last, or for a read of its own,
    /// is left for the next answer.
    fn take(&mut self, frames: ReadFrames, piece_len: usize) -> bool {
        let len: usize = frames.slices.iter().map(Bytes::len).sum();
        self.left = self.left.saturating_sub(len);
        self.disk_len += len;
        self.next_offset = frames.next_offset;
        self.slices.extend(frames.slices);
        len == 0 || self.left < frames.last_frame_len.max(piece_len / 4)
    }
}

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// Runs a search by time. However much it has to walk, each window of it waits its turn at the device.
    pub async fn look_up(&self, lookup: TimestampLookup<D>) -> Result<Option<FoundTimestamp>, DiskReadError> {
        lookup.run_in_turns(&self.read_turns(PaceClass::CatchUpRead)).await
    }

    /// Turns of reads that may be long, whoever wants them.
    pub(crate) fn read_turns(&self, class: PaceClass) -> Turns {
        Turns::of(Rc::new(ReadPace::new(self.shared.pacer.clone(), class)))
    }

    /// Reads until there are `len_max` bytes or the rest is in memory. Damage behind the first good frames ends the answer
    /// before it; all of it that is met is quarantined.
    pub async fn catch_up(&self, read: CatchUpRead) -> CaughtUp {
        let CatchUpRead { id, .. } = read;
        let (mut answer, mut replans_left) = (Answer::begin(&read), REPLANS_MAX);
        let turns = self.read_turns(PaceClass::CatchUpRead);
        loop {
            let leader_epoch = self.leader_epoch(id);
            if let Reader::Follower { leader_epoch: asked, .. } = read.reader
                && leader_epoch != Some(asked)
            {
                return CaughtUp::Refused(FetchRefusal::NotLeader(id));
            }
            if answer.leader_epoch.is_some() && leader_epoch != answer.leader_epoch {
                if replans_left == 0 {
                    return CaughtUp::Failed(DiskReadError::Removed);
                }
                replans_left -= 1;
                answer = Answer::begin(&read);
                continue;
            }
            answer.leader_epoch = leader_epoch;
            let planned = match self.plan_piece(&read, answer.next_offset, answer.left.min(read.piece_len)) {
                Err(FetchRefusal::TooSmall { needed }) if needed <= answer.left => {
                    self.plan_piece(&read, answer.next_offset, needed)
                }
                planned => planned,
            };
            let is_first = answer.slices.is_empty();
            // An answer steps over one accepted range at most, at its beginning, where it can say so.
            if !is_first && planned.as_ref().is_ok_and(|(first_offset, _)| *first_offset > answer.next_offset) {
                break;
            }
            let plan = match planned.map(|(_, frames)| frames) {
                Ok(FetchedFrames::Disk(plan)) => plan,
                Ok(FetchedFrames::Memory(last)) => {
                    answer.slices.extend(last);
                    break;
                }
                Err(refusal) if is_first => return CaughtUp::Refused(refusal),
                Ok(FetchedFrames::Empty) | Err(_) => break,
            };
            let result = plan.with_first_of(answer.left).run_in_turns(&turns).await;
            match result {
                Ok(frames) => {
                    if answer.take(frames, read.piece_len) {
                        break;
                    }
                }
                Err(DiskReadError::Removed) if replans_left > 0 => replans_left -= 1,
                // What was read before may be gone as well.
                Err(DiskReadError::Removed) => return CaughtUp::Failed(DiskReadError::Removed),
                Err(DiskReadError::TooSmall { needed }) if is_first => {
                    return CaughtUp::Refused(FetchRefusal::TooSmall { needed });
                }
                Err(error) => {
                    if let DiskReadError::Damaged(damage) = &error {
                        self.quarantine(id, damage.range);
                    }
                    if is_first {
                        return CaughtUp::Failed(error);
                    }
                    break;
                }
            }
        }
        if let (Reader::Follower { from, .. }, Some(cell)) = (read.reader, self.get(id)) {
            cell.borrow_mut().note_sent(from, &answer.slices);
        }
        CaughtUp::Frames { slices: answer.slices, disk_len: answer.disk_len }
    }

    /// The next piece of an answer, and where it begins.
    fn plan_piece(&self, read: &CatchUpRead, offset: Offset, len_max: usize) -> Result<(Offset, FetchedFrames<D>), FetchRefusal> {
        match read.reader {
            Reader::Consumer => {
                let fetched = self.fetch(read.id, offset, len_max)?;
                Ok((fetched.first_offset, fetched.frames))
            }
            Reader::Follower { .. } => {
                let cell = self.get(read.id).ok_or(FetchRefusal::UnknownPartition(read.id))?;
                let partition = cell.borrow();
                partition.leader().ok_or(FetchRefusal::NotLeader(read.id))?;
                Ok((offset, partition.frames_to_copy(offset, len_max)?))
            }
        }
    }
}
