//! What one task at a time may work with, in the order in which they asked.
//!
//! The expensive mistake is a lock that looks at a clock to be fair, as general ones do: two runs of one seed would
//! then differ, and which task comes first would be the machine's whim. Turns are numbers here. Deliberately absent:
//! threads; a shard is one.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::task::{Poll, Waker};

pub(crate) struct TurnLock<T> {
    value: RefCell<T>,
    next_turn: Cell<u64>,
    /// Who waits, by turn; the lowest is next.
    waiting: RefCell<BTreeMap<u64, Option<Waker>>>,
    held: Cell<bool>,
}

/// The value, until this is dropped.
pub(crate) struct Turn<'a, T> {
    lock: &'a TurnLock<T>,
    value: Option<RefMut<'a, T>>,
}

/// A place in the line; leaving it early lets the next one pass.
struct Place<'a, T> {
    lock: &'a TurnLock<T>,
    turn: u64,
}

impl<T> TurnLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value: RefCell::new(value), next_turn: Cell::new(0), waiting: RefCell::default(), held: Cell::new(false) }
    }

    /// Waits for everyone who asked before.
    pub(crate) async fn lock(&self) -> Turn<'_, T> {
        let turn = self.next_turn.replace(self.next_turn.get() + 1);
        self.waiting.borrow_mut().insert(turn, None);
        let place = Place { lock: self, turn };
        poll_fn(|context| {
            let mut waiting = self.waiting.borrow_mut();
            if !self.held.get() && waiting.first_key_value().is_some_and(|(&first, _)| first == turn) {
                return Poll::Ready(());
            }
            waiting.insert(turn, Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
        self.held.set(true);
        drop(place);
        Turn { lock: self, value: Some(self.value.borrow_mut()) }
    }

    fn wake_first(&self) {
        if self.held.get() {
            return;
        }
        if let Some((_, Some(waker))) = self.waiting.borrow().first_key_value() {
            waker.wake_by_ref();
        }
    }
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        self.lock.waiting.borrow_mut().remove(&self.turn);
        self.lock.wake_first();
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        self.value = None;
        self.lock.held.set(false);
        self.lock.wake_first();
    }
}

impl<T> Deref for Turn<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("held until it is dropped")
    }
}

impl<T> DerefMut for Turn<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("held until it is dropped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_storage::testing::executor::{Runner, yield_times};
    use std::future::Future;
    use std::pin::pin;
    use std::rc::Rc;
    use std::task::Context;

    #[test]
    fn turns_come_in_the_order_of_asking() {
        for seed in 0..50 {
            let lock = Rc::new(TurnLock::new(Vec::new()));
            let asked = Rc::new(RefCell::new(Vec::new()));
            let mut runner = Runner::new(seed);
            for task in 0..5 {
                let (lock, asked) = (Rc::clone(&lock), Rc::clone(&asked));
                runner.spawn(async move {
                    for _ in 0..4 {
                        asked.borrow_mut().push(task);
                        let mut turn = lock.lock().await;
                        yield_times(task).await;
                        turn.push(task);
                    }
                });
            }
            assert_eq!(runner.run_until_stalled(), 0, "seed {seed}: somebody waits for ever");
            assert_eq!(*lock.value.borrow(), *asked.borrow(), "seed {seed}");
        }
    }

    #[test]
    fn who_leaves_the_line_lets_the_next_one_pass() {
        let lock = TurnLock::new(0);
        let context = &mut Context::from_waker(Waker::noop());
        let first = pin!(lock.lock()).poll(context);
        {
            let mut leaves = pin!(lock.lock());
            assert!(leaves.as_mut().poll(context).is_pending());
        }
        let mut third = pin!(lock.lock());
        assert!(third.as_mut().poll(context).is_pending());
        drop(first);
        assert!(third.as_mut().poll(context).is_ready());
    }
}
