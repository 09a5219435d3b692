//! What came together is decided together: commands one after the other, each on what the ones before it will have made
//! of the image, and all that they change as one entry.
//!
//! Whoever dies while ten thousand partitions fail over leaves all of them done or none; a slow disk's in-sync sets
//! change as one. Only what is too much for one entry becomes several (`Batch::extend`).

use crate::command::{Command, Decided};
use crate::raft_types::LogEntry;
use sluice_metadata::batch::RECORDS_PER_BATCH_MAX;
use sluice_metadata::{Batch, Image, Refusal};

pub(crate) struct Round {
    /// As it is once all that was decided is applied.
    image: Image,
    base: u64,
    batches: Vec<Batch>,
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
        self.batches.len() > 1 || self.batches.last().is_some_and(|last| last.records.len() >= RECORDS_PER_BATCH_MAX)
    }

    pub(crate) fn decide(&mut self, command: &Command) -> Result<Decided, Refusal> {
        let decided = command.decide(&self.image)?;
        let batch = Batch { records: decided.records };
        if let Err(error) = self.image.apply_batch(&batch) {
            panic!("a command was decided on this image and does not apply: {error}");
        }
        Batch::extend(&mut self.batches, &batch.records);
        Ok(Decided { records: batch.records, answers: decided.answers })
    }

    /// The entries, in order.
    pub(crate) fn into_entries(self) -> Vec<LogEntry> {
        let encoded = self.batches.into_iter().map(|batch| batch.encode().into());
        (self.base..).zip(encoded).map(|(base, batch)| LogEntry::Batch { base, batch }).collect()
    }
}

#[cfg(test)]
#[path = "round_test.rs"]
mod tests;
