//! What the broker counts on one shard. Plain cells of one thread; a snapshot is a value that may cross threads.

use crate::connection::Overdue;
use std::cell::Cell;

#[derive(Debug, Default)]
pub(crate) struct Counter(Cell<u64>);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.set(self.0.get().wrapping_add(count));
    }
}

/// Times in powers of two: bucket n counts those below 2^n microseconds and not below half of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageTimes {
    pub buckets: [u64; Self::BUCKETS],
}

impl StageTimes {
    /// The last bucket takes everything from about nine minutes on.
    pub const BUCKETS: usize = 31;

    const ZERO: Self = Self { buckets: [0; Self::BUCKETS] };

    /// The time, microseconds, that `per_mille` of all were below; an upper bound within a factor of two. 0 when there
    /// were none.
    #[must_use]
    pub fn below_us(&self, per_mille: u64) -> u64 {
        let total: u64 = self.buckets.iter().sum();
        let wanted = total.saturating_mul(per_mille).div_ceil(1000);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted && total > 0 {
                return 1 << bucket;
            }
        }
        0
    }
}

#[derive(Debug)]
pub(crate) struct Stage(Cell<StageTimes>);

impl Stage {
    pub(crate) fn record(&self, us: u64) {
        let mut times = self.0.get();
        let bucket = (u64::BITS - us.leading_zeros()) as usize;
        times.buckets[bucket.min(StageTimes::BUCKETS - 1)] += 1;
        self.0.set(times);
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self(Cell::new(StageTimes::ZERO))
    }
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The peer ended it.
    Peer,
    /// It was refused for what it sent.
    Refused,
    /// Its client has opened another one.
    Fenced,
    /// No room to keep what it had sent.
    NoRoom,
    Overdue(Overdue),
    Stopping,
}

#[derive(Debug, Default)]
pub(crate) struct BrokerMetrics {
    pub(crate) connections_accepted: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) connections_closed: Counter,
    pub(crate) connections_overdue: Counter,
    pub(crate) requests: Counter,
    pub(crate) requests_without_room: Counter,
    pub(crate) refusals: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) batches_appended: Counter,
    pub(crate) batches_refused: Counter,
    pub(crate) fetches_parked: Counter,
    pub(crate) disk_reads: Counter,
    /// From a whole request to its answer.
    pub(crate) produce_us: Stage,
    /// The same, for fetches that found something at once.
    pub(crate) fetch_us: Stage,
}

impl BrokerMetrics {
    pub(crate) fn closed(&self, reason: CloseReason) {
        self.connections_closed.add(1);
        if matches!(reason, CloseReason::Overdue(_)) {
            self.connections_overdue.add(1);
        }
    }

    pub(crate) fn snapshot(&self) -> BrokerCounters {
        BrokerCounters {
            connections_accepted: self.connections_accepted.0.get(),
            connections_refused: self.connections_refused.0.get(),
            connections_closed: self.connections_closed.0.get(),
            connections_overdue: self.connections_overdue.0.get(),
            requests: self.requests.0.get(),
            requests_without_room: self.requests_without_room.0.get(),
            refusals: self.refusals.0.get(),
            received_bytes: self.received_bytes.0.get(),
            sent_bytes: self.sent_bytes.0.get(),
            batches_appended: self.batches_appended.0.get(),
            batches_refused: self.batches_refused.0.get(),
            fetches_parked: self.fetches_parked.0.get(),
            disk_reads: self.disk_reads.0.get(),
            produce_us: self.produce_us.0.get(),
            fetch_us: self.fetch_us.0.get(),
        }
    }
}

/// A snapshot of one shard's counters since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerCounters {
    pub connections_accepted: u64,
    /// Over the limit, or for want of descriptors.
    pub connections_refused: u64,
    pub connections_closed: u64,
    /// Of those closed: for owing a request, taking no answers, or saying nothing.
    pub connections_overdue: u64,
    pub requests: u64,
    /// Refused before they were read, for want of room in the network budget.
    pub requests_without_room: u64,
    /// Answers that are refusals as a whole.
    pub refusals: u64,
    pub received_bytes: u64,
    pub sent_bytes: u64,
    pub batches_appended: u64,
    pub batches_refused: u64,
    pub fetches_parked: u64,
    pub disk_reads: u64,
    /// From a whole produce to its answer.
    pub produce_us: StageTimes,
    /// From a whole fetch to its answer, for those that found something at once.
    pub fetch_us: StageTimes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_within_a_factor_of_two() {
        let stage = Stage::default();
        assert_eq!(stage.0.get().below_us(500), 0);
        (0..990).for_each(|_| stage.record(100));
        (0..10).for_each(|_| stage.record(u64::MAX));
        stage.record(0);
        let times = stage.0.get();
        assert_eq!((times.below_us(500), times.below_us(990)), (128, 128));
        assert_eq!(times.below_us(1000), 1 << 30);
    }
}
