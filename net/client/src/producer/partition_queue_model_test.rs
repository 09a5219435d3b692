//! The queue against a model of a partition on two brokers that lead it in turns, its connections and everything that can
//! happen to them. What is not acknowledged yet may be missing on the next leader, and be there again when the last one
//! leads once more; what was sent to a broker and not read may be read when it leads again. Whatever happens: no batch is in the log twice, none in the wrong order, every outcome is true, and when the trouble ends
//! every batch has one.

use super::*;
use proptest::prelude::*;
use sluice_model::{FrameHeader, Offset, ProducerBatch, ProducerTable, TopicPartition, frame::LeaderSeal};
use sluice_protocol::Durability;

const DELIVERY_TIMEOUT_MS: u64 = 1000;
const RECORDS: u32 = 3;

#[derive(Clone, Copy, Debug)]
enum Event {
    Push,
    Send,
    /// The partition reads the next request: and appends it if it may, …
    Serve,
    /// … or refuses it unread, …
    Refuse(usize),
    /// … or appends it and answers that it does not know.
    ServeBadly,
    Answer,
    /// The client's side of the connection ends; its bytes stay where they are.
    Drop,
    /// The oldest request of a dropped connection to the leader is read after all.
    ServeLeftover,
    /// The other broker leads; it has what is not acknowledged, or it has not.
    Move(bool),
    Pass(u64),
    /// The partition forgets every producer.
    Forget,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Push),
        6 => Just(Event::Send),
        8 => Just(Event::Serve),
        2 => (0usize..6).prop_map(Event::Refuse),
        1 => Just(Event::ServeBadly),
        8 => Just(Event::Answer),
        1 => Just(Event::Drop),
        2 => Just(Event::ServeLeftover),
        1 => any::<bool>().prop_map(Event::Move),
        3 => (1u64..400).prop_map(Event::Pass),
    ]
}

const REFUSALS: [ErrorCode; 6] = [
    ErrorCode::Overloaded,
    ErrorCode::NotLeader,
    ErrorCode::InvalidRecords,
    ErrorCode::DiskFull,
    ErrorCode::UnknownTopic,
    ErrorCode::FencedProducerEpoch,
];

type Sent = (BatchId, ProducerStamp, u32);

const PEERS: [Peer; 2] = [Peer { session_id: [1; 16], broker_id: 1 }, Peer { session_id: [2; 16], broker_id: 2 }];

#[derive(Default)]
struct World {
    /// The leader's.
    log: Vec<(ProducerStamp, u32)>,
    /// So much of it is on both brokers.
    committed: usize,
    producers: ProducerTable,
    requests: VecDeque<Sent>,
    answers: VecDeque<(BatchId, ErrorCode)>,
    leader: usize,
    /// Of each broker: what it has not read of connections that are gone.
    leftovers: [VecDeque<Sent>; 2],
    /// Of each broker: what it had behind so many committed ones when it last led.
    tails: [(usize, Vec<(ProducerStamp, u32)>); 2],
}

impl World {
    fn names(&self) -> Vec<u32> {
        self.log.iter().map(|(_, name)| *name).collect()
    }

    /// What `replica::idempotence` decides, in short.
    fn serve(&mut self, (_, stamp, name): Sent) -> ErrorCode {
        let sequence = stamp.base_sequence;
        match self.producers.get(stamp.producer_id) {
            None if sequence.0 != 0 => return ErrorCode::UnknownProducer,
            None => {}
            Some(entry) if stamp.epoch < entry.epoch => return ErrorCode::FencedProducerEpoch,
            Some(entry) if stamp.epoch > entry.epoch && sequence.0 != 0 => return ErrorCode::OutOfOrderSequence,
            Some(entry) if stamp.epoch > entry.epoch => {}
            Some(entry) if entry.batches.iter().any(|b| b.base_sequence == sequence) => return ErrorCode::None,
            Some(entry) if entry.batches.back().is_some_and(|b| b.next_sequence() == sequence) => {}
            Some(entry) if entry.batches.front().is_some_and(|b| sequence < b.base_sequence) => {
                return ErrorCode::DuplicateSequence;
            }
            Some(_) => return ErrorCode::OutOfOrderSequence,
        }
        self.append(stamp, name);
        ErrorCode::None
    }

    fn append(&mut self, stamp: ProducerStamp, name: u32) {
        let batch = ProducerBatch {
            topic_partition: TopicPartition::default(),
            attributes: 0,
            producer_id: stamp.producer_id,
            producer_epoch: stamp.epoch,
            base_sequence: stamp.base_sequence,
            record_count: RECORDS,
            base_timestamp_ms: 0,
            max_timestamp_ms: 0,
        };
        let base_offset = Offset(self.log.len() as u64);
        let seal = LeaderSeal { base_offset, leader_epoch: sluice_model::LeaderEpoch(1), append_time_ms: 0, prev_header_crc: 0 };
        self.producers.on_append(&FrameHeader::new(batch, b"").sealed(seal));
        self.log.push((stamp, name));
    }

    fn elect_other(&mut self, has_all: bool) {
        let tail = self.log.split_off(self.committed);
        self.tails[self.leader] = (self.committed, tail.clone());
        self.leader ^= 1;
        let (base, own) = std::mem::take(&mut self.tails[self.leader]);
        // A tail of its own lives on only until it follows a leader that commits something else.
        let tail =
            if has_all { tail } else { own.into_iter().take(if base == self.committed { usize::MAX } else { 0 }).collect() };
        let log = std::mem::take(&mut self.log);
        self.producers = ProducerTable::default();
        log.into_iter().chain(tail).for_each(|(stamp, name)| self.append(stamp, name));
    }
}

struct Client {
    queue: PartitionQueue<u32>,
    connection: ConnectionId,
    in_flight: Vec<BatchId>,
    now_ms: u64,
    pushed: u32,
    next_producer: i64,
    outcomes: Vec<(u32, Settlement)>,
}

impl Client {
    fn new() -> Self {
        let queue = PartitionQueue::new(Some(ProducerId(1)), Backoff::new(10, 100, 3));
        let connection = ConnectionId { number: 1, peer: PEERS[0] };
        Self { queue, connection, in_flight: vec![], now_ms: 0, pushed: 0, next_producer: 2, outcomes: vec![] }
    }

    fn take(&mut self, effects: Vec<QueueEffect<u32>>) {
        for effect in effects {
            match effect {
                QueueEffect::Settled { batch, settlement } => self.outcomes.push((batch, settlement)),
                QueueEffect::NewProducerId => {
                    self.queue.on_producer_id(ProducerId(self.next_producer));
                    self.next_producer += 1;
                }
                QueueEffect::RefreshMetadata | QueueEffect::HistoryLost => {}
            }
        }
    }

    fn send(&mut self, world: &mut World, count: usize) {
        for _ in 0..count {
            let Some(order) = self.queue.next_send(self.now_ms, self.connection) else { break };
            world.requests.push_back((order.id, order.stamp, *order.batch));
            self.in_flight.push(order.id);
        }
    }

    fn on_answer(&mut self, (id, code): (BatchId, ErrorCode)) {
        self.in_flight.retain(|&other| other != id);
        let answer = BatchAnswer {
            code,
            text: String::new(),
            base_offset: 0,
            append_time_ms: 0,
            durability: Durability::Committed,
            retry_after_ms: 0,
            redirected: false,
        };
        let mut effects = vec![];
        self.queue.on_answer(self.now_ms, (id, self.connection), answer, &mut effects);
        self.take(effects);
    }

    fn drop_connection(&mut self, world: &mut World) {
        let mut effects = vec![];
        for id in std::mem::take(&mut self.in_flight) {
            self.queue.on_lost((id, self.connection), true, &mut effects);
        }
        self.take(effects);
        self.connection.number += 1;
        // The next connection's Hello is what ends these.
        world.leftovers[world.leader].append(&mut world.requests);
        world.answers.clear();
    }

    fn tick(&mut self) {
        let mut effects = vec![];
        self.queue.on_tick(self.now_ms, &mut effects);
        self.take(effects);
    }
}

fn apply(world: &mut World, client: &mut Client, event: Event) {
    match event {
        Event::Push => {
            client.queue.push(client.pushed, RECORDS, client.now_ms + DELIVERY_TIMEOUT_MS);
            client.pushed += 1;
        }
        Event::Send => {
            if client.queue.has_sendable() {
                world.leftovers[world.leader].clear();
            }
            client.send(world, 2);
        }
        Event::Serve | Event::ServeBadly => {
            let Some(request) = world.requests.pop_front() else { return };
            let code = world.serve(request);
            let bad = matches!(event, Event::ServeBadly) && code == ErrorCode::None;
            if !bad && code.outcome() == Outcome::Acknowledged {
                world.committed = world.log.len();
            }
            world.answers.push_back((request.0, if bad { ErrorCode::RequestTimedOut } else { code }));
        }
        Event::Refuse(which) => {
            let Some(request) = world.requests.pop_front() else { return };
            world.answers.push_back((request.0, REFUSALS[which]));
        }
        Event::Answer => {
            if let Some(answer) = world.answers.pop_front() {
                client.on_answer(answer);
            }
        }
        Event::Drop => client.drop_connection(world),
        Event::ServeLeftover => {
            if let Some(request) = world.leftovers[world.leader].pop_front() {
                world.serve(request);
            }
        }
        Event::Move(has_all) => {
            client.drop_connection(world);
            world.elect_other(has_all);
            client.connection.peer = PEERS[world.leader];
        }
        Event::Pass(ms) => {
            client.now_ms += ms;
            client.tick();
        }
        Event::Forget => world.producers = ProducerTable::default(),
    }
}

/// The trouble ends: everything is served and answered until the queue is empty.
fn heal(world: &mut World, client: &mut Client) {
    for _ in 0..200 {
        if client.queue.is_empty() {
            return;
        }
        client.now_ms = client.now_ms.max(client.queue.not_before_ms());
        apply(world, client, Event::Send);
        while !world.requests.is_empty() {
            apply(world, client, Event::Serve);
        }
        while !world.answers.is_empty() {
            apply(world, client, Event::Answer);
        }
        client.tick();
    }
    panic!("the queue does not come to rest: {:?}", client.queue);
}

fn check(world: &World, client: &Client) -> Result<(), TestCaseError> {
    let log = world.names();
    prop_assert!(log.is_sorted_by(|a, b| a < b), "twice or out of order: {log:?}");
    let mut settled: Vec<u32> = client.outcomes.iter().map(|o| o.0).collect();
    settled.sort_unstable();
    prop_assert_eq!(settled, (0..client.pushed).collect::<Vec<_>>(), "each batch has one outcome");
    for (batch, settlement) in &client.outcomes {
        let written = log.contains(batch);
        match settlement {
            Settlement::Acknowledged { .. } => prop_assert!(written, "{batch} was acknowledged and is not there"),
            Settlement::Refused { .. } => prop_assert!(!written, "{batch} was refused and is there"),
            Settlement::Unknown { .. } => {}
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn outcomes_are_true_and_the_log_is_in_order(events in proptest::collection::vec(event(), 1..120)) {
        let (mut world, mut client) = (World::default(), Client::new());
        // Somebody else's use of the producer id takes away what fences a copy that an earlier leader has not read.
        let moves = events.iter().any(|event| matches!(event, Event::Move(_)));
        for event in events.into_iter().filter(|event| !moves || !matches!(event, Event::Refuse(5))) {
            apply(&mut world, &mut client, event);
            prop_assert!(world.names().is_sorted_by(|a, b| a < b), "twice or out of order: {:?}", world.names());
        }
        heal(&mut world, &mut client);
        check(&world, &client)?;
    }

    /// Without timeouts and final refusals, everything arrives.
    #[test]
    fn everything_arrives_when_nothing_is_given_up(events in proptest::collection::vec(event(), 1..120)) {
        let (mut world, mut client) = (World::default(), Client::new());
        for event in events {
            match event {
                Event::Refuse(2 | 5) | Event::Pass(_) => continue,
                event => apply(&mut world, &mut client, event),
            }
        }
        heal(&mut world, &mut client);
        check(&world, &client)?;
        prop_assert_eq!(world.names(), (0..client.pushed).collect::<Vec<_>>());
    }
}

#[test]
fn a_partition_that_forgets_its_producers_between_batches_gets_the_rest() {
    let (mut world, mut client) = (World::default(), Client::new());
    for event in [Event::Push, Event::Send, Event::Serve, Event::Answer, Event::Forget, Event::Push, Event::Push] {
        apply(&mut world, &mut client, event);
    }
    heal(&mut world, &mut client);
    assert_eq!(world.names(), [0, 1, 2]);
    assert!(client.outcomes.iter().all(|o| matches!(o.1, Settlement::Acknowledged { .. })));
}
