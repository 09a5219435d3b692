//! Latency histograms in nanoseconds and the percentiles that reports carry.
//!
//! The expensive mistake is to average percentiles or to drop what exceeds a histogram's bound: values above the bound
//! saturate at it, so a stall always shows in `max`, and summaries are taken from merged histograms, never from other
//! summaries. Absent: any notion of an intended send time; the caller decides what it records.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest latency that is told apart, one hour; anything longer counts as this.
const LATENCY_NS_MAX: u64 = 3_600 * 1_000_000_000;
/// Three significant digits: a figure is at most 0.1 % off.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Durations with nanosecond resolution at three significant digits, up to one hour.
#[derive(Clone, Debug)]
pub struct LatencyHistogram {
    samples_ns: Histogram<u64>,
}

/// Percentiles in microseconds. All zero when nothing was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencySummary {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub p99_99: f64,
    pub max: f64,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self::new()
    }
}

impl LatencyHistogram {
    pub fn new() -> Self {
        let samples_ns = Histogram::new_with_bounds(1, LATENCY_NS_MAX, SIGNIFICANT_DIGITS)
            .expect("the bounds are constants that hdrhistogram accepts");
        Self { samples_ns }
    }

    pub fn record(&mut self, latency: Duration) {
        let latency_ns = u64::try_from(latency.as_nanos()).unwrap_or(LATENCY_NS_MAX).clamp(1, LATENCY_NS_MAX);
        self.samples_ns.saturating_record(latency_ns);
    }

    /// Adds every sample of `other`; percentiles afterwards are those of the union.
    pub fn merge(&mut self, other: &Self) {
        self.samples_ns.add(&other.samples_ns).expect("all histograms of this type have the same bounds");
    }

    /// How many samples were recorded.
    pub fn count(&self) -> u64 {
        self.samples_ns.len()
    }

    /// The latency in microseconds at or below which `quantile` (0 to 1) of the samples lie.
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        self.samples_ns.value_at_quantile(quantile) as f64 / 1e3
    }

    pub fn summary(&self) -> LatencySummary {
        LatencySummary {
            p50: self.quantile_us(0.5),
            p90: self.quantile_us(0.9),
            p99: self.quantile_us(0.99),
            p99_9: self.quantile_us(0.999),
            p99_99: self.quantile_us(0.9999),
            max: self.samples_ns.max() as f64 / 1e3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(latencies_us: impl IntoIterator<Item = u64>) -> LatencyHistogram {
        let mut histogram = LatencyHistogram::new();
        latencies_us.into_iter().for_each(|us| histogram.record(Duration::from_micros(us)));
        histogram
    }

    fn close(got: f64, expected: f64) -> bool {
        (got - expected).abs() <= expected * 0.001
    }

    #[test]
    fn percentiles_are_those_of_the_samples() {
        let summary = histogram(1..=10_000).summary();
        let expected = [5_000.0, 9_000.0, 9_900.0, 9_990.0, 9_999.0, 10_000.0];
        let got = [summary.p50, summary.p90, summary.p99, summary.p99_9, summary.p99_99, summary.max];
        for (got, expected) in got.into_iter().zip(expected) {
            assert!(close(got, expected), "{got} is not {expected}");
        }
    }

    #[test]
    fn merging_is_the_union_and_nothing_recorded_is_zero() {
        let mut merged = histogram(1..=100);
        merged.merge(&histogram(101..=200));
        assert_eq!(merged.count(), 200);
        assert_eq!(merged.summary(), histogram(1..=200).summary());
        assert_eq!(LatencyHistogram::new().summary(), LatencySummary::default());
    }

    #[test]
    fn a_stall_beyond_the_bound_shows_as_the_bound() {
        let mut histogram = LatencyHistogram::new();
        histogram.record(Duration::from_secs(100_000));
        histogram.record(Duration::ZERO);
        assert_eq!(histogram.count(), 2);
        assert!(close(histogram.summary().max, 3_600.0 * 1e6));
    }
}
