//! All sockets of one shard behind one private epoll descriptor.
//!
//! One long-lived data task owns this: it asks `poll` what is ready, receives and sends without ever blocking, and
//! when there is nothing left to do it `wait`s (`waiting`). Readiness is level-triggered: what is not read, or not taken
//! out of `interest`, is reported again.
//!
//! Deliberately absent: buffers, budgets, protocol. They belong to the broker.

mod connection_map;
mod slots;
mod transfer;
mod waiting;

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

pub use self::connection_map::ConnectionMap;
pub use self::slots::{ConnectionId, ListenerId};
use self::slots::{Slot, SlotId, Slots};
pub use self::transfer::{Received, Sent};
use crate::blocking_wait::WaitMode;
use crate::clock::SystemClock;
use crate::direct_disk::DirectDisk;
use crate::metrics::{ShardMetrics, count};
use crate::readiness::Readiness;
use crate::task_wakes::TaskWakes;

/// Connections the kernel keeps for a listener until they are accepted.
pub const BACKLOG: u32 = 1024;
/// Most events one `poll` reports.
const EVENTS_PER_POLL: usize = 256;

/// What a connection is watched for while it is read from.
const READABLE: i32 = libc::EPOLLIN | libc::EPOLLRDHUP;

/// What `poll` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketEvent {
    /// `accept` has something to take.
    Acceptable(ListenerId),
    /// `closed`: the peer has gone, wholly or for its sending side; a `recv` tells which.
    Ready { connection: ConnectionId, readable: bool, writable: bool, closed: bool },
}

/// The sockets of one shard. Clones are the same set; only one task may `wait`.
#[derive(Clone)]
pub struct Sockets {
    inner: Rc<SocketsInner>,
}

struct SocketsInner {
    readiness: Readiness,
    slots: RefCell<Slots>,
    /// Given up for a moment when the process is out of descriptors, so that a connection can be taken and closed.
    spare: RefCell<Option<OwnedFd>>,
    waiting: Cell<bool>,
    ring_look_us: Cell<u64>,
    /// When a socket was ready last.
    lively_us: Cell<u64>,
    wakes: Arc<TaskWakes>,
    wait_mode: WaitMode,
    clock: SystemClock,
    disk: DirectDisk,
    metrics: Rc<ShardMetrics>,
}

impl Sockets {
    pub(crate) fn new(
        disk: DirectDisk,
        metrics: Rc<ShardMetrics>,
        wakes: Arc<TaskWakes>,
        wait_mode: WaitMode,
    ) -> io::Result<Sockets> {
        let clock = SystemClock;
        let inner = SocketsInner {
            readiness: Readiness::new()?,
            slots: RefCell::default(),
            spare: RefCell::new(open_spare()),
            waiting: Cell::new(false),
            ring_look_us: Cell::new(clock.mono_us()),
            lively_us: Cell::new(clock.mono_us()),
            wakes,
            wait_mode,
            clock,
            disk,
            metrics,
        };
        Ok(Sockets { inner: Rc::new(inner) })
    }

    /// Listens on an address; port 0 lets the kernel choose one.
    ///
    /// # Errors
    /// `AddrInUse` when another socket listens there, `PermissionDenied`, `AddrNotAvailable`.
    pub fn listen(&self, address: SocketAddr) -> io::Result<ListenerId> {
        self.listen_on(TcpListener::bind(address)?)
    }

    /// Listens on a socket that is bound already, whether it listens yet or not.
    ///
    /// # Errors
    /// `AddrInUse` when another socket has come to listen on the address.
    pub fn listen_on(&self, listener: TcpListener) -> io::Result<ListenerId> {
        listener.set_nonblocking(true)?;
        // SAFETY: the descriptor is open; a second call on a listening socket only widens its backlog.
        if unsafe { libc::listen(listener.as_raw_fd(), BACKLOG as i32) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut slots = self.inner.slots.borrow_mut();
        let id = slots.insert(Slot::Listener(listener));
        let added = self.watch(libc::EPOLL_CTL_ADD, slots.descriptor(id), libc::EPOLLIN, id);
        if let Err(error) = added {
            slots.remove(id);
            return Err(error);
        }
        Ok(ListenerId(id))
    }

    /// # Errors
    /// `NotFound` when the listener is closed.
    pub fn local_addr(&self, listener: ListenerId) -> io::Result<SocketAddr> {
        match self.inner.slots.borrow().get(listener.0) {
            Some(Slot::Listener(listener)) => listener.local_addr(),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Takes one waiting connection, TCP_NODELAY on and watched for reading; none when nobody waits.
    ///
    /// # Errors
    /// When the connection could not be kept (out of descriptors or of memory). It is closed then, so that the listener
    /// does not stay ready for ever; the caller may log it and go on.
    pub fn accept(&self, listener: ListenerId) -> io::Result<Option<(ConnectionId, SocketAddr)>> {
        let accepted = match self.inner.slots.borrow().get(listener.0) {
            Some(Slot::Listener(listener)) => transfer::accept(listener),
            _ => return Ok(None),
        };
        let (stream, peer) = match accepted {
            Ok(Some(accepted)) => accepted,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.drop_one_waiting(listener);
                return Err(error);
            }
        };
        stream.set_nodelay(true)?;
        let mut slots = self.inner.slots.borrow_mut();
        let id = slots.insert(Slot::Connection(stream));
        slots.set_interest(id, READABLE);
        if let Err(error) = self.watch(libc::EPOLL_CTL_ADD, slots.descriptor(id), READABLE, id) {
            slots.remove(id);
            return Err(error);
        }
        Ok(Some((ConnectionId(id), peer)))
    }

    /// Begins a connection to another program, TCP_NODELAY on; it is watched for writing, and `connected` tells then what
    /// has become of it.
    ///
    /// # Errors
    /// When it failed at once (no route, out of descriptors); nothing is kept then.
    pub fn connect(&self, address: SocketAddr) -> io::Result<ConnectionId> {
        let stream = transfer::connect(address)?;
        stream.set_nodelay(true)?;
        let mut slots = self.inner.slots.borrow_mut();
        let id = slots.insert(Slot::Connection(stream));
        slots.set_interest(id, libc::EPOLLOUT);
        if let Err(error) = self.watch(libc::EPOLL_CTL_ADD, slots.descriptor(id), libc::EPOLLOUT, id) {
            slots.remove(id);
            return Err(error);
        }
        Ok(ConnectionId(id))
    }

    /// Asked when a connection that was begun is reported as writable: whether it is there now.
    ///
    /// # Errors
    /// Why it is not (`ConnectionRefused`, `TimedOut`), or `NotConnected` while nothing is known yet or when it is closed.
    pub fn connected(&self, connection: ConnectionId) -> io::Result<()> {
        match self.inner.slots.borrow().get(connection.0) {
            Some(Slot::Connection(stream)) => match stream.take_error()? {
                Some(error) => Err(error),
                None => stream.peer_addr().map(drop),
            },
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Adds what is ready now to `events`, at most 256 of them. Never blocks.
    pub fn poll(&self, events: &mut Vec<SocketEvent>) {
        count(&self.inner.metrics.socket_polls);
        let mut found = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_PER_POLL];
        let epoll = self.inner.readiness.epoll().as_raw_fd();
        // SAFETY: the array is valid for the count given.
        let found_count = unsafe { libc::epoll_wait(epoll, found.as_mut_ptr(), EVENTS_PER_POLL as i32, 0) };
        let slots = self.inner.slots.borrow();
        for event in found.iter().take(usize::try_from(found_count).unwrap_or(0)) {
            let (flags, id) = (event.events as i32, SlotId::from_token(event.u64));
            match slots.get(id) {
                Some(Slot::Listener(_)) => events.push(SocketEvent::Acceptable(ListenerId(id))),
                Some(Slot::Connection(_)) => events.push(SocketEvent::Ready {
                    connection: ConnectionId(id),
                    readable: flags & (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) != 0,
                    writable: flags & libc::EPOLLOUT != 0,
                    closed: flags & (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) != 0,
                }),
                None => {}
            }
        }
    }

    /// Receives into `buffer`, without blocking. A closed id is a closed connection.
    pub fn recv(&self, connection: ConnectionId, buffer: &mut [u8]) -> Received {
        // SAFETY: initialised bytes are valid as possibly uninitialised ones, and `transfer` only writes received bytes.
        let buffer = unsafe { &mut *(std::ptr::from_mut(buffer) as *mut [MaybeUninit<u8>]) };
        self.recv_uninit(connection, buffer)
    }

    /// As `recv`, into memory not yet written; after `Bytes(n)` the first `n` bytes are.
    pub fn recv_uninit(&self, connection: ConnectionId, buffer: &mut [MaybeUninit<u8>]) -> Received {
        match self.inner.slots.borrow().get(connection.0) {
            Some(Slot::Connection(stream)) => transfer::recv(stream, buffer),
            _ => Received::Closed,
        }
    }

    /// Sends the slices as one gathered message, without blocking; the count may end inside any of them.
    pub fn send(&self, connection: ConnectionId, slices: &[IoSlice<'_>]) -> Sent {
        match self.inner.slots.borrow().get(connection.0) {
            Some(Slot::Connection(stream)) => transfer::send(stream, slices),
            _ => Sent::Failed(io::ErrorKind::NotConnected.into()),
        }
    }

    /// What `poll` reports of a connection from now on; no system call when nothing changes. With neither, only its end by an error or by both sides.
    pub fn interest(&self, connection: ConnectionId, readable: bool, writable: bool) {
        let wanted = if readable { READABLE } else { 0 } | if writable { libc::EPOLLOUT } else { 0 };
        let mut slots = self.inner.slots.borrow_mut();
        if slots.set_interest(connection.0, wanted) {
            let changed = self.watch(libc::EPOLL_CTL_MOD, slots.descriptor(connection.0), wanted, connection.0);
            assert!(changed.is_ok(), "the interest of an open connection cannot be changed: {changed:?}");
        }
    }

    /// Tells the peer that nothing more comes; what was sent before still arrives.
    pub fn shutdown_send(&self, connection: ConnectionId) {
        if let Some(Slot::Connection(stream)) = self.inner.slots.borrow().get(connection.0) {
            let _already_gone = stream.shutdown(std::net::Shutdown::Write);
        }
    }

    /// Closes a connection; its id is never used again.
    pub fn close(&self, connection: ConnectionId) {
        self.inner.slots.borrow_mut().remove(connection.0);
    }

    /// Stops listening; connections stay.
    pub fn close_listener(&self, listener: ListenerId) {
        self.inner.slots.borrow_mut().remove(listener.0);
    }

    pub fn connection_count(&self) -> usize {
        self.inner.slots.borrow().connection_count()
    }

    fn watch(&self, operation: i32, descriptor: i32, flags: i32, id: SlotId) -> io::Result<()> {
        let mut event = libc::epoll_event { events: flags as u32, u64: id.token() };
        let epoll = self.inner.readiness.epoll().as_raw_fd();
        // SAFETY: both descriptors are open and the event is valid for the duration of the call.
        let result = unsafe { libc::epoll_ctl(epoll, operation, descriptor, &mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Out of descriptors: gives up the spare one, takes the waiting connection with it, and closes that.
    fn drop_one_waiting(&self, listener: ListenerId) {
        let mut spare = self.inner.spare.borrow_mut();
        spare.take();
        if let Some(Slot::Listener(listener)) = self.inner.slots.borrow().get(listener.0) {
            drop(transfer::accept(listener));
        }
        *spare = open_spare();
    }
}

/// Any descriptor; none when the process has no more of them already.
fn open_spare() -> Option<OwnedFd> {
    std::fs::File::open("/dev/null").ok().map(OwnedFd::from)
}
