//! What a log does not serve: ranges that cannot be proved good, those of them that an operator has accepted as lost,
//! and the offset from which acknowledged records may be missing.
//!
//! All of it goes into every checkpoint and comes back from it, so damage that was found once is never forgotten
//! quietly: a device that gave the bytes after all has to prove every frame of their segment. The expensive mistake is a range that is both: what is accepted is taken out of what is damaged, whatever
//! finds it again. Deliberately absent: who accepts, and reading.

use crate::checkpoint::{DAMAGED_RANGES_MAX, PartitionCheckpoint};
use crate::damage::DamagedRange;
use sluice_model::Offset;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DamagedRanges {
    /// In order, apart from each other and from `accepted`.
    damaged: Vec<DamagedRange>,
    /// In order, apart from each other.
    accepted: Vec<DamagedRange>,
    /// The lowest offset from which records may be missing.
    possibly_short: Option<Offset>,
    /// No offset from which they may be missing is above this one.
    doubted_until: Offset,
}

impl DamagedRanges {
    pub(crate) fn restored(checkpoint: &PartitionCheckpoint) -> Self {
        let (accepted, possibly_short) = (checkpoint.accepted.clone(), checkpoint.possibly_short);
        // A checkpoint says where the first doubt is; others since were where the log ended then.
        let doubted_until = checkpoint.recovery_point.offset;
        let mut ranges = Self { damaged: Vec::new(), accepted, possibly_short, doubted_until };
        checkpoint.damaged.iter().for_each(|&range| ranges.quarantine(range));
        ranges
    }

    pub(crate) fn damaged(&self) -> &[DamagedRange] {
        &self.damaged
    }

    pub(crate) fn accepted(&self) -> &[DamagedRange] {
        &self.accepted
    }

    pub(crate) fn possibly_short(&self) -> Option<Offset> {
        self.possibly_short
    }

    /// Offsets in `range` are refused from now on, but for those whose loss is accepted.
    pub(crate) fn quarantine(&mut self, range: DamagedRange) {
        let mut from = range.from;
        for accepted in &self.accepted {
            if accepted.until <= from || accepted.from >= range.until {
                continue;
            }
            insert(&mut self.damaged, DamagedRange { from, until: accepted.from });
            from = accepted.until;
        }
        insert(&mut self.damaged, DamagedRange { from, until: range.until });
        join_closest(&mut self.damaged);
    }

    /// All of `range` has been proved good: what was damaged of it is served again.
    pub(crate) fn clear(&mut self, range: DamagedRange) {
        let split = |bad: &DamagedRange| {
            let before = DamagedRange { from: bad.from, until: bad.until.min(range.from) };
            let behind = DamagedRange { from: bad.from.max(range.until), until: bad.until };
            [before, behind].into_iter().filter(|left| left.from < left.until)
        };
        self.damaged = self.damaged.iter().flat_map(split).collect();
    }

    /// Acknowledged records may be missing from `offset` on.
    pub(crate) fn doubt(&mut self, offset: Offset) {
        self.doubted_until = self.possibly_short.map_or(offset, |_| self.doubted_until.max(offset));
        self.possibly_short = Some(self.possibly_short.map_or(offset, |before| before.min(offset)));
    }

    /// Nothing is missing.
    pub(crate) fn end_doubt(&mut self) {
        self.possibly_short = None;
    }

    /// Whether the loss of all of `range` is accepted.
    pub(crate) fn is_accepted(&self, range: DamagedRange) -> bool {
        self.accepted.iter().any(|accepted| accepted.from <= range.from && range.until <= accepted.until)
    }

    /// Where reading goes on when asked for `offset`.
    pub(crate) fn skip_accepted(&self, offset: Offset) -> Offset {
        let around = self.accepted.iter().find(|range| range.from <= offset && offset < range.until);
        around.map_or(offset, |range| range.until)
    }

    /// The first range that ends behind `offset` and is not served, accepted or not.
    pub(crate) fn next_unserved(&self, offset: Offset) -> Option<DamagedRange> {
        let next = |ranges: &[DamagedRange]| ranges.get(ranges.partition_point(|range| range.until <= offset)).copied();
        [next(&self.damaged), next(&self.accepted)].into_iter().flatten().min_by_key(|range| range.from)
    }

    /// The log ends at `end_offset` now. Nobody misses what was above it.
    pub(crate) fn truncate(&mut self, end_offset: Offset) {
        for ranges in [&mut self.damaged, &mut self.accepted] {
            ranges.retain_mut(|range| {
                range.until = range.until.min(end_offset);
                range.from < range.until
            });
        }
        self.possibly_short = self.possibly_short.filter(|&offset| offset < end_offset);
        self.doubted_until = self.doubted_until.min(end_offset);
    }

    /// What lies below the log start is nobody's concern any more. A doubt above it stays, whatever was doubted before it.
    pub(crate) fn advance_log_start(&mut self, log_start: Offset) {
        self.damaged.retain(|range| range.until > log_start);
        self.accepted.retain(|range| range.until > log_start);
        let doubted_until = self.doubted_until;
        let left = self.possibly_short.map(|offset| offset.max(log_start));
        self.possibly_short = left.filter(|&offset| offset <= doubted_until);
    }
}

/// Both lists as one, in order and apart; what `accept-loss` makes of what is damaged.
pub(crate) fn joined(ranges: &[DamagedRange], more: &[DamagedRange]) -> Vec<DamagedRange> {
    let mut joined = ranges.to_vec();
    more.iter().for_each(|&range| insert(&mut joined, range));
    joined
}

/// Adds a range; those that it overlaps or touches become one with it.
fn insert(ranges: &mut Vec<DamagedRange>, mut range: DamagedRange) {
    if range.from >= range.until {
        return;
    }
    let first = ranges.partition_point(|other| other.until < range.from);
    let after = ranges.partition_point(|other| other.from <= range.until);
    if let (Some(begin), Some(end)) = (ranges.get(first), after.checked_sub(1).and_then(|last| ranges.get(last)))
        && first < after
    {
        range = DamagedRange { from: range.from.min(begin.from), until: range.until.max(end.until) };
    }
    ranges.splice(first..after, [range]);
}

/// Keeps within the bound. What lies between the two that are joined is refused as well, which is safe.
fn join_closest(ranges: &mut Vec<DamagedRange>) {
    while ranges.len() > DAMAGED_RANGES_MAX {
        let gap = |pair: &[DamagedRange]| pair[1].from.0 - pair[0].until.0;
        let Some((at, _)) = ranges.windows(2).enumerate().min_by_key(|(_, pair)| gap(pair)) else { return };
        ranges[at].until = ranges[at + 1].until;
        ranges.remove(at + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: u64, until: u64) -> DamagedRange {
        DamagedRange { from: Offset(from), until: Offset(until) }
    }

    #[test]
    fn ranges_stay_in_order_and_apart() {
        let mut ranges = DamagedRanges::default();
        for (from, until) in [(10, 20), (40, 50), (5, 5), (20, 25), (45, 60), (0, 2), (1, 12)] {
            ranges.quarantine(range(from, until));
        }
        assert_eq!(ranges.damaged(), [range(0, 25), range(40, 60)]);
        assert_eq!(ranges.next_unserved(Offset(25)), Some(range(40, 60)));
        ranges.advance_log_start(Offset(30));
        assert_eq!(ranges.damaged(), [range(40, 60)]);
    }

    #[test]
    fn what_is_accepted_is_never_damaged_again() {
        let accepted = vec![range(10, 20), range(30, 40)];
        let mut ranges = DamagedRanges { accepted, ..DamagedRanges::default() };
        ranges.quarantine(range(12, 18));
        assert!(ranges.damaged().is_empty() && ranges.is_accepted(range(12, 20)) && !ranges.is_accepted(range(12, 21)));
        ranges.quarantine(range(5, 50));
        assert_eq!(ranges.damaged(), [range(5, 10), range(20, 30), range(40, 50)]);
        assert_eq!([9, 10, 19, 20, 39].map(|at| ranges.skip_accepted(Offset(at)).0), [9, 20, 20, 20, 40]);
        assert_eq!(ranges.next_unserved(Offset(0)), Some(range(5, 10)));
    }

    #[test]
    fn what_is_proved_good_is_damaged_no_more() {
        let mut ranges = DamagedRanges { accepted: vec![range(70, 80)], ..DamagedRanges::default() };
        [range(5, 20), range(30, 40), range(50, 60)].into_iter().for_each(|bad| ranges.quarantine(bad));
        ranges.clear(range(20, 30));
        assert_eq!(ranges.damaged(), [range(5, 20), range(30, 40), range(50, 60)]);
        ranges.clear(range(10, 12));
        assert_eq!(ranges.damaged(), [range(5, 10), range(12, 20), range(30, 40), range(50, 60)]);
        ranges.clear(range(15, 55));
        assert_eq!(ranges.damaged(), [range(5, 10), range(12, 15), range(55, 60)]);
        ranges.clear(range(0, 100));
        assert_eq!((ranges.damaged(), ranges.accepted()), (&[][..], &[range(70, 80)][..]));
    }

    #[test]
    fn doubt_stays_until_the_log_start_has_passed_all_that_was_doubted() {
        let mut ranges = DamagedRanges::default();
        ranges.doubt(Offset(9));
        assert_eq!(ranges.possibly_short(), Some(Offset(9)));
        let mut single = ranges.clone();
        single.advance_log_start(Offset(10));
        assert_eq!(single.possibly_short(), None);
        ranges.doubt(Offset(12));
        for (log_start, left) in [(9, Some(9)), (10, Some(10)), (12, Some(12)), (13, None)] {
            ranges.advance_log_start(Offset(log_start));
            assert_eq!(ranges.possibly_short(), left.map(Offset), "the log starts at {log_start}");
        }
        // Of the doubts of an earlier life only the first is known.
        let point = crate::checkpoint::RecoveryPoint { offset: Offset(30), ..Default::default() };
        let checkpoint = PartitionCheckpoint {
            recovery_point: point,
            possibly_short: Some(Offset(5)),
            ..PartitionCheckpoint::empty(crate::testing::frames::test_partition(1))
        };
        let mut restored = DamagedRanges::restored(&checkpoint);
        restored.doubt(Offset(40));
        for (log_start, left) in [(4, Some(5)), (20, Some(20)), (40, Some(40)), (41, None)] {
            restored.advance_log_start(Offset(log_start));
            assert_eq!(restored.possibly_short(), left.map(Offset), "the log starts at {log_start}");
        }
    }

    #[test]
    fn there_are_never_more_ranges_than_a_checkpoint_takes() {
        let mut ranges = DamagedRanges::default();
        for n in 0..2 * DAMAGED_RANGES_MAX as u64 {
            ranges.quarantine(range(n * 10, n * 10 + 1 + n % 7));
        }
        assert_eq!(ranges.damaged().len(), DAMAGED_RANGES_MAX);
        for n in 0..2 * DAMAGED_RANGES_MAX as u64 {
            assert!(ranges.next_unserved(Offset(n * 10)).is_some_and(|range| range.from.0 <= n * 10), "{n} is forgotten");
        }
    }
}
