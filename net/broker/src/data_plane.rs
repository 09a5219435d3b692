//! The one task that serves the connections of a shard.
//!
//! A turn: what the sockets have is received and handled, what the other tasks of the shard finished is answered,
//! what is due by the clock is done, everything ready goes out in one gathered send per connection; then it sleeps
//! until there is more. The expensive mistake is to block, or to await anything but the end of a turn: every
//! connection of the shard would wait. Deliberately absent: what a request means (`handlers`), how bytes become
//! requests (`receive`), disk reads (`catch_up`).

use crate::catch_up::Done;
use crate::config::{BrokerConfig, RECEIVE_LEN};
use crate::connection::{Connection, Overdue};
use crate::control_message::{ControlHandle, ToDataTask};
use crate::handlers::on_hello::Session;
use crate::handlers::on_init_producer::ProducerIds;
use crate::lease::Lease;
use crate::metrics::{BrokerMetrics, CloseReason};
use crate::opened::OpenedCell;
use crate::parked_fetch::ParkedFetches;
use crate::pending::{PendingControls, PendingProduces};
use crate::replicas::following::Following;
use crate::replicas::leading::Leading;
use crate::replicas::resolve::Resolver;
use crate::request_room::RequestRoom;
use crate::standing::Standing;
use crate::view::ViewCell;
use sluice_model::{Clock, Incarnation, LeaderEpoch, Now, Offset, ShardIndex, TopicPartition};
use sluice_partition::{Completion, Partitions};
use sluice_replica::IsrProposal;
use sluice_replica::session::FollowerShard;
use sluice_shard::{
    Budget, ConnectionId, ConnectionMap, DirectDisk, ListenerId, ShardMetrics, SocketEvent, Sockets, SystemClock, Wake,
};
use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

/// Connections accepted of one listener in one turn.
const ACCEPTS_PER_TURN: usize = 64;
/// Bytes received in one turn before the commit task and the others get theirs: what is appended in one go must not
/// fill the journal's buffers while nobody empties them.
const RECEIVED_LEN_PER_TURN: usize = 1024 * 1024;
/// A failing accept is logged this often at most, microseconds.
const ACCEPT_WARNING_US: u64 = 1_000_000;
/// Connections are looked through for what is overdue this often, microseconds.
const SWEEP_US: u64 = 500_000;
/// How long a clean stop waits for clients to take their last answers, microseconds.
const DRAIN_US_MAX: u64 = 2_000_000;

pub(crate) type ShardPartitions = Partitions<DirectDisk, SystemClock>;

/// What a data task is made of.
pub(crate) struct DataPlaneParts {
    pub(crate) config: Arc<BrokerConfig>,
    pub(crate) shard: ShardIndex,
    pub(crate) incarnation: Incarnation,
    pub(crate) sockets: Sockets,
    pub(crate) listener: ListenerId,
    pub(crate) wake: Wake,
    pub(crate) opened: OpenedCell,
    pub(crate) view: ViewCell,
    pub(crate) lease: Lease,
    pub(crate) standing: Standing,
    pub(crate) control: ControlHandle,
    pub(crate) budget: Budget,
    pub(crate) clock: SystemClock,
    pub(crate) metrics: Rc<BrokerMetrics>,
    pub(crate) shard_metrics: Rc<ShardMetrics>,
    /// Looks for the addresses of leaders.
    pub(crate) resolver: Rc<Resolver>,
    /// Set when the broker stops; the task then ends by itself.
    pub(crate) stop: Rc<Cell<bool>>,
}

/// The state of the data task. Nobody else sees it.
pub(crate) struct DataPlane {
    pub(crate) parts: DataPlaneParts,
    pub(crate) connections: ConnectionMap<Connection>,
    pub(crate) sessions: HashMap<[u8; 16], Session>,
    pub(crate) produces: PendingProduces,
    pub(crate) parked: ParkedFetches,
    /// The shards that follow this one, and those that it follows.
    pub(crate) leading: Leading,
    pub(crate) following: Following,
    pub(crate) controls: PendingControls,
    pub(crate) producer_ids: ProducerIds,
    /// Connections that have something to send or may go on.
    pub(crate) dirty: Vec<ConnectionId>,
    pub(crate) receive_buffer: Vec<u8>,
    pub(crate) room: RequestRoom,
    /// Read once a turn. Only the stages of a request are timed by further readings.
    pub(crate) now: Now,
    /// As the partitions were told last; always of a broker without others.
    pub(crate) has_lease: bool,
    /// No new requests; what is under way is still answered.
    pub(crate) is_stopping: bool,
    /// Bytes received in this turn.
    pub(crate) received_len: usize,
    /// These keep their memory from turn to turn.
    pub(crate) replica_news: Vec<(u64, TopicPartition)>,
    pub(crate) flushed: Vec<(TopicPartition, LeaderEpoch, Offset)>,
    pub(crate) isr_proposals: Vec<IsrProposal>,
    scratch: Scratch,
    sweep_due_us: u64,
    accept_warned_us: u64,
}

/// Vectors that keep their memory from turn to turn.
#[derive(Default)]
struct Scratch {
    /// Found and not handled.
    events: VecDeque<SocketEvent>,
    found: Vec<SocketEvent>,
    completions: Vec<Completion>,
    watched: Vec<u64>,
    done: Vec<Done>,
    controls: Vec<ToDataTask>,
}

impl DataPlane {
    pub(crate) fn new(parts: DataPlaneParts, now: Now) -> Self {
        let room = RequestRoom::new(parts.budget.clone());
        let has_lease = parts.config.cluster.is_none();
        Self {
            parts,
            connections: ConnectionMap::default(),
            sessions: HashMap::new(),
            produces: PendingProduces::new(),
            parked: ParkedFetches::new(),
            leading: Leading::default(),
            following: Following::default(),
            replica_news: Vec::new(),
            flushed: Vec::new(),
            isr_proposals: Vec::new(),
            controls: PendingControls::new(),
            producer_ids: ProducerIds::default(),
            dirty: Vec::new(),
            receive_buffer: vec![0; RECEIVE_LEN],
            room,
            now,
            has_lease,
            is_stopping: false,
            received_len: 0,
            scratch: Scratch::default(),
            sweep_due_us: now.mono_us + SWEEP_US,
            accept_warned_us: 0,
        }
    }

    /// Serves until the broker stops.
    pub(crate) async fn run(mut self) {
        let mut drain_until_us = None;
        loop {
            self.now = self.parts.clock.now();
            self.turn();
            if self.parts.stop.get() && drain_until_us.is_none() {
                self.begin_stopping();
                drain_until_us = Some(self.now.mono_us + DRAIN_US_MAX);
            }
            if drain_until_us.is_some_and(|until_us| self.is_drained() || self.now.mono_us >= until_us) {
                self.close_all();
                return;
            }
            let deadline_us = self.next_deadline_us().min(drain_until_us.unwrap_or(u64::MAX));
            self.parts.sockets.wait(&self.parts.wake, Some(deadline_us)).await;
        }
    }

    fn next_deadline_us(&self) -> u64 {
        let alone = self.sweep_due_us.min(self.parked.next_deadline_us());
        if self.parts.config.cluster.is_none() {
            return alone;
        }
        let lease_us = if self.has_lease { self.parts.lease.until_us() } else { u64::MAX };
        alone.min(lease_us).min(self.leading.next_deadline_us()).min(self.following.next_deadline_us(self.now.mono_us))
    }

    fn turn(&mut self) {
        self.look_at_lease();
        self.take_events();
        self.take_completions();
        self.take_watched();
        self.take_done();
        self.take_controls();
        self.answer_due_fetches();
        self.turn_of_replicas();
        if self.now.mono_us >= self.sweep_due_us {
            self.sweep();
            self.tell_repaired();
            self.sweep_due_us = self.now.mono_us + SWEEP_US;
        }
        self.settle_dirty();
    }

    /// Replication, where there is a cluster to replicate in.
    fn turn_of_replicas(&mut self) {
        if self.parts.config.cluster.is_none() {
            return;
        }
        self.take_replica_reads();
        self.take_replica_news();
        self.answer_due_followers();
        self.drive_following();
        self.propose_isr();
    }

    /// Events that were not handled come first in the next turn, so that every connection has its turn. They need no
    /// wake-up: what was not read is reported again.
    fn take_events(&mut self) {
        let mut events = std::mem::take(&mut self.scratch.events);
        if events.is_empty() {
            self.scratch.found.clear();
            self.parts.sockets.poll(&mut self.scratch.found);
            events.extend(self.scratch.found.drain(..));
        }
        self.received_len = 0;
        while self.received_len < RECEIVED_LEN_PER_TURN
            && let Some(event) = events.pop_front()
        {
            self.on_event(event);
        }
        self.scratch.events = events;
    }

    fn on_event(&mut self, event: SocketEvent) {
        match event {
            SocketEvent::Acceptable(listener) => self.accept(listener),
            SocketEvent::Ready { connection, readable, writable, closed } if self.following.owns(connection) => {
                self.on_leader_event(connection, readable || closed, writable);
            }
            SocketEvent::Ready { connection, readable, writable, closed } => {
                let watches_input = self.connections.get(&connection).is_some_and(Connection::watches_input);
                if readable && watches_input {
                    self.on_readable(connection);
                } else if closed {
                    // Not watched for input, so this is the end of both directions: no answer can arrive any more.
                    self.close(connection, CloseReason::Peer);
                }
                if writable {
                    self.mark_dirty(connection);
                }
            }
        }
    }

    fn accept(&mut self, listener: ListenerId) {
        for _ in 0..ACCEPTS_PER_TURN {
            match self.parts.sockets.accept(listener) {
                Ok(Some((connection, _peer))) if self.connections.len() >= self.parts.config.connections_max => {
                    self.parts.sockets.close(connection);
                    self.parts.metrics.connections_refused.add(1);
                }
                Ok(Some((connection, _peer))) => {
                    self.connections.insert(connection, Connection::new(self.now_ms()));
                    self.parts.metrics.connections_accepted.add(1);
                }
                Ok(None) => return,
                Err(error) => {
                    self.parts.metrics.connections_refused.add(1);
                    if self.now.mono_us.saturating_sub(self.accept_warned_us) > ACCEPT_WARNING_US {
                        self.accept_warned_us = self.now.mono_us;
                        tracing::warn!(%error, "a connection could not be accepted");
                    }
                    return;
                }
            }
        }
    }

    fn take_completions(&mut self) {
        let Some(opened) = self.parts.opened.get() else { return };
        let mut completions = std::mem::take(&mut self.scratch.completions);
        opened.partitions.take_completed(&mut completions);
        for completion in completions.drain(..) {
            self.on_completion(self.under_lease(completion));
        }
        self.scratch.completions = completions;
    }

    fn take_watched(&mut self) {
        let Some(opened) = self.parts.opened.get() else { return };
        let mut watched = std::mem::take(&mut self.scratch.watched);
        opened.partitions.take_watched(&mut watched);
        for token in watched.drain(..) {
            self.on_watched(token);
        }
        self.scratch.watched = watched;
    }

    fn take_done(&mut self) {
        let Some(opened) = self.parts.opened.get() else { return };
        let mut done = std::mem::take(&mut self.scratch.done);
        opened.catch_up.take_done(&mut done);
        for done in done.drain(..) {
            match done {
                Done::Fetch(job) => self.finish_fetch(job),
                Done::Offsets(job) => self.finish_list_offsets(job),
            }
        }
        self.scratch.done = done;
    }

    fn take_controls(&mut self) {
        let mut controls = std::mem::take(&mut self.scratch.controls);
        self.parts.control.take_for_data_task(&mut controls);
        for message in controls.drain(..) {
            self.on_control_answer(message);
        }
        self.scratch.controls = controls;
    }

    fn sweep(&mut self) {
        let (now_ms, config) = (self.now_ms(), &self.parts.config);
        let overdue: Vec<(ConnectionId, Overdue)> = self
            .connections
            .iter()
            .filter_map(|(id, connection)| connection.overdue(now_ms, config).map(|overdue| (id, overdue)))
            .collect();
        for (id, overdue) in overdue {
            self.close(id, CloseReason::Overdue(overdue));
        }
    }

    /// Closes what may be closed, forgets what waited for it. A produce under way goes on; its answer finds nobody.
    pub(crate) fn close(&mut self, id: ConnectionId, reason: CloseReason) {
        let Some(connection) = self.connections.remove(&id) else { return };
        self.parts.sockets.close(id);
        self.parts.metrics.closed(reason);
        if !matches!(reason, CloseReason::Peer) {
            tracing::debug!(connection = id.number(), ?reason, "connection closed");
        }
        if let Some(session) = connection.session {
            self.sessions.remove(&session);
        }
        for key in connection.parked {
            self.forget_parked(key);
        }
        if let Some(peer) = connection.peer.broker() {
            self.on_follower_gone(FollowerShard { broker: peer.broker, shard: peer.shard }, id);
        }
    }

    fn begin_stopping(&mut self) {
        self.is_stopping = true;
        self.parts.sockets.close_listener(self.parts.listener);
        self.answer_all_parked();
        self.answer_all_followers();
        self.stop_following();
        self.settle_dirty();
    }

    /// Every request under way is answered and every answer taken.
    fn is_drained(&self) -> bool {
        self.connections.iter().all(|(_, connection)| connection.in_flight == 0 && connection.output.is_empty())
    }

    fn close_all(&mut self) {
        let ids: Vec<ConnectionId> = self.connections.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.close(id, CloseReason::Stopping);
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now.mono_us / 1000
    }
}
