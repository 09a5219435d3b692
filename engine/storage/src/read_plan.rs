//! Reading a log: from the tail in memory, or with a plan that reads one segment file.
//!
//! Whole frames only, in order, never more bytes than asked for. Memory is trusted; everything from a disk is
//! proved good on the way out: header checksum, body checksum, partition, offsets, chain, leader epoch. The expensive
//! mistake is a read that holds the log while it waits for the device: a plan owns its file and its limits, and a segment
//! that is removed meanwhile stays readable to it. Deliberately absent: waiting for frames.

use crate::active_segment::{ActiveSegment, FRAMES_START};
use crate::damage::{DamagedRange, SegmentDamage};
use crate::disk::Disk;
use crate::frame_reader::Reading;
use crate::frame_walk::{WalkError, WalkRange, WalkedFrame, undamaged};
use crate::log::Log;
use crate::offset_index::{OffsetEntry, OffsetIndex};
use crate::proven_run::find_proven_run;
use crate::read_turns::Turns;
use crate::sealed_segment::{SegmentExtent, SegmentFile};
use crate::segment_format::block_down;
use bytes::Bytes;
use sluice_model::limits::{BLOCK_LEN, INDEX_INTERVAL_LEN};
use sluice_model::{LeaderEpochHistory, Offset};
use std::rc::Rc;
use std::{fmt, io};

/// Most bytes read from the device at a time, as long as no frame is larger.
const WINDOW_LEN_MAX: usize = 2 * 1024 * 1024 + BLOCK_LEN;
/// Bytes read at a time to find where damage ends.
const PROOF_WINDOW_LEN: usize = 128 * 1024;

/// Where the frames asked for are.
pub enum ReadPlan<D: Disk> {
    Memory(ReadFrames),
    Disk(DiskRead<D>),
    /// Nothing at this offset yet.
    Empty,
}

/// Whole frames, back to back over all slices.
#[derive(Clone, Debug, Default)]
pub struct ReadFrames {
    pub slices: Vec<Bytes>,
    /// Where to go on reading.
    pub next_offset: Offset,
    /// Bytes of the last frame, by which it can be guessed whether one more has room; 0 when there is none.
    pub last_frame_len: usize,
}

/// Why there is nothing to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadRefusal {
    /// Valid are offsets from `start` to `end`.
    OutOfRange { start: Offset, end: Offset },
    /// The first frame has `needed` bytes, more than asked for.
    TooSmall { needed: usize },
    /// Not served, from at or before the offset asked for up to `until`.
    Damaged { from: Offset, until: Offset },
}

/// A read of one segment file. Owns everything it needs.
pub struct DiskRead<D: Disk> {
    segment: Rc<SegmentFile<D>>,
    extent: SegmentExtent,
    start: WalkStart,
    offset: Offset,
    len_max: usize,
    /// The first frame may have so many bytes, when that is more.
    first_len_max: usize,
    upper: Offset,
    /// Of the log, from the segment's first frame on.
    epochs: LeaderEpochHistory,
}

/// Where a walk over a segment begins.
pub(crate) enum WalkStart {
    /// The index entry to begin at, and those that follow.
    Known(OffsetIndex),
    /// To be looked up in the index of this much of the segment, once that is loaded.
    Load(SegmentExtent),
}

#[derive(Debug)]
pub enum DiskReadError {
    Io(io::Error),
    /// The segment was removed before it was opened, or truncated before the read was done: ask the log again.
    Removed,
    TooSmall {
        needed: usize,
    },
    /// Nothing good could be given at the offset asked for; `range` says what to quarantine.
    Damaged(SegmentDamage),
}

impl fmt::Display for DiskReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "read of a segment: {error}"),
            Self::Removed => write!(f, "the segment was removed"),
            Self::TooSmall { needed } => write!(f, "the next frame has {needed} bytes"),
            Self::Damaged(damage) => write!(f, "{damage}"),
        }
    }
}

impl std::error::Error for DiskReadError {}

impl From<WalkError> for DiskReadError {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::Io(error) if error.kind() == io::ErrorKind::NotFound => Self::Removed,
            WalkError::Io(error) => Self::Io(error),
            WalkError::Damaged(damage) => Self::Damaged(damage),
        }
    }
}

impl<D: Disk> Log<D> {
    /// Where a read at `offset` begins: there, or behind the range around it that is accepted as lost.
    #[must_use]
    pub fn first_offset(&self, offset: Offset) -> Offset {
        self.damage.skip_accepted(offset).min(self.log_end).max(offset)
    }

    /// Frames from the one that holds [`Self::first_offset`] on: at most `len_max` bytes of them, all wholly below `upper`.
    pub fn read(&self, offset: Offset, len_max: usize, upper: Offset) -> Result<ReadPlan<D>, ReadRefusal> {
        if offset < self.log_start || offset > self.log_end {
            return Err(ReadRefusal::OutOfRange { start: self.log_start, end: self.log_end.max(self.log_start) });
        }
        let offset = self.first_offset(offset);
        if offset >= upper.min(self.log_end) {
            return Ok(ReadPlan::Empty);
        }
        let upper = match self.damage.next_unserved(offset) {
            Some(DamagedRange { from, until }) if from <= offset => return Err(ReadRefusal::Damaged { from, until }),
            Some(range) => upper.min(range.from),
            None => upper,
        };
        match self.tail.find(offset) {
            Some(index) => self.read_memory(index, len_max, upper),
            None => self.plan_disk_read(offset, len_max, upper),
        }
    }

    fn read_memory(&self, first: usize, len_max: usize, upper: Offset) -> Result<ReadPlan<D>, ReadRefusal> {
        let frames = self.tail.frames();
        let mut next_offset = frames[first].base_offset;
        let (mut len, mut end, mut last_frame_len) = (0, first, 0);
        for frame in frames.range(first..) {
            let frame_len = frame.len as usize;
            if frame.base_offset != next_offset || frame.next_offset > upper || len + frame_len > len_max {
                break;
            }
            (len, end, next_offset) = (len + frame_len, end + 1, frame.next_offset);
            last_frame_len = frame_len;
        }
        let first_frame = &frames[first];
        if end > first {
            Ok(ReadPlan::Memory(ReadFrames { slices: self.tail.slices(first..end), next_offset, last_frame_len }))
        } else if first_frame.next_offset > upper {
            Ok(ReadPlan::Empty)
        } else {
            Err(ReadRefusal::TooSmall { needed: first_frame.len as usize })
        }
    }

    fn plan_disk_read(&self, offset: Offset, len_max: usize, upper: Offset) -> Result<ReadPlan<D>, ReadRefusal> {
        let after = self.open.partition_point(|segment| segment.base_offset <= offset);
        let (segment, extent, start) = match after.checked_sub(1) {
            Some(at) => {
                let segment = &self.open[at];
                let (extent, start) = self.walk_towards(segment, offset, len_max as u64);
                (&segment.file, extent, start)
            }
            None => {
                let after = self.sealed.partition_point(|segment| segment.info.base_offset <= offset);
                let until = self.open.front().map_or(self.log_end, |segment| segment.base_offset);
                let lost = ReadRefusal::Damaged { from: offset, until };
                let segment = &self.sealed[after.checked_sub(1).ok_or(lost)?];
                (&segment.file, segment.extent(), WalkStart::Load(segment.extent()))
            }
        };
        if offset >= extent.end_offset {
            return Err(ReadRefusal::Damaged { from: offset, until: self.log_end });
        }
        let (segment, epochs, first_len_max) = (segment.clone(), self.held.epochs_from(segment.base_offset), 0);
        Ok(ReadPlan::Disk(DiskRead { segment, extent, start, offset, len_max, first_len_max, upper, epochs }))
    }

    /// How to reach `offset`, which is on disk, in a segment that is not sealed.
    fn walk_towards(&self, segment: &ActiveSegment<D>, offset: Offset, len_max: u64) -> (SegmentExtent, WalkStart) {
        let entries = segment.index.offsets.entries();
        let after = entries.partition_point(|entry| entry.base_offset <= offset);
        match (after.checked_sub(1), segment.restored) {
            (None, Some(restored)) => (restored, WalkStart::Load(restored)),
            (first, _) => {
                let first = first.unwrap_or(0);
                let enough = (len_max / INDEX_INTERVAL_LEN).saturating_add(3);
                let end = entries.len().min(first.saturating_add(usize::try_from(enough).unwrap_or(usize::MAX)));
                let known = OffsetIndex::from_entries(entries[first..end].to_vec()).unwrap_or_default();
                (self.disk_extent(segment), WalkStart::Known(known))
            }
        }
    }

    /// The frames of an unsealed segment that are not in memory: all before the tail's first.
    pub(crate) fn disk_extent(&self, segment: &ActiveSegment<D>) -> SegmentExtent {
        // What lies behind damage is proved by what its last frame has to be.
        let (end_position, end_offset, last_header_crc) = match self.tail.frames().front() {
            Some(frame) if frame.segment_base == segment.base_offset => {
                (frame.position, frame.base_offset, self.tail.header(0).prev_header_crc.to_native())
            }
            Some(frame) if frame.segment_base < segment.base_offset => {
                (FRAMES_START, segment.base_offset, segment.prev_header_crc)
            }
            _ => (segment.end_position(), segment.next_offset, segment.last_header_crc),
        };
        SegmentExtent { end_position, end_offset, last_header_crc, footer_end: None }
    }
}

impl<D: Disk> DiskRead<D> {
    /// The first frame may have up to `len` bytes, be the rest as short as it was asked for: it is not read twice then.
    #[must_use]
    pub fn with_first_of(mut self, len: usize) -> Self {
        self.first_len_max = len;
        self
    }

    /// Bytes to ask the device for at once: up to the last frame that the index names within what may be given out, so that
    /// the next read begins where this one ends; or up to the next one that it names, when the first is that large.
    fn window_len(&self, walk_from: u64, index: &OffsetIndex) -> usize {
        let (len_max, left) = (self.len_max as u64, self.extent.end_position.saturating_sub(walk_from));
        let indexed = index.last_position_until(walk_from + len_max).map_or(0, |end| end.saturating_sub(walk_from));
        let first = || index.next_after(walk_from).map(|entry| u64::from(entry.position) - walk_from);
        let known = if indexed >= len_max / 2 { Some(indexed) } else { first() };
        let most = len_max.max(self.first_len_max as u64) + INDEX_INTERVAL_LEN;
        let len = known.filter(|len| *len <= most).unwrap_or(len_max + INDEX_INTERVAL_LEN);
        let whole_blocks = len.min(left) + (walk_from - block_down(walk_from));
        usize::try_from(whole_blocks).unwrap_or(usize::MAX).min(WINDOW_LEN_MAX)
    }

    /// Reads, verifies and gives out frames. Damage behind the first good frames ends the answer before it. What a
    /// truncation has reached meanwhile is not given out: [`DiskReadError::Removed`]. Who puts one answer together
    /// from several reads has to drop the earlier ones then. Each window is read in a turn of its own.
    pub async fn run_in_turns(self, turns: &Turns) -> Result<ReadFrames, DiskReadError> {
        let read = self.read(turns).await;
        if self.segment.is_truncated() { Err(DiskReadError::Removed) } else { read }
    }

    /// The same at once, for tools and tests.
    pub async fn run(self) -> Result<ReadFrames, DiskReadError> {
        self.run_in_turns(&Turns::UNPACED).await
    }

    async fn read(&self, turns: &Turns) -> Result<ReadFrames, DiskReadError> {
        let reading = Reading { turns, epochs: &self.epochs };
        let file = self.segment.open(self.extent.end_offset).await?;
        let loaded;
        let entries = match &self.start {
            WalkStart::Known(entries) => entries,
            WalkStart::Load(extent) => {
                loaded = self.segment.index_towards(extent, self.offset, reading).await?;
                &loaded.offsets
            }
        };
        let range = match entries.find(self.offset) {
            Some(entry) => walk_range(&self.segment, &self.extent, entry),
            None => self.segment.walk_from_start(&file, &self.extent, reading).await?,
        };
        let again = file.clone();
        let window_len = self.window_len(range.position, entries);
        let mut reader = reading.reader(file, range, self.offset, window_len);
        let mut out = Vec::new();
        let (mut next_offset, mut last_frame_len) = (self.offset, 0);
        loop {
            let step = match out.len() {
                0 => reader.next().await,
                len => reader.next_in_room(self.len_max.saturating_sub(len), self.len_max / 2).await,
            };
            match step {
                Ok(Some(frame)) if frame.header.next_offset() <= self.offset => {}
                Ok(Some(frame)) => match self.take(&frame, reader.bytes(&frame), &mut out)? {
                    true => (next_offset, last_frame_len) = (frame.header.next_offset(), frame.header.frame_len()),
                    false => break,
                },
                Ok(None) => break,
                Err(WalkError::Damaged(_)) if !out.is_empty() => break,
                Err(WalkError::Damaged(damage)) => {
                    let (damage, behind) = self.narrowed(again.clone(), damage, entries, reading).await?;
                    match behind.filter(|_| damage.range.until <= self.offset) {
                        // What is asked for lies behind it.
                        Some((position, prev_header_crc)) => reader.resume_at(position, damage.range.until, prev_header_crc),
                        None => return Err(DiskReadError::Damaged(damage)),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        let slices = if out.is_empty() { Vec::new() } else { vec![Bytes::from(out)] };
        Ok(ReadFrames { slices, next_offset, last_frame_len })
    }

    /// Adds a frame to the answer, when it may be there and there is room.
    fn take(&self, frame: &WalkedFrame, bytes: &[u8], out: &mut Vec<u8>) -> Result<bool, DiskReadError> {
        if frame.header.next_offset() > self.upper {
            return Ok(false);
        }
        let room = if out.is_empty() { self.len_max.max(self.first_len_max) } else { self.len_max.saturating_sub(out.len()) };
        if bytes.len() > room {
            return if out.is_empty() { Err(DiskReadError::TooSmall { needed: bytes.len() }) } else { Ok(false) };
        }
        if out.is_empty() {
            let left = self.extent.end_position.saturating_sub(frame.position);
            out.reserve(self.len_max.min(usize::try_from(left).unwrap_or(usize::MAX)));
        }
        out.extend_from_slice(bytes);
        Ok(true)
    }

    /// The damage, with its range ending where the first frame behind it proves itself: the whole one, not what this read
    /// needed. And where that frame begins, with what it follows.
    async fn narrowed(
        &self,
        file: D::File,
        mut damage: SegmentDamage,
        entries: &OffsetIndex,
        reading: Reading<'_>,
    ) -> Result<(SegmentDamage, Option<(u64, u32)>), WalkError> {
        let DamagedRange { from, until } = damage.range;
        if until < self.extent.end_offset {
            // The frame's header is good, and says which offsets its body holds.
            return Ok((damage, None));
        }
        let known = match &self.start {
            WalkStart::Known(_) => entries.next_after(damage.position),
            WalkStart::Load(extent) => {
                let whole = undamaged(self.segment.whole_index(extent, reading).await).map_err(WalkError::Io)?;
                // Without an entry behind it, the frames may still follow one another up to the recorded end: an index has
                // one for many of them.
                whole.and_then(|index| index.offsets.next_after(damage.position))
            }
        };
        let SegmentExtent { end_position, end_offset, last_header_crc, .. } = self.extent;
        let end = (end_position, end_offset, last_header_crc);
        let bound = known.map_or(end, |entry| (u64::from(entry.position), entry.base_offset, entry.prev_header_crc));
        let found = self.find_behind(file, &damage, bound, reading).await.map_err(WalkError::Io)?;
        let behind = found.or(known.map(|_| bound));
        damage.range.until = behind.map_or(until, |(_, offset, _)| offset).max(from);
        Ok((damage, behind.map(|(position, _, prev_header_crc)| (position, prev_header_crc))))
    }

    /// The first frame behind damage from which all follow one another up to `bound`. Both are a position, an offset and
    /// what the frame there follows.
    async fn find_behind(
        &self,
        file: D::File,
        damage: &SegmentDamage,
        bound: (u64, Offset, u32),
        reading: Reading<'_>,
    ) -> io::Result<Option<(u64, Offset, u32)>> {
        let (end_position, end_offset, last_header_crc) = bound;
        let position = damage.position + 1;
        let stretch = WalkRange {
            id: self.segment.id,
            segment: self.segment.base_offset,
            position,
            offset: damage.range.from,
            prev_header_crc: 0,
            end_position,
            end_offset,
        };
        let mut reader = reading.reader(file, stretch, end_offset, PROOF_WINDOW_LEN);
        let run = find_proven_run(&mut reader, position, last_header_crc).await?;
        Ok(run.map(|run| (run.position, run.offset, run.prev_header_crc)))
    }
}

/// A walk over the rest of `extent` from an index entry on.
pub(crate) fn walk_range<D: Disk>(segment: &SegmentFile<D>, extent: &SegmentExtent, entry: OffsetEntry) -> WalkRange {
    WalkRange {
        id: segment.id,
        segment: segment.base_offset,
        position: u64::from(entry.position),
        offset: entry.base_offset,
        prev_header_crc: entry.prev_header_crc,
        end_position: extent.end_position,
        end_offset: extent.end_offset,
    }
}

#[cfg(test)]
#[path = "read_plan_test.rs"]
mod tests;

#[cfg(test)]
#[path = "read_amount_test.rs"]
mod amount_tests;

#[cfg(test)]
#[path = "read_damage_test.rs"]
mod damage_tests;
