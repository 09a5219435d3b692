//! One socket of a lane: it never blocks, keeps what the kernel does not take, and gives whole messages.

use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};

use sluice_protocol::Api;

use crate::connection::Connection;
use crate::error::BenchError;
use crate::received::Received;

/// At first; it grows with the messages.
const RECEIVE_LEN: usize = 4 * 1024;

/// A connection past its Hello.
pub(super) struct Wire {
    stream: TcpStream,
    address: String,
    pub(super) version: u16,
    pub(super) received: Received,
    out: Vec<u8>,
    out_sent: usize,
    next_correlation_id: u32,
    /// Bytes taken by the kernel, and handed to this wire, since it was opened.
    pub(super) sent_len: u64,
    pub(super) queued_len: u64,
    /// Room to write is being waited for.
    pub(super) is_blocked: bool,
}

impl Wire {
    /// `api` is what it will be used for.
    pub(super) fn open(address: &str, api: Api) -> Result<Self, BenchError> {
        let connection = Connection::open(address)?;
        let version = connection.version(api)?;
        let stream = connection.into_stream();
        stream.set_nonblocking(true).map_err(|source| BenchError::Connection { address: address.to_owned(), source })?;
        Ok(Self {
            stream,
            address: address.to_owned(),
            version,
            received: Received::new(RECEIVE_LEN),
            out: Vec::new(),
            out_sent: 0,
            // Hello was 0.
            next_correlation_id: 1,
            sent_len: 0,
            queued_len: 0,
            is_blocked: false,
        })
    }

    pub(super) fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    pub(super) fn take_correlation_id(&mut self) -> u32 {
        let id = self.next_correlation_id;
        self.next_correlation_id = id.wrapping_add(1);
        id
    }

    /// Adds bytes to what is to be sent.
    pub(super) fn queue(&mut self, bytes: &[u8]) {
        if self.out_sent == self.out.len() {
            self.out.clear();
            self.out_sent = 0;
        }
        self.out.extend_from_slice(bytes);
        self.queued_len += bytes.len() as u64;
    }

    /// Sends what the kernel takes; whether that was all.
    pub(super) fn send(&mut self) -> Result<bool, BenchError> {
        while self.out_sent < self.out.len() {
            match self.stream.write(&self.out[self.out_sent..]) {
                Ok(0) => return Err(self.failed(ErrorKind::WriteZero.into())),
                Ok(len) => {
                    self.out_sent += len;
                    self.sent_len += len as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(true)
    }

    /// Reads what has arrived; whether anything had.
    pub(super) fn receive(&mut self) -> Result<bool, BenchError> {
        match self.received.fill_from(&mut self.stream) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(self.failed(error)),
        }
    }

    pub(super) fn failed(&self, source: io::Error) -> BenchError {
        BenchError::Connection { address: self.address.clone(), source }
    }
}
