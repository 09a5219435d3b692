//! One shard of a broker from its start to its end: it listens, recovers, runs its tasks, reads its mailbox, stops.
//!
//! It listens first, so that it can say what is elsewhere and what is not ready yet, and reads its mailbox while it
//! recovers, so that no change of a topic waits for that; what changed meanwhile is carried out before it is open.
//! The expensive mistake is a shard that goes on after a failed write or flush: every loop that ends, ends the process
//! (`fatal`). Deliberately absent: what the tasks do.

use crate::apply_view::{apply_view, end_process, reopen};
use crate::catch_up::{CATCH_UP_TASKS, CatchUp};
use crate::cluster::{AnsweredProposal, recovered_of};
use crate::config::{BrokerConfig, RECEIVE_LEN};
use crate::control_message::{ControlHandle, ToControl, ToShard};
use crate::data_plane::{DataPlane, DataPlaneParts, ShardPartitions};
use crate::lease::Lease;
use crate::metrics::{BrokerCounters, BrokerMetrics};
use crate::opened::{Opened, OpenedCell};
use crate::pacing::PartitionPace;
use crate::replicas::reads::{REPLICA_READ_TASKS, ReplicaReads};
use crate::replicas::resolve::Resolver;
use crate::request_room::KEPT_LEN_MAX;
use crate::standing::Standing;
use crate::view::{View, ViewCell};
use async_channel::{Receiver, RecvError, Sender};
use event_listener::Event;
use sluice_metadata::{PRODUCER_ID_PLAUSIBLE_END, Recovered};
use sluice_model::{BrokerId, Clock, Incarnation, ProducerId, ShardIndex, TopicPartition};
use sluice_partition::{IsrTimes, OpenError, OpenShard, Partitions, PartitionsConfig, ScrubReport};
use sluice_shard::{Budget, Pacer, PacerConfig, ProduceActivity, Queue, Shard, Wake};
use sluice_storage::checkpoint::PartitionCheckpoint;
use sluice_storage::journal::JournalConfig;
use sluice_storage::layout::Layout;
use sluice_storage::recovery_report::RecoveryReport;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::TcpListener;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// What a shard is started with.
pub(crate) struct ShardStart {
    pub(crate) config: Arc<BrokerConfig>,
    pub(crate) layout: Layout,
    pub(crate) broker: BrokerId,
    pub(crate) incarnation: Incarnation,
    pub(crate) shard_count: usize,
    /// Of all shards of the broker together.
    pub(crate) activity: ProduceActivity,
    pub(crate) view: Arc<View>,
    /// Of the broker; written by the control thread, as the next one is.
    pub(crate) lease: Lease,
    /// Of the broker among the others.
    pub(crate) standing: Standing,
    /// What this shard takes over from others.
    pub(crate) imports: Vec<PartitionCheckpoint>,
    /// Whose folder has the newest state of each partition.
    pub(crate) owners: BTreeMap<TopicPartition, ShardIndex>,
    /// What others take over from this shard.
    pub(crate) handed_over: Vec<PartitionCheckpoint>,
    pub(crate) mailbox: Receiver<ToShard>,
    pub(crate) to_control: Sender<ToControl>,
    pub(crate) progress: Sender<(ShardIndex, ShardProgress)>,
}

/// What a starting shard tells the thread that started it.
#[derive(Debug)]
pub(crate) enum ShardProgress {
    /// Connections are answered, and every partition of the shard is `NotReady`.
    Listening,
    /// Its partitions are served.
    Opened(Box<OpenedShard>),
    /// The address cannot be listened on.
    Deaf(io::Error),
    /// It cannot be recovered, or did not stop cleanly.
    Failed(String),
}

/// What the recovery of a shard did.
#[derive(Debug)]
pub(crate) struct OpenedShard {
    pub(crate) report: RecoveryReport,
    /// The greatest of its partitions.
    pub(crate) producer_id_max: Option<ProducerId>,
    /// What was found of each replica, for the controller.
    pub(crate) replicas: Vec<(TopicPartition, Recovered)>,
}

/// How a shard ended.
#[derive(Debug)]
pub(crate) struct ShardEnd {
    pub(crate) counters: BrokerCounters,
    pub(crate) result: Result<(), String>,
}

/// What the parts of a running shard share.
struct Running {
    shard: Shard,
    opened: OpenedCell,
    view: ViewCell,
    control: ControlHandle,
    wake: Wake,
    metrics: Rc<BrokerMetrics>,
    stop: Rc<Cell<bool>>,
    served: Rc<(Cell<bool>, Event)>,
    /// Partitions of the view that are not open yet.
    is_behind: Rc<Cell<bool>>,
}

/// `listener` is bound and not listened on yet.
pub(crate) async fn shard_main(shard: Shard, listener: TcpListener, start: ShardStart) -> ShardEnd {
    let metrics = Rc::new(BrokerMetrics::default());
    let index = shard.index();
    let running = Running::new(shard, &start, Rc::clone(&metrics));
    let result = running.live(listener, &start).await;
    if let Err(problem) = &result {
        let _nobody_asks = start.progress.try_send((index, ShardProgress::Failed(problem.clone())));
    }
    ShardEnd { counters: metrics.snapshot(), result }
}

/// A line for a person; a warning when anything that may have been acknowledged is missing or in doubt.
pub(crate) fn log_recovery(report: &RecoveryReport) {
    if report.is_clean() {
        tracing::info!("{report}");
    } else if report.damaged.is_empty() && report.possibly_short.is_empty() {
        tracing::warn!("{report}; nothing is refused on account of it");
    } else {
        tracing::warn!(
            "{report}; on the stopped broker's folder `sluice log verify` says more and `sluice log accept-loss` accepts it"
        );
    }
}

async fn open(shard: &Shard, start: &ShardStart) -> Result<(ShardPartitions, RecoveryReport, Pacer), OpenError> {
    let rates = PacerConfig { scrub_rate: start.config.scrub_rate_len, ..PacerConfig::default() };
    let pacer = Pacer::new(rates.per_shard(start.shard_count), start.activity.clone());
    let open = OpenShard {
        config: partitions_config(shard.index(), start),
        incarnation: start.incarnation,
        assigned: start.view.assignments(shard.index()),
        imports: start.imports.clone(),
        owners: start.owners.clone(),
        handed_over: start.handed_over.clone(),
        deleted: start.view.deleted(),
        pacer: Rc::new(PartitionPace::new(pacer.clone())),
    };
    let (partitions, report) = Partitions::open(shard.disk(), shard.clock(), open).await?;
    if start.config.cluster.is_some() {
        // The data task finds out whether there is one.
        partitions.on_lease_lost();
    }
    Ok((partitions, report, pacer))
}

fn partitions_config(shard: ShardIndex, start: &ShardStart) -> PartitionsConfig {
    PartitionsConfig {
        layout: start.layout.clone(),
        shard,
        broker: start.broker,
        journal: journal_config(&start.config, &start.layout, shard),
        tail_budget: start.config.tail_budget_len,
        journal_buffer_budget: start.config.journal_buffer_budget_len as u64,
        produce_delay_ms_max: start.config.produce_delay_ms_max,
        write_back_interval_ms: start.config.write_back_interval_ms,
        checkpoint_interval_ms: start.config.checkpoint_interval_ms,
        scrub_interval_ms: start.config.scrub_interval_ms,
        isr_times: IsrTimes::default(),
    }
}

pub(crate) fn journal_config(config: &BrokerConfig, layout: &Layout, shard: ShardIndex) -> JournalConfig {
    JournalConfig {
        dir: layout.shard_journal_dir(shard),
        file_len: config.journal_file_len,
        file_count: config.journal_file_count,
        group_len_target: sluice_model::limits::GROUP_LEN_TARGET,
    }
}

impl Running {
    fn new(shard: Shard, start: &ShardStart, metrics: Rc<BrokerMetrics>) -> Self {
        let wake = Wake::new();
        Self {
            control: ControlHandle::new(shard.index(), start.to_control.clone(), wake.clone()),
            view: ViewCell::new(Arc::clone(&start.view)),
            shard,
            opened: OpenedCell::default(),
            wake,
            metrics,
            stop: Rc::default(),
            served: Rc::new((Cell::new(true), Event::new())),
            is_behind: Rc::default(),
        }
    }

    async fn live(self, listener: TcpListener, start: &ShardStart) -> Result<(), String> {
        if let Err(error) = self.listen(listener, start) {
            let problem = error.to_string();
            self.tell(start, ShardProgress::Deaf(error));
            return Err(problem);
        }
        self.tell(start, ShardProgress::Listening);
        let (partitions, report, pacer) = self.recover(start).await?;
        log_recovery(&report);
        let (catch_up, replica_reads) = self.run_tasks(&partitions, pacer);
        if self.is_behind.get() {
            self.is_behind.set(!apply_view(self.shard.index(), &partitions, &self.view).await);
        }
        let opened = self.opened.set(Opened { partitions: partitions.clone(), catch_up, replica_reads });
        assert!(opened.is_ok(), "shard {} is opened once", self.shard.index());
        self.wake.notify();
        let producer_id_max = partitions.producer_id_max(PRODUCER_ID_PLAUSIBLE_END);
        let replicas = partitions.recovered_replicas().iter().map(|(id, found)| (*id, recovered_of(found))).collect();
        self.tell(start, ShardProgress::Opened(Box::new(OpenedShard { report, producer_id_max, replicas })));
        self.serve(start, &partitions).await
    }

    fn tell(&self, start: &ShardStart, progress: ShardProgress) {
        let _nobody_asks = start.progress.try_send((self.shard.index(), progress));
    }

    /// Opens the shard and reads its mailbox meanwhile. A stop is carried out when it is open: what recovery has under
    /// way is not given up in the middle of a write.
    async fn recover(&self, start: &ShardStart) -> Result<(ShardPartitions, RecoveryReport, Pacer), String> {
        let mut opening = pin!(open(&self.shard, start));
        while !self.stop.get() {
            match first_of(opening.as_mut(), start.mailbox.recv()).await {
                First::Opening(opened) => return opened.map_err(|error| error.to_string()),
                First::Mail(Ok(ToShard::View { version, view })) => {
                    self.view.set(view);
                    // Acted on as far as can be: what it changes here is done before anything is served.
                    self.is_behind.set(true);
                    self.control.applied(version).await;
                }
                First::Mail(Ok(ToShard::Answer { token, answer })) => self.control.hand_to_data_task(token, answer),
                // Its partitions find out when they are there.
                First::Mail(Ok(ToShard::Lease | ToShard::IsrAnswers(_))) => {}
                First::Mail(Ok(ToShard::Stop) | Err(_)) => self.stop_answering(),
            }
        }
        opening.await.map_err(|error| error.to_string())
    }

    fn run_tasks(&self, partitions: &ShardPartitions, pacer: Pacer) -> (Rc<CatchUp>, Rc<ReplicaReads>) {
        let shard = &self.shard;
        let for_partitions = self.wake.clone();
        partitions.on_progress(Box::new(move || for_partitions.notify()));
        let commit = partitions.clone();
        shard.spawn(Queue::Produce, async move { end_process(&commit.run_commit().await) });
        let write_back = partitions.clone();
        shard.spawn(Queue::Background, async move { end_process(&write_back.run_write_back().await) });
        let scrub = partitions.clone();
        shard.spawn(Queue::Background, async move { end_process(&scrub.run_scrub().await) });
        shard.spawn(Queue::Produce, tick(shard.clone(), partitions.clone()));
        let replica_reads = ReplicaReads::new(self.wake.clone(), partitions.clone(), pacer.clone());
        for _ in 0..REPLICA_READ_TASKS {
            shard.spawn(Queue::CatchUpFetch, Rc::clone(&replica_reads).run());
        }
        let catch_up = CatchUp::new(self.wake.clone(), partitions.clone(), pacer);
        for _ in 0..CATCH_UP_TASKS {
            shard.spawn(Queue::CatchUpFetch, Rc::clone(&catch_up).run());
        }
        (catch_up, replica_reads)
    }

    /// Reads the mailbox until the broker stops; then the clean stop.
    async fn serve(self, start: &ShardStart, partitions: &ShardPartitions) -> Result<(), String> {
        self.shard
            .spawn(Queue::Background, reopen(self.shard.clone(), partitions.clone(), self.view.clone(), self.is_behind.clone()));
        while !self.stop.get() {
            match start.mailbox.recv().await {
                Ok(ToShard::View { version, view }) => {
                    self.view.set(view);
                    self.is_behind.set(!apply_view(self.shard.index(), partitions, &self.view).await);
                    self.wake.notify();
                    self.control.applied(version).await;
                }
                Ok(ToShard::Answer { token, answer }) => self.control.hand_to_data_task(token, answer),
                Ok(ToShard::IsrAnswers(answers)) => {
                    let now = self.shard.clock().now();
                    for AnsweredProposal { id, leader_epoch, number, answer } in answers {
                        partitions.on_isr_answer(now, id, leader_epoch, number, answer);
                    }
                }
                Ok(ToShard::Lease) => self.wake.notify(),
                // The control thread has ended: so does the broker.
                Ok(ToShard::Stop) | Err(_) => self.stop_answering(),
            }
        }
        self.stop(partitions).await
    }

    fn listen(&self, listener: TcpListener, start: &ShardStart) -> io::Result<()> {
        let sockets = self.shard.sockets()?;
        let listener = sockets.listen_on(listener)?;
        let clock = self.shard.clock();
        let resolver = Resolver::new(self.wake.clone());
        if start.config.cluster.is_some() {
            self.shard.spawn(Queue::Background, Rc::clone(&resolver).run());
        }
        let data_plane = DataPlane::new(
            DataPlaneParts {
                config: Arc::clone(&start.config),
                shard: self.shard.index(),
                incarnation: start.incarnation,
                sockets,
                listener,
                wake: self.wake.clone(),
                opened: Rc::clone(&self.opened),
                view: self.view.clone(),
                lease: start.lease.clone(),
                standing: start.standing.clone(),
                control: self.control.clone(),
                budget: Budget::new(start.config.network_budget_len - RECEIVE_LEN - KEPT_LEN_MAX),
                clock,
                metrics: Rc::clone(&self.metrics),
                shard_metrics: self.shard.metrics(),
                resolver,
                stop: Rc::clone(&self.stop),
            },
            clock.now(),
        );
        let served = Rc::clone(&self.served);
        served.0.set(false);
        self.shard.spawn(Queue::Produce, async move {
            data_plane.run().await;
            served.0.set(true);
            served.1.notify(usize::MAX);
        });
        Ok(())
    }

    fn stop_answering(&self) {
        self.stop.set(true);
        self.wake.notify();
    }

    /// What is under way is answered, then everything goes to segments, so that the next start has nothing to replay.
    async fn stop(self, partitions: &ShardPartitions) -> Result<(), String> {
        loop {
            let served = self.served.1.listen();
            if self.served.0.get() {
                break;
            }
            served.await;
        }
        partitions.close().await.map_err(|failure| failure.to_string())
    }
}

/// What came first.
enum First<O> {
    Opening(O),
    Mail(Result<ToShard, RecvError>),
}

/// A mail that has not come when this returns is still in the mailbox.
async fn first_of<O>(
    mut opening: Pin<&mut impl Future<Output = O>>,
    mail: impl Future<Output = Result<ToShard, RecvError>>,
) -> First<O> {
    let mut mail = pin!(mail);
    poll_fn(|context| {
        if let Poll::Ready(opened) = opening.as_mut().poll(context) {
            return Poll::Ready(First::Opening(opened));
        }
        mail.as_mut().poll(context).map(First::Mail)
    })
    .await
}

async fn tick(shard: Shard, partitions: ShardPartitions) {
    loop {
        let wait_us = partitions.on_tick(shard.clock().now());
        if let Some(by_ms) = partitions.take_clock_jump() {
            tracing::warn!(
                shard = shard.index().0,
                by_ms,
                "the wall clock jumped, or was wrong when the broker started; deletion by age waits until it has settled"
            );
        }
        if partitions.take_clock_settled() {
            tracing::info!(shard = shard.index().0, "the wall clock has settled; deletion by age goes on");
        }
        partitions.take_scrub_news().iter().for_each(|report| log_finding(shard.index(), report));
        shard.sleep(Duration::from_micros(wait_us)).await;
    }
}

/// What the scrubber has found, once, with what to do about it.
fn log_finding(shard: ShardIndex, report: &ScrubReport) {
    let finding = &report.finding;
    let partition = finding.id.map(tracing::field::display);
    let remedy = match (report.is_repaired, finding.lost.is_some()) {
        (true, _) => "nothing depends on it any more; look at the device's health",
        (false, true) => "look at the device's health; `sluice broker describe` lists what is not served",
        (false, false) => "look at the device's health; `sluice broker describe` lists what is bad",
    };
    tracing::warn!(shard = shard.0, partition, remedy, "the scrubber found damage: {finding}");
}
