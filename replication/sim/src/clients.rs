//! Producers and consumers as they behave when answers stay out: they send again, give up, and begin anew.

use crate::oracle::batches::{BatchId, Producer};
use sluice_model::{ProducerEpoch, ProducerId, Sequence, TopicPartition};
use std::collections::BTreeMap;

/// One producer's stream to one partition.
#[derive(Clone, Debug)]
pub struct Stream {
    pub epoch: i16,
    pub next_sequence: i32,
    /// Sent, perhaps appended, not answered; oldest first.
    pub unresolved: Vec<BatchId>,
    /// The connection they were sent over is gone.
    pub must_retry: bool,
}

/// Producer 0 is not idempotent.
pub type StreamKey = (u64, TopicPartition);

#[derive(Default)]
pub struct Clients {
    pub streams: BTreeMap<StreamKey, Stream>,
    /// Where each consumer stands.
    pub cursors: BTreeMap<(u64, TopicPartition), u64>,
}

impl Clients {
    pub fn stream(&mut self, key: StreamKey) -> &mut Stream {
        self.streams.entry(key).or_insert(Stream { epoch: 0, next_sequence: 0, unresolved: Vec::new(), must_retry: false })
    }

    /// Whose batch comes next in this stream.
    pub fn producer(&mut self, key: StreamKey) -> Producer {
        if key.0 == 0 {
            return Producer::NONE;
        }
        let stream = self.stream(key);
        Producer {
            id: ProducerId(i64::try_from(key.0).expect("few producers")),
            epoch: ProducerEpoch(stream.epoch),
            sequence: Sequence(stream.next_sequence),
        }
    }

    pub fn on_admitted(&mut self, key: StreamKey, batch: BatchId, record_count: u32, is_answered: bool) {
        let stream = self.stream(key);
        stream.next_sequence += i32::try_from(record_count).expect("small");
        if is_answered {
            stream.unresolved.push(batch);
        }
    }

    pub fn on_resolved(&mut self, key: StreamKey, batch: BatchId) {
        let stream = self.stream(key);
        stream.unresolved.retain(|other| *other != batch);
        stream.must_retry &= !stream.unresolved.is_empty();
    }

    /// Nobody can say what became of a batch: it has to be sent again.
    pub fn on_unknown(&mut self, key: StreamKey) {
        let stream = self.stream(key);
        stream.must_retry = !stream.unresolved.is_empty();
    }

    /// The producer gives up what is unresolved and begins a new epoch.
    pub fn begin_anew(&mut self, key: StreamKey) {
        let stream = self.stream(key);
        stream.epoch += 1;
        stream.next_sequence = 0;
        stream.unresolved.clear();
        stream.must_retry = false;
    }

    /// All connections are gone.
    pub fn on_process_ended(&mut self) {
        self.streams.values_mut().for_each(|stream| stream.must_retry = !stream.unresolved.is_empty());
    }

    pub fn forget(&mut self, id: TopicPartition) {
        self.streams.retain(|key, _| key.1 != id);
        self.cursors.retain(|key, _| key.1 != id);
    }
}
