//! One shard: a thread with an executor on it, pinned to a core when it may be.
//!
//! The house rules of glommio 0.9.0 live here: a preempt timer of 10 ms and a periodic tick (with a shorter timer, or
//! without the tick, an executor can go to sleep for good with work to do), a short spin before it parks, a first timer
//! that nobody waits for (it is 7 ms late), and a proof of the way the data task sleeps before anything else runs.
//! The expensive mistake is a task per request: each spawn takes a process-wide lock.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::task::Context;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fmt, io};

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement};
use sluice_model::ShardIndex;

use crate::blocking_wait::WaitMode;
use crate::clock::SystemClock;
use crate::direct_disk::DirectDisk;
use crate::metrics::ShardMetrics;
use crate::sockets::Sockets;
use crate::spawned::Spawned;
use crate::task_queues::{Queue, TaskQueues};
use crate::task_wakes::{CountedTask, TaskWakes};
use crate::timers::Timer;
use crate::{readiness, stall};

/// Shorter ones let glommio lose wake-ups.
const PREEMPT_TIMER: Duration = Duration::from_millis(10);
/// Long enough for the 1 µs timer with which a busy task lets the rings be looked at, too short to show when idle.
const SPIN_BEFORE_PARK: Duration = Duration::from_micros(20);
/// Threads of a shard for calls that wait on the file system.
const POOL_THREADS: usize = 2;

/// How one shard is started.
#[derive(Clone, Copy, Debug)]
pub struct ShardConfig {
    pub index: ShardIndex,
    /// The core to be pinned to; without one, or when it may not be used, the thread runs where the kernel likes.
    pub core: Option<usize>,
    /// Bytes of the arena for direct I/O, registered with the rings (three times, against RLIMIT_MEMLOCK).
    pub io_memory_len: usize,
    pub wait_mode: WaitMode,
}

/// Why a shard could not start. The message names the remedy where there is one.
#[derive(Debug)]
pub enum StartError {
    Thread(io::Error),
    /// A descriptor that every shard needs.
    Descriptor(io::Error),
    /// No rings, not enough locked memory, or a thread pool that cannot be had.
    Executor(String),
    /// glommio or the kernel does not behave as the sleeping data task needs it.
    SocketWait(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Thread(error) => write!(f, "the thread of a shard cannot be started: {error}"),
            StartError::Descriptor(error) => {
                write!(f, "a shard cannot have a descriptor that it needs: {error}; check the limit of open files (ulimit -n)")
            }
            StartError::Executor(error) => write!(
                f,
                "the executor of a shard cannot be started: {error}; check that io_uring is allowed (sysctl kernel.io_uring_disabled, \
                 seccomp profile) and the limit of locked memory (ulimit -l, LimitMEMLOCK=)"
            ),
            StartError::SocketWait(seen) => {
                write!(f, "waiting for sockets does not work with this build on this kernel: {seen}; please report it")
            }
        }
    }
}

impl std::error::Error for StartError {}

/// A running shard.
pub struct ShardThread<T> {
    thread: JoinHandle<Option<T>>,
}

impl<T> ShardThread<T> {
    /// Waits until the shard's main future has ended. A panic there continues here.
    pub fn join(self) -> T {
        match self.thread.join() {
            Ok(Some(value)) => value,
            Ok(None) => unreachable!("a shard that did not start has no handle"),
            Err(panic) => panic::resume_unwind(panic),
        }
    }

    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Starts a shard and runs `main` on it; returns once its executor works. When `main` ends, so does the shard: what it
/// had spawned is dropped where it waits.
///
/// # Errors
/// See `StartError`; nothing of the shard is left then.
pub fn run_shard<T, Fut>(
    config: ShardConfig,
    main: impl FnOnce(Shard) -> Fut + Send + 'static,
) -> Result<ShardThread<T>, StartError>
where
    T: Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    let (report, started) = mpsc::channel();
    let body = move || {
        let made = build_executor(config).and_then(|executor| Ok((executor, TaskWakes::new().map_err(StartError::Descriptor)?)));
        let (executor, wakes) = match made {
            Ok(made) => made,
            Err(error) => {
                let _nobody_asks = report.send(Err(error));
                return None;
            }
        };
        let mut counted = CountedTask::new(Arc::clone(&wakes));
        let mut main = Box::pin(async move {
            let shard = match Shard::start(config, wakes).await {
                Ok(shard) => shard,
                Err(error) => {
                    let _nobody_asks = report.send(Err(error));
                    return None;
                }
            };
            let _nobody_asks = report.send(Ok(()));
            let spawned = shard.inner.spawned.clone();
            let value = main(shard).await;
            spawned.end().await;
            Some(value)
        });
        executor.run(poll_fn(move |context| {
            let waker = counted.begin_turn(context.waker());
            main.as_mut().poll(&mut Context::from_waker(&waker))
        }))
    };
    let thread = thread::Builder::new().name(format!("shard-{}", config.index.0)).spawn(body).map_err(StartError::Thread)?;
    match started.recv() {
        Ok(Ok(())) => Ok(ShardThread { thread }),
        Ok(Err(error)) => {
            let _ended = thread.join();
            Err(error)
        }
        Err(mpsc::RecvError) => match thread.join() {
            Err(panic) => panic::resume_unwind(panic),
            Ok(_) => unreachable!("the thread of a shard reports before it ends"),
        },
    }
}

/// The executor is built before its thread is pinned, so the threads of its pool are not pinned with it.
fn build_executor(config: ShardConfig) -> Result<LocalExecutor, StartError> {
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .name("shard")
        .io_memory(config.io_memory_len)
        .preempt_timer(PREEMPT_TIMER)
        .spin_before_park(SPIN_BEFORE_PARK)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(POOL_THREADS))
        .make()
        .map_err(|error| StartError::Executor(error.to_string()))?;
    if let Some(core) = config.core
        && !core_affinity::set_for_current(core_affinity::CoreId { id: core })
    {
        tracing::warn!(shard = config.index.0, core, "the shard cannot be pinned to its core; it runs unpinned");
    }
    Ok(executor)
}

/// What runs on a shard sees of it. Cheap to clone; bound to the shard's thread.
#[derive(Clone)]
pub struct Shard {
    inner: Rc<ShardInner>,
}

struct ShardInner {
    index: ShardIndex,
    queues: TaskQueues,
    spawned: Spawned,
    clock: SystemClock,
    disk: DirectDisk,
    metrics: Rc<ShardMetrics>,
    wakes: Arc<TaskWakes>,
    wait_mode: WaitMode,
    sockets: RefCell<Option<Sockets>>,
}

impl Shard {
    async fn start(config: ShardConfig, wakes: Arc<TaskWakes>) -> Result<Shard, StartError> {
        let ShardConfig { index, wait_mode, .. } = config;
        let (clock, metrics) = (SystemClock, Rc::new(ShardMetrics::default()));
        let disk = DirectDisk::new(clock, metrics.clone());
        let queues = TaskQueues::create();
        let (spawned, sockets) = (Spawned::new(Arc::clone(&wakes)), RefCell::default());
        let inner = ShardInner { index, queues, spawned, clock, disk, metrics, wakes, wait_mode, sockets };
        let shard = Shard { inner: Rc::new(inner) };
        shard.spawn(Queue::Background, stall::tick(u32::from(index.0), clock, shard.inner.metrics.clone()));
        Timer::after(Duration::from_micros(1)).await;
        readiness::self_test().await.map_err(StartError::SocketWait)?;
        Ok(shard)
    }

    pub fn index(&self) -> ShardIndex {
        self.inner.index
    }

    pub fn disk(&self) -> DirectDisk {
        self.inner.disk.clone()
    }

    pub fn clock(&self) -> SystemClock {
        self.inner.clock
    }

    pub fn metrics(&self) -> Rc<ShardMetrics> {
        self.inner.metrics.clone()
    }

    /// Starts a task that lives long; it is never joined. Bounded in number: never one per request.
    pub fn spawn(&self, queue: Queue, future: impl Future<Output = ()> + 'static) {
        let spawned = glommio::spawn_local_into(self.inner.spawned.wrap(future), self.inner.queues.handle(queue));
        spawned.expect("the queues of a shard live as long as its executor").detach();
    }

    pub async fn sleep(&self, duration: Duration) {
        Timer::after(duration).await;
    }

    /// Lets every other task that can run have a turn, as its queue's shares allow. The rings are not looked at: a task
    /// that works for long sleeps now and then.
    pub async fn yield_now(&self) {
        glommio::executor().yield_task_queue_now().await;
    }

    /// The sockets of this shard, made at the first call.
    ///
    /// # Errors
    /// When the process has no more descriptors.
    pub fn sockets(&self) -> io::Result<Sockets> {
        let mut sockets = self.inner.sockets.borrow_mut();
        if let Some(sockets) = sockets.as_ref() {
            return Ok(sockets.clone());
        }
        let inner = &self.inner;
        let made = Sockets::new(inner.disk.clone(), inner.metrics.clone(), Arc::clone(&inner.wakes), inner.wait_mode)?;
        *sockets = Some(made.clone());
        Ok(made)
    }
}
