//! A record to be sent.

use sluice_model::record_batch::HeaderRef;

/// Borrowed: `send` copies it straight into the batch of its partition.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProducerRecord<'a> {
    pub topic: &'a str,
    /// `None`: by key as Kafka's clients do; without a key the one whose batch is being filled.
    pub partition: Option<u32>,
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    pub headers: &'a [HeaderRef<'a>],
    /// Milliseconds since 1970, not negative; `None` is now.
    pub timestamp_ms: Option<i64>,
}

impl<'a> ProducerRecord<'a> {
    #[must_use]
    pub fn new(topic: &'a str, value: &'a [u8]) -> Self {
        Self { topic, value: Some(value), ..Self::default() }
    }

    #[must_use]
    pub fn with_key(mut self, key: &'a [u8]) -> Self {
        self.key = Some(key);
        self
    }

    #[must_use]
    pub fn with_partition(mut self, partition: u32) -> Self {
        self.partition = Some(partition);
        self
    }
}
