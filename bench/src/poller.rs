//! One epoll descriptor for all sockets of a lane, with waits that end within microseconds of the time asked for, asleep or
//! spinning.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use crate::floor::WaitMode;

const EVENTS: usize = 256;

/// Sockets by number, and what of them is ready.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
    mode: WaitMode,
}

impl Poller {
    /// # Errors When the kernel has no descriptor left.
    pub fn new(mode: WaitMode) -> io::Result<Self> {
        // SAFETY: epoll_create1 takes no pointer.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above returned this descriptor, and nobody else owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS], mode })
    }

    /// Watches a socket for what can be read, under this number.
    ///
    /// # Errors When the descriptor is none that can be watched.
    pub fn add(&self, fd: RawFd, number: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, number, false)
    }

    /// Watches it for room to write, too, or no longer.
    ///
    /// # Errors When it was never added.
    pub fn set_writable(&self, fd: RawFd, number: usize, is_wanted: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, number, is_wanted)
    }

    /// Waits until something is ready or `until` has come; with `until` in the past it only looks. Gives the numbers of what is
    /// ready.
    ///
    /// # Errors When the kernel refuses; a signal is none.
    pub fn wait(&mut self, until: Instant, ready: &mut Vec<usize>) -> io::Result<()> {
        if self.mode == WaitMode::Asleep {
            return self.wait_for(until.saturating_duration_since(Instant::now()), ready);
        }
        loop {
            self.wait_for(Duration::ZERO, ready)?;
            if !ready.is_empty() || Instant::now() >= until {
                return Ok(());
            }
            std::thread::yield_now();
        }
    }

    fn wait_for(&mut self, left: Duration, ready: &mut Vec<usize>) -> io::Result<()> {
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(left.subsec_nanos()),
        };
        // SAFETY: `events` has room for as many events as are named, `timeout` lives until the call returns, and no signal
        // mask is given.
        let count = unsafe {
            libc::epoll_pwait2(
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as libc::c_int,
                &raw const timeout,
                std::ptr::null(),
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        ready.extend(self.events[..count as usize].iter().map(|event| event.u64 as usize));
        Ok(())
    }

    fn control(&self, operation: libc::c_int, fd: RawFd, number: usize, is_writable_wanted: bool) -> io::Result<()> {
        let writable = if is_writable_wanted { libc::EPOLLOUT } else { 0 };
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | writable) as u32, u64: number as u64 };
        // SAFETY: both descriptors are open, and `event` lives until the call returns.
        let result = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &raw mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
