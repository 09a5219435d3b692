//! One segment of a stopped shard, verified as a running broker's scrubber verifies it: every bad place, with what it
//! costs, and every frame that is good.
//!
//! The expensive mistake is to judge otherwise than the broker does, so nothing is judged here: what a segment has to
//! hold comes from its checkpoint, or from its own trailer where there is no checkpoint. Deliberately absent: what has
//! been accepted as lost or deleted, which is for whoever shows it.

use crate::active_segment::FRAMES_START;
use crate::checkpoint::{PartitionCheckpoint, SealedSegmentInfo};
use crate::disk::DiskFile;
use crate::frame_walk::WalkedFrame;
use crate::scrub_finding::{ScrubFinding, ScrubKind};
use crate::scrub_read::read_for_scrub;
use crate::scrub_seen::SeenFrames;
use crate::scrub_segment::{Expected, SegmentScrub};
use crate::sealed_segment::linked;
use crate::segment_format::SegmentTrailer;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{LeaderEpochHistory, Offset, TopicPartition};
use std::path::Path;

pub struct SegmentCheck {
    scrub: SegmentScrub,
}

/// What a check has come to.
#[derive(Clone, Debug)]
pub struct CheckedSegment {
    /// In the order in which they were met: the footer's first.
    pub findings: Vec<ScrubFinding>,
    /// `header_crc` of the frame before the first one, wherever it is known from; the header block's is counted last.
    pub prev_header_crc: Option<u32>,
    /// Where footer and trailer lie, at the latest; `None` where there is none.
    pub footer_from: Option<u64>,
}

impl CheckedSegment {
    /// Whether a finding is about the footer or the trailer alone: a segment without them does not have it.
    #[must_use]
    pub fn is_of_footer(&self, finding: &ScrubFinding) -> bool {
        let is_behind = || self.footer_from.is_some_and(|from| finding.position >= from);
        match finding.kind {
            ScrubKind::Footer(_) | ScrubKind::Trailer(_) | ScrubKind::Disagrees { .. } => true,
            ScrubKind::Unreadable => finding.lost.is_none() && is_behind(),
            _ => false,
        }
    }
}

impl SegmentCheck {
    /// Of the segment that begins at `base_offset`; `None` when the checkpoint relies on nothing in it.
    #[must_use]
    pub fn by_checkpoint(path: &Path, checkpoint: &PartitionCheckpoint, base_offset: Offset) -> Option<Self> {
        let sealed = checkpoint.sealed.iter().position(|info| info.base_offset == base_offset);
        let expected = match sealed {
            Some(at) => {
                let before = at.checked_sub(1).map(|at| &checkpoint.sealed[at]);
                let expected = of_sealed(path, checkpoint.id, checkpoint.sealed[at], linked(base_offset, before));
                Expected { epochs: checkpoint.epochs.clone(), ..expected }
            }
            None => of_active(path, checkpoint, base_offset)?,
        };
        Some(Self::new(expected))
    }

    /// Of a sealed segment that no checkpoint names, in a file of `file_len` bytes.
    #[must_use]
    pub fn by_trailer(path: &Path, trailer: &SegmentTrailer, file_len: u64) -> Self {
        let info = SealedSegmentInfo {
            base_offset: trailer.base_offset,
            next_offset: trailer.next_offset,
            file_len,
            last_header_crc: trailer.last_header_crc,
            append_time_ms_max: trailer.append_time_ms_max,
            timestamp_ms_max: trailer.timestamp_ms_max,
            has_footer: true,
        };
        Self::new(of_sealed(path, trailer.id, info, linked(trailer.base_offset, None)))
    }

    fn new(expected: Expected) -> Self {
        let mut scrub = SegmentScrub::new(expected);
        scrub.seen = Some(SeenFrames::default());
        Self { scrub }
    }

    /// Reads all of it. What the device does not give back is a finding, not an error.
    pub async fn run<F: DiskFile>(mut self, file: &F, on_frame: &mut dyn FnMut(&WalkedFrame)) -> CheckedSegment {
        let mut findings = Vec::new();
        let mut prev_header_crc = self.scrub.expected.prev_header_crc;
        while let Some((position, len)) = self.scrub.next_read() {
            let read = read_for_scrub(file, position, len).await;
            findings.extend(self.scrub.feed(len, read));
            for frame in self.scrub.seen.iter_mut().flat_map(SeenFrames::take_proven) {
                if frame.header.base_offset() == self.scrub.expected.base_offset {
                    prev_header_crc = prev_header_crc.or(Some(frame.header.prev_header_crc.to_native()));
                }
                on_frame(&frame);
            }
        }
        let first_entry = self.scrub.expected.entries.first().filter(|entry| u64::from(entry.position) == FRAMES_START);
        let prev_header_crc = prev_header_crc.or(first_entry.map(|entry| entry.prev_header_crc));
        let sealed = self.scrub.expected.sealed.filter(|info| info.has_footer);
        let footer_from = sealed.map(|info| {
            let trailer_position = info.file_len.saturating_sub(BLOCK_LEN as u64);
            self.scrub.footer.as_ref().map_or(trailer_position, |footer| footer.trailer.footer_position)
        });
        CheckedSegment { findings, prev_header_crc, footer_from }
    }

    /// The finding of a file that is not there.
    #[must_use]
    pub fn on_missing(&self) -> ScrubFinding {
        self.scrub.on_missing()
    }
}

fn of_sealed(path: &Path, id: TopicPartition, info: SealedSegmentInfo, prev_header_crc: Option<u32>) -> Expected {
    Expected {
        path: path.to_owned(),
        id,
        base_offset: info.base_offset,
        prev_header_crc,
        end_offset: info.next_offset,
        last_header_crc: info.last_header_crc,
        end_position: info.file_len.saturating_sub(BLOCK_LEN as u64),
        end: info.file_len,
        sealed: Some(info),
        straddle: None,
        entries: Vec::new(),
        epochs: LeaderEpochHistory::default(),
    }
}

/// The segment of the recovery point, below it. The part of a frame that straddles it is the journal's.
fn of_active(path: &Path, checkpoint: &PartitionCheckpoint, base_offset: Offset) -> Option<Expected> {
    let point = &checkpoint.recovery_point;
    if point.segment_base != base_offset || point.position < FRAMES_START {
        return None;
    }
    let before = checkpoint.sealed.iter().rev().find(|info| info.base_offset < base_offset);
    let end = point.next_frame_position.min(point.position);
    Some(Expected {
        path: path.to_owned(),
        id: checkpoint.id,
        base_offset,
        prev_header_crc: linked(base_offset, before),
        end_offset: point.offset,
        last_header_crc: point.prev_header_crc,
        end_position: end,
        end: if point.next_frame_position < point.position { end } else { point.position },
        sealed: None,
        straddle: None,
        entries: Vec::new(),
        epochs: checkpoint.epochs.clone(),
    })
}

#[cfg(test)]
#[path = "segment_check_test.rs"]
pub(crate) mod tests;
