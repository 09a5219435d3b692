//! Frames of a partition are durable here: its leader counts them, its follower tells them to another shard's.

use crate::partition::Partition;
use crate::partitions::Partitions;
use crate::replication::take_all;
use sluice_model::{Clock, LeaderEpoch, Offset, TopicPartition};
use sluice_replica::{Effects, Role};
use sluice_storage::disk::Disk;

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// Everything below `flushed` is durable.
    pub(crate) fn on_local_flush(&self, partition: &mut Partition<D>, flushed: Offset, effects: &mut Effects) {
        match partition.replica.role_mut() {
            Role::Leader(leader) => leader.on_local_flush(flushed, effects),
            Role::Follower(follower) => {
                if follower.on_local_flush(flushed) && !std::mem::replace(&mut partition.has_flushed, true) {
                    self.shared.replication.flushed.borrow_mut().push(partition.id());
                    self.shared.completions.tell();
                }
            }
        }
    }

    /// Moves what followers have flushed since the last call into `into`: the leader epoch that each follows, and up to
    /// where its log is durable. For `FollowerSession::flush`.
    pub fn take_flushed(&self, into: &mut Vec<(TopicPartition, LeaderEpoch, Offset)>) {
        self.shared.completions.take_wake();
        take_all(&self.shared.replication.flushed, |id| {
            let Some(cell) = self.get(id) else { return };
            let mut partition = cell.borrow_mut();
            partition.has_flushed = false;
            if let Role::Follower(follower) = partition.replica.role() {
                into.push((id, follower.leader_epoch(), follower.flushed()));
            }
        });
    }
}
