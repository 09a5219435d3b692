//! From received bytes to whole requests, for one connection.
//!
//! A request that lies whole in the shard's receive buffer is handed on where it lies. One that arrives in pieces gets
//! a buffer of its own, whose bytes are reserved in the shard's network budget before more of it is read; where there
//! is no room it is thrown away as it arrives. The expensive mistake is to trust a length: every one is checked by
//! `Prefix::parse` before anything is allocated for it. Deliberately absent: sockets, clocks, what a request means.

use crate::request_room::RequestRoom;
use sluice_model::limits::REQUEST_STALL_MS_MAX;
use sluice_protocol::{PREFIX_LEN, Prefix, PrefixError};
use sluice_shard::Reservation;

/// A request has this long to arrive, and the time its bytes take at the slowest accepted rate, milliseconds.
const REQUEST_MS_MAX: u64 = 30_000;
/// The slowest accepted rate, bytes a millisecond.
const REQUEST_RATE_MIN: u64 = 16;
/// A part of a request without the next one for this long is stalled.
const STALL_US_MAX: u64 = REQUEST_STALL_MS_MAX * 1000;

/// What the bytes given to [`Input::feed`] led to.
#[derive(Debug)]
pub(crate) enum Fed<'a> {
    /// All of them are taken, and no request is whole.
    More,
    /// A whole request, in place, and when its first byte came.
    Whole { prefix: Prefix, rest: &'a [u8], began_us: u64 },
    /// A whole request that arrived in pieces.
    Gathered(Gathered),
    /// There is no room for this request: it is to be refused now, and is thrown away as it arrives.
    NoRoom { prefix: Prefix },
    /// Not the beginning of a message. What follows it cannot be understood either.
    Broken { prefix: [u8; PREFIX_LEN], error: PrefixError },
}

/// A whole request that arrived in pieces; its bytes stay reserved until this is dropped.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) prefix: Prefix,
    pub(crate) rest: Vec<u8>,
    /// When its first byte came.
    pub(crate) began_us: u64,
    _reservation: Reservation,
}

/// Where a connection stands between two receives.
#[derive(Debug)]
pub(crate) struct Input {
    state: State,
    /// When the request that is arriving began, and when its last byte came, microseconds by the monotonic clock.
    began_us: u64,
    progress_us: u64,
}

#[derive(Debug)]
enum State {
    Prefix { bytes: [u8; PREFIX_LEN], filled: usize },
    Rest { prefix: Prefix, buffer: Vec<u8>, filled: usize, reservation: Reservation },
    ThrowAway { left: usize },
}

const AT_REST: State = State::Prefix { bytes: [0; PREFIX_LEN], filled: 0 };

impl Input {
    pub(crate) fn new(now_us: u64) -> Self {
        Self { state: AT_REST, began_us: now_us, progress_us: now_us }
    }

    /// Takes bytes from the front of `bytes` until a request is whole or there are none left.
    pub(crate) fn feed<'a>(&mut self, bytes: &mut &'a [u8], room: &mut RequestRoom, now_us: u64) -> Fed<'a> {
        if !bytes.is_empty() {
            self.progress_us = now_us;
        }
        loop {
            match &mut self.state {
                State::Prefix { filled, .. } => {
                    if *filled == 0 {
                        self.began_us = now_us;
                    }
                    match self.feed_prefix(bytes, room) {
                        Some(fed) => return fed,
                        None => continue,
                    }
                }
                State::Rest { buffer, filled, .. } => {
                    let taken = take(bytes, buffer.len() - *filled);
                    buffer[*filled..*filled + taken.len()].copy_from_slice(taken);
                    *filled += taken.len();
                    return self.gathered().map_or(Fed::More, Fed::Gathered);
                }
                State::ThrowAway { left } => {
                    *left -= take(bytes, *left).len();
                    if *left > 0 {
                        return Fed::More;
                    }
                    self.state = AT_REST;
                }
            }
        }
    }

    /// `None`: the state has changed, go on.
    fn feed_prefix<'a>(&mut self, bytes: &mut &'a [u8], room: &mut RequestRoom) -> Option<Fed<'a>> {
        let State::Prefix { bytes: head, filled } = &mut self.state else { return None };
        let taken = take(bytes, PREFIX_LEN - *filled);
        head[*filled..*filled + taken.len()].copy_from_slice(taken);
        *filled += taken.len();
        if *filled < PREFIX_LEN {
            return Some(Fed::More);
        }
        let prefix = match Prefix::parse(head) {
            Ok(prefix) => prefix,
            Err(error) => return Some(Fed::Broken { prefix: *head, error }),
        };
        let rest_len = prefix.rest_len();
        if bytes.len() >= rest_len {
            self.state = AT_REST;
            return Some(Fed::Whole { prefix, rest: take(bytes, rest_len), began_us: self.began_us });
        }
        match room.take(rest_len) {
            Some((buffer, reservation)) => {
                self.state = State::Rest { prefix, buffer, filled: 0, reservation };
                None
            }
            None => {
                self.state = State::ThrowAway { left: rest_len };
                Some(Fed::NoRoom { prefix })
            }
        }
    }

    /// Where to receive into, when the rest of a request is awaited; its bytes then need no copy.
    pub(crate) fn window(&mut self) -> Option<&mut [u8]> {
        match &mut self.state {
            State::Rest { buffer, filled, .. } => Some(&mut buffer[*filled..]),
            _ => None,
        }
    }

    /// `len` bytes, at most all of it, were received into [`Self::window`].
    pub(crate) fn received(&mut self, len: usize, now_us: u64) -> Option<Gathered> {
        self.progress_us = now_us;
        if let State::Rest { buffer, filled, .. } = &mut self.state {
            *filled = buffer.len().min(*filled + len);
        }
        self.gathered()
    }

    fn gathered(&mut self) -> Option<Gathered> {
        if !matches!(&self.state, State::Rest { buffer, filled, .. } if *filled == buffer.len()) {
            return None;
        }
        match std::mem::replace(&mut self.state, AT_REST) {
            State::Rest { prefix, buffer, reservation, .. } => {
                Some(Gathered { prefix, rest: buffer, began_us: self.began_us, _reservation: reservation })
            }
            _ => None,
        }
    }

    /// The connection was not read for a while; that is not the peer's fault.
    pub(crate) fn touch(&mut self, now_us: u64) {
        self.began_us = now_us;
        self.progress_us = now_us;
    }

    /// Part of a request is here and the others do not come: the connection is to be closed, which gives its
    /// reservation back.
    pub(crate) fn is_stalled(&self, now_us: u64) -> bool {
        let rest_len = match &self.state {
            State::Prefix { filled: 0, .. } => return false,
            State::Prefix { .. } => PREFIX_LEN,
            State::Rest { buffer, .. } => buffer.len(),
            State::ThrowAway { .. } => return now_us.saturating_sub(self.progress_us) > STALL_US_MAX,
        };
        now_us.saturating_sub(self.progress_us) > STALL_US_MAX
            || now_us.saturating_sub(self.began_us) > (REQUEST_MS_MAX + rest_len as u64 / REQUEST_RATE_MIN) * 1000
    }
}

/// At most `len` bytes off the front.
fn take<'a>(bytes: &mut &'a [u8], len: usize) -> &'a [u8] {
    let (taken, left) = bytes.split_at(len.min(bytes.len()));
    *bytes = left;
    taken
}

#[cfg(test)]
#[path = "input_test.rs"]
mod tests;
