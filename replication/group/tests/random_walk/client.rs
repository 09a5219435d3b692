//! A member as the client has to be: it goes by its own clock, and by the answer to the last thing that it said.
//!
//! It has a partition until it has given it up, or its lease ends: a session after it *sent* the last heartbeat that was
//! answered, a poll timeout after it sent the last answered one that said it had polled, and a poll timeout after it
//! learned what to give up. That is never later than the coordinator's own count.

use crate::world::{POLL_MS, SESSION_MS, World, group_id};
use sluice_group::*;
use sluice_model::{LeaderEpoch, Offset, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
pub(crate) enum Said {
    Join(JoinGroup),
    Heartbeat(Heartbeat),
    Leave(LeaveGroup),
    /// With the epoch that each partition was given under, when it was said.
    Commit(CommitOffsets, BTreeMap<TopicPartition, MemberEpoch>),
    Fetch(FetchOffsets),
}

#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) since: MemberEpoch,
    /// Where it goes on; none until it has heard where the group stands.
    pub(crate) position: Option<Offset>,
    committed: Option<Offset>,
    /// When it learned that it has to give it up.
    revoked_us: Option<u64>,
}

/// Each partition's offset, and the epoch that the partition was given under.
type Committing = BTreeMap<TopicPartition, (Offset, MemberEpoch)>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Down,
    Joining,
    Member,
}

pub(crate) struct Client {
    number: usize,
    instance_id: Option<String>,
    state: State,
    member_id: MemberId,
    pub(crate) epoch: MemberEpoch,
    pub(crate) held: BTreeMap<TopicPartition, Held>,
    /// Given up, until the coordinator says so.
    given_up: BTreeSet<TopicPartition>,
    next_request: u64,
    /// The join or heartbeat that waits for its answer: number, when it was sent, whether it said that it had polled.
    outstanding: Option<(u64, u64, bool)>,
    fetching: Option<(u64, u64)>,
    /// With what it says, by partition.
    committing: Option<(u64, u64, Committing)>,
    lease_us: u64,
    poll_lease_us: u64,
    has_polled: bool,
    heartbeat_us: u64,
    frozen_until_us: u64,
    stuck_until_us: u64,
    subscription: SubscriptionChange,
    pub(crate) has_news: bool,
    pub(crate) saw_failover: bool,
    /// It has taken over from an earlier life.
    lives: u32,
}

impl Client {
    pub(crate) fn new(number: usize, is_static: bool) -> Self {
        Self {
            number,
            instance_id: is_static.then(|| format!("instance-{number}")),
            state: State::Down,
            member_id: MemberId::default(),
            epoch: MemberEpoch(0),
            held: BTreeMap::new(),
            given_up: BTreeSet::new(),
            next_request: 0,
            outstanding: None,
            fetching: None,
            committing: None,
            lease_us: 0,
            poll_lease_us: 0,
            has_polled: false,
            heartbeat_us: 0,
            frozen_until_us: 0,
            stuck_until_us: 0,
            subscription: SubscriptionChange { version: 0, subscription: Subscription::to_topics(&["topic-1", "topic-2"]) },
            has_news: false,
            saw_failover: false,
            lives: 0,
        }
    }

    pub(crate) fn is_member(&self, member_id: MemberId) -> bool {
        self.state == State::Member && self.member_id == member_id
    }

    pub(crate) fn member(&self) -> Option<MemberId> {
        (self.state == State::Member).then_some(self.member_id)
    }

    fn is_leased(&self, now_us: u64) -> bool {
        let is_late = |held: &Held| held.revoked_us.is_some_and(|us| us + u64::from(POLL_MS) * 1000 <= now_us);
        now_us < self.lease_us && now_us < self.poll_lease_us && !self.held.values().any(is_late)
    }

    /// Whether it may deliver records of the partition now, for all it knows.
    pub(crate) fn has(&self, now_us: u64, id: TopicPartition) -> bool {
        self.state == State::Member && self.is_leased(now_us) && self.held.contains_key(&id)
    }

    pub(crate) fn recover(&mut self) {
        (self.frozen_until_us, self.stuck_until_us) = (0, 0);
    }

    /// It has lost everything, and is a new member from now on.
    fn begin_anew(&mut self, state: State) {
        (self.state, self.epoch) = (state, MemberEpoch(0));
        self.held.clear();
        self.given_up.clear();
        (self.outstanding, self.fetching, self.committing) = (None, None, None);
        (self.has_polled, self.has_news) = (false, false);
    }

    fn request(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request
    }

    fn next_said(&mut self, mode: Mode, assignor: Assignor) -> Said {
        let SubscriptionChange { version, ref subscription } = self.subscription;
        if self.state == State::Joining {
            return Said::Join(JoinGroup {
                group_id: group_id(),
                member_id: self.member_id,
                instance_id: self.instance_id.clone(),
                mode,
                assignor: Some(assignor),
                subscription: subscription.clone(),
                client_id: format!("client-{}", self.number),
                client_host: "here".into(),
                session_timeout_ms: None,
                poll_timeout_ms: Some(POLL_MS),
            });
        }
        Said::Heartbeat(Heartbeat {
            group_id: group_id(),
            member_id: self.member_id,
            member_epoch: self.epoch,
            has_polled: self.has_polled,
            revoked: self.given_up.iter().copied().collect(),
            subscription: (version > 0).then(|| self.subscription.clone()),
        })
    }

    /// What there is to commit: all that was delivered and is done.
    fn commit(&self) -> Option<(Said, Committing)> {
        let open = |held: &Held| held.position.filter(|&position| Some(position) != held.committed);
        let due: Vec<_> = self.held.iter().filter_map(|(&id, held)| Some((id, open(held)?, held.since))).collect();
        let commit = |&(id, offset, _): &(TopicPartition, Offset, MemberEpoch)| OffsetCommit {
            id,
            offset,
            leader_epoch: LeaderEpoch(1),
            metadata: String::new(),
        };
        let offsets: Vec<_> = due.iter().map(commit).collect();
        let (member_id, member_epoch) = (self.member_id, self.epoch);
        let request = CommitOffsets { group_id: group_id(), member_id, member_epoch, offsets };
        let since = due.iter().map(|&(id, _, since)| (id, since)).collect();
        let committing = due.iter().map(|&(id, offset, since)| (id, (offset, since))).collect();
        (!due.is_empty()).then_some((Said::Commit(request, since), committing))
    }

    /// Takes what it was told it has.
    fn take(&mut self, now_us: u64, epoch: MemberEpoch, assignment: &Assignment) {
        self.epoch = epoch;
        let revoking: BTreeMap<_, _> = assignment.revoking.iter().map(|assigned| (assigned.id, assigned.since)).collect();
        let assigned: BTreeMap<_, _> = assignment.assigned.iter().map(|assigned| (assigned.id, assigned.since)).collect();
        for id in self.held.keys() {
            let is_told = revoking.contains_key(id) || assigned.contains_key(id);
            assert!(is_told, "{id} is taken away from {} without a word", self.number);
        }
        for (&id, &since) in &assigned {
            if self.held.get(&id).is_none_or(|held| held.since != since) {
                self.held.insert(id, Held { since, position: None, committed: None, revoked_us: None });
            }
        }
        for (&id, &since) in &revoking {
            if let Some(held) = self.held.get_mut(&id).filter(|held| held.since == since) {
                held.revoked_us = held.revoked_us.or(Some(now_us));
            } else {
                self.held.remove(&id);
                self.given_up.insert(id);
            }
        }
        self.given_up.retain(|id| revoking.contains_key(id));
    }
}

impl World {
    fn said(&mut self, client: usize, said: Said) -> u64 {
        let request = self.clients[client].request();
        self.send(client, request, said);
        request
    }

    /// A client does what is due.
    pub(crate) fn act(&mut self, client: usize) {
        let now_us = self.now_us;
        if now_us < self.clients[client].frozen_until_us {
            return;
        }
        let it = &mut self.clients[client];
        if it.state == State::Member && !it.is_leased(now_us) {
            // By its own clock it may have been missed: it stops at once.
            it.begin_anew(State::Down);
            self.count("stopped by themselves");
        }
        if self.clients[client].state == State::Down {
            if self.is_quiet || self.one_in(6) {
                let member_id = self.random_id();
                self.clients[client].member_id = member_id;
                self.clients[client].begin_anew(State::Joining);
            }
            return self.speak(client);
        }
        self.speak(client);
        if self.clients[client].state == State::Member && now_us >= self.clients[client].stuck_until_us {
            self.work(client);
        }
    }

    /// Joins or heartbeats, when it is time.
    fn speak(&mut self, client: usize) {
        let (now_us, mode, assignor) = (self.now_us, self.mode, self.assignor);
        let it = &mut self.clients[client];
        let is_lost = it.outstanding.is_some_and(|(_, sent_us, _)| sent_us + 800_000 <= now_us);
        let is_due = it.outstanding.is_none() && (it.heartbeat_us <= now_us || it.has_news || !it.given_up.is_empty());
        if it.state == State::Down || !(is_lost || is_due) {
            return;
        }
        it.has_news = false;
        let said = it.next_said(mode, assignor);
        let has_polled = it.has_polled || it.state == State::Joining;
        let request = self.said(client, said);
        self.clients[client].outstanding = Some((request, now_us, has_polled));
    }

    /// Polls, delivers, commits and gives up.
    fn work(&mut self, client: usize) {
        let now_us = self.now_us;
        self.clients[client].has_polled = true;
        let steps: Vec<u64> = (0..self.clients[client].held.len()).map(|_| self.below(3) as u64).collect();
        let it = &mut self.clients[client];
        for (held, step) in it.held.values_mut().zip(steps) {
            if held.revoked_us.is_none()
                && let Some(position) = &mut held.position
            {
                *position = position.advanced(step);
            }
        }
        // What it does not know the position of it has delivered nothing of.
        let is_done = |held: &Held| held.position == held.committed || held.position.is_none();
        let done: Vec<_> =
            it.held.iter().filter(|(_, held)| held.revoked_us.is_some() && is_done(held)).map(|(&id, _)| id).collect();
        for id in done {
            it.held.remove(&id);
            it.given_up.insert(id);
            *self.counts.entry("given up").or_default() += 1;
        }
        if it.committing.as_ref().is_none_or(|(_, sent_us, _)| sent_us + 500_000 <= now_us)
            && let Some((commit, committing)) = it.commit()
        {
            let request = self.said(client, commit);
            self.clients[client].committing = Some((request, now_us, committing));
        }
        let it = &self.clients[client];
        let partitions: Vec<_> = it.held.iter().filter(|(_, held)| held.position.is_none()).map(|(&id, _)| id).collect();
        if !partitions.is_empty() && it.fetching.is_none_or(|(_, sent_us)| sent_us + 500_000 <= now_us) {
            let request = self.said(client, Said::Fetch(FetchOffsets { group_id: group_id(), partitions }));
            self.clients[client].fetching = Some((request, now_us));
        }
    }

    pub(crate) fn on_answer(&mut self, client: usize, request: u64, answer: Result<Answer, Refusal>) {
        let now_us = self.now_us;
        let it = &mut self.clients[client];
        if now_us < it.frozen_until_us || it.state == State::Down {
            return;
        }
        let is_to = |waiting: Option<(u64, u64)>| waiting.is_some_and(|(number, _)| number == request);
        if let Some((number, sent_us, has_polled)) = it.outstanding
            && number == request
        {
            it.outstanding = None;
            return self.on_member_answer(client, (sent_us, has_polled), answer);
        }
        if let Some((_, _, committing)) = it.committing.take_if(|(number, _, _)| *number == request) {
            return self.on_commit_answer(client, &committing, answer);
        }
        if is_to(it.fetching) {
            it.fetching = None;
            if let Ok(Answer::Offsets(offsets)) = answer {
                for (id, committed) in offsets {
                    if let Some(held) = self.clients[client].held.get_mut(&id).filter(|held| held.position.is_none()) {
                        let offset = committed.map(|committed| committed.offset);
                        (held.position, held.committed) = (Some(offset.unwrap_or_default()), offset.or(Some(Offset::ZERO)));
                    }
                }
            }
        }
    }

    fn on_member_answer(&mut self, client: usize, sent: (u64, bool), answer: Result<Answer, Refusal>) {
        let (now_us, (sent_us, has_polled)) = (self.now_us, sent);
        let it = &mut self.clients[client];
        let (member_epoch, assignment) = match answer {
            Ok(Answer::Member { member_epoch, assignment, .. }) => (member_epoch, assignment),
            Ok(other) => panic!("{other:?} is no answer to a heartbeat"),
            Err(Refusal::GroupBusy { .. }) => return it.heartbeat_us = now_us + 2_000_000,
            Err(_) => return it.begin_anew(State::Down),
        };
        let (was_joining, saw_failover) = (it.state == State::Joining, std::mem::take(&mut it.saw_failover));
        it.lease_us = it.lease_us.max(sent_us + u64::from(SESSION_MS) * 1000);
        if has_polled {
            it.poll_lease_us = it.poll_lease_us.max(sent_us + u64::from(POLL_MS) * 1000);
            it.has_polled = false;
        }
        if was_joining {
            (it.lease_us, it.poll_lease_us) = (sent_us + u64::from(SESSION_MS) * 1000, sent_us + u64::from(POLL_MS) * 1000);
            it.state = State::Member;
            it.subscription.version = 0;
            it.lives += u32::from(it.instance_id.is_some());
            let took_over = it.lives > 1 && assignment.as_ref().is_some_and(|assignment| !assignment.assigned.is_empty());
            *self.counts.entry("joined").or_default() += 1;
            *self.counts.entry("took over").or_default() += usize::from(took_over);
        }
        let it = &mut self.clients[client];
        if !it.is_leased(now_us) {
            return it.begin_anew(State::Down);
        }
        it.heartbeat_us = now_us + u64::from(SESSION_MS) * 1000 / 3;
        if let Some(assignment) = assignment {
            it.take(now_us, member_epoch, &assignment);
        }
        *self.counts.entry("answered after failover").or_default() += usize::from(saw_failover && !was_joining);
    }

    fn on_commit_answer(&mut self, client: usize, committing: &Committing, answer: Result<Answer, Refusal>) {
        let Ok(Answer::Committed(outcomes)) = answer else { return };
        for (id, outcome) in outcomes {
            let it = &mut self.clients[client];
            let (offset, since) = committing[&id];
            let Some(held) = it.held.get_mut(&id).filter(|held| held.since == since) else { continue };
            match outcome {
                Ok(()) => held.committed = Some(offset),
                Err(CommitRefusal::Behind { .. }) => (held.position, held.committed) = (None, None),
                // It hears of it by its next heartbeat.
                Err(_) => {}
            }
        }
    }

    /// Something happens to a client.
    pub(crate) fn fault(&mut self) {
        let client = self.below(self.clients.len());
        let (kind, now_us, long) = (self.below(6), self.now_us, 1000 * self.below(30_000) as u64);
        let it = &mut self.clients[client];
        if it.state != State::Member {
            return;
        }
        match kind {
            0 => it.begin_anew(State::Down),
            1 => {
                it.frozen_until_us = now_us + long;
                self.count("frozen");
            }
            2 => {
                it.stuck_until_us = now_us + long;
                self.count("stuck");
            }
            3 | 4 => {
                // What is not committed it has not done: it stops, and goes.
                let leave =
                    LeaveGroup { group_id: group_id(), member_id: it.member_id, member_epoch: it.epoch, for_good: kind == 3 };
                it.begin_anew(State::Down);
                self.said(client, Said::Leave(leave));
                self.count("left");
            }
            _ => {
                let version = it.subscription.version + 1;
                let mut subscription = Subscription::to_topics(&["topic-1"]);
                if it.number.is_multiple_of(2) {
                    subscription.patterns.push("topic-*".into());
                } else if it.subscription.subscription.topics.len() == 1 {
                    subscription.topics.push("topic-2".into());
                }
                it.subscription = SubscriptionChange { version, subscription };
                self.count("subscriptions changed");
            }
        }
    }
}
