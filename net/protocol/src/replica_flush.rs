//! ReplicaFlush: a follower has flushed while its fetch is parked, and says so at once.
//!
//! It is a request of the same numbered session as the fetches (`sluice_replica::session`), names flushed offsets and
//! nothing else, and does not end the parked fetch.

use crate::api::Api;
use crate::message::{Malformed, Message, Request, at_most};
use crate::text::TEXT_LEN_MAX;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::{REPLICA_ENTRY_LEN_MAX, REPLICAS_PER_FETCH_MAX};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaFlushRequest {
    pub session: u64,
    pub number: u64,
    pub flushed: Vec<ReplicaFlushed>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaFlushed {
    pub topic_id: [u8; 16],
    pub partition: u32,
    /// Everything below this is on its disk, device cache included.
    pub flushed: u64,
}

/// The error is the session's. What a leader thinks of one partition's offset, the next fetch is told.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaFlushAnswer {
    pub error: u16,
    pub text: String,
    /// Of the request that this answers.
    pub session: u64,
    pub number: u64,
}

const _: () = assert!(size_of::<ArchivedReplicaFlushed>() <= REPLICA_ENTRY_LEN_MAX);

impl Message for ReplicaFlushRequest {
    const API: Api = Api::ReplicaFlush;
    const NAME: &'static str = "ReplicaFlush request";

    fn check(archived: &ArchivedReplicaFlushRequest) -> Result<(), Malformed> {
        at_most("partitions", archived.flushed.len(), REPLICAS_PER_FETCH_MAX)
    }
}

impl Request for ReplicaFlushRequest {
    type Answer = ReplicaFlushAnswer;
}

impl Message for ReplicaFlushAnswer {
    const API: Api = Api::ReplicaFlush;
    const NAME: &'static str = "ReplicaFlush answer";

    fn check(archived: &ArchivedReplicaFlushAnswer) -> Result<(), Malformed> {
        at_most("bytes of text", archived.text.len(), TEXT_LEN_MAX)
    }
}
