//! What came together is decided together: commands one after the other, each on what the ones before it will have made
//! of the image, and all that they change as one entry.
//!
//! Whoever dies while ten thousand partitions fail over leaves all of them done or none; a slow disk's in-sync sets
//! change as one. Only what is too much for one entry becomes several, cut where a rule's records may be cut.

use crate::command::{Command, Decided};
use crate::raft_types::LogEntry;
use sluice_metadata::{Batch, Image, Record, Refusal};

/// Most records of one entry: all partitions of a largest topic, and what came with them.
pub(crate) const ENTRY_RECORDS_MAX: usize = 12_000;

pub(crate) struct Round {
    /// As it is once all that was decided is applied.
    image: Image,
    base: u64,
    batches: Vec<Vec<Record>>,
}

impl Round {
    pub(crate) fn new(image: &Image, base: u64) -> Self {
        Self { image: image.clone(), base, batches: Vec::new() }
    }

    /// What the index is once all that was decided is applied.
    pub(crate) fn index(&self) -> u64 {
        self.base + self.batches.len() as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Nothing more should be added.
    pub(crate) fn is_full(&self) -> bool {
        self.batches.len() > 1 || self.batches.last().is_some_and(|last| last.len() >= ENTRY_RECORDS_MAX)
    }

    pub(crate) fn decide(&mut self, command: &Command) -> Result<Decided, Refusal> {
        let decided = command.decide(&self.image)?;
        let batch = Batch { records: decided.records };
        if let Err(error) = self.image.apply_batch(&batch) {
            panic!("a command was decided on this image and does not apply: {error}");
        }
        self.add(&batch.records, command.is_whole());
        Ok(Decided { records: batch.records, answers: decided.answers })
    }

    fn add(&mut self, mut records: &[Record], is_whole: bool) {
        if records.is_empty() {
            return;
        }
        let room = self.batches.last().map_or(0, |last| ENTRY_RECORDS_MAX.saturating_sub(last.len()));
        if is_whole && records.len() > room {
            return self.batches.push(records.to_vec());
        }
        if let Some(last) = self.batches.last_mut() {
            let (now, later) = records.split_at(records.len().min(room));
            last.extend_from_slice(now);
            records = later;
        }
        self.batches.extend(records.chunks(ENTRY_RECORDS_MAX).map(<[Record]>::to_vec));
    }

    /// The entries, in order.
    pub(crate) fn into_entries(self) -> Vec<LogEntry> {
        let encoded = self.batches.into_iter().map(|records| Batch { records }.encode().into());
        (self.base..).zip(encoded).map(|(base, batch)| LogEntry::Batch { base, batch }).collect()
    }
}

#[cfg(test)]
#[path = "round_test.rs"]
mod tests;
