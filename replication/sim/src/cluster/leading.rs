//! The leader's end of fetch sessions: fetches are judged, answered from memory or disk, or parked until there is news.

use super::message::{FetchedEntry, Message, Node, Replication};
use super::shard::{Context, Done, Fact, Shard};
use bytes::Bytes;
use sluice_model::{Incarnation, LeaderEpoch, Offset, ShardIndex, TopicPartition};
use sluice_partition::{CatchUpRead, CaughtUp, FetchedFrames, LookUpError, Reader, ReplicaFramesRefusal, ReplicaRefusal};
use sluice_replica::follower::on_below_log_start::LogBeginning;
use sluice_replica::session::leader::LeaderSessions;
use sluice_replica::session::{FetchRequest, FlushRequest, FollowerShard, PartitionFetch, RequestNumber, SessionRefusal, Told};
use sluice_replica::{FetchOutcome, FollowerRefusal};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// So long a fetch waits for something to answer it with.
pub const LONG_POLL_US: u64 = 200_000;
/// Bytes of one read of a segment.
const PIECE_LEN: usize = 16 * 1024;

/// A fetch that is not answered yet.
pub struct Parked {
    pub number: RequestNumber,
    pub incarnation: Incarnation,
    pub until_us: u64,
    ready: BTreeMap<TopicPartition, FetchedEntry>,
    /// Reads and look-ups under way for it.
    busy: BTreeSet<TopicPartition>,
    /// What each read was planned to tell.
    told: BTreeMap<TopicPartition, Told>,
    /// It has lasted as long as it may.
    is_due: bool,
}

impl Shard {
    pub fn on_replica_fetch(&mut self, at: Replication, request: &FetchRequest, context: &mut Context<'_>) {
        let (from, incarnation, number) = (at.from, at.incarnation, request.at);
        let named = match self.sessions.on_fetch((from, incarnation), request.clone()) {
            Ok(named) => named,
            Err(refusal) => return self.refuse_session(at, refusal, number.session, context),
        };
        let until_us = context.now.mono_us + LONG_POLL_US;
        let parked = Parked {
            number,
            incarnation,
            until_us,
            ready: BTreeMap::new(),
            busy: BTreeSet::new(),
            told: BTreeMap::new(),
            is_due: false,
        };
        self.parked.insert(from, parked);
        self.forget_unwatched(from);
        for (id, fetch) in named {
            self.judge(&at, number, id, &fetch, context);
        }
        self.try_answer(from, context);
    }

    fn refuse_session(&mut self, at: Replication, refusal: SessionRefusal, session: u64, context: &mut Context<'_>) {
        if refusal == SessionRefusal::FullAgain {
            context.facts.push(Fact::Met("session: full again"));
            self.parked.remove(&at.from);
            let to = Node::Broker(at.from.broker);
            context.out.push((to, Message::FullAgain(at, session)));
        }
    }

    /// What the session does not name any more is not watched either.
    fn forget_unwatched(&mut self, from: FollowerShard) {
        let named: BTreeSet<_> = self.sessions.partitions(from).map(|(id, _)| id).collect();
        let watched = self.watched.entry(from).or_default();
        for id in watched.extract_if(.., |id| !named.contains(id)) {
            self.partitions.unwatch_replica(token_of(from), id);
        }
    }

    fn judge(
        &mut self,
        at: &Replication,
        number: RequestNumber,
        id: TopicPartition,
        fetch: &PartitionFetch,
        context: &mut Context<'_>,
    ) {
        let sender = (at.from.broker, at.incarnation);
        let outcome = self.partitions.follower_fetch(context.now, sender, id, fetch);
        let Some(parked) = self.parked.get_mut(&at.from) else { return };
        let entry = match outcome {
            Ok(FetchOutcome::Serve { .. }) => {
                self.partitions.watch_replica(token_of(at.from), id);
                self.watched.entry(at.from).or_default().insert(id);
                return;
            }
            Ok(FetchOutcome::Diverging { epoch, end_offset }) => {
                context.facts.push(Fact::Met("fetch: diverging"));
                FetchedEntry::Diverging { epoch, end_offset }
            }
            Ok(FetchOutcome::BelowLogStart { first_offset }) => {
                context.facts.push(Fact::Met("fetch: below log start"));
                FetchedEntry::BelowLogStart { first_offset }
            }
            Ok(FetchOutcome::LookUp { offset }) => {
                context.facts.push(Fact::Met("fetch: looked up"));
                parked.busy.insert(id);
                let (partitions, shard, at) = (self.partitions.clone(), self.index, at.clone());
                context.tasks.spawn(async move {
                    let result = partitions.look_up_chain(id, offset).await;
                    Done::LookedUp { shard, at, number, id, result }
                });
                return;
            }
            Err(ReplicaRefusal::Rules(FollowerRefusal::ChainMismatch { .. })) => FetchedEntry::ChainMismatch,
            Err(refusal) => {
                context.facts.push(Fact::Refused(met_refusal(&refusal), format!("{id}: {refusal}")));
                FetchedEntry::Refused
            }
        };
        parked.ready.insert(id, entry);
    }

    pub fn on_looked_up(
        &mut self,
        at: &Replication,
        number: RequestNumber,
        id: TopicPartition,
        result: Result<(), LookUpError>,
        context: &mut Context<'_>,
    ) {
        let fetch = self.fetched_by(at.from, id);
        let Some(parked) = self.parked.get_mut(&at.from).filter(|parked| parked.number == number) else { return };
        parked.busy.remove(&id);
        match (result, fetch) {
            (Ok(()), Some(fetch)) => self.judge(at, number, id, &fetch, context),
            _ => drop(parked.ready.insert(id, FetchedEntry::Refused)),
        }
        self.try_answer(at.from, context);
    }

    pub fn on_replica_flush(&mut self, at: Replication, request: &FlushRequest, context: &mut Context<'_>) {
        let (from, incarnation) = (at.from, at.incarnation);
        match self.sessions.on_flush((from, incarnation), request) {
            Ok(changed) => {
                for (id, fetch) in changed {
                    if self.partitions.follower_flush(context.now, (from.broker, incarnation), id, &fetch).is_ok() {
                        context.facts.push(Fact::Met("flush: counted while a fetch is parked"));
                    }
                }
                self.pump(context);
            }
            Err(refusal) => self.refuse_session(at, refusal, request.at.session, context),
        }
    }

    pub(super) fn take_replica_news(&mut self, context: &mut Context<'_>) {
        let mut news = Vec::new();
        self.partitions.take_replica_news(&mut news);
        let told: BTreeSet<u64> = news.into_iter().map(|(token, _)| token).collect();
        let parked: Vec<_> = self.parked.keys().copied().filter(|from| told.contains(&token_of(*from))).collect();
        parked.into_iter().for_each(|from| self.try_answer(from, context));
    }

    pub(super) fn end_parked(&mut self, context: &mut Context<'_>) {
        let now_us = context.now.mono_us;
        let due: Vec<_> = self.parked.iter().filter(|(_, parked)| parked.until_us <= now_us).map(|(from, _)| *from).collect();
        for from in due {
            if let Some(parked) = self.parked.get_mut(&from) {
                parked.is_due = true;
                parked.until_us = now_us + LONG_POLL_US;
            }
            self.try_answer(from, context);
        }
    }

    /// Answers the parked fetch of `from` when there is something to say.
    fn try_answer(&mut self, from: FollowerShard, context: &mut Context<'_>) {
        let Some(parked) = self.parked.get_mut(&from) else { return };
        let mut left = context.answer_len_max;
        for (id, fetched) in self.sessions.partitions(from) {
            if parked.ready.contains_key(&id) || parked.busy.contains(&id) || left == 0 {
                continue;
            }
            let sender = (from.broker, parked.incarnation);
            let mut planned = self.partitions.replica_frames(sender, id, &fetched.fetch, left);
            if let Err(ReplicaFramesRefusal::Log(sluice_partition::FetchRefusal::TooSmall { needed })) = planned {
                planned = self.partitions.replica_frames(sender, id, &fetched.fetch, needed);
            }
            let Ok(planned) = planned else { continue };
            match planned.frames {
                FetchedFrames::Memory(slices) => {
                    let frames: Bytes = slices.concat().into();
                    left = left.saturating_sub(frames.len());
                    parked.ready.insert(id, FetchedEntry::Frames { told: planned.told, frames });
                }
                FetchedFrames::Empty if LeaderSessions::has_news(fetched, planned.told) => {
                    parked.ready.insert(id, FetchedEntry::Frames { told: planned.told, frames: Bytes::new() });
                }
                FetchedFrames::Empty => {}
                FetchedFrames::Disk(_) => {
                    context.facts.push(Fact::Met("fetch: follower reads from disk"));
                    parked.busy.insert(id);
                    parked.told.insert(id, planned.told);
                    let read = CatchUpRead {
                        id,
                        offset: fetched.fetch.position.offset,
                        len_max: context.answer_len_max.max(PIECE_LEN),
                        piece_len: PIECE_LEN,
                        reader: Reader::Follower { from: sender, leader_epoch: fetched.fetch.leader_epoch },
                    };
                    let (partitions, shard, number) = (self.partitions.clone(), self.index, parked.number);
                    context.tasks.spawn(async move {
                        let result = partitions.catch_up(read).await;
                        Done::ReplicaRead { shard, from, number, id, result }
                    });
                }
            }
        }
        if parked.busy.is_empty() && (!parked.ready.is_empty() || parked.is_due) {
            self.answer(from, context);
        }
    }

    fn answer(&mut self, from: FollowerShard, context: &mut Context<'_>) {
        let Some(parked) = self.parked.remove(&from) else { return };
        let told = parked.ready.iter().filter_map(|(id, entry)| match entry {
            FetchedEntry::Frames { told, .. } => Some((*id, *told)),
            _ => None,
        });
        if !self.sessions.on_answered(from, parked.number, told) {
            return;
        }
        let leader = (context.broker, self.index);
        let at = Replication { from, incarnation: parked.incarnation, leader };
        let entries = Rc::new(parked.ready.into_iter().collect());
        context.out.push((Node::Broker(from.broker), Message::FetchAnswer(at, parked.number, entries)));
    }

    pub fn on_replica_read(
        &mut self,
        from: FollowerShard,
        number: RequestNumber,
        id: TopicPartition,
        result: CaughtUp,
        context: &mut Context<'_>,
    ) {
        let Some(parked) = self.parked.get_mut(&from).filter(|parked| parked.number == number) else { return };
        parked.busy.remove(&id);
        let entry = match (result, parked.told.remove(&id)) {
            (CaughtUp::Frames { slices, .. }, Some(told)) => FetchedEntry::Frames { told, frames: slices.concat().into() },
            _ => FetchedEntry::Refused,
        };
        parked.ready.insert(id, entry);
        self.try_answer(from, context);
    }

    pub fn on_ask_beginning(
        &mut self,
        at: Replication,
        id: TopicPartition,
        leader_epoch: LeaderEpoch,
        context: &mut Context<'_>,
    ) {
        let partitions = self.partitions.clone();
        context.tasks.spawn(async move {
            let result: Result<LogBeginning, LookUpError> = partitions.beginning(id, leader_epoch).await;
            Done::Beginning { at, id, result }
        });
    }
}

/// A consumer's read from segments.
#[must_use]
pub fn consumer_read(id: TopicPartition, offset: u64, len_max: usize) -> CatchUpRead {
    CatchUpRead { id, offset: Offset(offset), len_max, piece_len: PIECE_LEN, reader: Reader::Consumer }
}

fn token_of(from: FollowerShard) -> u64 {
    let ShardIndex(shard) = from.shard;
    u64::from(from.broker.0) << 16 | u64::from(shard)
}

fn met_refusal(refusal: &ReplicaRefusal) -> &'static str {
    match refusal {
        ReplicaRefusal::Rules(FollowerRefusal::OtherIncarnation { .. }) => "fetch: other incarnation",
        ReplicaRefusal::Rules(FollowerRefusal::FencedLeaderEpoch { .. }) => "fetch: fenced leader epoch",
        ReplicaRefusal::Rules(FollowerRefusal::UnknownLeaderEpoch { .. }) => "fetch: unknown leader epoch",
        ReplicaRefusal::Rules(FollowerRefusal::Stale { .. }) => "fetch: stale",
        ReplicaRefusal::NotLeader(_) => "fetch: not leader",
        _ => "fetch: otherwise refused",
    }
}
