//! ReplicaFetch: a shard that follows says where its logs end, and waits for what comes behind.
//!
//! The session's rules say whether the request is the next one and what it changes; each partition's leader judges what
//! changed of it, in the same turn, and what is flushed counts then; the answer waits for something to say.

use crate::answer::ReplyTo;
use crate::data_plane::DataPlane;
use crate::error_table::WireError;
use crate::metrics::CloseReason;
use crate::peer::PeerBroker;
use crate::replicas::convert::fetch_request;
use crate::replicas::leading::Parked;
use crate::replicas::serve_follower::replica_of;
use sluice_model::ErrorCode;
use sluice_model::limits::{FETCH_LEN_MAX, FETCH_WAIT_MS_MAX};
use sluice_protocol::{Malformed, PREFIX_LEN, ReplicaFetchRequest, decode};
use sluice_replica::session::{FetchRequest, FollowerShard, SessionRefusal};

/// Bytes of an answer besides its entries.
const ANSWER_LEN: usize = PREFIX_LEN + 128;
/// Bytes of memory that one partition of a session takes.
const SESSION_ENTRY_LEN: usize = 256;

impl DataPlane {
    pub(crate) fn on_replica_fetch(&mut self, to: ReplyTo, peer: PeerBroker, body: &[u8]) -> Result<(), Malformed> {
        let message = decode::<ReplicaFetchRequest>(body)?;
        let Some(request) = fetch_request(&message) else {
            self.refuse(to, WireError::new(ErrorCode::InvalidArgument, "a partition is named more than once"));
            return Ok(());
        };
        let at = request.at;
        if self.parts.opened.get().is_none() {
            self.refuse_session(to, at, WireError::recovering(self.parts.shard));
            return Ok(());
        }
        let Some(reservation) = self.parts.budget.try_reserve(ANSWER_LEN + request.named.len() * SESSION_ENTRY_LEN) else {
            self.refuse_session(to, at, WireError::no_room());
            return Ok(());
        };
        let parked = Parked {
            to,
            at,
            until_us: self.now.mono_us + u64::from(message.wait_ms_max.min(FETCH_WAIT_MS_MAX)) * 1000,
            look_us: u64::MAX,
            len_max: message.len_max.min(FETCH_LEN_MAX) as usize,
            reservation,
        };
        self.take_fetch(peer, request, parked);
        Ok(())
    }

    fn take_fetch(&mut self, peer: PeerBroker, request: FetchRequest, parked: Parked) {
        let from = FollowerShard { broker: peer.broker, shard: peer.shard };
        let (to, at, forgotten) = (parked.to, request.at, request.forgotten.clone());
        if at.number > 0 && self.leading.connection_of(from) != Some(to.connection) {
            // A session goes on over the connection that it began on.
            return self.refuse_session(to, at, WireError::full_again());
        }
        let named = match self.leading.sessions.on_fetch((from, peer.incarnation), request) {
            Ok(named) => named,
            Err(SessionRefusal::FullAgain) => {
                self.forget_session(from);
                return self.refuse_session(to, at, WireError::full_again());
            }
            Err(SessionRefusal::Stale) => return self.refuse_session(to, at, WireError::stale_session()),
        };
        if at.number == 0 {
            self.begin_session(from, to);
        }
        self.forget_replicas(from, forgotten);
        let link = self.leading.link(from, to.connection, peer.incarnation);
        link.parked = Some(parked);
        let named: Vec<_> = named.into_iter().map(|(id, fetch)| replica_of(link, from, id, fetch)).collect();
        for of in named {
            if let Some(link) = self.leading.find(from) {
                link.verdicts.remove(&of.id);
            }
            self.judge(of);
        }
        self.serve_follower(from);
    }

    /// An earlier connection of the same follower shard has nothing to say any more.
    fn begin_session(&mut self, from: FollowerShard, to: ReplyTo) {
        match self.leading.connection_of(from) {
            Some(connection) if connection == to.connection => self.forget_session(from),
            Some(connection) => {
                // The session is the new connection's already: that one's end must not close it.
                self.end_link(from, connection);
                self.close(connection, CloseReason::Fenced);
            }
            None => {}
        }
    }
}
