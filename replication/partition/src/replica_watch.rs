//! Fetches of other brokers' shards that are parked until there is something to send.
//!
//! A watch stays until it is taken back, because a session of a thousand partitions would otherwise set a thousand of them
//! for every answer. Each change of a partition is told once until it is taken.

use crate::partition::Partition;
use crate::partitions::Partitions;
use crate::replication::take_all;
use sluice_model::{Clock, TopicPartition};
use sluice_storage::disk::Disk;

/// One follower shard that watches a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplicaWatch {
    token: u64,
    /// It has news that nobody has taken yet.
    is_told: bool,
}

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// From now on `(token, id)` comes out of [`Self::take_replica_news`] whenever log end, high watermark, log start or role
    /// of `id` have changed since it did last, and now.
    pub fn watch_replica(&self, token: u64, id: TopicPartition) {
        let Some(cell) = self.get(id) else { return self.push_news(token, id) };
        let mut partition = cell.borrow_mut();
        if partition.replica_watches.iter().all(|watch| watch.token != token) {
            partition.replica_watches.push(ReplicaWatch { token, is_told: true });
            self.push_news(token, id);
        }
    }

    pub fn unwatch_replica(&self, token: u64, id: TopicPartition) {
        if let Some(cell) = self.get(id) {
            cell.borrow_mut().replica_watches.retain(|watch| watch.token != token);
        }
    }

    /// Moves all that has changed into `into`, and arms those watches again.
    pub fn take_replica_news(&self, into: &mut Vec<(u64, TopicPartition)>) {
        self.shared.completions.take_wake();
        take_all(&self.shared.replication.news, |(token, id)| {
            into.push((token, id));
            let Some(cell) = self.get(id) else { return };
            let mut partition = cell.borrow_mut();
            if let Some(watch) = partition.replica_watches.iter_mut().find(|watch| watch.token == token) {
                watch.is_told = false;
            }
        });
    }

    /// Something has changed that follower shards are to know.
    pub(crate) fn tell_replicas(&self, partition: &mut Partition<D>) {
        let id = partition.id();
        for watch in partition.replica_watches.iter_mut().filter(|watch| !watch.is_told) {
            watch.is_told = true;
            self.push_news(watch.token, id);
        }
    }

    fn push_news(&self, token: u64, id: TopicPartition) {
        self.shared.replication.news.borrow_mut().push((token, id));
        self.shared.completions.tell();
    }
}
