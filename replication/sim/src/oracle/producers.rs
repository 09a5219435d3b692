//! What must be made of a sequence: written a second time, from KIP-98 rather than from the code, over everything
//! that one producer has appended to one partition.

use super::batches::Producer;
use sluice_model::{ProducerEpoch, Sequence};

/// Batches per producer whose retry is answered with their offset.
const REMEMBERED: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    New,
    /// In the log already, at this offset.
    Duplicate(u64),
    /// In the log already, too long ago to say where.
    OldDuplicate,
    Unknown,
    Fenced,
    OutOfOrder,
}

#[derive(Clone, Debug, Default)]
pub struct ProducerModel {
    /// All that the log has taken of it, oldest first.
    appended: Vec<Appended>,
}

#[derive(Clone, Copy, Debug)]
struct Appended {
    epoch: ProducerEpoch,
    sequence: Sequence,
    record_count: u32,
    base_offset: u64,
    /// It may be forgotten: it was deleted, and the log was cut since.
    is_doubtful: bool,
}

impl ProducerModel {
    #[must_use]
    pub fn expect(&self, producer: Producer, record_count: u32) -> Expected {
        let first = producer.sequence == Sequence(0);
        let Some(last) = self.appended.last() else { return if first { Expected::New } else { Expected::Unknown } };
        if producer.epoch < last.epoch {
            return Expected::Fenced;
        }
        if producer.epoch > last.epoch {
            return if first { Expected::New } else { Expected::OutOfOrder };
        }
        if producer.sequence == last.sequence.advanced(last.record_count) {
            return Expected::New;
        }
        let mut recent = self.recent();
        let is_it = |appended: &&Appended| appended.sequence == producer.sequence && appended.record_count == record_count;
        if let Some(appended) = recent.clone().find(is_it) {
            return Expected::Duplicate(appended.base_offset);
        }
        match recent.by_ref().last() {
            Some(oldest) if producer.sequence.0 + i32::try_from(record_count).expect("small") <= oldest.sequence.0 => {
                Expected::OldDuplicate
            }
            _ => Expected::OutOfOrder,
        }
    }

    /// As [`Self::expect`], when all that may be forgotten is.
    #[must_use]
    pub fn expect_at_least(&self, producer: Producer, record_count: u32) -> Expected {
        let appended = self.appended.iter().filter(|appended| !appended.is_doubtful).copied().collect();
        Self { appended }.expect(producer, record_count)
    }

    /// Those whose retry is answered with their offset, newest first.
    fn recent(&self) -> impl Iterator<Item = &Appended> + Clone {
        let epoch = self.appended.last().map(|last| last.epoch);
        self.appended.iter().rev().take_while(move |appended| Some(appended.epoch) == epoch).take(REMEMBERED)
    }

    pub fn append(&mut self, producer: Producer, record_count: u32, base_offset: u64) {
        let Producer { epoch, sequence, .. } = producer;
        self.appended.push(Appended { epoch, sequence, record_count, base_offset, is_doubtful: false });
    }

    /// A truncation: what it had before the log start is known only as far as its newest batches reached below the cut.
    pub fn truncate(&mut self, end: u64, log_start: u64) {
        let oldest_known = self.recent().last().map_or(u64::MAX, |appended| appended.base_offset);
        self.forget_below(log_start.min(oldest_known));
        self.lose_from(end);
    }

    /// The log was found to end there. A batch that reaches beyond is gone, the part of it below the end too.
    pub fn lose_from(&mut self, end: u64) {
        self.appended.retain(|appended| appended.base_offset + u64::from(appended.record_count) <= end);
    }

    /// Of what it had below `offset` nothing is left that has to say so.
    pub fn forget_below(&mut self, offset: u64) {
        self.appended.iter_mut().for_each(|appended| appended.is_doubtful |= appended.base_offset < offset);
    }

    /// The journal's copy of the batch at `base` is gone, and no segment had it: whoever replays the rest does not meet it.
    pub fn forget_at(&mut self, base: u64) {
        self.appended.iter_mut().for_each(|appended| appended.is_doubtful |= appended.base_offset == base);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_model::ProducerId;

    fn at(epoch: i16, sequence: i32) -> Producer {
        Producer { id: ProducerId(1), epoch: ProducerEpoch(epoch), sequence: Sequence(sequence) }
    }

    #[test]
    fn sequences_are_judged_as_kip_98_says() {
        let mut model = ProducerModel::default();
        assert_eq!(model.expect(at(0, 3), 1), Expected::Unknown);
        for n in 0..8 {
            assert_eq!(model.expect(at(1, n * 2), 2), Expected::New);
            model.append(at(1, n * 2), 2, u64::try_from(n).unwrap() * 10);
        }
        assert_eq!(model.expect(at(1, 14), 2), Expected::Duplicate(70));
        assert_eq!(model.expect(at(1, 6), 2), Expected::Duplicate(30));
        assert_eq!(model.expect(at(1, 4), 2), Expected::OldDuplicate);
        assert_eq!(model.expect(at(1, 18), 2), Expected::OutOfOrder);
        assert_eq!(model.expect(at(0, 16), 2), Expected::Fenced);
        assert_eq!((model.expect(at(2, 16), 2), model.expect(at(2, 0), 2)), (Expected::OutOfOrder, Expected::New));
        let mut kept = model.clone();
        kept.truncate(70, 70);
        assert_eq!((kept.expect(at(1, 14), 2), kept.expect_at_least(at(1, 14), 2)), (Expected::New, Expected::New));
        model.truncate(30, 30);
        assert_eq!(model.expect(at(1, 6), 2), Expected::New);
        assert_eq!(model.expect_at_least(at(1, 6), 2), Expected::Unknown, "all that was remembered was cut off");
    }
}
