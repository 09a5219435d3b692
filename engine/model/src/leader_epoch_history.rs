//! Which leader epoch began at which offset (KIP-101). Two replicas that agree on it agree on where their
//! histories part.

use crate::ids::{LeaderEpoch, Offset};

/// Pairs of (epoch, the first offset appended under it), both strictly growing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderEpochHistory {
    entries: Vec<(LeaderEpoch, Offset)>,
}

impl LeaderEpochHistory {
    /// Builds a history from stored entries; `None` when they do not grow strictly.
    #[must_use]
    pub fn from_entries(entries: Vec<(LeaderEpoch, Offset)>) -> Option<Self> {
        entries.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1).then_some(Self { entries })
    }

    #[must_use]
    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    #[must_use]
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|e| e.0)
    }

    /// Notes that a frame of `epoch` was appended at `base_offset`.
    pub fn on_append(&mut self, epoch: LeaderEpoch, base_offset: Offset) {
        match self.entries.last() {
            Some(&(last, _)) if last == epoch => {}
            Some(&(last, start)) => {
                assert!(last < epoch && start < base_offset, "epoch {epoch} at {base_offset} after epoch {last} at {start}");
                self.entries.push((epoch, base_offset));
            }
            None => self.entries.push((epoch, base_offset)),
        }
    }

    /// Forgets epochs that began at or after `end`.
    pub fn truncate(&mut self, end: Offset) {
        self.entries.retain(|&(_, start)| start < end);
    }

    /// Forgets epochs that ended at or before `log_start`; the one that spans it stays.
    pub fn advance_log_start(&mut self, log_start: Offset) {
        let spanning = self.entries.partition_point(|&(_, start)| start <= log_start).saturating_sub(1);
        self.entries.drain(..spanning);
    }

    /// The epoch under which the frame at `offset` was appended, as far as this goes; `None` before the first entry.
    #[must_use]
    pub fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|&(_, start)| start <= offset);
        after.checked_sub(1).map(|at| self.entries[at].0)
    }

    /// Where `epoch` ended: the start of the next greater one, or `log_end` for the latest.
    #[must_use]
    pub fn end_offset(&self, epoch: LeaderEpoch, log_end: Offset) -> Offset {
        self.entries.iter().find(|&&(e, _)| e > epoch).map_or(log_end, |&(_, start)| start)
    }

    /// The greatest epoch that is not above `epoch`, and where it ended; `None` when all are above it. Where a replica
    /// whose last frame stands under `epoch` has more than this, the two histories part (KIP-101).
    #[must_use]
    pub fn floor(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        let above = self.entries.partition_point(|&(e, _)| e <= epoch);
        let found = self.entries[..above].last()?.0;
        Some((found, self.entries.get(above).map_or(log_end, |&(_, start)| start)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_truncates_and_answers_end_offsets() {
        let mut history = LeaderEpochHistory::default();
        for (epoch, offset) in [(1, 0), (1, 5), (3, 10), (4, 20)] {
            history.on_append(LeaderEpoch(epoch), Offset(offset));
        }
        assert_eq!(history.entries().len(), 3);
        assert_eq!(history.end_offset(LeaderEpoch(1), Offset(25)), Offset(10));
        assert_eq!(history.end_offset(LeaderEpoch(2), Offset(25)), Offset(10));
        assert_eq!(history.end_offset(LeaderEpoch(4), Offset(25)), Offset(25));
        assert_eq!((history.at(Offset(9)), history.at(Offset(10))), (Some(LeaderEpoch(1)), Some(LeaderEpoch(3))));
        assert_eq!(LeaderEpochHistory::default().at(Offset(9)), None);
        let mut shorter = history.clone();
        shorter.truncate(Offset(20));
        assert_eq!(shorter.latest(), Some(LeaderEpoch(3)));
        history.advance_log_start(Offset(12));
        assert_eq!(history.entries().first(), Some(&(LeaderEpoch(3), Offset(10))));
    }

    #[test]
    fn the_floor_of_an_epoch_is_the_one_that_both_may_have() {
        let entries = [(2, 0), (3, 10), (6, 20)].map(|(epoch, start)| (LeaderEpoch(epoch), Offset(start)));
        let history = LeaderEpochHistory::from_entries(entries.to_vec()).unwrap();
        let rows =
            [(1, None), (2, Some((2, 10))), (3, Some((3, 20))), (5, Some((3, 20))), (6, Some((6, 25))), (9, Some((6, 25)))];
        for (epoch, expected) in rows {
            let expected = expected.map(|(epoch, end)| (LeaderEpoch(epoch), Offset(end)));
            assert_eq!(history.floor(LeaderEpoch(epoch), Offset(25)), expected, "epoch {epoch}");
        }
    }

    #[test]
    fn stored_entries_out_of_order_are_refused() {
        assert_eq!(LeaderEpochHistory::from_entries(vec![(LeaderEpoch(2), Offset(0)), (LeaderEpoch(1), Offset(5))]), None);
    }
}
