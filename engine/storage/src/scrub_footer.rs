//! Whether a footer says of its segment what the segment's frames say.
//!
//! A footer that verifies may still be wrong: written by a program with a fault, or another segment's that a device
//! put in its place. Readers find frames by it, retention deletes by it. Once a frame was damaged nothing is compared any
//! more, because what it held is not known. Deliberately absent: producers, whose table frames alone do not decide
//! (it is carried forward from before the segment, and expires).

use crate::checkpoint::SealedSegmentInfo;
use crate::frame_walk::WalkedFrame;
use crate::offset_index::OffsetEntry;
use crate::segment_format::{SegmentFooter, SegmentTrailer, block_up};
use sluice_model::{LeaderEpoch, Offset};

/// A footer, and how much of it the frames so far have borne out.
#[derive(Debug)]
pub(crate) struct FooterCheck {
    pub(crate) trailer: SegmentTrailer,
    footer: SegmentFooter,
    info: SealedSegmentInfo,
    offsets_seen: usize,
    times_seen: usize,
    frame_count: u64,
    append_time_ms_max: i64,
    timestamp_ms_max: i64,
    last_epoch: Option<LeaderEpoch>,
    disagrees: Option<&'static str>,
    frames_are_damaged: bool,
}

impl FooterCheck {
    /// `info` is what the checkpoint says of the same segment.
    pub(crate) fn new(trailer: SegmentTrailer, footer: SegmentFooter, info: SealedSegmentInfo) -> Self {
        Self {
            trailer,
            footer,
            info,
            offsets_seen: 0,
            times_seen: 0,
            frame_count: 0,
            append_time_ms_max: i64::MIN,
            timestamp_ms_max: i64::MIN,
            last_epoch: None,
            disagrees: None,
            frames_are_damaged: false,
        }
    }

    /// What the trailer alone has in common with the checkpoint; a field in which they differ.
    pub(crate) fn disagreement(trailer: &SegmentTrailer, info: &SealedSegmentInfo) -> Option<&'static str> {
        if trailer.next_offset != info.next_offset {
            return Some("next_offset");
        }
        (trailer.last_header_crc != info.last_header_crc).then_some("last_header_crc")
    }

    pub(crate) fn entries(&self) -> &[OffsetEntry] {
        self.footer.index.offsets.entries()
    }

    pub(crate) fn on_damage(&mut self) {
        self.frames_are_damaged = true;
    }

    pub(crate) fn on_frame(&mut self, frame: &WalkedFrame) {
        if self.frames_are_damaged || self.disagrees.is_some() {
            return;
        }
        self.disagrees = self.compare_frame(frame).err();
        self.frame_count += 1;
        self.append_time_ms_max = self.append_time_ms_max.max(frame.header.append_time_ms.to_native());
        self.timestamp_ms_max = self.timestamp_ms_max.max(frame.header.max_timestamp_ms.to_native());
        self.last_epoch = Some(frame.header.leader_epoch());
    }

    fn compare_frame(&mut self, frame: &WalkedFrame) -> Result<(), &'static str> {
        let base_offset = frame.header.base_offset();
        let indexed =
            self.footer.index.offsets.entries().first().is_some_and(|entry| u64::from(entry.position) == frame.position);
        if self.frame_count == 0 && !indexed {
            return Err("offset_index");
        }
        if let Some(entry) = self.footer.index.offsets.entries().get(self.offsets_seen) {
            let position = u64::from(entry.position);
            if position == frame.position {
                let same = entry.base_offset == base_offset && entry.prev_header_crc == frame.header.prev_header_crc.to_native();
                self.offsets_seen += 1;
                if !same {
                    return Err("offset_index");
                }
            } else if position < frame.position {
                return Err("offset_index");
            }
        }
        if let Some(entry) = self.footer.index.times.entries().get(self.times_seen)
            && entry.base_offset <= base_offset
        {
            self.times_seen += 1;
            if entry.base_offset != base_offset || entry.timestamp_ms != self.timestamp_ms_max {
                return Err("time_index");
            }
        }
        self.compare_epoch(base_offset, frame.header.leader_epoch())
    }

    fn compare_epoch(&self, base_offset: Offset, epoch: LeaderEpoch) -> Result<(), &'static str> {
        let entries = self.footer.epochs.entries();
        let after = entries.partition_point(|&(_, start)| start <= base_offset);
        // What lies before the first entry lay below the log start when the footer was written.
        let Some(&(said, start)) = after.checked_sub(1).and_then(|at| entries.get(at)) else { return Ok(()) };
        let began_here = self.last_epoch.is_some_and(|last| last != epoch);
        if said != epoch || (began_here && start != base_offset) { Err("epochs") } else { Ok(()) }
    }

    /// Whoever has not read the last frames only knows where the next one would have begun.
    fn is_padded_end(&self, end_position: u64) -> bool {
        block_up(end_position) == self.trailer.end_position
    }

    /// After the last frame, which ended at `end_position`: a field in which footer and frames differ.
    pub(crate) fn finish(&self, end_position: u64) -> Option<&'static str> {
        if self.frames_are_damaged || self.disagrees.is_some() {
            return self.disagrees.filter(|_| !self.frames_are_damaged);
        }
        let index = &self.footer.index;
        let all_seen = self.offsets_seen == index.offsets.entries().len();
        // A footer that was written when all of the segment lay below the log start says nothing of epochs.
        let latest = self.footer.epochs.latest();
        let epochs_agree = self.last_epoch.is_none() || latest.is_none() || latest == self.last_epoch;
        let said = (index.append_time_ms_max, index.timestamp_ms_max);
        // A restart left frames out of it: what it says of the others is compared, and nothing of all of them.
        let times = if index.is_partial() { said } else { (self.append_time_ms_max, self.timestamp_ms_max) };
        [
            (end_position == self.trailer.end_position || index.is_partial() && self.is_padded_end(end_position), "end_position"),
            (index.is_partial() || self.frame_count == index.frame_count, "frame_count"),
            (all_seen, "offset_index"),
            (self.times_seen == index.times.entries().len(), "time_index"),
            (times == said, "greatest times"),
            (times == (self.info.append_time_ms_max, self.info.timestamp_ms_max), "greatest times in the checkpoint"),
            (epochs_agree, "epochs"),
        ]
        .into_iter()
        .find_map(|(agrees, field)| (!agrees).then_some(field))
    }
}
