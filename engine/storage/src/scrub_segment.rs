//! The scrub of one segment file, fed with its bytes piece by piece: what to read next, and what is wrong with it.
//!
//! Footer first, because its index vouches for frames behind damage; then the header block, every frame, every pad.
//! A damaged frame costs the offsets up to the next frame that proves itself: one that chains to the last good frame, to
//! an index entry, or without a gap to the recorded end. The expensive mistake is to take a record that imitates a
//! frame for one, and call offsets good that are not. Deliberately absent: I/O, and whether the segment is still there
//! (`scrub`).

use crate::active_segment::FRAMES_START;
use crate::careful_read::BlockBytes;
use crate::checkpoint::SealedSegmentInfo;
use crate::damage::{DamageKind, DamagedRange};
use crate::frame_walk::{FrameWalk, WalkRange, WalkStep, WalkedFrame};
use crate::offset_index::OffsetEntry;
use crate::scrub_finding::{ScrubFinding, ScrubKind};
use crate::scrub_footer::FooterCheck;
use crate::scrub_lost::{Lost, Search};
use crate::scrub_read::SCRUB_PIECE_LEN;
use crate::scrub_seen::SeenFrames;
use crate::segment_format::{SegmentFooter, SegmentHeader, SegmentTrailer, block_up};
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{FrameHeader, LeaderEpochHistory, Offset, TopicPartition};
use std::ops::Range;
use std::path::PathBuf;

/// What a segment has to hold, as it was known when its scrub began.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) path: PathBuf,
    pub(crate) id: TopicPartition,
    pub(crate) base_offset: Offset,
    /// `header_crc` of the frame before its first one, where the log knows it.
    pub(crate) prev_header_crc: Option<u32>,
    /// Frames reach up to this offset, and the last of them has this `header_crc`.
    pub(crate) end_offset: Offset,
    pub(crate) last_header_crc: u32,
    /// No frame reaches behind this byte.
    pub(crate) end_position: u64,
    /// End of the blocks that hold anything.
    pub(crate) end: u64,
    /// What the log knows of a sealed segment.
    pub(crate) sealed: Option<SealedSegmentInfo>,
    /// The part of a frame that lies below `end` while the rest of it is not flushed, and where it begins.
    pub(crate) straddle: Option<(u64, Vec<u8>)>,
    /// Frames that the log knows of.
    pub(crate) entries: Vec<OffsetEntry>,
    /// Leader epochs of the log, from the first frame on as far as they are known.
    pub(crate) epochs: LeaderEpochHistory,
}

#[derive(Debug)]
pub(crate) enum Stage {
    Trailer,
    Footer(SegmentTrailer),
    Frames,
    /// What follows the last frame, up to this byte.
    Pads(u64),
    Done,
}

#[derive(Debug)]
pub(crate) struct SegmentScrub {
    pub(crate) expected: Expected,
    pub(crate) stage: Stage,
    pub(crate) footer: Option<FooterCheck>,
    pub(crate) walk: FrameWalk,
    /// Bytes of the file from `start` on that were read and are still needed.
    pub(crate) bytes: Vec<u8>,
    pub(crate) start: u64,
    /// End of what is known good.
    pub(crate) checked: u64,
    pub(crate) lost: Option<Lost>,
    /// Failed reads that no finding names yet.
    pub(crate) unreadable: Vec<Range<u64>>,
    pub(crate) file_has_ended: bool,
    /// Something was found that cannot be served.
    has_lost: bool,
    /// Every frame was read and is good.
    has_all_frames: bool,
    pub(crate) findings: Vec<ScrubFinding>,
    /// Frames that proved themselves, for who asks for them.
    pub(crate) seen: Option<SeenFrames>,
}

impl SegmentScrub {
    pub(crate) fn new(expected: Expected) -> Self {
        let walk = walk_of(&expected, expected.prev_header_crc);
        let has_footer = expected.sealed.is_some_and(|info| info.has_footer);
        Self {
            stage: if has_footer { Stage::Trailer } else { Stage::Frames },
            start: if has_footer { expected.end.saturating_sub(BLOCK_LEN as u64) } else { 0 },
            expected,
            footer: None,
            walk,
            bytes: Vec::new(),
            checked: 0,
            lost: None,
            unreadable: Vec::new(),
            file_has_ended: false,
            has_lost: false,
            has_all_frames: false,
            findings: Vec::new(),
            seen: None,
        }
    }

    /// Position and length of the next read; `None` when the segment is done.
    pub(crate) fn next_read(&self) -> Option<(u64, usize)> {
        let end = match &self.stage {
            Stage::Trailer => self.expected.end,
            Stage::Footer(trailer) => trailer.footer_position + trailer.footer_len,
            Stage::Frames => block_up(self.walk.end_position()).max(FRAMES_START),
            Stage::Pads(end) => block_up(*end),
            Stage::Done => return None,
        };
        let from = self.read_end();
        let len = end.saturating_sub(from).clamp(BLOCK_LEN as u64, SCRUB_PIECE_LEN as u64);
        Some((from, usize::try_from(len).expect("a piece fits in memory")))
    }

    /// Takes the bytes of [`Self::next_read`], and gives back what is wrong with them.
    pub(crate) fn feed(&mut self, asked: usize, read: BlockBytes) -> Vec<ScrubFinding> {
        self.file_has_ended = read.bytes.len() < asked;
        if self.bytes.is_empty() {
            self.bytes = read.bytes;
        } else {
            self.bytes.extend_from_slice(&read.bytes);
        }
        self.unreadable.extend(read.unreadable);
        // Each stage either needs more bytes or is over; the next one may have what it needs already.
        while self.advance() {}
        if self.next_read().is_none() {
            self.report_unreadable();
        }
        std::mem::take(&mut self.findings)
    }

    /// The offsets that this scrub, which is over, has proved good: all of the segment's or none. The frames chain to its
    /// recorded end, and to the segment before it.
    pub(crate) fn proven(&self) -> Option<DamagedRange> {
        let is_linked = self.expected.prev_header_crc.is_some();
        let is_proven = matches!(self.stage, Stage::Done) && self.has_all_frames && !self.has_lost && is_linked;
        is_proven.then_some(DamagedRange { from: self.expected.base_offset, until: self.expected.end_offset })
    }

    /// The file cannot be opened: nothing of it can be served.
    pub(crate) fn on_missing(&self) -> ScrubFinding {
        let lost = DamagedRange { from: self.expected.base_offset, until: self.expected.end_offset };
        self.finding(0, ScrubKind::Segment(DamageKind::FileMissing), Some(lost))
    }

    /// The device did not let it be opened.
    pub(crate) fn on_unopened(&self) -> ScrubFinding {
        self.finding(0, ScrubKind::Unreadable, None)
    }

    /// True when there may be more to do with the bytes at hand.
    fn advance(&mut self) -> bool {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Trailer => self.on_trailer(),
            Stage::Footer(trailer) => self.on_footer(trailer),
            Stage::Frames => self.on_frames(),
            Stage::Pads(end) => self.on_pads(end),
            Stage::Done => false,
        }
    }

    fn on_trailer(&mut self) -> bool {
        let Expected { id, base_offset, end, .. } = self.expected;
        let info = self.expected.sealed.expect("only a sealed segment has a trailer");
        let trailer = SegmentTrailer::decode_expecting(&self.bytes, end, id, base_offset);
        let at = self.start;
        match trailer.map(|trailer| (trailer, FooterCheck::disagreement(&trailer, &info))) {
            Ok((trailer, None)) => {
                self.begin_at(trailer.footer_position);
                self.stage = Stage::Footer(trailer);
                false
            }
            Ok((_, Some(field))) => self.without_footer(at, ScrubKind::Disagrees { field }),
            Err(error) => self.without_footer(at, ScrubKind::Trailer(error)),
        }
    }

    fn on_footer(&mut self, trailer: SegmentTrailer) -> bool {
        if (self.bytes.len() as u64) < trailer.footer_len && !self.file_has_ended {
            self.stage = Stage::Footer(trailer);
            return false;
        }
        match SegmentFooter::decode(&self.bytes, &trailer) {
            Ok(footer) => {
                let info = self.expected.sealed.expect("only a sealed segment has a footer");
                let check = FooterCheck::new(trailer, footer, info);
                self.expected.end_position = trailer.footer_position;
                self.expected.entries = check.entries().to_vec();
                self.footer = Some(check);
                self.begin_frames()
            }
            Err(error) => self.without_footer(trailer.footer_position, ScrubKind::Footer(error)),
        }
    }

    /// A bad footer costs no record: the frames are walked without it.
    fn without_footer(&mut self, position: u64, kind: ScrubKind) -> bool {
        self.report(position..self.expected.end, kind, None);
        self.begin_frames()
    }

    fn begin_frames(&mut self) -> bool {
        self.begin_at(0);
        self.stage = Stage::Frames;
        false
    }

    fn begin_at(&mut self, position: u64) {
        self.bytes.clear();
        self.start = position;
        self.file_has_ended = false;
    }

    fn on_frames(&mut self) -> bool {
        if self.checked < FRAMES_START && !self.on_header_block() {
            self.stage = Stage::Frames;
            return false;
        }
        loop {
            if self.lost.as_ref().is_some_and(|lost| lost.search_from.is_some()) {
                match self.search() {
                    Search::Found => {}
                    Search::More => break,
                    Search::Nothing => return self.end_lost(),
                }
            }
            match self.walk.step(self.start, &self.bytes) {
                Ok(WalkStep::Frame(frame)) => self.on_frame(&frame),
                Ok(WalkStep::End) => return self.on_frames_end(),
                Ok(WalkStep::More { from, len }) if self.has_all_of_file() => {
                    let damage = self.walk.damage_past_file(from + len as u64, self.read_end());
                    self.on_damage(damage);
                }
                Ok(WalkStep::More { .. }) => break,
                Err(damage) => self.on_damage(damage),
            }
        }
        self.drop_checked();
        self.stage = Stage::Frames;
        false
    }

    /// The first block; false when it is not there yet.
    fn on_header_block(&mut self) -> bool {
        if self.bytes.len() < BLOCK_LEN && !self.file_has_ended {
            return false;
        }
        let block = self.bytes.get(..BLOCK_LEN).unwrap_or(&self.bytes);
        let header = SegmentHeader::decode_expecting(block, self.expected.id, self.expected.base_offset);
        self.checked = FRAMES_START;
        let said = header.as_ref().ok().map(|header| header.prev_header_crc);
        match (header, self.expected.prev_header_crc) {
            (Err(error), _) => self.report(0..FRAMES_START, ScrubKind::Header(error), None),
            (Ok(header), Some(expected)) if header.prev_header_crc != expected => {
                let kind = DamageKind::Chain { expected, actual: header.prev_header_crc };
                self.report(0..FRAMES_START, ScrubKind::Segment(kind), None);
            }
            (Ok(_), _) => {}
        }
        let first_entry = self.expected.entries.first().filter(|entry| u64::from(entry.position) == FRAMES_START);
        let by_frame = || FrameHeader::parse_sealed(self.bytes.get(BLOCK_LEN..).unwrap_or_default()).ok();
        let prev_header_crc = self
            .expected
            .prev_header_crc
            .or(said)
            .or(first_entry.map(|entry| entry.prev_header_crc))
            .or_else(|| by_frame().map(|frame| frame.prev_header_crc.to_native()));
        self.walk = walk_of(&self.expected, prev_header_crc);
        true
    }

    fn on_frame(&mut self, frame: &WalkedFrame) {
        if self.lost.is_some() {
            if !self.on_unproven_frame(frame) {
                return;
            }
        } else {
            self.check_pad(frame.position);
        }
        if let Some(footer) = &mut self.footer {
            footer.on_frame(frame);
        }
        if let Some(seen) = &mut self.seen {
            seen.on_frame(frame, self.lost.is_none());
        }
        self.checked = frame.position + frame.header.frame_len() as u64;
    }

    fn on_frames_end(&mut self) -> bool {
        self.stage = Stage::Frames;
        let linked = self.walk.prev_header_crc() == self.expected.last_header_crc;
        match &self.lost {
            Some(lost) if linked => {
                let until = lost.resumed.unwrap_or(self.expected.end_offset);
                self.settle_lost(until);
            }
            Some(_) => {
                self.look_further();
                return true;
            }
            None if !linked => {
                let kind = DamageKind::Chain { expected: self.expected.last_header_crc, actual: self.walk.prev_header_crc() };
                self.report(self.checked..self.checked + 1, ScrubKind::Segment(kind), None);
            }
            None => self.has_all_frames = true,
        }
        let footer_position = self.footer.as_ref().map(|footer| footer.trailer.footer_position);
        if let Some(footer) = &self.footer
            && let Some(field) = footer.finish(self.checked)
        {
            let at = footer.trailer.footer_position;
            self.report(at..self.expected.end, ScrubKind::Disagrees { field }, None);
        }
        let end = match self.expected.sealed {
            None => self.expected.end,
            // Where its footer begins is not known: at the next block, or behind it.
            Some(info) if info.has_footer => footer_position.unwrap_or_else(|| block_up(self.checked)),
            Some(_) => self.checked,
        };
        self.stage = if self.checked < end { Stage::Pads(end) } else { Stage::Done };
        self.drop_checked();
        self.checked < end
    }

    /// The bytes at hand from one position to another.
    pub(crate) fn slice(&self, from: u64, until: u64) -> &[u8] {
        let index = |position: u64| {
            let at = position.clamp(self.start, self.read_end()) - self.start;
            usize::try_from(at).expect("what is at hand fits in memory")
        };
        &self.bytes[index(from)..index(until.max(from))]
    }

    pub(crate) fn read_end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Nothing that could hold a frame is left to be read.
    pub(crate) fn has_all_of_file(&self) -> bool {
        self.file_has_ended || self.read_end() >= block_up(self.walk.end_position())
    }

    /// Forgets what needs no second look.
    fn drop_checked(&mut self) {
        let searched = self.lost.as_ref().and_then(|lost| lost.search_from).map(|from| from - 1);
        let keep_from = searched.unwrap_or(self.checked).clamp(self.start, self.read_end());
        let count = usize::try_from(keep_from - self.start).expect("what is at hand fits in memory");
        self.bytes.drain(..count);
        self.start = keep_from;
    }

    pub(crate) fn report(&mut self, bad: Range<u64>, kind: ScrubKind, lost: Option<DamagedRange>) {
        let of_device =
            self.unreadable.iter().find(|range| range.start < bad.end && bad.start < range.end).map(|range| range.start);
        self.unreadable.retain(|range| range.start >= bad.end || bad.start >= range.end);
        let (position, kind) = of_device.map_or((bad.start, kind), |position| (position, ScrubKind::Unreadable));
        self.has_lost |= lost.is_some();
        let finding = self.finding(position, kind, lost);
        self.findings.push(finding);
    }

    fn report_unreadable(&mut self) {
        for range in std::mem::take(&mut self.unreadable) {
            let finding = self.finding(range.start, ScrubKind::Unreadable, None);
            self.findings.push(finding);
        }
    }

    pub(crate) fn finding(&self, position: u64, kind: ScrubKind, lost: Option<DamagedRange>) -> ScrubFinding {
        ScrubFinding { file: self.expected.path.clone(), position, kind, id: Some(self.expected.id), lost }
    }
}

fn walk_of(expected: &Expected, prev_header_crc: Option<u32>) -> FrameWalk {
    let range = WalkRange {
        id: expected.id,
        segment: expected.base_offset,
        position: FRAMES_START,
        offset: expected.base_offset,
        prev_header_crc: prev_header_crc.unwrap_or_default(),
        end_position: expected.end_position,
        end_offset: expected.end_offset,
    };
    FrameWalk::new(range, Offset::ZERO).under(expected.epochs.clone())
}
