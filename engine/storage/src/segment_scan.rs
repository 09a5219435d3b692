//! Looking at a segment file from outside: every frame, every pad, every damage, one item at a time.
//!
//! For `sluice log dump` and `verify`, and for whatever repairs. It reads through a callback, so it works on any
//! file and needs no disk seam. Where a segment ends is recorded (trailer or checkpoint), never found by scanning;
//! without either record the first bytes that are no frame are reported as an unproven end, not as damage. After
//! damage it looks for the next frame of the same partition, header checksum and all; what it finds so is shown,
//! never served. Deliberately absent: printing.

use crate::damage::{BlockError, SegmentDamage};
use crate::frame_walk::{FrameWalk, WalkRange, WalkStep, WalkedFrame};
use crate::segment_format::{SegmentFooter, SegmentHeader, SegmentTrailer, block_down};
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{FRAME_HEADER_LEN, Offset};
use std::io;

/// Bytes read at a time, as long as no frame is larger.
const WINDOW_LEN: usize = 1024 * 1024;

/// Where the frames of a file without a trailer end, as a checkpoint says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanEnd {
    /// Where the frame at `offset` begins (a recovery point's `next_frame_position` and `offset`).
    pub position: u64,
    pub offset: Offset,
}

/// One thing found in a segment file.
#[derive(Clone, Copy, Debug)]
pub enum ScanItem {
    /// A good frame; its body is [`SegmentScan::body`]'s until the next call.
    Frame(WalkedFrame),
    Damage(SegmentDamage),
    /// After damage: the walk goes on with the frame at this position and offset.
    Resumed {
        position: u64,
        offset: Offset,
    },
    /// The recorded end of the frames.
    End {
        position: u64,
        offset: Offset,
    },
    /// No end is recorded, and what stands here is no next frame: the rest of an allocation, or of a crash.
    UnprovenEnd(SegmentDamage),
}

/// A scan over a segment file that `read` reads: from a position, at most so many bytes, fewer only at the end of
/// the file. Positions and lengths are multiples of `BLOCK_LEN`.
pub struct SegmentScan<R> {
    read: R,
    file_len: u64,
    header: SegmentHeader,
    trailer: Option<Result<SegmentTrailer, BlockError>>,
    walk: FrameWalk,
    end_is_recorded: bool,
    is_lost: bool,
    is_over: bool,
    window_position: u64,
    window: Vec<u8>,
}

/// Why a file cannot be scanned at all.
#[derive(Debug)]
pub enum ScanError {
    Io(io::Error),
    /// Its first block is no segment header.
    Header(BlockError),
}

impl<R: FnMut(u64, usize) -> io::Result<Vec<u8>>> SegmentScan<R> {
    /// Reads header and trailer. `end` is what a checkpoint says of an active segment; a trailer comes first.
    pub fn open(mut read: R, file_len: u64, end: Option<ScanEnd>) -> Result<Self, ScanError> {
        let header = SegmentHeader::decode(&read(0, BLOCK_LEN).map_err(ScanError::Io)?).map_err(ScanError::Header)?;
        let trailer = read_trailer(&mut read, file_len, &header).map_err(ScanError::Io)?;
        let sealed = trailer.as_ref().and_then(|trailer| trailer.as_ref().ok());
        let recorded = sealed.map(|trailer| ScanEnd { position: trailer.end_position, offset: trailer.next_offset }).or(end);
        let bound = recorded.unwrap_or(ScanEnd { position: file_len, offset: Offset(u64::MAX) });
        let range = WalkRange {
            id: header.id,
            segment: header.base_offset,
            position: BLOCK_LEN as u64,
            offset: header.base_offset,
            prev_header_crc: header.prev_header_crc,
            end_position: bound.position,
            end_offset: bound.offset,
        };
        Ok(Self {
            read,
            file_len,
            header,
            trailer,
            walk: FrameWalk::new(range, Offset::ZERO),
            end_is_recorded: recorded.is_some(),
            is_lost: false,
            is_over: false,
            window_position: 0,
            window: Vec::new(),
        })
    }

    #[must_use]
    pub fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// The trailer; `None` when the last block is not one (an active segment), an error when it is a damaged one.
    #[must_use]
    pub fn trailer(&self) -> Option<&Result<SegmentTrailer, BlockError>> {
        self.trailer.as_ref()
    }

    /// Reads the footer that a good trailer names.
    pub fn footer(&mut self, trailer: &SegmentTrailer) -> io::Result<Result<SegmentFooter, BlockError>> {
        let len = usize::try_from(trailer.footer_len).unwrap_or(usize::MAX);
        let bytes = (self.read)(trailer.footer_position, len)?;
        Ok(SegmentFooter::decode(&bytes, trailer))
    }

    /// The next item; `None` after an end.
    pub fn next_item(&mut self) -> io::Result<Option<ScanItem>> {
        if self.is_over {
            return Ok(None);
        }
        if self.is_lost {
            return self.resume().map(Some);
        }
        loop {
            match self.walk.step(self.window_position, &self.window) {
                Ok(WalkStep::Frame(frame)) => return Ok(Some(ScanItem::Frame(frame))),
                Ok(WalkStep::End) => return Ok(Some(self.end())),
                Ok(WalkStep::More { from, len }) if from + len as u64 <= self.file_len => self.load(from, len)?,
                Ok(WalkStep::More { from, len }) => {
                    let damage = self.walk.damage_past_file(from + len as u64, self.file_len);
                    return Ok(Some(self.damaged(damage)));
                }
                Err(damage) => return Ok(Some(self.damaged(damage))),
            }
        }
    }

    /// The body of a frame that [`Self::next_item`] has just given out.
    #[must_use]
    pub fn body(&self, frame: &WalkedFrame) -> &[u8] {
        let start = usize::try_from(frame.position.saturating_sub(self.window_position)).unwrap_or(usize::MAX);
        self.window.get(start..).and_then(|bytes| bytes.get(FRAME_HEADER_LEN..frame.header.frame_len())).unwrap_or_default()
    }

    fn end(&mut self) -> ScanItem {
        self.is_over = true;
        ScanItem::End { position: self.walk.position(), offset: self.walk.next_offset() }
    }

    fn damaged(&mut self, damage: SegmentDamage) -> ScanItem {
        self.is_over = !self.end_is_recorded;
        self.is_lost = self.end_is_recorded;
        if self.end_is_recorded { ScanItem::Damage(damage) } else { ScanItem::UnprovenEnd(damage) }
    }

    /// Looks for the next frame behind damage.
    fn resume(&mut self) -> io::Result<ScanItem> {
        let mut position = self.walk.position() + 1;
        let end = self.walk.end_position().min(self.file_len);
        while position + FRAME_HEADER_LEN as u64 <= end {
            self.load(position, FRAME_HEADER_LEN)?;
            let skip = usize::try_from(position - self.window_position).unwrap_or(usize::MAX);
            let searched = self.window.get(skip..).unwrap_or_default();
            if let Some((at, header)) = self.walk.find_frame(searched) {
                self.is_lost = false;
                self.walk.resume(position + at as u64, &header);
                return Ok(ScanItem::Resumed { position: position + at as u64, offset: header.base_offset() });
            }
            // A header may straddle the window's end.
            let next = (self.window_position + self.window.len() as u64).saturating_sub(FRAME_HEADER_LEN as u64 - 1);
            position = next.max(position + 1);
        }
        Ok(self.end())
    }

    fn load(&mut self, from: u64, len: usize) -> io::Result<()> {
        let position = block_down(from);
        let wanted = ((from - position) as usize + len).next_multiple_of(BLOCK_LEN).max(WINDOW_LEN);
        self.window = (self.read)(position, wanted)?;
        self.window_position = position;
        if ((from - position) as usize) + len > self.window.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

fn read_trailer<R>(read: &mut R, file_len: u64, header: &SegmentHeader) -> io::Result<Option<Result<SegmentTrailer, BlockError>>>
where
    R: FnMut(u64, usize) -> io::Result<Vec<u8>>,
{
    if file_len < 2 * BLOCK_LEN as u64 || !file_len.is_multiple_of(BLOCK_LEN as u64) {
        return Ok(None);
    }
    let block = read(file_len - BLOCK_LEN as u64, BLOCK_LEN)?;
    Ok(match SegmentTrailer::decode_expecting(&block, file_len, header.id, header.base_offset) {
        Err(BlockError::Magic { .. }) => None,
        other => Some(other),
    })
}

#[cfg(test)]
#[path = "segment_scan_test.rs"]
mod tests;
