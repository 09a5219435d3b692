//! The controller proper: takes commands while this broker leads the log, decides them in order, and writes what came
//! together as one entry.
//!
//! One entry is under way at a time, and the next round is decided on the image that it leaves; what comes meanwhile
//! waits and goes together, so that rounds widen under load by themselves. The expensive mistake is to decide on an image
//! that is not the newest: a new leader first applies all that may be committed, and an entry names the image it was
//! decided on, so that one that met another is void.

use crate::command::Command;
use crate::command_error::CommandError;
use crate::flight::{Flight, Reply, Task, WriteError, Written};
use crate::leases::Leases;
use crate::node::{Applied, Renewed, Shared};
use crate::node_config::{LEASE_MS, QUORUM_SILENCE_MS_MAX};
use crate::raft_types::LogEntry;
use crate::recovery_waits::RecoveryWaits;
use crate::round::Round;
use crate::snapshots::Snapshots;
use openraft::error::RaftError;
use openraft::{BasicNode, RaftMetrics};
use sluice_metadata::{ClusterId, Refusal};
use sluice_model::{BrokerId, Incarnation};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

/// How long a start of the engine that the disk has no room for is put off.
const FULL_PAUSE: Duration = Duration::from_millis(500);
/// Of a broker that is alone: nobody else decides meanwhile.
const FULL_PAUSE_ALONE: Duration = Duration::from_millis(10);
/// A turn that begins so much later than planned was not this thread's fault: nobody's lease ends for it.
const STALL: Duration = Duration::from_millis(150);
/// A step towards leading that failed is tried again after this.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

pub(crate) enum Mail {
    Command { command: Arc<Command>, reply: Option<Reply> },
    Heartbeat { broker: BrokerId, incarnation: Incarnation, reply: oneshot::Sender<Result<Renewed, CommandError>> },
}

type Asked = (Arc<Command>, Option<Reply>);

pub(crate) struct Decider {
    shared: Arc<Shared>,
    mailbox: mpsc::Receiver<Mail>,
    metrics: watch::Receiver<RaftMetrics<u64, BasicNode>>,
    queue: VecDeque<Asked>,
    role: Role,
    leases: Option<Leases>,
    recovery_waits: RecoveryWaits,
    flight: Option<Flight>,
    /// Of the clock that leases are told.
    started: Instant,
    /// When the engine is started again.
    restart_at: Option<Instant>,
    snapshots: Snapshots,
}

enum Role {
    Following,
    /// Leads the log, and does not know yet what is committed.
    Assuming {
        term: u64,
        task: Task<bool>,
    },
    Leading {
        term: u64,
    },
}

enum Event {
    Mail(Option<Mail>),
    Written(Result<Written, WriteError>),
    Assumed(bool),
    Metrics(bool),
    Time,
}

impl Decider {
    pub(crate) fn new(shared: Arc<Shared>, mailbox: mpsc::Receiver<Mail>) -> Self {
        let metrics = shared.raft().metrics();
        let leases = shared.config.lease.map(Leases::new);
        let (queue, role, flight, restart_at) = (VecDeque::new(), Role::Following, None, None);
        Self {
            shared,
            mailbox,
            metrics,
            queue,
            role,
            leases,
            recovery_waits: RecoveryWaits::default(),
            flight,
            started: Instant::now(),
            restart_at,
            snapshots: Snapshots::default(),
        }
    }

    /// Until nobody is left to talk to.
    pub(crate) async fn run(mut self) {
        self.on_metrics();
        loop {
            let planned = self.next_time();
            match self.event(planned).await {
                Event::Mail(None) => return,
                Event::Mail(Some(mail)) => self.on_mail(mail),
                Event::Written(result) => self.on_written(result),
                Event::Assumed(done) => self.on_assumed(done),
                Event::Metrics(true) => self.on_metrics(),
                // The engine has ended: what to do was said by its last word.
                Event::Metrics(false) => self.on_engine_ended(),
                Event::Time => self.on_time(planned).await,
            }
            while let Ok(mail) = self.mailbox.try_recv() {
                self.on_mail(mail);
            }
            self.begin();
        }
    }

    async fn event(&mut self, planned: Instant) -> Event {
        let (flight, role) = (&mut self.flight, &mut self.role);
        let written = async {
            match flight {
                Some(flight) => (&mut flight.task).await,
                None => std::future::pending().await,
            }
        };
        let assumed = async {
            match role {
                Role::Assuming { task, .. } => task.await,
                _ => std::future::pending().await,
            }
        };
        let is_ended = self.restart_at.is_some() || self.metrics.borrow().running_state.is_err();
        tokio::select! {
            biased;
            mail = self.mailbox.recv() => Event::Mail(mail),
            result = written => Event::Written(result),
            done = assumed => Event::Assumed(done),
            changed = self.metrics.changed(), if !is_ended => Event::Metrics(changed.is_ok()),
            () = tokio::time::sleep_until(planned) => Event::Time,
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn next_time(&self) -> Instant {
        let lease_end = match (&self.role, &self.leases) {
            (Role::Leading { .. }, Some(leases)) if self.flight.is_none() => {
                let look = self.recovery_waits.next_look();
                Some(self.started + leases.next_end().map_or(look, |end| end.min(look)))
            }
            _ => None,
        };
        let times = [lease_end, self.restart_at, self.flight.as_ref().map(|flight| flight.until)];
        let soonest = times.into_iter().flatten().min();
        // Without anything to wait for there is still the log's length to be looked at.
        soonest.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))
    }

    fn on_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Command { command, reply } => self.queue.push_back((command, reply)),
            Mail::Heartbeat { broker, incarnation, reply } => {
                let _gone = reply.send(self.on_heartbeat(broker, incarnation));
            }
        }
    }

    fn on_heartbeat(&mut self, broker: BrokerId, incarnation: Incarnation) -> Result<Renewed, CommandError> {
        if !self.leads() {
            return Err(self.refusal());
        }
        let image = self.shared.peers.state.image();
        let known = image.image.broker(broker).ok_or(Refusal::UnknownBroker { broker })?;
        if known.incarnation != incarnation {
            return Err(Refusal::FencedIncarnation { broker, got: incarnation, current: known.incarnation }.into());
        }
        let now = self.now();
        if let Some(leases) = &mut self.leases {
            leases.on_heartbeat(now, broker, incarnation);
        }
        let lease = self.leases.as_ref().map_or(Duration::from_millis(LEASE_MS), Leases::lease);
        Ok(Renewed { state: known.state, index: image.index, lease, sent: Instant::now() })
    }

    /// Whether commands are decided here: the log is led, known, and a majority has been heard lately.
    fn leads(&self) -> bool {
        matches!(self.role, Role::Leading { .. }) && self.is_heard()
    }

    /// Who is about to lead keeps what it is asked.
    fn is_about_to_lead(&self) -> bool {
        let runs = self.metrics.borrow().running_state.is_ok();
        let alone = self.shared.config.is_alone();
        let leads_log = matches!(self.role, Role::Assuming { .. });
        let fails = self.shared.peers.state.store.failure().is_some();
        !fails && ((leads_log && runs) || (alone && (runs || self.restart_at.is_some())))
    }

    fn is_heard(&self) -> bool {
        let metrics = self.metrics.borrow();
        let is_sole = metrics.membership_config.voter_ids().count() <= 1;
        is_sole || metrics.millis_since_quorum_ack.is_some_and(|silence| silence <= QUORUM_SILENCE_MS_MAX)
    }

    /// What a command is answered that is not decided here.
    fn refusal(&self) -> CommandError {
        if let Some(failure) = self.shared.peers.state.store.failure() {
            return CommandError::Store(io::Error::other(format!(
                "an earlier write failed: {failure}; the broker has to be started again"
            )));
        }
        if self.metrics.borrow().running_state.is_err() && self.restart_at.is_none() {
            return CommandError::Store(io::Error::other("the consensus engine has ended; the broker has to be started again"));
        }
        let own = u64::from(self.shared.config.broker.0);
        let leader = self.metrics.borrow().current_leader.filter(|leader| *leader != own);
        CommandError::NotController { leader: leader.and_then(|id| u32::try_from(id).ok()).map(BrokerId) }
    }

    fn on_metrics(&mut self) {
        let (leads_log, term, is_ended) = {
            let metrics = self.metrics.borrow_and_update();
            (metrics.state.is_leader(), metrics.current_term, metrics.running_state.is_err())
        };
        if is_ended {
            return self.on_engine_ended();
        }
        self.snapshots.begin_when_due(&self.shared);
        let known = match &self.role {
            Role::Following => None,
            Role::Assuming { term, .. } | Role::Leading { term } => Some(*term),
        };
        match (leads_log, known) {
            (true, known) if known == Some(term) => {}
            (true, _) => self.assume(term, Duration::ZERO),
            (false, Some(_)) => self.follow(),
            (false, None) => {}
        }
    }

    fn follow(&mut self) {
        self.role = Role::Following;
        self.shared.is_controller.send_replace(false);
    }

    /// Before anything is decided all that may be committed is applied here, and the cluster has a name.
    fn assume(&mut self, term: u64, pause: Duration) {
        self.follow();
        let (raft, state) = (self.shared.raft(), self.shared.peers.state.clone());
        let founding = self.shared.config.founding;
        let task = async move {
            tokio::time::sleep(pause).await;
            if raft.ensure_linearizable().await.is_err() {
                return false;
            }
            if state.image().image.cluster_id() != ClusterId([0; 16]) {
                return true;
            }
            let Some(cluster_id) = founding else { return false };
            raft.client_write(LogEntry::Founded { cluster_id }).await.is_ok()
        };
        self.role = Role::Assuming { term, task: Box::pin(task) };
    }

    fn on_assumed(&mut self, done: bool) {
        let Role::Assuming { term, .. } = self.role else { return };
        if !done {
            return self.assume(term, RETRY_PAUSE);
        }
        self.role = Role::Leading { term };
        let (now, image) = (self.now(), self.shared.peers.state.image().image);
        if let Some(leases) = &mut self.leases {
            leases.on_leading(now, &image);
        }
        self.recovery_waits.on_leading(now);
        self.shared.is_controller.send_replace(true);
        tracing::info!(term, "this broker is the controller now");
    }

    /// The engine gives up after a write that failed. After a full disk it is started again; nothing else is tried.
    fn on_engine_ended(&mut self) {
        self.follow();
        let store = &self.shared.peers.state.store;
        if self.restart_at.is_none() && store.failure().is_none() && store.is_full() {
            let pause = if self.shared.config.is_alone() { FULL_PAUSE_ALONE } else { FULL_PAUSE };
            self.restart_at = Some(Instant::now() + pause);
        }
    }

    async fn on_time(&mut self, planned: Instant) {
        let now = Instant::now();
        if self.restart_at.is_some_and(|at| at <= now) {
            self.restart_at = None;
            match self.shared.restart_engine().await {
                Ok(()) => {
                    self.metrics = self.shared.raft().metrics();
                    self.on_metrics();
                }
                Err(error) => {
                    tracing::warn!(%error, "the controller does not start again");
                    self.restart_at = Some(now + FULL_PAUSE);
                }
            }
        }
        if self.flight.as_ref().is_some_and(|flight| flight.until <= now) {
            self.give_up_waiting();
        }
        let late = now.saturating_duration_since(planned);
        let since_start = self.now();
        if let (true, Some(leases)) = (self.leads(), &mut self.leases) {
            if late > STALL {
                self.recovery_waits.put_off(since_start);
                return leases.on_stall(late);
            }
            let ended = leases.ended(since_start);
            self.queue.extend(ended.into_iter().map(|lease| (Arc::new(Command::EndLease(lease)), None)));
            let tired = self.recovery_waits.look(since_start, &self.shared.peers.state.image().image);
            self.queue.extend(tired.map(|wait| (Arc::new(Command::EndRecoveryWait(wait)), None)));
        } else if let (Role::Leading { .. }, Some(leases)) = (&self.role, &mut self.leases) {
            // Cut off: it is not for this broker to say whose lease ends.
            leases.on_stall(RETRY_PAUSE);
            self.recovery_waits.put_off(since_start);
        }
    }

    /// Nobody is kept longer; the entry stays under way, and nothing else is until its fate is known.
    fn give_up_waiting(&mut self) {
        let Some(flight) = &mut self.flight else { return };
        for (reply, _) in flight.answers.drain(..) {
            let _gone = reply.send(Err(CommandError::Undecided));
        }
        flight.until = Instant::now() + Duration::from_secs(3600);
    }

    /// Decides what waits, if it is for this broker to decide.
    fn begin(&mut self) {
        if !self.leads() {
            if !self.is_about_to_lead() {
                for (_, reply) in std::mem::take(&mut self.queue) {
                    answer(reply, Err(self.refusal()));
                }
            }
            return;
        }
        if self.flight.is_some() {
            return;
        }
        let image = self.shared.peers.state.image();
        let now = self.now();
        if let Some(leases) = &mut self.leases {
            leases.on_image(now, &image.image);
        }
        let mut round = Round::new(&image.image, image.index);
        let mut answers = Vec::new();
        while !round.is_full()
            && let Some((command, reply)) = self.queue.pop_front()
        {
            // Whoever has given up waiting was told that nothing is known of it.
            if reply.as_ref().is_some_and(Reply::is_closed) {
                continue;
            }
            let decided = self.decide(&mut round, &command);
            match (reply, decided) {
                // On an image that is not yet so, nothing is known before it is.
                (Some(reply), decided) if !round.is_empty() => answers.push((reply, decided)),
                (reply, decided) => answer(reply, decided),
            }
        }
        if round.is_empty() {
            return;
        }
        self.flight = Some(Flight::begin(self.shared.raft(), round.into_entries(), answers));
    }

    fn decide(&self, round: &mut Round, command: &Command) -> Result<Applied, CommandError> {
        if command.needs_room() {
            self.shared.peers.state.store.check_room().map_err(|error| match error.kind() {
                io::ErrorKind::StorageFull => CommandError::DiskFull,
                _ => CommandError::Store(error),
            })?;
        }
        let decided = round.decide(command)?;
        Ok(Applied { index: round.index(), records: decided.records, answers: decided.answers })
    }

    fn on_written(&mut self, result: Result<Written, WriteError>) {
        let Some(flight) = self.flight.take() else { return };
        let store = &self.shared.peers.state.store;
        let failed: Option<fn(&Self) -> CommandError> = match &result {
            Ok(Written::All) => None,
            Ok(Written::Stale { some: false }) => Some(|_| CommandError::NotController { leader: None }),
            Ok(Written::Stale { some: true } | Written::Cut) => Some(|_| CommandError::Undecided),
            Err(RaftError::APIError(_)) => Some(Self::refusal),
            Err(RaftError::Fatal(_)) if store.failure().is_some() => Some(Self::refusal),
            Err(RaftError::Fatal(_)) => Some(|this| match this.restart_at.is_some() {
                true => CommandError::DiskFull,
                false => CommandError::Store(io::Error::other("the consensus engine has ended")),
            }),
        };
        if matches!(result, Err(RaftError::Fatal(_))) {
            self.on_engine_ended();
        }
        for (reply, decided) in flight.answers {
            let _gone = reply.send(failed.map_or(decided, |error| Err(error(self))));
        }
    }
}

fn answer(reply: Option<Reply>, decided: Result<Applied, CommandError>) {
    if let Some(reply) = reply {
        let _gone = reply.send(decided);
    }
}
