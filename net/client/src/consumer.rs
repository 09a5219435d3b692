//! The consumer: partitions are assigned to it, it fetches ahead, `poll` hands out one batch at a time.
//!
//! Every batch is verified: its frame's checksums, its body against its header, and that no offset is left out. What
//! cannot be verified stops its partition with an error that says how to go on; it is never handed out and never
//! stepped over without being told to.

mod cursor;
mod error;
mod fetcher;
mod record_batch;

pub use error::{ConsumeCause, ConsumeError};
pub use record_batch::{ConsumerRecord, RecordBatch, access};

use crate::admin::Admin;
use crate::backoff::{Backoff, random_u64};
use crate::client::Client;
use crate::config::ConsumerConfig;
use crate::connection::lock;
use crate::error::ClientError;
use cursor::{Arrival, Cursor};
use fetcher::{ConsumerShared, Ready};
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
    /// The first batch with a record at or after this time, milliseconds since 1970. Records of that batch before the
    /// time are handed out too.
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
                address: partition.address.clone(),
                fetch_offset: 0,
                position: 0,
                generation: self.generations.fetch_add(1 << 32, Ordering::Relaxed),
                in_flight: false,
                stopped: false,
                needed_len: None,
                high_watermark: None,
                log_start_offset: 0,
                not_before_ms: 0,
                served: 0,
                backoff: Backoff::new(config.retry_backoff_ms, config.retry_backoff_ms_max, random_u64()),
            });
        }
        let starts = assignments.iter().map(|a| (a.topic.as_str(), a.partition, a.start)).collect::<Vec<_>>();
        let offsets = self.resolve(&starts).await?;
        cursors.iter_mut().zip(offsets).for_each(|(cursor, offset)| cursor.seek(offset));
        lock(&self.shared.state).replace(cursors);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Goes on in an assigned partition at another place; also after an error there.
    pub async fn seek(&self, topic: &str, partition: u32, start: StartAt) -> Result<(), ClientError> {
        let offset = self.resolve(&[(topic, partition, start)]).await?[0];
        let info = self.shared.client.topic(topic).await?;
        self.with_cursor(topic, partition, |cursor| {
            cursor.topic_id = info.topic_id;
            cursor.address = info.partitions.get(partition as usize).and_then(|p| p.address.clone());
            cursor.seek(offset);
        })?;
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Goes on after `offset`: steps over what an error named.
    pub fn skip_past(&self, topic: &str, partition: u32, offset: u64) -> Result<(), ClientError> {
        self.with_cursor(topic, partition, |cursor| cursor.seek(offset.saturating_add(1)))?;
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
        loop {
            let (ready, topic) = {
                let mut state = lock(&self.shared.state);
                let Some(ready) = state.take_ready() else { return Ok(None) };
                let topic = state.cursors[ready.cursor].topic.clone();
                (ready, topic)
            };
            self.shared.wake.notify_one();
            let Ready { cursor, generation, arrival, .. } = ready;
            let (bytes, first_offset) = match arrival {
                Arrival::Stopped(error) => return Err(error),
                Arrival::Skipped { until } => {
                    let mut state = lock(&self.shared.state);
                    if let Some(cursor) = state.cursors.get_mut(cursor).filter(|c| c.generation == generation) {
                        cursor.position = cursor.position.max(until);
                    }
                    continue;
                }
                Arrival::Frame { bytes, first_offset } => (bytes, first_offset),
            };
            let read = RecordBatch::read(topic, &bytes, first_offset, self.shared.config.decompressed_len_max);
            let mut state = lock(&self.shared.state);
            let Some(cursor) = state.cursors.get_mut(cursor).filter(|c| c.generation == generation) else { continue };
            match read {
                Ok(batch) => {
                    cursor.position = batch.next_offset();
                    if !batch.is_control() {
                        return Ok(Some(batch));
                    }
                }
                Err(cause) => {
                    let error = cursor.stop(cause);
                    // What was fetched behind it is not handed out before somebody decides.
                    cursor.generation += 1;
                    cursor.in_flight = false;
                    return Err(error);
                }
            }
        }
    }

    /// The offset of the next record that `poll` gives out; `None` for a partition that is not assigned.
    #[must_use]
    pub fn position(&self, topic: &str, partition: u32) -> Option<u64> {
        let state = lock(&self.shared.state);
        state.cursors.iter().find(|c| &*c.topic == topic && c.partition == partition).map(|c| c.position)
    }

    /// The high watermark as the last fetch saw it.
    #[must_use]
    pub fn high_watermark(&self, topic: &str, partition: u32) -> Option<u64> {
        let state = lock(&self.shared.state);
        state.cursors.iter().find(|c| &*c.topic == topic && c.partition == partition).and_then(|c| c.high_watermark)
    }

    fn with_cursor(&self, topic: &str, partition: u32, act: impl FnOnce(&mut Cursor)) -> Result<(), ClientError> {
        let mut state = lock(&self.shared.state);
        let cursor = state.cursors.iter_mut().find(|c| &*c.topic == topic && c.partition == partition);
        act(cursor.ok_or_else(|| ClientError::Broker {
            code: ErrorCode::InvalidArgument,
            text: format!("partition {partition} of topic {topic} is not assigned to this consumer"),
        })?);
        Ok(())
    }

    async fn resolve(&self, starts: &[(&str, u32, StartAt)]) -> Result<Vec<u64>, ClientError> {
        let admin = Admin::new(self.shared.client.clone());
        let mut offsets = vec![0; starts.len()];
        let mut questions = Vec::new();
        for (index, &(topic, partition, start)) in starts.iter().enumerate() {
            match start {
                StartAt::Offset(offset) => offsets[index] = offset,
                start => questions.push((index, topic, partition, start)),
            }
        }
        let asked: Vec<(&str, u32, StartAt)> =
            questions.iter().map(|&(_, topic, partition, start)| (topic, partition, start)).collect();
        for ((index, ..), listed) in questions.iter().zip(admin.list_offsets(&asked).await?) {
            offsets[*index] = listed.offset;
        }
        Ok(offsets)
    }
}
