//! The tasks a shard has spawned, and how they end with it.
//!
//! glommio drops a task only when nobody holds its waker, and a task that sleeps on a descriptor of its own is held by
//! that for ever: its sockets would stay bound after the shard has gone. So every task looks at one flag each time it
//! runs, and is woken once when the flag is set.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use glommio::timer;

/// Rounds of waiting for the tasks to end, and the length of one.
const ROUNDS_MAX: u32 = 10_000;
const ROUND: Duration = Duration::from_micros(100);

#[derive(Clone, Default)]
pub(crate) struct Spawned {
    tasks: Rc<Tasks>,
}

#[derive(Default)]
struct Tasks {
    ending: Cell<bool>,
    live: Cell<usize>,
    next_number: Cell<u64>,
    wakers: RefCell<BTreeMap<u64, Waker>>,
}

impl Spawned {
    /// The future to be spawned in place of this one.
    pub(crate) fn wrap(&self, future: impl Future<Output = ()> + 'static) -> impl Future<Output = ()> + 'static {
        let mut task = LiveTask::enter(self.tasks.clone());
        let mut future = Box::pin(future);
        poll_fn(move |context| {
            if task.tasks.ending.get() {
                return Poll::Ready(());
            }
            task.keep(context.waker());
            future.as_mut().poll(context)
        })
    }

    /// Lets every task end at its next await, and waits until they have.
    pub(crate) async fn end(&self) {
        self.tasks.ending.set(true);
        let wakers = std::mem::take(&mut *self.tasks.wakers.borrow_mut());
        wakers.into_values().for_each(Waker::wake);
        for _ in 0..ROUNDS_MAX {
            // One round more than needed, so that the rings see the descriptors that were closed by it.
            let none_left = self.tasks.live.get() == 0;
            timer::sleep(ROUND).await;
            if none_left {
                return;
            }
        }
        tracing::warn!(left = self.tasks.live.get(), "tasks of a shard did not end with it");
    }
}

struct LiveTask {
    tasks: Rc<Tasks>,
    number: u64,
    is_kept: bool,
}

impl LiveTask {
    fn enter(tasks: Rc<Tasks>) -> LiveTask {
        let number = tasks.next_number.get();
        tasks.next_number.set(number + 1);
        tasks.live.set(tasks.live.get() + 1);
        LiveTask { tasks, number, is_kept: false }
    }

    /// A task has one waker for all its life, so the first is enough.
    fn keep(&mut self, waker: &Waker) {
        if !self.is_kept {
            self.is_kept = true;
            self.tasks.wakers.borrow_mut().insert(self.number, waker.clone());
        }
    }
}

impl Drop for LiveTask {
    fn drop(&mut self) {
        self.tasks.live.set(self.tasks.live.get() - 1);
        let waker = self.tasks.wakers.borrow_mut().remove(&self.number);
        drop(waker);
    }
}
