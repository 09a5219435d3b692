//! One shard of a broker from its start to its end: recovery, the tasks that run on it, the mailbox, the clean stop.
//!
//! The expensive mistake is a shard that goes on after a failed write or flush: every loop that ends, ends the process
//! (`fatal`). Deliberately absent: what the tasks do.

use crate::catch_up::{CATCH_UP_TASKS, CatchUp};
use crate::config::{BrokerConfig, RECEIVE_LEN};
use crate::control_message::{ControlHandle, ToControl, ToShard};
use crate::data_plane::{DataPlane, DataPlaneParts, ShardPartitions};
use crate::metrics::{BrokerCounters, BrokerMetrics};
use crate::pacing::PartitionPace;
use crate::request_room::KEPT_LEN_MAX;
use crate::view::{View, ViewCell};
use async_channel::{Receiver, Sender};
use event_listener::Event;
use sluice_metadata::PRODUCER_ID_PLAUSIBLE_END;
use sluice_model::{BrokerId, Clock, Incarnation, ProducerId, ShardIndex, TopicPartition};
use sluice_partition::{Failure, OpenError, OpenShard, Partitions, PartitionsConfig, ScrubReport};
use sluice_shard::{Budget, FatalReason, Pacer, PacerConfig, ProduceActivity, Queue, Shard, Wake, fatal};
use sluice_storage::checkpoint::PartitionCheckpoint;
use sluice_storage::journal::JournalConfig;
use sluice_storage::layout::Layout;
use sluice_storage::recovery_report::RecoveryReport;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Partitions that could not be opened for want of disk space are tried again this often.
const REOPEN_INTERVAL: Duration = Duration::from_secs(1);

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
    /// What this shard takes over from others.
    pub(crate) imports: Vec<PartitionCheckpoint>,
    /// Whose folder has the newest state of each partition.
    pub(crate) owners: BTreeMap<TopicPartition, ShardIndex>,
    pub(crate) mailbox: Receiver<ToShard>,
    pub(crate) to_control: Sender<ToControl>,
    pub(crate) progress: Sender<(ShardIndex, ShardProgress)>,
}

/// What a starting shard tells the thread that started it.
#[derive(Debug)]
pub(crate) enum ShardProgress {
    /// What recovery did, and the greatest producer id of the shard's partitions.
    Opened(Box<RecoveryReport>, Option<ProducerId>),
    Listening,
    Failed(String),
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
    partitions: ShardPartitions,
    view: ViewCell,
    control: ControlHandle,
    wake: Wake,
    catch_up: Rc<CatchUp>,
    metrics: Rc<BrokerMetrics>,
    stop: Rc<Cell<bool>>,
    served: Rc<(Cell<bool>, Event)>,
    /// Partitions of the view that are not open yet.
    is_behind: Rc<Cell<bool>>,
}

pub(crate) async fn shard_main(shard: Shard, start: ShardStart) -> ShardEnd {
    let metrics = Rc::new(BrokerMetrics::default());
    let result = match open(&shard, &start).await {
        Ok((partitions, report, pacer)) => {
            log_recovery(&report);
            let _nobody_asks = start.progress.try_send((
                shard.index(),
                ShardProgress::Opened(Box::new(report), partitions.producer_id_max(PRODUCER_ID_PLAUSIBLE_END)),
            ));
            let running = run_tasks(shard, &start, partitions, pacer, Rc::clone(&metrics));
            running.serve(&start).await
        }
        Err(error) => {
            let _nobody_asks = start.progress.try_send((shard.index(), ShardProgress::Failed(error.to_string())));
            Err(error.to_string())
        }
    };
    ShardEnd { counters: metrics.snapshot(), result }
}

/// A line for a person; a warning when anything that may have been acknowledged is missing or in doubt.
pub(crate) fn log_recovery(report: &RecoveryReport) {
    if report.is_clean() {
        tracing::info!("{report}");
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
        deleted: start.view.deleted(),
        pacer: Rc::new(PartitionPace::new(pacer.clone())),
    };
    let (partitions, report) = Partitions::open(shard.disk(), shard.clock(), open).await?;
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

fn run_tasks(shard: Shard, start: &ShardStart, partitions: ShardPartitions, pacer: Pacer, metrics: Rc<BrokerMetrics>) -> Running {
    let wake = Wake::new();
    let for_partitions = wake.clone();
    partitions.on_progress(Box::new(move || for_partitions.notify()));
    let commit = partitions.clone();
    shard.spawn(Queue::Produce, async move { end_process(&commit.run_commit().await) });
    let write_back = partitions.clone();
    shard.spawn(Queue::Background, async move { end_process(&write_back.run_write_back().await) });
    let scrub = partitions.clone();
    shard.spawn(Queue::Background, async move { end_process(&scrub.run_scrub().await) });
    shard.spawn(Queue::Produce, tick(shard.clone(), partitions.clone()));
    let catch_up = CatchUp::new(wake.clone(), partitions.clone(), pacer);
    for _ in 0..CATCH_UP_TASKS {
        shard.spawn(Queue::CatchUpFetch, Rc::clone(&catch_up).run());
    }
    Running {
        control: ControlHandle::new(shard.index(), start.to_control.clone(), wake.clone()),
        view: ViewCell::new(Arc::clone(&start.view)),
        shard,
        partitions,
        wake,
        catch_up,
        metrics,
        stop: Rc::default(),
        served: Rc::new((Cell::new(true), Event::new())),
        is_behind: Rc::default(),
    }
}

impl Running {
    /// Reads the mailbox until the broker stops; then the clean stop.
    async fn serve(self, start: &ShardStart) -> Result<(), String> {
        self.shard.spawn(
            Queue::Background,
            reopen(self.shard.clone(), self.partitions.clone(), self.view.clone(), self.is_behind.clone()),
        );
        loop {
            match start.mailbox.recv().await {
                Ok(ToShard::View { version, view }) => {
                    self.view.set(view);
                    self.is_behind.set(!apply_view(self.shard.index(), &self.partitions, &self.view).await);
                    self.control.applied(version).await;
                }
                Ok(ToShard::Answer { token, answer }) => self.control.hand_to_data_task(token, answer),
                Ok(ToShard::Listen(listener)) => self.listen(start, listener)?,
                // The control thread has ended: so does the broker.
                Ok(ToShard::Stop) | Err(_) => return self.stop().await,
            }
        }
    }

    fn listen(&self, start: &ShardStart, listener: TcpListener) -> Result<(), String> {
        let progress = |progress| {
            let _nobody_asks = start.progress.try_send((self.shard.index(), progress));
        };
        let failed = |error: io::Error| {
            progress(ShardProgress::Failed(error.to_string()));
            error.to_string()
        };
        let sockets = self.shard.sockets().map_err(failed)?;
        let listener = sockets.listen_on(listener).map_err(failed)?;
        let clock = self.shard.clock();
        let data_plane = DataPlane::new(
            DataPlaneParts {
                config: Arc::clone(&start.config),
                shard: self.shard.index(),
                incarnation: start.incarnation,
                sockets,
                listener,
                wake: self.wake.clone(),
                partitions: self.partitions.clone(),
                view: self.view.clone(),
                control: self.control.clone(),
                catch_up: Rc::clone(&self.catch_up),
                budget: Budget::new(start.config.network_budget_len - RECEIVE_LEN - KEPT_LEN_MAX),
                metrics: Rc::clone(&self.metrics),
                stop: Rc::clone(&self.stop),
            },
            clock.now(),
        );
        let served = Rc::clone(&self.served);
        served.0.set(false);
        self.shard.spawn(Queue::Produce, async move {
            data_plane.run(clock).await;
            served.0.set(true);
            served.1.notify(usize::MAX);
        });
        progress(ShardProgress::Listening);
        Ok(())
    }

    /// What is under way is answered, then everything goes to segments, so that the next start has nothing to replay.
    async fn stop(self) -> Result<(), String> {
        self.stop.set(true);
        self.wake.notify();
        loop {
            let served = self.served.1.listen();
            if self.served.0.get() {
                break;
            }
            served.await;
        }
        self.partitions.close().await.map_err(|failure| failure.to_string())
    }
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

/// Tries again to open what a full disk kept closed.
async fn reopen(shard: Shard, partitions: ShardPartitions, view: ViewCell, is_behind: Rc<Cell<bool>>) {
    loop {
        shard.sleep(REOPEN_INTERVAL).await;
        if is_behind.get() {
            is_behind.set(!apply_view(shard.index(), &partitions, &view).await);
        }
    }
}

/// Opens, alters and removes partitions until the shard has what the view places on it. `false`: some could not be
/// opened now.
async fn apply_view(shard: ShardIndex, partitions: &ShardPartitions, view: &ViewCell) -> bool {
    let (assigned, gone) = {
        let view = view.get();
        let gone: Vec<_> = partitions.ids().into_iter().filter(|id| view.image.topic(id.topic_id).is_none()).collect();
        (view.assignments(shard), gone)
    };
    let mut missing = Vec::new();
    for assignment in assigned {
        if !partitions.alter(assignment.id, assignment.settings) {
            missing.push(assignment);
        }
    }
    if !gone.is_empty()
        && let Err(error) = partitions.remove(&gone).await
    {
        return survive(shard, error);
    }
    if !missing.is_empty()
        && let Err(error) = partitions.create(missing).await
    {
        return survive(shard, error);
    }
    true
}

/// Want of disk space heals; everything else ends the process.
fn survive(shard: ShardIndex, error: OpenError) -> bool {
    match error {
        OpenError::DiskFull => {
            tracing::error!(shard = shard.0, "partitions cannot be opened while the disk is full; trying again");
            false
        }
        OpenError::Checkpoint(failure) => end_process(&failure),
        error => fatal(FatalReason::DamagedData(error.to_string())),
    }
}

fn end_process(failure: &Failure) -> ! {
    fatal(FatalReason::IoFailure(failure.to_string()))
}
