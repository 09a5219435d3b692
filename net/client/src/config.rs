//! Every setting of the client, with its unit, default and bounds. `validate` names the setting that is out of
//! bounds and what it may be.

use crate::error::ClientError;
use sluice_model::limits::{
    CLIENT_ID_LEN_MAX, DELIVERY_TIMEOUT_MS_MAX, FETCH_LEN_MAX, FETCH_WAIT_MS_MAX, FRAME_BODY_LEN_MAX, MESSAGE_BODY_LEN_MAX,
    MESSAGE_LEN_MAX,
};
use sluice_model::record_batch::Compression;
use sluice_protocol::Acks;
use std::ops::RangeInclusive;

/// What producers, consumers and administration share.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// What the broker calls this client in its logs; at most `CLIENT_ID_LEN_MAX` bytes.
    pub client_id: String,
    /// For a connection to stand and its Hello to be answered, milliseconds: 10 to 120,000.
    pub connect_timeout_ms: u32,
    /// For one answer, milliseconds: 100 to 600,000. A connection that leaves a request unanswered this long is
    /// closed and opened again. (A fetch gets its own waiting time on top.)
    pub request_timeout_ms: u32,
    /// Shortest wait before a retry, milliseconds: 1 to 60,000. It doubles from try to try, with jitter.
    pub retry_backoff_ms: u32,
    /// Longest wait before a retry, milliseconds: `retry_backoff_ms` to 600,000.
    pub retry_backoff_ms_max: u32,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            client_id: "sluice-client".into(),
            connect_timeout_ms: 5_000,
            request_timeout_ms: 30_000,
            retry_backoff_ms: 20,
            retry_backoff_ms_max: 1_000,
        }
    }
}

impl ClientConfig {
    pub fn validate(&self) -> Result<(), ClientError> {
        within("client_id length", self.client_id.len() as u64, 0..=CLIENT_ID_LEN_MAX as u64)?;
        within("connect_timeout_ms", self.connect_timeout_ms.into(), 10..=120_000)?;
        within("request_timeout_ms", self.request_timeout_ms.into(), 100..=600_000)?;
        within("retry_backoff_ms", self.retry_backoff_ms.into(), 1..=60_000)?;
        within("retry_backoff_ms_max", self.retry_backoff_ms_max.into(), self.retry_backoff_ms.into()..=600_000)
    }
}

/// What [`crate::Producer::send`] does when the memory for records without outcome is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// Waits for room, behind those who wait already; after `timeout_ms` (1 to `DELIVERY_TIMEOUT_MS_MAX`) the record is
    /// not taken. Memory comes free at the latest when the delivery timeout of the records in it is over.
    Block { timeout_ms: u64 },
    /// Does not take the record.
    Fail,
}

impl Default for OnFull {
    /// As long as records may take by default: whoever waits gets room while the broker takes anything at all.
    fn default() -> Self {
        Self::Block { timeout_ms: 120_000 }
    }
}

/// How a producer sends. Idempotence is not a setting: it is always on (but for `acks` none, where nothing is known).
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// What has to be true before a record is acknowledged.
    pub acks: Acks,
    pub compression: Compression,
    /// A batch is sent when it has this many bytes of records before compression: 1 to `FRAME_BODY_LEN_MAX`. A
    /// larger record goes alone, as long as the topic takes it.
    pub batch_len_max: usize,
    /// How long a batch may wait for more records, milliseconds: 0 to 60,000. With 0 it goes out at once while fewer
    /// than two batches of its partition are on the wire, and when it is full or an answer came otherwise.
    pub linger_ms: u32,
    /// Memory for records without outcome, bytes: `batch_len_max` to 64 GiB.
    pub buffer_len_max: usize,
    /// What `send` does while that memory is full.
    pub on_full: OnFull,
    /// From `send` to the outcome, milliseconds: 100 to `DELIVERY_TIMEOUT_MS_MAX`.
    pub delivery_timeout_ms: u64,
    /// Frames of several partitions go out together up to this many bytes: 1 to `MESSAGE_LEN_MAX` less a body. A
    /// single larger frame goes alone.
    pub request_len_max: usize,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            compression: Compression::None,
            batch_len_max: 512 * 1024,
            linger_ms: 0,
            buffer_len_max: 64 * 1024 * 1024,
            on_full: OnFull::default(),
            delivery_timeout_ms: 120_000,
            request_len_max: 1024 * 1024,
        }
    }
}

impl ProducerConfig {
    pub fn validate(&self) -> Result<(), ClientError> {
        within("batch_len_max", self.batch_len_max as u64, 1..=FRAME_BODY_LEN_MAX as u64)?;
        within("linger_ms", self.linger_ms.into(), 0..=60_000)?;
        within("buffer_len_max", self.buffer_len_max as u64, self.batch_len_max as u64..=64 << 30)?;
        if let OnFull::Block { timeout_ms } = self.on_full {
            within("on_full timeout_ms", timeout_ms, 1..=DELIVERY_TIMEOUT_MS_MAX)?;
        }
        within("delivery_timeout_ms", self.delivery_timeout_ms, 100..=DELIVERY_TIMEOUT_MS_MAX)?;
        within("request_len_max", self.request_len_max as u64, 1..=(MESSAGE_LEN_MAX - MESSAGE_BODY_LEN_MAX - 16) as u64)?;
        if self.delivery_timeout_ms <= u64::from(self.linger_ms) {
            return Err(ClientError::InvalidSetting {
                setting: "delivery_timeout_ms",
                text: format!("{} is not greater than linger_ms, which is {}", self.delivery_timeout_ms, self.linger_ms),
            });
        }
        Ok(())
    }
}

/// What a consumer does when the offset it asks for is not in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ResetPolicy {
    /// `poll` gives an error with the valid range; `seek` goes on.
    #[default]
    Error,
    /// Go on at the log start.
    Earliest,
    /// Go on at the high watermark.
    Latest,
}

/// How a consumer fetches.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// How long a fetch may wait for records at the broker, milliseconds: 0 to `FETCH_WAIT_MS_MAX`.
    pub fetch_wait_ms_max: u32,
    /// Bytes the broker waits for before it answers a fetch: 0 to 8 MiB.
    pub fetch_len_min: u32,
    /// Most bytes of one fetch answer: 64 KiB to `FETCH_LEN_MAX`.
    pub fetch_len_max: u32,
    /// Most bytes per partition in one answer: 4 KiB to `fetch_len_max`. A larger frame is fetched alone.
    pub partition_len_max: u32,
    /// Most bytes fetched and not yet polled, over all partitions: `fetch_len_max` to 64 GiB. How much of it is used
    /// follows the application: it begins with `fetch_len_max`, grows while that finds nothing ready although there is
    /// more to fetch, and shrinks, at least to `partition_len_max`, while batches wait for a second or longer.
    pub prefetch_len_max: usize,
    /// Largest records section after decompression, bytes: 1 KiB to 1 GiB. A larger one is an error that names its
    /// offsets.
    pub decompressed_len_max: usize,
    pub reset: ResetPolicy,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            fetch_wait_ms_max: 500,
            fetch_len_min: 1,
            fetch_len_max: 4 * 1024 * 1024,
            partition_len_max: 1024 * 1024,
            prefetch_len_max: 32 * 1024 * 1024,
            decompressed_len_max: crate::compression::DECOMPRESSED_LEN_MAX_DEFAULT,
            reset: ResetPolicy::Error,
        }
    }
}

impl ConsumerConfig {
    pub fn validate(&self) -> Result<(), ClientError> {
        within("fetch_wait_ms_max", self.fetch_wait_ms_max.into(), 0..=FETCH_WAIT_MS_MAX.into())?;
        within("fetch_len_min", self.fetch_len_min.into(), 0..=8 << 20)?;
        within("fetch_len_max", self.fetch_len_max.into(), 64 << 10..=FETCH_LEN_MAX.into())?;
        within("partition_len_max", self.partition_len_max.into(), 4096..=self.fetch_len_max.into())?;
        within("prefetch_len_max", self.prefetch_len_max as u64, self.fetch_len_max.into()..=64 << 30)?;
        within("decompressed_len_max", self.decompressed_len_max as u64, 1024..=1 << 30)
    }
}

fn within(setting: &'static str, value: u64, bounds: RangeInclusive<u64>) -> Result<(), ClientError> {
    if bounds.contains(&value) {
        return Ok(());
    }
    let text = format!("{value} is out of bounds, it may be {} to {}", bounds.start(), bounds.end());
    Err(ClientError::InvalidSetting { setting, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_bounds() {
        ClientConfig::default().validate().unwrap();
        ProducerConfig::default().validate().unwrap();
        ConsumerConfig::default().validate().unwrap();
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let config = ProducerConfig { linger_ms: 70_000, ..Default::default() };
        assert_eq!(config.validate().unwrap_err().to_string(), "setting linger_ms: 70000 is out of bounds, it may be 0 to 60000");
        let config = ProducerConfig { linger_ms: 200, delivery_timeout_ms: 100, ..Default::default() };
        assert!(config.validate().unwrap_err().to_string().contains("not greater than linger_ms"));
        let config = ProducerConfig { on_full: OnFull::Block { timeout_ms: 0 }, ..Default::default() };
        assert!(config.validate().unwrap_err().to_string().contains("on_full"));
        assert!(ProducerConfig { batch_len_max: 0, ..Default::default() }.validate().is_err());
        assert!(ConsumerConfig { prefetch_len_max: 0, ..Default::default() }.validate().is_err());
        assert!(ClientConfig { client_id: "x".repeat(300), ..Default::default() }.validate().is_err());
    }
}
