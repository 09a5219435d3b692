//! Where a leader's log begins, put together from as many answers as it takes.

use sluice_model::ProducerId;
use sluice_model::limits::PRODUCERS_PER_PARTITION_MAX;
use sluice_replica::LogBeginning;

/// What has come of it so far.
#[derive(Debug, Default)]
pub(crate) struct PartialBeginning {
    beginning: Option<LogBeginning>,
    /// The last producer of it.
    last: Option<ProducerId>,
}

/// What one more answer makes of it.
pub(crate) enum Progress {
    /// Ask for the producers behind this one.
    More(ProducerId),
    Whole(LogBeginning),
    /// It does not belong to what came before, or has no end: to be asked for anew.
    Broken,
}

impl PartialBeginning {
    /// `part` came, and `more` is to come.
    pub(crate) fn on_part(&mut self, part: LogBeginning, more: bool) -> Progress {
        let (first, last) = (part.producers.iter().next(), part.producers.iter().last());
        let last = last.map(|(id, _)| id);
        // What was told already was not asked for, and could be told for ever.
        if first.is_some_and(|(first, _)| self.last.is_some_and(|told| first <= told)) {
            return Progress::Broken;
        }
        match &mut self.beginning {
            None => self.beginning = Some(part),
            Some(whole) => {
                let is_same = whole.leader_epoch == part.leader_epoch
                    && whole.first_offset == part.first_offset
                    && whole.prev_header_crc == part.prev_header_crc;
                if !is_same {
                    return Progress::Broken;
                }
                part.producers.iter().for_each(|(id, entry)| whole.producers.insert(id, entry.clone()));
            }
        }
        self.last = last.or(self.last);
        match (more, last, &self.beginning) {
            (false, _, _) => self.beginning.take().map_or(Progress::Broken, Progress::Whole),
            (true, Some(last), Some(whole)) if whole.producers.len() <= PRODUCERS_PER_PARTITION_MAX => Progress::More(last),
            (true, _, _) => Progress::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_model::{
        LeaderEpoch, LeaderEpochHistory, Offset, ProducerEntry, ProducerEpoch, ProducerTable, RecentBatch, Sequence,
    };

    fn part(first_offset: u64, ids: std::ops::Range<i64>) -> LogBeginning {
        let batch = RecentBatch { base_sequence: Sequence(0), record_count: 1, base_offset: Offset(1) };
        let mut producers = ProducerTable::default();
        for id in ids {
            let entry = ProducerEntry { epoch: ProducerEpoch(0), last_append_ms: 1, batches: [batch].into() };
            producers.insert(ProducerId(id), entry);
        }
        LogBeginning {
            leader_epoch: LeaderEpoch(2),
            first_offset: Offset(first_offset),
            prev_header_crc: 7,
            epochs: LeaderEpochHistory::default(),
            producers,
        }
    }

    #[test]
    fn parts_of_one_beginning_become_a_whole() {
        let mut partial = PartialBeginning::default();
        assert!(matches!(partial.on_part(part(9, 0..3), true), Progress::More(ProducerId(2))));
        assert!(matches!(partial.on_part(part(9, 3..5), true), Progress::More(ProducerId(4))));
        let Progress::Whole(whole) = partial.on_part(part(9, 5..6), false) else { panic!("that was all") };
        assert_eq!(whole.producers.len(), 6);
    }

    #[test]
    fn a_log_start_that_has_moved_and_an_end_that_never_comes_break_it() {
        let mut partial = PartialBeginning::default();
        partial.on_part(part(9, 0..3), true);
        assert!(matches!(partial.on_part(part(10, 3..5), false), Progress::Broken));
        let mut endless = PartialBeginning::default();
        assert!(matches!(endless.on_part(part(9, 0..PRODUCERS_PER_PARTITION_MAX as i64 + 1), true), Progress::Broken));
        let mut repeating = PartialBeginning::default();
        assert!(matches!(repeating.on_part(part(9, 0..3), true), Progress::More(ProducerId(2))));
        assert!(matches!(repeating.on_part(part(9, 0..3), true), Progress::Broken), "the same again");
        assert!(matches!(PartialBeginning::default().on_part(part(9, 0..0), true), Progress::Broken), "more, and nothing here");
    }
}
