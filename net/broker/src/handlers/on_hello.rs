//! Hello: who speaks, and in which versions; and the end of an earlier connection of the same client.
//!
//! The expensive mistake is a batch that is appended from an old connection's buffer after its client was told on the
//! new one that it is not there. A connection handles nothing after `close`, and the old one is closed before the new
//! one's Hello is answered.

use crate::answer::ReplyTo;
use crate::connection::Phase;
use crate::data_plane::DataPlane;
use crate::error_table::WireError;
use crate::metrics::CloseReason;
use sluice_model::ErrorCode;
use sluice_model::limits::MESSAGE_LEN_MAX;
use sluice_protocol::{HelloAnswer, HelloRequest, Malformed, access, supported_versions};
use sluice_shard::ConnectionId;

const NO_SESSION: [u8; 16] = [0; 16];

impl DataPlane {
    pub(crate) fn on_hello(&mut self, to: ReplyTo, body: &[u8]) -> Result<(), Malformed> {
        let request = access::<HelloRequest>(body)?;
        tracing::debug!(connection = to.connection.number(), client_id = request.client_id.as_str(), "hello");
        if !self.enter_session(to.connection, request.session_id, request.session_attempt.to_native()) {
            let text = "a later connection of the same session is open; this one is fenced";
            self.refuse_and_close(to, WireError::new(ErrorCode::InvalidArgument, text));
            return Ok(());
        }
        if let Some(connection) = self.connections.get_mut(&to.connection).filter(|connection| connection.phase == Phase::New) {
            connection.phase = Phase::Open;
        }
        let answer = HelloAnswer {
            broker_id: self.parts.view.get().broker.0,
            incarnation_number: self.parts.incarnation.number,
            incarnation_random: self.parts.incarnation.random,
            shard: self.parts.shard.0,
            versions: supported_versions(),
            message_len_max: MESSAGE_LEN_MAX as u32,
            ..HelloAnswer::default()
        };
        self.answer(to, &answer);
        Ok(())
    }

    /// Closes the earlier connection of the session, with everything it sent that is not appended. `false`: this one is
    /// the earlier.
    fn enter_session(&mut self, id: ConnectionId, session: [u8; 16], attempt: u32) -> bool {
        if session == NO_SESSION {
            return true;
        }
        match self.sessions.get(&session) {
            Some(known) if known.connection == id => return attempt >= known.attempt,
            Some(known) if attempt <= known.attempt => return false,
            Some(known) => self.close(known.connection, CloseReason::Fenced),
            None => {}
        }
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        if let Some(left) = connection.session.replace(session) {
            self.sessions.remove(&left);
        }
        self.sessions.insert(session, Session { connection: id, attempt });
        true
    }
}

/// The open connection of a client's session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    connection: ConnectionId,
    attempt: u32,
}
