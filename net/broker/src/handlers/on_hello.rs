//! Hello: who speaks, and in which versions.

use crate::answer::ReplyTo;
use crate::connection::Phase;
use crate::data_plane::DataPlane;
use sluice_model::limits::MESSAGE_LEN_MAX;
use sluice_protocol::{HelloAnswer, HelloRequest, Malformed, access, supported_versions};

impl DataPlane {
    pub(crate) fn on_hello(&mut self, to: ReplyTo, body: &[u8]) -> Result<(), Malformed> {
        let request = access::<HelloRequest>(body)?;
        tracing::debug!(connection = to.connection.number(), client_id = request.client_id.as_str(), "hello");
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
}
