//! From an answer to the socket.

use crate::connection::Phase;
use crate::data_plane::DataPlane;
use crate::error_table::WireError;
use crate::metrics::CloseReason;
use crate::output::SLICES_MAX;
use crate::stages::AnswerTimes;
use bytes::Bytes;
use sluice_model::ErrorCode;
use sluice_protocol::{Message, Prefix, Refusal, encode};
use sluice_shard::{ConnectionId, Reservation, Sent};
use std::io::IoSlice;

/// Sends of one connection in one turn.
const SENDS_PER_TURN: usize = 16;

/// Whom an answer is for, and since when it is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplyTo {
    pub(crate) connection: ConnectionId,
    pub(crate) correlation_id: u32,
    pub(crate) version: u16,
    /// When the first byte of the request came, microseconds by the monotonic clock.
    pub(crate) began_us: u64,
}

impl ReplyTo {
    pub(crate) fn new(connection: ConnectionId, prefix: Prefix, began_us: u64) -> Self {
        Self { connection, correlation_id: prefix.correlation_id, version: prefix.version, began_us }
    }
}

/// What goes with an answer's body: the frames that follow it, what holds their bytes in the budget, and what is still
/// to be timed.
#[derive(Debug, Default)]
pub(crate) struct AnswerFrames {
    pub(crate) frames: Vec<Bytes>,
    pub(crate) len: usize,
    pub(crate) reservation: Option<Reservation>,
    pub(crate) times: Option<AnswerTimes>,
}

impl DataPlane {
    /// Answers with a message; without room for it, with a refusal. Not for what has been done already: that reserved
    /// its answer before (`answer_reserved`).
    pub(crate) fn answer<M: Message>(&mut self, to: ReplyTo, message: &M) {
        match encode(to.correlation_id, to.version, message, 0) {
            Ok(bytes) => match self.parts.budget.try_reserve(bytes.len()) {
                Some(reservation) => {
                    self.push(to, bytes.freeze(), AnswerFrames { reservation: Some(reservation), ..AnswerFrames::default() })
                }
                None => self.refuse(to, WireError::no_room()),
            },
            Err(error) => self.refuse(to, WireError::new(ErrorCode::RequestTooLarge, error)),
        }
    }

    /// Answers with a message and frames whose bytes are reserved.
    pub(crate) fn answer_reserved<M: Message>(&mut self, to: ReplyTo, message: &M, frames: AnswerFrames) {
        match encode(to.correlation_id, to.version, message, frames.len) {
            Ok(bytes) => self.push(to, bytes.freeze(), frames),
            // Counts and texts are bounded so that an answer always fits. Were it not so, nothing true could be said
            // of what has been done; without an answer the client knows that it knows nothing.
            Err(error) => {
                tracing::error!(%error, "an answer does not fit into a message");
                self.close(to.connection, CloseReason::NoRoom);
            }
        }
    }

    /// Answers a request that cannot be answered in its own type.
    pub(crate) fn refuse(&mut self, to: ReplyTo, error: WireError) {
        self.parts.metrics.refusals.add(1);
        let refusal = Refusal { error: error.code(), text: error.text, retry_after_ms: error.retry_after_ms };
        match encode(to.correlation_id, 0, &refusal, 0) {
            Ok(bytes) => {
                let reservation = self.parts.budget.try_reserve(bytes.len());
                self.push(to, bytes.freeze(), AnswerFrames { reservation, ..AnswerFrames::default() });
            }
            Err(error) => {
                tracing::error!(%error, "a refusal does not fit into a message");
                self.close(to.connection, CloseReason::Refused);
            }
        }
    }

    pub(crate) fn refuse_and_close(&mut self, to: ReplyTo, error: WireError) {
        tracing::debug!(connection = to.connection.number(), code = ?error.code, text = error.text, "request refused");
        self.refuse(to, error);
        let now_ms = self.now_ms();
        if let Some(connection) = self.connections.get_mut(&to.connection) {
            connection.begin_closing(now_ms);
        }
    }

    /// A request that is not answered is settled.
    pub(crate) fn no_answer(&mut self, to: ReplyTo) {
        if let Some(connection) = self.connections.get_mut(&to.connection) {
            connection.in_flight = connection.in_flight.saturating_sub(1);
            self.mark_dirty(to.connection);
        }
    }

    fn push(&mut self, to: ReplyTo, head: Bytes, with: AnswerFrames) {
        let now_ms = self.now_ms();
        let Some(connection) = self.connections.get_mut(&to.connection) else { return };
        connection.in_flight = connection.in_flight.saturating_sub(1);
        connection.on_answer(now_ms);
        connection.output.push(head, with);
        self.mark_dirty(to.connection);
    }

    pub(crate) fn mark_dirty(&mut self, id: ConnectionId) {
        if self.dirty.last() != Some(&id) {
            self.dirty.push(id);
        }
    }

    /// Sends what is ready, lets go on what may, closes what is finished.
    pub(crate) fn settle_dirty(&mut self) {
        while let Some(id) = self.dirty.pop() {
            self.send(id);
            self.resume(id);
            self.settle(id);
        }
    }

    fn send(&mut self, id: ConnectionId) {
        let now_ms = self.now_ms();
        for _ in 0..SENDS_PER_TURN {
            let Some(connection) = self.connections.get_mut(&id).filter(|connection| !connection.output.is_empty()) else {
                return;
            };
            let sent = {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let count = connection.output.slices(&mut slices);
                self.parts.sockets.send(id, &slices[..count])
            };
            match sent {
                Sent::Bytes(len) => {
                    let (stages, clock) = (&self.parts.metrics.stages, &self.parts.clock);
                    let mut sent_us = None;
                    connection.output.sent(len, |times| {
                        stages.on_answered(times, *sent_us.get_or_insert_with(|| clock.mono_us()));
                    });
                    connection.on_sent(now_ms);
                    self.parts.metrics.sent_bytes.add(len as u64);
                }
                Sent::WouldBlock => return,
                Sent::Failed(_) => return self.close(id, CloseReason::Peer),
            }
        }
    }

    fn settle(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.is_done() {
            return self.close(id, CloseReason::Peer);
        }
        if matches!(connection.phase, Phase::Closing { .. }) && connection.output.is_empty() && !connection.is_shut {
            connection.is_shut = true;
            self.parts.sockets.shutdown_send(id);
        }
        if let Some((readable, writable)) = connection.changed_interest() {
            if readable {
                connection.input.touch(self.now.mono_us);
            }
            self.parts.sockets.interest(id, readable, writable);
        }
    }
}
