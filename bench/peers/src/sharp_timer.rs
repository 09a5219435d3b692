//! A wait that ends within microseconds of the time asked for, inside a tokio runtime.
//!
//! Tokio's own timers are rounded to milliseconds: a generator that waits with one hands over a record of each millisecond
//! late, and a system would be blamed for it. The kernel's timer is a descriptor that the runtime waits for like a socket.

use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;

/// One timer; the runtime in whose context it is made waits for it.
#[derive(Debug)]
pub(crate) struct SharpTimer {
    timer: AsyncFd<OwnedFd>,
}

impl SharpTimer {
    /// # Errors When the kernel has no descriptor left.
    ///
    /// # Panics Outside a tokio runtime with its I/O driver.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: timerfd_create takes no pointer.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above returned this descriptor, and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: the descriptor is owned by what is registered, which names the same one for as long as it lives.
        Ok(Self { timer: unsafe { AsyncFd::register(fd) }? })
    }

    /// What `work` gives, or `None` when `until` comes first. With `until` in the past `work` is still looked at once.
    ///
    /// # Errors When the timer cannot be set.
    pub(crate) async fn wait<T>(&mut self, until: Instant, work: impl Future<Output = T>) -> io::Result<Option<T>> {
        let mut work = pin!(work);
        self.set(until.saturating_duration_since(Instant::now()))?;
        tokio::select! {
            biased;
            value = &mut work => Ok(Some(value)),
            ready = self.timer.readable() => {
                ready?.clear_ready();
                Ok(None)
            }
        }
    }

    fn set(&self, after: Duration) -> io::Result<()> {
        // Zero would switch it off.
        let after = after.max(Duration::from_nanos(1));
        let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let it_value = libc::timespec {
            tv_sec: libc::time_t::try_from(after.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(after.subsec_nanos()),
        };
        let time = libc::itimerspec { it_interval: none, it_value };
        // SAFETY: `time` lives until the call returns, and the old time is not asked for.
        if unsafe { libc::timerfd_settime(self.timer.as_raw_fd(), 0, &raw const time, std::ptr::null_mut()) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_is_done_comes_first_and_a_time_that_has_come_ends_the_wait() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut timer = SharpTimer::new().expect("a timer");
            let past = Instant::now();
            for _ in 0..3 {
                assert_eq!(timer.wait(past, std::future::ready(7)).await.expect("a wait"), Some(7));
                let until = Instant::now() + Duration::from_millis(3);
                assert_eq!(timer.wait(until, std::future::pending::<()>()).await.expect("a wait"), None);
                assert!(Instant::now() >= until);
            }
        });
    }
}
