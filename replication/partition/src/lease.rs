//! What the broker hears of leases and incarnations, for all of a shard's partitions.

use crate::partitions::{PartitionCell, Partitions};
use sluice_model::{BrokerId, Clock, Incarnation, LeaderEpoch, TopicPartition};
use sluice_replica::Leader;
use sluice_storage::disk::Disk;

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// The broker has lost its lease with the controller: nothing is acknowledged before it has one again. Produces that
    /// wait are answered as [`crate::Completed::LeadershipLost`].
    pub fn on_lease_lost(&self) {
        self.shared.replication.has_lease.set(false);
        for cell in self.cells() {
            let unknown = cell.borrow_mut().replica.on_lease_lost();
            self.complete_unknown(unknown);
        }
    }

    pub fn on_lease_regained(&self) {
        self.shared.replication.has_lease.set(true);
        let now = self.shared.clock.now();
        for cell in self.cells() {
            let mut partition = cell.borrow_mut();
            self.shared.with_effects(|effects| {
                partition.replica.on_lease_regained(effects);
                self.run_effects(&cell, &mut partition, &[], now, effects);
            });
        }
    }

    /// One that was made before the last word about the lease, and is found only now.
    pub(crate) fn tell_lease(&self, cell: &PartitionCell<D>) {
        let mut partition = cell.borrow_mut();
        if !self.shared.replication.has_lease.get() {
            let unknown = partition.replica.on_lease_lost();
            return self.complete_unknown(unknown);
        }
        let now = self.shared.clock.now();
        self.shared.with_effects(|effects| {
            partition.replica.on_lease_regained(effects);
            self.run_effects(cell, &mut partition, &[], now, effects);
        });
    }

    /// A broker has registered another incarnation: what an earlier one has said counts no more.
    pub fn on_broker_registered(&self, broker: BrokerId, incarnation: Incarnation) {
        let replicated: Vec<_> = self.shared.replication.replicated.borrow().iter().copied().collect();
        for cell in replicated.into_iter().filter_map(|id| self.get(id)) {
            if let Some(leader) = cell.borrow_mut().leader_mut() {
                leader.on_broker_registered(broker, incarnation);
            }
        }
    }

    /// Somebody knows of a leader epoch of `id` after the one that is led here.
    pub fn on_newer_leader_epoch(&self, id: TopicPartition, epoch: LeaderEpoch) {
        let Some(cell) = self.get(id) else { return };
        let unknown = cell.borrow_mut().leader_mut().map(|leader: &mut Leader| leader.on_newer_leader_epoch(epoch));
        self.complete_unknown(unknown.unwrap_or_default());
    }
}
