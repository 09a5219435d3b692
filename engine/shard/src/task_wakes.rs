//! Which tasks of a shard are woken and have not run since, and how somebody else's wake reaches a thread that blocks.
//!
//! glommio does not tell whether a task could run. A thread may only be blocked in a system call of our own when none
//! can, so each task gets a waker that counts: one up when it is woken, one down when it is polled. A wake from another
//! thread also writes to an event descriptor while this one is blocked, because glommio's own notice is given only when
//! it put the thread to sleep itself.
//!
//! The expensive mistake is a wake that falls between the look at the count and the blocking call: the waker counts
//! first and then asks whether the thread is blocked, the thread says so first and then looks at the count, and both
//! orders are sequentially consistent, so one of the two sees the other.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use crate::readiness::{eventfd, signal};

/// What the tasks of one shard and their wakers share.
pub(crate) struct TaskWakes {
    /// Tasks that are woken and have not run since.
    runnable_count: AtomicUsize,
    /// The thread is in a blocking call, or about to be.
    is_blocked: AtomicBool,
    /// Readable after a wake that came while the thread was blocked.
    event: OwnedFd,
}

impl TaskWakes {
    pub(crate) fn new() -> io::Result<Arc<TaskWakes>> {
        let event = eventfd()?;
        Ok(Arc::new(TaskWakes { runnable_count: AtomicUsize::new(0), is_blocked: AtomicBool::new(false), event }))
    }

    /// Whether any task beside the one that asks, which runs, could run.
    pub(crate) fn is_any_runnable(&self) -> bool {
        self.runnable_count.load(Ordering::SeqCst) > 0
    }

    /// To be given to the blocking call as one that is readable after a wake.
    pub(crate) fn event(&self) -> RawFd {
        self.event.as_raw_fd()
    }

    /// Runs `block` unless a task can run; wakes that come meanwhile make `event` readable.
    pub(crate) fn block_unless_runnable<T>(&self, block: impl FnOnce() -> T) -> Option<T> {
        self.is_blocked.store(true, Ordering::SeqCst);
        let result = (!self.is_any_runnable()).then(block);
        self.is_blocked.store(false, Ordering::SeqCst);
        result
    }

    /// Makes `event` unreadable again.
    pub(crate) fn clear_event(&self) {
        let mut count = [0_u8; 8];
        // SAFETY: the buffer is valid for its length. Nothing to read is nothing to clear.
        unsafe { libc::read(self.event.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }

    /// A task is woken that was not. The count may fall below zero, and look large, for the moment between the two
    /// halves of another thread's wake.
    fn on_woken(&self) {
        self.runnable_count.fetch_add(1, Ordering::SeqCst);
    }

    /// A task that was woken runs, or has ended.
    fn on_turn(&self) {
        self.runnable_count.fetch_sub(1, Ordering::SeqCst);
    }

    /// Ends a blocking call that another thread is in. A full counter is readable already.
    fn interrupt(&self) {
        if self.is_blocked.load(Ordering::SeqCst) {
            let _full_is_readable = signal(&self.event);
        }
    }
}

const ASLEEP: u8 = 0;
const WOKEN: u8 = 1;
const ENDED: u8 = 2;

/// One task, counted from its making to its end.
pub(crate) struct CountedTask {
    shard: Arc<TaskWakes>,
    /// From its first turn on.
    waker: Option<Arc<TaskWaker>>,
}

impl CountedTask {
    /// Its first turn is to come.
    pub(crate) fn new(shard: Arc<TaskWakes>) -> CountedTask {
        shard.on_woken();
        CountedTask { shard, waker: None }
    }

    /// The task runs. What it is to wait with; `executors` is the same for all its life.
    pub(crate) fn begin_turn(&mut self, executors: &Waker) -> Waker {
        let waker = self.waker.get_or_insert_with(|| TaskWaker::woken(Arc::clone(&self.shard), executors.clone()));
        waker.leave_woken(ASLEEP);
        Waker::from(Arc::clone(waker))
    }
}

impl Drop for CountedTask {
    /// Wakes by those who still hold its waker mean nothing from now on.
    fn drop(&mut self) {
        match &self.waker {
            Some(waker) => waker.leave_woken(ENDED),
            None => self.shard.on_turn(),
        }
    }
}

/// The waker of one task: the executor's own, counted.
struct TaskWaker {
    shard: Arc<TaskWakes>,
    state: AtomicU8,
    executors: Waker,
}

impl TaskWaker {
    fn woken(shard: Arc<TaskWakes>, executors: Waker) -> Arc<TaskWaker> {
        Arc::new(TaskWaker { shard, state: AtomicU8::new(WOKEN), executors })
    }

    fn leave_woken(&self, state: u8) {
        if self.state.swap(state, Ordering::SeqCst) == WOKEN {
            self.shard.on_turn();
        }
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.compare_exchange(ASLEEP, WOKEN, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            self.shard.on_woken();
        }
        self.executors.wake_by_ref();
        self.shard.interrupt();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task_in_its_first_turn() -> (Arc<TaskWakes>, CountedTask, Waker) {
        let shard = TaskWakes::new().unwrap();
        let mut task = CountedTask::new(Arc::clone(&shard));
        assert!(shard.is_any_runnable());
        let waker = task.begin_turn(Waker::noop());
        assert!(!shard.is_any_runnable());
        (shard, task, waker)
    }

    #[test]
    fn a_task_counts_once_from_its_first_wake_until_it_runs() {
        let (shard, mut task, waker) = task_in_its_first_turn();
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert!(shard.is_any_runnable());
        assert_eq!(shard.block_unless_runnable(|| ()), None);
        task.begin_turn(Waker::noop());
        assert!(!shard.is_any_runnable());
        assert_eq!(shard.block_unless_runnable(|| ()), Some(()));
    }

    #[test]
    fn a_task_that_has_ended_is_never_runnable_again() {
        let (shard, task, waker) = task_in_its_first_turn();
        waker.wake_by_ref();
        drop(task);
        assert!(!shard.is_any_runnable());
        waker.wake_by_ref();
        assert!(!shard.is_any_runnable());
        drop(CountedTask::new(Arc::clone(&shard)));
        assert!(!shard.is_any_runnable());
    }

    /// Each wake comes at another moment of the blocking call: before the look at the count, or while it blocks.
    #[test]
    fn a_wake_from_another_thread_is_never_slept_through() {
        let (shard, mut task, waker) = task_in_its_first_turn();
        for round in 0..2_000_u32 {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    (0..round % 64).for_each(|_| std::hint::spin_loop());
                    waker.wake_by_ref();
                });
                let mut event = libc::pollfd { fd: shard.event(), events: libc::POLLIN, revents: 0 };
                // SAFETY: one valid `pollfd`, and a count of one.
                let ended = shard.block_unless_runnable(|| unsafe { libc::poll(&mut event, 1, 20_000) });
                assert_ne!(ended, Some(0), "the wake of round {round} was slept through");
            });
            task.begin_turn(Waker::noop());
            shard.clear_event();
        }
    }
}
