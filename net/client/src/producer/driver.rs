//! The producer's one task: takes what is to be sent out of the accumulator, makes frames of it, and submits them,
//! one request for all partitions of a connection.
//!
//! Compression and checksums are done without the lock, so that `send` never waits for them.

use super::accumulator::{Accumulator, SlotIndex};
use super::batch::{Batch, SentBatch};
use super::delivery::{Reason, Settlement};
use super::partition_queue::{BatchId, ProducerStamp};
use super::shared::{Followup, ProducerShared};
use crate::address::Address;
use crate::compression::compress;
use crate::connection::{Connection, lock};
use crate::link::Lane;
use bytes::Bytes;
use sluice_model::frame::FRAME_HEADER_LEN;
use sluice_model::limits::{BATCHES_PER_PRODUCER, PARTITIONS_PER_REQUEST_MAX};
use sluice_model::record_batch::Attributes;
use sluice_model::{FrameHeader, ProducerBatch, ProducerEpoch, ProducerId, Sequence};
use sluice_protocol::{Acks, Durability, ProducePartition, ProduceRequest};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

type Timers = BinaryHeap<Reverse<(u64, SlotIndex)>>;

/// A batch taken out to be sent.
struct Taken {
    sent: SentBatch,
    stamp: ProducerStamp,
    body: Bytes,
    attributes: Attributes,
    record_count: u32,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
    /// With acks none: the batch itself, which nobody else has any more.
    unanswered: Option<Batch>,
}

/// Runs until the producer is closed.
pub(super) async fn run(shared: Arc<ProducerShared>) {
    let mut timers = Timers::new();
    loop {
        let now_ms = shared.now_ms();
        let next_ms = timers.peek().map(|Reverse((at_ms, _))| at_ms.saturating_sub(now_ms));
        tokio::select! {
            () = shared.wake.notified() => {}
            () = tokio::time::sleep(Duration::from_millis(next_ms.unwrap_or(0))), if next_ms.is_some() => {}
        }
        if shared.lock().closed {
            return;
        }
        pump(&shared, &mut timers);
    }
}

/// Sends everything that may be sent now.
fn pump(shared: &Arc<ProducerShared>, timers: &mut Timers) {
    let (now_ms, quiet_ms) = (shared.now_ms(), shared.quiet_ms());
    let mut followup = Followup::default();
    let mut accumulator = shared.lock();
    while let Some(&Reverse((at_ms, slot))) = timers.peek() {
        if at_ms > now_ms {
            break;
        }
        timers.pop();
        accumulator.slots[slot].timer_ms = None;
        accumulator.set_ready(slot);
    }
    let ready = accumulator.take_ready();
    let sendable: Vec<(SlotIndex, Connection)> =
        ready.iter().filter_map(|&slot| Some((slot, prepare(shared, &mut accumulator, slot, now_ms, &mut followup)?))).collect();
    drop(accumulator);

    compress_waiting(shared, &sendable);

    let mut by_connection: Vec<(Connection, Vec<Taken>)> = Vec::new();
    let mut accumulator = shared.lock();
    for (slot, connection) in sendable {
        let taken = take(shared, &mut accumulator, slot, now_ms, &connection);
        match by_connection.iter_mut().find(|(other, _)| other.id() == connection.id()) {
            Some((_, all)) => all.extend(taken),
            None => by_connection.push((connection, taken)),
        }
    }
    for slot in ready {
        if let Some(at_ms) = accumulator.next_timer_ms(slot, now_ms, quiet_ms)
            && accumulator.slots[slot].timer_ms.is_none_or(|set_ms| at_ms < set_ms)
        {
            accumulator.slots[slot].timer_ms = Some(at_ms);
            timers.push(Reverse((at_ms, slot)));
        }
    }
    drop(accumulator);
    for (connection, taken) in by_connection {
        submit(shared, &connection, taken);
    }
    shared.carry_out(followup);
}

/// Brings one partition up to date. Its connection, when it stands and there may be something to send.
fn prepare(
    shared: &Arc<ProducerShared>,
    accumulator: &mut Accumulator,
    slot: SlotIndex,
    now_ms: u64,
    followup: &mut Followup,
) -> Option<Connection> {
    let mut effects = Vec::new();
    accumulator.seal_expired(slot, now_ms);
    let entry = &mut accumulator.slots[slot];
    entry.queue.on_tick(now_ms, &mut effects);
    if !entry.queue.is_closing()
        && let Some(id) = entry.next_id.take()
    {
        entry.id = id;
    }
    let timeouts = !effects.is_empty();
    if timeouts {
        followup.add(accumulator, slot, effects);
    }
    leave_quiet_leader(shared, accumulator, slot, now_ms, followup);
    let ripe = accumulator.is_ripe(slot, now_ms);
    let entry = &accumulator.slots[slot];
    let due = match shared.config.acks {
        Acks::None => !entry.queue.is_empty(),
        _ => entry.queue.has_sendable() && now_ms >= entry.queue.not_before_ms(),
    };
    if !ripe && !due {
        if entry.queue.waits_for_leader() {
            followup.add_refresh(entry.topic);
        }
        return None;
    }
    let Some(address) = entry.leader.address().cloned() else {
        followup.add_refresh(entry.topic);
        return None;
    };
    let Some(connection) = shared.client.link(&address, Lane::Produce).open() else {
        connect(shared, address);
        return None;
    };
    if ripe {
        accumulator.seal(slot);
    }
    if shared.config.acks == Acks::None {
        look_up_leader(shared, accumulator, slot, now_ms, followup);
    }
    Some(connection)
}

/// A leader that never answers never says that it leads no longer: who does is asked as often as of one that is silent.
fn look_up_leader(shared: &ProducerShared, accumulator: &mut Accumulator, slot: SlotIndex, now_ms: u64, followup: &mut Followup) {
    let topic = accumulator.slots[slot].topic;
    let looked_ms = &mut accumulator.topics[topic].looked_ms;
    if now_ms >= *looked_ms + shared.quiet_ms() {
        *looked_ms = now_ms;
        followup.add_refresh(topic);
    }
}

/// A leader that does not answer may not be one any more. Once another one is known, what was sent to this one is not waited
/// for: the connection ends, and its batches go to the new leader, under the same sequences.
fn leave_quiet_leader(
    shared: &ProducerShared,
    accumulator: &mut Accumulator,
    slot: SlotIndex,
    now_ms: u64,
    followup: &mut Followup,
) {
    let entry = &accumulator.slots[slot];
    let Some((connection, since_ms)) = entry.queue.longest_in_flight() else { return };
    if now_ms < since_ms + shared.quiet_ms() {
        return;
    }
    followup.add_refresh(entry.topic);
    if entry.leader.address() == entry.sent_to.as_ref() || entry.leader.address().is_none() {
        return;
    }
    if let Some(address) = &entry.sent_to {
        shared.client.link(address, Lane::Produce).leave(connection);
    }
}

/// Opens the connection to a shard, unless that is being done.
fn connect(shared: &Arc<ProducerShared>, address: Address) {
    if !lock(&shared.connecting).insert(address.clone()) {
        return;
    }
    let shared = shared.clone();
    tokio::spawn(async move {
        shared.client.link(&address, Lane::Produce).connection_or(|| look_elsewhere(&shared, &address)).await;
        // Before its partitions are ready: one that the driver looked at while the attempt still counted as under way
        // would wait for it, and nothing would wake it again.
        lock(&shared.connecting).remove(&address);
        let mut accumulator = shared.lock();
        for slot in 0..accumulator.slots.len() {
            if accumulator.slots[slot].leader.address() == Some(&address) {
                accumulator.set_ready(slot);
            }
        }
        drop(accumulator);
        shared.wake.notify_one();
    });
}

/// Asks who leads what is believed to be led there, where nobody answers.
fn look_elsewhere(shared: &Arc<ProducerShared>, address: &Address) {
    let mut followup = Followup::default();
    let mut accumulator = shared.lock();
    for slot in 0..accumulator.slots.len() {
        let slot = &mut accumulator.slots[slot];
        if slot.leader.address() == Some(address) {
            slot.leader.on_failure();
            followup.add_refresh(slot.topic);
        }
    }
    drop(accumulator);
    shared.carry_out(followup);
}

/// Compresses what will be sent next, without the lock.
fn compress_waiting(shared: &Arc<ProducerShared>, sendable: &[(SlotIndex, Connection)]) {
    let compression = shared.config.compression;
    if compression == sluice_model::record_batch::Compression::None {
        return;
    }
    for &(slot, _) in sendable {
        let waiting: Vec<(BatchId, Bytes)> = {
            let mut accumulator = shared.lock();
            let waiting = accumulator.slots[slot].queue.waiting_mut(BATCHES_PER_PRODUCER);
            waiting.filter(|(_, batch)| !batch.prepared).map(|(id, batch)| (id, batch.body.clone())).collect()
        };
        for (id, body) in waiting {
            let compressed = compress(compression, &body);
            let mut accumulator = shared.lock();
            let Some(batch) = accumulator.slots[slot].queue.get_mut(id) else { continue };
            batch.prepared = true;
            match compressed {
                // What does not get shorter stays as it is, so that no codec can push a batch over a limit.
                Ok(compressed) if compressed.len() < body.len() => {
                    batch.body = compressed;
                    batch.attributes = Attributes::new(compression);
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "a batch could not be compressed and goes out as it is"),
            }
        }
    }
}

/// The batches of one partition that may go out on `connection` now.
fn take(
    shared: &ProducerShared,
    accumulator: &mut Accumulator,
    slot: SlotIndex,
    now_ms: u64,
    connection: &Connection,
) -> Vec<Taken> {
    let entry = &mut accumulator.slots[slot];
    let id = entry.id;
    let taken = |batch: &Batch, stamp, batch_id| Taken {
        sent: SentBatch { slot, batch: batch_id, id },
        stamp,
        body: batch.body.clone(),
        attributes: batch.attributes,
        record_count: batch.record_count,
        base_timestamp_ms: batch.base_timestamp_ms,
        max_timestamp_ms: batch.max_timestamp_ms,
        unanswered: None,
    };
    if shared.config.acks == Acks::None {
        let stamp = ProducerStamp { producer_id: ProducerId::NONE, epoch: ProducerEpoch::NONE, base_sequence: Sequence::NONE };
        let batches = std::iter::from_fn(|| entry.queue.take_unsent());
        let batches = batches.map(|batch| Batch { sendings: 1, ..batch });
        return batches.map(|b| Taken { unanswered: None, ..taken(&b, stamp, BatchId(0)) }.with_batch(b)).collect();
    }
    let mut all = Vec::new();
    while let Some(order) = entry.queue.next_send(now_ms, connection.id()) {
        order.batch.sendings += 1;
        if order.batch.sendings > 1 {
            accumulator.retried.batches += 1;
            accumulator.retried.records += u64::from(order.batch.record_count);
        }
        all.push(taken(order.batch, order.stamp, order.id));
    }
    // Not before: what is still on the wire to the last leader is what `leave_quiet_leader` has to find.
    if !all.is_empty() {
        entry.sent_to = Some(connection.address().clone());
    }
    all
}

impl Taken {
    fn with_batch(self, batch: Batch) -> Self {
        Self { unanswered: Some(batch), ..self }
    }

    fn header(&self) -> FrameHeader {
        let batch = ProducerBatch {
            topic_partition: self.sent.id,
            attributes: self.attributes.0,
            producer_id: self.stamp.producer_id,
            producer_epoch: self.stamp.epoch,
            base_sequence: self.stamp.base_sequence,
            record_count: self.record_count,
            base_timestamp_ms: self.base_timestamp_ms,
            max_timestamp_ms: self.max_timestamp_ms,
        };
        FrameHeader::new(batch, &self.body)
    }
}

/// Sends batches of one connection, in their order, in as few requests as `request_len_max` and the broker allow.
fn submit(shared: &Arc<ProducerShared>, connection: &Connection, taken: Vec<Taken>) {
    let mut rest = taken.into_iter().peekable();
    let len_max = shared.config.request_len_max.min(connection.frames_len_max());
    while rest.peek().is_some() {
        let mut request = Vec::new();
        let mut len = 0;
        while let Some(next) = rest.next_if(|next| {
            let next_len = FRAME_HEADER_LEN + next.body.len();
            let fits = len + next_len <= len_max && request.len() < PARTITIONS_PER_REQUEST_MAX;
            request.is_empty() || fits
        }) {
            len += FRAME_HEADER_LEN + next.body.len();
            request.push(next);
        }
        submit_request(shared, connection, request);
    }
}

fn submit_request(shared: &Arc<ProducerShared>, connection: &Connection, taken: Vec<Taken>) {
    let mut frames = Vec::with_capacity(2 * taken.len());
    let mut partitions = Vec::with_capacity(taken.len());
    for batch in &taken {
        let header = batch.header();
        frames.push(Bytes::copy_from_slice(header.as_bytes()));
        frames.push(batch.body.clone());
        partitions.push(ProducePartition {
            topic_id: batch.sent.id.topic_id.0,
            partition: batch.sent.id.partition.0,
            frame_len: u32::try_from(header.frame_len()).expect("a frame is within FRAME_BODY_LEN_MAX and its header"),
        });
    }
    let request = ProduceRequest { acks: shared.config.acks as u8, partitions };
    if shared.config.acks == Acks::None {
        let batches: Vec<(SlotIndex, Batch)> =
            taken.into_iter().filter_map(|t| t.unanswered.map(|batch| (t.sent.slot, batch))).collect();
        let shared = shared.clone();
        let timeout = shared.client.request_timeout();
        let on_sent = Box::new(move |sent| on_unanswered(&shared, batches, sent));
        return connection.submit_unanswered(&request, frames, timeout, on_sent);
    }
    let sent: Vec<SentBatch> = taken.into_iter().map(|t| t.sent).collect();
    let (id, shared_then) = (connection.id(), shared.clone());
    let on_answer = Box::new(move |result| shared_then.on_produced(&sent, id, result));
    connection.submit(&request, frames, shared.client.request_timeout(), on_answer);
}

/// With acks none a batch is settled when its last byte has left.
fn on_unanswered(shared: &ProducerShared, batches: Vec<(SlotIndex, Batch)>, sent: bool) {
    for (slot, batch) in batches {
        let settlement = if sent {
            Settlement::Acknowledged { base_offset: None, append_time_ms: 0, durability: Durability::None }
        } else {
            let text = "the connection ended before the batch had left; with acks none nothing is sent twice".into();
            Settlement::Refused { reason: Reason::Client, text, retry_after_ms: 0 }
        };
        shared.lock().slots[slot].outbox.put(batch.serial, batch, settlement);
        shared.give_outcomes(slot);
    }
    shared.wake.notify_one();
}
