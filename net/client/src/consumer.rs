//! The consumer: partitions are assigned to it, it fetches ahead, `poll` hands out one batch at a time, streams hand out
//! batches or records.
//!
//! Every batch is verified: its frame's checksums, its body against its header, and that no offset is left out. What
//! cannot be verified stops its partition with an error that says how to go on; it is never handed out and never
//! stepped over without being told to.

mod control;
mod cursor;
mod error;
mod fetcher;
mod offsets;
mod owned_record;
mod prefetch;
mod record_batch;
mod state;
mod stream;
mod taking;

pub use error::{ConsumeCause, ConsumeError};
pub use offsets::OffsetAndTimestamp;
pub use owned_record::{OwnedHeader, OwnedRecord, OwnedRecords};
pub use record_batch::{ConsumerRecord, RecordBatch, access};
pub use stream::{BatchStream, RecordStream};

use crate::backoff::{Backoff, random_u64};
use crate::client::Client;
use crate::config::ConsumerConfig;
use crate::connection::lock;
use crate::error::ClientError;
use crate::leader::Leader;
use cursor::Cursor;
use fetcher::ConsumerShared;
use sluice_model::ErrorCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Where to begin in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// The log start.
    Beginning,
    /// The high watermark: only what comes from now on.
    End,
    Offset(u64),
    /// The first record whose timestamp is this or later, milliseconds since 1970; what comes after it is handed out
    /// whatever its timestamp. Where there is none yet, as [`Self::End`]. Until the record is found, a position may be that
    /// of an earlier record of its batch.
    Timestamp(i64),
}

/// A partition to consume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub topic: String,
    pub partition: u32,
    pub start: StartAt,
}

pub struct Consumer {
    shared: Arc<ConsumerShared>,
    generations: AtomicU64,
}

impl Drop for Consumer {
    fn drop(&mut self) {
        lock(&self.shared.state).closed = true;
        self.shared.wake.notify_one();
    }
}

impl Consumer {
    /// A consumer of nothing yet, on the current tokio runtime.
    pub fn new(client: Client, config: ConsumerConfig) -> Result<Self, ClientError> {
        config.validate()?;
        let shared = Arc::new(ConsumerShared::new(client, config));
        tokio::spawn(fetcher::run(shared.clone()));
        Ok(Self { shared, generations: AtomicU64::new(1) })
    }

    /// Consumes these partitions and no others. Fails, and changes nothing, when one does not exist or its start
    /// cannot be found out.
    pub async fn assign(&self, assignments: &[Assignment]) -> Result<(), ClientError> {
        let mut cursors: Vec<Cursor> = Vec::with_capacity(assignments.len());
        for assignment in assignments {
            let topic = self.shared.client.topic(&assignment.topic).await?;
            let partition = topic.partitions.get(assignment.partition as usize).ok_or_else(|| ClientError::Broker {
                code: ErrorCode::UnknownPartition,
                text: format!(
                    "topic {} has {} partitions, numbered from 0; there is no {}",
                    topic.name,
                    topic.partitions.len(),
                    assignment.partition
                ),
            })?;
            let config = self.shared.client.config();
            cursors.push(Cursor {
                topic: topic.name.clone(),
                partition: assignment.partition,
                topic_id: topic.topic_id,
                leader: Leader::new(partition),
                asked: None,
                fetch_offset: 0,
                position: 0,
                from_ms: None,
                generation: self.generations.fetch_add(1 << 32, Ordering::Relaxed),
                stopped: false,
                paused: false,
                needed_len: None,
                high_watermark: None,
                out_of_range_ms: None,
                range_wait_ms: config.request_timeout_ms.into(),
                log_start_offset: 0,
                not_before_ms: 0,
                served: 0,
                backoff: Backoff::new(config.retry_backoff_ms, config.retry_backoff_ms_max, random_u64()),
            });
        }
        let starts = assignments.iter().map(|a| (a.topic.as_str(), a.partition, a.start)).collect::<Vec<_>>();
        let places = self.resolve(&starts).await?;
        cursors.iter_mut().zip(places).for_each(|(cursor, place)| cursor.begin_at(place));
        lock(&self.shared.state).replace(cursors);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// The next batch; waits for one at most this long. A partition that cannot be read on gives its error once and
    /// then stands still until [`Self::seek`] or [`Self::skip_past`]; the others go on.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Option<RecordBatch>, ConsumeError> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(polled) = self.try_poll().transpose() {
                return polled.map(Some);
            }
            if tokio::time::timeout_at(deadline, self.shared.arrived.notified()).await.is_err() {
                return self.try_poll();
            }
        }
    }

    /// The next batch, if one is there.
    pub fn try_poll(&mut self) -> Result<Option<RecordBatch>, ConsumeError> {
        self.shared.take_whole()
    }
}
