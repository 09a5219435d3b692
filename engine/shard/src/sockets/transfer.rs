//! The system calls of a socket, with their answers as values. None of them blocks.

use socket2::{Domain, Socket, Type};
use std::io::{self, IoSlice};
use std::mem::{self, MaybeUninit};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

/// Slices one gathered message may have.
const SLICES_MAX: usize = 1024;

/// What a `recv` brought.
#[derive(Debug)]
pub enum Received {
    /// So many bytes, at least one.
    Bytes(usize),
    WouldBlock,
    /// The peer sends no more.
    Closed,
    Failed(io::Error),
}

/// What a `send` took.
#[derive(Debug)]
pub enum Sent {
    /// So many bytes of the slices, in order.
    Bytes(usize),
    WouldBlock,
    Failed(io::Error),
}

/// Takes one connection that waits; none when nobody does, or when who did has gone again.
pub(super) fn accept(listener: &TcpListener) -> io::Result<Option<(TcpStream, SocketAddr)>> {
    loop {
        let error = match listener.accept() {
            Ok((stream, peer)) => {
                stream.set_nonblocking(true)?;
                return Ok(Some((stream, peer)));
            }
            Err(error) => error,
        };
        match error.raw_os_error() {
            Some(libc::EAGAIN) => return Ok(None),
            // Errors of a connection that ended before it was taken; the next one may be good.
            Some(
                libc::EINTR
                | libc::ECONNABORTED
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENOPROTOOPT
                | libc::EOPNOTSUPP
                | libc::EPERM,
            ) => {}
            _ => return Err(error),
        }
    }
}

/// Begins a connection; it is there, or has failed, when the socket is writable.
pub(super) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if !matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => return Err(error),
        _ => {}
    }
    Ok(socket.into())
}

/// An empty buffer receives nothing, and is not an end of the connection.
pub(super) fn recv(stream: &TcpStream, buffer: &mut [MaybeUninit<u8>]) -> Received {
    if buffer.is_empty() {
        return Received::WouldBlock;
    }
    loop {
        // SAFETY: the buffer is valid for its length; the kernel writes no more than that.
        let len = unsafe { libc::recv(stream.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
        match usize::try_from(len) {
            Ok(0) => return Received::Closed,
            Ok(len) => return Received::Bytes(len),
            Err(_) => {}
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock => return Received::WouldBlock,
            _ => return Received::Failed(error),
        }
    }
}

/// No SIGPIPE; a peer that has gone is an error.
pub(super) fn send(stream: &TcpStream, slices: &[IoSlice<'_>]) -> Sent {
    // SAFETY: all fields of a message header may be zero.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = slices.as_ptr().cast_mut().cast();
    message.msg_iovlen = slices.len().min(SLICES_MAX) as _;
    loop {
        // SAFETY: an `IoSlice` has the layout of an `iovec`, and the kernel only reads through it.
        let len = unsafe { libc::sendmsg(stream.as_raw_fd(), &message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
        if let Ok(len) = usize::try_from(len) {
            return Sent::Bytes(len);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock => return Sent::WouldBlock,
            _ => return Sent::Failed(error),
        }
    }
}
