//! A batch of records between the accumulator and its outcome.

use super::accumulator::SlotIndex;
use super::confirm::BatchCell;
use super::partition_queue::BatchId;
use bytes::Bytes;
use sluice_model::TopicPartition;
use sluice_model::record_batch::Attributes;
use std::sync::Arc;

/// A full batch.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) body: Bytes,
    pub(crate) attributes: Attributes,
    /// Compression was tried, or is not wanted.
    pub(crate) prepared: bool,
    pub(crate) record_count: u32,
    pub(crate) base_timestamp_ms: i64,
    pub(crate) max_timestamp_ms: i64,
    pub(crate) cell: CellRef,
    /// Bytes of the producer's memory it holds.
    pub(crate) reserved: usize,
    pub(crate) topic: Arc<str>,
    pub(crate) serial: Serial,
    /// When its first record was taken, microseconds.
    pub(crate) since_us: u64,
    /// Bytes of records before compression.
    pub(crate) len: usize,
    /// How often it was put on the wire.
    pub(crate) sendings: u32,
}

/// Names a batch of this producer; they only grow.
pub(crate) type Serial = u64;

/// Records, their bytes, and the batches they were in.
#[derive(Debug, Default)]
pub(crate) struct Count {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) batches: u64,
}

#[derive(Clone)]
pub(crate) struct CellRef(pub(crate) Arc<BatchCell>);

impl std::fmt::Debug for CellRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BatchCell")
    }
}

/// A batch on its way: where its answer belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentBatch {
    pub(crate) slot: SlotIndex,
    pub(crate) batch: BatchId,
    pub(crate) id: TopicPartition,
}
