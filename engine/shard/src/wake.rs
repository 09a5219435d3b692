//! How a task tells the data task of the same shard that there is something for it: acks, finished disk reads, control
//! messages.
//!
//! The notice is kept until it is taken, so one given before the data task waits is not lost. Deliberately absent:
//! crossing threads; for that there is `async-channel`, whose receiver then notifies a `Wake`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

/// A cheap handle; clones are the same notice. One task at a time may wait on it.
#[derive(Clone, Default)]
pub struct Wake {
    inner: Rc<WakeInner>,
}

#[derive(Default)]
struct WakeInner {
    notified: Cell<bool>,
    waiter: RefCell<Option<Waker>>,
}

impl Wake {
    pub fn new() -> Wake {
        Wake::default()
    }

    /// Leaves a notice and wakes the task that waits, if one does. Many notices before the next wait are one.
    pub fn notify(&self) {
        self.inner.notified.set(true);
        let waiter = self.inner.waiter.borrow_mut().take();
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    /// Whether a notice lies here that nobody has taken.
    pub fn is_notified(&self) -> bool {
        self.inner.notified.get()
    }

    /// Takes the notice.
    pub(crate) fn take(&self) -> bool {
        self.inner.notified.replace(false)
    }

    pub(crate) fn set_waiter(&self, waker: &Waker) {
        let mut waiter = self.inner.waiter.borrow_mut();
        match waiter.as_mut() {
            Some(waiter) => waiter.clone_from(waker),
            None => *waiter = Some(waker.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_kept_until_it_is_taken_and_many_are_one() {
        let wake = Wake::new();
        assert!(!wake.take());
        wake.clone().notify();
        wake.notify();
        assert!(wake.is_notified());
        assert!(wake.take());
        assert!(!wake.take());
    }
}
