//! When a broker last had something to make durable: what everything else on its devices has to stand back for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Without a produce for this long a device is quiet, microseconds.
const QUIET_AFTER_US: u64 = 200_000;
/// The time is noted no more often than this, so that shards do not fight over one cache line, microseconds.
const NOTE_EVERY_US: u64 = 20_000;

/// The last produce of any shard of a broker. Clones are the same; shared between threads.
#[derive(Clone, Debug, Default)]
pub struct ProduceActivity {
    last_us: Arc<AtomicU64>,
}

impl ProduceActivity {
    /// A produce has come, at `now_us` of `SystemClock::mono_us`.
    pub fn note(&self, now_us: u64) {
        // Nothing is ordered by it, and a note that is lost to another shard's is as good.
        if now_us.saturating_sub(self.last_us.load(Ordering::Relaxed)) >= NOTE_EVERY_US {
            self.last_us.store(now_us, Ordering::Relaxed);
        }
    }

    /// No shard has had a produce for a while.
    pub fn is_quiet(&self, now_us: u64) -> bool {
        now_us.saturating_sub(self.last_us.load(Ordering::Relaxed)) >= QUIET_AFTER_US
    }
}
