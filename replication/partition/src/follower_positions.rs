//! Where this shard's followers fetch from next, and how much of it there is room for.

use crate::partitions::Partitions;
use sluice_model::{Clock, TopicPartition};
use sluice_replica::{FollowerPosition, Role};
use sluice_storage::disk::Disk;
use std::collections::BTreeMap;

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// All partitions that can be fetched now, whoever leads them. One whose log is being cut off or replaced is not among
    /// them, nor one that has stopped.
    #[must_use]
    pub fn follower_positions(&self) -> BTreeMap<TopicPartition, FollowerPosition> {
        let partitions = self.shared.partitions.borrow();
        let positions = partitions.iter().filter_map(|(&id, cell)| {
            let mut partition = cell.borrow_mut();
            partition.note_log_state();
            match partition.replica.role() {
                Role::Follower(follower) => Some((id, follower.fetch_position()?)),
                Role::Leader(_) => None,
            }
        });
        positions.collect()
    }

    /// One of them.
    #[must_use]
    pub fn follower_position(&self, id: TopicPartition) -> Option<FollowerPosition> {
        let cell = self.get(id)?;
        let mut partition = cell.borrow_mut();
        partition.note_log_state();
        partition.follower_mut()?.fetch_position()
    }
}
