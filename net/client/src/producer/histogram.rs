//! Latencies counted in buckets: sixteen to each doubling, so that a quantile is at most 6.25 % too high, in 8 KiB.
//!
//! Deliberately absent: anything that forgets. Whoever wants the figures of an interval takes the difference of two.

/// Buckets to each doubling, as a power of two.
const PRECISION_BITS: u32 = 4;
const SUB_BUCKETS: u64 = 1 << PRECISION_BITS;
const BUCKETS: usize = ((64 - PRECISION_BITS as usize) + 1) << PRECISION_BITS;

/// What a histogram says of its values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencySummary {
    /// Values counted.
    pub count: u64,
    /// All in microseconds; 0 when nothing was counted. Quantiles are at most 6.25 % above the truth.
    pub mean_us: u64,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub p99_9_us: u64,
    pub max_us: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: u128,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], count: 0, sum: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts `value` `times` times.
    pub(super) fn record(&mut self, value: u64, times: u64) {
        self.counts[bucket_of(value)] += times;
        self.count += times;
        self.sum += u128::from(value) * u128::from(times);
        self.max = self.max.max(value);
    }

    pub(super) fn summary(&self) -> LatencySummary {
        let mean = self.sum.checked_div(self.count.into()).unwrap_or_default();
        LatencySummary {
            count: self.count,
            mean_us: u64::try_from(mean).unwrap_or(u64::MAX),
            p50_us: self.quantile(500),
            p90_us: self.quantile(900),
            p99_us: self.quantile(990),
            p99_9_us: self.quantile(999),
            max_us: self.max,
        }
    }

    /// The value that `per_mille` of all do not exceed.
    fn quantile(&self, per_mille: u64) -> u64 {
        let wanted = (u128::from(self.count) * u128::from(per_mille)).div_ceil(1000);
        let mut seen = 0u128;
        for (bucket, &count) in self.counts.iter().enumerate() {
            seen += u128::from(count);
            if count > 0 && seen >= wanted {
                return greatest_of(bucket).min(self.max);
            }
        }
        0
    }
}

fn bucket_of(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(PRECISION_BITS + 1);
    ((u64::from(shift) << PRECISION_BITS) + (value >> shift)) as usize
}

/// The greatest value that falls into a bucket.
fn greatest_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket >> PRECISION_BITS).saturating_sub(1);
    let mantissa = bucket - (shift << PRECISION_BITS);
    debug_assert!(mantissa < 2 * SUB_BUCKETS, "bucket {bucket} has mantissa {mantissa}");
    (mantissa << shift) + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_buckets_are_narrow() {
        let around = (0..64).flat_map(|bit| [-1i128, 0, 1].map(|step| (1i128 << bit) + step));
        for value in around.chain([0, 100, 12_345, i128::from(u64::MAX)]).filter_map(|v| u64::try_from(v).ok()) {
            let bucket = bucket_of(value);
            assert!(bucket < BUCKETS, "{value}");
            let greatest = greatest_of(bucket);
            assert!(greatest >= value && greatest - value <= value / SUB_BUCKETS, "{value}: {greatest}");
            assert_eq!(bucket_of(greatest), bucket, "{value}");
            assert!(greatest == u64::MAX || bucket_of(greatest + 1) == bucket + 1, "{value}");
        }
    }

    #[test]
    fn quantiles_are_near_and_never_below() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.summary(), LatencySummary::default());
        (1..=10_000).for_each(|value| histogram.record(value, 1));
        let summary = histogram.summary();
        assert_eq!((summary.count, summary.mean_us, summary.max_us), (10_000, 5_000, 10_000));
        for (got, truth) in [(summary.p50_us, 5_000), (summary.p90_us, 9_000), (summary.p99_us, 9_900), (summary.p99_9_us, 9_990)]
        {
            assert!(got >= truth && got <= truth + truth / SUB_BUCKETS, "{got} for {truth}");
        }
        let mut weighted = Histogram::default();
        weighted.record(10, 99);
        weighted.record(1_000_000, 1);
        assert_eq!((weighted.summary().p99_us, weighted.summary().p99_9_us), (10, 1_000_000));
    }
}
