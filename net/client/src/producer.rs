//! The producer: records in, one truthful outcome for each.
//!
//! Records are copied straight into the batch of their partition and go out when the batch is full or has lingered;
//! at most five batches of a partition are on the wire. Every batch carries a producer id and a sequence, so what is
//! sent again is never written twice. The rules are `partition_queue`'s; this file is the front.
//!
//! The expensive mistake is a record that is half taken: `send` awaits only before the record is copied into its batch,
//! and everything it holds until then is given back when it is dropped.

mod accumulator;
mod batch;
mod closing;
mod confirm;
mod delivery;
mod driver;
mod error;
mod histogram;
mod interceptor;
mod outbox;
pub(crate) mod partition_queue;
mod queue_entry;
mod queue_event;
mod record;
mod shared;
mod statistics;

pub use confirm::Confirm;
pub use delivery::{Acknowledgement, Delivery, DeliveryError, Failure, Reason};
pub use error::SendError;
pub use histogram::LatencySummary;
pub use interceptor::{BatchOutcome, ProducerInterceptor};
pub use record::ProducerRecord;
pub use statistics::{PartitionInFlight, ProducerStatistics};

use crate::client::Client;
use crate::config::{OnFull, ProducerConfig};
use crate::connection::lock;
use crate::error::ClientError;
use accumulator::{Accumulator, Appended};
use shared::{ProducerShared, init_producer};
use sluice_model::record_batch::NewRecord;
use sluice_protocol::Acks;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{SemaphorePermit, TryAcquireError};

/// Cheap to clone; all clones share memory and batches. When the last one is dropped, what has no outcome yet gets
/// one at once (`Reason::Closed`); [`Self::close`] waits for the true ones first.
#[derive(Clone)]
pub struct Producer(Arc<Handle>);

struct Handle(Arc<ProducerShared>);

impl Producer {
    /// Starts a producer on the current tokio runtime. Asks a broker for a producer id, unless `acks` is none.
    pub async fn new(client: Client, config: ProducerConfig) -> Result<Self, ClientError> {
        Self::with_interceptors(client, config, Vec::new()).await
    }

    /// As [`Self::new`]; the interceptors see every record and every outcome, in the order given here.
    pub async fn with_interceptors(
        client: Client,
        config: ProducerConfig,
        interceptors: Vec<Arc<dyn ProducerInterceptor>>,
    ) -> Result<Self, ClientError> {
        config.validate()?;
        let producer_id = if config.acks == Acks::None { None } else { Some(init_producer(&client).await?) };
        let shared = Arc::new(ProducerShared::new(client, config, interceptors.into(), producer_id));
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
            accumulator.set_topic(self.0.0.now_ms(), info);
        }
        Ok(count)
    }

    /// Takes a record; waits, as `on_full` says, while the producer's memory is full, and the first time for the
    /// topic's metadata. The outcome comes with the [`Confirm`], which may be dropped.
    ///
    /// Records of a partition are written in the order in which their sends were done. A send that is dropped before it
    /// was done has taken nothing, and nothing of its record is sent.
    pub async fn send(&self, record: ProducerRecord<'_>) -> Result<Confirm, SendError> {
        self.send_then(record, |confirm| confirm).await
    }

    /// As [`Self::send`]; `callback` is called once with the outcome if the record was taken, and never otherwise. It is
    /// called from the producer's tasks, for records of one partition in their order, and must not block.
    pub async fn send_with(
        &self,
        record: ProducerRecord<'_>,
        callback: impl FnOnce(Delivery) + Send + 'static,
    ) -> Result<(), SendError> {
        self.send_then(record, |confirm| confirm.on_outcome(callback)).await
    }

    /// Takes a record at once or not at all.
    pub fn try_send(&self, record: ProducerRecord<'_>) -> Result<Confirm, SendError> {
        let permit = self.try_reserve(&record)?;
        let taken = self.append(&record, permit.num_permits(), &mut Some(|confirm| confirm));
        taken.inspect(|_| permit.forget())
    }

    /// As [`Self::try_send`], with a callback as [`Self::send_with`] has it.
    pub fn try_send_with(
        &self,
        record: ProducerRecord<'_>,
        callback: impl FnOnce(Delivery) + Send + 'static,
    ) -> Result<(), SendError> {
        let permit = self.try_reserve(&record)?;
        let taken = self.append(&record, permit.num_permits(), &mut Some(|confirm: Confirm| confirm.on_outcome(callback)));
        taken.inspect(|()| permit.forget())
    }

    async fn send_then<T>(&self, record: ProducerRecord<'_>, then: impl FnOnce(Confirm) -> T) -> Result<T, SendError> {
        // Lets the driver send what is full when both share a thread. Before the record is taken, so that a caller that
        // stops waiting here knows that it is not.
        if self.0.0.filled.swap(false, Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        let permit = match self.try_reserve(&record) {
            Err(SendError::BufferFull) => self.reserve(&record).await?,
            reserved => reserved?,
        };
        let mut then = Some(then);
        let taken = match self.append(&record, permit.num_permits(), &mut then) {
            Err(SendError::TopicNotPrepared { .. }) => {
                self.prepare(record.topic).await?;
                self.append(&record, permit.num_permits(), &mut then)
            }
            taken => taken,
        };
        taken.inspect(|_| permit.forget())
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

    /// What this producer and its clones have done so far, and what is on its way.
    #[must_use]
    pub fn statistics(&self) -> ProducerStatistics {
        let shared = &self.0.0;
        let buffer_len_max = shared.config.buffer_len_max;
        let mut statistics = ProducerStatistics {
            record_refusals: self.refused_record_count(),
            buffer_used: buffer_len_max.saturating_sub(self.buffer_available()),
            buffer_len_max,
            ..ProducerStatistics::default()
        };
        // Outcomes first: so nothing is counted as settled that is not counted as sent.
        lock(&shared.outcomes).add_to(&mut statistics);
        shared.lock().add_to(&mut statistics);
        statistics
    }

    /// Memory for a record if it is there now.
    fn try_reserve(&self, record: &ProducerRecord<'_>) -> Result<SemaphorePermit<'_>, SendError> {
        let permits = self.permits(record)?;
        self.0.0.memory.try_acquire_many(permits).map_err(|error| match error {
            TryAcquireError::NoPermits => SendError::BufferFull,
            TryAcquireError::Closed => SendError::Closed,
        })
    }

    /// Memory for a record, behind those who wait for some already.
    async fn reserve(&self, record: &ProducerRecord<'_>) -> Result<SemaphorePermit<'_>, SendError> {
        let OnFull::Block { timeout_ms } = self.0.0.config.on_full else { return Err(SendError::BufferFull) };
        let acquired = self.0.0.memory.acquire_many(self.permits(record)?);
        match tokio::time::timeout(Duration::from_millis(timeout_ms), acquired).await {
            Ok(acquired) => acquired.map_err(|_| SendError::Closed),
            Err(_) => Err(SendError::BufferFull),
        }
    }

    fn permits(&self, record: &ProducerRecord<'_>) -> Result<u32, SendError> {
        let len = Accumulator::reserve_len(record);
        let len_max = self.0.0.config.buffer_len_max;
        u32::try_from(len).ok().filter(|_| len <= len_max).ok_or(SendError::TooLarge { len, len_max })
    }

    /// Puts a record into its batch, which holds `reserved` bytes of memory for it from now on. `then` is called before the
    /// batch can have an outcome, so that a callback never comes too late for its place among the others.
    fn append<T>(
        &self,
        record: &ProducerRecord<'_>,
        reserved: usize,
        then: &mut Option<impl FnOnce(Confirm) -> T>,
    ) -> Result<T, SendError> {
        let new_record = NewRecord {
            timestamp_ms: record.timestamp_ms.unwrap_or_else(now_ms),
            key: record.key,
            value: record.value,
            headers: record.headers,
        };
        let shared = &self.0.0;
        let mut accumulator = shared.lock();
        if accumulator.closing {
            return Err(SendError::Closed);
        }
        let Some(topic) = accumulator.topic(record.topic) else {
            return Err(SendError::TopicNotPrepared { topic: record.topic.into() });
        };
        let slot = accumulator.choose(topic, record).map_err(|refusal| SendError::of(record.topic, refusal))?;
        let appended = accumulator.append(slot, || shared.now_us(), &new_record, reserved);
        let Appended { confirm, wake, filled } = appended.map_err(|refusal| SendError::of(record.topic, refusal))?;
        let partition = confirm.partition();
        let taken = then.take().expect("a record is taken once")(confirm);
        drop(accumulator);
        if filled {
            shared.filled.store(true, Ordering::Relaxed);
        }
        if wake {
            shared.wake.notify_one();
        }
        interceptor::notify_send(&shared.interceptors, record, partition);
        Ok(taken)
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
