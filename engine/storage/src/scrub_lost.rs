//! Where damage in a segment ends: at the next frame that proves itself.
//!
//! A body that is bad costs its own frame, because the header vouches for itself. After anything else the next header is
//! looked for, and counts once it follows the last good frame, or the walk from it on arrives at a frame that an index
//! knows, or at the recorded end. The expensive mistake is to believe a header on its own: a record may hold one.
//! Deliberately absent: the walk over good frames (`scrub_segment`).

use crate::damage::{DamageKind, DamagedRange, SegmentDamage};
use crate::frame_walk::WalkedFrame;
use crate::offset_index::OffsetEntry;
use crate::scrub_finding::ScrubKind;
use crate::scrub_segment::{SegmentScrub, Stage};
use sluice_model::{FRAME_HEADER_LEN, FrameError, FrameHeader, Offset};
use std::ops::Range;

/// Damage whose end is not known yet.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) damage: SegmentDamage,
    /// Where the next frame is looked for; `None` while one that was found has to prove itself.
    pub(crate) search_from: Option<u64>,
    /// The base offset of the first one since the last damage.
    pub(crate) resumed: Option<Offset>,
    /// Bad bodies of frames since then: theirs to lose only once the frames have proved themselves.
    pub(crate) bodies: Vec<BadBody>,
}

/// A frame whose header is good and whose body is not.
#[derive(Debug)]
pub(crate) struct BadBody {
    bytes: Range<u64>,
    kind: DamageKind,
    range: DamagedRange,
}

/// What looking for a later frame has come to.
pub(crate) enum Search {
    Found,
    More,
    /// There is no later frame.
    Nothing,
}

impl SegmentScrub {
    /// A frame behind damage; false when it is none, and the walk goes on at the index entry it has missed.
    pub(crate) fn on_unproven_frame(&mut self, frame: &WalkedFrame) -> bool {
        let Some(bound) = self.bound() else { return true };
        let position = u64::from(bound.position);
        if frame.position + frame.header.frame_len() as u64 <= position {
            return true;
        }
        let prev_header_crc = frame.header.prev_header_crc.to_native();
        let proven = frame.position == position
            && frame.header.base_offset() == bound.base_offset
            && prev_header_crc == bound.prev_header_crc;
        if proven {
            let until = self.lost.as_ref().and_then(|lost| lost.resumed).unwrap_or(bound.base_offset);
            self.settle_lost(until);
            return true;
        }
        self.resume_at(bound);
        false
    }

    pub(crate) fn on_damage(&mut self, damage: SegmentDamage) {
        if let Some(footer) = &mut self.footer {
            footer.on_damage();
        }
        if let (DamageKind::Frame(FrameError::BatchCrc { .. }), Some(header)) = (damage.kind, self.header_at(damage.position)) {
            self.on_bad_body(&damage, &header);
            return;
        }
        // What is no pad before it belongs to the damage.
        let pad_is_good = self.slice(self.checked, damage.position).iter().all(|byte| *byte == 0);
        let from = if pad_is_good { damage.position } else { self.checked };
        match &mut self.lost {
            Some(lost) => {
                lost.search_from = Some(from + 1);
                // What seemed to be frames may have been a record: any frame behind the first damage is looked for.
                self.walk.resume_at(from, lost.damage.range.from, 0);
            }
            None => {
                let damage = SegmentDamage { position: from, ..damage };
                self.lost = Some(Lost { damage, search_from: Some(from + 1), resumed: None, bodies: Vec::new() });
            }
        }
    }

    /// The header vouches for itself and for where the next frame begins. Behind damage that is so once the header, too, has
    /// proved itself: a record that imitates a frame costs no offsets that it names.
    fn on_bad_body(&mut self, damage: &SegmentDamage, header: &FrameHeader) {
        let SegmentDamage { position, kind, range, .. } = *damage;
        if self.lost.is_some() && !self.on_unproven_frame(&WalkedFrame { position, header: *header }) {
            return;
        }
        let end = position + header.frame_len() as u64;
        match &mut self.lost {
            Some(lost) => lost.bodies.push(BadBody { bytes: position..end, kind, range }),
            None => {
                self.check_pad(position);
                self.report(position..end, ScrubKind::Segment(kind), Some(range));
            }
        }
        self.walk.resume_at(end, header.next_offset(), header.header_crc.to_native());
        self.checked = end;
    }

    /// Looks for a frame behind damage in the bytes at hand.
    pub(crate) fn search(&mut self) -> Search {
        let Some(from) = self.lost.as_ref().and_then(|lost| lost.search_from) else { return Search::Found };
        let bound = self.bound();
        let until = bound.map_or(self.walk.end_position(), |bound| u64::from(bound.position));
        let found = self.walk.find_frame(self.slice(from, until + FRAME_HEADER_LEN as u64));
        if let Some((at, header)) = found.filter(|(at, _)| from + (*at as u64) < until) {
            self.on_candidate(from + at as u64, &header);
            return Search::Found;
        }
        if self.read_end() < until + FRAME_HEADER_LEN as u64 && !self.has_all_of_file() {
            // A header may straddle the end of what was read.
            let next = from.max((self.read_end() + 1).saturating_sub(FRAME_HEADER_LEN as u64));
            if let Some(lost) = &mut self.lost {
                lost.search_from = Some(next);
            }
            return Search::More;
        }
        match bound {
            Some(bound) if u64::from(bound.position) < self.read_end() => {
                self.resume_at(bound);
                Search::Found
            }
            _ => Search::Nothing,
        }
    }

    pub(crate) fn on_candidate(&mut self, position: u64, header: &FrameHeader) {
        let links = header.base_offset() == self.walk.next_offset()
            && header.prev_header_crc.to_native() == self.walk.prev_header_crc()
            && self.lost.as_ref().is_some_and(|lost| lost.resumed.is_none());
        self.walk.resume_at(position, header.base_offset(), header.prev_header_crc.to_native());
        if let Some(seen) = &mut self.seen {
            seen.forget_unproven();
        }
        if let Some(lost) = &mut self.lost {
            lost.bodies.clear();
        }
        if links {
            // It follows the last good frame: what lies between is no frame.
            self.settle_lost(header.base_offset());
        } else if let Some(lost) = &mut self.lost {
            lost.search_from = None;
            lost.resumed = Some(header.base_offset());
        }
        self.checked = position;
    }

    /// Goes on with a frame that the index vouches for.
    pub(crate) fn resume_at(&mut self, entry: OffsetEntry) {
        self.settle_lost(entry.base_offset);
        self.walk.resume_at(u64::from(entry.position), entry.base_offset, entry.prev_header_crc);
        self.checked = u64::from(entry.position);
    }

    /// The damage ends before `until`, where a frame has proved itself.
    pub(crate) fn settle_lost(&mut self, until: Offset) {
        let Some(lost) = self.lost.take() else { return };
        if let Some(seen) = &mut self.seen {
            seen.prove_from(until);
        }
        let SegmentDamage { position, kind, range, .. } = lost.damage;
        let range = DamagedRange { from: range.from, until };
        let bodies: Vec<BadBody> = lost.bodies.into_iter().filter(|body| body.range.from >= until).collect();
        let first_body = bodies.first().map_or(u64::MAX, |body| body.bytes.start);
        let end = self.walk.position().min(first_body).max(position + 1);
        if range.from < range.until {
            self.report(position..end, ScrubKind::Segment(kind), Some(range));
        } else {
            let actual = self.slice(position, end).iter().copied().find(|byte| *byte != 0).unwrap_or_default();
            self.report(position..end, ScrubKind::NotZero { actual }, None);
        }
        for BadBody { bytes, kind, range } in bodies {
            self.report(bytes, ScrubKind::Segment(kind), Some(range));
        }
    }

    /// What was found arrives at the recorded end and is not what stands there: the search goes on behind it.
    pub(crate) fn look_further(&mut self) {
        let position = self.walk.position();
        if let Some(lost) = &mut self.lost {
            lost.search_from = Some(position);
            self.walk.resume_at(position, lost.damage.range.from, 0);
        }
    }

    /// No later frame has proved itself: nothing from the damage on can be served.
    pub(crate) fn end_lost(&mut self) -> bool {
        self.settle_lost(self.expected.end_offset);
        self.stage = Stage::Done;
        false
    }

    /// The first index entry behind the damage: what a search may not go past.
    pub(crate) fn bound(&self) -> Option<OffsetEntry> {
        let position = self.lost.as_ref()?.damage.position;
        let at = self.expected.entries.partition_point(|entry| u64::from(entry.position) <= position);
        self.expected.entries.get(at).copied().filter(|entry| entry.base_offset < self.expected.end_offset)
    }

    pub(crate) fn header_at(&self, position: u64) -> Option<FrameHeader> {
        FrameHeader::parse_sealed(self.slice(position, self.read_end())).ok().copied()
    }
}
