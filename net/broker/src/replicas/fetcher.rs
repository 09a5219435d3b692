//! One leader shard, seen from a shard that follows it: the connection to it, the session over that, and what is asked.
//!
//! One fetch is under way at a time; the next one is sent as soon as the frames of the last are appended, while they are
//! being flushed, and a flush that completes while a fetch is parked is said at once. The expensive mistake is to go on
//! with a session of which a request or an answer may be lost: whatever is in doubt, nothing is known any more
//! (`on_lost`), and the next fetch names everything. Deliberately absent: sockets (`following`) and what answers do to the
//! logs (`on_leader_answer`).

use crate::answer::AnswerFrames;
use crate::input::Input;
use crate::output::Output;
use crate::replicas::backoff::Backoff;
use crate::replicas::beginnings::PartialBeginning;
use crate::replicas::convert::{fetch_message, flush_message};
use sluice_model::limits::{FRAME_BODY_LEN_MAX, REPLICAS_PER_FETCH_MAX};
use sluice_model::{BrokerId, FRAME_HEADER_LEN, LeaderEpoch, Offset, ShardIndex, TopicPartition};
use sluice_protocol::{BrokerName, EncodeError, Introduction, Message, encode};
use sluice_replica::session::follower::FollowerSession;
use sluice_replica::session::{PartitionFetch, RequestNumber};
use sluice_shard::ConnectionId;
use std::collections::BTreeMap;

/// How long a leader may keep a fetch parked, milliseconds.
pub(crate) const FETCH_WAIT_MS: u32 = 500;
/// A fetch without an answer for this much longer has lost its leader, microseconds.
const FETCH_STALL_US: u64 = 5_000_000;
/// Connection, introduction and proofs have to be through by then, microseconds.
const INTRODUCTION_US_MAX: u64 = 5_000_000;
/// Largest answer that is asked for, bytes.
const ANSWER_LEN_MAX: usize = 4 * 1024 * 1024;
const LARGEST_FRAME_LEN: usize = FRAME_HEADER_LEN + FRAME_BODY_LEN_MAX;
/// Partitions of one fetch: all of another lot may have to be forgotten in the same request.
const WINDOW_LEN: usize = REPLICAS_PER_FETCH_MAX / 2;
/// A lot of them that is not all there are gives way to the next one after this long, milliseconds.
const WINDOW_WAIT_MS: u32 = 10;
/// A parked fetch that lacks a partition is given up no more often than this, microseconds.
const RENEWAL_US: u64 = 20_000;
/// A fetch for whose frames there is no room is tried again after this long, microseconds.
const ROOM_RETRY_US: u64 = 10_000;
/// Reports of flushes that are not answered; those after them wait and become one.
const FLUSHES_IN_FLIGHT_MAX: usize = 16;

pub(crate) type LeaderShard = (BrokerId, ShardIndex);

pub(crate) struct Fetcher {
    pub(crate) leader: LeaderShard,
    pub(crate) state: FetcherState,
    pub(crate) session: FollowerSession,
    /// Every partition that can be fetched from there, and where it goes on.
    positions: BTreeMap<TopicPartition, PartitionFetch>,
    /// The session's last fetch names all of them.
    is_all_named: bool,
    /// Those that are left out until then, microseconds, because the leader has refused them.
    pub(crate) put_off: BTreeMap<TopicPartition, u64>,
    pub(crate) beginnings: BTreeMap<TopicPartition, PartialBeginning>,
    /// What the unanswered requests of this connection are, by correlation id.
    pub(crate) asked: BTreeMap<u32, Asked>,
    /// No fetch before this, microseconds.
    pub(crate) fetch_from_us: u64,
    pub(crate) backoff: Backoff,
    /// Flushes that the leader has not been told of.
    flushed: BTreeMap<TopicPartition, (LeaderEpoch, Offset)>,
    /// As the session's last fetch has them.
    named: BTreeMap<TopicPartition, LeaderEpoch>,
    last_correlation_id: u32,
    last_renewal_us: u64,
    /// The last partition of the lot that was fetched, when not all go into one.
    window_end: Option<TopicPartition>,
}

pub(crate) enum FetcherState {
    /// To be connected to from then on, microseconds.
    Apart {
        until_us: u64,
    },
    /// Its address is being looked up.
    Resolving,
    Linked(Box<LeaderLink>),
}

pub(crate) struct LeaderLink {
    pub(crate) connection: ConnectionId,
    pub(crate) stage: Stage,
    pub(crate) input: Input,
    pub(crate) output: Output,
    pub(crate) begun_us: u64,
}

/// How far the two have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Connecting,
    /// This side has said who it is.
    Introducing(BrokerName),
    /// This side has proved it, and waits for the other side's proof.
    Proving(Introduction),
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Hello,
    Challenge,
    Proof,
    Fetch { at: RequestNumber, stalled_us: u64 },
    Flush { session: u64 },
    Beginning(TopicPartition),
}

impl Fetcher {
    pub(crate) fn new(leader: LeaderShard, seed: u64) -> Self {
        Self {
            leader,
            state: FetcherState::Apart { until_us: 0 },
            session: FollowerSession::default(),
            positions: BTreeMap::new(),
            is_all_named: true,
            put_off: BTreeMap::new(),
            beginnings: BTreeMap::new(),
            asked: BTreeMap::new(),
            fetch_from_us: 0,
            backoff: Backoff::new(seed),
            flushed: BTreeMap::new(),
            named: BTreeMap::new(),
            last_correlation_id: 0,
            last_renewal_us: 0,
            window_end: None,
        }
    }

    pub(crate) fn link(&mut self) -> Option<&mut LeaderLink> {
        match &mut self.state {
            FetcherState::Linked(link) => Some(link),
            FetcherState::Apart { .. } | FetcherState::Resolving => None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(&self.state, FetcherState::Linked(link) if link.stage == Stage::Open)
    }

    /// All that can be fetched from there now.
    pub(crate) fn set_positions(&mut self, positions: BTreeMap<TopicPartition, PartitionFetch>) {
        self.positions = positions;
        self.is_all_named = false;
    }

    /// One of those is somewhere else now, or cannot be fetched any more.
    pub(crate) fn set_position(&mut self, id: TopicPartition, position: Option<PartitionFetch>) {
        match position {
            // One that is new here is found when all are looked at: then it is known which shard leads it.
            Some(position) => {
                if let Some(known) = self.positions.get_mut(&id) {
                    self.is_all_named &= known.leader_epoch == position.leader_epoch;
                    *known = position;
                }
            }
            None => _ = self.positions.remove(&id),
        }
    }

    pub(crate) fn has_positions(&self) -> bool {
        !self.positions.is_empty()
    }

    /// Bytes have come: whatever is owed is on its way.
    pub(crate) fn note_progress(&mut self, now_us: u64) {
        for asked in self.asked.values_mut() {
            if let Asked::Fetch { stalled_us, .. } = asked {
                *stalled_us = (*stalled_us).max(now_us + FETCH_STALL_US);
            }
        }
    }

    /// It fetches nothing and waits for nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.positions.is_empty() && self.beginnings.is_empty() && !self.is_fetching()
    }

    /// Puts a request into the output.
    pub(crate) fn ask<M: Message>(&mut self, message: &M, asked: Asked) -> Result<(), EncodeError> {
        self.last_correlation_id = self.last_correlation_id.wrapping_add(1);
        let correlation_id = self.last_correlation_id;
        let FetcherState::Linked(link) = &mut self.state else { return Ok(()) };
        let bytes = encode(correlation_id, 0, message, 0)?;
        link.output.push(bytes.freeze(), AnswerFrames::default());
        self.asked.insert(correlation_id, asked);
        Ok(())
    }

    pub(crate) fn is_fetching(&self) -> bool {
        self.asked.values().any(|asked| matches!(asked, Asked::Fetch { .. }))
    }

    /// What this shard has flushed of a partition, perhaps of one that is fetched elsewhere.
    pub(crate) fn note_flushed(&mut self, id: TopicPartition, leader_epoch: LeaderEpoch, offset: Offset) {
        let Some(position) = self.positions.get_mut(&id).filter(|position| position.leader_epoch == leader_epoch) else { return };
        // What is beyond its place the next fetch says, which proves it.
        position.flushed = position.flushed.max(offset.min(position.position.offset));
        self.flushed.insert(id, (leader_epoch, offset));
    }

    /// Sends what can be sent now: the next fetch, or what was flushed while one is parked. `room` is what the shard takes.
    pub(crate) fn go_on(&mut self, now_us: u64, room: usize) -> Result<(), EncodeError> {
        if !self.is_open() {
            return Ok(());
        }
        let put_off_count = self.put_off.len();
        self.put_off.retain(|_, until_us| *until_us > now_us);
        self.is_all_named &= self.put_off.len() == put_off_count;
        if !self.is_all_named && self.is_fetching() && now_us.saturating_sub(self.last_renewal_us) >= RENEWAL_US {
            self.is_all_named = !self.lacks_a_partition();
            if !self.is_all_named {
                // The leader would not look at it before the parked fetch ends.
                self.last_renewal_us = now_us;
                self.lose_session();
            }
        }
        if !self.is_fetching() && room > 0 && now_us >= self.fetch_from_us {
            self.fetch(now_us, room)?;
        }
        self.report_flushed()
    }

    fn lacks_a_partition(&self) -> bool {
        let is_lacking = |(id, fetch): (&TopicPartition, &PartitionFetch)| {
            !self.put_off.contains_key(id) && self.named.get(id) != Some(&fetch.leader_epoch)
        };
        self.window_end.is_none() && self.positions.iter().any(is_lacking)
    }

    fn fetch(&mut self, now_us: u64, room: usize) -> Result<(), EncodeError> {
        let wanted = self.wanted();
        if wanted.is_empty() && self.named.is_empty() {
            return Ok(());
        }
        let Some(request) = self.session.fetch(&wanted) else { return Ok(()) };
        self.is_all_named = true;
        self.named = wanted.iter().map(|(&id, fetch)| (id, fetch.leader_epoch)).collect();
        let wait_ms = if self.window_end.is_some() { WINDOW_WAIT_MS } else { FETCH_WAIT_MS };
        let len_max = ANSWER_LEN_MAX.min(room.max(LARGEST_FRAME_LEN));
        let message = fetch_message(&request, wait_ms, u32::try_from(len_max).unwrap_or(u32::MAX));
        let stalled_us = now_us + u64::from(wait_ms) * 1000 + FETCH_STALL_US;
        self.ask(&message, Asked::Fetch { at: request.at, stalled_us })
    }

    /// The partitions of the next fetch: all, or the next lot of them.
    fn wanted(&mut self) -> BTreeMap<TopicPartition, PartitionFetch> {
        let all = self.positions.iter().filter(|(id, _)| !self.put_off.contains_key(id));
        let all: Vec<_> = all.map(|(&id, &fetch)| (id, fetch)).collect();
        if all.len() <= WINDOW_LEN {
            self.window_end = None;
            return all.into_iter().collect();
        }
        let begin = self.window_end.map_or(0, |end| all.partition_point(|(id, _)| *id <= end));
        let wanted: BTreeMap<_, _> = all.iter().cycle().skip(begin).take(WINDOW_LEN).copied().collect();
        self.window_end = all.get((begin + WINDOW_LEN - 1) % all.len()).map(|(id, _)| *id);
        wanted
    }

    fn report_flushed(&mut self) -> Result<(), EncodeError> {
        let in_flight = self.asked.values().filter(|asked| matches!(asked, Asked::Flush { .. })).count();
        if self.flushed.is_empty() || in_flight >= FLUSHES_IN_FLIGHT_MAX {
            return Ok(());
        }
        let flushed = std::mem::take(&mut self.flushed);
        let flushed = flushed.into_iter().map(|(id, (leader_epoch, offset))| (id, leader_epoch, offset));
        // Without a parked fetch there is nothing to say: the next fetch names what is flushed.
        let Some(request) = self.session.flush(flushed) else { return Ok(()) };
        self.ask(&flush_message(&request), Asked::Flush { session: request.at.session })
    }

    /// Nobody can say what the leader knows: the next fetch names everything, in another session.
    pub(crate) fn lose_session(&mut self) {
        self.session.on_lost(self.session.id());
        self.named.clear();
        // Answers to the old session are still owed; nobody waits for them.
        self.asked.retain(|_, asked| !matches!(asked, Asked::Fetch { .. }));
    }

    /// Whether something that is owed does not come.
    pub(crate) fn is_stalled(&self, now_us: u64) -> bool {
        match &self.state {
            FetcherState::Linked(link) if link.stage != Stage::Open => now_us.saturating_sub(link.begun_us) > INTRODUCTION_US_MAX,
            _ => self.asked.values().any(|asked| matches!(asked, Asked::Fetch { stalled_us, .. } if *stalled_us < now_us)),
        }
    }

    /// When it has something to do without being told, microseconds.
    pub(crate) fn next_deadline_us(&self, now_us: u64) -> u64 {
        match &self.state {
            FetcherState::Apart { until_us } if self.positions.is_empty() => (*until_us).max(now_us + 1_000_000),
            FetcherState::Apart { until_us } => *until_us,
            FetcherState::Resolving => u64::MAX,
            FetcherState::Linked(link) if link.stage != Stage::Open => link.begun_us + INTRODUCTION_US_MAX + 1,
            FetcherState::Linked(_) => {
                let stalled = self.asked.values().map(|asked| match asked {
                    Asked::Fetch { stalled_us, .. } => stalled_us + 1,
                    _ => u64::MAX,
                });
                let put_off = self.put_off.values().copied();
                let waits_for_room = !self.is_fetching() && !self.is_idle();
                let next_fetch = if waits_for_room { self.fetch_from_us.max(now_us + ROOM_RETRY_US) } else { u64::MAX };
                stalled.chain(put_off).chain([next_fetch]).min().unwrap_or(u64::MAX)
            }
        }
    }
}

#[cfg(test)]
#[path = "fetcher_test.rs"]
mod tests;
