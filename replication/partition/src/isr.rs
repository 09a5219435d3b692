//! Changes of in-sync sets: found by looking at all partitions now and then, asked of the controller by the driver.
//!
//! The driver takes what all partitions of the shard propose at once, so that a slow disk's changes are one request.
//! Deliberately absent: who should be a member (`sluice_replica::leader::on_isr_review`).

use crate::partitions::Partitions;
use sluice_model::{Clock, LeaderEpoch, Now, TopicPartition};
use sluice_replica::{IsrAnswer, IsrProposal};
use sluice_storage::disk::Disk;

/// In-sync sets are looked at this often, microseconds.
const ISR_REVIEW_US: u64 = 100_000;

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// Moves the changes to be asked of the controller into `into`. Each is to be answered by [`Self::on_isr_answer`].
    pub fn take_isr_proposals(&self, into: &mut Vec<IsrProposal>) {
        self.shared.completions.take_wake();
        into.append(&mut self.shared.replication.isr_proposals.borrow_mut());
    }

    /// What became of change `number`, which was proposed under `leader_epoch`.
    pub fn on_isr_answer(&self, now: Now, id: TopicPartition, leader_epoch: LeaderEpoch, number: u64, answer: IsrAnswer) {
        let Some(cell) = self.get(id) else { return };
        let mut partition = cell.borrow_mut();
        self.shared.with_effects(|effects| {
            let Some(leader) = partition.leader_mut() else { return };
            leader.on_isr_answer(now.mono_us, leader_epoch, number, answer, effects);
            self.run_effects(&cell, &mut partition, &[], now, effects);
        });
    }

    pub(crate) fn tick_isr(&self, now: Now) {
        let replication = &self.shared.replication;
        if now.mono_us.saturating_sub(replication.isr_reviewed_us.get()) < ISR_REVIEW_US {
            return;
        }
        replication.isr_reviewed_us.set(now.mono_us);
        let ids: Vec<_> = replication.replicated.borrow().iter().copied().collect();
        for cell in ids.into_iter().filter_map(|id| self.get(id)) {
            let proposal = cell.borrow_mut().leader_mut().and_then(|leader| leader.on_isr_review(now.mono_us));
            if let Some(proposal) = proposal {
                replication.isr_proposals.borrow_mut().push(proposal);
                self.shared.completions.tell();
            }
        }
    }
}
