//! How the one task that serves the sockets of a shard waits.
//!
//! There are two ways to put the thread to sleep. Between requests that come closely it blocks in a call of our own,
//! which is a third of glommio's price at both ends; but that call does not see the disk, so it is for a shard with
//! nothing under way there, whose journal groups are short enough to be written in line. With writes under way, or when
//! no socket was ready for a while, glommio sleeps: what more comes in meanwhile makes the next group larger.
//!
//! The expensive mistake is a data task that is always runnable: glommio then looks at its rings only when the preempt
//! timer fires, and a disk write of this shard waits 10 ms for that, so the rings get a look now and then even when
//! there is no reason to sleep.

use std::cell::Cell;
use std::future::poll_fn;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use super::Sockets;
use crate::blocking_wait::{self, WaitMode};
use crate::direct_disk::UnderWay;
use crate::metrics::count;
use crate::timers::{self, Timer};
use crate::wake::Wake;

/// The rings are looked at this often while the data task is busy, by what waits for it; a look costs 8 µs.
const DURABLE_LOOK_US: u64 = 50;
const PENDING_LOOK_US: u64 = 200;
/// Timers, and wakes from other threads.
const IDLE_LOOK_US: u64 = 1_000;
/// After this long without a ready socket glommio's own sleep is used: what it costs is next to nothing then.
const LIVELY_US: u64 = 10_000;

impl Sockets {
    /// Returns when `poll` has something to report, when `wake` was notified (the notice is taken), or when the
    /// deadline (microseconds of `SystemClock`) has passed. May return early; the caller looks again.
    ///
    /// Other tasks get one turn before the thread is put to sleep: usually the commit task then finishes at once.
    pub async fn wait(&self, wake: &Wake, deadline_mono_us: Option<u64>) {
        let inner = &self.inner;
        assert!(!inner.waiting.replace(true), "two tasks wait on the sockets of one shard");
        let _waiting = Waiting { flag: &inner.waiting };
        if inner.wakes.is_any_runnable() {
            glommio::executor().yield_task_queue_now().await;
        }
        let now_us = inner.clock.mono_us();
        let deadline_us = deadline_mono_us.unwrap_or(u64::MAX);
        if wake.take() || now_us >= deadline_us {
            return self.look_at_rings_when_due(now_us).await;
        }
        let is_disk_idle = inner.disk.under_way() == UnderWay::Nothing;
        let may_block = is_disk_idle && self.is_lively(now_us);
        if may_block && !inner.wakes.is_any_runnable() {
            return self.block(wake, now_us, deadline_us).await;
        }
        if inner.readiness.is_ready() {
            inner.lively_us.set(now_us);
            return self.look_at_rings_when_due(now_us).await;
        }
        if may_block || inner.wait_mode == WaitMode::Spinning {
            if !is_disk_idle {
                // The kernel's worker for a flushed write runs on this core: it would wait for the end of our slice.
                thread::yield_now();
            }
            self.look_at_rings().await;
            wake.take();
            return;
        }
        count(&inner.metrics.socket_sleeps);
        self.sleep(wake, deadline_mono_us.map(|deadline_us| deadline_us - now_us)).await;
        inner.ring_look_us.set(inner.clock.mono_us());
        inner.lively_us.set(inner.ring_look_us.get());
    }

    /// Whether the next event is likely to come soon.
    fn is_lively(&self, now_us: u64) -> bool {
        self.inner.wait_mode == WaitMode::Spinning || now_us.saturating_sub(self.inner.lively_us.get()) < LIVELY_US
    }

    /// Blocks once. Nothing but a socket, another thread or a timer can give this shard work.
    async fn block(&self, wake: &Wake, now_us: u64, deadline_us: u64) {
        let inner = &self.inner;
        count(&inner.metrics.socket_blocks);
        let until_us = deadline_us.min(timers::next_due_us()).min(now_us + LIVELY_US);
        let epoll = inner.readiness.epoll().as_raw_fd();
        let ended = blocking_wait::wait(inner.wait_mode, epoll, &inner.wakes, until_us.saturating_sub(now_us));
        let now_us = inner.clock.mono_us();
        if ended.by_socket {
            inner.lively_us.set(now_us);
        }
        if ended.by_wake || now_us >= timers::next_due_us() {
            self.look_at_rings().await;
        } else {
            self.look_at_rings_when_due(now_us).await;
        }
        wake.take();
    }

    /// glommio's own sleep.
    async fn sleep(&self, wake: &Wake, left_us: Option<u64>) {
        let inner = &self.inner;
        let mut timer = left_us.map(|left| Timer::after(Duration::from_micros(left)));
        if let Err(error) = inner.readiness.arm() {
            // Out of descriptors: sleep a little instead, so that the connections there go on being served.
            tracing::warn!(%error, "no descriptor to sleep on; looking at the sockets every millisecond");
            timer = Some(Timer::after(Duration::from_millis(1)));
        }
        poll_fn(|context| {
            wake.set_waiter(context.waker());
            if wake.take() || inner.readiness.poll_armed(context).is_ready() {
                return Poll::Ready(());
            }
            match timer.as_mut() {
                Some(timer) => Pin::new(timer).poll(context),
                None => Poll::Pending,
            }
        })
        .await;
    }

    /// A look when the last one is too long ago: a task that only yields stays runnable, and while one is, glommio does
    /// not look.
    async fn look_at_rings_when_due(&self, now_us: u64) {
        let due_us = match self.inner.disk.under_way() {
            UnderWay::DurableWrite => DURABLE_LOOK_US,
            UnderWay::Other => PENDING_LOOK_US,
            UnderWay::Nothing => IDLE_LOOK_US,
        };
        if now_us.saturating_sub(self.inner.ring_look_us.get()) >= due_us {
            self.look_at_rings().await;
        }
    }

    /// Lets every other task run, what is queued be submitted, and what has completed be found.
    async fn look_at_rings(&self) {
        Timer::after(Duration::from_micros(1)).await;
        self.inner.ring_look_us.set(self.inner.clock.mono_us());
    }
}

struct Waiting<'a> {
    flag: &'a Cell<bool>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.flag.set(false);
    }
}
