//! The leader's end: what every follower shard has named, and what each was told.

use super::{FetchRequest, FlushRequest, FollowerShard, PartitionFetch, RequestNumber, SentBy, SessionRefusal, Told};
use sluice_model::limits::REPLICAS_PER_FETCH_MAX;
use sluice_model::{Incarnation, TopicPartition};
use std::collections::BTreeMap;

/// One partition of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// As the follower has named it last.
    pub fetch: PartitionFetch,
    /// What the last answer that named the partition told; `None` before any.
    pub told: Option<Told>,
}

#[derive(Clone, Debug)]
struct Session {
    incarnation: Incarnation,
    id: u64,
    /// Number of the next request; `None` once it is closed.
    next: Option<u64>,
    /// Number of the fetch that is not answered yet.
    parked: Option<u64>,
    partitions: BTreeMap<TopicPartition, Fetched>,
}

/// All sessions of one leader shard. Bounded by the shards of the cluster; each by what one request may name, which is more
/// than a follower has in one (`REPLICAS_PER_FETCH_MAX`).
#[derive(Clone, Debug, Default)]
pub struct LeaderSessions {
    sessions: BTreeMap<FollowerShard, Session>,
}

impl LeaderSessions {
    /// A fetch comes in. Gives back what changed, for the partitions' leaders to judge; the fetch is parked until
    /// [`Self::on_answered`].
    pub fn on_fetch(
        &mut self,
        (from, incarnation): SentBy,
        request: FetchRequest,
    ) -> Result<BTreeMap<TopicPartition, PartitionFetch>, SessionRefusal> {
        let FetchRequest { at, named, forgotten } = request;
        if at.number == 0 {
            self.open(from, incarnation, at.session, &named)?;
            return Ok(named);
        }
        let session = self.numbered((from, incarnation), at)?;
        // A follower sends the next fetch when it has the answer to the last one.
        if session.parked.is_some() {
            session.close();
            return Err(SessionRefusal::FullAgain);
        }
        session.parked = Some(at.number);
        for id in &forgotten {
            session.partitions.remove(id);
        }
        let new = named.keys().filter(|id| !session.partitions.contains_key(id)).count();
        if session.partitions.len() + new > REPLICAS_PER_FETCH_MAX {
            session.close();
            return Err(SessionRefusal::FullAgain);
        }
        for (&id, &fetch) in &named {
            session.partitions.entry(id).or_insert(Fetched { fetch, told: None }).fetch = fetch;
        }
        Ok(named)
    }

    /// A follower has flushed; its parked fetch stays parked. Gives back what the session knows of these partitions now.
    pub fn on_flush(
        &mut self,
        sent_by: SentBy,
        request: &FlushRequest,
    ) -> Result<BTreeMap<TopicPartition, PartitionFetch>, SessionRefusal> {
        let session = self.numbered(sent_by, request.at)?;
        let mut changed = BTreeMap::new();
        for (&id, &flushed) in &request.flushed {
            let Some(partition) = session.partitions.get_mut(&id) else {
                // It names what was never fetched here: the two ends do not agree.
                session.close();
                return Err(SessionRefusal::FullAgain);
            };
            partition.fetch.flushed = flushed;
            changed.insert(id, partition.fetch);
        }
        Ok(changed)
    }

    /// The parked fetch of `from` is answered, and tells this of the partitions that it names. `false` when that fetch is
    /// not the one that is parked: nothing is to be sent then.
    pub fn on_answered(
        &mut self,
        from: FollowerShard,
        at: RequestNumber,
        told: impl IntoIterator<Item = (TopicPartition, Told)>,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(&from).filter(|session| session.id == at.session) else { return false };
        if session.parked.take_if(|number| *number == at.number).is_none() {
            return false;
        }
        for (id, told) in told {
            if let Some(partition) = session.partitions.get_mut(&id) {
                partition.told = Some(told);
            }
        }
        true
    }

    /// The partitions of a follower shard's open session, to be looked through for something to send.
    pub fn partitions(&self, from: FollowerShard) -> impl Iterator<Item = (TopicPartition, &Fetched)> {
        let session = self.sessions.get(&from).filter(|session| session.next.is_some());
        session.into_iter().flat_map(|session| session.partitions.iter().map(|(&id, fetched)| (id, fetched)))
    }

    /// One of them.
    #[must_use]
    pub fn partition(&self, from: FollowerShard, id: TopicPartition) -> Option<&Fetched> {
        self.sessions.get(&from).filter(|session| session.next.is_some())?.partitions.get(&id)
    }

    /// Whether an answer has to name a partition that has no frames to send: something of it has changed since the
    /// follower was told.
    #[must_use]
    pub fn has_news(fetched: &Fetched, now: Told) -> bool {
        fetched.told != Some(now)
    }

    /// The fetch of `from` that waits for its answer.
    #[must_use]
    pub fn parked(&self, from: FollowerShard) -> Option<RequestNumber> {
        let session = self.sessions.get(&from)?;
        Some(RequestNumber { session: session.id, number: session.parked? })
    }

    /// The connection of `from` is gone, or its broker has left: nobody waits for an answer. Which sessions it had stays
    /// known, so that a late request opens none of them again.
    pub fn on_gone(&mut self, from: FollowerShard) {
        if let Some(session) = self.sessions.get_mut(&from) {
            session.close();
        }
    }

    fn open(
        &mut self,
        from: FollowerShard,
        incarnation: Incarnation,
        id: u64,
        named: &BTreeMap<TopicPartition, PartitionFetch>,
    ) -> Result<(), SessionRefusal> {
        if let Some(known) = self.sessions.get(&from) {
            let is_later = incarnation.number > known.incarnation.number;
            if !is_later && (incarnation != known.incarnation || id <= known.id) {
                return Err(SessionRefusal::Stale);
            }
        }
        let partitions = named.iter().map(|(&id, &fetch)| (id, Fetched { fetch, told: None })).collect();
        self.sessions.insert(from, Session { incarnation, id, next: Some(1), parked: Some(0), partitions });
        Ok(())
    }

    /// The session of this request, when it is the next one of it.
    fn numbered(&mut self, (from, incarnation): SentBy, at: RequestNumber) -> Result<&mut Session, SessionRefusal> {
        let session = self.sessions.get_mut(&from).ok_or(SessionRefusal::FullAgain)?;
        let is_earlier = incarnation.number < session.incarnation.number;
        if is_earlier || incarnation == session.incarnation && at.session < session.id {
            return Err(SessionRefusal::Stale);
        }
        if incarnation != session.incarnation || at.session != session.id {
            return Err(SessionRefusal::FullAgain);
        }
        if session.next != Some(at.number) {
            session.close();
            return Err(SessionRefusal::FullAgain);
        }
        session.next = Some(at.number + 1);
        Ok(session)
    }
}

impl Session {
    fn close(&mut self) {
        self.next = None;
        self.parked = None;
        self.partitions.clear();
    }
}

#[cfg(test)]
#[path = "leader_test.rs"]
mod tests;
