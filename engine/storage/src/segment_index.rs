//! Everything that is known of a segment's frames without reading them: both sparse indexes and the greatest times.
//! Built frame by frame as a segment grows (or is walked), stored in its footer.

use crate::offset_index::{OffsetEntry, OffsetIndex};
use crate::time_index::{TimeEntry, TimeIndex};
use sluice_model::limits::INDEX_INTERVAL_LEN;
use sluice_model::{FrameHeader, Offset};

/// Greatest times of a segment some of whose frames were not read: later than any clock says, so that
/// retention goes by what follows it, and not the one of a segment that nobody has read.
pub const TIMES_UNREAD: i64 = i64::MAX - 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentIndex {
    pub offsets: OffsetIndex,
    pub times: TimeIndex,
    pub frame_count: u64,
    /// Greatest `append_time_ms`; `i64::MIN` without frames.
    pub append_time_ms_max: i64,
    /// Greatest `max_timestamp_ms`; `i64::MIN` without frames.
    pub timestamp_ms_max: i64,
}

impl Default for SegmentIndex {
    fn default() -> Self {
        Self {
            offsets: OffsetIndex::default(),
            times: TimeIndex::default(),
            frame_count: 0,
            append_time_ms_max: i64::MIN,
            timestamp_ms_max: i64::MIN,
        }
    }
}

impl SegmentIndex {
    /// Notes the next frame of the segment, which begins at `position`.
    pub fn on_frame(&mut self, position: u64, header: &FrameHeader) {
        let due = self.offsets.entries().last().is_none_or(|last| position >= u64::from(last.position) + INDEX_INTERVAL_LEN);
        if due {
            let base_offset = header.base_offset();
            let prev_header_crc = header.prev_header_crc.to_native();
            let position = u32::try_from(position).expect("positions stay below SEGMENT_LEN_MAX and one frame, which fits u32");
            self.offsets.push(OffsetEntry { base_offset, position, prev_header_crc });
            if self.frame_count > 0 {
                self.times.push(TimeEntry { timestamp_ms: self.timestamp_ms_max, base_offset });
            }
        }
        self.frame_count += 1;
        self.append_time_ms_max = self.append_time_ms_max.max(header.append_time_ms.to_native());
        self.timestamp_ms_max = self.timestamp_ms_max.max(header.max_timestamp_ms.to_native());
    }

    /// This index continued by `later`, which covers the frames that follow.
    #[must_use]
    pub fn followed_by(mut self, later: &Self) -> Self {
        for &entry in later.offsets.entries() {
            self.offsets.push(entry);
        }
        if let Some(first) = later.offsets.entries().first()
            && self.frame_count > 0
        {
            self.times.push(TimeEntry { timestamp_ms: self.timestamp_ms_max, base_offset: first.base_offset });
        }
        for &entry in later.times.entries() {
            self.times.push(TimeEntry { timestamp_ms: entry.timestamp_ms.max(self.timestamp_ms_max), ..entry });
        }
        self.frame_count += later.frame_count;
        self.append_time_ms_max = self.append_time_ms_max.max(later.append_time_ms_max);
        self.timestamp_ms_max = self.timestamp_ms_max.max(later.timestamp_ms_max);
        self
    }

    /// This index continued by `later`, with frames in between that nobody has read: their times may be any.
    #[must_use]
    pub fn followed_unread_by(mut self, later: &Self) -> Self {
        for &entry in later.offsets.entries() {
            self.offsets.push(entry);
        }
        self.frame_count += later.frame_count;
        (self.append_time_ms_max, self.timestamp_ms_max) = (TIMES_UNREAD, TIMES_UNREAD);
        self
    }

    /// The same of a segment some frames of which could not be read: by time, it is looked through from its beginning.
    #[must_use]
    pub fn without_times(&self) -> Self {
        Self { times: TimeIndex::default(), append_time_ms_max: TIMES_UNREAD, timestamp_ms_max: TIMES_UNREAD, ..self.clone() }
    }

    /// Whether a restart left frames out of it, or damage did.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.append_time_ms_max == TIMES_UNREAD
    }

    /// Where a walk towards the first frame with a timestamp of at least `timestamp_ms` begins.
    #[must_use]
    pub fn find_timestamp(&self, timestamp_ms: i64) -> Option<OffsetEntry> {
        let offset = self.times.find(timestamp_ms).unwrap_or(Offset::ZERO);
        self.offsets.find(offset).or_else(|| self.offsets.entries().first().copied())
    }

    /// Bytes it takes in memory, about.
    #[must_use]
    pub fn len_in_memory(&self) -> usize {
        size_of_val(self.offsets.entries()) + size_of_val(self.times.entries()) + size_of::<Self>()
    }
}
