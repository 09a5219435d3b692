//! One shard of a broker as a driver sees it: the unchanged partitions, the ends of its fetch sessions, and who waits for
//! what. It stands in for the data task and the replica fetchers of `net/broker`.
//!
//! The expensive mistake is to mend in the driver what the rules should have refused: it passes on what it is given, in the
//! order in which that comes. Deliberately absent: what must be true (`truth`).

use super::clients::ClientId;
use super::controller::{Outgoing, View};
use super::following::Fetcher;
use super::leading::Parked;
use super::message::{AlterAnswer, Message, Node, Produce, ProduceAnswer, ProduceOutcome, Replication};
use crate::clock::SimClock;
use sluice_metadata::{AlterPartitions, IsrChange, PartitionRefusal};
use sluice_model::{BrokerId, Incarnation, LeaderEpoch, Now, Offset, PartitionEpoch, ShardIndex, TopicPartition};
use sluice_partition::{
    Acks, CaughtUp, Completed, Completion, Failure, FetchRefusal, FetchedFrames, LookUpError, OpenError, Partitions,
    ProduceRefusal,
};
use sluice_replica::follower::on_below_log_start::LogBeginning;
use sluice_replica::session::leader::LeaderSessions;
use sluice_replica::session::{FollowerShard, PartitionFetch, RequestNumber};
use sluice_replica::{AppendRefusal, IsrAnswer, Trouble};
use sluice_storage::recovery_report::RecoveryReport;
use sluice_storage::testing::executor::Runner;
use sluice_storage::testing::fault_disk::FaultDisk;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub type SimPartitions = Partitions<FaultDisk, SimClock>;

/// So long an answer of the controller is waited for.
const PROPOSAL_US: u64 = 300_000;
/// Bytes of one consumer's fetch.
const CONSUMER_LEN: usize = 32 * 1024;

/// What a task has come to.
pub enum Done {
    Opened(ShardIndex, Result<(SimPartitions, RecoveryReport), OpenError>),
    Failed(Failure),
    Created(ShardIndex, Result<(), OpenError>),
    Closed(Result<(), Failure>),
    LookedUp { shard: ShardIndex, at: Replication, number: RequestNumber, id: TopicPartition, result: Result<(), LookUpError> },
    ReplicaRead { shard: ShardIndex, from: FollowerShard, number: RequestNumber, id: TopicPartition, result: CaughtUp },
    Beginning { at: Replication, id: TopicPartition, result: Result<LogBeginning, LookUpError> },
    ConsumerRead { client: ClientId, id: TopicPartition, number: u64, leader_epoch: LeaderEpoch, result: CaughtUp },
}

/// What the oracle has to hear of.
#[derive(Debug)]
pub enum Fact {
    /// A produce is answered as written everywhere.
    Committed {
        id: TopicPartition,
        frame: Rc<Produce>,
        base_offset: Option<Offset>,
    },
    Trouble(TopicPartition, Trouble),
    /// A follower could not make anything of an answer.
    BadCopy(TopicPartition, String),
    /// What was met, to be counted.
    Met(&'static str),
    /// What was refused, and why: the same, and noted.
    Refused(&'static str, String),
}

/// The tasks of one process.
pub struct Tasks {
    pub runner: Runner,
    pub done: Rc<RefCell<Vec<Done>>>,
}

impl Tasks {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { runner: Runner::new(seed), done: Rc::default() }
    }

    pub fn spawn(&mut self, task: impl Future<Output = Done> + 'static) {
        let done = Rc::clone(&self.done);
        self.runner.spawn(async move {
            let outcome = task.await;
            done.borrow_mut().push(outcome);
        });
    }
}

/// What a shard is given with each event.
pub struct Context<'a> {
    pub broker: BrokerId,
    pub incarnation: Incarnation,
    pub now: Now,
    pub view: &'a View,
    pub tasks: &'a mut Tasks,
    pub out: &'a mut Outgoing,
    pub facts: &'a mut Vec<Fact>,
    pub answer_len_max: usize,
}

pub struct Shard {
    pub index: ShardIndex,
    pub partitions: SimPartitions,
    pub woken: Rc<Cell<bool>>,
    pub next_tick_us: u64,
    pub(super) sessions: LeaderSessions,
    pub(super) parked: BTreeMap<FollowerShard, Parked>,
    pub(super) watched: BTreeMap<FollowerShard, BTreeSet<TopicPartition>>,
    pub(super) fetchers: BTreeMap<(BrokerId, ShardIndex), Fetcher>,
    /// The beginning of a leader's log that was asked for, and when.
    pub(super) beginnings: BTreeMap<TopicPartition, u64>,
    produces: BTreeMap<u64, Rc<Produce>>,
    next_token: u64,
    proposals: BTreeMap<(TopicPartition, u64), (LeaderEpoch, u64)>,
}

impl Shard {
    #[must_use]
    pub fn new(index: ShardIndex, partitions: SimPartitions) -> Self {
        let woken = Rc::new(Cell::new(true));
        let flag = Rc::clone(&woken);
        partitions.on_progress(Box::new(move || flag.set(true)));
        let next_tick_us = partitions.now().mono_us;
        Self {
            index,
            partitions,
            woken,
            next_tick_us,
            sessions: LeaderSessions::default(),
            parked: BTreeMap::new(),
            watched: BTreeMap::new(),
            fetchers: BTreeMap::new(),
            beginnings: BTreeMap::new(),
            produces: BTreeMap::new(),
            next_token: 1,
            proposals: BTreeMap::new(),
        }
    }

    /// Everything that has become ready is taken up.
    pub fn pump(&mut self, context: &mut Context<'_>) {
        self.woken.set(false);
        let mut completed = Vec::new();
        self.partitions.take_completed(&mut completed);
        for completion in completed {
            self.on_completion(completion, context);
        }
        let mut troubles = Vec::new();
        self.partitions.take_troubles(&mut troubles);
        context.facts.extend(troubles.into_iter().map(|(id, trouble)| Fact::Trouble(id, trouble)));
        self.take_replica_news(context);
        self.send_proposals(context);
        self.say_flushed(context);
        self.fetch_more(context);
    }

    /// Time has passed.
    pub fn tick(&mut self, context: &mut Context<'_>) {
        let now_us = context.now.mono_us;
        if now_us >= self.next_tick_us {
            self.next_tick_us = now_us + self.partitions.on_tick(context.now);
        }
        let late: Vec<_> =
            self.proposals.iter().filter(|(_, (_, sent))| now_us - sent >= PROPOSAL_US).map(|(key, _)| *key).collect();
        for key in late {
            let Some((leader_epoch, _)) = self.proposals.remove(&key) else { continue };
            self.partitions.on_isr_answer(context.now, key.0, leader_epoch, key.1, IsrAnswer::Unknown);
        }
        self.end_parked(context);
        self.give_up_late(context);
        self.pump(context);
    }

    pub fn on_produce(&mut self, produce: Produce, context: &mut Context<'_>) {
        let id = produce.id;
        let token = self.next_token;
        self.next_token += 1;
        let acks = if produce.all_replicas { Acks::All } else { Acks::Leader };
        let outcome = match self.partitions.append(context.now, &produce.frame, acks, token) {
            Ok(()) => {
                self.produces.insert(token, Rc::new(produce));
                return;
            }
            Err(ProduceRefusal::Append(AppendRefusal::Sequence(_))) => ProduceOutcome::OutOfOrder,
            Err(refusal) => {
                context.facts.push(Fact::Refused(met_refusal(&refusal), format!("{id}: {refusal}")));
                ProduceOutcome::Refused
            }
        };
        self.answer_produce(id, &produce, outcome, context);
    }

    fn on_completion(&mut self, completion: Completion, context: &mut Context<'_>) {
        let Some(produce) = self.produces.remove(&completion.token) else { return };
        let outcome = match completion.outcome {
            Completed::Produced { base_offset, .. } => {
                if produce.all_replicas {
                    context.facts.push(Fact::Committed { id: produce.id, frame: Rc::clone(&produce), base_offset });
                }
                ProduceOutcome::Written { base_offset: base_offset.map(|offset| offset.0) }
            }
            _ => {
                context.facts.push(Fact::Met("produce: outcome unknown"));
                ProduceOutcome::Unknown
            }
        };
        self.answer_produce(produce.id, &produce, outcome, context);
    }

    fn answer_produce(&self, id: TopicPartition, produce: &Produce, outcome: ProduceOutcome, context: &mut Context<'_>) {
        let leader_epoch = self.partitions.status(id).filter(|status| status.is_leader).map(|status| status.leader_epoch);
        let answer = ProduceAnswer { client: produce.client, id, sending: produce.sending, leader_epoch, outcome };
        context.out.push((Node::Client(produce.client), Message::ProduceAnswer(answer)));
    }

    pub fn on_read(&mut self, (client, number): (ClientId, u64), id: TopicPartition, offset: u64, context: &mut Context<'_>) {
        let Some(status) = self.partitions.status(id) else { return };
        let leader_epoch = status.leader_epoch;
        let frames = match self.partitions.fetch(id, Offset(offset), CONSUMER_LEN) {
            Ok(fetched) => match fetched.frames {
                FetchedFrames::Memory(slices) => Some(slices.concat().into()),
                FetchedFrames::Empty => Some(bytes::Bytes::new()),
                FetchedFrames::Disk(_) => {
                    let (partitions, read) = (self.partitions.clone(), super::leading::consumer_read(id, offset, CONSUMER_LEN));
                    context.tasks.spawn(async move {
                        let result = partitions.catch_up(read).await;
                        Done::ConsumerRead { client, id, number, leader_epoch, result }
                    });
                    return;
                }
            },
            Err(FetchRefusal::OutOfRange { .. }) => {
                context.facts.push(Fact::Met("read: out of range"));
                None
            }
            Err(_) => None,
        };
        context.out.push((Node::Client(client), Message::ReadAnswer { id, number, leader_epoch, frames }));
    }

    fn send_proposals(&mut self, context: &mut Context<'_>) {
        let mut proposals = Vec::new();
        self.partitions.take_isr_proposals(&mut proposals);
        if proposals.is_empty() {
            return;
        }
        let (mut changes, mut numbers) = (Vec::new(), Vec::new());
        for proposal in proposals {
            self.proposals.insert((proposal.id, proposal.number), (proposal.leader_epoch, context.now.mono_us));
            let leader = (context.broker, context.incarnation);
            let isr = proposal.followers.into_iter().chain([leader]).collect();
            let (id, leader_epoch, partition_epoch) = (proposal.id, proposal.leader_epoch, proposal.partition_epoch);
            changes.push(IsrChange { id, leader_epoch, partition_epoch, isr });
            numbers.push(proposal.number);
        }
        context.facts.push(Fact::Met("isr: change proposed"));
        let request = Rc::new(AlterPartitions { broker: context.broker, incarnation: context.incarnation, changes });
        context.out.push((Node::Controller, Message::Alter { request, shard: self.index, numbers }));
    }

    pub fn on_alter_answers(&mut self, answers: Vec<AlterAnswer>, context: &mut Context<'_>) {
        for AlterAnswer { id, leader_epoch, number, answer } in answers {
            self.proposals.remove(&(id, number));
            let answer = isr_answer(leader_epoch, answer);
            context.facts.push(Fact::Met(match &answer {
                IsrAnswer::Decided { .. } => "isr: change decided",
                IsrAnswer::Refused => "isr: change refused",
                IsrAnswer::Unknown => "isr: change unknown",
            }));
            self.partitions.on_isr_answer(context.now, id, leader_epoch, number, answer);
        }
        self.pump(context);
    }

    /// The next moment at which something is due here, by the broker's clock.
    #[must_use]
    pub fn next_us(&self) -> u64 {
        let parked = self.parked.values().map(|parked| parked.until_us).min();
        parked.map_or(self.next_tick_us, |parked| parked.min(self.next_tick_us))
    }

    /// For what every produce that waits is for, when the process ends.
    #[must_use]
    pub fn awaited(&self) -> usize {
        self.produces.len()
    }

    pub(super) fn fetched_by(&self, from: FollowerShard, id: TopicPartition) -> Option<PartitionFetch> {
        self.sessions.partition(from, id).map(|fetched| fetched.fetch)
    }
}

/// What a leader may conclude.
fn isr_answer(leader_epoch: LeaderEpoch, answer: Option<Result<sluice_metadata::PartitionState, PartitionRefusal>>) -> IsrAnswer {
    match answer {
        Some(Ok(state)) if state.leader_epoch == leader_epoch => {
            let PartitionEpoch(epoch) = state.partition_epoch;
            IsrAnswer::Decided { partition_epoch: PartitionEpoch(epoch), members: state.isr.into_iter().collect() }
        }
        Some(Err(refusal)) if refusal.judges_change() => IsrAnswer::Refused,
        _ => IsrAnswer::Unknown,
    }
}

fn met_refusal(refusal: &ProduceRefusal) -> &'static str {
    match refusal {
        ProduceRefusal::NotLeader(_) => "produce: not leader",
        ProduceRefusal::Append(AppendRefusal::NotLeading(_)) => "produce: fenced leader",
        ProduceRefusal::Append(AppendRefusal::NotEnoughReplicas { .. }) => "produce: not enough replicas",
        ProduceRefusal::Overloaded { .. } => "produce: overloaded",
        _ => "produce: otherwise refused",
    }
}
