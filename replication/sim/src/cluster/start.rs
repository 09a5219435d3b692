//! How a broker starts: it registers, its shards recover, it says what they found, and it is let in.

use super::broker::{Broker, Life};
use super::controller::View;
use super::plan::ClusterPlan;
use super::shard::{Done, Shard};
use crate::oracle::Violation;
use sluice_metadata::{Address, HeldPartitions, Recovered, RegisterBroker, ReplicaEnd, ReportRecovery, Start};
use sluice_model::{Clock, LeaderEpoch, ShardIndex};
use sluice_partition::pace::Unpaced;
use sluice_partition::{OpenError, OpenShard, Partitions, PartitionsConfig, RecoveredReplica};
use sluice_replica::LogState;
use sluice_storage::journal::JournalConfig;
use sluice_storage::recovery_report::RecoveryReport;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

impl Broker {
    pub(super) fn registration(&self) -> RegisterBroker {
        let addresses = (0..self.shard_count).map(|shard| Address { host: "broker".into(), port: 7_000 + shard });
        RegisterBroker {
            broker: self.id,
            incarnation: self.incarnation,
            folder_id: self.folder,
            addresses: addresses.collect(),
            held: HeldPartitions::default(),
            start: Start::InCluster { rack: None, replaces_folder: self.replaces },
        }
    }

    /// The controller has registered this process: its shards open with what is placed on them.
    pub fn on_registered(&mut self, view: &Rc<View>, plan: &ClusterPlan) {
        if self.life != Life::Registering {
            return;
        }
        self.life = Life::Opening;
        if self.view.as_ref().is_none_or(|known| known.version < view.version) {
            self.view = Some(Rc::clone(view));
        }
        let assigned = self.assignments(view, plan);
        for index in (0..self.shard_count).map(ShardIndex) {
            let open = OpenShard {
                config: config(plan, self.id, index),
                incarnation: self.incarnation,
                assigned: assigned.iter().filter(|(shard, _)| *shard == index).map(|(_, own)| own.clone()).collect(),
                imports: Vec::new(),
                owners: BTreeMap::new(),
                handed_over: Vec::new(),
                deleted: BTreeSet::new(),
                pacer: Rc::new(Unpaced),
            };
            let (disk, clock) = (self.disk.clone(), self.clock.clone());
            self.tasks.spawn(async move { Done::Opened(index, Partitions::open(disk, clock, open).await) });
        }
    }

    /// A shard has recovered. An error is one only where no device call was to fail.
    pub fn on_opened(
        &mut self,
        index: ShardIndex,
        opened: Result<(super::shard::SimPartitions, RecoveryReport), OpenError>,
    ) -> Result<Opened, Violation> {
        let (partitions, report) = match opened {
            Ok(opened) => opened,
            Err(_) if self.may_fail => return Ok(Opened::Failed),
            Err(error) => return Err(Violation(format!("broker {}: shard {index} does not open: {error}", self.id))),
        };
        // Until a heartbeat is answered there is no lease.
        partitions.on_lease_lost();
        for run in [Loop::Commit, Loop::WriteBack, Loop::Scrub] {
            let partitions = partitions.clone();
            self.tasks.spawn(async move {
                Done::Failed(match run {
                    Loop::Commit => partitions.run_commit().await,
                    Loop::WriteBack => partitions.run_write_back().await,
                    Loop::Scrub => partitions.run_scrub().await,
                })
            });
        }
        self.shards.insert(index, Shard::new(index, partitions));
        if self.shards.len() < usize::from(self.shard_count) {
            return Ok(Opened::Waits(report));
        }
        self.life = Life::Up;
        let recovered = self.shards.values().flat_map(|shard| shard.partitions.recovered_replicas());
        let replicas = recovered.map(|(id, found)| (id, recovered_of(found))).collect();
        self.set_report(ReportRecovery { broker: self.id, incarnation: self.incarnation, replicas, complete: true });
        self.give_known_states();
        Ok(Opened::All(report))
    }
}

/// What came of an opening.
pub enum Opened {
    Waits(RecoveryReport),
    All(RecoveryReport),
    /// The device has failed: the process ends.
    Failed,
}

enum Loop {
    Commit,
    WriteBack,
    Scrub,
}

fn recovered_of(found: RecoveredReplica) -> Recovered {
    let end = ReplicaEnd { leader_epoch: found.leader_epoch, end_offset: found.end_offset };
    match (found.log_state, found.cut_torn_group) {
        _ if found.has_accepted_loss => Recovered::Damaged,
        (LogState::Whole, false) => Recovered::Whole { end },
        (LogState::Whole, true) => Recovered::CutTornGroup { end },
        _ => Recovered::Damaged,
    }
}

#[must_use]
pub fn config(plan: &ClusterPlan, broker: sluice_model::BrokerId, shard: ShardIndex) -> PartitionsConfig {
    let layout = Broker::layout();
    let journal = JournalConfig {
        dir: layout.shard_journal_dir(shard),
        file_len: plan.journal_file_len,
        file_count: 3,
        group_len_target: 16 * 1024,
    };
    PartitionsConfig {
        layout,
        shard,
        broker,
        journal,
        tail_budget: plan.tail_budget,
        journal_buffer_budget: 64 * 1024,
        produce_delay_ms_max: 1_000,
        write_back_interval_ms: plan.write_back_interval_ms,
        checkpoint_interval_ms: plan.checkpoint_interval_ms,
        scrub_interval_ms: 600_000,
        isr_times: plan.isr_times,
    }
}

/// A greater leader epoch than any of a run, for whoever reads a log that nobody leads.
pub const READER_EPOCH: LeaderEpoch = LeaderEpoch(1 << 30);

/// The time of a copy of a device.
#[must_use]
pub fn clock_of(broker: &Broker) -> crate::clock::SimClock {
    let clock = crate::clock::SimClock::default();
    clock.jump_ms(broker.clock.now().wall_ms - clock.now().wall_ms);
    clock
}
