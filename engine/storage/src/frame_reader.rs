//! A walk over the frames of a file, with the windows that it needs brought from the device.
//!
//! What the device fails to read is asked for again block by block, and what fails twice is damage like any other: it
//! costs the frames that have a byte in it, and the walk goes on behind them. The expensive mistake is to search on from
//! a header that only looks like one, past the frames that it hides. Deliberately absent: what a frame has to be
//! (`frame_walk`), and what is done about damage.

use crate::careful_read::read_blocks;
use crate::damage::{DamageKind, SegmentDamage};
use crate::disk::{DiskFile, is_device_error};
use crate::frame_walk::{FrameWalk, WalkError, WalkRange, WalkStep, WalkedFrame};
use crate::read_turns::Turns;
use crate::segment_format::{block_down, block_up};
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{FRAME_HEADER_LEN, FrameHeader, LeaderEpochHistory, Offset};
use std::io;
use std::ops::Range;

/// Bytes asked for at once, as long as no frame is larger, where the device has failed a read.
const CAREFUL_WINDOW_LEN: usize = 64 * 1024;

/// How frames of a log are read: who makes the reads wait, and the leader epochs of the log, from the first frame to be
/// read on.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) turns: &'a Turns,
    pub(crate) epochs: &'a LeaderEpochHistory,
}

impl Reading<'_> {
    /// A walk over `range`, which verifies bodies of frames that reach `verify_bodies_from`, `window_len` bytes at a time.
    pub(crate) fn reader<F: DiskFile>(
        self,
        file: F,
        range: WalkRange,
        verify_bodies_from: Offset,
        window_len: usize,
    ) -> FrameReader<F> {
        let walk = FrameWalk::new(range, verify_bodies_from).under(self.epochs.clone());
        FrameReader::new(file, walk, window_len).in_turns(self.turns)
    }
}

/// A [`FrameWalk`] over a file, `window_len` bytes at a time.
pub struct FrameReader<F: DiskFile> {
    file: F,
    walk: FrameWalk,
    window_len: usize,
    window_position: u64,
    window: Window<F::Buffer>,
    /// Of the window: positions in the file.
    unreadable: Vec<Range<u64>>,
    turns: Turns,
}

/// Part of the file in memory.
enum Window<B> {
    Empty,
    Whole(B),
    Blocks(Vec<u8>),
}

impl<B: std::ops::Deref<Target = [u8]>> Window<B> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Empty => &[],
            Self::Whole(buffer) => buffer,
            Self::Blocks(bytes) => bytes,
        }
    }
}

impl<F: DiskFile> FrameReader<F> {
    #[must_use]
    pub fn new(file: F, mut walk: FrameWalk, window_len: usize) -> Self {
        walk.pass_bad_pads();
        let window_len = window_len.next_multiple_of(BLOCK_LEN).max(BLOCK_LEN);
        Self { file, walk, window_len, window_position: 0, window: Window::Empty, unreadable: Vec::new(), turns: Turns::UNPACED }
    }

    /// Each window is read in a turn of its own.
    #[must_use]
    pub(crate) fn in_turns(mut self, turns: &Turns) -> Self {
        self.turns = turns.clone();
        self
    }

    #[must_use]
    pub fn walk(&self) -> &FrameWalk {
        &self.walk
    }

    /// The next good frame; `None` at the end. Its bytes are [`Self::bytes`]'s until the next call.
    pub async fn next(&mut self) -> Result<Option<WalkedFrame>, WalkError> {
        loop {
            match self.walk.step(self.window_position, self.window.bytes()) {
                Ok(WalkStep::Frame(frame)) => return Ok(Some(frame)),
                Ok(WalkStep::End) => return Ok(None),
                Ok(WalkStep::More { from, len }) => self.load(from, len).await?,
                Err(damage) => return Err(WalkError::Damaged(self.named(damage))),
            }
        }
    }

    /// As [`Self::next`], but `None` as well where the device would have to be asked for a frame of more than `room` bytes,
    /// or for any when `least` is more than that.
    pub(crate) async fn next_in_room(&mut self, room: usize, least: usize) -> Result<Option<WalkedFrame>, WalkError> {
        match self.walk.step(self.window_position, self.window.bytes()) {
            Ok(WalkStep::More { len, .. }) if room < len.max(least) => Ok(None),
            Ok(WalkStep::Frame(frame)) => Ok(Some(frame)),
            // Asked again, the walk says the same.
            _ => self.next().await,
        }
    }

    /// The bytes of a frame that [`Self::next`] has just given out.
    #[must_use]
    pub fn bytes(&self, frame: &WalkedFrame) -> &[u8] {
        let start = usize::try_from(frame.position - self.window_position).expect("the frame is in the window");
        &self.window.bytes()[start..start + frame.header.frame_len()]
    }

    /// Goes on at a frame of which these are known: where it begins, its base offset, and what it follows.
    pub(crate) fn resume_at(&mut self, position: u64, offset: Offset, prev_header_crc: u32) {
        self.walk.resume_at(position, offset, prev_header_crc);
    }

    /// After damage: looks for a later frame and goes on there. False when there is none before the walk's end.
    pub async fn resume_behind_damage(&mut self) -> Result<bool, WalkError> {
        let found = self.find_frame(self.walk.position() + 1).await?;
        if let Some((position, header)) = found {
            self.walk.resume(position, &header);
        }
        Ok(found.is_some())
    }

    /// As [`Self::resume_behind_damage`], where a gap may be the damage: the frame behind it stands where the walk does.
    pub(crate) async fn resume_behind_gap(&mut self) -> Result<bool, WalkError> {
        let here = self.walk.position();
        let Some((position, header)) = self.find_frame(here).await? else { return Ok(false) };
        if position == here && header.base_offset() <= self.walk.next_offset() {
            return self.resume_behind_damage().await;
        }
        self.walk.resume(position, &header);
        Ok(true)
    }

    /// Goes on with the first frame from `position` on that is whole, body included, and not below `floor`. False when
    /// there is none before the walk's end.
    pub(crate) async fn resume_whole(&mut self, mut position: u64, floor: Offset) -> Result<bool, WalkError> {
        self.walk.resume_at(position, floor, 0);
        while let Some((at, header)) = self.find_frame(position).await? {
            if self.is_whole(at, &header).await? {
                self.walk.resume(at, &header);
                return Ok(true);
            }
            position = at + 1;
        }
        Ok(false)
    }

    /// The first sealed header from `position` on that may be a later frame of this walk.
    async fn find_frame(&mut self, mut position: u64) -> Result<Option<(u64, FrameHeader)>, WalkError> {
        while position + FRAME_HEADER_LEN as u64 <= self.walk.end_position() {
            if self.at(position, FRAME_HEADER_LEN).is_none() {
                match self.load(position, FRAME_HEADER_LEN).await {
                    Err(WalkError::Damaged(_)) => return Ok(None),
                    other => other?,
                }
            }
            let bytes = self.window.bytes();
            let skip = usize::try_from(position - self.window_position).unwrap_or(usize::MAX);
            if let Some((at, header)) = self.walk.find_frame(bytes.get(skip..).unwrap_or_default()) {
                return Ok(Some((position + at as u64, header)));
            }
            // A header may straddle the window's end.
            let next = (self.window_position + bytes.len() as u64).saturating_sub(FRAME_HEADER_LEN as u64 - 1);
            position = next.max(position + 1);
        }
        Ok(None)
    }

    /// Whether the body behind a header that was found is the one that it speaks of.
    async fn is_whole(&mut self, position: u64, header: &FrameHeader) -> Result<bool, WalkError> {
        let len = header.frame_len();
        if position + len as u64 > self.walk.end_position() {
            return Ok(false);
        }
        if self.at(position, len).is_none() {
            match self.load(position, len).await {
                Err(WalkError::Damaged(_)) => return Ok(false),
                other => other?,
            }
        }
        Ok(self.at(position, len).is_some_and(|frame| header.verify_body(&frame[FRAME_HEADER_LEN..]).is_ok()))
    }

    /// Bytes of the window.
    fn at(&self, position: u64, len: usize) -> Option<&[u8]> {
        let start = usize::try_from(position.checked_sub(self.window_position)?).ok()?;
        self.window.bytes().get(start..start.checked_add(len)?)
    }

    /// Damage that the device has done, called so.
    fn named(&self, mut damage: SegmentDamage) -> SegmentDamage {
        let header = self.at(damage.position, FRAME_HEADER_LEN).and_then(|bytes| FrameHeader::parse_sealed(bytes).ok());
        let end = damage.position + header.map_or(FRAME_HEADER_LEN, FrameHeader::frame_len) as u64;
        if self.unreadable.iter().any(|range| range.start < end && damage.position < range.end) {
            damage.kind = DamageKind::Unreadable;
        }
        damage
    }

    async fn load(&mut self, from: u64, len: usize) -> Result<(), WalkError> {
        let position = block_down(from);
        let wanted = usize::try_from(block_up(from + len as u64) - position).expect("a frame fits in memory");
        let end_position = block_up(self.walk.end_position());
        let left = usize::try_from(end_position - position).unwrap_or(usize::MAX);
        let window = self.read(position, wanted, left).await.map_err(WalkError::Io)?;
        let read_len = window.bytes().len();
        if ((from - position) as usize) + len > read_len {
            let kind = DamageKind::FileTooShort { expected: from + len as u64, actual: position + read_len as u64 };
            return Err(WalkError::Damaged(self.walk.damage(kind)));
        }
        (self.window_position, self.window) = (position, window);
        Ok(())
    }

    async fn read(&mut self, position: u64, wanted: usize, left: usize) -> io::Result<Window<F::Buffer>> {
        self.unreadable.clear();
        let len = wanted.max(self.window_len.min(left));
        let _turn = self.turns.take(len).await;
        match self.file.read_at(position, len).await {
            Ok(buffer) => Ok(Window::Whole(buffer)),
            Err(error) if is_device_error(&error) => {
                self.window_len = self.window_len.min(CAREFUL_WINDOW_LEN);
                let read = read_blocks(&self.file, position, wanted.max(self.window_len.min(left)), is_device_error).await?;
                self.unreadable = read.unreadable;
                Ok(Window::Blocks(read.bytes))
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
#[path = "frame_reader_test.rs"]
mod tests;
