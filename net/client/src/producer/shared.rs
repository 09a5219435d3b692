//! What a producer's handle, its driver and the callbacks of its requests share, and how they carry out what follows
//! from an event.

use super::accumulator::{Accumulator, Slot, SlotIndex};
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
use crate::rounds::Rounds;
use sluice_model::{ErrorCode, Outcome, ProducerId};
use sluice_protocol::{Durability, InitProducerAnswer, InitProducerRequest, ProduceRequest, ProducedPartition};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore};

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
                    let slot = &mut accumulator.slots[sent.slot];
                    let redirected = match code_of(produced.error) {
                        ErrorCode::NotLeader => slot.leader.on_not_leader(now_ms, produced.address.as_ref()),
                        ErrorCode::NotReady | ErrorCode::ShuttingDown => {
                            slot.leader.on_failure();
                            false
                        }
                        _ => false,
                    };
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
                    let Slot { queue, leader, topic, .. } = &mut accumulator.slots[sent.slot];
                    if matches!(error, CallError::Lost(_) | CallError::NotSent(ClientError::Lost { .. })) {
                        leader.on_failure();
                        followup.add_refresh(*topic);
                    }
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

    pub(super) fn quiet_ms(&self) -> u64 {
        u64::try_from(self.client.quiet().as_millis()).unwrap_or(u64::MAX)
    }

    /// Asks where the partitions of a topic are, and again for as long as somebody wants to know.
    pub(super) fn refresh(self: &Arc<Self>, topic: usize) {
        if !self.lock().topics[topic].refreshing.begin() {
            return;
        }
        let shared = self.clone();
        tokio::spawn(async move {
            loop {
                shared.refresh_once(topic).await;
                let wait = shared.lock().topics[topic].refreshing.wait();
                tokio::time::sleep(wait).await;
                let mut accumulator = shared.lock();
                if !accumulator.topics[topic].refreshing.end() || accumulator.closed {
                    return;
                }
            }
        });
    }

    async fn refresh_once(self: &Arc<Self>, topic: usize) {
        let (name, seen) = {
            let info = &self.lock().topics[topic].info;
            (info.name.clone(), info.generation)
        };
        let refreshed = self.client.refresh_topic(&name, seen).await;
        let mut followup = Followup::default();
        let mut accumulator = self.lock();
        match refreshed {
            Ok(info) => {
                for (slot, effects) in accumulator.set_topic(self.now_ms(), info) {
                    followup.add(&mut accumulator, slot, effects);
                }
            }
            Err(error) => tracing::debug!(topic = &*name, %error, "metadata could not be refreshed"),
        }
        // Also when nothing is new: who still has nowhere to send to asks again.
        let slots = accumulator.topics[topic].slots.clone();
        slots.into_iter().for_each(|slot| accumulator.set_ready(slot));
        drop(accumulator);
        self.carry_out(followup);
        self.wake.notify_one();
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

/// A fresh producer id from any broker; asked for again while none can give one, up to `request_timeout_ms`.
pub(super) async fn init_producer(client: &Client) -> Result<ProducerId, ClientError> {
    let mut rounds = Rounds::begin(client);
    loop {
        let judge = |answer: &InitProducerAnswer| check(answer.error, answer.text.as_str());
        match client.ask_any(InitProducerRequest {}, judge).await {
            Ok(answer) => return Ok(ProducerId(answer.producer_id)),
            Err(unanswered) => rounds.again(unanswered.error).await?,
        }
    }
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
