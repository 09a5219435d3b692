//! Nobody waits any longer for brokers that have not come back: where only replicas are left that have cut a torn group
//! off, the longest of them leads.
//!
//! After a loss of power nearly every log ends in a group that was being written, and such a replica holds all that it
//! has ever called flushed, unless the last group has rotted as well. So this is for a timer of the controller, or for
//! the operator, and gives up less than `on_elect_unclean_leader` does. Deliberately absent: how long to wait.

use crate::election::Settling;
use crate::image::Image;
use crate::record::Record;
use rkyv::with::{AsVec, Map};
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::TopicPartition;
use std::collections::BTreeSet;

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct EndRecoveryWait {
    /// `None`: all of them.
    #[rkyv(with = Map<AsVec>)]
    pub partitions: Option<BTreeSet<TopicPartition>>,
}

/// Partitions that have a leader, or nobody to lead them, stay as they are.
#[must_use]
pub fn on_recovery_wait_ended(image: &Image, event: &EndRecoveryWait) -> Vec<Record> {
    let named = |id| event.partitions.as_ref().is_none_or(|named| named.contains(&id));
    let settling = Settling::new(image).without_waiting();
    settling.records(|id, partition| (partition.leader.is_none() && named(id)).then(|| partition.clone()))
}

#[cfg(test)]
#[path = "on_recovery_wait_ended_test.rs"]
mod tests;
