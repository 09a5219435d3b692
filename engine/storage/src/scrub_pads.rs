//! What stands between frames, and behind the last one: zeros, but for what a power cut or a truncation may have left.
//!
//! The expensive mistake is to call that damage, and a segment bad for ever. Deliberately absent: frames (`scrub_segment`).

use crate::damage::DamageKind;
use crate::scrub_finding::ScrubKind;
use crate::scrub_segment::{SegmentScrub, Stage};
use sluice_model::frame::FRAME_MAGIC;
use sluice_model::{FrameError, FrameHeader};

impl SegmentScrub {
    /// Zeros up to `end`, but for the part of a frame that is known from memory.
    pub(crate) fn on_pads(&mut self, end: u64) -> bool {
        if self.read_end() < end && !self.file_has_ended {
            self.stage = Stage::Pads(end);
            return false;
        }
        if self.read_end() < end {
            let kind = DamageKind::FileTooShort { expected: end, actual: self.read_end() };
            self.report(self.read_end()..end, ScrubKind::Segment(kind), None);
        }
        if self.expected.sealed.is_some() && self.holds_cut_frame(end) {
            return false;
        }
        let straddle = self.expected.straddle.take();
        self.check_pad(straddle.as_ref().map_or(end, |(position, _)| *position));
        if let Some((position, written)) = straddle {
            let found = self.slice(position, end);
            if let Some(at) = (0..written.len().min(found.len())).find(|&at| written[at] != found[at]) {
                let kind = ScrubKind::NotAsWritten { expected: written[at], actual: found[at] };
                self.report(position + at as u64..end, kind, None);
            }
        }
        false
    }

    /// No block is written twice: where a truncation has ended a segment inside a block, the beginning of the frame that
    /// was cut off stands behind the last one, and holds nothing.
    fn holds_cut_frame(&self, end: u64) -> bool {
        let rest = self.slice(self.checked, end);
        let magic_len = rest.len().min(FRAME_MAGIC.len());
        match FrameHeader::parse_sealed(rest) {
            Ok(header) => header.prev_header_crc.to_native() == self.walk.prev_header_crc(),
            Err(FrameError::Truncated { .. }) => magic_len > 0 && rest[..magic_len] == FRAME_MAGIC[..magic_len],
            Err(_) => false,
        }
    }

    pub(crate) fn check_pad(&mut self, until: u64) {
        let pad = self.slice(self.checked, until);
        if let Some(at) = pad.iter().position(|byte| *byte != 0) {
            let (at, actual) = (self.checked + at as u64, pad[at]);
            self.report(at..until, ScrubKind::NotZero { actual }, None);
        }
    }
}
