//! The producer: records in, one truthful outcome for each.
//!
//! Records are copied straight into the batch of their partition and go out when the batch is full or has lingered;
//! at most five batches of a partition are on the wire. Every batch carries a producer id and a sequence, so what is
//! sent again is never written twice. The rules are `partition_queue`'s; this file is the front.

mod accumulator;
mod confirm;
mod delivery;
mod driver;
pub(crate) mod partition_queue;
mod queue_event;
mod record;
mod shared;

pub use confirm::Confirm;
pub use delivery::{Acknowledgement, Delivery, DeliveryError, Failure, Reason};
pub use record::ProducerRecord;

use crate::client::Client;
use crate::config::ProducerConfig;
use crate::error::ClientError;
use accumulator::{Accumulator, AppendRefusal, Appended};
use shared::{ProducerShared, init_producer};
use sluice_model::record_batch::{NewRecord, RecordRefusal};
use sluice_protocol::Acks;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::TryAcquireError;

/// Cheap to clone; all clones share memory and batches. When the last one is dropped, what has no outcome yet gets
/// one at once (`Reason::Closed`); [`Self::close`] waits for the true ones first.
#[derive(Clone)]
pub struct Producer(Arc<Handle>);

struct Handle(Arc<ProducerShared>);

/// Why a record was not taken. Nothing of it was sent.
#[derive(Debug)]
pub enum SendError {
    /// The producer's memory is full of records without outcome. `send` waits instead.
    BufferFull,
    /// The record alone is larger than the producer's memory or the topic's largest frame.
    TooLarge {
        len: usize,
        len_max: usize,
    },
    /// The record itself cannot be written.
    Record(RecordRefusal),
    /// The topic has no such partition.
    UnknownPartition {
        topic: String,
        partition_count: usize,
    },
    /// `try_send` does not ask brokers; [`Producer::prepare`] does.
    TopicNotPrepared {
        topic: String,
    },
    Client(ClientError),
    Closed,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BufferFull => {
                write!(f, "the producer's buffer is full; wait for outcomes, or raise buffer_len_max")
            }
            Self::TooLarge { len, len_max } => write!(
                f,
                "the record takes {len} bytes and at most {len_max} are allowed; raise the topic's frame_len_max, or the producer's buffer_len_max"
            ),
            Self::Record(refusal) => refusal.fmt(f),
            Self::UnknownPartition { topic, partition_count } => {
                write!(f, "topic {topic} has {partition_count} partitions, numbered from 0")
            }
            Self::TopicNotPrepared { topic } => write!(f, "call prepare({topic:?}) once before try_send"),
            Self::Client(error) => error.fmt(f),
            Self::Closed => write!(f, "the producer is closed"),
        }
    }
}

impl std::error::Error for SendError {}

impl From<ClientError> for SendError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl Producer {
    /// Starts a producer on the current tokio runtime. Asks a broker for a producer id, unless `acks` is none.
    pub async fn new(client: Client, config: ProducerConfig) -> Result<Self, ClientError> {
        config.validate()?;
        let producer_id = if config.acks == Acks::None { None } else { Some(init_producer(&client).await?) };
        let shared = Arc::new(ProducerShared::new(client, config, producer_id));
        tokio::spawn(driver::run(shared.clone()));
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// Gets a topic's metadata, so that the first record does not wait for it. Gives back its partition count.
    pub async fn prepare(&self, topic: &str) -> Result<usize, SendError> {
        let info = self.0.0.client.topic(topic).await?;
        let count = info.partitions.len();
        if count == 0 {
            return Err(SendError::UnknownPartition { topic: topic.into(), partition_count: 0 });
        }
        let mut accumulator = self.0.0.lock();
        if accumulator.topic(topic).is_none() {
            accumulator.set_topic(info);
        }
        Ok(count)
    }

    /// Takes a record; waits while the producer's memory is full, and the first time for the topic's metadata. The
    /// outcome comes with the [`Confirm`].
    pub async fn send(&self, record: ProducerRecord<'_>) -> Result<Confirm, SendError> {
        // Lets the driver send what is full when both share a thread. Before the record is taken, so that a caller that
        // stops waiting here knows that it is not.
        if self.0.0.filled.swap(false, Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        let (reserved, permits) = self.reserve_len(&record)?;
        let memory = &self.0.0.memory;
        match memory.try_acquire_many(permits) {
            Ok(permit) => permit.forget(),
            Err(TryAcquireError::NoPermits) => {
                memory.acquire_many(permits).await.map_err(|_| SendError::Closed)?.forget();
            }
            Err(TryAcquireError::Closed) => return Err(SendError::Closed),
        }
        let taken = match self.append(&record, reserved) {
            Err(SendError::TopicNotPrepared { .. }) => match self.prepare(record.topic).await {
                Ok(_) => self.append(&record, reserved),
                Err(error) => Err(error),
            },
            taken => taken,
        };
        taken.inspect_err(|_| memory.add_permits(reserved))
    }

    /// Takes a record at once or not at all.
    pub fn try_send(&self, record: ProducerRecord<'_>) -> Result<Confirm, SendError> {
        let (reserved, permits) = self.reserve_len(&record)?;
        match self.0.0.memory.try_acquire_many(permits) {
            Ok(permit) => permit.forget(),
            Err(TryAcquireError::NoPermits) => return Err(SendError::BufferFull),
            Err(TryAcquireError::Closed) => return Err(SendError::Closed),
        }
        self.append(&record, reserved).inspect_err(|_| self.0.0.memory.add_permits(reserved))
    }

    /// Waits until every record taken so far has its outcome; batches do not linger meanwhile. Records that others
    /// send meanwhile are waited for too.
    pub async fn flush(&self) {
        let _flushing = Flushing::begin(&self.0.0);
        loop {
            let settled = self.0.0.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if self.0.0.lock().unsettled == 0 {
                return;
            }
            settled.await;
        }
    }

    /// [`Self::flush`], then ends the producer for all clones.
    pub async fn close(self) {
        self.flush().await;
        self.0.end();
    }

    /// Records in batches that the broker refused so far; one refused twice counts twice.
    #[must_use]
    pub fn refused_record_count(&self) -> u64 {
        self.0.0.refused_record_count.load(Ordering::Relaxed)
    }

    /// Bytes of memory that hold no record.
    #[must_use]
    pub fn buffer_available(&self) -> usize {
        self.0.0.memory.available_permits()
    }

    fn reserve_len(&self, record: &ProducerRecord<'_>) -> Result<(usize, u32), SendError> {
        let len = Accumulator::reserve_len(record);
        let len_max = self.0.0.config.buffer_len_max;
        match u32::try_from(len) {
            Ok(permits) if len <= len_max => Ok((len, permits)),
            _ => Err(SendError::TooLarge { len, len_max }),
        }
    }

    fn append(&self, record: &ProducerRecord<'_>, reserved: usize) -> Result<Confirm, SendError> {
        let new_record = NewRecord {
            timestamp_ms: record.timestamp_ms.unwrap_or_else(now_ms),
            key: record.key,
            value: record.value,
            headers: record.headers,
        };
        let shared = &self.0.0;
        let mut accumulator = shared.lock();
        if accumulator.closed {
            return Err(SendError::Closed);
        }
        let Some(topic) = accumulator.topic(record.topic) else {
            return Err(SendError::TopicNotPrepared { topic: record.topic.into() });
        };
        let slot = accumulator.choose(topic, record).map_err(|refusal| send_error(record.topic, refusal))?;
        let appended = accumulator.append(slot, shared.now_ms(), &new_record, reserved);
        drop(accumulator);
        let Appended { confirm, wake, filled } = appended.map_err(|refusal| send_error(record.topic, refusal))?;
        if filled {
            shared.filled.store(true, Ordering::Relaxed);
        }
        if wake {
            shared.wake.notify_one();
        }
        Ok(confirm)
    }
}

fn send_error(topic: &str, refusal: AppendRefusal) -> SendError {
    match refusal {
        AppendRefusal::UnknownPartition { count } => SendError::UnknownPartition { topic: topic.into(), partition_count: count },
        AppendRefusal::Record(RecordRefusal::Full { len, len_max }) => SendError::TooLarge { len, len_max },
        AppendRefusal::Record(refusal) => SendError::Record(refusal),
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Batches go out without lingering while one of these lives.
struct Flushing<'a>(&'a ProducerShared);

impl<'a> Flushing<'a> {
    fn begin(shared: &'a ProducerShared) -> Self {
        let mut accumulator = shared.lock();
        accumulator.flushing += 1;
        accumulator.set_all_ready();
        drop(accumulator);
        shared.wake.notify_one();
        Self(shared)
    }
}

impl Drop for Flushing<'_> {
    fn drop(&mut self) {
        self.0.lock().flushing -= 1;
    }
}

impl Handle {
    /// Gives everything its outcome and ends the driver.
    fn end(&self) {
        let settled = {
            let mut accumulator = self.0.lock();
            let settled = accumulator.close();
            accumulator.unsettled -= settled.len();
            settled
        };
        self.0.memory.close();
        for (batch, settlement) in settled {
            batch.cell.0.settle(settlement);
        }
        self.0.settled.notify_waiters();
        self.0.wake.notify_one();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}
