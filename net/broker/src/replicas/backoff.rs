//! How long a follower waits before it tries a leader again: doubling, bounded, never in step with another shard.

const MIN_MS: u64 = 50;
const MAX_MS: u64 = 2_000;

#[derive(Debug)]
pub(crate) struct Backoff {
    attempt: u32,
    seed: u64,
}

impl Backoff {
    /// `seed` is anything random.
    pub(crate) fn new(seed: u64) -> Self {
        Self { attempt: 0, seed: seed | 1 }
    }

    /// The next wait, microseconds: between half and all of what is doubled from time to time.
    pub(crate) fn next_us(&mut self) -> u64 {
        let full = (MIN_MS << self.attempt.min(16)).min(MAX_MS) * 1000;
        self.attempt = self.attempt.saturating_add(1);
        full / 2 + self.random() % (full / 2 + 1)
    }

    /// It worked: the next wait is a short one.
    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }

    /// xorshift64; spreading is all that it is good for.
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
    fn waits_double_up_to_a_bound_and_are_spread() {
        let mut backoff = Backoff::new(42);
        for full_ms in [50, 100, 200, 400, 800, 1600, 2000, 2000] {
            let wait_us = backoff.next_us();
            assert!((full_ms * 500..=full_ms * 1000).contains(&wait_us), "{wait_us} for {full_ms} ms");
        }
        backoff.reset();
        assert!(backoff.next_us() <= 50_000);
    }
}
