//! What was measured, each kind by size and depth, and the bounds in which such figures can lie at all.
//!
//! The bounds are wide: they are there for a file that somebody changed or another program wrote, not to judge a device.

use crate::latency::LatencyHistogram;

/// Bytes of one operation.
pub(super) const SIZE_MIN: u32 = 512;
pub(super) const SIZE_MAX: u32 = 64 << 20;
/// Operations in flight.
pub(super) const DEPTH_MAX: u32 = 1024;
/// Bytes a second: a hundred bytes, and more than memory gives.
pub(super) const LEN_PER_SECOND_MIN: f64 = 100.0;
pub(super) const LEN_PER_SECOND_MAX: f64 = 1e13;
/// Microseconds: a nanosecond, and an hour.
pub(super) const TIME_MIN: f64 = 1e-3;
pub(super) const TIME_MAX: f64 = 3.6e9;
/// Rows of one kind; there are fifteen.
pub(super) const ROWS_MAX: usize = 256;

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// Operations that were timed.
    pub samples: u64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
}

impl Latency {
    /// Rounded to the histogram's own three digits. Something must have been recorded.
    #[must_use]
    pub fn of(histogram: &LatencyHistogram) -> Self {
        assert!(histogram.count() > 0, "latencies of nothing");
        let summary = histogram.summary();
        let [p50, p90, p99, p99_9, max] = [summary.p50, summary.p90, summary.p99, summary.p99_9, summary.max].map(rounded);
        Self { samples: histogram.count(), p50, p90, p99, p99_9, max }
    }

    #[must_use]
    pub fn steps(&self) -> [(&'static str, f64); 5] {
        [("p50", self.p50), ("p90", self.p90), ("p99", self.p99), ("p99_9", self.p99_9), ("max", self.max)]
    }
}

/// Four significant digits: more than a device repeats.
#[must_use]
pub(super) fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// A rate as figures hold it: whole bytes a second, rounded to four digits. Zero only where nothing was moved.
#[must_use]
pub fn rate_of(len: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { rounded(len as f64 / seconds).round().min(LEN_PER_SECOND_MAX) } else { 0.0 }
}

/// Operations of one size, so many in flight all the time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transfer {
    /// Bytes.
    pub size: u32,
    pub depth: u32,
    /// Whole bytes a second, as all rates here.
    pub rate: f64,
    pub latency: Latency,
}

impl Transfer {
    #[must_use]
    pub fn operations_per_s(&self) -> f64 {
        self.rate / f64::from(self.size)
    }
}

/// 4 KiB written and flushed, one at a time, while other threads write in bulk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlushUnderLoad {
    /// Per cent of the greatest rate that bulk writes reached alone; 0 is none of them.
    pub load: f64,
    /// Bytes a second that they did reach, 0 where there were none.
    pub written: f64,
    pub latency: Latency,
}

/// 4 KiB written and flushed, one at a time, while other threads read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WriteBesideReads {
    /// Bytes of a read.
    pub size: u32,
    /// Reads in flight.
    pub depth: u32,
    /// Bytes a second that were read.
    pub read: f64,
    /// Of the reads.
    pub read_latency: Latency,
    /// Of the writes.
    pub latency: Latency,
}

/// All of a probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// O_DIRECT, one after the other into space that is allocated and not yet written, as segments are.
    pub direct_writes: Vec<Transfer>,
    /// O_DIRECT and O_DSYNC, over blocks that were written before, as a journal's are.
    pub durable_writes: Vec<Transfer>,
    /// O_DIRECT, at random places.
    pub reads: Vec<Transfer>,
    pub flushes_under_load: Vec<FlushUnderLoad>,
    pub writes_beside_reads: Vec<WriteBesideReads>,
    /// One stream over loopback, bytes a second.
    pub loopback_rate: f64,
    /// 1152 bytes there and 64 back over loopback.
    pub loopback_round_trip: Latency,
    /// Memory copied by one thread, bytes a second, each counted once.
    pub memory_copy_rate: f64,
    /// CRC-32C by one thread, bytes a second.
    pub checksum_rate: f64,
}

impl Figures {
    /// How many rows there are of all kinds; a file that was cut has fewer.
    #[must_use]
    pub fn row_count(&self) -> usize {
        let transfers = self.direct_writes.len() + self.durable_writes.len() + self.reads.len();
        transfers + self.flushes_under_load.len() + self.writes_beside_reads.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn figures_keep_four_digits() {
        for (value, expected) in [(123_456.0, 123_500.0), (0.123_456, 0.1235), (0.0, 0.0), (7.0, 7.0)] {
            assert_eq!(rounded(value), expected);
        }
        let mut histogram = LatencyHistogram::new();
        (1..=1000).for_each(|us| histogram.record(Duration::from_micros(us)));
        let latency = Latency::of(&histogram);
        assert_eq!(latency.samples, 1000);
        assert!(latency.steps().windows(2).all(|pair| pair[0].1 <= pair[1].1), "{latency:?}");
    }
}
