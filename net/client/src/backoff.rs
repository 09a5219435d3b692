//! How long to wait before trying again: doubling, bounded, and never in step with anybody else.

/// Waits in milliseconds: the n-th is drawn from the upper half of `min * 2^n`, at most `max`.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    min_ms: u32,
    max_ms: u32,
    attempt: u32,
    seed: u64,
}

impl Backoff {
    /// `seed` is anything random; two clients that fail together must not come back together.
    #[must_use]
    pub(crate) fn new(min_ms: u32, max_ms: u32, seed: u64) -> Self {
        Self { min_ms, max_ms: max_ms.max(min_ms), attempt: 0, seed: seed | 1 }
    }

    /// The next wait, milliseconds.
    pub(crate) fn next_ms(&mut self) -> u32 {
        let full = u64::from(self.min_ms) << self.attempt.min(20);
        let full = full.min(u64::from(self.max_ms));
        self.attempt = self.attempt.saturating_add(1);
        let spread = full / 2;
        let jitter = if spread == 0 { 0 } else { self.random() % (spread + 1) };
        u32::try_from(full - jitter).unwrap_or(self.max_ms)
    }

    /// It worked: the next wait is a short one again.
    pub(crate) fn reset(&mut self) {
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

/// Sixty-four bits nobody else has, from the keys the standard library seeds its hash maps with.
#[must_use]
pub(crate) fn random_u64() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
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
    }
}
