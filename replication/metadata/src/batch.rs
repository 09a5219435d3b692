//! A batch of records as bytes.
//!
//! A batch bears the version of its newest kind of record: what a single broker
//! writes can be read by every build that has read it before.

use crate::framed::{FrameKind, FramedError, framed_bytes, from_framed};
use crate::record::Record;
use rkyv::{Archive, Deserialize, Serialize};

/// The records of one log entry: they take effect together or not at all.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub records: Vec<Record>,
}

/// Largest encoded batch, bytes. All partitions of a largest cluster changed at once stay far below it.
pub const BATCH_LEN_MAX: usize = 64 * 1024 * 1024;
/// Most records of one batch, where a decision may be cut into several: all partitions of a largest topic, and what came
/// with them.
pub const RECORDS_PER_BATCH_MAX: usize = 12_000;
/// Raised with every new variant of [`Record`].
pub const BATCH_VERSION: u8 = 2;

const KIND: FrameKind = FrameKind { magic: *b"SLM", version: BATCH_VERSION, len_max: BATCH_LEN_MAX };

impl Batch {
    /// The records of one decision, in order. All of the batches are appended before the next event is decided.
    #[must_use]
    pub fn split(records: &[Record]) -> Vec<Self> {
        let mut batches = Vec::new();
        Self::extend(&mut batches, records);
        batches
    }

    /// Puts the records of one more decision behind those of earlier ones: into the last batch, as far as that has room,
    /// and into further ones, of at most `RECORDS_PER_BATCH_MAX` each. Rules order their records such that every beginning
    /// of them keeps the invariants, so a controller that dies in between leaves something to be done and nothing to be
    /// undone: its successor decides the same event again. A registration stays whole, because the shards of a broker and
    /// what lies on them change together.
    pub fn extend(batches: &mut Vec<Self>, mut records: &[Record]) {
        let registers = |r: &Record| matches!(r, Record::BrokerRegistered(_) | Record::BrokerIncarnationRegistered(_));
        let room = batches.last().map_or(0, |last| RECORDS_PER_BATCH_MAX.saturating_sub(last.records.len()));
        if records.len() > room && records.iter().any(registers) {
            return batches.push(Self { records: records.to_vec() });
        }
        if let Some(last) = batches.last_mut() {
            let (now, later) = records.split_at(records.len().min(room));
            last.records.extend_from_slice(now);
            records = later;
        }
        batches.extend(records.chunks(RECORDS_PER_BATCH_MAX).map(|records| Self { records: records.to_vec() }));
    }

    /// The lowest that every build with all of its kinds of records reads.
    fn version(&self) -> u8 {
        self.records.iter().map(Record::version).max().unwrap_or(1)
    }

    /// # Panics
    /// When it is longer than `BATCH_LEN_MAX`, which no decision is.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let framed = framed_bytes(self, KIND, self.version(), 128 * self.records.len());
        framed.unwrap_or_else(|error| panic!("a batch of {} records: {error}", self.records.len()))
    }

    /// Reads bytes from disk or from outside. Never allocates more than a small multiple of their length.
    pub fn decode(bytes: &[u8]) -> Result<Self, FramedError> {
        from_framed(bytes, KIND)
    }
}

#[cfg(test)]
#[path = "batch_test.rs"]
mod tests;
