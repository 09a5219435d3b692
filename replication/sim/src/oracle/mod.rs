//! What must be true of a shard's partitions whatever happened: acknowledged is never lost, altered, reordered or
//! invented; what was not acknowledged may be there or not, but never half; what is damaged is said.
//!
//! The oracle knows what was sent, what each call gave back, and nothing of how it is stored. The expensive mistake is
//! leniency that outlives its reason: rot excuses the frames it has touched, and no others.

pub mod batches;
pub mod damage;
pub mod partition;
pub mod producers;
pub mod recovered;
pub mod retention;
pub mod served;
pub mod truncation;

use batches::Batches;
use partition::PartitionModel;
use sluice_model::TopicPartition;
use std::collections::BTreeMap;

/// What has gone wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

/// Ends the run when a condition does not hold.
#[macro_export]
macro_rules! demand {
    ($condition:expr, $($message:tt)*) => {
        if !$condition {
            return Err($crate::oracle::Violation(format!($($message)*)));
        }
    };
}

#[derive(Default)]
pub struct Oracle {
    pub batches: Batches,
    pub partitions: BTreeMap<TopicPartition, PartitionModel>,
}

impl Oracle {
    #[must_use]
    pub fn partition(&self, id: TopicPartition) -> &PartitionModel {
        &self.partitions[&id]
    }

    pub fn partition_mut(&mut self, id: TopicPartition) -> &mut PartitionModel {
        self.partitions.get_mut(&id).expect("a partition the oracle was told of")
    }

    /// Whether some log is being truncated.
    #[must_use]
    pub fn is_cutting(&self) -> bool {
        self.partitions.values().any(|model| model.truncation.is_some())
    }
}
