//! The invariants of a step: one broker is looked at after every event of it.

use super::message::Produce;
use super::truth::Seen;
use super::world::Cluster;
use crate::demand;
use crate::oracle::Violation;
use sluice_model::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use sluice_partition::{CaughtUp, FetchedFrames, PartitionStatus};
use sluice_storage::testing::executor::block_on;
use std::collections::BTreeSet;

const READ_LEN: usize = 1 << 20;
/// No message is under way for longer.
const LATE_WORDS_US: u64 = 3_000_000;
/// Replicas that have flushed what is acknowledged, at least: `min_insync_replicas` of every topic of a run.
const MIN_INSYNC: usize = 2;

impl Cluster {
    /// What a broker's replicas have come to: what is committed by now, and who leads.
    pub(super) fn look_at(&mut self, id: BrokerId) -> Result<(), Violation> {
        let broker = &self.brokers[&id];
        let incarnation = broker.incarnation;
        let mut statuses = Vec::new();
        for shard in broker.shards.values() {
            let ids = shard.partitions.ids();
            statuses.extend(
                ids.into_iter().filter_map(|partition| Some((partition, shard.index, shard.partitions.status(partition)?))),
            );
        }
        for (partition, index, status) in statuses {
            let PartitionStatus { is_leader, leader_epoch, high_watermark, log_end_offset, .. } = status;
            let high_watermark = high_watermark.0;
            while is_leader && self.truth.partition(partition).end < high_watermark {
                let at = self.truth.partition(partition).end;
                let partitions = &self.brokers[&id].shards[&index].partitions;
                let bytes = match partitions.fetch(partition, Offset(at), READ_LEN).map(|fetched| fetched.frames) {
                    Ok(FetchedFrames::Memory(slices)) => slices.concat(),
                    Ok(FetchedFrames::Disk(_)) => {
                        let read = super::leading::consumer_read(partition, at, READ_LEN);
                        match block_on(partitions.catch_up(read)) {
                            CaughtUp::Frames { slices, .. } => slices.concat(),
                            // The device is to fail: what is committed is read later.
                            _ if self.brokers[&id].may_fail => break,
                            other => {
                                return Err(Violation(format!(
                                    "{partition}: {at} is committed on {id}, and not read: {other:?}"
                                )));
                            }
                        }
                    }
                    Ok(FetchedFrames::Empty) => Vec::new(),
                    Err(refusal) => {
                        return Err(Violation(format!("{partition}: {at} is committed on {id}, and not served: {refusal}")));
                    }
                };
                demand!(!bytes.is_empty(), "{partition}: {at} is committed on {id} below {high_watermark}, and nothing is there");
                self.truth.on_committed(partition, &bytes, high_watermark)?;
            }
            let current = self.controller.image().partition(partition).map(|known| (known.leader_epoch, known.leader));
            let log_end = log_end_offset.0;
            let seen = Seen { broker: id, incarnation, is_leader, leader_epoch, high_watermark, log_end };
            self.truth.partition(partition).on_seen(partition, seen, current.unwrap_or((LeaderEpoch(0), None)))?;
        }
        Ok(())
    }

    /// A produce is answered as written everywhere. It is: on every in-sync replica, and on the leader that has taken over.
    pub(super) fn on_acknowledged(
        &mut self,
        leader: BrokerId,
        id: TopicPartition,
        produce: &Produce,
        base: Option<u64>,
    ) -> Result<(), Violation> {
        let (batch, _) = self.truth.batch_of(id, &produce.frame)?;
        let Some(end) = self.truth.partition(id).on_acknowledged(id, batch, base)? else { return Ok(()) };
        self.acknowledged += 1;
        self.coverage.hit("acknowledged");
        let Some(decided) = self.controller.image().partition(id).cloned() else { return Ok(()) };
        let own_epoch = self.status(leader, id).map(|status| status.leader_epoch);
        let is_current = own_epoch == Some(decided.leader_epoch);
        self.coverage.hit_if(!is_current, "acknowledged by a leader that another has followed");
        let who: BTreeSet<BrokerId> =
            if is_current { decided.isr.iter().copied().collect() } else { decided.leader.into_iter().collect() };
        for &member in &who {
            // A replica that recovers, or has not yet heard what it is, is looked at by the audit.
            let Some(status) = self.status(member, id) else { continue };
            let log_end = status.log_end_offset.0;
            demand!(
                log_end >= end,
                "acknowledged is on every in-sync replica: {id}: {leader} has answered {end} in {own_epoch:?}, {member} ends at {log_end}: {decided:?}"
            );
        }
        if self.random.below(self.plan.audit_one_in) == 0 {
            self.audit_acknowledged(id, batch, if is_current { who } else { BTreeSet::new() })?;
        }
        Ok(())
    }

    /// If the power went everywhere now, at least so many replicas would have it, these among them.
    fn audit_acknowledged(
        &mut self,
        id: TopicPartition,
        batch: crate::oracle::batches::BatchId,
        members: BTreeSet<BrokerId>,
    ) -> Result<(), Violation> {
        self.coverage.hit("acknowledged: looked for on the devices");
        let mut holders = BTreeSet::new();
        for broker in self.brokers.values() {
            if self.has_just_lost(broker.id) {
                // It had flushed it, and nobody knew yet that this is gone.
                holders.insert(broker.id);
                continue;
            }
            let Some(shard) = broker.shard_of(id) else { continue };
            let logs = super::audit::durable_logs(broker, shard, &self.plan, &self.truth)?;
            if logs.get(&id).is_some_and(|log| log.iter().any(|(_, held, _)| *held == batch)) {
                holders.insert(broker.id);
            }
        }
        demand!(
            holders.is_superset(&members) && holders.len() >= MIN_INSYNC,
            "acknowledged is flushed on every in-sync replica: {id}: batch {} is on {holders:?}, in sync are {members:?}",
            batch.0
        );
        Ok(())
    }

    /// Words of its process before the loss of its folder may still be under way.
    fn has_just_lost(&self, broker: BrokerId) -> bool {
        self.fresh_folder.is_some_and(|(lost, at_us)| lost == broker && self.now_us < at_us + LATE_WORDS_US)
    }

    #[must_use]
    pub fn status(&self, broker: BrokerId, id: TopicPartition) -> Option<PartitionStatus> {
        self.brokers.get(&broker)?.shards.values().find_map(|shard| shard.partitions.status(id))
    }
}
