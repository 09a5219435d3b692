//! The consumer's downstream: something that can take only so many records a second (a token bucket).

/// Grants `per_s` records a second, and at most `burst` at once. Times are microseconds and never go back.
pub(crate) struct Downstream {
    per_s: u64,
    burst: u64,
    /// Millionths of a record.
    available: u64,
    last_us: u64,
}

impl Downstream {
    pub(crate) fn new(per_s: u64, burst: u64, now_us: u64) -> Self {
        assert!(per_s > 0 && burst > 0, "a downstream that takes nothing never ends");
        Self { per_s, burst, available: 0, last_us: now_us }
    }

    /// How many of `wanted` records it takes now.
    pub(crate) fn take(&mut self, now_us: u64, wanted: u64) -> u64 {
        let elapsed = now_us.saturating_sub(self.last_us);
        self.last_us = self.last_us.max(now_us);
        let refill = elapsed.saturating_mul(self.per_s);
        self.available = self.available.saturating_add(refill).min(self.burst * 1_000_000);
        let granted = wanted.min(self.available / 1_000_000);
        self.available -= granted * 1_000_000;
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_takes_more_than_its_rate_and_one_burst() {
        let mut downstream = Downstream::new(40_000, 400, 0);
        let mut taken = 0;
        for now_us in (0..3_000_000).step_by(777) {
            taken += downstream.take(now_us, 1000);
        }
        assert!((119_000..=120_400).contains(&taken), "{taken}");
        assert_eq!(downstream.take(60_000_000, 1_000_000), 400, "what was not used in time is gone");
    }
}
