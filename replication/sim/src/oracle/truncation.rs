//! A log that is cut off below its end: as it was, and as it will be, until the truncation has returned.
//!
//! A crash in between leaves one or the other, whole. Once it has returned, what was above the cut is gone for good, and
//! sequences go on as of the cut. The expensive mistake is to know of the cut too late: it is followed turn by turn, so
//! that a frame of the old end that is served or acknowledged after it is noticed.

use super::Violation;
use super::partition::{Held, PartitionModel};
use super::producers::ProducerModel;
use crate::coverage::Coverage;
use crate::demand;
use sluice_model::ProducerId;
use std::collections::BTreeMap;
use std::ops::Range;

/// A truncation that has not returned.
#[derive(Clone, Debug)]
pub struct Truncation {
    asked: u64,
    /// The log before the cut, once it is cut in memory.
    before: Option<Box<Before>>,
}

/// What comes back when a crash undoes the cut.
#[derive(Clone, Debug)]
struct Before {
    frames: BTreeMap<u64, Held>,
    producers: BTreeMap<ProducerId, ProducerModel>,
    end: u64,
    promised_end: u64,
    accepted: Vec<Range<u64>>,
    maybe_accepted: Vec<Range<u64>>,
}

impl PartitionModel {
    pub fn begin_truncation(&mut self, asked: u64) {
        self.truncation = Some(Truncation { asked, before: None });
    }

    /// Where the log begins and ends now, while it is being truncated: retention may have moved its start since it was last
    /// asked for, and what a producer had below that is forgotten by the cut.
    /// `reads_failed` when what is read may have been withheld: that is the same as rot.
    pub fn on_log_bounds(&mut self, start: u64, end: u64, reads_failed: bool) -> Result<(), Violation> {
        // What is deleted may stand before the cut in the segment that it goes through.
        let is_rotten = self.frames.values().chain(self.deleted.values()).any(|held| held.is_rotten);
        let has_rot = reads_failed || !self.hidden.is_empty() || self.is_astray() || is_rotten;
        let (id, boundary) = (self.id, self.truncation.as_ref().map_or(self.end, |truncation| self.boundary(truncation.asked)));
        let Some(truncation) = &mut self.truncation else { return Ok(()) };
        if end == self.end {
            return Ok(());
        }
        demand!(truncation.before.is_none(), "{id}: a log that was cut at {} ends at {end}", self.end);
        // Where frames cannot be read, the nearest boundary may not be known.
        let is_right = end == boundary || has_rot && (boundary..=truncation.asked).contains(&end);
        demand!(is_right, "{id}: cut at {end}, and {} was asked, which is {boundary}", truncation.asked);
        truncation.before = Some(Box::new(Before {
            frames: self.frames.clone(),
            producers: self.producers.clone(),
            end: self.end,
            promised_end: self.promised_end,
            accepted: self.accepted.clone(),
            maybe_accepted: self.maybe_accepted.clone(),
        }));
        // The batch that it ends with may be one that it could not read, and then is none from here on.
        let last = self.holding(end.saturating_sub(1)).map(|(base, _)| base).filter(|base| self.is_missing(*base));
        let log_start = self.log_start.max(start);
        self.producers.values_mut().for_each(|producer| producer.truncate(end, log_start));
        self.cut(end);
        last.and_then(|base| self.frames.get_mut(&base)).into_iter().for_each(|held| held.is_rotten = true);
        self.high_watermark = self.high_watermark.min(end);
        self.cuts.push(end);
        // What a cut knows of producers it reads from the frames below it.
        self.has_lost |= has_rot;
        Ok(())
    }

    /// The frames that come back when a crash undoes the cut: until it has returned, what rots of them may be all there is.
    pub(super) fn before_cut(&self) -> Option<&BTreeMap<u64, Held>> {
        Some(&self.truncation.as_ref()?.before.as_ref()?.frames)
    }

    /// The same, to be changed.
    pub(super) fn frames_before_cut(&mut self) -> Option<&mut BTreeMap<u64, Held>> {
        Some(&mut self.truncation.as_mut()?.before.as_mut()?.frames)
    }

    /// It has returned, and says where the log ends. Gives back whether anything was cut off.
    pub fn on_truncated(&mut self, end: u64) -> Result<bool, Violation> {
        let (id, truncation) = (self.id, self.truncation.take());
        demand!(end == self.end, "{id}: a truncation says that the log ends at {end}, and it ends at {}", self.end);
        Ok(truncation.is_some_and(|truncation| truncation.before.is_some()))
    }

    /// It was refused: nothing has changed.
    pub fn on_not_truncated(&mut self) -> Result<(), Violation> {
        let truncation = self.truncation.take();
        let is_whole = truncation.is_none_or(|truncation| truncation.before.is_none());
        demand!(is_whole, "{}: a truncation is refused, and the log was cut", self.id);
        Ok(())
    }

    /// The process ended meanwhile, and a start found this end; it `is_said` when records may be missing from there on. Gives
    /// back where the cut was, when it is undone.
    pub(super) fn settle_truncation(&mut self, end: u64, is_said: bool, coverage: &mut Coverage) -> Option<u64> {
        let Some(Truncation { before: Some(before), .. }) = self.truncation.take() else { return None };
        let is_inside = end < self.end && self.is_cut_inside() && self.ends_batch(end);
        // What stood last below the cut was lost with it.
        let is_short = end < self.end && is_said && self.is_rotten_from(end, self.log_start_min);
        let is_done = end == self.end || is_inside || is_short;
        coverage.hit(if is_done { "truncate: done by a start" } else { "truncate: undone by a crash" });
        if is_done {
            return None;
        }
        let cut = self.end;
        let Before { frames, producers, end, promised_end, accepted, maybe_accepted } = *before;
        (self.frames, self.producers, self.end, self.promised_end) = (frames, producers, end, promised_end);
        (self.accepted, self.maybe_accepted) = (accepted, maybe_accepted);
        Some(cut)
    }

    /// The boundary between two batches at or below `offset`, or the log end.
    fn boundary(&self, offset: u64) -> u64 {
        self.holding(offset).map_or(offset.min(self.end), |(base, _)| base)
    }
}
