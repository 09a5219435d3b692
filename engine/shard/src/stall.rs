//! Notices that a shard did not run for long, and says so.
//!
//! The periodic tick that every executor needs anyway (glommio 0.9.0 can otherwise lose a wake-up and sleep for good)
//! measures how late it is: a late tick means that something held the thread (a task that does not yield, a blocking
//! call, a machine without processor time). It cannot say which; the time and the length are what a profile is
//! searched by.

use std::rc::Rc;
use std::time::Duration;

use crate::clock::SystemClock;
use crate::metrics::{ShardMetrics, count};
use crate::timers::Timer;

/// Time between two ticks. A tick costs about 100 µs of processor, so this is 0.2 % of a core.
const TICK: Duration = Duration::from_millis(50);
/// A tick later than this is a stall, microseconds.
pub const STALL_US: u64 = 250_000;

/// Ticks for as long as the executor lives.
pub(crate) async fn tick(shard: u32, clock: SystemClock, metrics: Rc<ShardMetrics>) {
    let tick_us = TICK.as_micros() as u64;
    let mut before_us = clock.mono_us();
    loop {
        Timer::after(TICK).await;
        let now_us = clock.mono_us();
        let late_us = now_us.saturating_sub(before_us).saturating_sub(tick_us);
        before_us = now_us;
        if late_us > STALL_US {
            count(&metrics.stalls);
            metrics.stall_us_max.set(metrics.stall_us_max.get().max(late_us));
            tracing::warn!(
                shard,
                late_ms = late_us / 1000,
                "the shard did not run for long; latency of every connection suffered"
            );
        }
    }
}
