//! One broker: a device, clocks of its own, the tasks of its process, its lease, and what it knows of the metadata.
//!
//! Every broker holds the metadata log, so what it knows survives its process. The expensive mistake is a process that goes
//! on after its end: tasks, sessions and leases go with it, the device and the image stay.

use super::controller::{Outgoing, View};
use super::message::{Message, Node};
use super::plan::ClusterPlan;
use super::shard::{Context, Fact, Shard, Tasks};
use crate::clock::SimClock;
use sluice_metadata::{FolderId, RepairReplicas, ReportRecovery};
use sluice_model::{BrokerId, Clock, Incarnation, Offset, ShardIndex, TopicPartition};
use sluice_partition::{PartitionAssignment, PartitionSettings};
use sluice_replica::PartitionState;
use sluice_storage::layout::Layout;
use sluice_storage::testing::fault_disk::FaultDisk;
use sluice_storage::testing::random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

const HEARTBEAT_US: u64 = 300_000;
/// From the sending of the heartbeat that was answered.
const LEASE_US: u64 = 1_000_000;
/// Things that wait are looked at this often.
const LOOK_US: u64 = 10_000;
const REPAIR_US: u64 = 200_000;

/// How far a process has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Without power, or not started, until then by true time.
    Down {
        until_us: u64,
    },
    /// It asks the controller to be registered.
    Registering,
    /// Its shards recover.
    Opening,
    Up,
    /// It gives away what it leads, and closes its shards.
    ShuttingDown,
}

pub struct Broker {
    pub id: BrokerId,
    pub disk: FaultDisk,
    pub clock: SimClock,
    /// How quick its clock is, parts in a million.
    pub rate_ppm: u64,
    rate_rest: u64,
    pub tasks: Tasks,
    pub life: Life,
    pub incarnation: Incarnation,
    pub folder: FolderId,
    /// The folder that this one takes the place of.
    pub replaces: Option<FolderId>,
    pub shard_count: u16,
    pub view: Option<Rc<View>>,
    pub shards: BTreeMap<ShardIndex, Shard>,
    /// Shards that have opened or closed in this step of its life.
    pub ready_count: usize,
    pub has_lease: bool,
    lease_until_us: u64,
    report: Option<Rc<ReportRecovery>>,
    is_reported: bool,
    pub next_look_us: u64,
    next_heartbeat_us: u64,
    next_repair_us: u64,
    creating: BTreeSet<TopicPartition>,
    /// Held still until then, by true time.
    pub frozen_until_us: u64,
    /// A device call was armed to fail.
    pub may_fail: bool,
}

/// What a broker's rules are given from outside in one event.
pub struct Surroundings<'a> {
    pub plan: &'a ClusterPlan,
    pub out: &'a mut Outgoing,
    pub facts: &'a mut Vec<Fact>,
}

impl Broker {
    #[must_use]
    pub fn new(id: BrokerId, seed: u64, shard_count: u16) -> Self {
        Self {
            id,
            disk: FaultDisk::new(seed),
            clock: SimClock::default(),
            rate_ppm: 1_000_000,
            rate_rest: 0,
            tasks: Tasks::new(seed),
            life: Life::Down { until_us: 0 },
            incarnation: Incarnation { number: 0, random: 0 },
            folder: FolderId([u8::try_from(id.0).expect("few brokers"); 16]),
            replaces: None,
            shard_count,
            view: None,
            shards: BTreeMap::new(),
            ready_count: 0,
            has_lease: false,
            lease_until_us: 0,
            report: None,
            is_reported: false,
            next_look_us: 0,
            next_heartbeat_us: 0,
            next_repair_us: 0,
            creating: BTreeSet::new(),
            frozen_until_us: 0,
            may_fail: false,
        }
    }

    #[must_use]
    pub fn layout() -> Layout {
        Layout::new(Path::new("/data"))
    }

    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.clock.now().mono_us
    }

    #[must_use]
    pub fn is_running(&self) -> bool {
        !matches!(self.life, Life::Down { .. })
    }

    /// So much true time has passed.
    pub fn pass_us(&mut self, us: u64) {
        let scaled = us * self.rate_ppm + self.rate_rest;
        self.rate_rest = scaled % 1_000_000;
        self.clock.advance_us(scaled / 1_000_000);
    }

    /// After how much true time something is due here.
    #[must_use]
    pub fn due_in_us(&self) -> u64 {
        let shards = self.shards.values().map(Shard::next_us).min().unwrap_or(u64::MAX);
        let local = self.next_look_us.min(shards).saturating_sub(self.now_us());
        local.saturating_mul(1_000_000) / self.rate_ppm + 1
    }

    /// A new process begins.
    pub fn begin_process(&mut self, random: &mut Random) {
        self.clock.restart();
        let number = self.incarnation.number + 1;
        self.incarnation = Incarnation { number, random: random.next_u64() };
        self.life = Life::Registering;
        self.next_look_us = 0;
        self.next_heartbeat_us = 0;
        self.next_repair_us = 0;
    }

    /// Everything in memory is gone.
    pub fn end_process(&mut self, until_us: u64, seed: u64) {
        self.tasks = Tasks::new(seed);
        self.shards.clear();
        self.life = Life::Down { until_us };
        self.has_lease = false;
        self.report = None;
        self.is_reported = false;
        self.ready_count = 0;
        self.creating.clear();
        self.frozen_until_us = 0;
    }

    /// Runs `event` on a shard with what it needs; nothing when the shard is not there.
    pub fn with_shard(
        &mut self,
        index: ShardIndex,
        around: &mut Surroundings<'_>,
        event: impl FnOnce(&mut Shard, &mut Context<'_>),
    ) {
        let (Some(shard), Some(view)) = (self.shards.get_mut(&index), &self.view) else { return };
        let mut context = Context {
            broker: self.id,
            incarnation: self.incarnation,
            now: self.clock.now(),
            view,
            tasks: &mut self.tasks,
            out: around.out,
            facts: around.facts,
            answer_len_max: around.plan.answer_len_max,
        };
        event(shard, &mut context);
    }

    pub fn pump_woken(&mut self, around: &mut Surroundings<'_>) {
        let woken: Vec<_> = self.shards.values().filter(|shard| shard.woken.get()).map(|shard| shard.index).collect();
        for index in woken {
            self.with_shard(index, around, Shard::pump);
        }
    }

    /// Whatever is due by its clock.
    pub fn tick(&mut self, around: &mut Surroundings<'_>) {
        let now_us = self.now_us();
        self.end_lease(now_us);
        if now_us >= self.next_heartbeat_us {
            self.next_heartbeat_us = now_us + HEARTBEAT_US;
            self.speak_to_controller(now_us, around);
        }
        if now_us >= self.next_repair_us && self.life == Life::Up {
            self.next_repair_us = now_us + REPAIR_US;
            self.repair(around);
        }
        self.next_look_us = now_us + LOOK_US;
        for index in self.shards.keys().copied().collect::<Vec<_>>() {
            self.with_shard(index, around, Shard::tick);
        }
    }

    fn end_lease(&mut self, now_us: u64) {
        if self.has_lease && now_us >= self.lease_until_us {
            self.has_lease = false;
            self.shards.values().for_each(|shard| shard.partitions.on_lease_lost());
        }
    }

    fn speak_to_controller(&mut self, now_us: u64, around: &mut Surroundings<'_>) {
        let (broker, incarnation) = (self.id, self.incarnation);
        let message = match self.life {
            Life::Registering => Message::Register(self.registration()),
            Life::Up | Life::ShuttingDown => {
                if let Some(report) = self.report.as_ref().filter(|_| !self.is_reported) {
                    around.out.push((Node::Controller, Message::Report(Rc::clone(report))));
                }
                let version = self.view.as_ref().map_or(0, |view| view.version);
                Message::Heartbeat { broker, incarnation, sent_us: now_us, version }
            }
            Life::Opening | Life::Down { .. } => return,
        };
        around.out.push((Node::Controller, message));
    }

    /// The controller has answered a heartbeat of this process, sent then.
    pub fn on_heartbeat_answer(&mut self, sent_us: u64, has_lease: bool, is_reported: bool) {
        self.is_reported |= is_reported;
        let until_us = sent_us + LEASE_US;
        if !has_lease || until_us <= self.now_us() || until_us <= self.lease_until_us && self.has_lease {
            return;
        }
        self.lease_until_us = until_us;
        if !self.has_lease {
            self.has_lease = true;
            self.shards.values().for_each(|shard| shard.partitions.on_lease_regained());
        }
    }

    /// An image has come, perhaps an earlier one than is known.
    pub fn on_image(&mut self, view: &Rc<View>, around: &mut Surroundings<'_>) {
        if self.view.as_ref().is_none_or(|known| known.version < view.version) {
            self.view = Some(Rc::clone(view));
        }
        if matches!(self.life, Life::Up | Life::ShuttingDown) {
            self.give_states(view);
            self.create_missing(around);
        }
    }

    fn give_states(&mut self, view: &View) {
        for (id, partition) in view.image.partitions() {
            let Some(placement) = partition.placement(self.id) else { continue };
            let Some(shard) = self.shards.get(&placement.shard) else { continue };
            // Whatever is refused is old news, or not about this process.
            let _refused = shard.partitions.on_partition_state(id, replica_state(view, partition));
        }
        for (broker, known) in view.image.brokers() {
            self.shards.values().for_each(|shard| shard.partitions.on_broker_registered(broker, known.incarnation));
        }
    }

    /// After an opening or a creation: what was decided meanwhile.
    pub fn give_known_states(&mut self) {
        if let Some(view) = self.view.clone() {
            self.give_states(&view);
        }
    }

    fn create_missing(&mut self, around: &mut Surroundings<'_>) {
        let Some(view) = self.view.clone() else { return };
        for (index, assignment) in self.assignments(&view, around.plan) {
            let Some(shard) = self.shards.get(&index) else { continue };
            if !shard.partitions.contains(assignment.id) && self.creating.insert(assignment.id) {
                let partitions = shard.partitions.clone();
                self.tasks.spawn(async move { super::shard::Done::Created(index, partitions.create(vec![assignment]).await) });
            }
        }
    }

    /// What is placed on this broker's shards. Nobody has said yet in which role.
    #[must_use]
    pub fn assignments(&self, view: &View, plan: &ClusterPlan) -> Vec<(ShardIndex, PartitionAssignment)> {
        let settings = |id: TopicPartition| {
            let min_insync_replicas = view.image.topic(id.topic_id).map_or(2, |topic| topic.settings.min_insync_replicas());
            PartitionSettings {
                segment_len: plan.segment_len,
                retention_bytes: None,
                retention_ms: None,
                frame_len_max: usize::try_from(plan.body_len_max).expect("small") + 200,
                min_insync_replicas,
            }
        };
        let own = |(id, partition): (TopicPartition, &sluice_metadata::PartitionState)| {
            let placement = partition.placement(self.id)?;
            let placement_epoch = placement.placement_epoch;
            Some((placement.shard, PartitionAssignment { id, placement_epoch, state: None, settings: settings(id) }))
        };
        view.image.partitions().filter_map(own).collect()
    }

    /// Recovery is over: this is what it found.
    pub fn set_report(&mut self, report: ReportRecovery) {
        self.report = Some(Rc::new(report));
        self.next_heartbeat_us = 0;
        self.next_look_us = 0;
    }

    /// What is marked as damaged here and has nothing but what its leader has is said to be whole again.
    fn repair(&mut self, around: &mut Surroundings<'_>) {
        let Some(view) = &self.view else { return };
        let mut replicas = Vec::new();
        for (id, partition) in view.image.partitions().filter(|(_, partition)| partition.damaged.contains(&self.id)) {
            let shard = partition.placement(self.id).and_then(|placement| self.shards.get(&placement.shard));
            let epoch = shard.and_then(|shard| shard.followed_epoch(id));
            replicas.extend(epoch.filter(|epoch| *epoch == partition.leader_epoch).map(|epoch| (id, epoch)));
        }
        if !replicas.is_empty() {
            let request = RepairReplicas { broker: self.id, incarnation: self.incarnation, replicas };
            around.out.push((Node::Controller, Message::Repair(request)));
        }
    }

    /// How far each replica goes, for the trace.
    #[must_use]
    pub fn ends(&self) -> Vec<(TopicPartition, bool, Offset, Offset)> {
        let statuses = self
            .shards
            .values()
            .flat_map(|shard| shard.partitions.ids().into_iter().filter_map(|id| Some((id, shard.partitions.status(id)?))));
        statuses.map(|(id, status)| (id, status.is_leader, status.high_watermark, status.log_end_offset)).collect()
    }
}

/// A decision of the controller as a replica takes it.
#[must_use]
pub fn replica_state(view: &View, partition: &sluice_metadata::PartitionState) -> PartitionState {
    let registered = |broker: BrokerId| view.image.broker(broker).map(|known| (broker, known.incarnation));
    PartitionState {
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        leader: partition.leader,
        isr: partition.isr.iter().copied().collect(),
        replicas: partition.replicas.iter().filter_map(|replica| registered(replica.broker)).collect(),
    }
}
