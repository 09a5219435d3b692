//! Bytes that have arrived on a connection and are not yet used.

use std::io::{self, ErrorKind, Read};

use sluice_protocol::{PREFIX_LEN, Prefix};

use crate::error::BenchError;

/// A buffer that grows to the longest message and no further.
#[derive(Debug)]
pub(crate) struct Received {
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
}

impl Received {
    /// With room for `len` bytes at first.
    pub(crate) fn new(len: usize) -> Self {
        Self { buffer: vec![0; len.max(PREFIX_LEN)], begin: 0, end: 0 }
    }

    /// The prefix of the message at the front, once all of that message is there.
    pub(crate) fn whole_message(&mut self) -> Result<Option<Prefix>, BenchError> {
        let Some(head) = self.buffer[self.begin..self.end].first_chunk::<PREFIX_LEN>() else {
            self.make_room(PREFIX_LEN);
            return Ok(None);
        };
        let prefix = Prefix::parse(head).map_err(BenchError::protocol)?;
        if self.end - self.begin < prefix.message_len() {
            self.make_room(prefix.message_len());
            return Ok(None);
        }
        Ok(Some(prefix))
    }

    pub(crate) fn body(&self, prefix: &Prefix) -> &[u8] {
        &self.buffer[self.begin + PREFIX_LEN..][..prefix.body_len]
    }

    /// What follows the body.
    pub(crate) fn frames(&self, prefix: &Prefix) -> &[u8] {
        &self.buffer[self.begin + PREFIX_LEN + prefix.body_len..][..prefix.frames_len]
    }

    pub(crate) fn consume(&mut self, prefix: &Prefix) {
        self.begin += prefix.message_len();
        assert!(self.begin <= self.end, "consumed {} of {} bytes", self.begin, self.end);
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        }
    }

    /// Room for `len` bytes from the front of what is unused, by moving it to the front of the buffer or growing that.
    fn make_room(&mut self, len: usize) {
        if self.begin + len <= self.buffer.len() {
            return;
        }
        self.buffer.copy_within(self.begin..self.end, 0);
        (self.begin, self.end) = (0, self.end - self.begin);
        if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
    }

    /// One read; how many bytes came. A connection that was closed is an error, and so is `WouldBlock`, which means what the
    /// caller's stream makes it mean.
    pub(crate) fn fill_from(&mut self, stream: &mut impl Read) -> io::Result<usize> {
        loop {
            match stream.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the broker closed the connection")),
                Ok(len) => {
                    self.end += len;
                    return Ok(len);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
