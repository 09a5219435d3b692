//! One partition on three brokers, from a seed: messages are lost, doubled and overtaken, brokers crash and lose what
//! they had not flushed, leaders are elected from the in-sync set, and nothing that was acknowledged is ever lost.
//!
//! `SLUICE_SEED=n` walks that seed alone.

mod checks;
mod controller;
mod messages;

use crate::follower::on_diverging::Diverging;
use crate::follower::on_fetched::FetchedFrames;
use crate::leader::on_isr_answer::IsrAnswer;
use crate::log_position::LogFacts;
use crate::session::follower::FollowerSession;
use crate::session::leader::LeaderSessions;
use crate::session::{FetchRequest, FlushRequest, FollowerShard, PartitionFetch, RequestNumber, SessionRefusal, Told};
use crate::testing::{TIMES, TestLog, batch, brokers, incarnation};
use crate::*;
use sluice_model::{
    BrokerId, FrameHeader, Incarnation, LeaderEpoch, Offset, PartitionEpoch, ProducerId, ShardIndex, TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet};

const SEEDS: u64 = 150;
const STEPS: usize = 2000;
const MIN_INSYNC: u32 = 2;

/// A generator that is the same everywhere (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n.max(1) as u64).expect("below a usize")
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

#[derive(Clone, Debug)]
enum Message {
    Fetch { from: BrokerId, incarnation: Incarnation, request: FetchRequest },
    Flush { from: BrokerId, incarnation: Incarnation, request: FlushRequest },
    Answer { at: RequestNumber, fetch: PartitionFetch, outcome: Answer },
    FullAgain { session: u64 },
    Isr { proposal: IsrProposal, leader: (BrokerId, Incarnation) },
    IsrAnswer { leader_epoch: LeaderEpoch, number: u64, answer: IsrAnswer },
    State(PartitionState),
}

#[derive(Clone, Debug)]
enum Answer {
    Frames { headers: Vec<FrameHeader>, high_watermark: Offset },
    Diverging { epoch: Option<LeaderEpoch>, end_offset: Offset },
    ChainMismatch,
}

struct Node {
    replica: Replica,
    incarnation: Incarnation,
    log: TestLog,
    /// High watermark as a checkpoint would have it.
    kept_high_watermark: Offset,
    to_leader: FollowerSession,
    sessions: LeaderSessions,
    is_up: bool,
}

/// One idempotent producer with one batch in flight.
struct Producer {
    sequence: i32,
    /// Token of the produce that waits for its answer.
    waiting: Option<u64>,
}

struct Walk {
    random: Random,
    now_us: u64,
    nodes: BTreeMap<BrokerId, Node>,
    state: PartitionState,
    network: Vec<(BrokerId, Message)>,
    /// What was delivered, to come once more, past the sessions, long after.
    past: Vec<(BrokerId, Message)>,
    producers: [Producer; 2],
    next_token: u64,
    /// What every produce with acks=all was told: the frame by its batch checksum, producer and sequence.
    acknowledged: BTreeMap<Offset, (i64, i32)>,
    tokens: BTreeMap<u64, (usize, i32)>,
    /// Greatest high watermark that was ever seen, by leader epoch.
    high_watermarks: BTreeMap<LeaderEpoch, Offset>,
    counts: BTreeMap<&'static str, u64>,
    /// Nobody produces.
    is_quiet: bool,
}

fn id() -> TopicPartition {
    TopicPartition::default()
}

fn shard(broker: BrokerId) -> FollowerShard {
    FollowerShard { broker, shard: ShardIndex(0) }
}

fn settings() -> LeaderSettings {
    LeaderSettings { isr_times: TIMES, min_insync_replicas: MIN_INSYNC, frame_len_max: 1000 }
}

impl Walk {
    fn new(seed: u64) -> Self {
        let replicas: BTreeMap<_, _> = (1..=3).map(|broker| (BrokerId(broker), incarnation(1))).collect();
        let state = PartitionState {
            leader_epoch: LeaderEpoch(1),
            partition_epoch: PartitionEpoch(1),
            leader: Some(BrokerId(1)),
            isr: brokers(&[1, 2, 3]),
            replicas,
        };
        let node = |broker: u32| {
            let replica = Replica::new(BrokerId(broker), incarnation(1), settings(), TestLog::default().start(0, 0));
            let node = Node {
                replica,
                incarnation: incarnation(1),
                log: TestLog::default(),
                kept_high_watermark: Offset::ZERO,
                to_leader: FollowerSession::default(),
                sessions: LeaderSessions::default(),
                is_up: true,
            };
            (BrokerId(broker), node)
        };
        let mut walk = Self {
            random: Random(seed),
            now_us: 0,
            nodes: (1..=3).map(node).collect(),
            state,
            network: Vec::new(),
            past: Vec::new(),
            producers: [0; 2].map(|sequence| Producer { sequence, waiting: None }),
            next_token: 0,
            acknowledged: BTreeMap::new(),
            tokens: BTreeMap::new(),
            high_watermarks: BTreeMap::new(),
            counts: BTreeMap::new(),
            is_quiet: false,
        };
        walk.publish();
        walk
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// The metadata log: everybody hears of it, each in their own time.
    fn publish(&mut self) {
        for broker in self.state.replicas.keys() {
            self.network.push((*broker, Message::State(self.state.clone())));
        }
    }

    fn any_broker(&mut self) -> BrokerId {
        BrokerId(1 + u32::try_from(self.random.below(3)).expect("small"))
    }

    fn step(&mut self, has_faults: bool) {
        self.now_us += self.random.next() % 40;
        match self.random.below(100) {
            0..20 if self.is_quiet => self.flush(),
            0..20 => self.produce(),
            20..38 => self.flush(),
            38..55 => self.fetch(),
            55..85 => self.deliver(has_faults),
            85..93 => self.review(),
            93 if has_faults => self.crash(),
            94 if has_faults => self.replay(),
            95..97 => self.restart(),
            97..99 => self.elect(has_faults),
            99 => self.time_out(),
            _ => {}
        }
        self.check();
    }

    fn produce(&mut self) {
        let broker = self.any_broker();
        let slot = self.random.below(2);
        let (sequence, is_retry) = (self.producers[slot].sequence, self.producers[slot].waiting.is_some());
        // A retry of what waits, perhaps elsewhere, is what a producer does whose answer does not come.
        if is_retry && !self.random.chance(20) {
            return;
        }
        let Some(node) = self.nodes.get_mut(&broker).filter(|node| node.is_up) else { return };
        let Role::Leader(leader) = node.replica.role_mut() else { return };
        let header = batch(slot as i64, sequence, 1 + u32::try_from(sequence % 3).expect("small"));
        let token = self.next_token;
        self.next_token += 1;
        let mut effects = Effects::new();
        let acks = Acks::All;
        match leader.on_append(0, ProduceBatch { header: &header, acks, token }, &mut effects) {
            Ok(()) => {
                self.tokens.insert(token, (slot, sequence));
                self.producers[slot].waiting = Some(token);
                self.run(broker, &effects);
            }
            Err(AppendRefusal::NotEnoughReplicas { .. }) => self.count("not enough replicas"),
            // A leader that does not know better may have lost what this one has been told was written.
            Err(AppendRefusal::Sequence(_) | AppendRefusal::NotLeading(_)) => self.count("refused"),
            Err(refusal) => panic!("{refusal}"),
        }
    }

    /// Executes a leader's effects.
    fn run(&mut self, broker: BrokerId, effects: &[Effect]) {
        for effect in effects {
            match *effect {
                Effect::Append { header } => self.nodes.get_mut(&broker).expect("known").log.frames.push(header),
                Effect::HighWatermarkMoved { .. } => {}
                Effect::AckProduce { token, base_offset, durability, .. } => {
                    assert_eq!(durability, Durability::Committed);
                    let (slot, sequence) = self.tokens.remove(&token).expect("answered once");
                    self.acknowledge(broker, slot, sequence, base_offset);
                }
            }
        }
    }

    fn acknowledge(&mut self, broker: BrokerId, slot: usize, sequence: i32, base_offset: Option<Offset>) {
        self.count("acknowledged");
        let producer = &mut self.producers[slot];
        if producer.sequence == sequence {
            producer.sequence += 1 + sequence % 3;
            producer.waiting = None;
        }
        let Some(offset) = base_offset else { return };
        let before = self.acknowledged.insert(offset, (slot as i64, sequence));
        assert!(before.is_none_or(|before| before == (slot as i64, sequence)), "{offset} was {before:?} before");
        self.check_everywhere(broker, offset);
    }

    fn flush(&mut self) {
        let broker = self.any_broker();
        let Some(node) = self.nodes.get_mut(&broker).filter(|node| node.is_up) else { return };
        let flushed = node.flushed();
        let ahead: Vec<_> = node.log.boundaries().map(|boundary| boundary.offset).filter(|end| *end > flushed).collect();
        if ahead.is_empty() {
            return;
        }
        let to = ahead[self.random.below(ahead.len())];
        let mut effects = Effects::new();
        match node.replica.role_mut() {
            Role::Leader(leader) => leader.on_local_flush(to, &mut effects),
            Role::Follower(follower) => {
                follower.on_local_flush(to);
                let report = (id(), follower.leader_epoch(), follower.flushed());
                let leader = follower.leader();
                let request = node.to_leader.flush([report]);
                if let (Some(leader), Some(request)) = (leader, request) {
                    self.network.push((leader, Message::Flush { from: broker, incarnation: node.incarnation, request }));
                }
            }
        }
        self.run(broker, &effects);
    }

    fn fetch(&mut self) {
        let broker = self.any_broker();
        let Some(node) = self.nodes.get_mut(&broker).filter(|node| node.is_up) else { return };
        let Role::Follower(follower) = node.replica.role() else { return };
        let Some(place) = follower.fetch_position() else { return };
        let FollowerPosition { leader, leader_epoch, position, flushed, log_state } = place;
        let wanted = BTreeMap::from([(id(), PartitionFetch { leader_epoch, position, flushed, log_state })]);
        if let Some(request) = node.to_leader.fetch(&wanted) {
            self.network.push((leader, Message::Fetch { from: broker, incarnation: node.incarnation, request }));
        }
    }

    /// A follower has waited long enough for its answer.
    fn time_out(&mut self) {
        let broker = self.any_broker();
        let session = &mut self.nodes.get_mut(&broker).expect("known").to_leader;
        session.on_lost(session.id());
    }
}

impl Node {
    fn flushed(&self) -> Offset {
        if !self.is_up {
            return self.log.end().offset;
        }
        match self.replica.role() {
            Role::Leader(leader) => leader.local_flushed(),
            Role::Follower(follower) => follower.flushed(),
        }
    }

    fn high_watermark(&self) -> Offset {
        match self.replica.role() {
            _ if !self.is_up => self.kept_high_watermark,
            Role::Leader(leader) => leader.high_watermark(),
            Role::Follower(follower) => follower.high_watermark(),
        }
    }
}

#[test]
fn nothing_that_was_acknowledged_is_lost_whatever_happens() {
    let given = std::env::var("SLUICE_SEED").ok().map(|seed| seed.parse::<u64>().expect("SLUICE_SEED is a number"));
    let seeds = given.map_or(0..SEEDS, |seed| seed..seed + 1);
    println!("seeds {seeds:?}");
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in seeds {
        println!("seed {seed}: SLUICE_SEED={seed} cargo test -p sluice-replica walk");
        let mut walk = Walk::new(seed);
        for _ in 0..STEPS {
            walk.step(true);
        }
        walk.heal();
        walk.counts.into_iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
    }
    println!("{counts:?}");
    if given.is_none() {
        let rare = [
            "acknowledged",
            "unknown",
            "truncated",
            "full again",
            "stale session",
            "isr change",
            "isr change refused",
            "isr change of another epoch",
            "elected",
            "restarted",
            "flush reported",
            "fetch refused",
            "newer epoch by fetch",
            "not enough replicas",
        ];
        for what in rare {
            assert!(counts.get(what).is_some_and(|count| *count > 20), "{what} hardly happens: {counts:?}");
        }
    }
}
