//! The tasks a shard has spawned, and how they end with it.
//!
//! glommio drops a task only when nobody holds its waker, and a task that sleeps on a descriptor of its own is held by
//! that for ever: its sockets would stay bound after the shard has gone. So every task looks at one flag each time it
//! runs, and is woken once when the flag is set. Its waker is ours (`task_wakes`), around glommio's.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::task_wakes::{CountedTask, TaskWakes};
use crate::timers::Timer;

/// Rounds of waiting for the tasks to end, and the length of one.
const ROUNDS_MAX: u32 = 10_000;
const ROUND: Duration = Duration::from_micros(100);

#[derive(Clone)]
pub(crate) struct Spawned {
    tasks: Rc<Tasks>,
}

struct Tasks {
    wakes: Arc<TaskWakes>,
    ending: Cell<bool>,
    live: Cell<usize>,
    next_number: Cell<u64>,
    wakers: RefCell<BTreeMap<u64, Waker>>,
}

impl Spawned {
    pub(crate) fn new(wakes: Arc<TaskWakes>) -> Spawned {
        let (ending, live, next_number, wakers) = Default::default();
        Spawned { tasks: Rc::new(Tasks { wakes, ending, live, next_number, wakers }) }
    }

    /// The future to be spawned in place of this one.
    pub(crate) fn wrap(&self, future: impl Future<Output = ()> + 'static) -> impl Future<Output = ()> + 'static {
        let mut task = LiveTask::enter(self.tasks.clone());
        let mut future = Box::pin(future);
        poll_fn(move |context| {
            let waker = task.begin_turn(context.waker());
            if task.tasks.ending.get() {
                return Poll::Ready(());
            }
            future.as_mut().poll(&mut Context::from_waker(&waker))
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
            Timer::after(ROUND).await;
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
    counted: CountedTask,
    is_kept: bool,
}

impl LiveTask {
    fn enter(tasks: Rc<Tasks>) -> LiveTask {
        let number = tasks.next_number.get();
        tasks.next_number.set(number + 1);
        tasks.live.set(tasks.live.get() + 1);
        let counted = CountedTask::new(Arc::clone(&tasks.wakes));
        LiveTask { tasks, number, counted, is_kept: false }
    }

    /// The waker of this turn. A task has one for all its life, so the first is kept.
    fn begin_turn(&mut self, executors: &Waker) -> Waker {
        let waker = self.counted.begin_turn(executors);
        if !self.is_kept {
            self.is_kept = true;
            self.tasks.wakers.borrow_mut().insert(self.number, waker.clone());
        }
        waker
    }
}

impl Drop for LiveTask {
    fn drop(&mut self) {
        self.tasks.live.set(self.tasks.live.get() - 1);
        let waker = self.tasks.wakers.borrow_mut().remove(&self.number);
        drop(waker);
    }
}
