//! The scrub of one log: every segment read again, piece by piece, and held against what it has to be.
//!
//! Plan (sync, under a borrow of the log), run (async, borrows nothing), report (sync): sealed segments wholly, the
//! active one below its flushed recovery point. What cannot be proved good is quarantined. The expensive mistake
//! is to call damage what somebody has removed, cut off or not yet flushed: a report counts only when the segment
//! is still the one that was planned. Deliberately absent: pacing, and when to scrub.

use crate::careful_read::BlockBytes;
use crate::disk::{Disk, OpenMode};
use crate::log::Log;
use crate::offset_index::OffsetEntry;
use crate::scrub_finding::ScrubFinding;
use crate::scrub_read::read_for_scrub;
use crate::scrub_segment::{Expected, SegmentScrub};
use crate::sealed_segment::{SealedSegment, SegmentFile, linked};
use sluice_model::Offset;
use sluice_model::limits::BLOCK_LEN;
use std::io;
use std::rc::Rc;

/// Where a scrub stands in one log.
pub struct LogScrub<D: Disk> {
    /// Segments below this base offset are done.
    next: Offset,
    segment: Option<InProgress<D>>,
}

struct InProgress<D: Disk> {
    file: Rc<SegmentFile<D>>,
    handle: Option<D::File>,
    scrub: SegmentScrub,
}

/// One read. Owns everything it needs.
pub struct ScrubPlan<D: Disk> {
    file: Rc<SegmentFile<D>>,
    handle: Option<D::File>,
    position: u64,
    len: usize,
}

/// What a plan has brought; to be given to [`Log::on_scrubbed`].
pub struct Scrubbed<D: Disk> {
    handle: Option<D::File>,
    asked: usize,
    result: Result<BlockBytes, io::ErrorKind>,
}

impl<D: Disk> Default for LogScrub<D> {
    fn default() -> Self {
        Self { next: Offset::ZERO, segment: None }
    }
}

impl<D: Disk> ScrubPlan<D> {
    /// Bytes it is about to read, for pacing.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a plan is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    pub async fn run(self) -> Scrubbed<D> {
        let opened = match self.handle {
            Some(handle) => Ok(handle),
            None => self.file.disk().open(self.file.path(), OpenMode::Existing).await,
        };
        match opened {
            Err(error) => Scrubbed { handle: None, asked: self.len, result: Err(error.kind()) },
            Ok(handle) => {
                let bytes = read_for_scrub(&handle, self.position, self.len).await;
                Scrubbed { handle: Some(handle), asked: self.len, result: Ok(bytes) }
            }
        }
    }
}

impl<D: Disk> Log<D> {
    /// The next read of a scrub; `None` when all of the log was read. What was flushed since its segment was begun is
    /// for the next scrub; so is all of a log that is truncated and whose files are not cut yet.
    pub fn plan_scrub(&self, scrub: &mut LogScrub<D>) -> Option<ScrubPlan<D>> {
        if self.cut.is_some() {
            return None;
        }
        loop {
            let Some(current) = &mut scrub.segment else {
                let (file, expected) = self.next_to_scrub(scrub.next)?;
                scrub.next = Offset(expected.base_offset.0 + 1);
                scrub.segment = Some(InProgress { file, handle: None, scrub: SegmentScrub::new(expected) });
                continue;
            };
            if !self.still_holds(current) {
                // Cut off, perhaps: then it is looked at anew, as it is now.
                scrub.next = current.scrub.expected.base_offset;
                scrub.segment = None;
                continue;
            }
            match current.scrub.next_read() {
                None => scrub.segment = None,
                Some((position, len)) => {
                    return Some(ScrubPlan { file: current.file.clone(), handle: current.handle.clone(), position, len });
                }
            }
        }
    }

    /// Verifies what a plan has read. Offsets that are lost are quarantined, as far as they are not deleted; those of a
    /// segment that has proved good from one end to the other are served again, if they were not.
    pub fn on_scrubbed(&mut self, scrub: &mut LogScrub<D>, scrubbed: Scrubbed<D>) -> Vec<ScrubFinding> {
        let Some(current) = &mut scrub.segment else { return Vec::new() };
        if !self.still_holds(current) {
            return Vec::new();
        }
        let mut findings = match scrubbed.result {
            Ok(bytes) => {
                current.handle = scrubbed.handle;
                current.scrub.feed(scrubbed.asked, bytes)
            }
            Err(kind) => {
                let finding =
                    if kind == io::ErrorKind::NotFound { current.scrub.on_missing() } else { current.scrub.on_unopened() };
                scrub.segment = None;
                vec![finding]
            }
        };
        if let Some(proven) = scrub.segment.as_ref().and_then(|current| current.scrub.proven()) {
            self.damage.clear(proven);
        }
        // What has been deleted, or accepted as lost, is no news.
        findings.retain(|finding| finding.lost.is_none_or(|range| range.until > self.log_start_offset()));
        for range in findings.iter_mut().filter_map(|finding| finding.lost.as_mut()) {
            range.from = range.from.max(self.log_start_offset());
            self.quarantine(*range);
        }
        findings.retain(|finding| finding.lost.is_none_or(|range| !self.damage.is_accepted(range)));
        findings
    }

    /// Bytes that a scrub begun now would read, about.
    #[must_use]
    pub fn scrub_len(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|segment| segment.info.file_len).sum();
        sealed + self.held.point().position
    }

    /// The first segment from `from` on that has anything flushed, and what it has to hold.
    fn next_to_scrub(&self, from: Offset) -> Option<(Rc<SegmentFile<D>>, Expected)> {
        let first = self.sealed.partition_point(|segment| segment.info.base_offset < from);
        for (at, segment) in self.sealed.iter().enumerate().skip(first) {
            if segment.unflushed.is_none() {
                let before = at.checked_sub(1).map(|at| &self.sealed[at]);
                return Some((segment.file.clone(), self.expect_sealed(segment, before)));
            }
        }
        let point = self.held.point();
        if point.position < BLOCK_LEN as u64 || point.segment_base < from {
            return None;
        }
        let sealed = self.sealed.iter().map(|segment| &segment.file);
        let open = self.open.iter().map(|segment| &segment.file);
        let file = sealed.chain(open).find(|file| file.base_offset == point.segment_base)?;
        Some((file.clone(), self.expect_active(file)))
    }

    fn expect_sealed(&self, segment: &SealedSegment<D>, before: Option<&SealedSegment<D>>) -> Expected {
        let (info, extent) = (segment.info, segment.extent());
        Expected {
            path: segment.file.path().to_owned(),
            id: self.id(),
            base_offset: info.base_offset,
            prev_header_crc: linked(info.base_offset, before.map(|before| &before.info)),
            end_offset: info.next_offset,
            last_header_crc: info.last_header_crc,
            end_position: extent.end_position,
            end: info.file_len,
            sealed: Some(info),
            straddle: None,
            entries: Vec::new(),
            epochs: self.held.epochs_from(info.base_offset),
        }
    }

    /// The segment of the recovery point, below it.
    fn expect_active(&self, file: &SegmentFile<D>) -> Expected {
        let point = *self.held.point();
        let straddles = point.next_frame_position < point.position;
        let straddle = straddles.then(|| self.straddling_part(point.next_frame_position, point.position)).flatten();
        let before = self.sealed.iter().rev().find(|segment| segment.info.base_offset < point.segment_base);
        let in_memory = self.open.iter().find(|segment| segment.base_offset == point.segment_base);
        let entries = in_memory.map_or(&[][..], |segment| segment.index.offsets.entries());
        let known = entries.iter().copied().filter(|entry| entry.base_offset < point.offset).collect::<Vec<OffsetEntry>>();
        Expected {
            path: file.path().to_owned(),
            id: self.id(),
            base_offset: point.segment_base,
            prev_header_crc: linked(point.segment_base, before.map(|before| &before.info)),
            end_offset: point.offset,
            last_header_crc: point.prev_header_crc,
            end_position: point.next_frame_position.min(point.position),
            // Without the rest of the frame, its part is for the next scrub.
            end: if straddles && straddle.is_none() { point.next_frame_position } else { point.position },
            sealed: None,
            straddle,
            entries: known,
            epochs: self.held.epochs_from(point.segment_base),
        }
    }

    /// The part below `end` of the frame that begins at `position` in the recovery point's segment, from memory.
    fn straddling_part(&self, position: u64, end: u64) -> Option<(u64, Vec<u8>)> {
        let point = self.held.point();
        let index = self.tail.find(point.offset)?;
        let frame = &self.tail.frames()[index];
        if (frame.base_offset, frame.segment_base, frame.position) != (point.offset, point.segment_base, position) {
            return None;
        }
        let mut bytes = self.tail.slices(index..index + 1).concat();
        bytes.truncate(usize::try_from(end - position).unwrap_or(usize::MAX));
        Some((position, bytes))
    }

    /// Whether the segment still has all that its scrub expects.
    fn still_holds(&self, current: &InProgress<D>) -> bool {
        let expected = &current.scrub.expected;
        let sealed = self.sealed.iter().find(|segment| Rc::ptr_eq(&segment.file, &current.file));
        match (sealed, expected.sealed) {
            (Some(now), Some(then)) => now.info == then,
            (Some(now), None) => now.info.next_offset >= expected.end_offset,
            (None, Some(_)) => false,
            (None, None) => {
                let open = self.open.iter().find(|segment| Rc::ptr_eq(&segment.file, &current.file));
                open.is_some_and(|segment| segment.next_offset >= expected.end_offset)
            }
        }
    }
}

#[cfg(test)]
#[path = "scrub_test.rs"]
pub(crate) mod tests;

#[cfg(test)]
#[path = "scrub_footer_test.rs"]
mod footer_tests;

#[cfg(test)]
#[path = "scrub_journal_test.rs"]
mod journal_tests;
