//! The first frame that reaches a timestamp, as Kafka's ListOffsets asks for it.
//!
//! Segments are tried in order, those that cannot hold it skipped; then the tail. The broker does not read records,
//! so the answer names a frame: the first offset a reader has to look at. The expensive mistake is to trust an
//! index that claims the timestamp is there, when the frame that has it lies below the log start; so the search
//! goes on until a frame is found.

use crate::disk::Disk;
use crate::frame_reader::Reading;
use crate::log::Log;
use crate::offset_index::{OffsetEntry, OffsetIndex};
use crate::read_plan::{DiskReadError, WalkStart, walk_range};
use crate::read_turns::Turns;
use crate::sealed_segment::{SegmentExtent, SegmentFile};
use sluice_model::{FrameHeader, LeaderEpochHistory, Offset};
use std::rc::Rc;

const WINDOW_LEN: usize = 256 * 1024;

/// A frame with a record at or after the timestamp asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundTimestamp {
    /// Its base offset, or the log start when that lies inside it.
    pub offset: Offset,
    /// The greatest timestamp of its records.
    pub timestamp_ms: i64,
}

/// A search. Owns everything it needs.
pub struct TimestampLookup<D: Disk> {
    timestamp_ms: i64,
    log_start: Offset,
    /// Parts of segments on disk, in order.
    candidates: Vec<Candidate<D>>,
    /// Of the log, from the first candidate's first frame on.
    epochs: LeaderEpochHistory,
    in_memory: Option<FoundTimestamp>,
}

struct Candidate<D: Disk> {
    segment: Rc<SegmentFile<D>>,
    extent: SegmentExtent,
    start: WalkStart,
}

impl<D: Disk> Log<D> {
    /// Plans the search for the first frame, at or above the log start, with a record timestamp of at least
    /// `timestamp_ms`. It may find one above the high watermark; the caller drops that.
    #[must_use]
    pub fn offset_for_timestamp(&self, timestamp_ms: i64) -> TimestampLookup<D> {
        let sealed = self.sealed.iter().filter(|segment| segment.info.timestamp_ms_max >= timestamp_ms);
        let mut candidates: Vec<Candidate<D>> = sealed
            .filter(|segment| segment.info.next_offset > self.log_start)
            .map(|segment| {
                let extent = segment.extent();
                Candidate { segment: segment.file.clone(), extent, start: WalkStart::Load(extent) }
            })
            .collect();
        for segment in &self.open {
            if let Some(restored) = segment.restored.filter(|restored| restored.end_offset > self.log_start) {
                candidates.push(Candidate { segment: segment.file.clone(), extent: restored, start: WalkStart::Load(restored) });
            }
            let extent = self.disk_extent(segment);
            let Some(entry) = segment.index.find_timestamp(timestamp_ms).filter(|entry| entry.base_offset < extent.end_offset)
            else {
                continue;
            };
            let start = WalkStart::Known(OffsetIndex::from_entries(vec![entry]).unwrap_or_default());
            candidates.push(Candidate { segment: segment.file.clone(), extent, start });
        }
        let in_memory = self.find_in_tail(timestamp_ms);
        let first = candidates.first().map_or(self.log_end, |candidate| candidate.segment.base_offset);
        let epochs = self.held.epochs_from(first);
        TimestampLookup { timestamp_ms, log_start: self.log_start, candidates, epochs, in_memory }
    }

    fn find_in_tail(&self, timestamp_ms: i64) -> Option<FoundTimestamp> {
        let frames = self.tail.frames();
        let first = frames.partition_point(|frame| frame.next_offset <= self.log_start);
        (first..frames.len()).find_map(|index| found(&self.tail.header(index), timestamp_ms, self.log_start))
    }
}

impl<D: Disk> TimestampLookup<D> {
    /// Whether the search needs the disk.
    #[must_use]
    pub fn needs_disk(&self) -> bool {
        !self.candidates.is_empty()
    }

    /// `None` when no frame reaches the timestamp. Whole segments may have to be walked for it, a window in each turn.
    pub async fn run_in_turns(self, turns: &Turns) -> Result<Option<FoundTimestamp>, DiskReadError> {
        for candidate in &self.candidates {
            let searched = self.search(candidate, turns).await;
            if candidate.segment.is_truncated() {
                return Err(DiskReadError::Removed);
            }
            if let Some(found) = searched? {
                return Ok(Some(found));
            }
        }
        Ok(self.in_memory)
    }

    /// The same at once, for tools and tests.
    pub async fn run(self) -> Result<Option<FoundTimestamp>, DiskReadError> {
        self.run_in_turns(&Turns::UNPACED).await
    }

    async fn search(&self, candidate: &Candidate<D>, turns: &Turns) -> Result<Option<FoundTimestamp>, DiskReadError> {
        let Candidate { segment, extent, start } = candidate;
        let reading = Reading { turns, epochs: &self.epochs };
        let file = segment.open(extent.end_offset).await?;
        let entry: Option<OffsetEntry> = match start {
            WalkStart::Known(entries) => entries.entries().first().copied(),
            WalkStart::Load(indexed) => segment.index(indexed, reading).await?.find_timestamp(self.timestamp_ms),
        };
        let range = match entry {
            Some(entry) => walk_range(segment, extent, entry),
            None => segment.walk_from_start(&file, extent, reading).await?,
        };
        // Bodies are not looked at, so they are not verified either.
        let mut reader = reading.reader(file, range, Offset(u64::MAX), WINDOW_LEN);
        while let Some(frame) = reader.next().await? {
            if let Some(found) = found(&frame.header, self.timestamp_ms, self.log_start) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

fn found(header: &FrameHeader, timestamp_ms: i64, log_start: Offset) -> Option<FoundTimestamp> {
    let greatest = header.max_timestamp_ms.to_native();
    let wanted = greatest >= timestamp_ms && header.next_offset() > log_start;
    wanted.then(|| FoundTimestamp { offset: header.base_offset().max(log_start), timestamp_ms: greatest })
}
