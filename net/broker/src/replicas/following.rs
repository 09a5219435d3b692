//! The shards that this one follows: connections to them, opened when there is something to fetch, and what comes in.
//!
//! Positions are looked at again whenever something may have moved them: an answer, a flush, a new view, and now and then
//! for what comes back by itself (a log that was cut off). Deliberately absent: what an answer does (`on_leader_answer`).

use crate::data_plane::DataPlane;
use crate::input::{Fed, Input};
use crate::output::{Output, SLICES_MAX};
use crate::random::random_bytes;
use crate::replicas::fetcher::{Asked, Fetcher, FetcherState, LeaderLink, LeaderShard, Stage};
use crate::replicas::introduce::OwnName;
use crate::replicas::resolve::Resolved;
use sluice_model::TopicPartition;
use sluice_protocol::Prefix;
use sluice_replica::session::PartitionFetch;
use sluice_shard::{ConnectionId, ConnectionMap, Received, Sent};
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::mem;

/// All positions are looked at this often at least, microseconds.
const REFRESH_US: u64 = 50_000;
/// The same while this shard follows nobody.
const IDLE_REFRESH_US: u64 = 500_000;
/// Receives of one connection in one turn.
const RECEIVES_PER_TURN: usize = 4;
const WINDOW_LEN_MAX: usize = 1024 * 1024;

pub(crate) struct Following {
    fetchers: BTreeMap<LeaderShard, Box<Fetcher>>,
    by_connection: ConnectionMap<LeaderShard>,
    refresh_us: u64,
    /// Of the view that the positions were grouped by.
    view_version: u64,
}

impl Default for Following {
    fn default() -> Self {
        Self { fetchers: BTreeMap::new(), by_connection: ConnectionMap::default(), refresh_us: 0, view_version: u64::MAX }
    }
}

impl Following {
    pub(crate) fn owns(&self, connection: ConnectionId) -> bool {
        self.by_connection.get(&connection).is_some()
    }

    pub(crate) fn next_deadline_us(&self, now_us: u64) -> u64 {
        let fetchers = self.fetchers.values().map(|fetcher| fetcher.next_deadline_us(now_us));
        fetchers.chain([self.refresh_us]).min().unwrap_or(u64::MAX)
    }
}

impl DataPlane {
    /// Everything a follower does in a turn besides taking answers in.
    pub(crate) fn drive_following(&mut self) {
        if self.parts.config.cluster.is_none() || self.parts.opened.get().is_none() || self.is_stopping {
            return;
        }
        self.take_flushed();
        let view_version = self.parts.view.applied();
        if self.now.mono_us >= self.following.refresh_us || view_version != self.following.view_version {
            self.following.view_version = view_version;
            self.refresh_positions();
        }
        for resolved in self.parts.resolver.take() {
            self.on_resolved(resolved);
        }
        let leaders: Vec<LeaderShard> = self.following.fetchers.keys().copied().collect();
        for leader in leaders {
            self.with_fetcher(leader, Self::advance);
        }
        self.log_troubles();
    }

    /// The broker stops: nothing more is fetched.
    pub(crate) fn stop_following(&mut self) {
        let leaders: Vec<LeaderShard> = self.following.fetchers.keys().copied().collect();
        for leader in leaders {
            self.with_fetcher(leader, |plane, fetcher| plane.part(fetcher, "the broker stops"));
        }
    }

    /// Takes a fetcher out to work with it beside everything else.
    fn with_fetcher(&mut self, leader: LeaderShard, work: impl FnOnce(&mut Self, &mut Fetcher)) {
        if let Some(mut fetcher) = self.following.fetchers.remove(&leader) {
            work(self, &mut fetcher);
            self.following.fetchers.insert(leader, fetcher);
        }
    }

    fn take_flushed(&mut self) {
        let Some(opened) = self.parts.opened.get() else { return };
        let mut flushed = mem::take(&mut self.flushed);
        opened.partitions.take_flushed(&mut flushed);
        for (id, leader_epoch, offset) in flushed.drain(..) {
            for fetcher in self.following.fetchers.values_mut() {
                fetcher.note_flushed(id, leader_epoch, offset);
            }
        }
        self.flushed = flushed;
    }

    fn refresh_positions(&mut self) {
        let Some(opened) = self.parts.opened.get() else { return };
        let positions = opened.partitions.follower_positions();
        let mut groups: BTreeMap<LeaderShard, BTreeMap<TopicPartition, PartitionFetch>> = BTreeMap::new();
        {
            let view = self.parts.view.get();
            for (id, position) in positions {
                let placement = view.image.partition(id).and_then(|partition| partition.placement(position.leader));
                let Some(placement) = placement else { continue };
                groups.entry((position.leader, placement.shard)).or_default().insert(id, position.fetch());
            }
        }
        for (leader, fetcher) in &mut self.following.fetchers {
            fetcher.set_positions(groups.remove(leader).unwrap_or_default());
        }
        for (leader, positions) in groups {
            let seed = random_bytes().map_or(u64::from(leader.0.0), u64::from_le_bytes);
            let mut fetcher = Box::new(Fetcher::new(leader, seed));
            fetcher.set_positions(positions);
            self.following.fetchers.insert(leader, fetcher);
        }
        let is_idle = self.following.fetchers.values().all(|fetcher| fetcher.is_idle());
        self.following.refresh_us = self.now.mono_us + if is_idle { IDLE_REFRESH_US } else { REFRESH_US };
    }

    /// Connects, gives up what is stalled, asks for more.
    fn advance(&mut self, fetcher: &mut Fetcher) {
        let now_us = self.now.mono_us;
        match &fetcher.state {
            FetcherState::Apart { until_us } if *until_us <= now_us && fetcher.has_positions() => self.look_up(fetcher),
            FetcherState::Apart { .. } | FetcherState::Resolving => {}
            FetcherState::Linked(_) if fetcher.is_stalled(now_us) => self.part(fetcher, "it does not answer"),
            FetcherState::Linked(_) => self.ask_for_more(fetcher),
        }
    }

    fn look_up(&mut self, fetcher: &mut Fetcher) {
        let (broker, shard) = fetcher.leader;
        let address = {
            let view = self.parts.view.get();
            view.image.broker(broker).and_then(|known| known.address(shard)).cloned()
        };
        match address {
            Some(address) => {
                fetcher.state = FetcherState::Resolving;
                self.parts.resolver.ask(fetcher.leader, &address.host, address.port);
            }
            None => self.part(fetcher, "its address is not known"),
        }
    }

    fn on_resolved(&mut self, Resolved { leader, address }: Resolved) {
        self.with_fetcher(leader, |plane, fetcher| {
            let connected = address.and_then(|address| {
                plane.parts.sockets.connect(address).map_err(|error| format!("{address} cannot be connected to: {error}"))
            });
            match connected {
                Ok(connection) => {
                    let now_us = plane.now.mono_us;
                    plane.following.by_connection.insert(connection, leader);
                    fetcher.state = FetcherState::Linked(Box::new(LeaderLink {
                        connection,
                        stage: Stage::Connecting,
                        input: Input::new(now_us),
                        output: Output::default(),
                        begun_us: now_us,
                    }));
                }
                Err(problem) => plane.part(fetcher, &problem),
            }
        });
    }

    /// Closes the connection, when there is one, and tries again later.
    pub(crate) fn part(&mut self, fetcher: &mut Fetcher, problem: &str) {
        if let Some(link) = fetcher.link() {
            let connection = link.connection;
            self.following.by_connection.remove(&connection);
            self.parts.sockets.close(connection);
        }
        let (broker, shard) = fetcher.leader;
        let unanswered = fetcher.part(self.now.mono_us);
        tracing::info!(leader = broker.0, leader_shard = shard.0, problem, "not connected to the leader of partitions here");
        if let Some(opened) = self.parts.opened.get() {
            unanswered.into_iter().for_each(|id| opened.partitions.on_beginning_failed(id));
        }
    }

    fn ask_for_more(&mut self, fetcher: &mut Fetcher) {
        let room = self.parts.opened.get().map_or(0, |opened| opened.partitions.follower_room());
        if let Err(error) = fetcher.go_on(self.now.mono_us, room) {
            return self.part(fetcher, &error.to_string());
        }
        self.send_to_leader(fetcher);
    }

    pub(crate) fn on_leader_event(&mut self, connection: ConnectionId, readable: bool, writable: bool) {
        let Some(&leader) = self.following.by_connection.get(&connection) else { return };
        self.with_fetcher(leader, |plane, fetcher| {
            let is_connecting = fetcher.link().is_some_and(|link| link.stage == Stage::Connecting);
            if is_connecting {
                return plane.on_connected(fetcher, connection);
            }
            fetcher.note_progress(plane.now.mono_us);
            if readable && let Err(problem) = plane.receive_from_leader(fetcher) {
                return plane.part(fetcher, &problem);
            }
            if writable || readable {
                plane.ask_for_more(fetcher);
            }
        });
    }

    fn on_connected(&mut self, fetcher: &mut Fetcher, connection: ConnectionId) {
        let own = OwnName { broker: self.parts.config.broker, incarnation: self.parts.incarnation, shard: self.parts.shard };
        let begun = self.parts.sockets.connected(connection).and_then(|()| random_bytes());
        let begun = begun.map_err(|error| error.to_string()).and_then(|nonce| fetcher.introduce(own, nonce));
        match begun {
            Ok(()) => self.send_to_leader(fetcher),
            Err(problem) => self.part(fetcher, &problem),
        }
    }

    fn send_to_leader(&mut self, fetcher: &mut Fetcher) {
        // While it connects, it is watched for the end of that.
        let Some(link) = fetcher.link().filter(|link| link.stage != Stage::Connecting) else { return };
        let mut failed = None;
        while !link.output.is_empty() {
            let sent = {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let count = link.output.slices(&mut slices);
                self.parts.sockets.send(link.connection, &slices[..count])
            };
            match sent {
                Sent::Bytes(len) => {
                    link.output.sent(len, |_| {});
                    self.parts.metrics.sent_bytes.add(len as u64);
                }
                Sent::WouldBlock => break,
                Sent::Failed(error) => {
                    failed = Some(error.to_string());
                    break;
                }
            }
        }
        match failed {
            Some(problem) => self.part(fetcher, &problem),
            None => self.parts.sockets.interest(link.connection, true, !link.output.is_empty()),
        }
    }

    /// Takes in what has come, whole answers at once.
    fn receive_from_leader(&mut self, fetcher: &mut Fetcher) -> Result<(), String> {
        for _ in 0..RECEIVES_PER_TURN {
            let Some(link) = fetcher.link() else { return Ok(()) };
            let connection = link.connection;
            if let Some(window) = link.input.window() {
                let wanted = window.len().min(WINDOW_LEN_MAX);
                let Some(len) = received(self.parts.sockets.recv(connection, &mut window[..wanted]))? else { return Ok(()) };
                self.note_received(len);
                if let Some(gathered) = link.input.received(len, self.now.mono_us) {
                    self.on_leader_message(fetcher, gathered.prefix, &gathered.rest)?;
                    self.room.give_back(gathered.rest);
                }
                continue;
            }
            let mut buffer = mem::take(&mut self.receive_buffer);
            let taken = self.receive_whole(fetcher, connection, &mut buffer);
            self.receive_buffer = buffer;
            if !taken? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Counts for the turn, too: what comes in one go must not fill the journal's buffers while nobody empties them.
    fn note_received(&mut self, len: usize) {
        self.parts.metrics.received_bytes.add(len as u64);
        self.received_len += len;
    }

    /// Whether there may be more.
    fn receive_whole(&mut self, fetcher: &mut Fetcher, connection: ConnectionId, buffer: &mut [u8]) -> Result<bool, String> {
        let Some(len) = received(self.parts.sockets.recv(connection, buffer))? else { return Ok(false) };
        self.note_received(len);
        let mut left = &buffer[..len];
        while !left.is_empty() {
            let now_us = self.now.mono_us;
            let Some(link) = fetcher.link() else { return Ok(false) };
            match link.input.feed(&mut left, &mut self.room, now_us) {
                Fed::More => {}
                Fed::Whole { prefix, rest, .. } => self.on_leader_message(fetcher, prefix, rest)?,
                Fed::Gathered(gathered) => {
                    self.on_leader_message(fetcher, gathered.prefix, &gathered.rest)?;
                    self.room.give_back(gathered.rest);
                }
                Fed::NoRoom { prefix } => self.on_leader_no_room(fetcher, prefix),
                Fed::Broken { error, .. } => return Err(error.to_string()),
            }
        }
        Ok(len == buffer.len())
    }

    /// The network budget has no room for this answer: it is thrown away, and asked for again.
    fn on_leader_no_room(&mut self, fetcher: &mut Fetcher, prefix: Prefix) {
        self.parts.metrics.requests_without_room.add(1);
        match fetcher.asked.remove(&prefix.correlation_id) {
            Some(Asked::Beginning(id)) => {
                fetcher.beginnings.remove(&id);
                if let Some(opened) = self.parts.opened.get() {
                    opened.partitions.on_beginning_failed(id);
                }
            }
            _ => fetcher.lose_session(),
        }
        fetcher.fetch_from_us = self.now.mono_us + u64::from(crate::error_table::RETRY_AFTER_MS) * 1000;
    }

    fn log_troubles(&self) {
        let Some(opened) = self.parts.opened.get() else { return };
        let mut troubles = Vec::new();
        opened.partitions.take_troubles(&mut troubles);
        for (id, trouble) in troubles {
            tracing::error!(partition = %id, "this replica has stopped and keeps what it has: {trouble}");
        }
        let mut refused = Vec::new();
        opened.partitions.take_refused_states(&mut refused);
        refused.iter().for_each(|(id, refusal)| crate::apply_view::log_refused_state(*id, refusal));
    }
}

/// Bytes, or nothing now; an end is a problem.
fn received(received: Received) -> Result<Option<usize>, String> {
    match received {
        Received::Bytes(len) => Ok(Some(len)),
        Received::WouldBlock => Ok(None),
        Received::Closed => Err("it has closed the connection".to_owned()),
        Received::Failed(error) => Err(error.to_string()),
    }
}
