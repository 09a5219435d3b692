//! The device time that is left to everything but produce.
//!
//! Processor shares do not divide a device: one reader of 1 MiB × 4 lifts the median of a durable 4 KiB write from
//! 0.15 to 65 ms, a reader held at 300 MB/s with 256 KiB in flight does not show. So write-back, catch-up reads and
//! scrub ask here before each piece, out of one budget per device and shard: bytes a second and bytes in flight,
//! write-back before reads before scrub, with a floor below which reads never fall. Produce never asks. While no shard
//! of the broker has had a produce for a while, nobody is there whom reads could disturb, and they go unpaced.
//!
//! The rules are `PacerState`, which has no clock; `Pacer` waits. The expensive mistake is to hold a permit for longer
//! than the piece of I/O it was asked for, or to ask for large pieces: a piece is never cut here.

mod activity;
mod state;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use event_listener::Event;

pub use self::activity::ProduceActivity;
use self::state::{Admission, PacerState, Ticket};
pub use self::state::{PaceClass, PacerConfig};
use crate::clock::SystemClock;
use crate::timers::Timer;

/// The device budget of one shard. Cheap to clone; clones are the same budget.
#[derive(Clone)]
pub struct Pacer {
    inner: Rc<PacerInner>,
}

struct PacerInner {
    clock: SystemClock,
    state: RefCell<PacerState>,
    activity: ProduceActivity,
    changed: Event,
}

impl Pacer {
    /// `activity` is shared by all shards whose devices are the same.
    pub fn new(config: PacerConfig, activity: ProduceActivity) -> Pacer {
        let state = RefCell::new(PacerState::new(config));
        Pacer { inner: Rc::new(PacerInner { clock: SystemClock, state, activity, changed: Event::new() }) }
    }

    /// A produce has come, at `now_us` of this machine's clock: reads are paced again.
    pub fn on_produce(&self, now_us: u64) {
        self.inner.activity.note(now_us);
    }

    /// Waits until a piece of I/O of `len` bytes may begin; the permit is held until it has ended. Call on a shard.
    ///
    /// A piece larger than what may be in flight is let through alone. Dropping the future gives its place up.
    pub async fn acquire(&self, class: PaceClass, len: u64) -> Permit {
        let waiting = Waiting { pacer: self, ticket: self.inner.state.borrow_mut().enter(class, len) };
        loop {
            let changed = self.inner.changed.listen();
            let now_us = self.inner.clock.mono_us();
            let is_quiet = self.inner.activity.is_quiet(now_us);
            let admission = self.inner.state.borrow_mut().admit(waiting.ticket, now_us, is_quiet);
            match admission {
                Admission::Admitted => break,
                Admission::At(at_us) => {
                    let left_us = at_us.saturating_sub(self.inner.clock.mono_us()).max(1);
                    first_of(changed, Timer::after(Duration::from_micros(left_us))).await;
                }
                Admission::AfterAnother => changed.await,
            }
        }
        drop(waiting);
        Permit { pacer: self.clone(), class, len }
    }

    /// Whether nobody is there to stand back for: reads may come in large pieces.
    pub fn is_quiet(&self) -> bool {
        self.inner.activity.is_quiet(self.inner.clock.mono_us())
    }

    /// Bytes of permits not given back.
    pub fn in_flight_len(&self) -> u64 {
        self.inner.state.borrow().in_flight_len()
    }
}

/// The right to have one piece of I/O under way; dropping it says that the piece has ended.
pub struct Permit {
    pacer: Pacer,
    class: PaceClass,
    len: u64,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.pacer.inner.state.borrow_mut().release(self.class, self.len);
        self.pacer.inner.changed.notify(usize::MAX);
    }
}

/// A place in the queue; leaving it, admitted or not, lets the others look again.
struct Waiting<'a> {
    pacer: &'a Pacer,
    ticket: Ticket,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pacer.inner.state.borrow_mut().leave(self.ticket);
        self.pacer.inner.changed.notify(usize::MAX);
    }
}

async fn first_of(event: impl Future<Output = ()>, mut timer: Timer) {
    let mut event = pin!(event);
    poll_fn(|context| {
        if event.as_mut().poll(context).is_ready() || Pin::new(&mut timer).poll(context).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}
