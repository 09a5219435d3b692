//! How long a follower waits before it tries a leader again.

const MIN_MS: u32 = 50;
const MAX_MS: u32 = 2_000;

#[derive(Debug)]
pub(crate) struct Backoff(sluice_model::Backoff);

impl Backoff {
    /// `seed` is anything random.
    pub(crate) fn new(seed: u64) -> Self {
        Self(sluice_model::Backoff::new(MIN_MS, MAX_MS, seed))
    }

    /// The next wait, microseconds.
    pub(crate) fn next_us(&mut self) -> u64 {
        u64::from(self.0.next_ms()) * 1000
    }

    /// It worked: the next wait is a short one.
    pub(crate) fn reset(&mut self) {
        self.0.reset();
    }
}
