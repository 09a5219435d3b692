//! A broker's start and stop: every part in its order, and back.
//!
//! The order of a start: settings and host, the data folder, the addresses, the metadata, partitions that move between
//! shards, then the shards, each of which listens at once and serves as soon as it is open itself. A shard with much to
//! replay, or on a slow device, keeps no other from serving; one that cannot be recovered ends the broker.
//!
//! Two expensive mistakes: to serve a partition before its shard is open, and to leave a part behind when a later one
//! fails: each part ends when its handle is dropped or its channel closes.

use crate::bind::{advertised, bind_shards};
use crate::config::{BrokerConfig, SHARD_IO_MEMORY_LEN};
use crate::control_message::{CONTROL_MAILBOX_LEN, MAILBOX_LEN, ToControl, ToShard};
use crate::control_thread::ControlThread;
use crate::data_folder::DataFolder;
use crate::host::{check_host, host_needs};
use crate::metrics::BrokerCounters;
use crate::preparation::{compare_ages, held_partitions, prepare_shards, refuse_moves, refuse_other_broker, survey_folder};
use crate::readiness::{Readiness, RecoveredFolder};
use crate::shard_main::{ShardEnd, ShardStart, shard_main};
use crate::standing::Standing;
use crate::start_error::StartError;
use crate::view::View;
use async_channel::Sender;
use sluice_controller::{CommandError, Controller};
use sluice_metadata::{ClusterId, FolderId, RegisterBroker, Start};
use sluice_model::{BrokerId, Incarnation, ShardIndex};
use sluice_partition::Prepared;
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
    config.check()?;
    let needs = host_needs(&config);
    check_host(&config, &needs)?;
    let cores = needs.shards;
    let mut folder = DataFolder::open(&config.data_dir, config.journal_dir.as_deref())?;
    let listeners = bind_shards(&config, cores.len())?;
    let addresses = local_addresses(&listeners)?;
    let mut controller = open_controller(&folder)?;
    refuse_other_broker(config.broker, &folder, &controller)?;
    let survey = survey_folder(&folder.layout, cores.len())?;
    compare_ages(config.broker, &folder, &controller, &survey)?;
    let number_min = controller.image().next_incarnation_number(config.broker).max(survey.incarnation_number.saturating_add(1));
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
    let config = Arc::new(config);
    let prepared = prepare_shards(&config, &folder, moving, &view, &survey, cores.len())?;
    let found =
        RecoveredFolder { survey, moved: prepared.reports.clone(), view: Arc::clone(&view), layout: folder.layout.clone() };
    let starting = Starting { config, view, incarnation, cores, addresses, prepared };
    let mut broker = starting.spawn(folder, found, listeners, controller)?;
    broker.readiness.await_listening()?;
    Ok(broker)
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

/// What the shards and the control thread are made of.
struct Starting {
    config: Arc<BrokerConfig>,
    view: Arc<View>,
    incarnation: Incarnation,
    cores: Vec<Option<usize>>,
    addresses: Vec<SocketAddr>,
    prepared: Prepared,
}

impl Starting {
    fn spawn(
        mut self,
        folder: DataFolder,
        found: RecoveredFolder,
        listeners: Vec<TcpListener>,
        controller: Controller,
    ) -> Result<Broker, StartError> {
        let (to_control, control_mailbox) = async_channel::bounded(CONTROL_MAILBOX_LEN);
        let (report, progress) = async_channel::unbounded();
        let mailboxes: Vec<_> = self.cores.iter().map(|_| async_channel::bounded::<ToShard>(MAILBOX_LEN)).collect();
        let control = ControlThread {
            controller,
            layout: folder.layout.clone(),
            broker: self.config.broker,
            incarnation: self.incarnation,
            shards: mailboxes.iter().map(|(mailbox, _)| mailbox.clone()).collect(),
            version: 0,
            has_recovered: false,
            until_recovered: Vec::new(),
            under_way: None,
            put_aside: Default::default(),
            orphans: Default::default(),
        };
        let mut broker = Broker {
            readiness: Readiness {
                addresses: self.addresses.clone(),
                progress,
                to_control: to_control.clone(),
                reports: Vec::new(),
                producer_id_max: None,
                found: Arc::new(found),
            },
            addresses: self.addresses,
            report: Vec::new(),
            incarnation: self.incarnation,
            shards: Vec::new(),
            to_control: to_control.clone(),
            control: None,
            folder,
        };
        let activity = ProduceActivity::default();
        let wait_mode = if self.config.busy_poll { WaitMode::Spinning } else { WaitMode::Asleep };
        let cores = (0..).map(ShardIndex).zip(&self.cores).zip(listeners);
        for (((index, core), listener), (mailbox, receiver)) in cores.zip(mailboxes) {
            let start = ShardStart {
                config: Arc::clone(&self.config),
                layout: broker.folder.layout.clone(),
                broker: self.config.broker,
                incarnation: self.incarnation,
                shard_count: self.cores.len(),
                activity: activity.clone(),
                view: Arc::clone(&self.view),
                standing: Standing::alone(self.config.broker),
                imports: self.prepared.imports.remove(&index).unwrap_or_default(),
                owners: self.prepared.owners.clone(),
                handed_over: self.prepared.handed_over.remove(&index).unwrap_or_default(),
                mailbox: receiver,
                to_control: to_control.clone(),
                progress: report.clone(),
            };
            let config = ShardConfig { index, core: *core, io_memory_len: SHARD_IO_MEMORY_LEN, wait_mode };
            let thread = run_shard(config, move |shard| shard_main(shard, listener, start));
            let thread = thread.map_err(|error| StartError::Thread { problem: error.to_string() })?;
            broker.shards.push(RunningShard { mailbox, thread: Some(thread) });
        }
        let builder = std::thread::Builder::new().name("control".to_owned());
        let control = builder.spawn(move || control.run(&control_mailbox));
        broker.control = Some(control.map_err(|error| StartError::Thread { problem: error.to_string() })?);
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
    ///
    /// # Errors
    /// The first shard that could not; all have ended nevertheless.
    pub fn shutdown(mut self) -> Result<Vec<BrokerCounters>, StopError> {
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
