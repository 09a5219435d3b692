//! The shards that follow this one: a link for each, over one connection, with its parked fetch.
//!
//! The expensive mistake is to answer a fetch of a connection that another one has taken the place of, so a link belongs
//! to one connection, has a token of its own, and ends with it. Deliberately absent: what a fetch means
//! (`handlers/on_replica_fetch`), what is sent (`gather`), who waits for what of a partition (`sluice_partition`).

use crate::answer::ReplyTo;
use bytes::Bytes;
use sluice_model::{Incarnation, TopicPartition};
use sluice_protocol::ReplicaOutcome;
use sluice_replica::session::leader::LeaderSessions;
use sluice_replica::session::{FollowerShard, PartitionFetch, RequestNumber, Told};
use sluice_shard::{ConnectionId, Reservation};
use std::collections::{BTreeMap, BTreeSet};

/// Reads from disk that one link has under way or waiting to be sent.
pub(crate) const READS_PER_LINK_MAX: usize = 4;

#[derive(Default)]
pub(crate) struct Leading {
    pub(crate) sessions: LeaderSessions,
    links: BTreeMap<FollowerShard, Link>,
    by_token: BTreeMap<u64, FollowerShard>,
    last_token: u64,
}

/// One follower shard, as long as its connection and its incarnation last.
pub(crate) struct Link {
    pub(crate) connection: ConnectionId,
    pub(crate) incarnation: Incarnation,
    /// Names it among the watchers of partitions.
    pub(crate) token: u64,
    pub(crate) parked: Option<Parked>,
    /// What a fetch of a partition led to, to be said with the next answer.
    pub(crate) verdicts: BTreeMap<TopicPartition, (PartitionFetch, ReplicaOutcome)>,
    /// Partitions that may have something to send.
    pub(crate) ready: BTreeSet<TopicPartition>,
    pub(crate) watched: BTreeSet<TopicPartition>,
    pub(crate) reads: BTreeMap<TopicPartition, DiskRead>,
    /// The partition whose frames stood last in an answer: the next answer begins behind it.
    pub(crate) last_served: Option<TopicPartition>,
}

/// A fetch that waits for something to say.
pub(crate) struct Parked {
    pub(crate) to: ReplyTo,
    pub(crate) at: RequestNumber,
    /// Answered then, whatever there is.
    pub(crate) until_us: u64,
    /// Looked at by then, because there was no room the last time.
    pub(crate) look_us: u64,
    pub(crate) len_max: usize,
    pub(crate) reservation: Reservation,
}

/// Frames of one partition that come from the disk.
pub(crate) enum DiskRead {
    UnderWay,
    Here { fetch: PartitionFetch, told: Told, slices: Vec<Bytes>, reservation: Reservation },
}

impl Parked {
    fn due_us(&self) -> u64 {
        self.until_us.min(self.look_us)
    }
}

impl Leading {
    /// The link of `from` over this connection; a new one when there is none.
    pub(crate) fn link(&mut self, from: FollowerShard, connection: ConnectionId, incarnation: Incarnation) -> &mut Link {
        if self.links.get(&from).is_none_or(|link| link.connection != connection) {
            self.last_token += 1;
            let token = self.last_token;
            self.by_token.insert(token, from);
            let link = Link {
                connection,
                incarnation,
                token,
                parked: None,
                verdicts: BTreeMap::new(),
                ready: BTreeSet::new(),
                watched: BTreeSet::new(),
                reads: BTreeMap::new(),
                last_served: None,
            };
            self.links.insert(from, link);
        }
        self.links.get_mut(&from).expect("it was there, or was put there")
    }

    /// The connection that `from` has now.
    pub(crate) fn connection_of(&self, from: FollowerShard) -> Option<ConnectionId> {
        Some(self.links.get(&from)?.connection)
    }

    pub(crate) fn find(&mut self, from: FollowerShard) -> Option<&mut Link> {
        self.links.get_mut(&from)
    }

    /// The link that this token was given to, when it is still there.
    pub(crate) fn by_token(&mut self, token: u64) -> Option<(FollowerShard, &mut Link)> {
        let from = *self.by_token.get(&token)?;
        Some((from, self.links.get_mut(&from)?))
    }

    /// Takes a link out to work with it beside the sessions; [`Self::put_back`] has to follow.
    pub(crate) fn take(&mut self, from: FollowerShard) -> Option<Link> {
        self.links.remove(&from)
    }

    pub(crate) fn put_back(&mut self, from: FollowerShard, link: Link) {
        self.links.insert(from, link);
    }

    /// The link of `from` over this connection, when it has one, with what is to be taken back of it. Its session stays.
    pub(crate) fn remove(&mut self, from: FollowerShard, connection: ConnectionId) -> Option<Link> {
        if self.connection_of(from) != Some(connection) {
            return None;
        }
        let link = self.links.remove(&from)?;
        self.by_token.remove(&link.token);
        Some(link)
    }

    /// When the first parked fetch is due; `u64::MAX` when none is parked.
    pub(crate) fn next_deadline_us(&self) -> u64 {
        self.links.values().filter_map(|link| link.parked.as_ref()).map(Parked::due_us).min().unwrap_or(u64::MAX)
    }

    /// Follower shards whose parked fetch is due.
    pub(crate) fn due(&self, now_us: u64) -> Vec<FollowerShard> {
        let is_due = |link: &Link| link.parked.as_ref().is_some_and(|parked| parked.due_us() <= now_us);
        self.links.iter().filter(|(_, link)| is_due(link)).map(|(&from, _)| from).collect()
    }
}
