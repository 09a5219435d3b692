//! What a partition remembers of its idempotent producers: plain data, kept in checkpoint and footers and carried
//! forward by replay. The rules about it (duplicate, out of order, fenced) are `replica::idempotence`'s.

use crate::frame::FrameHeader;
use crate::ids::{Offset, ProducerEpoch, ProducerId, Sequence};
use crate::limits::BATCHES_PER_PRODUCER;
use std::collections::{BTreeMap, VecDeque};

/// One batch a producer appended, so that its retry is recognised and answered with the same offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentBatch {
    pub base_sequence: Sequence,
    pub record_count: u32,
    pub base_offset: Offset,
}

impl RecentBatch {
    /// The sequence that must follow this batch.
    #[must_use]
    pub fn next_sequence(&self) -> Sequence {
        self.base_sequence.advanced(self.record_count)
    }

    /// The offset after its last record.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        Offset(self.base_offset.0.saturating_add(u64::from(self.record_count)))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    pub epoch: ProducerEpoch,
    /// `append_time_ms` of its last batch.
    pub last_append_ms: i64,
    /// Oldest first, never empty, at most `BATCHES_PER_PRODUCER`, all of `epoch`.
    pub batches: VecDeque<RecentBatch>,
}

/// Every producer of one partition, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerTable {
    entries: BTreeMap<ProducerId, ProducerEntry>,
}

impl ProducerTable {
    #[must_use]
    pub fn get(&self, id: ProducerId) -> Option<&ProducerEntry> {
        self.entries.get(&id)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.entries.iter().map(|(&id, entry)| (id, entry))
    }

    /// Puts back a stored entry.
    pub fn insert(&mut self, id: ProducerId, entry: ProducerEntry) {
        assert!((1..=BATCHES_PER_PRODUCER).contains(&entry.batches.len()), "producer {id} has {} batches", entry.batches.len());
        self.entries.insert(id, entry);
    }

    /// Notes an appended (or replayed) frame. Frames without a producer id leave no trace.
    pub fn on_append(&mut self, header: &FrameHeader) {
        let id = header.producer_id();
        if id == ProducerId::NONE {
            return;
        }
        let batch = RecentBatch {
            base_sequence: header.base_sequence(),
            record_count: header.record_count.to_native(),
            base_offset: header.base_offset(),
        };
        let epoch = header.producer_epoch();
        let entry =
            self.entries.entry(id).or_insert_with(|| ProducerEntry { epoch, last_append_ms: 0, batches: VecDeque::new() });
        if entry.epoch != epoch {
            entry.epoch = epoch;
            entry.batches.clear();
        }
        if entry.batches.len() == BATCHES_PER_PRODUCER {
            entry.batches.pop_front();
        }
        entry.batches.push_back(batch);
        entry.last_append_ms = header.append_time_ms.to_native();
    }

    /// What it remembers of batches below `end`. A table that begins with this and is given all frames from `end` on comes to
    /// be this one.
    #[must_use]
    pub fn below(&self, end: Offset) -> Self {
        let remembered = self.entries.iter().filter_map(|(&id, entry)| {
            let batches: VecDeque<_> = entry.batches.iter().filter(|batch| batch.base_offset < end).copied().collect();
            (!batches.is_empty()).then_some((id, ProducerEntry { batches, ..*entry }))
        });
        Self { entries: remembered.collect() }
    }

    /// Forgets producers whose last append is before `before_ms`; gives back how many.
    pub fn expire(&mut self, before_ms: i64) -> usize {
        let count = self.entries.len();
        self.entries.retain(|_, entry| entry.last_append_ms >= before_ms);
        count - self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{LeaderSeal, ProducerBatch};
    use crate::ids::{LeaderEpoch, TopicPartition};

    fn frame(producer: i64, epoch: i16, sequence: i32, offset: u64) -> FrameHeader {
        let batch = ProducerBatch {
            topic_partition: TopicPartition::default(),
            attributes: 0,
            producer_id: ProducerId(producer),
            producer_epoch: ProducerEpoch(epoch),
            base_sequence: Sequence(sequence),
            record_count: 2,
            base_timestamp_ms: 0,
            max_timestamp_ms: 0,
        };
        let seal = LeaderSeal {
            base_offset: Offset(offset),
            leader_epoch: LeaderEpoch(1),
            append_time_ms: i64::try_from(offset).unwrap(),
            prev_header_crc: 0,
        };
        FrameHeader::new(batch, b"").sealed(seal)
    }

    #[test]
    fn it_keeps_the_last_five_batches_of_the_newest_epoch() {
        let mut table = ProducerTable::default();
        for n in 0..7 {
            table.on_append(&frame(1, 0, n * 2, u64::try_from(n).unwrap() * 2));
        }
        let entry = table.get(ProducerId(1)).unwrap();
        assert_eq!(entry.batches.iter().map(|b| b.base_sequence.0).collect::<Vec<_>>(), [4, 6, 8, 10, 12]);
        table.on_append(&frame(1, 1, 0, 14));
        assert_eq!(table.get(ProducerId(1)).unwrap().batches.len(), 1);
        table.on_append(&frame(-1, -1, -1, 16));
        assert_eq!(table.len(), 1);
        assert_eq!(table.expire(15), 1);
    }

    #[test]
    fn what_is_remembered_below_an_offset_and_the_frames_from_there_on_make_the_same_table() {
        let frames: Vec<_> =
            (0..40i32).map(|n| frame(i64::from(n % 3), i16::from(n > 30), n / 3, u64::try_from(n).unwrap())).collect();
        let mut whole = ProducerTable::default();
        frames.iter().for_each(|header| whole.on_append(header));
        for end in [0, 1, 20, 33, 39, 40] {
            let mut copy = whole.below(Offset(end));
            frames.iter().filter(|header| header.base_offset().0 >= end).for_each(|header| copy.on_append(header));
            assert_eq!(copy, whole, "from {end} on");
        }
    }
}
