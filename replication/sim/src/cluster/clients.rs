//! Producers and consumers of a cluster: they learn from any broker who leads, send again what was not answered, and go on
//! elsewhere when a leader is gone, by the rules of the native client.
//!
//! A batch keeps its sequence however often it is sent, and what is sent again is sent from the oldest on. The expensive
//! mistake is to take a leader's word that is no leader any more: what it says of a sequence counts only when its epoch is not
//! below that of the last answer. Deliberately absent: delivery timeouts; a producer never gives up.

use super::controller::View;
use super::message::{Message, Node, Produce, ProduceAnswer, ProduceOutcome};
use super::plan::{ClusterPlan, around};
use super::truth::Truth;
use crate::coverage::Coverage;
use crate::demand;
use crate::oracle::Violation;
use crate::oracle::batches::{BatchId, Producer};
use crate::plan::pick;
use bytes::Bytes;
use sluice_model::{BrokerId, LeaderEpoch, ProducerEpoch, ProducerId, Sequence, ShardIndex, TopicPartition};
use sluice_storage::testing::random::Random;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(pub u32);

/// An answer that has not come after this long will not.
const ANSWER_US: u64 = 400_000;
const BACKOFF_US: u64 = 25_000;
const READ_EVERY_US: u64 = 30_000;

struct Pending {
    batch: BatchId,
    /// Its last sending, and when that was.
    sending: Option<(u64, u64)>,
}

/// One producer's stream to one partition.
#[derive(Default)]
struct Stream {
    next_sequence: i32,
    unresolved: VecDeque<Pending>,
    not_before_us: u64,
    must_resend: bool,
    /// Under which the last answer was given.
    answered_epoch: LeaderEpoch,
}

pub struct Client {
    pub id: ClientId,
    /// Its batches have sequences and are to be on every in-sync replica.
    is_idempotent: bool,
    streams: BTreeMap<TopicPartition, Stream>,
    view: Rc<View>,
    pub next_us: u64,
}

/// Of one sending.
struct Sent {
    batch: BatchId,
    /// Everything before it was answered.
    was_first: bool,
}

/// A reader of one partition.
pub struct Consumer {
    pub cursor: u64,
    number: u64,
    pub next_us: u64,
    view: Rc<View>,
}

pub struct Clients {
    pub producers: Vec<Client>,
    pub consumers: BTreeMap<TopicPartition, Consumer>,
    sent: BTreeMap<u64, Sent>,
    sendings: u64,
    pub have_stopped: bool,
}

/// What a client is given from outside.
pub struct ClientWorld<'a> {
    pub plan: &'a ClusterPlan,
    pub random: &'a mut Random,
    pub now_us: u64,
    pub truth: &'a mut Truth,
    pub coverage: &'a mut Coverage,
    /// What some broker that can be reached says of the cluster.
    pub newest: &'a dyn Fn(&mut Random) -> Option<Rc<View>>,
    pub out: &'a mut Vec<(Node, Node, Message)>,
}

impl Clients {
    #[must_use]
    pub fn new(plan: &ClusterPlan, view: &Rc<View>) -> Self {
        // The last one asks for no more than its leader's flush, and has no sequences.
        let count = u32::try_from(plan.producers).expect("few");
        let producers = (1..=count + 1).map(|number| Client {
            id: ClientId(number),
            is_idempotent: number <= count,
            streams: BTreeMap::new(),
            view: Rc::clone(view),
            next_us: u64::from(number) * 1000,
        });
        Self {
            producers: producers.collect(),
            consumers: BTreeMap::new(),
            sent: BTreeMap::new(),
            sendings: 0,
            have_stopped: false,
        }
    }

    pub fn add_consumer(&mut self, id: TopicPartition, view: &Rc<View>) {
        let consumer = Consumer { cursor: 0, number: 0, next_us: 0, view: Rc::clone(view) };
        self.consumers.insert(id, consumer);
    }

    #[must_use]
    pub fn next_us(&self) -> u64 {
        let producers = self.producers.iter().map(|client| client.next_us);
        let consumers = self.consumers.values().map(|consumer| consumer.next_us);
        producers.chain(consumers).min().unwrap_or(u64::MAX)
    }

    /// Batches that nobody has answered yet, of those that are to be on every in-sync replica.
    #[must_use]
    pub fn unresolved(&self) -> usize {
        let idempotent = self.producers.iter().filter(|client| client.is_idempotent);
        idempotent.flat_map(|client| client.streams.values()).map(|stream| stream.unresolved.len()).sum()
    }

    pub fn run_due(&mut self, ids: &[TopicPartition], world: &mut ClientWorld<'_>) {
        for at in 0..self.producers.len() {
            if self.producers[at].next_us <= world.now_us && !ids.is_empty() {
                self.run_producer(at, ids, world);
            }
        }
        let due: Vec<_> =
            self.consumers.iter().filter(|(_, consumer)| consumer.next_us <= world.now_us).map(|(id, _)| *id).collect();
        due.into_iter().for_each(|id| self.read(id, world));
    }

    fn run_producer(&mut self, at: usize, ids: &[TopicPartition], world: &mut ClientWorld<'_>) {
        let now_us = world.now_us;
        self.producers[at].next_us = now_us + around(world.random, world.plan.produce_every_us);
        let late: Vec<_> = self.producers[at].late(now_us);
        for id in late {
            world.coverage.hit("produce: no answer");
            self.producers[at].on_trouble(id, world);
        }
        let resend: Vec<_> = self.producers[at].to_resend(now_us);
        for id in resend {
            self.resend(at, id, world);
        }
        let id = ids[pick(world.random, ids.len())];
        let client = &mut self.producers[at];
        let stream = client.streams.entry(id).or_default();
        if self.have_stopped || stream.must_resend || stream.unresolved.len() >= world.plan.in_flight_max {
            return;
        }
        let record_count = 1 + u32::try_from(world.random.below(4)).expect("small");
        let producer = client.next_producer(id);
        let body_len = 16 + pick(world.random, usize::try_from(world.plan.body_len_max).expect("small"));
        let batch = world.truth.batches.make_opaque(world.random, id, producer, body_len, record_count);
        let stream = client.streams.entry(id).or_default();
        if client.is_idempotent {
            stream.next_sequence += i32::try_from(record_count).expect("small");
        }
        stream.unresolved.push_back(Pending { batch, sending: None });
        let last = stream.unresolved.len() - 1;
        self.send(at, id, last, world);
    }

    fn resend(&mut self, at: usize, id: TopicPartition, world: &mut ClientWorld<'_>) {
        let client = &mut self.producers[at];
        let Some(stream) = client.streams.get_mut(&id) else { return };
        stream.must_resend = false;
        if !client.is_idempotent {
            // Sent again it could stand twice: it is given up.
            stream.unresolved.clear();
            return;
        }
        world.coverage.hit("produce: sent again");
        for index in 0..self.producers[at].streams[&id].unresolved.len() {
            self.send(at, id, index, world);
        }
    }

    fn send(&mut self, at: usize, id: TopicPartition, index: usize, world: &mut ClientWorld<'_>) {
        let client = &mut self.producers[at];
        let target = leader_of(&client.view, id);
        let Some(stream) = client.streams.get_mut(&id) else { return };
        let Some((broker, shard)) = target else {
            stream.must_resend = true;
            stream.not_before_us = world.now_us + BACKOFF_US;
            client.refresh(world);
            return;
        };
        self.sendings += 1;
        let sending = self.sendings;
        let pending = &mut stream.unresolved[index];
        pending.sending = Some((sending, world.now_us));
        let batch = pending.batch;
        self.sent.insert(sending, Sent { batch, was_first: index == 0 });
        let frame = Bytes::copy_from_slice(&world.truth.batches.get(batch).frame);
        let produce = Produce { client: client.id, id, shard, sending, frame, all_replicas: client.is_idempotent };
        world.out.push((Node::Client(client.id), Node::Broker(broker), Message::Produce(produce)));
    }

    pub fn on_produce_answer(&mut self, answer: &ProduceAnswer, world: &mut ClientWorld<'_>) -> Result<(), Violation> {
        let Some(sent) = self.sent.get(&answer.sending) else { return Ok(()) };
        let (batch, was_first) = (sent.batch, sent.was_first);
        let Some(client) = self.producers.iter_mut().find(|client| client.id == answer.client) else { return Ok(()) };
        let id = answer.id;
        let Some(stream) = client.streams.get_mut(&id) else { return Ok(()) };
        if stream.unresolved.iter().all(|pending| pending.batch != batch) {
            return Ok(());
        }
        match answer.outcome {
            ProduceOutcome::Written { .. } => {
                world.coverage.hit("produce: answered");
                stream.unresolved.retain(|pending| pending.batch != batch);
                stream.answered_epoch = stream.answered_epoch.max(answer.leader_epoch.unwrap_or_default());
            }
            ProduceOutcome::OutOfOrder => {
                let is_current = answer.leader_epoch.is_some_and(|epoch| epoch >= stream.answered_epoch);
                let epoch = stream.answered_epoch;
                demand!(
                    !(was_first && is_current && client.is_idempotent),
                    "a leader goes on where its producers do: {id}: batch {} is out of order under {:?}, the one before was \
                     answered under {epoch}",
                    batch.0,
                    answer.leader_epoch
                );
                world.coverage.hit("produce: out of order");
                client.on_trouble(id, world);
            }
            ProduceOutcome::Refused | ProduceOutcome::Unknown => client.on_trouble(id, world),
        }
        Ok(())
    }

    fn read(&mut self, id: TopicPartition, world: &mut ClientWorld<'_>) {
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        consumer.next_us = world.now_us + around(world.random, READ_EVERY_US);
        if world.random.below(60) == 0 && !self.have_stopped {
            world.coverage.hit("read: from the beginning");
            consumer.cursor = 0;
        }
        consumer.number += 1;
        if let Some((broker, shard)) = leader_of(&consumer.view, id) {
            let client = ClientId(0);
            let read = Message::Read { client, id, shard, offset: consumer.cursor, number: consumer.number };
            world.out.push((Node::Client(client), Node::Broker(broker), read));
        }
        if world.random.below(4) == 0
            && let Some(view) = (world.newest)(world.random)
            && view.version > consumer.view.version
        {
            consumer.view = view;
        }
    }

    pub fn on_read_answer(
        &mut self,
        id: TopicPartition,
        number: u64,
        frames: Option<&Bytes>,
        world: &mut ClientWorld<'_>,
    ) -> Result<(), Violation> {
        let Some(consumer) = self.consumers.get_mut(&id).filter(|consumer| consumer.number == number) else { return Ok(()) };
        let Some(frames) = frames.filter(|frames| !frames.is_empty()) else { return Ok(()) };
        world.coverage.hit("read: records");
        let cursor = consumer.cursor;
        let next = world.truth.on_read(id, frames)?;
        demand!(next > cursor, "{id}: a reader at {cursor} is given records up to {next}");
        consumer.cursor = next;
        consumer.number += 1;
        Ok(())
    }
}

impl Client {
    fn late(&self, now_us: u64) -> Vec<TopicPartition> {
        let is_late = |pending: &Pending| pending.sending.is_some_and(|(_, sent_us)| now_us - sent_us >= ANSWER_US);
        let streams = self.streams.iter();
        streams.filter(|(_, s)| !s.must_resend && s.unresolved.iter().any(is_late)).map(|(id, _)| *id).collect()
    }

    fn to_resend(&self, now_us: u64) -> Vec<TopicPartition> {
        let streams = self.streams.iter();
        streams.filter(|(_, s)| s.must_resend && s.not_before_us <= now_us).map(|(id, _)| *id).collect()
    }

    fn on_trouble(&mut self, id: TopicPartition, world: &mut ClientWorld<'_>) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.must_resend = true;
            stream.not_before_us = world.now_us + around(world.random, BACKOFF_US);
        }
        self.refresh(world);
    }

    fn refresh(&mut self, world: &mut ClientWorld<'_>) {
        if let Some(view) = (world.newest)(world.random)
            && view.version > self.view.version
        {
            self.view = view;
        }
    }

    fn next_producer(&self, id: TopicPartition) -> Producer {
        if !self.is_idempotent {
            return Producer::NONE;
        }
        let sequence = Sequence(self.streams.get(&id).map_or(0, |stream| stream.next_sequence));
        Producer { id: ProducerId(i64::from(self.id.0)), epoch: ProducerEpoch(0), sequence }
    }
}

fn leader_of(view: &View, id: TopicPartition) -> Option<(BrokerId, ShardIndex)> {
    let partition = view.image.partition(id)?;
    let leader = partition.leader?;
    Some((leader, partition.placement(leader)?.shard))
}
