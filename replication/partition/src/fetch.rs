//! Frames out: from memory at once, from a segment by a plan, or a watch for when there are some.

use crate::partition::Partition;
use crate::partitions::Partitions;
use crate::refusal::FetchRefusal;
use bytes::Bytes;
use sluice_model::{Clock, LeaderEpoch, Offset, TopicPartition};
use sluice_storage::damage::DamagedRange;
use sluice_storage::disk::Disk;
use sluice_storage::read_plan::{DiskRead, ReadPlan, ReadRefusal};
use sluice_storage::timestamp_lookup::TimestampLookup;

/// What one partition has from an offset on.
pub struct Fetched<D: Disk> {
    pub high_watermark: Offset,
    pub log_start_offset: Offset,
    pub log_end_offset: Offset,
    /// Where the frames begin: at the offset asked for, or behind a range around it whose loss is accepted.
    pub first_offset: Offset,
    pub frames: FetchedFrames<D>,
}

/// Whole frames below the high watermark, never more bytes than asked for. The first may begin below the offset
/// asked for, when that lies inside a batch.
pub enum FetchedFrames<D: Disk> {
    /// Nothing is there yet: [`Partitions::watch`] says when.
    Empty,
    Memory(Vec<Bytes>),
    /// To be run where disk reads are paced.
    Disk(DiskRead<D>),
}

impl<D: Disk> Partition<D> {
    /// Frames from the one that holds `offset` on, wholly below `upper`.
    pub(crate) fn frames(&self, offset: Offset, len_max: usize, upper: Offset) -> Result<FetchedFrames<D>, FetchRefusal> {
        if offset >= upper {
            return Ok(FetchedFrames::Empty);
        }
        match self.log.read(offset, len_max, upper) {
            Ok(ReadPlan::Memory(read)) => Ok(FetchedFrames::Memory(read.slices)),
            Ok(ReadPlan::Disk(read)) => Ok(FetchedFrames::Disk(read)),
            Ok(ReadPlan::Empty) => Ok(FetchedFrames::Empty),
            Err(ReadRefusal::OutOfRange { .. }) => {
                let (log_start_offset, high_watermark) = (self.log.log_start_offset(), self.replica.high_watermark());
                Err(FetchRefusal::OutOfRange { got: offset, log_start_offset, high_watermark })
            }
            Err(ReadRefusal::TooSmall { needed }) => Err(FetchRefusal::TooSmall { needed }),
            Err(ReadRefusal::Damaged { from, until }) => Err(FetchRefusal::Damaged { from, until }),
        }
    }
}

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// Frames of `id` from `offset` on, at most `len_max` bytes. Between the high watermark and the log end there
    /// is nothing yet; beyond the log end, and below the log start, the offset is out of range.
    pub fn fetch(&self, id: TopicPartition, offset: Offset, len_max: usize) -> Result<Fetched<D>, FetchRefusal> {
        let partition = self.get(id).ok_or(FetchRefusal::UnknownPartition(id))?;
        let partition = partition.borrow();
        partition.leader().ok_or(FetchRefusal::NotLeader(id))?;
        let (log_start_offset, log_end_offset) = (partition.log.log_start_offset(), partition.log.log_end_offset());
        let high_watermark = partition.replica.high_watermark();
        if offset < log_start_offset || offset > log_end_offset {
            return Err(FetchRefusal::OutOfRange { got: offset, log_start_offset, high_watermark });
        }
        let first_offset = partition.log.first_offset(offset).min(high_watermark).max(offset);
        let frames = partition.frames(offset, len_max, high_watermark)?;
        Ok(Fetched { high_watermark, log_start_offset, log_end_offset, first_offset, frames })
    }

    /// Has `token` given out once by [`Partitions::take_watched`] as soon as any of these partitions has more to
    /// read or goes away. To be taken back with [`Partitions::unwatch`] afterwards.
    pub fn watch(&self, token: u64, ids: &[TopicPartition]) {
        for &id in ids {
            match self.get(id) {
                Some(partition) => partition.borrow_mut().watchers.push(token),
                None => self.shared.completions.push_watched([token]),
            }
        }
    }

    pub fn unwatch(&self, token: u64, ids: &[TopicPartition]) {
        for partition in ids.iter().filter_map(|&id| self.get(id)) {
            partition.borrow_mut().watchers.retain(|&other| other != token);
        }
    }

    /// The epoch that `id` is led under, which is another one after every truncation.
    pub(crate) fn leader_epoch(&self, id: TopicPartition) -> Option<LeaderEpoch> {
        self.get(id).map(|partition| partition.borrow().replica.leader_epoch())
    }

    /// A disk read has found this range damaged: it is not served, nor looked at, from now on.
    pub fn quarantine(&self, id: TopicPartition, range: DamagedRange) {
        if let Some(partition) = self.get(id) {
            let mut partition = partition.borrow_mut();
            partition.log.quarantine(range);
            // The next checkpoint remembers it.
            partition.changed = true;
        }
    }

    /// The first record with a timestamp at or after `timestamp_ms`: a plan, because it may need the disk.
    pub fn offset_for_timestamp(&self, id: TopicPartition, timestamp_ms: i64) -> Result<TimestampLookup<D>, FetchRefusal> {
        let partition = self.get(id).ok_or(FetchRefusal::UnknownPartition(id))?;
        let partition = partition.borrow();
        partition.leader().ok_or(FetchRefusal::NotLeader(id))?;
        Ok(partition.log.offset_for_timestamp(timestamp_ms))
    }
}
