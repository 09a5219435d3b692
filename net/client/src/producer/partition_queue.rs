//! The batches of one producer for one partition: which may be sent now, and what is known of each.
//!
//! A pure state machine; time, answers and lost connections come in as arguments, what follows from them goes out as
//! effects. The expensive mistakes are three: to write a batch twice, to write two in the wrong order, and to call a
//! batch refused that may be written. The rules against them:
//!
//! - Sequences are given at the first sending, in queue order, and stay with the batch for the whole epoch.
//! - A batch is sent only while all unsettled batches before it are on the wire, sent in order, on the same
//!   connection; and at most five batches lie between the oldest unsettled one and the newest sent, which is as many
//!   as a partition remembers (KIP-98), so that every retry is recognised.
//! - A batch may be written from the moment a copy of it is lost with a connection, or answered with a code whose
//!   outcome is unknown, until an answer of the partition's sequence check says otherwise. A refusal for any other
//!   reason (`Overloaded`, say) is about the copy refused and says nothing about the one before. That the last
//!   answer counts for all copies rests on Hello, which fences a session's older connections to one broker. It does not
//!   reach the broker that led before: what that one had may be written should it lead again, so a refusal of another
//!   leader's sequence check does not end the doubt.
//! - When a batch that has a sequence is given up, or the partition does not go on where this producer does, the
//!   epoch is *closing*: batches that may be written are sent again until answered, no others are; then those
//!   certainly not written begin at sequence 0 of the next epoch, in order. One that another leader had and this one does
//!   not know is *unknown* then: in the next epoch it might be written twice, and nobody would notice.
//!
//! Deliberately absent: sockets, encoding, which shard owns the partition, and what a batch holds.

use super::delivery::{Reason, Settlement};
use super::queue_entry::{Doubt, Entry, InFlight};
pub(crate) use super::queue_event::{BatchAnswer, BatchId, ConnectionId, Peer, ProducerStamp, QueueEffect, SendOrder};
use crate::backoff::Backoff;
use sluice_model::limits::BATCHES_PER_PRODUCER;
use sluice_model::{ErrorCode, Outcome, ProducerEpoch, ProducerId, Sequence};
use std::collections::VecDeque;

/// See the head of this file. Times are milliseconds on any clock that never goes back.
#[derive(Debug)]
pub(crate) struct PartitionQueue<B> {
    entries: VecDeque<Entry<B>>,
    /// The id of the first entry; ids have no gaps.
    first_id: u64,
    producer_id: Option<ProducerId>,
    epoch: ProducerEpoch,
    next_sequence: Sequence,
    sendings: u64,
    closing: bool,
    needs_new_id: bool,
    /// The log these batches were for is gone, with whatever it held.
    log_replaced: bool,
    not_before_ms: u64,
    backoff: Backoff,
}

impl<B> PartitionQueue<B> {
    #[must_use]
    pub(crate) fn new(producer_id: Option<ProducerId>, backoff: Backoff) -> Self {
        Self {
            entries: VecDeque::new(),
            first_id: 0,
            producer_id,
            epoch: ProducerEpoch(0),
            next_sequence: Sequence(0),
            sendings: 0,
            closing: false,
            needs_new_id: false,
            log_replaced: false,
            not_before_ms: 0,
            backoff,
        }
    }

    /// Puts a batch of `record_count` records behind the others. Deadlines never go back from one to the next.
    pub(crate) fn push(&mut self, batch: B, record_count: u32, deadline_ms: u64) -> BatchId {
        assert!(record_count > 0, "a batch has records");
        let deadline_ms = self.entries.back().map_or(deadline_ms, |last| last.deadline_ms.max(deadline_ms));
        let id = BatchId(self.first_id + self.entries.len() as u64);
        self.entries.push_back(Entry {
            batch: Some(batch),
            record_count,
            deadline_ms,
            in_flight: None,
            sequence: None,
            doubt: Doubt::None,
            last_error: None,
        });
        id
    }

    /// The next batch to send on `connection`, which is from now on in flight there. Ask again until `None`.
    pub(crate) fn next_send(&mut self, now_ms: u64, connection: ConnectionId) -> Option<SendOrder<'_, B>> {
        let producer_id = self.producer_id?;
        if now_ms < self.not_before_ms || self.entries.iter().any(|e| e.in_flight.is_some_and(|f| f.on != connection)) {
            return None;
        }
        let index = self.next_index()?;
        let entry = &mut self.entries[index];
        let base_sequence = *entry.sequence.get_or_insert_with(|| {
            let sequence = self.next_sequence;
            self.next_sequence = sequence.advanced(entry.record_count);
            sequence
        });
        self.sendings += 1;
        entry.in_flight = Some(InFlight { on: connection, sending: self.sendings, since_ms: now_ms });
        let stamp = ProducerStamp { producer_id, epoch: self.epoch, base_sequence };
        let batch = entry.batch.as_mut().expect("an unsettled entry has its batch");
        Some(SendOrder { id: BatchId(self.first_id + index as u64), stamp, batch })
    }

    fn next_index(&self) -> Option<usize> {
        let mut last_sending = 0;
        for (index, entry) in self.entries.iter().enumerate() {
            match entry.in_flight {
                _ if entry.is_settled() => {}
                // Sent before the one in front of it was sent again: it will be refused, and must be answered first.
                Some(in_flight) if in_flight.sending < last_sending => return None,
                Some(in_flight) => last_sending = in_flight.sending,
                // Certainly not written: it begins anew in the next epoch.
                None if self.closing && !entry.doubt.is_some() => {}
                None => return (index < BATCHES_PER_PRODUCER).then_some(index),
            }
        }
        None
    }

    /// An answer came for a batch sent on `connection`. One for a batch that was given up by now changes nothing.
    pub(crate) fn on_answer(
        &mut self,
        now_ms: u64,
        sent: (BatchId, ConnectionId),
        answer: BatchAnswer,
        effects: &mut Vec<QueueEffect<B>>,
    ) {
        let Some(index) = self.in_flight_index(sent) else { return };
        self.entries[index].in_flight = None;
        match answer.code.outcome() {
            Outcome::Acknowledged => {
                let base_offset = (answer.code == ErrorCode::None).then_some(answer.base_offset);
                let (append_time_ms, durability) = (answer.append_time_ms, answer.durability);
                self.settle(index, Settlement::Acknowledged { base_offset, append_time_ms, durability }, effects);
                self.backoff.reset();
            }
            Outcome::Unknown => {
                self.entries[index].doubt.add(sent.1.peer);
                self.pause(now_ms, &answer);
                self.keep(index, answer, effects);
            }
            Outcome::Refused => self.on_refused(now_ms, (index, sent.1.peer), answer, effects),
        }
        self.advance(effects);
    }

    fn on_refused(&mut self, now_ms: u64, (index, by): (usize, Peer), answer: BatchAnswer, effects: &mut Vec<QueueEffect<B>>) {
        use sluice_model::error_code::Retry;
        match answer.code {
            // The sequence check has looked at what the partition holds, and this batch is not in it.
            ErrorCode::OutOfOrderSequence | ErrorCode::UnknownProducer => {
                let first = self.entries.iter().take(index).all(Entry::is_settled);
                self.entries[index].doubt.on_not_written_at(by);
                if first && !self.closing {
                    self.closing = true;
                    effects.push(QueueEffect::HistoryLost);
                    self.pause(now_ms, &answer);
                }
                // Nothing before it will be written under this epoch any more, so nobody will ever know more of it.
                let alone = !self.entries.iter().take(index).any(|e| e.in_flight.is_some() || e.is_in_doubt());
                if self.closing && alone && self.entries[index].doubt.is_some() {
                    let text = format!("an earlier leader of the partition may have it, this one does not: {}", answer.text);
                    self.give_up(index, Reason::Broker(answer.code), text, effects);
                } else {
                    self.keep(index, answer, effects);
                }
            }
            // Somebody has this producer id too. What was written under it can no longer be asked for.
            ErrorCode::FencedProducerEpoch => {
                self.closing = true;
                self.needs_new_id = true;
                if self.entries[index].doubt.is_some() {
                    self.give_up(index, Reason::Broker(answer.code), answer.text, effects);
                } else {
                    self.pause(now_ms, &answer);
                    self.keep(index, answer, effects);
                }
            }
            code if code.retry() == Retry::Never => self.give_up(index, Reason::Broker(code), answer.text, effects),
            _ => {
                self.pause(now_ms, &answer);
                self.keep(index, answer, effects);
            }
        }
    }

    /// No request that the broker takes can hold this batch, now or later.
    pub(crate) fn on_unsendable(&mut self, sent: (BatchId, ConnectionId), why: &str, effects: &mut Vec<QueueEffect<B>>) {
        if let Some(index) = self.in_flight_index(sent) {
            self.entries[index].in_flight = None;
            self.give_up(index, Reason::Client, why.into(), effects);
            self.advance(effects);
        }
    }

    /// The connection ended before this batch was answered. If its bytes did not all leave this machine, nobody has it
    /// from this sending.
    pub(crate) fn on_lost(&mut self, sent: (BatchId, ConnectionId), has_left: bool, effects: &mut Vec<QueueEffect<B>>) {
        if let Some(index) = self.in_flight_index(sent) {
            let entry = &mut self.entries[index];
            if has_left {
                entry.leave_wire_in_doubt();
            }
            entry.in_flight = None;
            self.advance(effects);
        }
    }

    /// Gives up what is past its deadline.
    pub(crate) fn on_tick(&mut self, now_ms: u64, effects: &mut Vec<QueueEffect<B>>) {
        for index in 0..self.entries.len() {
            let entry = &mut self.entries[index];
            if entry.deadline_ms > now_ms {
                break;
            }
            if !entry.is_settled() {
                entry.leave_wire_in_doubt();
                let text = super::queue_event::timeout_text(entry.last_error.as_ref());
                self.give_up(index, Reason::DeliveryTimeout, text, effects);
            }
        }
        self.advance(effects);
    }

    /// Another broker leads the partition now: what the last one said of waiting does not bind it.
    pub(crate) fn on_new_leader(&mut self) {
        self.not_before_ms = 0;
        self.backoff.reset();
    }

    /// The topic was deleted and created again: what may be written is gone with the old log, the rest goes to the
    /// new one. Until [`Self::is_closing`] is false again, batches still belong to the old one.
    pub(crate) fn on_log_replaced(&mut self, effects: &mut Vec<QueueEffect<B>>) {
        self.log_replaced = true;
        self.closing = true;
        self.advance(effects);
    }

    /// A fresh id, from epoch 0; without effect unless this queue is waiting for one.
    pub(crate) fn on_producer_id(&mut self, id: ProducerId) {
        if self.producer_id.is_none() {
            self.producer_id = Some(id);
            self.epoch = ProducerEpoch(0);
        }
    }

    /// Gives up everything, at the end of the producer.
    pub(crate) fn on_close(&mut self, effects: &mut Vec<QueueEffect<B>>) {
        for index in 0..self.entries.len() {
            let entry = &mut self.entries[index];
            if !entry.is_settled() {
                entry.leave_wire_in_doubt();
                self.give_up(index, Reason::Closed, "the producer was closed before it was delivered".into(), effects);
            }
        }
        self.advance(effects);
    }

    /// The batches that wait to be sent and are next in line, to be made ready for it.
    pub(crate) fn waiting_mut(&mut self, count: usize) -> impl Iterator<Item = (BatchId, &mut B)> {
        let ids = self.first_id..;
        let waiting = ids.zip(self.entries.iter_mut()).filter(|(_, e)| e.in_flight.is_none());
        waiting.filter_map(|(id, e)| e.batch.as_mut().map(|b| (BatchId(id), b))).take(count)
    }

    /// Takes out the first batch, which was never sent: for producers without an id, whose batches are not asked
    /// about afterwards.
    pub(crate) fn take_unsent(&mut self) -> Option<B> {
        let batch = self.entries.front_mut().filter(|e| e.sequence.is_none())?.batch.take();
        self.entries.pop_front();
        self.first_id += 1;
        batch
    }

    /// A batch that has no outcome yet.
    pub(crate) fn get_mut(&mut self, id: BatchId) -> Option<&mut B> {
        let index = usize::try_from(id.0.checked_sub(self.first_id)?).ok()?;
        self.entries.get_mut(index)?.batch.as_mut()
    }

    fn in_flight_index(&self, (id, connection): (BatchId, ConnectionId)) -> Option<usize> {
        let index = usize::try_from(id.0.checked_sub(self.first_id)?).ok()?;
        let entry = self.entries.get(index)?;
        (entry.in_flight?.on == connection && !entry.is_settled()).then_some(index)
    }

    /// It stays in the queue, to be sent again in its turn.
    fn keep(&mut self, index: usize, answer: BatchAnswer, effects: &mut Vec<QueueEffect<B>>) {
        if is_not_serving(answer.code) || answer.code.retry() == sluice_model::error_code::Retry::Refreshed {
            effects.push(QueueEffect::RefreshMetadata);
        }
        self.entries[index].last_error = Some(answer.into());
    }

    fn pause(&mut self, now_ms: u64, answer: &BatchAnswer) {
        if answer.redirected {
            return;
        }
        // Those that were in flight together are refused together; that is one reason to wait, not five.
        let wait_ms = if now_ms < self.not_before_ms { 0 } else { self.backoff.next_ms() };
        self.not_before_ms = self.not_before_ms.max(now_ms + u64::from(wait_ms.max(answer.retry_after_ms)));
    }

    /// Settles a batch that was not acknowledged. If it has a sequence, the partition may never see that one.
    fn give_up(&mut self, index: usize, reason: Reason, text: String, effects: &mut Vec<QueueEffect<B>>) {
        let entry = &self.entries[index];
        self.closing |= entry.sequence.is_some();
        let retry_after_ms = entry.last_error.as_ref().map_or(0, |last| last.retry_after_ms);
        let settlement = Settlement::given_up(entry.doubt.is_some(), reason, text, retry_after_ms);
        self.settle(index, settlement, effects);
    }

    fn settle(&mut self, index: usize, settlement: Settlement, effects: &mut Vec<QueueEffect<B>>) {
        let batch = self.entries[index].batch.take().expect("a batch is settled once");
        effects.push(QueueEffect::Settled { batch, settlement });
    }

    /// What follows from any event: settled batches leave at the front, and a closing epoch ends when it can.
    fn advance(&mut self, effects: &mut Vec<QueueEffect<B>>) {
        if self.log_replaced {
            let text = "the topic was deleted and created again; what the old one held is gone";
            for index in 0..self.entries.len() {
                if self.entries[index].is_in_doubt() {
                    self.give_up(index, Reason::Broker(ErrorCode::UnknownTopic), text.into(), effects);
                }
            }
        }
        while self.entries.front().is_some_and(Entry::is_settled) {
            self.entries.pop_front();
            self.first_id += 1;
        }
        let doubtful = |e: &Entry<B>| !e.is_settled() && (e.in_flight.is_some() || e.doubt.is_some());
        if self.closing && !self.entries.iter().any(doubtful) {
            self.begin_epoch(effects);
        }
    }

    fn begin_epoch(&mut self, effects: &mut Vec<QueueEffect<B>>) {
        self.entries.iter_mut().for_each(|e| e.sequence = None);
        self.next_sequence = Sequence(0);
        (self.closing, self.log_replaced) = (false, false);
        if std::mem::take(&mut self.needs_new_id) || self.epoch.0 == i16::MAX {
            self.producer_id = None;
            effects.push(QueueEffect::NewProducerId);
        } else {
            self.epoch.0 += 1;
        }
    }
}

/// Who cannot serve the partition now may not be its leader much longer.
fn is_not_serving(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NotReady | ErrorCode::ShuttingDown)
}

#[path = "queue_view.rs"]
mod view;

#[cfg(test)]
#[path = "partition_queue_model_test.rs"]
mod model_tests;
#[cfg(test)]
#[path = "partition_queue_test.rs"]
mod tests;
