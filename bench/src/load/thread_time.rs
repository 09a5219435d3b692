//! What a thread of the generator has used, and how exactly it wakes.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Nanoseconds by which the kernel may delay a wake-up of this thread to join it with others; 50,000 by default.
const TIMER_SLACK_NS: libc::c_ulong = 1_000;

/// Processor time of the calling thread, user and system. Zero where the kernel does not say.
pub(crate) fn thread_cpu_time() -> Duration {
    clock_time(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// What this clock of processor time shows. Zero where the kernel does not say, and for the clock of a thread that has ended.
pub(crate) fn clock_time(clock: libc::clockid_t) -> Duration {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: `time` has room for one timespec.
    if unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) } != 0 {
        return Duration::ZERO;
    }
    // SAFETY: clock_gettime returned 0, so it filled the structure.
    let time = unsafe { time.assume_init() };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Processor time of one thread within the counted time, as far as the thread looks at the clock.
pub(super) struct CountedCpu {
    counted_ns: Range<u64>,
    begin: Option<Duration>,
    end: Option<Duration>,
}

impl CountedCpu {
    pub(super) fn new(counted_ns: Range<u64>) -> Self {
        Self { counted_ns, begin: None, end: None }
    }

    /// It is `now_ns`, from the schedule's begin.
    pub(super) fn look(&mut self, now_ns: u64) {
        if self.begin.is_none() && now_ns >= self.counted_ns.start {
            self.begin = Some(thread_cpu_time());
        }
        if self.end.is_none() && now_ns >= self.counted_ns.end {
            self.end = Some(thread_cpu_time());
        }
    }

    /// At the end of the thread.
    pub(super) fn used(&self) -> Duration {
        let Some(begin) = self.begin else { return Duration::ZERO };
        self.end.unwrap_or_else(thread_cpu_time).saturating_sub(begin)
    }
}

/// Sleeps until a round begins. What is handed over before has a latency of nothing.
pub(super) fn wait_for(begin: Instant) {
    std::thread::sleep(begin.saturating_duration_since(Instant::now()));
}

/// Makes the calling thread wake within microseconds of the time it asks for. Where that is refused it wakes a little later,
/// and the lateness of its hand-overs says so.
pub(crate) fn sharpen_timers() {
    // SAFETY: prctl with these arguments only sets an attribute of the calling thread.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, TIMER_SLACK_NS) };
}
