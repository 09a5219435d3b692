//! A segment that still grows, or has ended and is not yet wholly on disk.
//!
//! It assigns positions: frames lie back to back, and where the last block was written padded, the next frame
//! begins on the next one. Whatever lies between two frames is zeros, so the bytes of any range follow from the
//! frames' positions alone and a plan can be made anew after a failure. The expensive mistake is to move a frame
//! that is written: `append_position` only grows, and no block below `written` is planned again.

use crate::checkpoint::RecoveryPoint;
use crate::disk::Disk;
use crate::restored_index::RestoredIndex;
use crate::sealed_segment::{SegmentExtent, SegmentFile};
use crate::segment_format::{SegmentHeader, block_down, block_up};
use crate::segment_index::SegmentIndex;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{FrameHeader, Offset, TopicPartition};
use std::rc::Rc;

/// Where the first frame of a segment begins.
pub(crate) const FRAMES_START: u64 = BLOCK_LEN as u64;

pub(crate) struct ActiveSegment<D: Disk> {
    pub base_offset: Offset,
    /// `header_crc` of the frame before its first one.
    pub prev_header_crc: u32,
    /// The offset after its last record, and that frame's `header_crc`.
    pub next_offset: Offset,
    pub last_header_crc: u32,
    /// Where the next frame begins.
    append_position: u64,
    /// End of the last frame.
    end_position: u64,
    /// End of the blocks that are written; 0 when not even the header is.
    written: u64,
    /// Where the frame begins that straddles the recovery point this segment was restored to, as long as its
    /// first part was not compared.
    pub straddle: Option<u64>,
    /// No more frames: what follows is the footer.
    pub ended: bool,
    /// Bytes known to be allocated.
    pub allocated: u64,
    pub file: Rc<SegmentFile<D>>,
    /// The open file, once it was written to.
    pub write_handle: Option<D::File>,
    /// Writes so far, and how many of them a flush has made durable.
    pub write_count: u64,
    pub flushed_write_count: u64,
    /// Of the frames appended in this life.
    pub index: SegmentIndex,
    /// What was there before, and is in no index in memory.
    pub restored: Option<SegmentExtent>,
    /// As much of the index of that as was gathered since.
    pub restored_index: RestoredIndex,
}

impl<D: Disk> ActiveSegment<D> {
    /// A segment without frames and without a file.
    pub(crate) fn new(file: Rc<SegmentFile<D>>, prev_header_crc: u32) -> Self {
        Self {
            base_offset: file.base_offset,
            prev_header_crc,
            next_offset: file.base_offset,
            last_header_crc: prev_header_crc,
            append_position: FRAMES_START,
            end_position: FRAMES_START,
            written: 0,
            straddle: None,
            ended: false,
            allocated: 0,
            file,
            write_handle: None,
            write_count: 0,
            flushed_write_count: 0,
            index: SegmentIndex::default(),
            restored: None,
            restored_index: RestoredIndex::default(),
        }
    }

    /// The segment as it stood at a recovery point: nothing behind `point.position` counts.
    pub(crate) fn restored(file: Rc<SegmentFile<D>>, point: &RecoveryPoint) -> Self {
        let mut segment = Self::new(file, point.prev_header_crc);
        if point.position < FRAMES_START {
            return segment;
        }
        segment.next_offset = point.offset;
        segment.append_position = point.next_frame_position;
        segment.end_position = point.next_frame_position;
        segment.written = point.position;
        segment.straddle = (point.next_frame_position < point.position).then_some(point.next_frame_position);
        if point.offset > point.segment_base {
            segment.restored = Some(SegmentExtent {
                end_position: point.next_frame_position,
                end_offset: point.offset,
                last_header_crc: point.prev_header_crc,
                footer_end: None,
            });
        }
        segment
    }

    pub(crate) fn id(&self) -> TopicPartition {
        self.file.id
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.next_offset == self.base_offset
    }

    pub(crate) fn has_room_for(&self, frame_len: u64, segment_len: u64) -> bool {
        // No block is written twice: a frame that was begun here goes on here, whatever a segment's length is now.
        let is_begun = self.straddle == Some(self.append_position);
        self.is_empty() || is_begun || self.append_position + frame_len <= segment_len
    }

    /// Gives the frame its position.
    pub(crate) fn place(&mut self, header: &FrameHeader) -> u64 {
        assert!(!self.ended, "segment {} of {} has ended", self.base_offset, self.id());
        let position = self.append_position;
        self.index.on_frame(position, header);
        self.append_position += header.frame_len() as u64;
        self.end_position = self.append_position;
        self.next_offset = header.next_offset();
        self.last_header_crc = header.header_crc.to_native();
        position
    }

    /// The next frame begins on the next block, so that everything appended so far can be written.
    pub(crate) fn pad(&mut self) {
        if !self.is_empty() && self.append_position > self.written {
            self.append_position = block_up(self.append_position);
        }
    }

    /// End of the blocks that can be written now: whole ones, and all once it has ended.
    pub(crate) fn writable_end(&self) -> u64 {
        if self.ended { self.footer_position() } else { block_down(self.append_position).max(self.written) }
    }

    /// Bytes of frames that a write-back could write now.
    pub(crate) fn writable_len(&self) -> u64 {
        self.writable_end().saturating_sub(self.written.max(FRAMES_START))
    }

    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    pub(crate) fn set_written(&mut self, written: u64) {
        assert!(self.written <= written && written.is_multiple_of(BLOCK_LEN as u64), "{} then {written}", self.written);
        self.written = written;
    }

    /// Where the next frame would begin after a restart at this point.
    pub(crate) fn next_frame_position(&self) -> u64 {
        self.straddle.unwrap_or(self.written.max(FRAMES_START))
    }

    pub(crate) fn append_position(&self) -> u64 {
        self.append_position
    }

    pub(crate) fn end_position(&self) -> u64 {
        self.end_position
    }

    /// Where the footer goes once the segment has ended.
    pub(crate) fn footer_position(&self) -> u64 {
        block_up(self.end_position).max(self.written).max(FRAMES_START)
    }

    pub(crate) fn header(&self) -> SegmentHeader {
        SegmentHeader { id: self.id(), base_offset: self.base_offset, prev_header_crc: self.prev_header_crc }
    }
}
