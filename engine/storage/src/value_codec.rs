//! Plain values as little-endian bytes, shared by everything storage keeps of a partition.
//!
//! The expensive mistake is to trust a count or a length: a reader hands out only what is there, and names the field
//! it found wanting. Deliberately absent: checksums, which the format around the values has.

use sluice_model::limits::BATCHES_PER_PRODUCER;
use sluice_model::{
    LeaderEpoch, LeaderEpochHistory, Offset, PartitionIndex, ProducerEntry, ProducerEpoch, ProducerId, ProducerTable,
    RecentBatch, Sequence, TopicId, TopicPartition,
};
use std::collections::VecDeque;

/// The field whose value is missing or makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) field: &'static str,
}

pub(crate) trait PutValue {
    fn put_u32(&mut self, value: u32);
    fn put_u64(&mut self, value: u64);
    fn put_i64(&mut self, value: i64);
    /// A number of entries that follow.
    fn put_count(&mut self, count: usize);
    fn put_id(&mut self, id: TopicPartition);
    fn put_epochs(&mut self, epochs: &LeaderEpochHistory);
    fn put_producers(&mut self, producers: &ProducerTable);
}

impl PutValue for Vec<u8> {
    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_i64(&mut self, value: i64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_count(&mut self, count: usize) {
        self.put_u32(u32::try_from(count).expect("no list that storage keeps has 2^32 entries"));
    }

    fn put_id(&mut self, id: TopicPartition) {
        self.extend_from_slice(&id.topic_id.0);
        self.put_u32(id.partition.0);
    }

    fn put_epochs(&mut self, epochs: &LeaderEpochHistory) {
        self.put_count(epochs.entries().len());
        for (epoch, start) in epochs.entries() {
            self.put_u32(epoch.0);
            self.put_u64(start.0);
        }
    }

    fn put_producers(&mut self, producers: &ProducerTable) {
        self.put_count(producers.len());
        for (id, entry) in producers.iter() {
            self.put_i64(id.0);
            self.put_i64(entry.last_append_ms);
            self.extend_from_slice(&entry.epoch.0.to_le_bytes());
            self.push(u8::try_from(entry.batches.len()).expect("a producer has at most BATCHES_PER_PRODUCER batches"));
            for batch in &entry.batches {
                self.extend_from_slice(&batch.base_sequence.0.to_le_bytes());
                self.put_u32(batch.record_count);
                self.put_u64(batch.base_offset.0);
            }
        }
    }
}

/// Takes values from the front of bytes.
pub(crate) struct ValueReader<'a> {
    bytes: &'a [u8],
}

impl<'a> ValueReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn array<const LEN: usize>(&mut self, field: &'static str) -> Result<[u8; LEN], Malformed> {
        let (value, rest) = self.bytes.split_first_chunk::<LEN>().ok_or(Malformed { field })?;
        self.bytes = rest;
        Ok(*value)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, Malformed> {
        self.array(field).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, Malformed> {
        self.array(field).map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self, field: &'static str) -> Result<i64, Malformed> {
        self.array(field).map(i64::from_le_bytes)
    }

    pub(crate) fn offset(&mut self, field: &'static str) -> Result<Offset, Malformed> {
        self.u64(field).map(Offset)
    }

    pub(crate) fn id(&mut self, field: &'static str) -> Result<TopicPartition, Malformed> {
        Ok(TopicPartition { topic_id: TopicId(self.array(field)?), partition: PartitionIndex(self.u32(field)?) })
    }

    /// A count of entries of at least `entry_len` bytes each, which must all be there.
    pub(crate) fn count(&mut self, field: &'static str, entry_len: usize) -> Result<usize, Malformed> {
        let count = self.u32(field)? as usize;
        if count > self.bytes.len() / entry_len { Err(Malformed { field }) } else { Ok(count) }
    }

    pub(crate) fn epochs(&mut self) -> Result<LeaderEpochHistory, Malformed> {
        let field = "epochs";
        let count = self.count(field, 12)?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            entries.push((LeaderEpoch(self.u32(field)?), self.offset(field)?));
        }
        LeaderEpochHistory::from_entries(entries).ok_or(Malformed { field })
    }

    pub(crate) fn producers(&mut self) -> Result<ProducerTable, Malformed> {
        let field = "producers";
        let mut producers = ProducerTable::default();
        for _ in 0..self.count(field, 35)? {
            let (id, last_append_ms) = (ProducerId(self.i64(field)?), self.i64(field)?);
            let epoch = ProducerEpoch(self.array(field).map(i16::from_le_bytes)?);
            let [batch_count] = self.array(field)?;
            if !(1..=BATCHES_PER_PRODUCER).contains(&usize::from(batch_count)) {
                return Err(Malformed { field });
            }
            let mut batches = VecDeque::new();
            for _ in 0..batch_count {
                let base_sequence = Sequence(self.array(field).map(i32::from_le_bytes)?);
                let (record_count, base_offset) = (self.u32(field)?, self.offset(field)?);
                batches.push_back(RecentBatch { base_sequence, record_count, base_offset });
            }
            producers.insert(id, ProducerEntry { epoch, last_append_ms, batches });
        }
        Ok(producers)
    }
}
