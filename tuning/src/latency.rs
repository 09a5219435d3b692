//! Latency histograms in nanoseconds and the percentiles that reports carry.
//!
//! The expensive mistake is to average percentiles or to drop what exceeds a histogram's bound: values above the bound
//! saturate at it, so a stall always shows in `max`, and summaries are taken from merged histograms, never from other
//! summaries. Absent: any notion of an intended send time; the caller decides what it records.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest latency that is told apart, one hour; anything longer counts as this.
const LATENCY_NS_MAX: u64 = 3_600 * 1_000_000_000;
/// Three significant digits: a figure is at most 0.1 % off.
const SIGNIFICANT_DIGITS: u8 = 3;

/// Half-way steps of a percentile curve for each time that what is left above is halved.
const CURVE_TICKS_PER_HALF: u32 = 5;

/// Durations with nanosecond resolution at three significant digits, up to one hour. Serialised as a list of
/// `[nanoseconds, count]`, one for each bucket that is not empty.
#[derive(Clone, Debug, PartialEq)]
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

    /// Records the same latency `count` times.
    pub fn record_n(&mut self, latency: Duration, count: u64) {
        let latency_ns = u64::try_from(latency.as_nanos()).unwrap_or(LATENCY_NS_MAX).clamp(1, LATENCY_NS_MAX);
        self.samples_ns.saturating_record_n(latency_ns, count);
    }

    /// Adds every sample of `other`; percentiles afterwards are those of the union.
    pub fn merge(&mut self, other: &Self) {
        self.samples_ns.add(&other.samples_ns).expect("all histograms of this type have the same bounds");
    }

    /// HdrHistogram's own measures of how it keeps values: buckets, each twice as wide as the one before, and steps in each.
    #[must_use]
    pub fn buckets(&self) -> (u64, u64) {
        let buckets = u64::from(self.samples_ns.buckets());
        // All buckets but the first share their lower half with the one before.
        (buckets, 2 * self.samples_ns.distinct_values() as u64 / (buckets + 1))
    }

    /// How many samples were recorded.
    pub fn count(&self) -> u64 {
        self.samples_ns.len()
    }

    /// The latency in microseconds at or below which `quantile` (0 to 1) of the samples lie.
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        self.samples_ns.value_at_quantile(quantile) as f64 / 1e3
    }

    /// The curve of all percentiles: (quantile from 0 to 1, µs, samples at or below). Steps grow finer towards the end, which
    /// is the greatest sample. Empty when nothing was recorded.
    pub fn percentile_steps(&self) -> Vec<(f64, f64, u64)> {
        if self.samples_ns.is_empty() {
            return Vec::new();
        }
        let mut count = 0;
        let steps = self.samples_ns.iter_quantiles(CURVE_TICKS_PER_HALF).map(|step| {
            count += step.count_since_last_iteration();
            (step.quantile_iterated_to(), step.value_iterated_to() as f64 / 1e3, count)
        });
        steps.collect()
    }

    /// Zero when nothing was recorded.
    pub fn mean_us(&self) -> f64 {
        self.samples_ns.mean() / 1e3
    }

    /// The standard deviation. Zero when nothing was recorded.
    pub fn deviation_us(&self) -> f64 {
        self.samples_ns.stdev() / 1e3
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

impl Serialize for LatencyHistogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.samples_ns.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())))
    }
}

impl<'de> Deserialize<'de> for LatencyHistogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut histogram = Self::new();
        for (latency_ns, count) in Vec::<(u64, u64)>::deserialize(deserializer)? {
            let total = histogram.count().checked_add(count);
            if latency_ns == 0 || total.is_none() {
                return Err(D::Error::custom(format!("{count} samples of {latency_ns} ns: not a latency histogram")));
            }
            histogram.samples_ns.saturating_record_n(latency_ns.min(LATENCY_NS_MAX), count);
        }
        Ok(histogram)
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
        assert_eq!((LatencyHistogram::new().mean_us(), LatencyHistogram::new().deviation_us()), (0.0, 0.0));
        assert!(
            close(merged.mean_us(), 100.5) && close(merged.deviation_us(), 57.73),
            "{} {}",
            merged.mean_us(),
            merged.deviation_us()
        );
    }

    #[test]
    fn what_is_serialised_comes_back_and_nonsense_does_not() {
        let original = histogram((1..=300).map(|n| n * n));
        let text = serde_json::to_string(&original).expect("JSON");
        let back: LatencyHistogram = serde_json::from_str(&text).expect("a histogram");
        assert_eq!((back.summary(), back.count()), (original.summary(), 300));
        assert_eq!(back, original);
        for nonsense in ["[[0,1]]", "[[5,-1]]", "{}", "[[1,18446744073709551615],[2,2]]"] {
            assert!(serde_json::from_str::<LatencyHistogram>(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn the_curve_ends_at_the_greatest_sample_with_all_of_them() {
        let steps = histogram(1..=1_000).percentile_steps();
        let &(quantile, latency_us, count) = steps.last().expect("steps");
        assert_eq!((quantile, count), (1.0, 1_000));
        assert!(close(latency_us, 1_000.0), "{latency_us}");
        assert!(steps.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].2 <= pair[1].2));
        assert_eq!(LatencyHistogram::new().percentile_steps(), []);
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
