//! Waiting for outcomes, and the end of a producer.
//!
//! The expensive mistake is to end with a record that never gets an outcome: whatever way a producer ends, each record
//! it took is told of exactly once.

use super::shared::ProducerShared;
use super::{Handle, Producer};
use std::time::Duration;

impl Producer {
    /// Waits until every record taken before this call has its outcome, and every callback and interceptor has been told
    /// of it; batches do not linger meanwhile. Takes at most about as long as `delivery_timeout_ms`.
    pub async fn flush(&self) {
        let shared = &self.0.0;
        let _flushing = Flushing::begin(shared);
        let until = shared.lock().next_serial;
        loop {
            let settled = shared.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if shared.lock().unsettled.first().is_none_or(|&first| first >= until) {
                return;
            }
            settled.await;
        }
    }

    /// Takes no more records, from any clone, waits as [`Self::flush`] does, then ends the producer for all clones.
    pub async fn close(self) {
        self.0.begin_close();
        self.flush().await;
        self.0.end();
    }

    /// As [`Self::close`], and waits at most this long. Gives back how many records had no outcome by then: those got
    /// one at the end, *refused* when they certainly are not written and *unknown* otherwise (`Reason::Closed`).
    pub async fn close_with_timeout(self, timeout: Duration) -> u64 {
        self.0.begin_close();
        // Whether it came to an end or not is what `end` counts.
        let _elapsed = tokio::time::timeout(timeout, self.flush()).await;
        self.0.end()
    }
}

impl Handle {
    fn begin_close(&self) {
        self.0.lock().closing = true;
        // Who waits for room gets none any more.
        self.0.memory.close();
    }

    /// Gives everything its outcome and ends the driver. How many records had none yet.
    fn end(&self) -> u64 {
        self.begin_close();
        let (records, slots) = {
            let mut accumulator = self.0.lock();
            (accumulator.close(), accumulator.slots.len())
        };
        (0..slots).for_each(|slot| self.0.give_outcomes(slot));
        self.0.wake.notify_one();
        records
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

/// Batches go out without lingering while one of these lives.
struct Flushing<'a>(&'a ProducerShared);

impl<'a> Flushing<'a> {
    fn begin(shared: &'a ProducerShared) -> Self {
        let mut accumulator = shared.lock();
        accumulator.flushing += 1;
        accumulator.set_all_ready();
        drop(accumulator);
        shared.wake.notify_one();
        Self(shared)
    }
}

impl Drop for Flushing<'_> {
    fn drop(&mut self) {
        self.0.lock().flushing -= 1;
    }
}
