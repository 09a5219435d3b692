//! Whether this broker has a lease.

use tokio::time::Instant;

/// What a broker's shards go by: without a lease nothing is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    Lost,
    /// It ends then, unless it is renewed before. Whoever cannot count on being told in time looks at the clock itself.
    Held {
        until: Instant,
    },
}

impl LeaseState {
    #[must_use]
    pub fn is_held(self, now: Instant) -> bool {
        matches!(self, Self::Held { until } if now < until)
    }
}
