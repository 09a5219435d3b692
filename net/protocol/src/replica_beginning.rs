//! ReplicaBeginning: what a follower whose next offset is deleted on the leader needs to begin again where the leader's
//! log begins: the chain, the leader epochs and the producers as of the leader's first frame.
//!
//! Producers come in the order of their ids, as many as fit; a further request goes on behind the last one. Answers of
//! one beginning name the same leader epoch and first offset; when these change in between, what came before is thrown
//! away.

use crate::api::Api;
use crate::message::{Malformed, Message, Request, at_most};
use crate::text::TEXT_LEN_MAX;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::{BATCHES_PER_PRODUCER, EPOCHS_PER_BEGINNING_MAX, MESSAGE_BODY_LEN_MAX, PRODUCERS_PER_BEGINNING_MAX};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaBeginningRequest {
    pub topic_id: [u8; 16],
    pub partition: u32,
    /// That the follower follows.
    pub leader_epoch: u32,
    /// Only producers with greater ids; `None` for the first answer.
    pub after_producer_id: Option<i64>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaBeginningAnswer {
    pub error: u16,
    pub text: String,
    /// With `Retry::Later`: not before this many milliseconds.
    pub retry_after_ms: u32,
    pub leader_epoch: u32,
    /// Base offset of the first frame that the leader keeps.
    pub first_offset: u64,
    /// `header_crc` of the frame before it, 0 for none.
    pub prev_header_crc: u32,
    /// Leader epochs of frames below `first_offset`, the newest of them, with the offset that each began at.
    pub epochs: Vec<BeginningEpoch>,
    /// In the order of their ids.
    pub producers: Vec<BeginningProducer>,
    /// There are producers with greater ids.
    pub more: bool,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BeginningEpoch {
    pub leader_epoch: u32,
    pub start_offset: u64,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct BeginningProducer {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub last_append_ms: i64,
    /// Oldest first, one at least.
    pub batches: Vec<BeginningBatch>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BeginningBatch {
    pub base_sequence: i32,
    pub record_count: u32,
    pub base_offset: u64,
}

const PRODUCER_LEN: usize = size_of::<ArchivedBeginningProducer>() + BATCHES_PER_PRODUCER * size_of::<ArchivedBeginningBatch>();
const _: () = assert!(
    PRODUCERS_PER_BEGINNING_MAX * PRODUCER_LEN
        + EPOCHS_PER_BEGINNING_MAX * size_of::<ArchivedBeginningEpoch>()
        + TEXT_LEN_MAX
        + 256
        <= MESSAGE_BODY_LEN_MAX,
    "the fullest answer fits"
);

impl Message for ReplicaBeginningRequest {
    const API: Api = Api::ReplicaBeginning;
    const NAME: &'static str = "ReplicaBeginning request";

    fn check(_: &ArchivedReplicaBeginningRequest) -> Result<(), Malformed> {
        Ok(())
    }
}

impl Request for ReplicaBeginningRequest {
    type Answer = ReplicaBeginningAnswer;
}

impl Message for ReplicaBeginningAnswer {
    const API: Api = Api::ReplicaBeginning;
    const NAME: &'static str = "ReplicaBeginning answer";

    fn check(archived: &ArchivedReplicaBeginningAnswer) -> Result<(), Malformed> {
        at_most("bytes of text", archived.text.len(), TEXT_LEN_MAX)?;
        at_most("leader epochs", archived.epochs.len(), EPOCHS_PER_BEGINNING_MAX)?;
        at_most("producers", archived.producers.len(), PRODUCERS_PER_BEGINNING_MAX)?;
        let epochs = archived.epochs.iter().map(|epoch| (epoch.leader_epoch.to_native(), epoch.start_offset.to_native()));
        if !epochs.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1) {
            return Err(Malformed::Value { what: "order of leader epochs", got: archived.epochs.len() as u64 });
        }
        if !archived.producers.iter().is_sorted_by(|a, b| a.producer_id.to_native() < b.producer_id.to_native()) {
            return Err(Malformed::Value { what: "order of producers", got: archived.producers.len() as u64 });
        }
        archived.producers.iter().try_for_each(|producer| match producer.batches.len() {
            0 => Err(Malformed::Value { what: "number of batches of a producer", got: 0 }),
            count => at_most("batches of a producer", count, BATCHES_PER_PRODUCER),
        })
    }
}
