//! Walks over a segment from its beginning: for an index where no footer has one, and for where its frames end.
//!
//! The expensive mistake is to give a segment up for its header block: the segment before it says what the first frame
//! follows, or else the frames do, when they chain to the recorded end. Deliberately absent: what is kept of a walk
//! (`sealed_segment`).

use crate::damage::DamageKind;
use crate::disk::Disk;
use crate::frame_reader::{FrameReader, Reading};
use crate::frame_walk::{FrameWalk, WalkError, WalkRange, undamaged};
use crate::offset_index::OffsetIndex;
use crate::proven_run::find_proven_run;
use crate::read_plan::walk_range;
use crate::sealed_segment::{REBUILD_WINDOW_LEN, SegmentExtent, SegmentFile};
use crate::segment_format::SegmentHeader;
use crate::segment_index::SegmentIndex;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{FrameHeader, Offset};
use std::io;

impl<D: Disk> SegmentFile<D> {
    /// A walk over all of `extent`, from what the header block says. Without a good one the segment before it says what
    /// the first frame follows, or else the frames do, when they chain to the recorded end.
    pub(crate) async fn walk_from_start(
        &self,
        file: &D::File,
        extent: &SegmentExtent,
        reading: Reading<'_>,
    ) -> Result<WalkRange, WalkError> {
        let damage = match self.known_start(file, extent).await {
            Err(WalkError::Damaged(damage)) => damage,
            known => return known,
        };
        let unknown = self.start(extent, 0);
        let mut reader = reading.reader(file.clone(), unknown, extent.end_offset, REBUILD_WINDOW_LEN);
        let run = find_proven_run(&mut reader, BLOCK_LEN as u64, extent.last_header_crc).await.map_err(WalkError::Io)?;
        let run = run.filter(|run| run.position == BLOCK_LEN as u64 && run.offset == self.base_offset);
        let by_first_frame = match run {
            Some(run) => Some(run.prev_header_crc),
            None => self.first_frame_follows(file, extent, reading).await.map_err(WalkError::Io)?,
        };
        let prev_header_crc = by_first_frame.ok_or(WalkError::Damaged(damage))?;
        self.set_follows(Some(prev_header_crc));
        Ok(self.start(extent, prev_header_crc))
    }

    /// What the frame behind the header block says it follows, when it is whole and the next one follows it, or the extent
    /// ends with it: no record stands there that could imitate one, so what is damaged further behind costs itself only.
    async fn first_frame_follows(&self, file: &D::File, extent: &SegmentExtent, reading: Reading<'_>) -> io::Result<Option<u32>> {
        let Some(block) = undamaged(self.read(file, BLOCK_LEN as u64, BLOCK_LEN, extent.end_offset).await)? else {
            return Ok(None);
        };
        let Ok(header) = FrameHeader::parse_sealed(&block) else { return Ok(None) };
        let prev_header_crc = header.prev_header_crc.to_native();
        let mut reader = reading.reader(file.clone(), self.start(extent, prev_header_crc), Offset::ZERO, BLOCK_LEN);
        let first = undamaged(reader.next().await)?.flatten();
        let is_followed = undamaged(reader.next().await)?.is_some();
        Ok(first.filter(|_| is_followed).map(|_| prev_header_crc))
    }

    /// The same without reading any frames.
    pub(crate) async fn known_start(&self, file: &D::File, extent: &SegmentExtent) -> Result<WalkRange, WalkError> {
        let damage = match self.read(file, 0, BLOCK_LEN, extent.end_offset).await {
            Ok(block) => match SegmentHeader::decode_expecting(&block, self.id, self.base_offset) {
                Ok(header) => return Ok(self.start(extent, header.prev_header_crc)),
                Err(error) => self.damage(0, DamageKind::Block(error), extent.end_offset),
            },
            Err(WalkError::Damaged(damage)) => damage,
            Err(error) => return Err(error),
        };
        self.follows.get().map(|header_crc| self.start(extent, header_crc)).ok_or(WalkError::Damaged(damage))
    }

    fn start(&self, extent: &SegmentExtent, prev_header_crc: u32) -> WalkRange {
        WalkRange {
            id: self.id,
            segment: self.base_offset,
            position: BLOCK_LEN as u64,
            offset: self.base_offset,
            prev_header_crc,
            end_position: extent.end_position,
            end_offset: extent.end_offset,
        }
    }

    /// Walks the segment from its header. What lies behind damage counts only when it chains to the recorded end
    /// without a gap, so that no record that imitates a frame is ever taken for one.
    pub(crate) async fn rebuild_index(
        &self,
        file: D::File,
        extent: &SegmentExtent,
        reading: Reading<'_>,
    ) -> Result<SegmentIndex, WalkError> {
        let start = self.walk_from_start(&file, extent, reading).await?;
        let mut reader = reading.reader(file, start, extent.end_offset, REBUILD_WINDOW_LEN);
        let mut index = SegmentIndex::default();
        loop {
            match reader.next().await {
                Ok(Some(frame)) => index.on_frame(frame.position, &frame.header),
                Ok(None) => return Ok(index),
                Err(WalkError::Damaged(_)) => break,
                Err(error) => return Err(error),
            }
        }
        let behind = reader.walk().position() + 1;
        let run = find_proven_run(&mut reader, behind, extent.last_header_crc).await.map_err(WalkError::Io)?;
        Ok(match run {
            Some(run) => index.followed_by(&run.index),
            None => index,
        })
    }

    /// Where the last frame of `extent` ends; `None` when that cannot be proved.
    pub(crate) async fn frames_end(&self, offsets: &OffsetIndex, extent: &SegmentExtent) -> io::Result<Option<u64>> {
        let Some(&last) = offsets.entries().last() else { return Ok(None) };
        let file = match self.open(extent.end_offset).await {
            Err(WalkError::Damaged(_)) => return Ok(None),
            Err(WalkError::Io(error)) => return Err(error),
            Ok(file) => file,
        };
        // Headers are enough: each says how long its frame is.
        let walk = FrameWalk::new(walk_range(self, extent, last), Offset(u64::MAX));
        let mut reader = FrameReader::new(file, walk, REBUILD_WINDOW_LEN);
        let mut end = None;
        loop {
            match reader.next().await {
                Ok(Some(frame)) => end = Some(frame.position + frame.header.frame_len() as u64),
                Ok(None) => return Ok(end.filter(|_| reader.walk().prev_header_crc() == extent.last_header_crc)),
                Err(WalkError::Damaged(_)) => return Ok(None),
                Err(WalkError::Io(error)) => return Err(error),
            }
        }
    }
}
