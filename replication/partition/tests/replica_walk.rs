//! Three shards that hold one partition, from a seed: they produce, copy, flush, write back, lose power in the middle of that,
//! lead in turns and delete records, and nothing that was acknowledged is ever lost, altered or written twice.
//!
//! `SLUICE_SEED=n` walks that seed alone, `SLUICE_SEEDS=n` so many of them.

mod support;

use sluice_model::{Incarnation, Offset};
use sluice_partition::{Completed, ProduceRefusal};
use sluice_replica::{AppendRefusal, IsrAnswer};
use sluice_storage::testing::fault_disk::{PowerCut, Unflushed};
use std::collections::BTreeMap;
use support::TestProducer;
use support::cluster::{Cluster, id};

const SEEDS: u64 = 40;
const STEPS: usize = 400;

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
        usize::try_from(self.next() % n as u64).unwrap()
    }
}

/// A producer with one batch in flight, which it sends again until it is acknowledged.
struct Sender {
    producer: TestProducer,
    frame: Vec<u8>,
    /// Under which it waits, and where.
    token: Option<(u64, usize)>,
}

struct Walk {
    random: Random,
    cluster: Cluster,
    senders: [Sender; 2],
    next_token: u64,
    /// Base offset of every frame that was acknowledged, and its body.
    acknowledged: BTreeMap<u64, Vec<u8>>,
    log_start: u64,
    /// The one that does nothing for a while; 3 for nobody.
    asleep: usize,
    counts: BTreeMap<&'static str, u32>,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let sender = |producer_id| {
            let mut producer = TestProducer::new(0, producer_id);
            let frame = producer.frame(&[b"first"]);
            Sender { producer, frame, token: None }
        };
        Self {
            random: Random(seed),
            cluster: Cluster::new(3, 2),
            senders: [sender(5), sender(6)],
            next_token: 0,
            acknowledged: BTreeMap::new(),
            log_start: 0,
            asleep: 3,
            counts: BTreeMap::new(),
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn step(&mut self) {
        if self.random.below(40) == 0 {
            self.asleep = self.random.below(4);
        }
        let at = match self.random.below(3) {
            at if at == self.asleep => (at + 1) % 3,
            at => at,
        };
        match self.random.below(100) {
            0..30 => self.produce(),
            30..52 => {
                self.cluster.len_max = 8_000 + self.random.below(40_000);
                self.cluster.fetch(at);
            }
            52..54 => self.lose_answer(at),
            54..55 => self.hear(),
            55..62 => drop(self.cluster.nodes[at].session.id() > 0 && self.cluster.say_flushed(at).is_some()),
            62..80 => self.cluster.nodes[at].shard.settle(),
            80..84 => drop((0..self.random.below(20)).map(|_| self.cluster.nodes[at].shard.turn()).filter(|ran| *ran).count()),
            84..89 => {
                let ms = [60, 400, 2500][self.random.below(3)];
                self.cluster.nodes[at].shard.advance_ms(ms);
            }
            89..92 => self.crash(at),
            92..95 => self.elect(),
            95..98 => self.delete(),
            _ => {
                let leader = self.cluster.leader();
                self.cluster.nodes[leader].shard.advance_ms(1500);
            }
        }
        self.review();
        self.take_answers();
    }

    fn produce(&mut self) {
        // One that leads, or believes so.
        let leads = |at: &usize| self.cluster.nodes[*at].shard.partitions.status(id()).is_some_and(|status| status.is_leader);
        let leaders: Vec<_> = (0..3).filter(leads).collect();
        if leaders.is_empty() {
            return;
        }
        let (at, leader) = (self.random.below(2), leaders[self.random.below(leaders.len())]);
        let sender = &mut self.senders[at];
        if sender.token.is_some() {
            return;
        }
        match self.cluster.nodes[leader].shard.append(&sender.frame, self.next_token) {
            Ok(()) => {
                sender.token = Some((self.next_token, leader));
                self.next_token += 1;
            }
            Err(ProduceRefusal::Append(AppendRefusal::NotEnoughReplicas { .. }) | ProduceRefusal::NotLeader(_)) => {
                self.count("refused");
            }
            // One that leads no more does not know what was written since.
            Err(ProduceRefusal::Append(AppendRefusal::Sequence(_) | AppendRefusal::NotLeading(_)))
                if self.cluster.deaf.contains(&leader) =>
            {
                self.count("refused");
            }
            Err(refusal) => panic!("{refusal}"),
        }
    }

    fn take_answers(&mut self) {
        for node in 0..3 {
            for completion in self.cluster.nodes[node].shard.completions() {
                let Some(at) = self.senders.iter().position(|sender| sender.token == Some((completion.token, node))) else {
                    continue;
                };
                self.senders[at].token = None;
                match completion.outcome {
                    Completed::Produced { base_offset, .. } => self.acknowledge(at, base_offset.expect("of the last batch").0),
                    Completed::LeadershipLost => self.count("unknown"),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn acknowledge(&mut self, at: usize, base_offset: u64) {
        self.count("acknowledged");
        let len = 1 + self.random.below(6000);
        let sender = &mut self.senders[at];
        let body = sender.frame[sluice_model::FRAME_HEADER_LEN..].to_vec();
        let before = self.acknowledged.insert(base_offset, body);
        assert!(before.is_none(), "offset {base_offset} is given twice");
        sender.frame = sender.producer.frame_of(len);
    }

    /// The controller takes what the leader proposes, when it is about the present.
    fn review(&mut self) {
        let leader = self.cluster.leader();
        let partitions = self.cluster.nodes[leader].shard.partitions.clone();
        let mut proposals = Vec::new();
        partitions.take_isr_proposals(&mut proposals);
        for proposal in proposals {
            let state = &mut self.cluster.state;
            let own: BTreeMap<_, Incarnation> = proposal.followers.clone();
            let is_current = proposal.leader_epoch == state.leader_epoch && proposal.partition_epoch == state.partition_epoch;
            let are_members = own.iter().all(|(broker, incarnation)| state.replicas[broker] == *incarnation);
            let answer = if !is_current {
                IsrAnswer::Unknown
            } else if are_members {
                state.isr = own.into_keys().chain(state.leader).collect();
                state.partition_epoch.0 += 1;
                IsrAnswer::Decided { partition_epoch: state.partition_epoch, members: state.isr.clone() }
            } else {
                IsrAnswer::Refused
            };
            self.cluster.publish();
            let now = partitions.now();
            partitions.on_isr_answer(now, id(), proposal.leader_epoch, proposal.number, answer);
            self.count("isr");
        }
    }

    /// Power goes, and comes back.
    fn crash(&mut self, at: usize) {
        let (was_leader, disk) = (self.cluster.leader() == at, &self.cluster.nodes[at].disk);
        let seed = self.random.next();
        let unflushed = [Unflushed::Kept, Unflushed::Lost, Unflushed::Torn(seed), Unflushed::Reordered(seed)];
        let call = disk.call_count();
        let crashed = disk.crash(PowerCut { call, unflushed: unflushed[usize::try_from(seed % 4).unwrap()] });
        // Nobody hears from it any more.
        for sender in &mut self.senders {
            sender.token.take_if(|(_, node)| *node == at);
        }
        self.cluster.restart(at, crashed);
        let report = &self.cluster.nodes[at].shard.report;
        assert!(report.is_clean(), "{report}");
        self.count("crashed");
        if was_leader {
            self.elect();
        }
    }

    fn elect(&mut self) {
        let members: Vec<_> = self.cluster.state.isr.iter().copied().collect();
        let leader = members[self.random.below(members.len())];
        let at = self.cluster.nodes.iter().position(|node| node.broker == leader).unwrap();
        let before = self.cluster.leader();
        if before != at && self.random.below(3) == 0 {
            // The one before goes on as if it led.
            self.cluster.deaf.insert(before);
            self.count("deaf");
        }
        self.cluster.deaf.remove(&at);
        self.cluster.elect(at);
        // It may still be cutting off what an earlier leader had not.
        while !self.cluster.nodes[at].shard.partitions.status(id()).unwrap().is_leader {
            self.count("elected while its log was in work");
            self.cluster.nodes[at].shard.settle();
        }
        let end = self.cluster.nodes[at].end(id());
        let last = self.acknowledged.last_key_value().map_or(0, |(last, _)| last + 1);
        assert!(end >= Offset(last), "{leader} leads and ends at {end}, {last} was acknowledged");
        self.count("elected");
    }

    /// Everybody hears of the present.
    fn hear(&mut self) {
        self.cluster.deaf.clear();
        self.cluster.publish();
    }

    /// An answer does not arrive: the follower begins another session.
    fn lose_answer(&mut self, at: usize) {
        if let Some((number, fetch)) = self.cluster.send_fetch(at) {
            self.cluster.answer(at, number, &fetch);
            let session = &mut self.cluster.nodes[at].session;
            assert!(session.on_lost(session.id()));
            self.count("answer lost");
        }
    }

    fn delete(&mut self) {
        let leader = self.cluster.leader();
        let high_watermark = self.cluster.nodes[leader].high_watermark(id()).0;
        if high_watermark > self.log_start {
            self.log_start += self.random.next() % (high_watermark - self.log_start + 1);
            let partitions = &self.cluster.nodes[leader].shard.partitions;
            partitions.delete_records(id(), Offset(self.log_start), u64::MAX).unwrap();
        }
    }

    /// Everybody copies everything; then each leads in turn with the same log.
    fn end(&mut self) {
        self.hear();
        for _ in 0..100 {
            for at in 0..3 {
                self.cluster.fetch(at);
                self.cluster.nodes[at].shard.advance_ms(50);
            }
            self.review();
            self.take_answers();
        }
        let statuses: Vec<_> = self.cluster.nodes.iter().map(|node| node.shard.partitions.status(id())).collect();
        assert_eq!(self.cluster.state.isr.len(), 3, "{:?} {statuses:?}", self.cluster.state);
        self.cluster.copy_all();
        let mut logs = Vec::new();
        for at in 0..3 {
            self.cluster.elect(at);
            let status = self.cluster.nodes[at].shard.partitions.status(id()).unwrap();
            assert_eq!(status.trouble, None);
            let frames = self.cluster.nodes[at].shard.read_all(0, status.log_start_offset.0).unwrap();
            for (offset, body) in self.acknowledged.range(self.log_start..) {
                let found = frames.iter().find(|frame| frame.base_offset == *offset);
                assert!(found.is_some_and(|frame| frame.body == *body), "{at} has lost offset {offset}");
            }
            // What is deleted may end in the middle of it on one of them.
            logs.push(frames.into_iter().filter(|frame| frame.base_offset >= self.log_start).collect::<Vec<_>>());
            self.cluster.copy_all();
        }
        assert!(logs.windows(2).all(|pair| pair[0] == pair[1]), "they differ");
        let mut batches: Vec<_> = logs[0].iter().map(|frame| &frame.body).filter(|body| body.len() > 100).collect();
        let count = batches.len();
        batches.sort_unstable();
        batches.dedup();
        assert!(count - batches.len() <= count / 50, "{} of {count} batches stand twice", count - batches.len());
    }
}

#[test]
fn nothing_acknowledged_is_lost_whatever_happens() {
    let number = |name| std::env::var(name).ok().map(|seed| seed.parse::<u64>().expect("it is a number"));
    let given = number("SLUICE_SEED");
    let seeds = given.map_or(0..number("SLUICE_SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    let mut counts: BTreeMap<&'static str, u32> = BTreeMap::new();
    for seed in seeds {
        println!("seed {seed}: SLUICE_SEED={seed} cargo test -p sluice-partition --test replica_walk");
        let mut walk = Walk::new(seed);
        (0..STEPS).for_each(|_| walk.step());
        walk.end();
        walk.counts.extend([("cut off", walk.cluster.cut_off), ("begun anew", walk.cluster.begun_anew)]);
        walk.counts.into_iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
    }
    println!("{counts:?}");
    if given.is_none() {
        for what in ["acknowledged", "unknown", "isr", "crashed", "elected", "cut off", "begun anew", "deaf", "answer lost"] {
            assert!(counts.get(what).is_some_and(|count| *count > 5), "{what} hardly happens: {counts:?}");
        }
    }
}
