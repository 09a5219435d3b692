//! What a thread of the generator has used, and how exactly it wakes.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::time::{Duration, Instant};

pub(super) use sluice_tuning::closed_loop::sharpen_timers;

/// How long the scheduler lets this thread run before others: of two that want a core, the one that has just woken goes first
/// when its slice is the shorter one. It is milliseconds by default, for the system's threads, too; this is the least there is.
const SLICE_NS: u64 = 100_000;

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

/// How long the calling thread has waited for a core that others had. Zero where the kernel does not say.
fn thread_core_wait() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(stat.split_whitespace().nth(1).and_then(|ns| ns.parse().ok()).unwrap_or(0))
}

/// What a thread has used, and what it has waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ThreadTime {
    /// Processor time.
    pub cpu: Duration,
    /// Ready to run, and others had the cores.
    pub core_wait: Duration,
}

impl ThreadTime {
    fn now() -> Self {
        Self { cpu: thread_cpu_time(), core_wait: thread_core_wait() }
    }
}

impl std::ops::AddAssign for ThreadTime {
    fn add_assign(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.core_wait += other.core_wait;
    }
}

/// The time of one thread within the counted time, as far as the thread looks at the clock.
pub(super) struct CountedTime {
    counted_ns: Range<u64>,
    begin: Option<ThreadTime>,
    end: Option<ThreadTime>,
}

impl CountedTime {
    pub(super) fn new(counted_ns: Range<u64>) -> Self {
        Self { counted_ns, begin: None, end: None }
    }

    /// It is `now_ns`, from the schedule's begin.
    pub(super) fn look(&mut self, now_ns: u64) {
        if self.begin.is_none() && now_ns >= self.counted_ns.start {
            self.begin = Some(ThreadTime::now());
        }
        if self.end.is_none() && now_ns >= self.counted_ns.end {
            self.end = Some(ThreadTime::now());
        }
    }

    /// At the end of the thread.
    pub(super) fn used(&self) -> ThreadTime {
        let Some(begin) = self.begin else { return ThreadTime::default() };
        let end = self.end.unwrap_or_else(ThreadTime::now);
        ThreadTime { cpu: end.cpu.saturating_sub(begin.cpu), core_wait: end.core_wait.saturating_sub(begin.core_wait) }
    }
}

/// Sleeps until a round begins. What is handed over before has a latency of nothing.
pub(super) fn wait_for(begin: Instant) {
    std::thread::sleep(begin.saturating_duration_since(Instant::now()));
}

/// Asks for a core at once when a record is due, though the system under load has threads that run on: the generator's share of
/// the processor stays the same, and what it hands over is not late for want of a turn. Kernels before 6.12 have no such thing,
/// and then the lateness of hand-overs says so.
pub(super) fn take_turns_at_once() {
    let len = size_of::<libc::sched_attr>() as u32;
    let mut attributes = MaybeUninit::<libc::sched_attr>::zeroed();
    // SAFETY: `attributes` has room for `len` bytes, and 0 is the calling thread.
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, attributes.as_mut_ptr(), len, 0) };
    // SAFETY: all zeros is a value of this structure of numbers, and the kernel fills in no others.
    let mut attributes = unsafe { attributes.assume_init() };
    // One that runs by other rules was set so on purpose.
    if got != 0 || attributes.sched_policy != libc::SCHED_OTHER as u32 {
        return;
    }
    attributes.sched_runtime = SLICE_NS;
    // SAFETY: the kernel only reads `attributes`, which names its own size.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_asks_for_the_shortest_slice_and_for_nothing_else() {
        let attributes = || {
            let mut got = MaybeUninit::<libc::sched_attr>::zeroed();
            let len = size_of::<libc::sched_attr>() as u32;
            // SAFETY: `got` has room for `len` bytes, and 0 is the calling thread.
            assert_eq!(unsafe { libc::syscall(libc::SYS_sched_getattr, 0, got.as_mut_ptr(), len, 0) }, 0);
            // SAFETY: all zeros is a value of this structure of numbers, and the kernel fills in no others.
            unsafe { got.assume_init() }
        };
        let asked = std::thread::spawn(move || {
            let before = attributes();
            take_turns_at_once();
            (before, attributes())
        });
        let (before, after) = asked.join().expect("no panic");
        assert_eq!((after.sched_policy, after.sched_nice), (before.sched_policy, before.sched_nice));
        if before.sched_runtime == 0 {
            eprintln!("SKIPPED: this kernel has no slices to ask for (Linux 6.12 has)");
        } else {
            assert_eq!(after.sched_runtime, SLICE_NS);
        }
        assert_eq!(attributes().sched_runtime, before.sched_runtime, "other threads keep theirs");
    }
}
