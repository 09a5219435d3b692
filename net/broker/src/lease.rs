//! Until when this broker may lead, as its shards know it.
//!
//! The control thread writes it at each renewal, and every shard compares it with the time that it reads in each turn
//! anyway. The expensive mistake is a shard that has to be told: the control thread may be inside a slow flush when the
//! lease ends. Deliberately absent: renewing (`sluice_controller::Membership`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The end of the lease in microseconds of `SystemClock`. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Lease(Arc<AtomicU64>);

impl Lease {
    /// Of a broker without others.
    pub(crate) fn endless() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }

    /// None yet.
    pub(crate) fn lost() -> Self {
        Self(Arc::new(AtomicU64::new(0)))
    }

    /// 0: there is none.
    pub(crate) fn set_until_us(&self, until_us: u64) {
        self.0.store(until_us, Ordering::Release);
    }

    pub(crate) fn until_us(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn is_held(&self, now_us: u64) -> bool {
        now_us < self.until_us()
    }
}
