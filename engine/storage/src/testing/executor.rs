//! Two executors for tests: `block_on` for one future, and a runner of several tasks whose order a seed decides.
//!
//! Both call a future that nothing can wake a deadlock and say so, instead of hanging. Deliberately absent: time
//! and threads.

use crate::testing::random::Random;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Runs one future to its end. Panics when it waits for something that nothing will bring.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let flag = Arc::new(WakeFlag::default());
    let waker = Waker::from(flag.clone());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        assert!(flag.take(), "deadlock: the future waits and nothing is left that could wake it");
    }
}

/// Gives other tasks `count` turns.
pub async fn yield_times(count: u64) {
    for _ in 0..count {
        let mut yielded = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

/// Runs tasks one poll at a time; among those that are awake the seed chooses.
pub struct Runner {
    tasks: Vec<Task>,
    random: Random,
}

struct Task {
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    flag: Arc<WakeFlag>,
}

impl Runner {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { tasks: Vec::new(), random: Random::new(seed) }
    }

    pub fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        let flag = Arc::new(WakeFlag(AtomicBool::new(true)));
        let task = Task { future: Some(Box::pin(future)), flag };
        // Long runs start many tasks: the place of one that has ended is taken again.
        match self.tasks.iter_mut().find(|task| task.future.is_none()) {
            Some(ended) => *ended = task,
            None => self.tasks.push(task),
        }
    }

    /// Polls until no task is awake; gives back how many are not finished.
    pub fn run_until_stalled(&mut self) -> usize {
        while self.poll_one() {}
        self.tasks.iter().filter(|task| task.future.is_some()).count()
    }

    /// Gives one turn to one task that is awake; `false` when none is. For whoever stops tasks in the middle, or lets
    /// time pass between turns.
    pub fn poll_one(&mut self) -> bool {
        let awake = self.tasks.iter().filter(|task| task.is_awake()).count();
        if awake == 0 {
            return false;
        }
        let chosen = usize::try_from(self.random.below(awake as u64)).expect("below a usize");
        let at = (0..self.tasks.len()).filter(|&at| self.tasks[at].is_awake()).nth(chosen).expect("that many are awake");
        let task = &mut self.tasks[at];
        task.flag.take();
        let waker = Waker::from(task.flag.clone());
        if let Some(future) = &mut task.future
            && future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
        {
            task.future = None;
        }
        true
    }
}

impl Task {
    fn is_awake(&self) -> bool {
        self.future.is_some() && self.flag.0.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
struct WakeFlag(AtomicBool);

impl WakeFlag {
    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
