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
        loop {
            tokio::select! {
                biased;
                value = &mut work => return Ok(Some(value)),
                ready = self.timer.readable() => {
                    // What the runtime remembers may be of a time set before: only what can be read has come. It has to forget it
                    // each time: otherwise waits that end at once would never let it look at its sockets.
                    let mut ready = ready?;
                    let come = read(&self.timer);
                    ready.clear_ready();
                    match come {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        come => return come.map(|()| None),
                    }
                }
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

/// Takes the count of times that have come, which is not wanted.
fn read(timer: &AsyncFd<OwnedFd>) -> io::Result<()> {
    let mut count = [0u8; 8];
    // SAFETY: `count` has room for as many bytes as are asked for.
    let len = unsafe { libc::read(timer.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    if len < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
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

    #[test]
    fn waits_that_end_at_once_let_the_runtime_look_at_its_sockets() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let mut timer = runtime.block_on(async { SharpTimer::new() }).expect("a timer");
        let (connected, mut is_connected) = tokio::sync::oneshot::channel();
        runtime.spawn(async move { connected.send(tokio::net::TcpStream::connect(address).await.is_ok()) });
        let past = Instant::now();
        let give_up_at = past + Duration::from_secs(20);
        while is_connected.try_recv() != Ok(true) {
            assert!(Instant::now() < give_up_at, "the task is never woken");
            assert_eq!(runtime.block_on(timer.wait(past, std::future::pending::<()>())).expect("a wait"), None);
        }
    }
}
