//! Bytes on their way in: large reads, cut into messages without copying them.

use super::Answer;
use bytes::BytesMut;
use sluice_protocol::{PREFIX_LEN, Prefix, PrefixError};
use std::io;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

/// Room for one read when no long message is expected, bytes.
const READ_LEN: usize = 128 * 1024;
/// With less room than this left, more is made, bytes.
const READ_LEN_MIN: usize = 16 * 1024;

#[derive(Default)]
pub(super) struct Incoming {
    buffer: BytesMut,
    /// The prefix of the message at the front of the buffer, once it is there.
    prefix: Option<Prefix>,
}

impl Incoming {
    /// One read. Keeps what it read when it is cancelled.
    pub(super) async fn read_from(&mut self, reader: &mut OwnedReadHalf) -> io::Result<usize> {
        let missing = self.prefix.map_or(0, |prefix| prefix.message_len().saturating_sub(self.buffer.len()));
        let room = self.buffer.capacity() - self.buffer.len();
        if room < missing.max(READ_LEN_MIN) {
            self.buffer.reserve(missing.max(READ_LEN));
        }
        reader.read_buf(&mut self.buffer).await
    }

    /// The next whole message, if it is there.
    pub(super) fn take_message(&mut self) -> Result<Option<Answer>, PrefixError> {
        let prefix = match self.prefix {
            Some(prefix) => prefix,
            None => {
                let Some(bytes) = self.buffer.first_chunk::<PREFIX_LEN>() else { return Ok(None) };
                *self.prefix.insert(Prefix::parse(bytes)?)
            }
        };
        if self.buffer.len() < prefix.message_len() {
            return Ok(None);
        }
        self.prefix = None;
        let mut message = self.buffer.split_to(prefix.message_len()).freeze();
        let mut body = message.split_off(PREFIX_LEN);
        let frames = body.split_off(prefix.body_len);
        Ok(Some(Answer { prefix, body, frames }))
    }
}
