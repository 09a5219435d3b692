//! What a producer's handle, its driver and the callbacks of its requests share, and how they carry out what follows
//! from an event.

use super::accumulator::{Accumulator, SlotIndex};
use super::batch::{Batch, SentBatch};
use super::delivery::Settlement;
use super::interceptor::{BatchOutcome, Interceptors, notify_outcome};
use super::partition_queue::{BatchAnswer, ConnectionId, QueueEffect};
use super::statistics::Outcomes;
use crate::address::Address;
use crate::backoff::{Backoff, random_u64};
use crate::client::Client;
use crate::config::ProducerConfig;
use crate::connection::{Answer, CallError, decode_answer, lock};
use crate::error::{ClientError, check, code_of};
use sluice_model::{ErrorCode, Outcome, ProducerId};
use sluice_protocol::{Durability, InitProducerRequest, ProduceRequest, ProducedPartition};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore};

/// Least time between two refreshes of one topic's metadata.
const REFRESH_INTERVAL: Duration = Duration::from_millis(50);
/// Of redirections closer together than this, milliseconds, only the first is followed at once.
const REDIRECT_INTERVAL_MS: u64 = 500;

pub(crate) struct ProducerShared {
    pub(super) client: Client,
    pub(super) config: ProducerConfig,
    pub(super) accumulator: Mutex<Accumulator>,
    /// One permit per byte.
    pub(super) memory: Semaphore,
    /// A batch was filled since `send` last let others run.
    pub(super) filled: AtomicBool,
    /// Wakes the driver.
    pub(super) wake: Notify,
    /// Wakes those who wait until everything is settled.
    pub(super) settled: Notify,
    pub(super) connecting: Mutex<HashSet<Address>>,
    /// Records in batches that the broker refused, counted anew each time.
    pub(super) refused_record_count: AtomicU64,
    pub(super) outcomes: Mutex<Outcomes>,
    pub(super) interceptors: Interceptors,
    renewing: Mutex<bool>,
    started: Instant,
}

type Effects = Vec<QueueEffect<Batch>>;

/// What is left to do once the lock is released.
#[derive(Default)]
pub(super) struct Followup {
    settled: Vec<SlotIndex>,
    refresh: Vec<usize>,
    new_producer_id: bool,
}

impl ProducerShared {
    pub(super) fn new(
        client: Client,
        config: ProducerConfig,
        interceptors: Interceptors,
        producer_id: Option<ProducerId>,
    ) -> Self {
        let accumulator = Mutex::new(Accumulator::new(config.clone(), client.config(), producer_id));
        Self {
            memory: Semaphore::new(config.buffer_len_max.min(Semaphore::MAX_PERMITS)),
            client,
            config,
            accumulator,
            filled: AtomicBool::new(false),
            wake: Notify::new(),
            settled: Notify::new(),
            connecting: Mutex::default(),
            refused_record_count: AtomicU64::new(0),
            outcomes: Mutex::default(),
            interceptors,
            renewing: Mutex::new(false),
            started: Instant::now(),
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now_us() / 1000
    }

    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Accumulator> {
        lock(&self.accumulator)
    }

    /// The end of a produce request: what each of its batches learns from it.
    pub(super) fn on_produced(self: &Arc<Self>, sent: &[SentBatch], connection: ConnectionId, result: Result<Answer, CallError>) {
        let now_ms = self.now_ms();
        let result = result.and_then(|answer| match decode_answer::<ProduceRequest>(&answer) {
            Ok(produced) if is_answer_to(&produced.partitions, sent) => Ok(produced.partitions),
            other => {
                let text = other.map_or_else(|e| e.to_string(), |_| "it answers for other partitions than were asked".into());
                tracing::warn!(text, "a produce answer cannot be used");
                Err(CallError::Lost(ClientError::Protocol { address: "the broker".into(), text }))
            }
        });
        let mut followup = Followup::default();
        let mut accumulator = self.lock();
        match result {
            Ok(produced) => {
                for (sent, produced) in sent.iter().zip(produced) {
                    let redirect = produced.address.as_ref().map(|a| Address::new(&a.host, a.port));
                    let slot = &mut accumulator.slots[sent.slot];
                    let moved = redirect.is_some() && redirect != slot.address;
                    // Two shards that send one to each other are not to be asked in turns without a pause.
                    let redirected = moved && slot.redirected_ms.is_none_or(|at_ms| now_ms - at_ms > REDIRECT_INTERVAL_MS);
                    if moved {
                        slot.address = redirect;
                        slot.redirected_ms = Some(now_ms);
                    }
                    let mut effects = Effects::new();
                    let answer = batch_answer(produced, redirected);
                    self.note_refusal(slot.queue.get_mut(sent.batch), answer.code);
                    slot.queue.on_answer(now_ms, (sent.batch, connection), answer, &mut effects);
                    followup.add(&mut accumulator, sent.slot, effects);
                }
            }
            Err(error) => {
                for sent in sent {
                    let (mut effects, at) = (Effects::new(), (sent.batch, connection));
                    let queue = &mut accumulator.slots[sent.slot].queue;
                    match &error {
                        CallError::NotSent(ClientError::Protocol { text, .. }) => queue.on_unsendable(at, text, &mut effects),
                        CallError::NotSent(_) => queue.on_lost(at, false, &mut effects),
                        CallError::Lost(_) => queue.on_lost(at, true, &mut effects),
                        CallError::Refused(refusal) => {
                            let refused = ProducedPartition {
                                error: refusal.error,
                                text: refusal.text.clone(),
                                retry_after_ms: refusal.retry_after_ms,
                                ..Default::default()
                            };
                            let answer = batch_answer(refused, false);
                            self.note_refusal(queue.get_mut(sent.batch), answer.code);
                            queue.on_answer(now_ms, at, answer, &mut effects);
                        }
                    }
                    followup.add(&mut accumulator, sent.slot, effects);
                }
            }
        }
        drop(accumulator);
        self.carry_out(followup);
        self.wake.notify_one();
    }

    /// Keeps count of what was not admitted at first; a wrong address is no refusal of the record.
    fn note_refusal(&self, batch: Option<&mut Batch>, code: ErrorCode) {
        if let Some(batch) = batch.filter(|_| code.outcome() == Outcome::Refused && code != ErrorCode::NotLeader) {
            batch.cell.0.note_refusal();
            self.refused_record_count.fetch_add(batch.record_count.into(), Ordering::Relaxed);
        }
    }

    /// Does what is left to do. Not under the lock: callbacks of the application run here.
    pub(super) fn carry_out(self: &Arc<Self>, followup: Followup) {
        for slot in followup.settled {
            self.give_outcomes(slot);
        }
        for topic in followup.refresh {
            self.refresh(topic);
        }
        if followup.new_producer_id {
            self.renew_producer_id();
        }
    }

    /// Gives the outcomes of a partition that are next in order, unless somebody is giving them.
    pub(super) fn give_outcomes(&self, slot: SlotIndex) {
        let mut accumulator = self.lock();
        if !accumulator.slots[slot].outbox.begin() {
            return;
        }
        while let Some((batch, settlement)) = accumulator.slots[slot].outbox.next() {
            drop(accumulator);
            let serial = batch.serial;
            self.settle(batch, settlement);
            accumulator = self.lock();
            // Not before all who watch have been told: whoever flushes goes on now.
            accumulator.unsettled.remove(&serial);
            self.settled.notify_waiters();
        }
    }

    /// Gives the records of a batch their outcome.
    fn settle(&self, batch: Batch, settlement: Settlement) {
        let latency_us = self.now_us().saturating_sub(batch.since_us);
        lock(&self.outcomes).note(&batch, &settlement, latency_us);
        let cell = &batch.cell.0;
        let delivery = cell.delivery_of(settlement);
        if !self.interceptors.is_empty() {
            let outcome = BatchOutcome {
                topic: &batch.topic,
                partition: cell.partition(),
                record_count: batch.record_count,
                len: batch.len,
                delivery: delivery.delivery(0),
                latency_us,
                sendings: batch.sendings,
            };
            notify_outcome(&self.interceptors, &outcome);
        }
        self.memory.add_permits(batch.reserved);
        cell.settle(delivery);
    }

    /// Asks where the partitions of a topic are, unless somebody is asking.
    pub(super) fn refresh(self: &Arc<Self>, topic: usize) {
        let (name, seen) = {
            let mut accumulator = self.lock();
            let topic = &mut accumulator.topics[topic];
            if std::mem::replace(&mut topic.refreshing, true) {
                return;
            }
            (topic.info.name.clone(), topic.info.generation)
        };
        let shared = self.clone();
        tokio::spawn(async move {
            let refreshed = shared.client.refresh_topic(&name, seen).await;
            if let Err(error) = &refreshed {
                tracing::debug!(topic = &*name, %error, "metadata could not be refreshed");
            }
            let mut followup = Followup::default();
            if let Ok(info) = refreshed {
                let mut accumulator = shared.lock();
                for (slot, effects) in accumulator.set_topic(info) {
                    followup.add(&mut accumulator, slot, effects);
                }
            }
            shared.carry_out(followup);
            shared.wake.notify_one();
            tokio::time::sleep(REFRESH_INTERVAL).await;
            let mut accumulator = shared.lock();
            accumulator.topics[topic].refreshing = false;
            let slots = accumulator.topics[topic].slots.clone();
            slots.into_iter().for_each(|slot| accumulator.set_ready(slot));
            drop(accumulator);
            shared.wake.notify_one();
        });
    }

    /// Gets a fresh producer id, however long it takes; batches that wait for it have their own deadlines.
    fn renew_producer_id(self: &Arc<Self>) {
        if std::mem::replace(&mut *lock(&self.renewing), true) {
            return;
        }
        let shared = self.clone();
        tokio::spawn(async move {
            let config = shared.client.config();
            let mut backoff = Backoff::new(config.retry_backoff_ms, config.retry_backoff_ms_max, random_u64());
            let id = loop {
                match init_producer(&shared.client).await {
                    Ok(id) => break Some(id),
                    Err(error) => tracing::warn!(%error, "no new producer id yet"),
                }
                if shared.lock().closed {
                    break None;
                }
                tokio::time::sleep(Duration::from_millis(backoff.next_ms().into())).await;
            };
            *lock(&shared.renewing) = false;
            if let Some(id) = id {
                shared.lock().on_producer_id(id);
                shared.wake.notify_one();
            }
        });
    }
}

impl Followup {
    /// Takes in what a partition's queue said.
    pub(super) fn add(&mut self, accumulator: &mut Accumulator, slot: SlotIndex, effects: Effects) {
        accumulator.set_ready(slot);
        for effect in effects {
            match effect {
                QueueEffect::Settled { batch, settlement } => {
                    accumulator.slots[slot].outbox.put(batch.serial, batch, settlement);
                    if self.settled.last() != Some(&slot) {
                        self.settled.push(slot);
                    }
                }
                QueueEffect::RefreshMetadata => self.add_refresh(accumulator.slots[slot].topic),
                QueueEffect::NewProducerId => self.new_producer_id = true,
                QueueEffect::HistoryLost => tracing::warn!(
                    partition = %accumulator.slots[slot].id,
                    "the partition does not know what this producer wrote last; the rest goes on under a new epoch"
                ),
            }
        }
    }

    pub(super) fn add_refresh(&mut self, topic: usize) {
        if !self.refresh.contains(&topic) {
            self.refresh.push(topic);
        }
    }
}

/// A fresh producer id from any broker.
pub(super) async fn init_producer(client: &Client) -> Result<ProducerId, ClientError> {
    let answer = client.call_any(&InitProducerRequest {}, true).await?;
    check(answer.error, answer.text)?;
    Ok(ProducerId(answer.producer_id))
}

fn is_answer_to(produced: &[ProducedPartition], sent: &[SentBatch]) -> bool {
    let matches = |(p, s): (&ProducedPartition, &SentBatch)| p.topic_id == s.id.topic_id.0 && p.partition == s.id.partition.0;
    produced.len() == sent.len() && produced.iter().zip(sent).all(matches)
}

fn batch_answer(produced: ProducedPartition, redirected: bool) -> BatchAnswer {
    BatchAnswer {
        code: code_of(produced.error),
        text: produced.text,
        base_offset: produced.base_offset,
        append_time_ms: produced.append_time_ms,
        durability: Durability::from_u8(produced.durability).unwrap_or_default(),
        retry_after_ms: produced.retry_after_ms,
        redirected,
    }
}
