//! ReplicaFlush: a follower has flushed while its fetch is parked; what it says counts at once, and the fetch stays parked.

use crate::answer::ReplyTo;
use crate::data_plane::DataPlane;
use crate::error_table::WireError;
use crate::peer::PeerBroker;
use crate::replicas::convert::flush_request;
use sluice_model::ErrorCode;
use sluice_protocol::{Malformed, ReplicaFlushAnswer, ReplicaFlushRequest, decode};
use sluice_replica::session::{FlushRequest, FollowerShard, RequestNumber, SessionRefusal};

impl DataPlane {
    pub(crate) fn on_replica_flush(&mut self, to: ReplyTo, peer: PeerBroker, body: &[u8]) -> Result<(), Malformed> {
        let message = decode::<ReplicaFlushRequest>(body)?;
        let Some(request) = flush_request(&message) else {
            self.refuse(to, WireError::new(ErrorCode::InvalidArgument, "a partition is named more than once"));
            return Ok(());
        };
        let result = self.take_flush(peer, &request);
        let RequestNumber { session, number } = request.at;
        let (error, text) = result.err().map_or((0, String::new()), |error| (error.code(), error.text));
        self.answer(to, &ReplicaFlushAnswer { error, text, session, number });
        Ok(())
    }

    fn take_flush(&mut self, peer: PeerBroker, request: &FlushRequest) -> Result<(), WireError> {
        let from = FollowerShard { broker: peer.broker, shard: peer.shard };
        let Some(opened) = self.parts.opened.get() else { return Err(WireError::recovering(self.parts.shard)) };
        match self.leading.sessions.on_flush((from, peer.incarnation), request) {
            Ok(changed) => {
                for (id, fetch) in changed {
                    let taken = opened.partitions.follower_flush(self.now, (peer.broker, peer.incarnation), id, &fetch);
                    if let Err(refusal) = taken {
                        // Its next fetch names the same, and is told.
                        tracing::debug!(follower = peer.broker.0, partition = %id, %refusal, "a follower's flush counts for nothing");
                    }
                }
                Ok(())
            }
            Err(SessionRefusal::FullAgain) => {
                self.forget_session(from);
                Err(WireError::full_again())
            }
            Err(SessionRefusal::Stale) => Err(WireError::stale_session()),
        }
    }
}
