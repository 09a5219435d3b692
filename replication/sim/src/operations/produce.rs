//! Batches in: new ones, retries, old duplicates, and frames that must be refused.

use crate::clients::StreamKey;
use crate::demand;
use crate::oracle::Violation;
use crate::oracle::batches::{Batch, BatchId};
use crate::oracle::producers::Expected;
use crate::plan::pick;
use crate::world::{Awaited, World};
use sluice_model::frame::ProducerBatch;
use sluice_model::{Clock, FRAME_HEADER_LEN, FrameError, FrameHeader, PartitionIndex, TopicId, TopicPartition};
use sluice_partition::{Acks, Overload, PartitionSettings, ProduceRefusal};
use sluice_storage::testing::random::Random;

/// Batches of one stream that may wait for an answer, as Kafka's idempotent producers have it.
const IN_FLIGHT_MAX: usize = 5;
/// One produce in so many is a flood, of so many at most, in a seed that has floods.
const FLOOD_ONE_IN: u64 = 16;
const FLOOD_BATCHES: u64 = 40;

/// What a send has come to, for whoever sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Taken,
    /// Certainly not written, and may be sent again as it is.
    TurnedAway,
    /// Its sequence is wrong: the producer has to begin anew.
    Fenced,
}

impl World {
    pub(super) fn produce(&mut self) -> Result<(), Violation> {
        if self.plan.has_floods && self.random.below(FLOOD_ONE_IN) == 0 {
            self.coverage.hit("produce: flood");
            return self.flood();
        }
        self.produce_some().map(|_| ())
    }

    /// As quickly as the journal takes it, until something is full: a ring may be filled before the background has had
    /// many turns.
    fn flood(&mut self) -> Result<(), Violation> {
        for _ in 0..FLOOD_BATCHES {
            if !self.produce_some()? {
                break;
            }
            self.turns(4)?;
        }
        Ok(())
    }

    /// Gives back whether all of it was taken.
    pub(super) fn produce_some(&mut self) -> Result<bool, Violation> {
        let Some(id) = self.any_partition() else { return Ok(true) };
        let key: StreamKey = (self.random.below(self.plan.producers + 1), id);
        if key.0 > 0 {
            let (waiting, must_retry) = {
                let stream = self.clients.stream(key);
                (stream.unresolved.len(), stream.must_retry)
            };
            if waiting >= IN_FLIGHT_MAX || (must_retry && self.random.below(4) > 0) {
                self.resend(key)?;
                return Ok(true);
            }
        }
        for _ in 0..=self.random.below(3) {
            let producer = self.clients.producer(key);
            let batch = self.oracle.batches.make(&mut self.random, &self.plan, id, producer);
            let acks = [Acks::All, Acks::All, Acks::All, Acks::Leader, Acks::None][pick(&mut self.random, 5)];
            match self.send(key, batch, acks)? {
                Sent::Taken => {
                    let record_count = self.oracle.batches.get(batch).record_count;
                    self.clients.on_admitted(key, batch, record_count, acks != Acks::None);
                }
                Sent::TurnedAway => return Ok(false),
                Sent::Fenced => {
                    self.clients.begin_anew(key);
                    break;
                }
            }
            if key.0 > 0 && self.clients.stream(key).unresolved.len() >= IN_FLIGHT_MAX {
                break;
            }
        }
        Ok(true)
    }

    pub(super) fn retry(&mut self) -> Result<(), Violation> {
        let waiting: Vec<StreamKey> =
            self.clients.streams.iter().filter(|(_, stream)| !stream.unresolved.is_empty()).map(|(key, _)| *key).collect();
        if waiting.is_empty() {
            return Ok(());
        }
        let key = waiting[pick(&mut self.random, waiting.len())];
        self.resend(key)
    }

    /// Sends everything that was not answered again, in order; now and then the producer gives up instead.
    fn resend(&mut self, key: StreamKey) -> Result<(), Violation> {
        if self.random.below(8) == 0 {
            self.clients.begin_anew(key);
            return Ok(());
        }
        for batch in self.clients.stream(key).unresolved.clone() {
            match self.send(key, batch, Acks::All)? {
                Sent::Taken => {}
                Sent::TurnedAway => return Ok(()),
                Sent::Fenced => {
                    self.clients.begin_anew(key);
                    return Ok(());
                }
            }
        }
        self.clients.stream(key).must_retry = false;
        Ok(())
    }

    /// A batch of an idempotent producer, of any age, once more.
    pub(super) fn send_old_duplicate(&mut self) -> Result<(), Violation> {
        let Some(id) = self.any_partition() else { return Ok(()) };
        let held = &self.oracle.partition(id).frames;
        let batches: Vec<BatchId> =
            held.values().map(|held| held.batch).filter(|batch| self.oracle.batches.get(*batch).producer.id.0 >= 0).collect();
        if batches.is_empty() {
            return Ok(());
        }
        let batch = batches[pick(&mut self.random, batches.len())];
        let producer = u64::try_from(self.oracle.batches.get(batch).producer.id.0).expect("filtered");
        self.send((producer, id), batch, Acks::All)?;
        Ok(())
    }

    /// With all faults gone: what is unresolved is resolved, and a new batch is taken.
    pub(super) fn settle_partition(&mut self, id: TopicPartition) -> Result<(), Violation> {
        let frame_len_max = self.plan.body_len_max + 200;
        let settings = PartitionSettings { min_insync_replicas: 1, frame_len_max, ..self.oracle.partition(id).settings };
        self.change_settings(id.topic_id, settings);
        for key in self.clients.streams.keys().filter(|key| key.1 == id).copied().collect::<Vec<_>>() {
            for batch in self.clients.stream(key).unresolved.clone() {
                if self.send(key, batch, Acks::All)? == Sent::TurnedAway {
                    break;
                }
            }
        }
        for _ in 0..5 {
            self.advance_ms(1_000)?;
            let producer = self.clients.producer((0, id));
            let batch = self.oracle.batches.make(&mut self.random, &self.plan, id, producer);
            if self.send((0, id), batch, Acks::All)? == Sent::Taken {
                return Ok(());
            }
        }
        Err(Violation(format!("{id} takes no batch, and nothing is wrong with it: {:?}", self.statuses())))
    }

    /// Sends one batch and holds the outcome against the model.
    fn send(&mut self, key: StreamKey, number: BatchId, acks: Acks) -> Result<Sent, Violation> {
        let id = key.1;
        let token = self.token();
        let batch = self.oracle.batches.get(number).clone();
        let Some(partitions) = self.partitions_of(id) else { return Ok(Sent::TurnedAway) };
        let expected = self.oracle.partition(id).expect(&batch);
        let or_else = self.oracle.partition(id).may_also_expect(&batch);
        let before = partitions.status(id);
        let result = partitions.append(self.clock.now(), &batch.frame, acks, token);
        let after = partitions.status(id);
        self.trace.note(format_args!(
            "  send {} of {id} ({} bytes, {acks:?}, {expected:?}): {result:?}",
            number.0,
            batch.frame.len()
        ));
        let (Some(before), Some(after)) = (before, after) else {
            let refused = result == Err(ProduceRefusal::UnknownPartition(id));
            demand!(refused, "{id} is not there, and took a batch: {result:?}");
            self.coverage.hit("produce: unknown partition");
            return Ok(Sent::TurnedAway);
        };
        let grown = after.log_end_offset.0 - before.log_end_offset.0;
        match result {
            Ok(()) => self.on_taken(key, number, &batch, Taken { token, acks, grown, expected, or_else }),
            Err(refusal) => {
                demand!(grown == 0, "{id}: a batch was refused ({refusal}) and written");
                self.on_refused(id, &batch, acks, expected, &refusal)
            }
        }
    }

    fn on_taken(&mut self, key: StreamKey, number: BatchId, batch: &Batch, taken: Taken) -> Result<Sent, Violation> {
        let Taken { token, acks, grown, expected, or_else } = taken;
        let now_us = self.clock.true_us();
        let id = key.1;
        let is_new = grown > 0;
        if let Some(shard) = self.control.shard_of(id).and_then(|shard| self.shards.get_mut(&shard)) {
            shard.taken_len += batch.frame.len() as u64;
        }
        let model = self.oracle.partition_mut(id);
        if is_new {
            demand!(grown == u64::from(batch.record_count), "{id}: {} records made the log {grown} longer", batch.record_count);
            let may = expected == Expected::New || or_else == Some(Expected::New) || model.has_lost;
            demand!(may, "{id}: batch {} is {expected:?}, and was taken", number.0);
        } else {
            let is_duplicate = matches!(expected, Expected::Duplicate(_) | Expected::OldDuplicate);
            demand!(
                is_duplicate || or_else.is_some() || model.has_lost,
                "{id}: batch {} is {expected:?}, and was not appended",
                number.0
            );
        }
        let base = if is_new {
            Some(model.append(number, batch, now_us))
        } else if let Expected::Duplicate(base) = expected {
            if base >= model.promised_end {
                self.coverage.hit("produce: duplicate waits for the first");
            }
            Some(base)
        } else {
            None
        };
        self.coverage.hit(match (is_new, base) {
            (true, _) => "produce: appended",
            (false, Some(_)) => "produce: duplicate answered",
            (false, None) => "produce: old duplicate answered",
        });
        match acks {
            Acks::None => self.coverage.hit("produce: acks none"),
            Acks::Leader => self.coverage.hit("produce: acks leader"),
            Acks::All => {}
        }
        if acks != Acks::None {
            self.awaited.insert(token, Awaited::Produce { key, batch: number, base, acks });
        }
        Ok(Sent::Taken)
    }

    fn on_refused(
        &mut self,
        id: TopicPartition,
        batch: &Batch,
        acks: Acks,
        expected: Expected,
        refusal: &ProduceRefusal,
    ) -> Result<Sent, Violation> {
        if let Some(name) = load_refusal(refusal) {
            self.coverage.hit(name);
            let room_is_known = *refusal != ProduceRefusal::DiskFull || self.faults.is_full || self.was_full();
            demand!(room_is_known, "{id}: the disk is said to be full, and has room");
            let is_cut = !matches!(refusal, ProduceRefusal::Truncating(_)) || self.oracle.partition(id).truncation.is_some();
            demand!(is_cut, "{id} is said to be truncated, and nobody truncates it");
            return Ok(Sent::TurnedAway);
        }
        let model = self.oracle.partition(id);
        let text = format!("{refusal:?}");
        if text.contains("FrameTooLarge") {
            demand!(batch.frame.len() > model.settings.frame_len_max, "{id}: {} bytes are refused: {refusal}", batch.frame.len());
            self.coverage.hit("produce: too large");
            return Ok(Sent::TurnedAway);
        }
        if text.contains("NotEnoughReplicas") {
            demand!(acks == Acks::All && model.settings.min_insync_replicas > 1, "{id}: {refusal}");
            self.coverage.hit("produce: not enough replicas");
            return Ok(Sent::TurnedAway);
        }
        let (name, is_right) = match expected {
            Expected::Fenced => ("produce: fenced", text.contains("FencedEpoch")),
            Expected::OutOfOrder => ("produce: out of order", text.contains("OutOfOrder")),
            Expected::Unknown => ("produce: unknown producer", text.contains("UnknownProducer")),
            Expected::New | Expected::Duplicate(_) | Expected::OldDuplicate => ("produce: refused for its sequence", false),
        };
        let is_open = model.has_lost || model.may_also_expect(batch).is_some();
        demand!(is_right || is_open, "{id}: a batch that is {expected:?} is refused: {refusal}");
        self.coverage.hit(name);
        Ok(Sent::Fenced)
    }

    /// A shard takes a moment to notice that there is room again.
    pub(super) fn was_full(&self) -> bool {
        self.shards.values().any(|shard| shard.partitions.shard_status().disk_full)
    }

    pub(super) fn send_bad_frame(&mut self) -> Result<(), Violation> {
        let Some(id) = self.any_partition() else { return Ok(()) };
        let Some(partitions) = self.partitions_of(id) else { return Ok(()) };
        let token = self.token();
        let producer = self.clients.producer((0, id));
        let number = self.oracle.batches.make(&mut self.random, &self.plan, id, producer);
        let mut frame = self.oracle.batches.get(number).frame.clone();
        let kind = self.random.below(5);
        spoil(&mut frame, kind, &mut self.random);
        let before = partitions.status(id);
        let result = partitions.append(self.clock.now(), &frame, Acks::All, token);
        self.trace.note(format_args!("  bad frame of kind {kind} to {id}: {result:?}"));
        let Err(refusal) = result else { return Err(Violation(format!("{id}: a bad frame of kind {kind} was taken"))) };
        demand!(partitions.status(id) == before, "{id}: a refused frame has changed something");
        if load_refusal(&refusal).is_some() || before.is_none() {
            return Ok(());
        }
        let is_right = match kind {
            0 => matches!(refusal, ProduceRefusal::Frame(FrameError::BatchCrc { .. })),
            1 => matches!(refusal, ProduceRefusal::TrailingBytes { .. }),
            2 => matches!(refusal, ProduceRefusal::Frame(_)),
            3 => matches!(refusal, ProduceRefusal::Attributes { .. }),
            _ => matches!(refusal, ProduceRefusal::UnknownPartition(_)),
        };
        demand!(is_right, "{id}: a bad frame of kind {kind} is refused for another reason: {refusal}");
        self.coverage.hit_if(kind == 0, "produce: bad checksum");
        Ok(())
    }
}

struct Taken {
    token: u64,
    acks: Acks,
    grown: u64,
    expected: Expected,
    or_else: Option<Expected>,
}

/// A refusal that any batch may meet, by its name.
fn load_refusal(refusal: &ProduceRefusal) -> Option<&'static str> {
    match refusal {
        ProduceRefusal::DiskFull => Some("produce: refused, disk full"),
        ProduceRefusal::Truncating(_) => Some("produce: refused, truncating"),
        ProduceRefusal::ShuttingDown => Some("produce: refused, shutting down"),
        ProduceRefusal::Overloaded { reason, .. } => Some(match reason {
            Overload::Delay { .. } => "produce: refused, delay",
            Overload::JournalBuffer => "produce: refused, journal buffer",
            Overload::Tail => "produce: refused, tail",
            Overload::JournalRing => "produce: refused, ring",
        }),
        _ => None,
    }
}

/// Makes a good frame bad, in one of five ways.
fn spoil(frame: &mut Vec<u8>, kind: u64, random: &mut Random) {
    match kind {
        0 => {
            let at = FRAME_HEADER_LEN + pick(random, frame.len() - FRAME_HEADER_LEN);
            frame[at] ^= 1 << random.below(8);
        }
        1 => frame.push(0),
        2 => frame.truncate(pick(random, frame.len())),
        3 => reseal(frame, |batch| batch.attributes = [8, 0x10, 0x20, 7][pick(random, 4)]),
        _ => reseal(frame, |batch| {
            batch.topic_partition = TopicPartition { topic_id: TopicId([0xee; 16]), partition: PartitionIndex(1) };
        }),
    }
}

/// The same body under another header.
fn reseal(frame: &mut Vec<u8>, change: impl FnOnce(&mut ProducerBatch)) {
    let header = FrameHeader::parse(frame).unwrap_or_else(|error| panic!("the simulator's own frame: {error}"));
    let mut batch = ProducerBatch {
        topic_partition: header.topic_partition(),
        attributes: header.attributes.to_native(),
        producer_id: header.producer_id(),
        producer_epoch: header.producer_epoch(),
        base_sequence: header.base_sequence(),
        record_count: header.record_count.to_native(),
        base_timestamp_ms: header.base_timestamp_ms.to_native(),
        max_timestamp_ms: header.max_timestamp_ms.to_native(),
    };
    change(&mut batch);
    let body = frame.split_off(FRAME_HEADER_LEN);
    *frame = [FrameHeader::new(batch, &body).as_bytes().as_slice(), &body].concat();
}
