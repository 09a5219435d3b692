//! Blocking the executor's thread on the sockets and on wakes by other threads.
//!
//! glommio's own sleep costs three system calls before the first instruction after it and five before the next one;
//! this is one call. It may only be made when no task could run (`task_wakes`) and nothing is under way on the rings or
//! the pool, whose ends it would not notice: the caller knows. It ends for a socket, for a wake, or at its time.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::SystemClock;
use crate::task_wakes::TaskWakes;

/// How a thread waits for work while there has been some lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitMode {
    /// Blocked in the kernel: no processor time, and the time that waking a processor takes.
    #[default]
    Asleep,
    /// Looking all the time: a whole core, and no time for waking.
    Spinning,
}

/// Why a blocking call ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// A socket is ready.
    pub(crate) by_socket: bool,
    /// A task was woken.
    pub(crate) by_wake: bool,
}

/// Waits for `sockets`, an epoll descriptor, for at most `limit_us`. Returns at once when a task can run.
pub(crate) fn wait(mode: WaitMode, sockets: RawFd, wakes: &Arc<TaskWakes>, limit_us: u64) -> Ended {
    let ended = wakes.block_unless_runnable(|| match mode {
        WaitMode::Asleep => look(sockets, wakes, limit_us),
        WaitMode::Spinning => spin(sockets, wakes, limit_us),
    });
    ended.unwrap_or(Ended { by_socket: false, by_wake: true })
}

fn spin(sockets: RawFd, wakes: &TaskWakes, limit_us: u64) -> Ended {
    let until_us = SystemClock.mono_us().saturating_add(limit_us);
    loop {
        let ended = look(sockets, wakes, 0);
        if ended != Ended::default() || SystemClock.mono_us() >= until_us {
            return ended;
        }
    }
}

/// One system call. Neither reason: the time is over, or a signal came.
fn look(sockets: RawFd, wakes: &TaskWakes, limit_us: u64) -> Ended {
    let mut watched = [sockets, wakes.event()].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    let limit = Duration::from_micros(limit_us);
    let limit = libc::timespec { tv_sec: limit.as_secs() as libc::time_t, tv_nsec: limit.subsec_nanos().into() };
    // SAFETY: the array is valid for the count given, and so is the time; there is no signal mask.
    let count = unsafe { libc::ppoll(watched.as_mut_ptr(), watched.len() as libc::nfds_t, &limit, std::ptr::null()) };
    if count <= 0 {
        return Ended::default();
    }
    let [by_socket, by_wake] = watched.map(|watched| watched.revents != 0);
    if by_wake {
        wakes.clear_event();
    }
    Ended { by_socket, by_wake }
}
