//! How a task sleeps until an epoll descriptor is readable, with glommio's public means.
//!
//! glommio offers no "wait for this descriptor". But a `TcpStream` made from a descriptor arms a poll at once, and its
//! first read looks at the descriptor only when that poll has completed: on a duplicate of an epoll descriptor it then
//! resolves, with ENOTSOCK, exactly when the epoll set has something. That is an unspecified detail of glommio 0.9.0
//! (the version is pinned), so `self_test` proves it at every start, before anything listens.
//!
//! One duplicate serves one sleep. An armed poll that was not needed is kept for the next sleep, not cancelled.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_io::AsyncRead;
use glommio::net::TcpStream;

use crate::timers::Timer;

/// An epoll descriptor that a task can sleep on.
pub(crate) struct Readiness {
    epoll: OwnedFd,
    armed: RefCell<Option<TcpStream>>,
}

impl Readiness {
    pub(crate) fn new() -> io::Result<Readiness> {
        // SAFETY: a plain system call.
        let descriptor = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has just returned this descriptor; nobody else owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Readiness { epoll, armed: RefCell::new(None) })
    }

    pub(crate) fn epoll(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Whether the epoll set has something, without sleeping: one system call.
    pub(crate) fn is_ready(&self) -> bool {
        let mut wanted = libc::pollfd { fd: self.epoll.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid `pollfd`, and a count of one.
        unsafe { libc::poll(&mut wanted, 1, 0) > 0 }
    }

    /// Arms the poll, unless it is. Without a descriptor for the duplicate there is nothing to sleep on.
    pub(crate) fn arm(&self) -> io::Result<()> {
        let mut armed = self.armed.borrow_mut();
        if armed.is_none() {
            let duplicate = self.epoll.try_clone()?;
            // SAFETY: the duplicate is owned here and given away with this call.
            *armed = Some(unsafe { TcpStream::from_raw_fd(duplicate.into_raw_fd()) });
        }
        Ok(())
    }

    /// Ready when the armed poll has completed; it is then used up. Pending, too, when none is armed.
    pub(crate) fn poll_armed(&self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut armed = self.armed.borrow_mut();
        let Some(stream) = armed.as_mut() else { return Poll::Pending };
        let result = Pin::new(stream).poll_read(context, &mut [0]);
        if result.is_ready() {
            *armed = None;
        }
        result
    }
}

/// Proves the trick on this glommio and this kernel: pending while nothing is readable, resolved with ENOTSOCK once
/// something is. The error says what was seen instead.
pub(crate) async fn self_test() -> Result<(), String> {
    let failed = |what: &str, error: io::Error| format!("{what}: {error}");
    let readiness = Readiness::new().map_err(|error| failed("epoll_create1", error))?;
    let event = eventfd().map_err(|error| failed("eventfd", error))?;
    watch(&readiness, &event).map_err(|error| failed("epoll_ctl", error))?;
    readiness.arm().map_err(|error| failed("duplicating the epoll descriptor", error))?;

    if let Some(result) = resolves_within(&readiness, Duration::from_millis(1)).await {
        return Err(format!("the wait ended with {result:?} although nothing was readable"));
    }
    signal(&event).map_err(|error| failed("writing to the eventfd", error))?;
    match resolves_within(&readiness, Duration::from_secs(5)).await {
        Some(Err(error)) if error.raw_os_error() == Some(libc::ENOTSOCK) => Ok(()),
        Some(result) => Err(format!("the wait ended with {result:?}, expected ENOTSOCK")),
        None => Err("the wait did not end within 5 s although the set was readable".to_owned()),
    }
}

async fn resolves_within(readiness: &Readiness, limit: Duration) -> Option<io::Result<usize>> {
    let mut timer = Timer::after(limit);
    poll_fn(|context| {
        if let Poll::Ready(result) = readiness.poll_armed(context) {
            return Poll::Ready(Some(result));
        }
        Pin::new(&mut timer).poll(context).map(|_| None)
    })
    .await
}

pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: a plain system call.
    let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just returned this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn watch(readiness: &Readiness, event: &OwnedFd) -> io::Result<()> {
    let mut wanted = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
    // SAFETY: both descriptors are open and the event is valid for the duration of the call.
    let result = unsafe { libc::epoll_ctl(readiness.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, event.as_raw_fd(), &mut wanted) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub(crate) fn signal(event: &OwnedFd) -> io::Result<()> {
    let one = 1_u64.to_ne_bytes();
    // SAFETY: the buffer is valid for its length.
    let written = unsafe { libc::write(event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    if written < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
