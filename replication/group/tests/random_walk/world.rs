//! The world: a log with what of it is committed, a coordinator on it, a network, and members.

use crate::client::{Client, Said};
use sluice_group::*;
use sluice_model::{Now, Offset, PartitionIndex, TopicId, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) const SESSION_MS: u32 = 6_000;
pub(crate) const POLL_MS: u32 = 15_000;
const WALL_MS: i64 = 1_700_000_000_000;

pub(crate) fn group_id() -> GroupId {
    GroupId("walkers".into())
}

#[derive(Clone, Debug)]
pub(crate) enum Message {
    /// From a client: its number, the number of the request.
    Request {
        client: usize,
        request: u64,
        said: Said,
    },
    Answer {
        client: usize,
        request: u64,
        answer: Result<Answer, Refusal>,
    },
}

/// An answer that waits until so much of the log is committed.
pub(crate) struct Waiting {
    len: usize,
    client: Option<(usize, u64)>,
    answer: Answer,
    committed: Vec<(TopicPartition, Offset)>,
}

pub(crate) struct World {
    random: u64,
    pub(crate) now_us: u64,
    pub(crate) log: Vec<Vec<u8>>,
    pub(crate) log_start: usize,
    pub(crate) committed: usize,
    /// How long the log was when the coordinator began.
    base: usize,
    pub(crate) coordinator: Coordinator,
    /// The image after the last step.
    pub(crate) before: Image,
    waiting: Vec<Waiting>,
    /// The log start that waits until so much is committed.
    log_starts: Vec<(usize, usize)>,
    /// What is left to append of a snapshot.
    snapshot: Vec<Decision>,
    network: Vec<Message>,
    /// What was delivered, to come again long after.
    past: Vec<Message>,
    pub(crate) clients: Vec<Client>,
    pub(crate) topics: BTreeMap<u8, u32>,
    pub(crate) deleted: BTreeSet<TopicId>,
    pub(crate) mode: Mode,
    pub(crate) assignor: Assignor,
    /// What was acknowledged as committed, in the order of the log; none after a reset to nothing.
    pub(crate) acknowledged: BTreeMap<TopicPartition, Option<Offset>>,
    /// Partitions that resets which are appended and not committed take elsewhere, with the log's length then.
    pub(crate) resets: Vec<(usize, TopicPartition)>,
    pub(crate) is_quiet: bool,
    pub(crate) counts: BTreeMap<&'static str, usize>,
}

fn topic_id(topic: u8) -> TopicId {
    TopicId([topic; 16])
}

fn topics_of(topics: &BTreeMap<u8, u32>) -> Arc<Topics> {
    Arc::new(Topics::new(topics.iter().map(|(&topic, &count)| (format!("topic-{topic}"), topic_id(topic), count))))
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let topics = BTreeMap::from([(1, 4), (2, 3), (3, 1)]);
        let mode = match seed % 5 {
            3 => Mode::Failover,
            4 => Mode::Exclusive,
            _ => Mode::Partitioned,
        };
        let assignor = match seed % 3 {
            0 => Assignor::Sticky,
            1 => Assignor::RoundRobin,
            _ => Assignor::Range,
        };
        let mut world = Self {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            now_us: 1_000_000,
            log: Vec::new(),
            log_start: 0,
            committed: 0,
            base: 0,
            coordinator: Coordinator::new(Now::default(), settings(), topics_of(&topics), Image::default()),
            before: Image::default(),
            waiting: Vec::new(),
            log_starts: Vec::new(),
            snapshot: Vec::new(),
            network: Vec::new(),
            past: Vec::new(),
            clients: Vec::new(),
            topics,
            deleted: BTreeSet::new(),
            mode,
            assignor,
            acknowledged: BTreeMap::new(),
            resets: Vec::new(),
            is_quiet: false,
            counts: BTreeMap::new(),
        };
        let members = 3 + world.below(4);
        world.clients = (0..members).map(|number| Client::new(number, number % 3 == 2)).collect();
        world
    }

    /// A number below `bound`, from the seed (`SplitMix64`).
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound.max(1) as u64).unwrap()
    }

    pub(crate) fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(crate) fn now(&self) -> Now {
        Now { wall_ms: WALL_MS + i64::try_from(self.now_us / 1000).unwrap(), mono_us: self.now_us }
    }

    pub(crate) fn random_id(&mut self) -> MemberId {
        MemberId(std::array::from_fn(|_| u8::try_from(self.below(256)).unwrap()))
    }

    pub(crate) fn step(&mut self) {
        self.now_us += 1000 * self.below(60) as u64;
        match self.below(1000) {
            0..420 => self.deliver(true),
            420..750 => {
                let client = self.below(self.clients.len());
                self.act(client);
            }
            750..900 => self.commit_log(),
            900..910 => self.deliver_late(),
            910..950 => self.pass_time(),
            950..960 => self.fault(),
            960..966 => self.fail_over(),
            966..970 => self.change_topics(),
            970..975 => self.reset_some(),
            975..978 => self.take_snapshot(),
            _ => self.now_us += 100_000,
        }
        self.check();
    }

    /// The log takes the decision, or it does not.
    pub(crate) fn append(&mut self, decision: Decision, from: Option<(usize, u64)>) -> bool {
        if !decision.records.is_empty() {
            if !self.is_quiet && self.one_in(40) {
                self.count("appends refused");
                return false;
            }
            self.log.push(Batch { records: decision.records.clone() }.encode());
        }
        let now = self.now();
        let mut committed = committed_by(&decision.records);
        let effects = self.coordinator.on_appended(now, decision);
        let in_log = |number: BatchNumber, base: usize| base + usize::try_from(number.0).unwrap();
        for effect in effects {
            match effect {
                Effect::Answer { after, answer } => {
                    let (len, committed) = (in_log(after, self.base), std::mem::take(&mut committed));
                    self.waiting.push(Waiting { len, client: from, answer, committed });
                }
                Effect::MemberHasNews { member_id, .. } => {
                    if let Some(client) = self.clients.iter_mut().find(|client| client.is_member(member_id)) {
                        client.has_news = true;
                    }
                }
                Effect::MoveLogStart { to, after } => {
                    self.log_starts.push((in_log(after, self.base), in_log(to, self.base) - 1));
                }
            }
        }
        self.release();
        true
    }

    /// Some of what is appended is committed.
    pub(crate) fn commit_log(&mut self) {
        let more = self.log.len() - self.committed;
        self.committed += if self.is_quiet { more } else { self.below(more + 1) };
        self.release();
    }

    fn release(&mut self) {
        let committed = self.committed;
        for waiting in self.waiting.extract_if(.., |waiting| waiting.len <= committed).collect::<Vec<_>>() {
            self.acknowledge(&waiting);
            if let Some((client, request)) = waiting.client {
                self.network.push(Message::Answer { client, request, answer: Ok(waiting.answer) });
            }
        }
        self.resets.retain(|(len, _)| *len > committed);
        for (_, to) in self.log_starts.extract_if(.., |(len, _)| *len <= committed).collect::<Vec<_>>() {
            self.log_start = to;
            self.count("log starts moved");
        }
    }

    fn acknowledge(&mut self, waiting: &Waiting) {
        self.acknowledged.extend(waiting.committed.iter().map(|&(id, offset)| (id, Some(offset))));
        match &waiting.answer {
            Answer::Reset(changes) => {
                self.acknowledged.extend(changes.iter().map(|change| (change.id, change.to)));
                self.count("offsets reset");
            }
            Answer::Deleted => self.acknowledged.clear(),
            Answer::Committed(_) if !waiting.committed.is_empty() => self.count("commits acknowledged"),
            _ => {}
        }
    }

    pub(crate) fn send(&mut self, client: usize, request: u64, said: Said) {
        self.network.push(Message::Request { client, request, said });
    }

    fn deliver(&mut self, has_faults: bool) {
        if self.network.is_empty() {
            return;
        }
        let at = if has_faults { self.below(self.network.len().min(4)) } else { 0 };
        let message = self.network.remove(at);
        if has_faults {
            if self.one_in(15) {
                return self.count("lost");
            }
            if self.one_in(12) {
                self.network.push(message.clone());
            }
            if self.one_in(10) {
                self.past.push(message.clone());
            }
        }
        self.hand_over(message);
    }

    /// Something that was delivered before comes once more.
    fn deliver_late(&mut self) {
        if !self.past.is_empty() {
            let at = self.below(self.past.len());
            let message = self.past.swap_remove(at);
            self.hand_over(message);
        }
    }

    fn hand_over(&mut self, message: Message) {
        match message {
            Message::Answer { client, request, answer } => self.on_answer(client, request, answer),
            Message::Request { client, request, said } => {
                let now = self.now();
                let decided = match &said {
                    Said::Join(join) => self.coordinator.on_join(now, join),
                    Said::Heartbeat(heartbeat) => self.coordinator.on_heartbeat(now, heartbeat),
                    Said::Leave(leave) => self.coordinator.on_leave(now, leave),
                    Said::Commit(commit, _) => self.coordinator.on_commit_offsets(now, commit),
                    Said::Fetch(fetch) => self.coordinator.on_fetch_offsets(fetch),
                };
                match decided {
                    Ok(decision) => {
                        self.check_commits(&said, &decision);
                        self.append(decision, Some((client, request)));
                    }
                    Err(refusal) => {
                        self.count("refused");
                        self.network.push(Message::Answer { client, request, answer: Err(refusal) });
                    }
                }
            }
        }
    }

    /// What is due by the coordinator's clock.
    pub(crate) fn pass_time(&mut self) {
        while self.coordinator.next_deadline() <= self.now_us {
            let now = self.now();
            let Some(decision) = self.coordinator.on_time(now) else { break };
            let removes = |record: &Record| matches!(record, Record::MemberRemoved(_));
            let ended = decision.records.iter().any(removes);
            if !self.append(decision, None) {
                break;
            }
            if ended {
                self.count("sessions or polls ended");
            }
        }
    }

    pub(crate) fn replayed(&self, len: usize) -> Image {
        let mut replay = Replay::new(Offset(self.log_start as u64));
        for bytes in &self.log[self.log_start..len] {
            replay.on_batch(&Batch::decode(bytes).unwrap()).unwrap();
        }
        replay.finish().unwrap()
    }

    /// Another coordinator takes over: what is committed is there, and of the rest whatever reached it.
    fn fail_over(&mut self) {
        self.count("failovers");
        let kept = self.committed + self.below(self.log.len() - self.committed + 1);
        let kept = if self.one_in(2) { self.committed } else { kept };
        if kept < self.log.len() {
            self.count("batches lost");
        }
        self.log.truncate(kept);
        let image = self.replayed(kept);
        (self.committed, self.base) = (kept, kept);
        self.waiting.clear();
        self.log_starts.clear();
        self.snapshot.clear();
        // What survived is decided; who asked for it does not hear of it.
        self.acknowledged_by_replay(&image);
        self.before = image.clone();
        self.coordinator = Coordinator::new(self.now(), settings(), topics_of(&self.topics), image);
        self.clients.iter_mut().for_each(|client| client.saw_failover = true);
    }

    fn acknowledged_by_replay(&mut self, image: &Image) {
        for (_, id) in std::mem::take(&mut self.resets) {
            let offset = image.offset(&group_id(), id).map(|committed| committed.offset);
            if offset < self.acknowledged.get(&id).copied().flatten() {
                self.acknowledged.insert(id, offset);
            }
        }
        if image.group(&group_id()).is_none() {
            self.acknowledged.clear();
        }
    }

    fn change_topics(&mut self) {
        let topic = u8::try_from(1 + self.below(6)).unwrap();
        let count = self.topics.get(&topic).copied();
        if self.deleted.contains(&topic_id(topic)) {
            return;
        }
        let mut gone = Vec::new();
        match count {
            Some(_) if topic > 2 && self.one_in(3) => {
                self.topics.remove(&topic);
                self.deleted.insert(topic_id(topic));
                gone.push(topic_id(topic));
            }
            _ => {
                let more = 1 + u32::try_from(self.below(2)).unwrap();
                self.topics.insert(topic, count.unwrap_or(0) + more);
            }
        }
        self.count("topics changed");
        self.coordinator.on_topics_changed(topics_of(&self.topics), &gone);
    }

    /// An operator takes a partition back, or deletes the group.
    fn reset_some(&mut self) {
        if self.one_in(6) {
            if let Ok(decision) = self.coordinator.on_delete_group(&DeleteGroup { group_id: group_id() }) {
                let all: Vec<_> = self.coordinator.image().offsets(&group_id()).map(|(id, _)| id).collect();
                if self.append(decision, None) {
                    self.count("groups deleted");
                    let len = self.log.len();
                    self.resets.extend(all.into_iter().map(|id| (len, id)));
                    self.release();
                }
            }
            return;
        }
        let id = TopicPartition { topic_id: topic_id(1), partition: PartitionIndex(u32::try_from(self.below(4)).unwrap()) };
        let to = Some(Offset(self.below(30) as u64)).filter(|offset| offset.0 > 2);
        let offsets = vec![OffsetReset { id, to }];
        let request = ResetOffsets { group_id: group_id(), offsets, is_forced: true, is_dry_run: false };
        let Ok(decision) = self.coordinator.on_reset_offsets(self.now(), &request) else { return };
        self.resets.push((self.log.len() + 1, id));
        if !self.append(decision, None) {
            self.resets.pop();
        }
    }

    fn take_snapshot(&mut self) {
        if self.snapshot.is_empty() {
            self.snapshot = self.coordinator.on_snapshot();
            // Much may be decided until it is appended.
            if self.one_in(3) {
                return;
            }
        }
        for decision in std::mem::take(&mut self.snapshot) {
            if self.coordinator.is_outdated(&decision) {
                self.count("snapshots outdated");
                continue;
            }
            if !self.append(decision, None) {
                return;
            }
        }
        let again = self.replayed(self.log.len());
        assert_eq!(&again, self.coordinator.image(), "a snapshot changes nothing");
    }

    /// All faults stop, and everybody goes on.
    pub(crate) fn settle(&mut self) {
        self.is_quiet = true;
        self.past.clear();
        for client in &mut self.clients {
            client.recover();
        }
        for _ in 0..400 {
            self.now_us += 100_000;
            for client in 0..self.clients.len() {
                self.act(client);
            }
            while !self.network.is_empty() {
                self.deliver(false);
            }
            self.commit_log();
            self.pass_time();
            self.check();
        }
        self.check_settled();
    }
}

fn settings() -> Settings {
    Settings { session_timeout_ms: SESSION_MS, poll_timeout_ms: POLL_MS, offsets_retention_ms: 3_600_000, ..Settings::default() }
}

fn committed_by(records: &[Record]) -> Vec<(TopicPartition, Offset)> {
    let mut committed = Vec::new();
    for record in records {
        if let Record::OffsetsCommitted(written) = record {
            committed.extend(written.offsets.iter().map(|written| {
                let id = TopicPartition { topic_id: written.topic_id, partition: written.partition };
                (id, written.committed.offset)
            }));
        }
    }
    committed
}
