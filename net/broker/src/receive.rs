//! From a readable socket to handled requests.

use crate::answer::ReplyTo;
use crate::connection::{Carry, Phase};
use crate::data_plane::DataPlane;
use crate::error_table::WireError;
use crate::input::{Fed, Gathered};
use crate::metrics::CloseReason;
use sluice_model::ErrorCode;
use sluice_protocol::{PREFIX_LEN, PrefixError};
use sluice_shard::{ConnectionId, Received};

/// Receives of one connection in one turn, so that one that sends without end does not hold up the others.
const RECEIVES_PER_TURN: usize = 4;
/// Most bytes of one receive into a request's own buffer.
const WINDOW_LEN_MAX: usize = 1024 * 1024;

impl DataPlane {
    pub(crate) fn on_readable(&mut self, id: ConnectionId) {
        for _ in 0..RECEIVES_PER_TURN {
            let wants_input = self.connections.get(&id).is_some_and(|connection| connection.wants_input());
            if !wants_input {
                // It is not to be reported as readable until it may go on.
                return self.mark_dirty(id);
            }
            if !self.receive(id) {
                break;
            }
        }
        if self.connections.get(&id).is_some_and(|connection| !connection.wants_input()) {
            self.mark_dirty(id);
        }
    }

    /// One receive, and everything that became whole with it. Whether there may be more.
    fn receive(&mut self, id: ConnectionId) -> bool {
        let now_us = self.now.mono_us;
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        let is_closing = matches!(connection.phase, Phase::Closing { .. });
        if let Some(window) = connection.input.window().filter(|_| !is_closing) {
            let wanted = window.len().min(WINDOW_LEN_MAX);
            let received = self.parts.sockets.recv(id, &mut window[..wanted]);
            let Some(len) = self.received_len(id, received) else { return false };
            let gathered = self.connections.get_mut(&id).and_then(|connection| connection.input.received(len, now_us));
            if let Some(gathered) = gathered {
                self.handle_gathered(id, gathered);
            }
            return len == wanted;
        }
        let mut buffer = std::mem::take(&mut self.receive_buffer);
        let received = self.parts.sockets.recv(id, &mut buffer);
        let len = self.received_len(id, received);
        if let Some(len) = len.filter(|_| !is_closing) {
            let left = self.take_in(id, &buffer[..len]);
            self.set_aside(id, &buffer[len - left..len]);
        }
        let is_full = len == Some(buffer.len());
        self.receive_buffer = buffer;
        is_full
    }

    /// `None`: nothing was received, and what follows from that is done.
    fn received_len(&mut self, id: ConnectionId, received: Received) -> Option<usize> {
        match received {
            Received::Bytes(len) => {
                self.parts.metrics.received_bytes.add(len as u64);
                self.received_len += len;
                return Some(len);
            }
            Received::WouldBlock => {
                // All that a closing connection sent is read: closing it now cannot reset its last answer.
                if let Some(connection) = self.connections.get(&id)
                    && matches!(connection.phase, Phase::Closing { .. })
                    && connection.output.is_empty()
                {
                    self.close(id, CloseReason::Refused);
                }
            }
            Received::Closed => self.on_peer_finished(id),
            Received::Failed(_) => self.close(id, CloseReason::Peer),
        }
        None
    }

    fn on_peer_finished(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if matches!(connection.phase, Phase::Closing { .. }) {
            self.close(id, CloseReason::Refused);
            return;
        }
        connection.phase = Phase::HalfClosed;
        self.mark_dirty(id);
    }

    /// Handles the whole requests at the front of `bytes`; how many bytes at the end are left because the connection
    /// has to wait.
    fn take_in(&mut self, id: ConnectionId, bytes: &[u8]) -> usize {
        let now_us = self.now.mono_us;
        let mut left = bytes;
        while !left.is_empty() {
            let Some(connection) = self.connections.get_mut(&id) else { return 0 };
            if matches!(connection.phase, Phase::Closing { .. }) {
                return 0;
            }
            if connection.must_pause() {
                return left.len();
            }
            match connection.input.feed(&mut left, &mut self.room, now_us) {
                Fed::More => {}
                Fed::Whole { prefix, rest, began_us } => self.handle(ReplyTo::new(id, prefix, began_us), prefix, rest),
                Fed::Gathered(gathered) => self.handle_gathered(id, gathered),
                Fed::NoRoom { prefix } => {
                    connection.in_flight += 1;
                    self.parts.metrics.requests_without_room.add(1);
                    self.refuse(ReplyTo::new(id, prefix, now_us), WireError::no_room());
                }
                Fed::Broken { prefix, error } => {
                    connection.in_flight += 1;
                    self.refuse_broken(id, prefix, error);
                    return 0;
                }
            }
        }
        0
    }

    fn handle_gathered(&mut self, id: ConnectionId, gathered: Gathered) {
        self.handle(ReplyTo::new(id, gathered.prefix, gathered.began_us), gathered.prefix, &gathered.rest);
        self.room.give_back(gathered.rest);
    }

    /// Keeps requests that came together with earlier ones until the connection may go on.
    fn set_aside(&mut self, id: ConnectionId, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match self.parts.budget.try_reserve(bytes.len()) {
            Some(reservation) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.carry = Some(Carry { bytes: bytes.to_vec(), position: 0, reservation });
                }
            }
            // Neither room to keep them nor a way to give them back to the socket.
            None => self.close(id, CloseReason::NoRoom),
        }
    }

    /// Goes on with what was set aside, when the connection may.
    pub(crate) fn resume(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id).filter(|connection| !connection.must_pause()) else { return };
        let Some(mut carry) = connection.carry.take() else { return };
        let left = self.take_in(id, &carry.bytes[carry.position..]);
        if left == 0 {
            return;
        }
        carry.position = carry.bytes.len() - left;
        if carry.position > carry.bytes.len() / 2 {
            carry.bytes.drain(..carry.position);
            carry.bytes.shrink_to_fit();
            carry.reservation.shrink_to(carry.bytes.len());
            carry.position = 0;
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.carry = Some(carry);
        }
    }

    /// The stream cannot be read on. A correlation id that may be one is answered under.
    fn refuse_broken(&mut self, id: ConnectionId, prefix: [u8; PREFIX_LEN], error: PrefixError) {
        let code = match error {
            PrefixError::TooShort { .. } => ErrorCode::MalformedRequest,
            PrefixError::MessageTooLong { .. } | PrefixError::BodyTooLong { .. } => ErrorCode::RequestTooLarge,
        };
        let correlation_id = u32::from_le_bytes([prefix[8], prefix[9], prefix[10], prefix[11]]);
        let to = ReplyTo { connection: id, correlation_id, version: 0, began_us: self.now.mono_us };
        self.refuse_and_close(to, WireError::new(code, error));
    }
}
