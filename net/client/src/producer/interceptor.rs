//! What watches a producer from inside: for metrics and tracing.
//!
//! An interceptor sees and cannot touch: records and outcomes come as shared references, nothing it returns is used,
//! it is never called under a lock, and a panic in it is caught and logged. So no interceptor can change what is
//! sent, in which order, or what the sender is told.

use super::delivery::Delivery;
use super::record::ProducerRecord;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Kafka's `ProducerInterceptor`, for watching only. Called from whichever task sends or receives the answer, so it
/// must be quick: what it waits for, records wait for.
pub trait ProducerInterceptor: Send + Sync {
    /// A record was taken for `partition`. For the records of one task in the order it sent them.
    fn on_send(&self, record: &ProducerRecord<'_>, partition: u32) {
        let _ = (record, partition);
    }

    /// A batch has its outcome; its records learn of it next. Batches of one partition come in their order.
    fn on_outcome(&self, outcome: &BatchOutcome<'_>) {
        let _ = outcome;
    }
}

/// What became of a batch: the same for all of its records, but for their offsets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BatchOutcome<'a> {
    pub topic: &'a str,
    pub partition: u32,
    pub record_count: u32,
    /// Bytes of records before compression.
    pub len: usize,
    /// Of the first record; with an acknowledgement that has an offset, the others follow it without gaps.
    pub delivery: Delivery,
    /// From the first record's `send` to the outcome, microseconds.
    pub latency_us: u64,
    /// How often it was put on the wire.
    pub sendings: u32,
}

pub(super) type Interceptors = Arc<[Arc<dyn ProducerInterceptor>]>;

pub(super) fn notify_send(interceptors: &Interceptors, record: &ProducerRecord<'_>, partition: u32) {
    for interceptor in interceptors.iter() {
        guarded("an interceptor's on_send", || interceptor.on_send(record, partition));
    }
}

pub(super) fn notify_outcome(interceptors: &Interceptors, outcome: &BatchOutcome<'_>) {
    for interceptor in interceptors.iter() {
        guarded("an interceptor's on_outcome", || interceptor.on_outcome(outcome));
    }
}

/// Runs code of the application on a task of the producer. A panic there must not keep others from their outcomes.
pub(super) fn guarded(what: &'static str, run: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(run)).is_err() {
        tracing::error!("{what} panicked; the producer goes on");
    }
}
