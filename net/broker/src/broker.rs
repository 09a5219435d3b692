//! A broker's start and stop: every part in its order, and back.
//!
//! The order of a start: settings and host, the data folder, the addresses, the metadata, partitions that move between
//! shards, then the shards, each of which listens at once and serves as soon as it is open itself. A shard with much to
//! replay, or on a slow device, keeps no other from serving; one that cannot be recovered ends the broker.
//!
//! Two expensive mistakes: to serve a partition before its shard is open, and to leave a part behind when a later one
//! fails: each part ends when its handle is dropped or its channel closes.

use crate::bind::{advertised, bind_shards};
use crate::cancel::Cancel;
use crate::cluster::{Brought, ClusterControl, ControlParts, InCluster, start_in_cluster};
use crate::config::{BrokerConfig, SHARD_IO_MEMORY_LEN};
use crate::control_message::{CONTROL_MAILBOX_LEN, MAILBOX_LEN, ToControl, ToShard};
use crate::control_thread::ControlThread;
use crate::data_folder::DataFolder;
use crate::host::{check_host, host_needs};
use crate::lease::Lease;
use crate::metrics::BrokerCounters;
use crate::preparation::{compare_ages, held_partitions, prepare_shards, refuse_moves, refuse_other_broker, survey_folder};
use crate::readiness::{Readiness, RecoveredFolder};
use crate::shard_main::{ShardEnd, ShardStart, shard_main};
use crate::standing::Standing;
use crate::start_error::StartError;
use crate::view::View;
use async_channel::{Receiver, Sender};
use sluice_controller::{CommandError, Controller};
use sluice_metadata::{ClusterId, FolderId, RegisterBroker, Start};
use sluice_model::{BrokerId, Incarnation, ShardIndex};
use sluice_partition::{Prepared, Survey};
use sluice_shard::{ProduceActivity, ShardConfig, ShardThread, WaitMode, run_shard};
use sluice_storage::recovery_report::RecoveryReport;
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

/// The broker there is where nobody has said otherwise.
pub const BROKER: BrokerId = BrokerId(1);

/// A running broker. Dropping it stops it, too, without waiting for what that leads to.
pub struct Broker {
    addresses: Vec<SocketAddr>,
    report: Vec<RecoveryReport>,
    readiness: Readiness,
    incarnation: Incarnation,
    shards: Vec<RunningShard>,
    to_control: Sender<ToControl>,
    control: Option<JoinHandle<()>>,
    /// Of a cluster that it leaves before it stops.
    is_member: bool,
    /// Locked until everything else has ended.
    folder: DataFolder,
}

struct RunningShard {
    mailbox: Sender<ToShard>,
    thread: Option<ShardThread<ShardEnd>>,
}

/// Why a broker did not stop cleanly: the next start has something to replay, and nothing acknowledged is lost.
#[derive(Debug)]
pub struct StopError {
    pub shard: u16,
    pub problem: String,
}

impl fmt::Display for StopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {} did not stop cleanly: {}; the next start recovers it", self.shard, self.problem)
    }
}

impl std::error::Error for StopError {}

/// Starts a broker; returns when every partition is served.
///
/// # Errors
/// Nothing runs then; the text says what to do.
pub fn start(config: BrokerConfig) -> Result<Broker, StartError> {
    let mut broker = start_listening(config)?;
    broker.report = broker.readiness().wait()?;
    Ok(broker)
}

/// Starts a broker; returns when every shard answers connections. Partitions of shards that are still being recovered
/// are `NotReady` until [`Broker::readiness`] says otherwise.
///
/// # Errors
/// Nothing runs then; the text says what to do.
pub fn start_listening(config: BrokerConfig) -> Result<Broker, StartError> {
    start_listening_unless(config, &Cancel::default())
}

/// The same; gives up when it is cancelled. A broker in a cluster waits for a controller for as long as it takes.
///
/// # Errors
/// Nothing runs then; the text says what to do.
pub fn start_listening_unless(config: BrokerConfig, cancel: &Cancel) -> Result<Broker, StartError> {
    let begun = Begun::new(config)?;
    let mut broker = if begun.config.cluster.is_some() { begun.in_cluster(cancel) } else { begun.alone() }?;
    broker.readiness.await_listening()?;
    Ok(broker)
}

/// A broker with the settings of a cluster and no controller but its own: a test tells its shards what is so.
#[cfg(test)]
pub(crate) fn start_by_hand(config: BrokerConfig) -> Result<Broker, StartError> {
    let mut broker = Begun::new(config)?.alone()?;
    broker.readiness.await_listening()?;
    broker.report = broker.readiness().wait()?;
    Ok(broker)
}

/// What every start begins with: settings and host, folder and addresses.
struct Begun {
    config: BrokerConfig,
    cores: Vec<Option<usize>>,
    folder: DataFolder,
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    survey: Survey,
}

impl Begun {
    fn new(config: BrokerConfig) -> Result<Self, StartError> {
        config.check()?;
        let needs = host_needs(&config);
        check_host(&config, &needs)?;
        let cores = needs.shards;
        let folder = DataFolder::open(&config.data_dir, config.journal_dir.as_deref())?;
        let listeners = bind_shards(&config, cores.len())?;
        let addresses = local_addresses(&listeners)?;
        let survey = survey_folder(&folder.layout, cores.len())?;
        Ok(Self { config, cores, folder, listeners, addresses, survey })
    }

    fn alone(self) -> Result<Broker, StartError> {
        let Self { config, cores, mut folder, listeners, addresses, survey } = self;
        let mut controller = open_controller(&folder)?;
        refuse_other_broker(config.broker, &folder, controller.image())?;
        compare_ages(config.broker, &folder, controller.image(), &survey)?;
        let number_min =
            controller.image().next_incarnation_number(config.broker).max(survey.incarnation_number.saturating_add(1));
        let (moving, incarnation) = folder.begin_incarnations(number_min)?;
        let registration = RegisterBroker {
            broker: config.broker,
            incarnation,
            folder_id: FolderId(folder.folder_id),
            addresses: advertised(&config, &addresses)?,
            held: held_partitions(&survey),
            start: Start::Alone,
        };
        let metadata = |error: CommandError| StartError::Metadata { problem: error.to_string() };
        let foreseen = View { broker: config.broker, image: Arc::new(controller.foresee(&registration).map_err(metadata)?) };
        refuse_moves(&foreseen, &survey, cores.len())?;
        controller.register_broker(&registration).map_err(metadata)?;
        let view = Arc::new(View { broker: config.broker, image: Arc::new(controller.image().clone()) });
        let (lease, standing) = (Lease::endless(), Standing::alone(config.broker));
        let starting = Starting::new(config, view, incarnation, cores, addresses, (lease, standing));
        let (layout, broker) = (folder.layout.clone(), starting.config.broker);
        let begun = starting.prepare(&folder, moving, survey)?;
        begun.spawn(folder, listeners, move |shards, mailbox| {
            let control = ControlThread {
                controller,
                layout,
                broker,
                incarnation,
                shards,
                version: 0,
                has_recovered: false,
                until_recovered: Vec::new(),
                under_way: None,
                put_aside: Default::default(),
                orphans: Default::default(),
            };
            let builder = std::thread::Builder::new().name("control".to_owned());
            builder.spawn(move || control.run(&mailbox)).map_err(|error| StartError::Thread { problem: error.to_string() })
        })
    }

    fn in_cluster(self, cancel: &Cancel) -> Result<Broker, StartError> {
        let Self { config, cores, mut folder, listeners, addresses, survey } = self;
        let cluster = config.cluster.as_ref().expect("it is one of several");
        let brought = Brought {
            broker: config.broker,
            survey: &survey,
            shard_count: cores.len(),
            addresses: advertised(&config, &addresses)?,
            folder: &mut folder,
        };
        let InCluster { node, image, incarnation, moving } = start_in_cluster(cluster, brought, cancel)?;
        let view = Arc::new(View { broker: config.broker, image: Arc::clone(&image.image) });
        let (lease, standing) = (Lease::lost(), Standing::unknown());
        let starting = Starting::new(config, view, incarnation, cores, addresses, (lease.clone(), standing.clone()));
        let (layout, broker) = (folder.layout.clone(), starting.config.broker);
        let begun = starting.prepare(&folder, moving, survey)?;
        let mut broker = begun.spawn(folder, listeners, move |shards, mailbox| {
            let parts = ControlParts { broker, incarnation, layout, shards, mailbox, image, lease, standing };
            let control = ClusterControl::new(&node, parts);
            Ok(node.hand_over(control))
        })?;
        broker.is_member = true;
        Ok(broker)
    }
}

fn local_addresses(listeners: &[TcpListener]) -> Result<Vec<SocketAddr>, StartError> {
    let address = |listener: &TcpListener| {
        listener.local_addr().map_err(|error| StartError::Thread { problem: format!("a bound socket has no address: {error}") })
    };
    listeners.iter().map(address).collect()
}

fn open_controller(folder: &DataFolder) -> Result<Controller, StartError> {
    let random = crate::random::random_bytes();
    let cluster_id = random.map_err(|error| StartError::Folder { path: "/dev/urandom".into(), error })?;
    let new_cluster_id = folder.is_new.then_some(ClusterId(cluster_id));
    Controller::open(&folder.layout.metadata(), FolderId(folder.folder_id), new_cluster_id).map_err(StartError::OpenMetadata)
}

/// What the shards are made of.
struct Starting {
    config: Arc<BrokerConfig>,
    view: Arc<View>,
    incarnation: Incarnation,
    cores: Vec<Option<usize>>,
    addresses: Vec<SocketAddr>,
    lease: Lease,
    standing: Standing,
}

/// The same, with what the folder was found to hold.
struct ReadyToSpawn {
    starting: Starting,
    prepared: Prepared,
    found: RecoveredFolder,
}

impl Starting {
    fn new(
        config: BrokerConfig,
        view: Arc<View>,
        incarnation: Incarnation,
        cores: Vec<Option<usize>>,
        addresses: Vec<SocketAddr>,
        (lease, standing): (Lease, Standing),
    ) -> Self {
        Self { config: Arc::new(config), view, incarnation, cores, addresses, lease, standing }
    }

    /// Moves partitions between shards, where there are others than at the last start.
    fn prepare(self, folder: &DataFolder, moving: Incarnation, survey: Survey) -> Result<ReadyToSpawn, StartError> {
        let prepared = prepare_shards(&self.config, folder, moving, &self.view, &survey, self.cores.len())?;
        let (moved, view) = (prepared.reports.clone(), Arc::clone(&self.view));
        let found = RecoveredFolder { survey, moved, view, layout: folder.layout.clone() };
        Ok(ReadyToSpawn { starting: self, prepared, found })
    }
}

impl ReadyToSpawn {
    /// `control` begins what the shards talk to.
    fn spawn(
        self,
        folder: DataFolder,
        listeners: Vec<TcpListener>,
        control: impl FnOnce(Vec<Sender<ToShard>>, Receiver<ToControl>) -> Result<JoinHandle<()>, StartError>,
    ) -> Result<Broker, StartError> {
        let Self { starting, mut prepared, found } = self;
        let (to_control, control_mailbox) = async_channel::bounded(CONTROL_MAILBOX_LEN);
        let (report, progress) = async_channel::unbounded();
        let mailboxes: Vec<_> = starting.cores.iter().map(|_| async_channel::bounded::<ToShard>(MAILBOX_LEN)).collect();
        let control = control(mailboxes.iter().map(|(mailbox, _)| mailbox.clone()).collect(), control_mailbox)?;
        let mut broker = Broker {
            readiness: Readiness {
                addresses: starting.addresses.clone(),
                progress,
                to_control: to_control.clone(),
                reports: Vec::new(),
                producer_id_max: None,
                replicas: Vec::new(),
                found: Arc::new(found),
            },
            addresses: starting.addresses,
            report: Vec::new(),
            incarnation: starting.incarnation,
            shards: Vec::new(),
            to_control: to_control.clone(),
            control: Some(control),
            is_member: false,
            folder,
        };
        let activity = ProduceActivity::default();
        let wait_mode = if starting.config.busy_poll { WaitMode::Spinning } else { WaitMode::Asleep };
        let cores = (0..).map(ShardIndex).zip(&starting.cores).zip(listeners);
        for (((index, core), listener), (mailbox, receiver)) in cores.zip(mailboxes) {
            let start = ShardStart {
                config: Arc::clone(&starting.config),
                layout: broker.folder.layout.clone(),
                broker: starting.config.broker,
                incarnation: starting.incarnation,
                shard_count: starting.cores.len(),
                activity: activity.clone(),
                view: Arc::clone(&starting.view),
                lease: starting.lease.clone(),
                standing: starting.standing.clone(),
                imports: prepared.imports.remove(&index).unwrap_or_default(),
                owners: prepared.owners.clone(),
                handed_over: prepared.handed_over.remove(&index).unwrap_or_default(),
                mailbox: receiver,
                to_control: to_control.clone(),
                progress: report.clone(),
            };
            let config = ShardConfig { index, core: *core, io_memory_len: SHARD_IO_MEMORY_LEN, wait_mode };
            let thread = run_shard(config, move |shard| shard_main(shard, listener, start));
            let thread = thread.map_err(|error| StartError::Thread { problem: error.to_string() })?;
            broker.shards.push(RunningShard { mailbox, thread: Some(thread) });
        }
        Ok(broker)
    }
}

impl Broker {
    /// Where the shards listen, shard 0 first.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What recovery found and did, shard 0 first; of a broker that was only told to listen it is empty.
    #[must_use]
    pub fn report(&self) -> &[RecoveryReport] {
        &self.report
    }

    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Stops cleanly: requests under way are answered, everything goes to segments, the next start replays nothing.
    /// One in a cluster first lets others lead what it leads, for which it waits some seconds.
    ///
    /// # Errors
    /// The first shard that could not; all have ended nevertheless.
    pub fn shutdown(mut self) -> Result<Vec<BrokerCounters>, StopError> {
        self.leave();
        self.tell_to_stop();
        self.join()
    }

    /// Waits until the broker has ended by itself, which it does only when a shard cannot go on.
    ///
    /// # Errors
    /// Why.
    pub fn wait(mut self) -> Result<Vec<BrokerCounters>, StopError> {
        self.join()
    }

    /// What tells when every partition is served.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    #[must_use]
    pub fn id(&self) -> BrokerId {
        self.readiness.found.view.broker
    }

    /// Where its shards are told things, shard 0 first: what a controller decides reaches them there.
    #[cfg(test)]
    pub(crate) fn mailboxes(&self) -> impl Iterator<Item = &Sender<ToShard>> {
        self.shards.iter().map(|shard| &shard.mailbox)
    }

    fn leave(&self) {
        if !self.is_member {
            return;
        }
        let (left, until_left) = async_channel::bounded(1);
        if self.to_control.send_blocking(ToControl::Leave { left }).is_ok() {
            // Closed when it is done, or when the control thread has ended.
            let _closed = until_left.recv_blocking();
        }
    }

    fn tell_to_stop(&self) {
        for shard in &self.shards {
            let _ended = shard.mailbox.send_blocking(ToShard::Stop);
        }
    }

    fn join(&mut self) -> Result<Vec<BrokerCounters>, StopError> {
        let mut counters = Vec::with_capacity(self.shards.len());
        let mut result = Ok(());
        for (index, shard) in self.shards.iter_mut().enumerate() {
            let Some(thread) = shard.thread.take() else { continue };
            let end = thread.join();
            counters.push(end.counters);
            if let (Ok(()), Err(problem)) = (&result, end.result) {
                result = Err(StopError { shard: index as u16, problem });
            }
        }
        let _ended = self.to_control.send_blocking(ToControl::Stop);
        if let Some(control) = self.control.take()
            && control.join().is_err()
        {
            tracing::error!("the control thread panicked");
        }
        result.map(|()| counters)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.tell_to_stop();
        // A shard that could not be opened has said so to whoever waits for it.
        if let Err(error) = self.join()
            && !self.report.is_empty()
        {
            tracing::error!(%error, "the broker did not stop cleanly");
        }
    }
}
