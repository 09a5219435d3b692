//! Answers to follower shards: when there is something to say, when their time is up, or when a session has ended.

use crate::answer::{AnswerFrames, ReplyTo};
use crate::data_plane::DataPlane;
use crate::error_table::WireError;
use crate::opened::Opened;
use crate::replicas::convert::beginning_message;
use crate::replicas::gather::{Gathered, Source};
use crate::replicas::leading::{DiskRead, Link, Parked};
use crate::replicas::reads::{ReplicaDone, ReplicaJob, ReplicaOf};
use bytes::Bytes;
use sluice_model::TopicPartition;
use sluice_partition::ReplicaRefusal;
use sluice_protocol::{ReplicaBeginningAnswer, ReplicaFetchAnswer, ReplicaOutcome};
use sluice_replica::FetchOutcome;
use sluice_replica::session::{FollowerShard, PartitionFetch, RequestNumber, Told};
use sluice_shard::{ConnectionId, Reservation};

/// A fetch for which there was no room is looked at again after this long, microseconds.
const NO_ROOM_RETRY_US: u64 = 10_000;

impl DataPlane {
    /// Partitions have moved that follower shards watch.
    pub(crate) fn take_replica_news(&mut self) {
        let Some(opened) = self.parts.opened.get() else { return };
        let mut news = std::mem::take(&mut self.replica_news);
        opened.partitions.take_replica_news(&mut news);
        let mut stirred: Vec<FollowerShard> = Vec::new();
        for (token, id) in news.drain(..) {
            let Some((from, link)) = self.leading.by_token(token) else { continue };
            link.ready.insert(id);
            if !stirred.contains(&from) {
                stirred.push(from);
            }
        }
        self.replica_news = news;
        stirred.into_iter().for_each(|from| self.serve_follower(from));
    }

    pub(crate) fn take_replica_reads(&mut self) {
        let Some(opened) = self.parts.opened.get() else { return };
        let mut done = Vec::new();
        opened.replica_reads.take_done(&mut done);
        for done in done {
            match done {
                ReplicaDone::Frames { of, told, read, reservation } => {
                    self.on_read(of, told, read, reservation);
                    self.serve_follower(of.from);
                }
                ReplicaDone::LookUp { of, result } => self.on_looked_up(of, result),
                ReplicaDone::Beginning { to, after, result } => {
                    let answer = match result {
                        Ok(beginning) => beginning_message(&beginning, after),
                        Err(error) => ReplicaBeginningAnswer {
                            error: error.code(),
                            text: error.text,
                            retry_after_ms: error.retry_after_ms,
                            ..ReplicaBeginningAnswer::default()
                        },
                    };
                    self.answer(to, &answer);
                }
            }
        }
    }

    fn on_read(&mut self, of: ReplicaOf, told: Told, read: Result<Vec<Bytes>, WireError>, reservation: Reservation) {
        let is_named = self.is_named(of);
        let Some(link) = self.leading.find(of.from).filter(|link| link.token == of.token) else { return };
        link.reads.remove(&of.id);
        match read {
            // It fetches from elsewhere by now.
            _ if !is_named => {}
            Ok(slices) => _ = link.reads.insert(of.id, DiskRead::Here { fetch: of.fetch, told, slices, reservation }),
            Err(error) => _ = link.verdicts.insert(of.id, (of.fetch, refused(error))),
        }
    }

    fn on_looked_up(&mut self, of: ReplicaOf, result: Result<(), WireError>) {
        if self.leading.find(of.from).is_none_or(|link| link.token != of.token) {
            return;
        }
        match result {
            // It may have fetched from elsewhere meanwhile; then this one counts for nothing any more.
            Ok(()) if self.is_named(of) => self.judge(of),
            Ok(()) => {}
            Err(error) => self.say_of(of, refused(error)),
        }
        self.serve_follower(of.from);
    }

    fn is_named(&self, of: ReplicaOf) -> bool {
        self.leading.sessions.partition(of.from, of.id).is_some_and(|fetched| fetched.fetch == of.fetch)
    }

    /// What a follower says of one partition: the partition's leader judges it.
    pub(crate) fn judge(&mut self, of: ReplicaOf) {
        let Some(Opened { partitions, replica_reads, .. }) = self.parts.opened.get() else { return };
        let ReplicaOf { from, incarnation, id, fetch, token } = of;
        let outcome = match partitions.follower_fetch(self.now, (from.broker, incarnation), id, &fetch) {
            Ok(FetchOutcome::Serve { .. }) => {
                if let Some(link) = self.leading.find(from) {
                    link.ready.insert(id);
                    if link.watched.insert(id) {
                        partitions.watch_replica(token, id);
                    }
                }
                return;
            }
            Ok(FetchOutcome::LookUp { offset }) => return replica_reads.push(ReplicaJob::LookUp { of, offset }),
            Ok(FetchOutcome::Diverging { epoch, end_offset }) => {
                ReplicaOutcome::Diverging { epoch: epoch.map(|epoch| epoch.0), end_offset: end_offset.0 }
            }
            Ok(FetchOutcome::BelowLogStart { first_offset }) => ReplicaOutcome::BelowLogStart { first_offset: first_offset.0 },
            Err(refusal) => {
                if let ReplicaRefusal::Rules(rules) = &refusal {
                    tracing::debug!(follower = from.broker.0, partition = %id, %rules, "a follower's fetch counts for nothing");
                }
                refused(WireError::from(&refusal))
            }
        };
        self.say_of(of, outcome);
    }

    fn say_of(&mut self, of: ReplicaOf, outcome: ReplicaOutcome) {
        if let Some(link) = self.leading.find(of.from) {
            link.verdicts.insert(of.id, (of.fetch, outcome));
        }
    }

    /// Answers the parked fetch of `from`, when there is something to say or its time is up.
    pub(crate) fn serve_follower(&mut self, from: FollowerShard) {
        let Some(opened) = self.parts.opened.get() else { return };
        let Some(mut link) = self.leading.take(from) else { return };
        let Some(mut parked) = link.parked.take() else { return self.leading.put_back(from, link) };
        let source = Source {
            from,
            partitions: &opened.partitions,
            reads: &opened.replica_reads,
            sessions: &self.leading.sessions,
            budget: &self.parts.budget,
        };
        let reserved_len = parked.reservation.len();
        let mut gathered = Gathered::new(parked.len_max, &mut parked.reservation);
        gathered.take_from(&source, &mut link);
        let is_due = self.now.mono_us >= parked.until_us || self.is_stopping;
        if gathered.is_empty() && !is_due {
            let lacks_room = gathered.lacks_room;
            parked.look_us = if lacks_room { self.now.mono_us + NO_ROOM_RETRY_US } else { u64::MAX };
            parked.reservation.shrink_to(reserved_len);
            link.parked = Some(parked);
            return self.leading.put_back(from, link);
        }
        let Gathered { entries, told, frames, frames_len, .. } = gathered;
        self.leading.put_back(from, link);
        let Parked { to, at, reservation, .. } = parked;
        if !self.leading.sessions.on_answered(from, at, told) {
            // Nobody waits for it in the session; the request is answered all the same.
            return self.refuse_session(to, at, WireError::full_again());
        }
        self.parts.metrics.replica_sent_len.add(frames_len as u64);
        let answer = ReplicaFetchAnswer { session: at.session, number: at.number, partitions: entries, ..Default::default() };
        let with = AnswerFrames { frames, len: frames_len, reservation: Some(reservation), times: None };
        self.answer_reserved(to, &answer, with);
    }

    pub(crate) fn answer_due_followers(&mut self) {
        for from in self.leading.due(self.now.mono_us) {
            self.serve_follower(from);
        }
    }

    /// The broker stops: whoever waits is answered with what there is.
    pub(crate) fn answer_all_followers(&mut self) {
        for from in self.leading.due(u64::MAX) {
            self.serve_follower(from);
        }
    }

    /// The error of a whole session, as an answer to one of its fetches.
    pub(crate) fn refuse_session(&mut self, to: ReplyTo, at: RequestNumber, error: WireError) {
        let RequestNumber { session, number } = at;
        let (error, text) = (error.code(), error.text);
        self.answer(to, &ReplicaFetchAnswer { error, text, session, number, partitions: Vec::new() });
    }

    /// A session has begun anew, or has gone: nothing of the one before is sent or watched any more.
    pub(crate) fn forget_session(&mut self, from: FollowerShard) {
        let Some(mut link) = self.leading.take(from) else { return };
        self.unwatch_all(&mut link);
        link.verdicts.clear();
        link.ready.clear();
        link.reads.retain(|_, read| matches!(read, DiskRead::UnderWay));
        let parked = link.parked.take();
        self.leading.put_back(from, link);
        if let Some(parked) = parked {
            self.refuse_session(parked.to, parked.at, WireError::full_again());
        }
    }

    pub(crate) fn forget_replicas(&mut self, from: FollowerShard, forgotten: impl IntoIterator<Item = TopicPartition>) {
        let Some(link) = self.leading.find(from) else { return };
        for id in forgotten {
            link.ready.remove(&id);
            link.verdicts.remove(&id);
            link.reads.retain(|read_id, read| *read_id != id || matches!(read, DiskRead::UnderWay));
            if link.watched.remove(&id)
                && let Some(opened) = self.parts.opened.get()
            {
                opened.partitions.unwatch_replica(link.token, id);
            }
        }
    }

    fn unwatch_all(&self, link: &mut Link) {
        let Some(opened) = self.parts.opened.get() else { return };
        for id in std::mem::take(&mut link.watched) {
            opened.partitions.unwatch_replica(link.token, id);
        }
    }

    /// The connection of a follower shard has gone.
    pub(crate) fn on_follower_gone(&mut self, from: FollowerShard, connection: ConnectionId) {
        if self.end_link(from, connection) {
            self.leading.sessions.on_gone(from);
        }
    }

    /// The link over this connection ends, its session does not. `false`: there is none.
    pub(crate) fn end_link(&mut self, from: FollowerShard, connection: ConnectionId) -> bool {
        let Some(mut link) = self.leading.remove(from, connection) else { return false };
        self.unwatch_all(&mut link);
        true
    }
}

fn refused(error: WireError) -> ReplicaOutcome {
    ReplicaOutcome::Refused { error: error.code(), text: error.text }
}

/// Of a link, to be judged.
pub(crate) fn replica_of(link: &Link, from: FollowerShard, id: TopicPartition, fetch: PartitionFetch) -> ReplicaOf {
    ReplicaOf { token: link.token, from, incarnation: link.incarnation, id, fetch }
}
