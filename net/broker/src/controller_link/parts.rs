//! Messages on a stream: one prefix and body after the other, and what comes in several parts put together.
//!
//! Every length is checked before anything is allocated for it. Before a peer is known it may send little; after that, a
//! part at a time, and no more in all than the longest message of controllers.

use sluice_model::limits::{CONTROLLER_MESSAGE_LEN_MAX, CONTROLLER_PART_LEN_MAX, MESSAGE_BODY_LEN_MAX};
use sluice_protocol::{Message, PREFIX_LEN, Prefix, decode, encode};
use std::collections::HashMap;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest message of somebody who has proved nothing, bytes.
pub(super) const STRANGER_LEN_MAX: usize = 64 * 1024;
/// Longest of a broker: one part and its body.
pub(super) const BROKER_LEN_MAX: usize = CONTROLLER_PART_LEN_MAX + MESSAGE_BODY_LEN_MAX;

/// One message as it came.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) prefix: Prefix,
    pub(super) body: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

impl Incoming {
    pub(super) fn decode<M: Message>(&self) -> io::Result<M> {
        decode::<M>(&self.body).map_err(|malformed| invalid(malformed.to_string()))
    }
}

pub(super) fn invalid(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

/// The next message, of at most `len_max` bytes behind its prefix.
pub(super) async fn read_message(stream: &mut (impl AsyncRead + Unpin), len_max: usize) -> io::Result<Incoming> {
    let mut head = [0; PREFIX_LEN];
    stream.read_exact(&mut head).await?;
    let prefix = Prefix::parse(&head).map_err(|error| invalid(error.to_string()))?;
    if prefix.rest_len() > len_max {
        return Err(invalid(format!("a message of {} bytes, at most {len_max} are allowed here", prefix.rest_len())));
    }
    let mut body = vec![0; prefix.rest_len()];
    stream.read_exact(&mut body).await?;
    let payload = body.split_off(prefix.body_len);
    Ok(Incoming { prefix, body, payload })
}

/// Prefix and body, and the bytes behind them.
pub(super) fn written<M: Message>(correlation_id: u32, message: &M, payload: &[u8]) -> io::Result<Vec<u8>> {
    let head = encode(correlation_id, 0, message, payload.len()).map_err(|error| invalid(error.to_string()))?;
    let mut bytes = Vec::with_capacity(head.len() + payload.len());
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(payload);
    Ok(bytes)
}

/// The parts of a message, each with whether another one follows; one empty part for an empty message.
pub(super) fn parts(message: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    let count = message.len().div_ceil(CONTROLLER_PART_LEN_MAX).max(1);
    (1..=count).map(move |number| {
        let begin = (number - 1) * CONTROLLER_PART_LEN_MAX;
        (&message[begin..message.len().min(begin + CONTROLLER_PART_LEN_MAX)], number < count)
    })
}

/// Messages of which not all parts are here, by correlation id.
#[derive(Default)]
pub(super) struct Unfinished {
    messages: HashMap<u32, Vec<u8>>,
    len: usize,
}

impl Unfinished {
    /// One more part; the message when it is the last one.
    pub(super) fn on_part(&mut self, correlation_id: u32, part: Vec<u8>, more: bool) -> io::Result<Option<Vec<u8>>> {
        if !more && !self.messages.contains_key(&correlation_id) {
            return Ok(Some(part));
        }
        if part.is_empty() || self.len + part.len() > CONTROLLER_MESSAGE_LEN_MAX {
            return Err(invalid(format!("messages of more than {CONTROLLER_MESSAGE_LEN_MAX} bytes, or of empty parts")));
        }
        self.len += part.len();
        let message = self.messages.entry(correlation_id).or_default();
        message.extend_from_slice(&part);
        if more {
            return Ok(None);
        }
        let whole = self.messages.remove(&correlation_id).unwrap_or_default();
        self.len -= whole.len();
        Ok(Some(whole))
    }
}
