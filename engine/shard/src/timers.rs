//! Timers of the shard on this thread, with the next moment at which any of them is due.
//!
//! A thread that blocks outside glommio has to come back when a timer is due, and glommio does not tell when that is.
//! So every task of a shard sleeps here. glommio still fires the timer; this only knows of it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use glommio::timer;

use crate::clock::SystemClock;

thread_local! {
    static PENDING: RefCell<Pending> = RefCell::default();
}

#[derive(Default)]
struct Pending {
    /// When each is due, microseconds of `SystemClock`, and its number.
    due: BTreeSet<(u64, u64)>,
    next_number: u64,
}

/// Ready when its time has passed. Dropping it takes it back.
pub(crate) struct Timer {
    timer: timer::Timer,
    key: (u64, u64),
}

impl Timer {
    /// Call on an executor's thread.
    pub(crate) fn after(duration: Duration) -> Timer {
        let duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let due_us = SystemClock.mono_us().saturating_add(duration_us);
        let key = PENDING.with_borrow_mut(|pending| {
            let key = (due_us, pending.next_number);
            pending.next_number += 1;
            pending.due.insert(key);
            key
        });
        Timer { timer: timer::Timer::new(duration), key }
    }
}

/// When the next timer of this thread is due, microseconds of `SystemClock`; `u64::MAX` when none is set.
pub(crate) fn next_due_us() -> u64 {
    PENDING.with_borrow(|pending| pending.due.first().map_or(u64::MAX, |(due_us, _)| *due_us))
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.timer).poll(context).map(drop)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        PENDING.with_borrow_mut(|pending| pending.due.remove(&self.key));
    }
}
