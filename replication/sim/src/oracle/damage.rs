//! Which frames may be refused: those of which the disk has no copy left that counts, and no others.
//!
//! The expensive mistake is to excuse a range for one frame in it: what is damaged is reported exactly, so every frame
//! that a range touches has to have rotted itself, or to stand behind a header block that has, in the same segment. Deliberately absent: what rots (`rot`).

use super::Violation;
use super::batches::BatchId;
use super::partition::{Held, PartitionModel};
use crate::demand;
use crate::rot::SegmentHit;
use sluice_storage::damage::DamagedRange;
use std::collections::{BTreeMap, BTreeSet};

impl PartitionModel {
    /// No copy of this frame counts any more, wherever the model has it.
    pub fn rot(&mut self, base: u64) {
        let of_log = [self.frames.get_mut(&base), self.deleted.get_mut(&base)];
        of_log.into_iter().flatten().for_each(|held| held.is_rotten = true);
        if let Some(held) = self.frames_before_cut().and_then(|frames| frames.get_mut(&base)) {
            held.is_rotten = true;
        }
    }

    /// The journal alone had this frame and has it no more: where the log start has passed it nobody misses it, and nobody
    /// knows either what its producer had.
    pub fn forget_producer_of(&mut self, base: u64) {
        self.producers.values_mut().for_each(|producer| producer.forget_at(base));
    }

    /// The batch at this offset, in the log as it is or as it may come back.
    #[must_use]
    pub fn batch_at(&self, base: u64) -> Option<BatchId> {
        let before_cut = || self.before_cut().and_then(|frames| frames.get(&base));
        self.frames.get(&base).or_else(|| self.deleted.get(&base)).or_else(before_cut).map(|held| held.batch)
    }

    /// Bases from `from` up to `until`.
    pub fn bases_between(&self, from: u64, until: u64) -> impl Iterator<Item = u64> {
        self.frames.range(from..until).map(|(base, _)| *base)
    }

    pub fn rotten_between(&self, from: u64, until: u64) -> impl Iterator<Item = u64> {
        self.frames.range(from..until).filter(|(_, held)| held.is_rotten).map(|(base, _)| *base)
    }

    /// In the log as it is or as it may come back: bases from `from` up to `until`, and whether each has rotted.
    #[must_use]
    pub fn known_between(&self, from: u64, until: u64) -> BTreeMap<u64, bool> {
        let before_cut = self.before_cut().into_iter().flat_map(|frames| frames.range(from..until));
        let known = before_cut.chain(self.deleted.range(from..until)).chain(self.frames.range(from..until));
        known.map(|(base, held)| (*base, held.is_rotten)).collect()
    }

    /// What is refused has rotted, and nobody has accepted its loss.
    pub fn on_refused(&mut self, range: DamagedRange, device_failed: bool) -> Result<(), Violation> {
        let (id, start) = (self.id, self.log_start);
        // What is deleted is nobody's loss any more, accepted or not.
        let refused = range.from.0.max(start)..range.until.0;
        let both = self.accepted.iter().find(|accepted| accepted.start < refused.end && refused.start < accepted.end);
        demand!(both.is_none(), "{id}: {range:?} is refused, and the loss of {both:?} was accepted");
        self.on_unreadable(range, device_failed)
    }

    /// What cannot be read has rotted, every frame of it. `device_failed` when reads were made to fail: that is the same.
    pub fn on_unreadable(&mut self, range: DamagedRange, device_failed: bool) -> Result<(), Violation> {
        let (id, start) = (self.id, self.log_start);
        let first = self.holding(range.from.0).map_or(range.from.0, |(base, _)| base);
        let is_cut = self.is_cut();
        let is_live = |base: u64, held: &Held| base + u64::from(held.record_count) > start;
        for (&base, held) in self.frames.range_mut(first..range.until.0).filter(|(base, held)| is_live(**base, held)) {
            let of_cuts = self.hidden_from_cuts.iter().filter(|_| is_cut);
            let is_hidden = self.hidden.iter().chain(of_cuts).any(|hidden| hidden.contains(&base));
            let is_astray = is_missing(&self.astray, base);
            held.is_rotten |= device_failed || is_hidden || is_astray;
            demand!(held.is_rotten, "{id}: {range:?} is not served, and nothing has happened to the frame at {base}");
        }
        if device_failed {
            // Should they come back, they are refused as they were.
            self.deleted.range_mut(range.from.0..range.until.0).for_each(|(_, held)| held.is_rotten = true);
        }
        Ok(())
    }

    /// What was written back of a segment that was never flushed, and of records that were never acknowledged, looks like rot
    /// where nothing is left to say where the log ended before: frames that no whole group of the journal has either.
    pub(super) fn on_torn_end(&mut self, damaged: &[DamagedRange], journaled: &BTreeSet<u64>) {
        for range in damaged {
            let unpromised = self.frames.range_mut(range.from.0.max(self.promised_end)..range.until.0.max(self.promised_end));
            unpromised.filter(|(base, _)| !journaled.contains(base)).for_each(|(_, held)| held.is_rotten = true);
        }
    }

    /// An operator has given up these ranges: they are stepped over from now on, and not refused; nor is the log said to be
    /// short until something else happens to it.
    pub fn on_accepted(&mut self, ranges: &[DamagedRange]) {
        let lost = self.lost_of(ranges);
        self.accepted.extend(lost);
        (self.is_doubted, self.is_lossy) = (false, false);
    }

    /// The device failed meanwhile: whether they are given up, a start will show.
    pub fn on_maybe_accepted(&mut self, ranges: &[DamagedRange]) {
        let lost = self.lost_of(ranges);
        self.maybe_accepted.extend(lost);
        self.is_doubted = true;
    }

    /// What is given up is read from the checkpoint of a stopped shard, and the log may have been cut since: what was appended
    /// behind that cut has not rotted, and is nobody's to give up.
    fn lost_of(&self, ranges: &[DamagedRange]) -> Vec<std::ops::Range<u64>> {
        let mut lost = Vec::new();
        for range in ranges {
            let mut from = range.from.0;
            let first = self.holding(from).map_or(from, |(base, _)| base);
            for (base, held) in self.frames.range(first..range.until.0).filter(|(_, held)| !held.is_rotten) {
                lost.push(from..*base);
                from = base + u64::from(held.record_count);
            }
            lost.push(from..range.until.0.min(self.end));
        }
        lost.retain(|range| range.start < range.end);
        lost
    }

    fn given_up(&self) -> impl Iterator<Item = &std::ops::Range<u64>> {
        self.accepted.iter().chain(&self.maybe_accepted)
    }

    /// A reader who asked for `offset` is given what stands at `first`: all in between has rotted and was accepted.
    pub fn on_stepped_over(&self, offset: u64, first: u64) -> Result<(), Violation> {
        let id = self.id;
        let is_accepted = |at: &u64| self.given_up().any(|range| range.contains(at));
        let missing = (offset..first).find(|at| !is_accepted(at));
        demand!(
            missing.is_none(),
            "{id}: a fetch at {offset} begins at {first}, and nobody has accepted the loss of {missing:?}"
        );
        Ok(())
    }

    /// The first offset from `offset` on whose loss nobody has accepted.
    #[must_use]
    pub fn behind_accepted(&self, offset: u64) -> u64 {
        let mut at = offset;
        while let Some(range) = self.given_up().find(|range| range.contains(&at)) {
            at = range.end;
        }
        at
    }

    /// Whether the frame that holds this offset, or a later one, has rotted.
    pub(super) fn is_rot_behind(&self, offset: u64) -> bool {
        let is_behind = |base: u64, held: &Held| base + u64::from(held.record_count) > offset;
        let mut known = self.frames.iter().chain(&self.deleted).chain(self.before_cut().into_iter().flatten());
        known.any(|(base, held)| is_behind(*base, held) && (held.is_rotten || self.is_hidden(*base)))
    }

    /// Whether a segment may not hold what it was given.
    pub(super) fn is_astray(&self) -> bool {
        !self.astray.0.is_empty() || self.astray.1.is_some()
    }

    /// Whether its segment may not hold this frame.
    pub(super) fn is_missing(&self, base: u64) -> bool {
        is_missing(&self.astray, base)
    }

    fn is_hidden(&self, base: u64) -> bool {
        let of_cuts = self.hidden_from_cuts.iter().filter(|_| self.is_cut());
        self.hidden.iter().chain(of_cuts).any(|hidden| hidden.contains(&base))
    }

    /// Whether a truncation has cut it, or is about to.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        !self.cuts.is_empty() || self.truncation.is_some()
    }

    /// Takes note of what a damaged segment says nothing of any more, up to its end, wherever that is.
    pub fn hide(&mut self, hit: &SegmentHit) {
        for (hidden, from) in [(&mut self.hidden, hit.hidden_from), (&mut self.hidden_from_cuts, hit.hidden_from_cuts)] {
            let from = from.filter(|from| hidden.iter().all(|hidden| hidden.start != *from));
            hidden.extend(from.map(|from| from..u64::MAX));
        }
    }

    /// Whether every promised record from `end` on has rotted, or was deleted, as those below `deleted_until` were.
    #[must_use]
    pub fn is_rotten_from(&self, end: u64, deleted_until: u64) -> bool {
        let promised = self.frames.range(end..self.promised_end.max(end));
        promised
            .filter(|(base, held)| **base + u64::from(held.record_count) > deleted_until)
            .all(|(base, held)| held.is_rotten || self.is_hidden(*base))
    }
}

/// Whether a write that went astray may have cost the segment's copy of the frame at this offset.
fn is_missing((bases, from): &(BTreeSet<u64>, Option<u64>), base: u64) -> bool {
    bases.contains(&base) || from.is_some_and(|from| base >= from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::batches::{Batch, Producer};
    use sluice_model::{Offset, PartitionIndex, TopicId, TopicPartition};
    use sluice_partition::PartitionSettings;

    #[test]
    fn what_was_appended_behind_a_cut_is_nobodys_to_accept() {
        let id = TopicPartition { topic_id: TopicId([1; 16]), partition: PartitionIndex(0) };
        let settings = PartitionSettings {
            segment_len: 1 << 20,
            retention_bytes: None,
            retention_ms: None,
            frame_len_max: 1 << 20,
            min_insync_replicas: 1,
        };
        let mut model = PartitionModel::new(id, settings);
        let batch = Batch { id, frame: Vec::new(), record_count: 2, producer: Producer::NONE };
        for number in 0..4 {
            model.append(BatchId(number), &batch, 0);
        }
        model.rot(2);
        model.rot(4);
        model.cut(4);
        model.append(BatchId(4), &batch, 0);
        // As a checkpoint from before the cut has it.
        let range = DamagedRange { from: Offset(2), until: Offset(8) };
        model.on_accepted(&[range]);
        assert_eq!((model.accepted.len(), model.accepted.first(), model.behind_accepted(2)), (1, Some(&(2..4)), 4));
        model.rot(4);
        let refused = DamagedRange { from: Offset(4), until: Offset(6) };
        assert_eq!(model.on_refused(refused, false), Ok(()));
    }
}
