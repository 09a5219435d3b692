//! A descriptor that becomes readable when librdkafka has something for us.
//!
//! librdkafka's own waits end on whole milliseconds; the generator's records are due between them. So it is asked to write to
//! an event descriptor whenever its queue is no longer empty, and the lane waits for that descriptor as it waits for sockets.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use rdkafka::bindings::{
    rd_kafka_queue_destroy, rd_kafka_queue_get_main, rd_kafka_queue_io_event_enable, rd_kafka_queue_length, rd_kafka_queue_t,
};
use rdkafka::client::{Client, ClientContext};

/// Added to the descriptor's counter with each write.
static ONE: u64 = 1;

/// The wake-up of one client. It has to be dropped before the client is.
pub(super) struct Wake {
    event: OwnedFd,
    queue: *mut rd_kafka_queue_t,
}

// SAFETY: the queue is librdkafka's, whose functions may be called from any thread.
unsafe impl Send for Wake {}

impl Wake {
    /// Begins to watch the queue of `client`'s delivery reports.
    pub(super) fn of<C: ClientContext>(client: &Client<C>) -> io::Result<Self> {
        // Readable from the start: of what is in the queue already, nothing is ever written, nor of what joins it there.
        // SAFETY: eventfd takes no pointer.
        let fd = unsafe { libc::eventfd(1, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above returned this descriptor, and nobody else owns it.
        let event = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: the client lives, and the reference to its queue is given back in `drop`.
        let queue = unsafe { rd_kafka_queue_get_main(client.native_ptr()) };
        // SAFETY: the queue was just got; the payload is copied by the call and has the size that is named.
        unsafe { rd_kafka_queue_io_event_enable(queue, event.as_raw_fd(), (&raw const ONE).cast(), size_of_val(&ONE)) };
        Ok(Self { event, queue })
    }

    pub(super) fn fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }

    /// Whether the queue is.
    pub(super) fn is_empty(&self) -> bool {
        // SAFETY: the queue is the one of `of`, whose reference is held.
        unsafe { rd_kafka_queue_length(self.queue) == 0 }
    }

    /// Call it before the queue is emptied: what comes later makes the descriptor readable again.
    pub(super) fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: `count` has room for the eight bytes. That there is nothing to read is fine.
        unsafe { libc::read(self.event.as_raw_fd(), (&raw mut count).cast(), size_of_val(&count)) };
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        // SAFETY: the queue is the one of `of`; no event is written after the first call, so the descriptor may be closed.
        unsafe {
            rd_kafka_queue_io_event_enable(self.queue, -1, std::ptr::null(), 0);
            rd_kafka_queue_destroy(self.queue);
        }
    }
}
