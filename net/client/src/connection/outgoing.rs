//! Bytes on their way out: gathered into as few writes as the socket allows.

use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::Instant;

/// Slices of one gathered write; the kernel takes 1024 at most.
const SLICES_PER_WRITE_MAX: usize = 64;

/// Called with true when the last byte of a message left, with false when it will not.
pub(super) type OnSent = Box<dyn FnOnce(bool) + Send>;

/// A message that gets no answer.
struct Unsent {
    end: u64,
    /// By when it has to have left.
    deadline: Instant,
    on_sent: OnSent,
}

#[derive(Default)]
pub(super) struct Outgoing {
    chunks: VecDeque<Bytes>,
    /// Bytes the kernel has taken so far.
    written: u64,
    /// Bytes pushed so far.
    pushed: u64,
    unsent: VecDeque<Unsent>,
}

impl Outgoing {
    pub(super) fn push(&mut self, head: Bytes, frames: Vec<Bytes>, unanswered: Option<(Instant, OnSent)>) {
        for chunk in std::iter::once(head).chain(frames).filter(|c| !c.is_empty()) {
            self.pushed += chunk.len() as u64;
            self.chunks.push_back(chunk);
        }
        let end = self.pushed;
        self.unsent.extend(unanswered.map(|(deadline, on_sent)| Unsent { end, deadline, on_sent }));
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
        while self.unsent.front().is_some_and(|unsent| unsent.end <= self.written) {
            sent.extend(self.unsent.pop_front().map(|unsent| unsent.on_sent));
        }
        sent
    }

    /// By when the first message without an answer has to have left; what was sent first is due first.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.unsent.front().map(|unsent| unsent.deadline)
    }

    /// At the end of the connection: what will not be sent any more.
    pub(super) fn take_unsent(&mut self) -> Vec<OnSent> {
        self.chunks.clear();
        self.unsent.drain(..).map(|unsent| unsent.on_sent).collect()
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
