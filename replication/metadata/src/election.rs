//! Who leads a partition after something has happened to it or to a broker: in-sync set, eligible leader replicas,
//! leader and epochs, settled together in one place. Every event that touches a partition goes through [`Settling`].
//!
//! The expensive mistake is a leader that lacks what was acknowledged. A record is acknowledged when all of the in-sync
//! set have flushed it and the set has at least `min_insync_replicas` members. So whoever leaves the set while that
//! becomes smaller holds all that will ever have been acknowledged before the set grows again, and is eligible until
//! then (KIP-966); nobody else is. A replica that has started since counts with what its broker reported:
//!
//! - the longest (epoch, offset) leads, so that as little as possible of what was not yet acknowledged is lost;
//! - one that cut a torn group off comes last, and only when all others that may be eligible are there and are no
//!   better: what rot in the last group took from it, one of them may have;
//! - the new leader epoch is above those of the records it recovered, whatever the metadata remembers.
//!
//! One settling costs a few steps per replica, and an event one look at each partition: what a dead broker with ten
//! thousand partitions costs grows with their number and with nothing else.
//!
//! Deliberately absent: the operator's election of a replica that is not eligible (`on_elect_unclean_leader`).

use crate::broker_state::BrokerState;
use crate::image::Image;
use crate::partition_state::{PartitionState, ReplicaEnd};
use crate::record::Record;
use sluice_model::{BrokerId, LeaderEpoch, PartitionEpoch, TopicPartition};
use std::cmp::Reverse;

/// The brokers as they are once the event has happened.
#[derive(Clone, Copy)]
pub(crate) struct Settling<'a> {
    image: &'a Image,
    /// The broker that the event is about, and its state from then on.
    changed: Option<(BrokerId, BrokerState)>,
    /// Whether one that cut a torn group waits for others that may hold more.
    waits: bool,
}

impl<'a> Settling<'a> {
    pub(crate) fn new(image: &'a Image) -> Self {
        Self { image, changed: None, waits: true }
    }

    pub(crate) fn with_broker(self, broker: BrokerId, state: BrokerState) -> Self {
        Self { changed: Some((broker, state)), ..self }
    }

    /// Who is not there is not waited for any longer.
    pub(crate) fn without_waiting(self) -> Self {
        Self { waits: false, ..self }
    }

    fn state(&self, broker: BrokerId) -> Option<BrokerState> {
        match self.changed {
            Some((changed, state)) if changed == broker => Some(state),
            _ => self.image.broker(broker).map(|known| known.state),
        }
    }

    /// Whether it may become a leader, and join the in-sync set.
    pub(crate) fn is_active(&self, broker: BrokerId) -> bool {
        self.state(broker) == Some(BrokerState::Active)
    }

    fn holds_lease(&self, broker: BrokerId) -> bool {
        self.state(broker).is_some_and(BrokerState::holds_lease)
    }

    /// Asks `wanted` of every partition what it should be, and gives back the records of those that change. It names
    /// what the event is about: a leader that is wished for, replicas that were lost; `None` leaves the partition out.
    pub(crate) fn records(self, wanted: impl Fn(TopicPartition, &PartitionState) -> Option<PartitionState>) -> Vec<Record> {
        let mut records = Vec::new();
        for (topic_id, topic) in self.image.topics() {
            let min_insync = topic.min_insync();
            for (partition, from) in topic.numbered_partitions() {
                let id = TopicPartition { topic_id, partition };
                let next = wanted(id, from).and_then(|wanted| self.settled(from, wanted, min_insync));
                records.extend(next.map(|next| next.record(id)));
            }
        }
        records
    }

    /// What becomes of a partition of which the event makes `next`; `None` when that is what it is already.
    pub(crate) fn settled(&self, from: &PartitionState, mut next: PartitionState, min_insync: usize) -> Option<PartitionState> {
        self.settle_isr(&mut next);
        settle_eligible(from, &mut next, min_insync);
        let stays = |b: &BrokerId| self.holds_lease(*b) && next.isr.contains(b) && !next.damaged.contains(b);
        let leader = next.leader.filter(stays).or_else(|| self.elect(&next));
        if let Some(leader) = leader.filter(|leader| !next.isr.contains(leader)) {
            next.isr = vec![leader];
            settle_eligible(from, &mut next, min_insync);
        }
        next.leader = leader;
        settle_reign(from, &mut next);
        let PartitionState { isr, eligible_leader_replicas: eligible, restarted, .. } = &mut next;
        restarted.retain(|r| eligible.contains(&r.broker) || (leader.is_none() && isr.contains(&r.broker)));
        with_next_epoch(from, next)
    }

    /// Those that are fit stay while there are any; the last one stays whatever it is, to be waited for.
    fn settle_isr(&self, next: &mut PartitionState) {
        let damaged = &next.damaged;
        let fit = |tier: &dyn Fn(BrokerId) -> bool| -> Vec<BrokerId> {
            next.isr.iter().copied().filter(|&b| tier(b) && !damaged.contains(&b)).collect()
        };
        let tiers = [fit(&|b| self.is_active(b)), fit(&|b| self.holds_lease(b)), fit(&|_| true)];
        if let Some(isr) = tiers.into_iter().find(|isr| !isr.is_empty()) {
            next.isr = isr;
        }
    }

    /// The best of those that hold all that was acknowledged.
    fn elect(&self, next: &PartitionState) -> Option<BrokerId> {
        let trusted = || {
            let all = next.replicas.iter().map(|r| r.broker);
            all.filter(|&b| next.is_trusted(b) && !next.damaged.contains(&b))
        };
        let cut = |b| next.restarted(b).is_some_and(|r| r.cut_torn_group);
        let preference = |b: &BrokerId| {
            // One that has not started since has lost nothing of what it had.
            let end = next.restarted(*b).map_or(LONGEST, |r| r.end);
            (cut(*b), Reverse(end), !next.isr.contains(b))
        };
        // Of equals the first replica: `min_by_key` takes the first one.
        let best = trusted().filter(|&b| self.is_active(b)).min_by_key(preference)?;
        let may_hold_more = |b: BrokerId| b != best && !self.is_active(b);
        if self.waits && cut(best) && trusted().any(may_hold_more) { None } else { Some(best) }
    }
}

const LONGEST: ReplicaEnd = ReplicaEnd { leader_epoch: LeaderEpoch(u32::MAX), end_offset: sluice_model::Offset(u64::MAX) };

/// While the in-sync set is too small for the high watermark to move, whoever was trusted before still is, less what
/// the event took out of `next`.
fn settle_eligible(from: &PartitionState, next: &mut PartitionState, min_insync: usize) {
    let mut eligible = Vec::new();
    if next.isr.len() < min_insync {
        eligible = next.replicas.iter().map(|r| r.broker).filter(|&b| from.is_trusted(b)).collect();
        eligible.retain(|b| !next.isr.contains(b) && !next.damaged.contains(b));
        eligible.sort_unstable();
    }
    next.eligible_leader_replicas = eligible;
}

/// Another leader, or none, is another epoch: above every one that its log may have.
fn settle_reign(from: &PartitionState, next: &mut PartitionState) {
    if next.leader == from.leader {
        return;
    }
    let recovered = next.leader.and_then(|leader| next.restarted(leader)).map_or(LeaderEpoch(0), |r| r.end.leader_epoch);
    next.leader_epoch = LeaderEpoch(from.leader_epoch.max(recovered).0.saturating_add(1));
    next.last_known_leader = match next.leader {
        Some(_) => None,
        None => from.leader.or(from.last_known_leader),
    };
}

/// `next` as the state after `from`; `None` when nothing changes.
pub(crate) fn with_next_epoch(from: &PartitionState, next: PartitionState) -> Option<PartitionState> {
    let partition_epoch = PartitionEpoch(from.partition_epoch.0.saturating_add(1));
    (next != *from).then_some(PartitionState { partition_epoch, ..next })
}

#[cfg(test)]
#[path = "election_test.rs"]
mod tests;
