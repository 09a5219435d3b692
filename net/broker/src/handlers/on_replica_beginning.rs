//! ReplicaBeginning: a follower asks what was known where this shard's log begins. One frame may have to be read for it.

use crate::answer::ReplyTo;
use crate::data_plane::DataPlane;
use crate::error_table::WireError;
use crate::replicas::convert::id_of;
use crate::replicas::reads::ReplicaJob;
use sluice_model::{LeaderEpoch, ProducerId};
use sluice_protocol::{Malformed, ReplicaBeginningAnswer, ReplicaBeginningRequest, decode};

impl DataPlane {
    pub(crate) fn on_replica_beginning(&mut self, to: ReplyTo, body: &[u8]) -> Result<(), Malformed> {
        let request = decode::<ReplicaBeginningRequest>(body)?;
        let id = id_of(request.topic_id, request.partition);
        let leader_epoch = LeaderEpoch(request.leader_epoch);
        match self.parts.opened.get() {
            Some(opened) => {
                let after = request.after_producer_id.map(ProducerId);
                opened.replica_reads.push(ReplicaJob::Beginning { to, id, leader_epoch, after });
            }
            None => {
                let error = WireError::recovering(self.parts.shard);
                let (code, retry_after_ms) = (error.code(), error.retry_after_ms);
                let answer = ReplicaBeginningAnswer { error: code, text: error.text, retry_after_ms, ..Default::default() };
                self.answer(to, &answer);
            }
        }
        Ok(())
    }
}
