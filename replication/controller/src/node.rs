//! A broker's controller: one of the voters, or a learner, of the metadata log.
//!
//! The handle is for the control thread's runtime (tokio, one thread): what blocks, blocks there. Every broker has the
//! log and its image; commands are taken by the one that leads (`decider.rs`), and refused by the others with the name of
//! that one. The expensive mistake is a second cluster: a voter founds one only where its log is empty, and only with all
//! of the voters that the settings name, which have the same settings.

use crate::command::Command;
use crate::command_error::CommandError;
use crate::decider::{Decider, Mail};
use crate::forward::Submitted;
use crate::log_storage::LogStorage;
use crate::messages::SNAPSHOT_CHUNK_LEN;
use crate::network::{ForeignCluster, Network, Peers, Transport};
use crate::node_config::{ELECTION_MS_MAX, ELECTION_MS_MIN, HEARTBEAT_MS, NodeConfig};
use crate::open_error::OpenError;
use crate::open_log::{NewLog, OpenedLog, Owner, open_log};
use crate::raft_types::TypeConfig;
use crate::state_machine::{AppliedImage, StateMachine};
use openraft::error::Fatal;
use openraft::{BasicNode, Config, Raft, SnapshotPolicy};
use sluice_metadata::{BrokerState, ClusterId, Record};
use sluice_metadata::{PartitionRefusal, PartitionState};
use sluice_model::{BrokerId, Incarnation};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Commands that may wait to be decided; who brings more waits.
const MAILBOX_LEN: usize = 1024;
/// Entries behind a snapshot that are kept for brokers that are nearly up to date.
const LOGS_KEPT: u64 = 100;

/// A command that took effect: on a majority of the voters, and in the image here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The number of the batch up to which the image now stands.
    pub index: u64,
    /// What the command changed; empty when what it asked for was so already.
    pub records: Vec<Record>,
    /// Of a command that names partitions: what is said of each, in its order.
    pub answers: Vec<Result<PartitionState, PartitionRefusal>>,
}

/// A lease was renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// What the metadata says of the broker. There is a lease only while that holds one.
    pub state: BrokerState,
    /// The controller's last batch: who has not applied it is behind.
    pub index: u64,
    /// From `sent` on, on the broker's clock.
    pub lease: Duration,
    /// When the renewal was sent that was answered.
    pub sent: Instant,
}

/// What a node knows of itself and the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    pub broker: BrokerId,
    /// It decides commands now.
    pub is_controller: bool,
    /// As far as is known here.
    pub controller: Option<BrokerId>,
    pub term: u64,
    /// `None` while it is not known: nobody has founded the cluster, or this broker has not heard of it.
    pub cluster_id: Option<ClusterId>,
    pub voters: Vec<BrokerId>,
    /// Brokers that hold the log and do not vote.
    pub learners: Vec<BrokerId>,
    /// Of the engine's log, which counts its own entries, too.
    pub last_log_index: u64,
    pub last_applied_log_index: u64,
    /// Batches in the image.
    pub index: u64,
    /// On the controller: how far each of the others holds the engine's log.
    pub followers: Vec<(BrokerId, Option<u64>)>,
    /// A controller of another cluster was heard: the settings name a wrong address, or a folder of another cluster.
    pub foreign: Option<ForeignCluster>,
    /// The log cannot be written any more: end the process.
    pub failure: Option<String>,
}

/// Clones are handles of the same node.
#[derive(Clone)]
pub struct ControllerNode {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) config: NodeConfig,
    pub(crate) peers: Arc<Peers>,
    pub(crate) raft: RwLock<Raft<TypeConfig>>,
    pub(crate) is_controller: watch::Sender<bool>,
    mail: mpsc::Sender<Mail>,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl ControllerNode {
    /// Opens the log, joins or founds the cluster, and begins to take part. To be called on the runtime that is to run
    /// it. A broker that is alone is the controller when this returns; in a cluster that takes an election.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing has been changed but a log of version 1, which is one of this version then.
    pub async fn open(config: NodeConfig, transport: Arc<dyn Transport>) -> Result<Self, OpenError> {
        let owner = Owner { folder_id: config.folder_id, broker: Some(config.broker) };
        let new_log = if config.is_alone() { NewLog::of_one } else { NewLog::of_several };
        let new = config.founding.map(|id| new_log(id, config.broker));
        let opened = open_log(&config.path, owner, new.as_ref())?;
        Self::start(config, opened, transport).await
    }

    pub(crate) async fn start(
        mut config: NodeConfig,
        opened: OpenedLog,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, OpenError> {
        check_voters(&config, &opened)?;
        // What the folder was made with counts: a start that does not make it has nothing to found with.
        config.founding = opened.founding_id;
        let peers = Arc::new(Peers {
            broker: config.broker,
            folder_id: config.folder_id,
            state: opened.state,
            voters: config.voters.clone(),
            transport,
            foreign: Mutex::new(None),
        });
        let engine = |problem: String| engine_failure(&config, &peers, problem);
        let raft = start_engine(&config, &peers).await.map_err(|error| engine(error.to_string()))?;
        if opened.is_empty && config.voters.contains_key(&config.broker) {
            let node = |(id, address): (&BrokerId, &String)| (u64::from(id.0), BasicNode { addr: address.clone() });
            let voters: BTreeMap<u64, BasicNode> = config.voters.iter().map(node).collect();
            raft.initialize(voters).await.map_err(|error| engine(error.to_string()))?;
        }
        let (mail, mailbox) = mpsc::channel(MAILBOX_LEN);
        let is_controller = watch::Sender::new(false);
        let shared = Arc::new(Shared { peers, raft: RwLock::new(raft), is_controller, mail, tasks: Mutex::default(), config });
        let node = Self { shared };
        node.spawn(Decider::new(node.shared.clone(), mailbox).run());
        if !node.shared.config.voters.contains_key(&node.shared.config.broker) {
            node.spawn(crate::join::join(node.shared.clone()));
        }
        if node.shared.config.is_alone() {
            let leads = node.lead_alone().await;
            if leads.is_err() {
                node.stop().await;
            }
            leads?;
        }
        Ok(node)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let handle = tokio::spawn(task).abort_handle();
        self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
    }

    /// A sole voter elects itself, or still leads.
    async fn lead_alone(&self) -> Result<(), OpenError> {
        let problem = |problem: String| engine_failure(&self.shared.config, &self.shared.peers, problem);
        let raft = self.shared.raft();
        if !raft.metrics().borrow().state.is_leader()
            && raft.current_leader().await != Some(u64::from(self.shared.config.broker.0))
        {
            // An error shows below, with its cause.
            let _shown_below = raft.trigger().elect().await;
        }
        let mut leads = self.shared.is_controller.subscribe();
        let mut metrics = raft.metrics();
        loop {
            if *leads.borrow_and_update() {
                return Ok(());
            }
            let stopped = metrics.borrow_and_update().running_state.clone().err();
            if let Some(error) = stopped {
                return Err(problem(error.to_string()));
            }
            tokio::select! {
                changed = leads.changed() => changed.map_err(|_| problem("it has ended".to_owned()))?,
                changed = metrics.changed() => changed.map_err(|_| problem("it has ended".to_owned()))?,
            }
        }
    }

    /// Has a command decided, and waits until it is applied here. Only the controller decides.
    ///
    /// # Errors
    /// See [`CommandError`]. It is given up 5 s after it was proposed.
    pub async fn propose(&self, command: Command) -> Result<Applied, CommandError> {
        self.shared.propose(Arc::new(command)).await
    }

    /// A broker renews its lease. Only the controller takes it, and only while it is in touch with a majority.
    ///
    /// # Errors
    /// `Refused` when the incarnation is not the registered one.
    pub async fn heartbeat(&self, broker: BrokerId, incarnation: Incarnation) -> Result<Renewed, CommandError> {
        self.shared.heartbeat(broker, incarnation).await
    }

    /// Has a command decided by whichever broker leads the controllers, and waits until it is applied here.
    ///
    /// After a lost answer it is asked again, where that does no harm. What came of it is said only as far as it is
    /// known: where an earlier asking may have done what a later one was refused, the answer is `Undecided`.
    ///
    /// # Errors
    /// See [`CommandError`]. It is given up after 5 s: `NotController` when nobody was found who would decide, and it is
    /// certainly not done; `Undecided` when it may be done, or may yet be.
    pub async fn submit(&self, command: Command) -> Result<Submitted, CommandError> {
        crate::forward::submit(&self.shared, command).await
    }

    /// Renews this broker's lease with whichever broker leads. The lease begins at [`Renewed::sent`].
    ///
    /// # Errors
    /// `Refused` when the incarnation is not the registered one. `NotController` and `Undecided` when nobody has answered
    /// within a lease's time.
    pub async fn renew_lease(&self, incarnation: Incarnation) -> Result<Renewed, CommandError> {
        crate::forward::renew_lease(&self.shared, incarnation).await
    }

    /// The image, and each new one. Sharing one costs nothing; an image shares with the one before what has not changed.
    #[must_use]
    pub fn images(&self) -> watch::Receiver<AppliedImage> {
        self.shared.peers.state.images()
    }

    /// The newest image.
    #[must_use]
    pub fn image(&self) -> AppliedImage {
        self.shared.peers.state.image()
    }

    /// Whether this broker decides commands now, and each change of that.
    #[must_use]
    pub fn leads(&self) -> watch::Receiver<bool> {
        self.shared.is_controller.subscribe()
    }

    /// What another controller has sent, and what to answer it. Whoever calls has authenticated the sender as a broker
    /// of this cluster. Any bytes will do; those that make no sense are answered with a refusal.
    pub async fn on_message(&self, bytes: &[u8]) -> Vec<u8> {
        crate::on_message::on_message(&self.shared, bytes).await
    }

    #[must_use]
    pub fn status(&self) -> NodeStatus {
        self.shared.status()
    }

    /// Ends it: nothing is written any more when this returns, and the file is free for others.
    pub async fn stop(&self) {
        let tasks = std::mem::take(&mut *self.shared.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.iter().for_each(AbortHandle::abort);
        // It has ended either way.
        let _ended = self.shared.raft().shutdown().await;
        self.shared.peers.state.store.close();
    }
}

impl Shared {
    pub(crate) async fn propose(&self, command: Arc<Command>) -> Result<Applied, CommandError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Mail::Command { command, reply: Some(reply) }, answer).await
    }

    pub(crate) async fn heartbeat(&self, broker: BrokerId, incarnation: Incarnation) -> Result<Renewed, CommandError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Mail::Heartbeat { broker, incarnation, reply }, answer).await
    }

    async fn ask<T>(&self, mail: Mail, answer: oneshot::Receiver<Result<T, CommandError>>) -> Result<T, CommandError> {
        let ended = || CommandError::Store(io::Error::other("the controller has been stopped"));
        self.mail.send(mail).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    pub(crate) fn raft(&self) -> Raft<TypeConfig> {
        self.raft.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another engine over the same store, once the last one has ended because of a full disk.
    pub(crate) async fn restart_engine(&self) -> Result<(), Fatal<u64>> {
        let _ended = self.raft().shutdown().await;
        let raft = start_engine(&self.config, &self.peers).await?;
        *self.raft.write().unwrap_or_else(PoisonError::into_inner) = raft;
        Ok(())
    }

    fn status(&self) -> NodeStatus {
        let metrics = self.raft().metrics().borrow().clone();
        let broker = |id: u64| BrokerId(u32::try_from(id).unwrap_or(u32::MAX));
        let membership = metrics.membership_config.membership();
        let image = self.peers.state.image();
        let cluster_id = Some(image.image.cluster_id()).filter(|id| *id != ClusterId([0; 16]));
        let followers = metrics.replication.iter().flatten().filter(|(id, _)| **id != metrics.id);
        NodeStatus {
            broker: self.config.broker,
            is_controller: *self.is_controller.borrow(),
            controller: metrics.current_leader.map(broker),
            term: metrics.current_term,
            cluster_id,
            voters: membership.voter_ids().map(broker).collect(),
            learners: membership.learner_ids().map(broker).collect(),
            last_log_index: metrics.last_log_index.unwrap_or(0),
            last_applied_log_index: metrics.last_applied.map_or(0, |id| id.index),
            index: image.index,
            followers: followers.map(|(id, held)| (broker(*id), held.map(|id| id.index))).collect(),
            foreign: *self.peers.foreign.lock().unwrap_or_else(PoisonError::into_inner),
            failure: self.peers.state.store.failure().or(match metrics.running_state {
                Err(Fatal::Panicked) => Some("the consensus engine has panicked".to_owned()),
                _ => None,
            }),
        }
    }
}

async fn start_engine(config: &NodeConfig, peers: &Arc<Peers>) -> Result<Raft<TypeConfig>, Fatal<u64>> {
    let engine = Config {
        cluster_name: "sluice".to_owned(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_MS_MIN,
        election_timeout_max: ELECTION_MS_MAX,
        // A snapshot is written when there is room for it (`decider.rs`).
        snapshot_policy: SnapshotPolicy::Never,
        snapshot_max_chunk_size: SNAPSHOT_CHUNK_LEN,
        install_snapshot_timeout: 2000,
        max_in_snapshot_log_to_keep: LOGS_KEPT,
        // A sole voter has nobody to keep time with.
        enable_tick: !config.is_alone(),
        ..Config::default()
    };
    let state = StateMachine { state: peers.state.clone() };
    let log = LogStorage { store: peers.state.store.clone() };
    Raft::new(u64::from(config.broker.0), Arc::new(engine), Network { peers: peers.clone() }, log, state).await
}

/// Why there is no engine: the store's own word, where it has one.
fn engine_failure(config: &NodeConfig, peers: &Peers, problem: String) -> OpenError {
    let (path, store) = (config.path.clone(), &peers.state.store);
    if store.is_full() {
        return OpenError::Io { path, source: io::ErrorKind::StorageFull.into() };
    }
    OpenError::Engine { path, problem: store.failure().unwrap_or(problem) }
}

/// The cluster that the log knows has to be the one that the settings name.
fn check_voters(config: &NodeConfig, opened: &OpenedLog) -> Result<(), OpenError> {
    let configured: Vec<BrokerId> = config.voters.keys().copied().collect();
    let known: Vec<BrokerId> = opened.voters.iter().map(|&id| BrokerId(u32::try_from(id).unwrap_or(u32::MAX))).collect();
    if known.is_empty() || known == configured {
        return Ok(());
    }
    Err(OpenError::OtherVoters { path: config.path.clone(), known, configured })
}
