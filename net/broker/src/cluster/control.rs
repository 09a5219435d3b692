//! The control thread of a broker in a cluster: between its shards, its controller and its lease.
//!
//! Questions of clients become commands, which the cluster's controller decides, wherever it is; several may be under way.
//! Whoever asked is answered once this broker's shards act on what was decided; other brokers come to know of it by
//! themselves, a little later, and answer until then that they do not know it, which clients try again. The expensive
//! mistake is to lead without a lease: what the membership says of it is written down for the shards before anything else.

use super::ClusterNode;
use super::isr_changes::IsrChanges;
use super::questions::{self, Asked};
use super::shard_links::{After, ShardLinks};
use super::standing_loop::keep_standing;
use crate::control_message::{Answer, Question, ToControl, ToShard};
use crate::error_table::WireError;
use crate::lease::Lease;
use crate::orphans::orphan_in_the_way;
use crate::standing::Standing;
use async_channel::{Receiver, Sender};
use sluice_controller::{AppliedImage, Command, CommandError, ControllerNode, LeaseState, Membership, Submitted};
use sluice_metadata::{RepairReplicas, ReserveProducerIds};
use sluice_model::limits::PARTITIONS_PER_COMMAND_MAX;
use sluice_model::{BrokerId, Incarnation, LeaderEpoch, ProducerId, ShardIndex, TopicPartition};
use sluice_shard::{FatalReason, SystemClock, fatal};
use sluice_storage::layout::Layout;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

/// Until others lead what this broker led, at a clean stop.
const HAND_OVER_WAIT: Duration = Duration::from_secs(10);
/// A command of the broker itself that was not decided is tried again after this.
const RETRY: Duration = Duration::from_millis(500);

/// What it is made of.
pub(crate) struct ControlParts {
    pub(crate) broker: BrokerId,
    pub(crate) incarnation: Incarnation,
    pub(crate) layout: Layout,
    /// Shard 0 first.
    pub(crate) shards: Vec<Sender<ToShard>>,
    pub(crate) mailbox: Receiver<ToControl>,
    /// What the shards were started with.
    pub(crate) image: AppliedImage,
    pub(crate) lease: Lease,
    pub(crate) standing: Standing,
}

pub(crate) struct ClusterControl {
    node: ControllerNode,
    parts: ControlParts,
}

impl ClusterControl {
    pub(crate) fn new(node: &ClusterNode, parts: ControlParts) -> Self {
        Self { node: node.node.clone(), parts }
    }

    /// Until it is told to stop, or nobody is left to talk to.
    pub(crate) async fn run(self) {
        let Self { node, parts } = self;
        let membership = Membership::new(node.clone(), parts.incarnation);
        tokio::spawn(keep_standing(node.clone(), membership.lease(), parts.standing.clone()));
        let member = membership.clone();
        let (done, finished) = mpsc::unbounded_channel();
        let left = done.clone();
        tokio::spawn(async move {
            match member.run().await {
                Ok(()) => drop(left.send(Done::Left)),
                Err(error) => fatal(FatalReason::Metadata(error.to_string())),
            }
        });
        let links = ShardLinks::new(parts.broker, parts.shards, parts.image);
        let running = Running {
            lease_changes: membership.lease(),
            images: node.images(),
            isr: IsrChanges::new(parts.broker, parts.incarnation),
            node: node.clone(),
            membership,
            broker: parts.broker,
            incarnation: parts.incarnation,
            layout: parts.layout,
            links,
            lease: parts.lease,
            done,
            has_recovered: false,
            orphans: BTreeSet::new(),
            is_repairing: false,
            until_recovered: Vec::new(),
            leaving: Vec::new(),
            has_left: false,
        };
        running.run(&parts.mailbox, finished).await;
        node.stop().await;
    }
}

struct Running {
    node: ControllerNode,
    membership: Membership,
    broker: BrokerId,
    incarnation: Incarnation,
    layout: Layout,
    links: ShardLinks,
    lease: Lease,
    lease_changes: watch::Receiver<LeaseState>,
    images: watch::Receiver<AppliedImage>,
    isr: IsrChanges,
    done: mpsc::UnboundedSender<Done>,
    has_recovered: bool,
    /// Partitions found in the folder that the metadata does not know.
    orphans: BTreeSet<TopicPartition>,
    /// Some are being told to be good again.
    is_repairing: bool,
    /// Questions whose answer depends on that: producer ids that no partition knows, new partitions of old topics.
    until_recovered: Vec<(ShardIndex, u64, Question)>,
    /// Who waits until the broker has left the cluster.
    leaving: Vec<Sender<()>>,
    has_left: bool,
}

/// What a task of the control thread has come to.
enum Done {
    Asked {
        shard: ShardIndex,
        token: u64,
        asked: Asked,
        result: Result<Submitted, CommandError>,
    },
    IsrChanged(Result<Submitted, CommandError>),
    /// Every shard is open, and no producer id that one of them knows will be given out again.
    Reserved,
    Repaired,
    Left,
}

impl Running {
    async fn run(mut self, mailbox: &Receiver<ToControl>, mut finished: mpsc::UnboundedReceiver<Done>) {
        // What was decided while partitions moved between shards has been told to nobody.
        self.images.mark_changed();
        loop {
            tokio::select! {
                biased;
                // It lasts as long as `membership`.
                Ok(()) = self.lease_changes.changed() => self.on_lease(),
                Some(done) = finished.recv() => self.on_done(done),
                message = mailbox.recv() => match message {
                    Ok(ToControl::Stop) | Err(_) => return,
                    Ok(message) => self.on_message(message),
                },
                changed = self.images.changed() => {
                    if changed.is_err() { return }
                    let image = self.images.borrow_and_update().clone();
                    self.links.on_image(image);
                }
            }
        }
    }

    fn on_lease(&mut self) {
        let now_us = SystemClock.mono_us();
        let was_held = self.lease.is_held(now_us);
        let until_us = match *self.lease_changes.borrow_and_update() {
            LeaseState::Lost => 0,
            LeaseState::Held { until } => {
                let left = until.saturating_duration_since(Instant::now());
                now_us.saturating_add(u64::try_from(left.as_micros()).unwrap_or(0))
            }
        };
        self.lease.set_until_us(until_us);
        if was_held != self.lease.is_held(now_us) {
            self.links.tell_all(|| ToShard::Lease);
        }
    }

    fn on_message(&mut self, message: ToControl) {
        match message {
            ToControl::Question { shard, token, question } => self.ask(shard, token, question),
            ToControl::Applied { shard, version } => self.links.on_applied(shard, version),
            ToControl::IsrProposals { shard, proposals } => {
                self.isr.push(shard, proposals);
                self.change_isr();
            }
            ToControl::Recovered { producer_id_max, orphans, replicas, survey: _ } => {
                self.orphans = orphans;
                self.reserve_producer_ids(producer_id_max, replicas);
            }
            ToControl::Repaired { replicas } => self.repair(replicas),
            ToControl::Leave { left } => {
                self.leaving.push(left);
                self.membership.begin_shutdown(HAND_OVER_WAIT);
                self.tell_left();
            }
            ToControl::Stop => {}
        }
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Asked { shard, token, asked, result } => match result {
                Ok(submitted) => {
                    let index = submitted.index;
                    let message = ToShard::Answer { token, answer: questions::answer(asked, submitted) };
                    self.links.tell_after(After::All, index, shard, message);
                }
                Err(error) => self.refuse(shard, token, questions::refusal(&error)),
            },
            Done::IsrChanged(result) => {
                let (index, of_shards) = self.isr.on_answer(result);
                for (shard, answers) in of_shards {
                    self.links.tell_after(After::Own, index, shard, ToShard::IsrAnswers(answers));
                }
                self.change_isr();
            }
            Done::Reserved => {
                self.has_recovered = true;
                for (shard, token, question) in std::mem::take(&mut self.until_recovered) {
                    self.ask(shard, token, question);
                }
            }
            Done::Repaired => self.is_repairing = false,
            Done::Left => {
                self.has_left = true;
                self.tell_left();
            }
        }
    }

    fn tell_left(&mut self) {
        if self.has_left {
            // Dropping it tells as well as a message.
            self.leaving.clear();
        }
    }

    fn ask(&mut self, shard: ShardIndex, token: u64, question: Question) {
        let needs_recovery = matches!(question, Question::ProducerIds | Question::AlterTopic { partitions: Some(_), .. });
        if needs_recovery && !self.has_recovered {
            return self.until_recovered.push((shard, token, question));
        }
        if let Question::AlterTopic { name, partitions: Some(count), .. } = &question
            && let Some(orphan) = orphan_in_the_way(&self.links.image().image, &self.layout, &self.orphans, name, *count)
        {
            return self.refuse(shard, token, WireError::orphan_in_the_way(orphan));
        }
        let (asked, command) = match questions::command(question, self.broker, self.incarnation) {
            Ok(command) => command,
            Err(error) => return self.refuse(shard, token, error),
        };
        let (node, done) = (self.node.clone(), self.done.clone());
        tokio::spawn(async move {
            let result = node.submit(command).await;
            let _ended = done.send(Done::Asked { shard, token, asked, result });
        });
    }

    fn refuse(&self, shard: ShardIndex, token: u64, error: WireError) {
        self.links.tell(shard, ToShard::Answer { token, answer: Answer::Refused(error) });
    }

    fn change_isr(&mut self) {
        let Some(command) = self.isr.next() else { return };
        let (node, done) = (self.node.clone(), self.done.clone());
        tokio::spawn(async move {
            let result = node.submit(command).await;
            if let Err(error) = &result {
                tracing::warn!(%error, "changes of in-sync sets were not decided; they are asked for again");
            }
            let _ended = done.send(Done::IsrChanged(result));
        });
    }

    /// An id that a partition knows is never given out again, even when the metadata knows nothing of it: the broker is not
    /// let in before that is sure.
    fn reserve_producer_ids(&self, found: Option<ProducerId>, replicas: Vec<(TopicPartition, sluice_metadata::Recovered)>) {
        let (node, membership, broker, done) = (self.node.clone(), self.membership.clone(), self.broker, self.done.clone());
        tokio::spawn(async move {
            if let Some(up_to) = found.filter(|found| *found >= node.image().image.next_producer_id()) {
                tracing::info!(%up_to, "partitions know producer ids that the metadata has not given out; they are reserved");
                let command = Command::ReserveProducerIds(ReserveProducerIds { broker, up_to });
                while let Err(error) = node.submit(command.clone()).await {
                    match error {
                        CommandError::Refused(refusal) => {
                            fatal(FatalReason::Metadata(format!("producer ids up to {up_to} cannot be reserved: {refusal}")))
                        }
                        // The node has been stopped, or will end the process.
                        CommandError::Store(_) => return,
                        _ => sleep(RETRY).await,
                    }
                }
            }
            let _ended = done.send(Done::Reserved);
            membership.report(replicas);
        });
    }

    /// Replicas that were not trusted and have the leader's log again. What is not decided now the shards say again.
    fn repair(&mut self, mut replicas: Vec<(TopicPartition, LeaderEpoch)>) {
        if self.is_repairing {
            return;
        }
        self.is_repairing = true;
        replicas.truncate(PARTITIONS_PER_COMMAND_MAX);
        let (broker, incarnation) = (self.broker, self.incarnation);
        let command = Command::RepairReplicas(RepairReplicas { broker, incarnation, replicas });
        let (node, done) = (self.node.clone(), self.done.clone());
        tokio::spawn(async move {
            if let Err(error) = node.submit(command).await {
                tracing::debug!(%error, "replicas that are good again were not made known");
            }
            let _ended = done.send(Done::Repaired);
        });
    }
}
