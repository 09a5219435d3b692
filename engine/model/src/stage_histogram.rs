//! How long a stage takes: microseconds counted in fixed buckets, eight to each power of two.
//!
//! A broker counts for as long as it runs and a reader takes the difference of two answers, so the expensive mistake
//! is to move a bucket: the counts go over the wire by position. Fixed memory, no allocation, a few instructions a
//! sample. Deliberately absent: clocks, and where one bucket's times lie within it.

use std::fmt;

/// The power of two of the buckets in each power of two.
const SUB_BITS: u32 = 3;
const SUB_BUCKETS: usize = 1 << SUB_BITS;
/// Times from `2^MAX_BITS` microseconds on (67 s) all lie in the last bucket.
const MAX_BITS: u32 = 26;

/// Counts of times, and their sum. 1.5 KiB.
#[derive(Clone, PartialEq, Eq)]
pub struct StageHistogram {
    counts: [u64; Self::BUCKETS],
    sum_us: u64,
}

impl StageHistogram {
    /// Times below 8 us have a bucket each. A later one is an eighth of its power of two wide, so a time is known to
    /// within 12.5 % of itself.
    pub const BUCKETS: usize = SUB_BUCKETS * (MAX_BITS - SUB_BITS + 1) as usize;

    pub const EMPTY: Self = Self { counts: [0; Self::BUCKETS], sum_us: 0 };

    /// The counts of another histogram, by position; those left out at the end are 0. `None`: more than there are
    /// buckets.
    #[must_use]
    pub fn from_counts(counts: impl ExactSizeIterator<Item = u64>, sum_us: u64) -> Option<Self> {
        if counts.len() > Self::BUCKETS {
            return None;
        }
        let mut histogram = Self { sum_us, ..Self::EMPTY };
        histogram.counts.iter_mut().zip(counts).for_each(|(to, count)| *to = count);
        Some(histogram)
    }

    pub fn record(&mut self, us: u64) {
        let count = &mut self.counts[bucket_of(us)];
        *count = count.wrapping_add(1);
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// The counts up to the last that is not 0, by position.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        let len = self.counts.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
        &self.counts[..len]
    }

    /// Samples in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// All samples added up, microseconds, each as it was and not as its bucket is.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// Microseconds; 0 without samples.
    #[must_use]
    pub fn mean_us(&self) -> f64 {
        match self.count() {
            0 => 0.0,
            count => self.sum_us as f64 / count as f64,
        }
    }

    /// The time that this part of all samples (0 to 1) did not exceed, microseconds: the upper end of its bucket, so at
    /// most 12.5 % too much; in the last bucket a time of a minute or more. `None` without samples.
    #[must_use]
    pub fn quantile_us(&self, quantile: f64) -> Option<u64> {
        let count = self.count();
        let rank = ((quantile.clamp(0.0, 1.0) * count as f64).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0u64;
        let found = self.counts.iter().position(|&count| {
            seen = seen.saturating_add(count);
            seen >= rank
        });
        found.map(upper_us)
    }

    /// Adds the samples of another histogram, of another shard for example.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(to, count)| *to = to.saturating_add(count));
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// The samples that came after `earlier` was taken of the same histogram. `None`: it was another one, because
    /// something has fallen.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let mut difference = Self { sum_us: self.sum_us.checked_sub(earlier.sum_us)?, ..Self::EMPTY };
        for ((to, count), before) in difference.counts.iter_mut().zip(self.counts).zip(earlier.counts) {
            *to = count.checked_sub(before)?;
        }
        Some(difference)
    }
}

impl Default for StageHistogram {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl fmt::Debug for StageHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99) = (self.quantile_us(0.5), self.quantile_us(0.99));
        write!(f, "StageHistogram {{ count: {}, sum_us: {}, p50: {p50:?}, p99: {p99:?} }}", self.count(), self.sum_us)
    }
}

fn bucket_of(us: u64) -> usize {
    if us < SUB_BUCKETS as u64 {
        return us as usize;
    }
    let shift = us.ilog2() - SUB_BITS;
    // The highest bit of what is left is always set, and stands for the bucket row before.
    let bucket = shift as usize * SUB_BUCKETS + (us >> shift) as usize;
    bucket.min(StageHistogram::BUCKETS - 1)
}

/// The greatest time of a bucket, microseconds.
fn upper_us(bucket: usize) -> u64 {
    if bucket < SUB_BUCKETS {
        return bucket as u64;
    }
    let shift = bucket / SUB_BUCKETS - 1;
    (((SUB_BUCKETS + bucket % SUB_BUCKETS + 1) as u64) << shift) - 1
}

const _: () = assert!(1 << MAX_BITS > 60_000_000, "a minute has a bucket of its own");

#[cfg(test)]
#[path = "stage_histogram_test.rs"]
mod tests;
