//! What a producer has done so far, counted where it happens: records where they are taken, outcomes where they are
//! given, one batch at a time.

use super::accumulator::Accumulator;
use super::batch::Batch;
use super::delivery::Settlement;
use super::histogram::{Histogram, LatencySummary};
use std::sync::Arc;

/// All since the producer was made; take the difference of two for an interval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerStatistics {
    /// Taken by `send` and its like, and their bytes as they are written, before compression.
    pub records_sent: u64,
    pub bytes_sent: u64,
    pub records_acknowledged: u64,
    /// Before compression.
    pub bytes_acknowledged: u64,
    /// Whose outcome is *refused*.
    pub records_refused: u64,
    /// Whose outcome is *unknown*.
    pub records_unknown: u64,
    /// Records of batches that the broker refused and that may have been admitted later; one refused twice counts twice.
    pub record_refusals: u64,
    /// Put on the wire again, after a refusal or a lost connection; counted each time.
    pub batches_retried: u64,
    pub records_retried: u64,
    /// Batches that have their outcome.
    pub batches: u64,
    /// Over those: records of a batch, and bytes before compression.
    pub batch_records_mean: u64,
    pub batch_records_max: u64,
    pub batch_len_mean: u64,
    pub batch_len_max: u64,
    /// Memory of records without outcome, bytes, and how much of it there is.
    pub buffer_used: usize,
    pub buffer_len_max: usize,
    /// From a batch's first `send` to its acknowledgement, counted once for each of its records: so not below what any
    /// of them took.
    pub latency: LatencySummary,
    /// Partitions with batches that have no outcome yet.
    pub partitions: Vec<PartitionInFlight>,
}

/// What one partition has on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionInFlight {
    pub topic: Arc<str>,
    pub partition: u32,
    /// On the wire.
    pub batches_in_flight: usize,
    /// Full, or refused for now, and waiting to be sent.
    pub batches_waiting: usize,
    /// In the batch that is being filled.
    pub open_records: u32,
}

/// Counts of what has its outcome.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    records: [u64; 3],
    bytes_acknowledged: u64,
    batches: u64,
    bytes: u64,
    batch_records_max: u64,
    batch_len_max: u64,
    latency: Histogram,
}

impl Outcomes {
    pub(super) fn note(&mut self, batch: &Batch, settlement: &Settlement, latency_us: u64) {
        let (records, len) = (u64::from(batch.record_count), batch.len as u64);
        let kind = match settlement {
            Settlement::Acknowledged { .. } => 0,
            Settlement::Refused { .. } => 1,
            Settlement::Unknown { .. } => 2,
        };
        self.records[kind] += records;
        self.batches += 1;
        self.bytes += len;
        self.batch_records_max = self.batch_records_max.max(records);
        self.batch_len_max = self.batch_len_max.max(len);
        if kind == 0 {
            self.bytes_acknowledged += len;
            self.latency.record(latency_us, records);
        }
    }

    pub(super) fn add_to(&self, statistics: &mut ProducerStatistics) {
        [statistics.records_acknowledged, statistics.records_refused, statistics.records_unknown] = self.records;
        statistics.bytes_acknowledged = self.bytes_acknowledged;
        statistics.batches = self.batches;
        let mean = |sum: u64| sum.checked_div(self.batches).unwrap_or_default();
        statistics.batch_records_mean = mean(self.records.iter().sum());
        statistics.batch_len_mean = mean(self.bytes);
        statistics.batch_records_max = self.batch_records_max;
        statistics.batch_len_max = self.batch_len_max;
        statistics.latency = self.latency.summary();
    }
}

impl Accumulator {
    pub(super) fn add_to(&self, statistics: &mut ProducerStatistics) {
        statistics.records_sent = self.taken.records;
        statistics.bytes_sent = self.taken.bytes;
        statistics.batches_retried = self.retried.batches;
        statistics.records_retried = self.retried.records;
        statistics.partitions = self
            .slots
            .iter()
            .filter_map(|slot| {
                let (batches_in_flight, batches) = slot.queue.in_flight_and_unsettled();
                let in_flight = PartitionInFlight {
                    topic: self.topics[slot.topic].info.name.clone(),
                    partition: slot.id.partition.0,
                    batches_in_flight,
                    batches_waiting: batches - batches_in_flight,
                    open_records: slot.open_records(),
                };
                (in_flight.batches_in_flight + in_flight.batches_waiting > 0 || in_flight.open_records > 0).then_some(in_flight)
            })
            .collect();
    }
}
