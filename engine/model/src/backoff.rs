//! How long to wait before trying again: doubling, bounded, and never in step with anybody else.

/// Waits in milliseconds: the n-th is drawn from the upper half of `min * 2^n`, at most `max`.
#[derive(Clone, Debug)]
pub struct Backoff {
    min_ms: u32,
    max_ms: u32,
    attempt: u32,
    seed: u64,
}

impl Backoff {
    /// `seed` is anything random; two who fail together must not come back together. `max_ms` is `min_ms` at least.
    #[must_use]
    pub fn new(min_ms: u32, max_ms: u32, seed: u64) -> Self {
        Self { min_ms, max_ms: max_ms.max(min_ms), attempt: 0, seed: seed | 1 }
    }

    /// The next wait, milliseconds.
    pub fn next_ms(&mut self) -> u32 {
        let full = u64::from(self.min_ms) << self.attempt.min(20);
        let full = full.min(u64::from(self.max_ms));
        self.attempt = self.attempt.saturating_add(1);
        let jitter = self.random() % (full / 2 + 1);
        u32::try_from(full - jitter).unwrap_or(self.max_ms)
    }

    /// It worked: the next wait is a short one again.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }

    /// xorshift64; spreading is all it is good for.
    fn random(&mut self) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_are_spread() {
        let mut backoff = Backoff::new(100, 1000, 42);
        for full in [100, 200, 400, 800, 1000, 1000, 1000] {
            let wait = backoff.next_ms();
            assert!((full / 2..=full).contains(&wait), "{wait} for {full}");
        }
        backoff.reset();
        assert!(backoff.next_ms() <= 100);
        let mut none = Backoff::new(0, 0, 0);
        assert_eq!(none.next_ms(), 0);
        let waits = |seed| {
            let mut backoff = Backoff::new(1000, 1000, seed);
            (0..5).map(|_| backoff.next_ms()).collect::<Vec<_>>()
        };
        assert_ne!(waits(2), waits(4), "two seeds do not go in step");
    }
}
