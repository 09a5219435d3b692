//! What goes into a partition's queue and what comes out of it.

use super::delivery::Settlement;
use sluice_model::{ErrorCode, ProducerEpoch, ProducerId, Sequence};
use sluice_protocol::Durability;

/// Names a batch for as long as its queue lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BatchId(pub(crate) u64);

/// Who is at the other end of a connection: Hello of the next connection of this session to this broker ends what was sent on
/// those before it, and no other Hello does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    pub(crate) session_id: [u8; 16],
    pub(crate) broker_id: u32,
}

/// Names one connection of this client; its number is never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionId {
    pub(crate) number: u64,
    pub(crate) peer: Peer,
}

/// What the header of a batch says about its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerStamp {
    pub(crate) producer_id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
    pub(crate) base_sequence: Sequence,
}

/// A batch to put on the wire now.
#[derive(Debug)]
pub(crate) struct SendOrder<'a, B> {
    pub(crate) id: BatchId,
    pub(crate) stamp: ProducerStamp,
    pub(crate) batch: &'a mut B,
}

/// What the partition's shard said about one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BatchAnswer {
    pub(crate) code: ErrorCode,
    pub(crate) text: String,
    pub(crate) base_offset: u64,
    pub(crate) append_time_ms: i64,
    pub(crate) durability: Durability,
    pub(crate) retry_after_ms: u32,
    /// It came with the address of the right shard, so there is no need to wait before trying there.
    pub(crate) redirected: bool,
}

/// What an event led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum QueueEffect<B> {
    /// This batch has its outcome and has left the queue.
    Settled { batch: B, settlement: Settlement },
    /// The partition may be elsewhere, or gone.
    RefreshMetadata,
    /// Nothing is sent until [`PartitionQueue::on_producer_id`].
    NewProducerId,
    /// The partition did not go on where this producer does although nothing was given up: it forgot the producer,
    /// or lost what it had acknowledged.
    HistoryLost,
}

/// What an answer said of a batch that is to be sent again.
#[derive(Debug)]
pub(crate) struct LastError {
    pub(super) code: ErrorCode,
    pub(super) text: String,
    pub(super) retry_after_ms: u32,
}

impl From<BatchAnswer> for LastError {
    fn from(answer: BatchAnswer) -> Self {
        Self { code: answer.code, text: answer.text, retry_after_ms: answer.retry_after_ms }
    }
}

pub(super) fn timeout_text(last_error: Option<&LastError>) -> String {
    match last_error {
        Some(LastError { code, text, .. }) => {
            format!("not delivered within delivery_timeout_ms; the last answer was {code:?}: {text}")
        }
        None => "not delivered within delivery_timeout_ms; no answer ever came, is the broker reachable?".into(),
    }
}
