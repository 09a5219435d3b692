//! One seed of a cluster from its first start until it has healed, and many of them.

use super::broker::Life;
use super::controller::Outgoing;
use super::faults::TURNS_MAX;
use super::message::Node;
use super::world::Cluster;
use crate::coverage::Coverage;
use crate::demand;
use crate::oracle::Violation;
use crate::run::panic_message;
use crate::sweep::{Range, note_seed, sweep};
use sluice_model::{PartitionIndex, TopicPartition};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// All brokers have registered and are let in within this time.
const START_US: u64 = 30_000_000;
/// With all faults gone, clients go on for so long.
const CALM_US: u64 = 500_000;
/// And everything has healed within this time.
const HEAL_US: u64 = 60_000_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterOutcome {
    pub trace_hash: u64,
    pub events: u64,
    pub acknowledged: u64,
    /// Virtual time, microseconds.
    pub length_us: u64,
    pub coverage: Coverage,
    pub violation: Option<String>,
}

/// Runs one seed. A panic of the code under test is a violation like any other.
#[must_use]
pub fn run_cluster(seed: u64, is_printed: bool) -> ClusterOutcome {
    note_seed(seed);
    let mut cluster = Cluster::new(seed, is_printed);
    let result = catch_unwind(AssertUnwindSafe(|| cluster.live()));
    let violation = match result {
        Ok(Ok(())) => None,
        Ok(Err(Violation(message))) => Some(message),
        Err(panic) => Some(format!("panic: {}", panic_message(&*panic))),
    };
    ClusterOutcome {
        trace_hash: cluster.trace.hash(),
        events: cluster.trace.events(),
        acknowledged: cluster.acknowledged,
        length_us: cluster.now_us,
        coverage: cluster.coverage.clone(),
        violation,
    }
}

impl Cluster {
    fn live(&mut self) -> Result<(), Violation> {
        let are_active = |cluster: &Self| {
            cluster.controller.image().brokers().filter(|(_, b)| b.state == sluice_metadata::BrokerState::Active).count()
        };
        let count = self.brokers.len();
        let started = self.run_until(START_US, |cluster| are_active(cluster) == count)?;
        demand!(started, "the brokers are not let in: {:?}", self.controller.image());
        self.create_topics()?;
        let begun_us = self.now_us;
        self.next_fault_us = begun_us + self.plan.fault_every_us;
        self.run_until(begun_us + self.plan.length_us, |_| false)?;
        self.heal()
    }

    fn create_topics(&mut self) -> Result<(), Violation> {
        for (number, partitions) in (1..).zip(self.plan.topics.clone()) {
            let settings = vec![("min_insync_replicas".to_owned(), "2".to_owned())];
            let topic_id = self.controller.create_topic(number, partitions, settings)?;
            let ids = (0..partitions).map(|partition| TopicPartition { topic_id, partition: PartitionIndex(partition) });
            self.ids.extend(ids);
        }
        let mut out = Outgoing::new();
        self.controller.tell_all(&mut out);
        self.send_all(Node::Controller, out);
        for &id in &self.ids {
            self.clients.add_consumer(id, &self.controller.view);
        }
        Ok(())
    }

    /// All faults stop. Every partition is led, everybody is in sync, every batch is answered and read, and all logs are equal.
    fn heal(&mut self) -> Result<(), Violation> {
        self.trace.note(format_args!("{} us: all faults stop", self.now_us));
        self.next_fault_us = u64::MAX;
        self.network.calm();
        self.quick_again_us.clear();
        for broker in self.brokers.values_mut() {
            broker.disk.clear_faults();
            broker.disk.set_turns_max(TURNS_MAX);
            broker.rate_ppm = 1_000_000;
            broker.frozen_until_us = 0;
            if let Life::Down { until_us } = &mut broker.life {
                *until_us = (*until_us).min(self.now_us);
            }
        }
        let calm_us = self.now_us + CALM_US;
        self.run_until(calm_us, |_| false)?;
        self.clients.have_stopped = true;
        let healed = self.run_until(calm_us + HEAL_US, |cluster| cluster.sickness().is_none())?;
        let sickness = self.sickness();
        demand!(healed, "everything heals: {}", sickness.unwrap_or_default());
        self.coverage.hit("healed");
        self.audit_logs()
    }

    /// What has not healed yet.
    fn sickness(&self) -> Option<String> {
        for (id, broker) in &self.brokers {
            if broker.life != Life::Up || !broker.has_lease {
                return Some(format!("broker {id} is {:?}, lease: {}", broker.life, broker.has_lease));
            }
        }
        if self.clients.unresolved() > 0 {
            return Some(format!("{} batches are not answered", self.clients.unresolved()));
        }
        for (id, partition) in self.controller.image().partitions() {
            if partition.leader.is_none() || partition.isr.len() < partition.replicas.len() {
                return Some(format!("{id} is {partition:?}; {}", self.ends(id)));
            }
            let end = self.truth.partitions.get(&id).map_or(0, |truth| truth.end);
            let is_whole = |replica: &sluice_metadata::Replica| {
                let status = self.status(replica.broker, id);
                status.is_some_and(|status| status.log_end_offset.0 == end && status.high_watermark.0 == end)
            };
            if !partition.replicas.iter().all(is_whole) {
                return Some(format!("{id}: committed are {end}; {}", self.ends(id)));
            }
            let cursor = self.clients.consumers.get(&id).map_or(end, |consumer| consumer.cursor);
            if cursor != end {
                return Some(format!("{id}: a consumer stands at {cursor}, committed are {end}"));
            }
        }
        None
    }

    fn ends(&self, id: TopicPartition) -> String {
        let shown = self.brokers.keys().filter_map(|broker| {
            let status = self.status(*broker, id)?;
            Some(format!(
                "{broker} has {}..{} committed {} epoch {} led {} by {:?}",
                status.log_start_offset,
                status.log_end_offset,
                status.high_watermark,
                status.leader_epoch,
                status.is_leader,
                status.leader
            ))
        });
        shown.collect::<Vec<_>>().join("; ")
    }

    /// On every device is exactly what was committed.
    fn audit_logs(&mut self) -> Result<(), Violation> {
        for broker in self.brokers.values() {
            for &shard in broker.shards.keys() {
                for (id, log) in super::audit::durable_logs(broker, shard, &self.plan, &self.truth)? {
                    let empty = super::truth::PartitionTruth::default();
                    let truth = self.truth.partitions.get(&id).unwrap_or(&empty);
                    let expected: Vec<_> =
                        truth.frames.iter().map(|(base, known)| (*base, known.batch, known.header_crc)).collect();
                    let differs = log.iter().zip(&expected).position(|(a, b)| a != b).unwrap_or(log.len().min(expected.len()));
                    demand!(
                        log == expected,
                        "all logs are equal: {id}: broker {} has {} frames, committed are {}, they part at frame {differs}",
                        broker.id,
                        log.len(),
                        expected.len()
                    );
                }
            }
        }
        Ok(())
    }
}

/// What many seeds came to.
#[derive(Debug, Default)]
pub struct ClusterSummary {
    pub seeds: u64,
    pub events: u64,
    pub acknowledged: u64,
    pub length_us: u64,
    pub coverage: Coverage,
    /// Every seed that failed among those that ran, the lowest first.
    pub failures: Vec<(u64, String)>,
}

/// Runs seeds on several threads, until one fails or all of them. `on_seed` hears of each.
pub fn run_clusters(range: Range, on_seed: &(dyn Fn(u64, &ClusterOutcome) + Sync)) -> ClusterSummary {
    let mut summary = ClusterSummary::default();
    sweep(
        range,
        |seed| run_cluster(seed, false),
        |seed, outcome| {
            on_seed(seed, &outcome);
            summary.seeds += 1;
            summary.events += outcome.events;
            summary.acknowledged += outcome.acknowledged;
            summary.length_us += outcome.length_us;
            summary.coverage.add(&outcome.coverage);
            let fails = outcome.violation.is_some();
            summary.failures.extend(outcome.violation.map(|message| (seed, message)));
            fails
        },
    );
    summary.failures.sort();
    summary
}
