//! Bytes on their way out: gathered into as few writes as the socket allows.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use tokio::net::tcp::OwnedWriteHalf;

/// Slices of one gathered write; the kernel takes 1024 at most.
const SLICES_PER_WRITE_MAX: usize = 64;

/// Called with true when the last byte of a message left, with false when it will not.
pub(super) type OnSent = Box<dyn FnOnce(bool) + Send>;

#[derive(Default)]
pub(super) struct Outgoing {
    chunks: VecDeque<Bytes>,
    /// Bytes the kernel has taken so far.
    written: u64,
    /// Bytes pushed so far.
    pushed: u64,
    on_sent: VecDeque<(u64, OnSent)>,
}

impl Outgoing {
    pub(super) fn push(&mut self, head: Bytes, frames: Vec<Bytes>, on_sent: Option<OnSent>) {
        for chunk in std::iter::once(head).chain(frames).filter(|c| !c.is_empty()) {
            self.pushed += chunk.len() as u64;
            self.chunks.push_back(chunk);
        }
        self.on_sent.extend(on_sent.map(|on_sent| (self.pushed, on_sent)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(super) fn end_position(&self) -> u64 {
        self.pushed
    }

    pub(super) fn written_position(&self) -> u64 {
        self.written
    }

    /// Writes until nothing is left or the socket is full.
    pub(super) fn write_to(&mut self, writer: &OwnedWriteHalf) -> io::Result<()> {
        while !self.chunks.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE_MAX];
            let count = self.chunks.len().min(SLICES_PER_WRITE_MAX);
            for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
                *slice = IoSlice::new(chunk);
            }
            match writer.try_write_vectored(&slices[..count]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(len) => self.advance(len),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What was sent whole since the last call.
    pub(super) fn take_sent(&mut self) -> Vec<OnSent> {
        let mut sent = Vec::new();
        while self.on_sent.front().is_some_and(|(end, _)| *end <= self.written) {
            sent.extend(self.on_sent.pop_front().map(|(_, on_sent)| on_sent));
        }
        sent
    }

    /// At the end of the connection: what will not be sent any more.
    pub(super) fn take_unsent(&mut self) -> Vec<OnSent> {
        self.chunks.clear();
        self.on_sent.drain(..).map(|(_, on_sent)| on_sent).collect()
    }

    fn advance(&mut self, mut len: usize) {
        self.written += len as u64;
        while len > 0 {
            let front = self.chunks.front_mut().expect("the kernel takes no more than it was given");
            if front.len() > len {
                front.advance(len);
                return;
            }
            len -= front.len();
            self.chunks.pop_front();
        }
    }
}
