//! Walking a segment's frames one after the other, and proving each of them good on the way.
//!
//! [`FrameWalk`] decides, over whatever window of bytes it is shown; `frame_reader` brings it the windows from a
//! file. A frame is given out only when its header checksum, partition, offset and chain agree, and its body too
//! from the offset on that the caller serves. The expensive mistake is to step over a length that nothing vouches
//! for. Deliberately absent: what to do about damage.

use crate::damage::{DamageKind, DamagedRange, SegmentDamage};
use crate::segment_format::block_up;
use sluice_model::frame::FRAME_MAGIC;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{FRAME_HEADER_LEN, FrameError, FrameHeader, LeaderEpoch, LeaderEpochHistory, Offset, TopicPartition};
use std::io;

/// Where a walk begins and where it ends.
#[derive(Clone, Copy, Debug)]
pub struct WalkRange {
    pub id: TopicPartition,
    /// Base offset of the segment, for messages.
    pub segment: Offset,
    /// First byte of the first frame.
    pub position: u64,
    /// Its base offset, and the `header_crc` of the frame before it.
    pub offset: Offset,
    pub prev_header_crc: u32,
    /// No frame reaches behind this byte.
    pub end_position: u64,
    /// The walk is over once it reaches this offset.
    pub end_offset: Offset,
}

#[derive(Debug)]
pub struct FrameWalk {
    range: WalkRange,
    verify_bodies_from: Offset,
    /// Padding that is not zeros is stepped over when the next block holds the frame that follows.
    passes_bad_pads: bool,
    /// Where what was taken for padding begins since the last good frame, when it is not all zeros: frames may stand in it,
    /// behind zeros that are damage.
    bad_pad: Option<u64>,
    /// Leader epochs of the log, as far as they are known.
    epochs: LeaderEpochHistory,
}

/// A good frame.
#[derive(Clone, Copy, Debug)]
pub struct WalkedFrame {
    pub position: u64,
    pub header: FrameHeader,
}

/// What a walk says about the window it was shown.
#[derive(Clone, Copy, Debug)]
pub enum WalkStep {
    Frame(WalkedFrame),
    /// It needs a window that has at least `len` bytes from `from` on.
    More {
        from: u64,
        len: usize,
    },
    End,
}

impl FrameWalk {
    /// Bodies are verified for frames that reach `verify_bodies_from`.
    #[must_use]
    pub fn new(range: WalkRange, verify_bodies_from: Offset) -> Self {
        Self { range, verify_bodies_from, passes_bad_pads: false, bad_pad: None, epochs: LeaderEpochHistory::default() }
    }

    /// Padding that is not zeros costs nothing when the frame behind it proves itself.
    pub(crate) fn pass_bad_pads(&mut self) {
        self.passes_bad_pads = true;
    }

    /// Refuses frames of an earlier leader epoch than the log has where they stand. Such a frame was cut off; where the write
    /// over it never arrived it still stands there, and follows the one before it as well as the one that took its place.
    #[must_use]
    pub(crate) fn under(mut self, epochs: LeaderEpochHistory) -> Self {
        self.epochs = epochs;
        self
    }

    /// First byte that the walk has not passed.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.range.position
    }

    /// Base offset that the next frame must have.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.range.offset
    }

    #[must_use]
    pub fn prev_header_crc(&self) -> u32 {
        self.range.prev_header_crc
    }

    /// What the walk has not passed yet: a walk over it goes on where this one stands.
    #[must_use]
    pub(crate) fn rest(&self) -> WalkRange {
        self.range
    }

    /// The next step over `window`, whose first byte is at `window_position` of the file.
    pub fn step(&mut self, window_position: u64, window: &[u8]) -> Result<WalkStep, SegmentDamage> {
        let step = self.step_on(window_position, window);
        match (step, self.bad_pad) {
            (Err(mut damage), Some(position)) => {
                (self.range.position, damage.position) = (position, position);
                Err(damage)
            }
            (step, _) => step,
        }
    }

    fn step_on(&mut self, window_position: u64, window: &[u8]) -> Result<WalkStep, SegmentDamage> {
        loop {
            if self.range.offset >= self.range.end_offset {
                return Ok(WalkStep::End);
            }
            let position = self.range.position;
            if position >= self.range.end_position {
                return Err(self.damage(DamageKind::NoFrame));
            }
            let bytes = position.checked_sub(window_position).and_then(|skip| window.get(usize::try_from(skip).ok()?..));
            match bytes.and_then(|bytes| bytes.first()) {
                None => return Ok(WalkStep::More { from: position, len: 1 }),
                Some(0) if position.is_multiple_of(BLOCK_LEN as u64) => return Err(self.damage(DamageKind::NoFrame)),
                Some(0) => self.pass_pad(bytes.unwrap_or_default()),
                Some(_) => match self.step_frame(bytes.unwrap_or_default()) {
                    Err(damage) => {
                        if let Some(more) = self.step_over_pad(damage, bytes.unwrap_or_default())? {
                            return Ok(more);
                        }
                    }
                    step => return step,
                },
            }
        }
    }

    /// A zero where a frame would begin: it does on the next block.
    fn pass_pad(&mut self, bytes: &[u8]) {
        let (from, next_block) = (self.range.position, block_up(self.range.position));
        let len = usize::try_from(next_block - from).expect("less than a block");
        if bytes[..len.min(bytes.len())].iter().any(|&byte| byte != 0) {
            self.bad_pad.get_or_insert(from);
        }
        self.range.position = next_block;
    }

    fn step_frame(&mut self, bytes: &[u8]) -> Result<WalkStep, SegmentDamage> {
        let position = self.range.position;
        let header = match FrameHeader::parse_sealed(bytes) {
            Ok(header) => *header,
            Err(FrameError::Truncated { wanted, .. }) => return self.more(wanted),
            Err(error) => return Err(self.damage(DamageKind::Frame(error))),
        };
        self.check_header(&header)?;
        // It stands where it has to: what was before it is padding.
        self.bad_pad = None;
        let Some(frame) = bytes.get(..header.frame_len()) else {
            return self.more(header.frame_len());
        };
        let next_offset = header.next_offset();
        if next_offset > self.verify_bodies_from
            && let Err(error) = header.verify_body(&frame[FRAME_HEADER_LEN..])
        {
            let mut damage = self.damage(DamageKind::Frame(error));
            damage.range.until = next_offset;
            return Err(damage);
        }
        self.range.position += header.frame_len() as u64;
        self.range.offset = next_offset;
        self.range.prev_header_crc = header.header_crc.to_native();
        Ok(WalkStep::Frame(WalkedFrame { position, header }))
    }

    /// Whether the frame that comes next begins on the next block and proves itself: then nothing is lost, and the walk
    /// goes on there (`None`). Otherwise the damage is what it is.
    fn step_over_pad(&mut self, damage: SegmentDamage, bytes: &[u8]) -> Result<Option<WalkStep>, SegmentDamage> {
        let (from, next_block) = (self.range.position, block_up(self.range.position));
        let skip = usize::try_from(next_block - from).expect("less than a block");
        let is_pad = self.passes_bad_pads && skip > 0 && next_block + FRAME_HEADER_LEN as u64 <= self.range.end_position;
        if !is_pad {
            return Err(damage);
        }
        let Some(head) = bytes.get(skip..skip + FRAME_HEADER_LEN) else {
            return Ok(Some(WalkStep::More { from, len: skip + FRAME_HEADER_LEN }));
        };
        match FrameHeader::parse_sealed(head) {
            Ok(header) if self.check_header(header).is_ok() => {
                self.range.position = next_block;
                Ok(None)
            }
            _ => Err(damage),
        }
    }

    fn check_header(&self, header: &FrameHeader) -> Result<(), SegmentDamage> {
        let range = &self.range;
        if header.topic_partition() != range.id {
            return Err(self.damage(DamageKind::Partition { expected: range.id, actual: header.topic_partition() }));
        }
        let (base_offset, record_count) = (header.base_offset(), header.record_count.to_native());
        if base_offset != range.offset || base_offset.0.checked_add(u64::from(record_count)).is_none() {
            return Err(self.damage(DamageKind::Offset { expected: range.offset, actual: base_offset }));
        }
        let actual = header.prev_header_crc.to_native();
        if actual != range.prev_header_crc {
            return Err(self.damage(DamageKind::Chain { expected: range.prev_header_crc, actual }));
        }
        if let Some(expected) = self.later_epoch(header) {
            return Err(self.damage(DamageKind::LeaderEpoch { expected, actual: header.leader_epoch() }));
        }
        Ok(())
    }

    /// The leader epoch that the log has where this frame stands, when it is later than the frame's.
    fn later_epoch(&self, header: &FrameHeader) -> Option<LeaderEpoch> {
        self.epochs.at(header.base_offset()).filter(|epoch| header.leader_epoch() < *epoch)
    }

    fn more(&self, len: usize) -> Result<WalkStep, SegmentDamage> {
        let (from, end) = (self.range.position, self.range.position + len as u64);
        if end > self.range.end_position {
            return Err(self.damage(DamageKind::PastEnd { expected: self.range.end_position, actual: end }));
        }
        Ok(WalkStep::More { from, len })
    }

    /// Whether the walk has come to its end, and not past it.
    #[must_use]
    pub(crate) fn is_at_end(&self) -> bool {
        self.range.offset == self.range.end_offset
    }

    #[must_use]
    pub(crate) fn end_position(&self) -> u64 {
        self.range.end_position
    }

    /// The first sealed header in `bytes` that may be a later frame of this walk, and where it begins. It proves
    /// nothing yet: a record may hold bytes that look like one.
    pub(crate) fn find_frame(&self, bytes: &[u8]) -> Option<(usize, FrameHeader)> {
        let candidates = bytes.windows(FRAME_MAGIC.len()).enumerate().filter(|(_, window)| *window == FRAME_MAGIC);
        candidates.map(|(at, _)| at).find_map(|at| {
            let header = *FrameHeader::parse_sealed(&bytes[at..]).ok()?;
            let (base_offset, record_count) = (header.base_offset(), u64::from(header.record_count.to_native()));
            let fits = base_offset.0.checked_add(record_count).is_some_and(|next| next <= self.range.end_offset.0);
            let is_later = base_offset >= self.range.offset && self.later_epoch(&header).is_none();
            (fits && is_later && header.topic_partition() == self.range.id).then_some((at, header))
        })
    }

    /// Goes on at a frame of which these are known: where it begins, its base offset, and what it follows.
    pub(crate) fn resume_at(&mut self, position: u64, offset: Offset, prev_header_crc: u32) {
        (self.range.position, self.range.offset, self.range.prev_header_crc) = (position, offset, prev_header_crc);
        self.bad_pad = None;
    }

    /// Goes on with a frame found behind damage; its link to what was before is not known.
    pub(crate) fn resume(&mut self, position: u64, header: &FrameHeader) {
        self.resume_at(position, header.base_offset(), header.prev_header_crc.to_native());
    }

    /// Damage at the walk's position, because the device does not give what stands there.
    #[must_use]
    pub fn unreadable(&self) -> SegmentDamage {
        self.damage(DamageKind::Unreadable)
    }

    pub(crate) fn damage_past_file(&self, expected: u64, actual: u64) -> SegmentDamage {
        self.damage(DamageKind::FileTooShort { expected, actual })
    }

    /// Damage at the walk's position; nothing is known of what follows, so it reaches to the walk's end.
    pub(crate) fn damage(&self, kind: DamageKind) -> SegmentDamage {
        let WalkRange { id, segment, position, offset, end_offset, .. } = self.range;
        SegmentDamage { id, segment, position, kind, range: DamagedRange { from: offset, until: end_offset } }
    }
}

/// Why frames could not be read from a file.
#[derive(Debug)]
pub enum WalkError {
    Io(io::Error),
    Damaged(SegmentDamage),
}

/// Damage is no error here: `None`.
pub(crate) fn undamaged<T>(result: Result<T, WalkError>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(WalkError::Damaged(_)) => Ok(None),
        Err(WalkError::Io(error)) => Err(error),
    }
}

#[cfg(test)]
#[path = "cut_off_frames_test.rs"]
mod cut_off_tests;
