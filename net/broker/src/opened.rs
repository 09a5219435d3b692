//! What a shard has once it has recovered, and what it says of its partitions until then.
//!
//! A shard answers connections before it is open, so that clients learn where everything is and the partitions of other
//! shards are served whatever this one has to replay. The expensive mistake is to take a partition that is not open for
//! one that does not exist: until then it is `NotReady`, which every client tries again. Deliberately absent: how a shard
//! opens (`shard_main`).

use crate::catch_up::CatchUp;
use crate::data_plane::{DataPlane, ShardPartitions};
use crate::replicas::reads::ReplicaReads;
use crate::view::Place;
use sluice_model::{LeaderEpoch, TopicPartition};
use std::cell::OnceCell;
use std::rc::Rc;

/// The partitions of an open shard, and who reads their segments.
pub(crate) struct Opened {
    pub(crate) partitions: ShardPartitions,
    pub(crate) catch_up: Rc<CatchUp>,
    /// The same for other brokers' shards that follow.
    pub(crate) replica_reads: Rc<ReplicaReads>,
}

/// Empty until the shard is open, then never changed. Clones are the same cell.
pub(crate) type OpenedCell = Rc<OnceCell<Opened>>;

impl DataPlane {
    /// What serves this partition, when that is here and open; otherwise what to say of it.
    pub(crate) fn here(&self, id: TopicPartition) -> Result<(&Opened, LeaderEpoch), Place> {
        let place = self.parts.view.get().place(id, self.parts.shard);
        match (place, self.parts.opened.get()) {
            (Place::Here { leader_epoch }, Some(opened)) => Ok((opened, leader_epoch)),
            (Place::Here { .. }, None) => Err(Place::Recovering(self.parts.shard)),
            (place, _) => Err(place),
        }
    }
}
