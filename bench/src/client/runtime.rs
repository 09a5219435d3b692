//! The client's tokio runtime, as many threads as a program has by default, and what they have used.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::load::{clock_time, thread_cpu_time};

/// Ends with its tasks when it is dropped.
pub(super) struct ClientRuntime {
    runtime: Option<Runtime>,
    threads: Arc<Mutex<Threads>>,
}

#[derive(Default)]
struct Threads {
    /// The processor-time clock of each thread that runs.
    clocks: Vec<libc::clockid_t>,
    /// What those have used that have ended.
    ended: Duration,
}

impl ClientRuntime {
    pub(super) fn start() -> io::Result<Self> {
        let threads = Arc::new(Mutex::new(Threads::default()));
        let (starting, stopping) = (threads.clone(), threads.clone());
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .thread_name("client")
            .on_thread_start(move || with(&starting, |threads| threads.clocks.extend(own_clock())))
            .on_thread_stop(move || {
                with(&stopping, |threads| {
                    threads.clocks.retain(|clock| Some(*clock) != own_clock());
                    threads.ended += thread_cpu_time();
                });
            })
            .build()?;
        Ok(Self { runtime: Some(runtime), threads })
    }

    pub(super) fn handle(&self) -> &Handle {
        self.runtime.as_ref().expect("it runs until it is dropped").handle()
    }

    /// Processor time of all its threads since it was started.
    pub(super) fn cpu_time(&self) -> Duration {
        with(&self.threads, |threads| threads.ended + threads.clocks.iter().map(|&clock| clock_time(clock)).sum::<Duration>())
    }
}

impl fmt::Debug for ClientRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRuntime").finish_non_exhaustive()
    }
}

impl Drop for ClientRuntime {
    fn drop(&mut self) {
        // Without waiting: what still runs belongs to connections that nobody uses any more.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn with<T>(threads: &Mutex<Threads>, act: impl FnOnce(&mut Threads) -> T) -> T {
    act(&mut threads.lock().unwrap_or_else(PoisonError::into_inner))
}

/// That of the calling thread; `None` where the kernel has none.
fn own_clock() -> Option<libc::clockid_t> {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: the calling thread is a thread, and `clock` is a valid place for one clock id.
    let refused = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) };
    (refused == 0).then_some(clock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn what_its_threads_use_is_counted_and_what_others_use_is_not() {
        let runtime = ClientRuntime::start().expect("threads");
        let spin = |until: Duration| {
            let (before, mut sum) = (thread_cpu_time(), 0u64);
            while thread_cpu_time() < before + until {
                sum = std::hint::black_box(sum.wrapping_add(1));
            }
        };
        spin(Duration::from_millis(20));
        assert!(runtime.cpu_time() < Duration::from_millis(20), "the time of this thread is not the runtime's");
        let before = runtime.cpu_time();
        let spun = runtime.handle().spawn(async move { spin(Duration::from_millis(5)) });
        runtime.handle().block_on(spun).expect("no panic");
        assert!(runtime.cpu_time() - before >= Duration::from_millis(5), "{:?}", runtime.cpu_time());
        let (threads, give_up_at) = (runtime.threads.clone(), Instant::now() + Duration::from_secs(60));
        drop(runtime);
        while with(&threads, |threads| !threads.clocks.is_empty()) {
            assert!(Instant::now() < give_up_at, "its threads end with it");
            std::thread::yield_now();
        }
        assert!(with(&threads, |threads| threads.ended) >= Duration::from_millis(5), "ended threads count on");
    }
}
