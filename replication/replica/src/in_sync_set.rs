//! The in-sync set as the leader sees it.
//!
//! `committed` is what the controller has decided. While a change is in flight the larger of both sets,
//! `maximal`, has to hold a record before it counts (KIP-497): acknowledging by a set that is about to grow would
//! let a member lead that never had the record. Here the set has one member, the leader itself, from its first
//! day on; members join when followers fetch.

use sluice_model::BrokerId;
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InSyncSet {
    committed: BTreeSet<BrokerId>,
    proposed: Option<BTreeSet<BrokerId>>,
}

impl InSyncSet {
    /// A decided set. It is never empty and always holds the leader.
    #[must_use]
    pub fn new(committed: BTreeSet<BrokerId>) -> Self {
        assert!(!committed.is_empty(), "an in-sync set is never empty");
        Self { committed, proposed: None }
    }

    #[must_use]
    pub fn committed(&self) -> &BTreeSet<BrokerId> {
        &self.committed
    }

    /// Every broker that has to hold a record before it counts as committed.
    pub fn maximal(&self) -> impl Iterator<Item = BrokerId> {
        self.committed.iter().chain(self.proposed.iter().flatten().filter(|b| !self.committed.contains(b))).copied()
    }

    /// Whether the decided set is large enough for a produce with acks=all, counting a member that is about to
    /// leave as gone.
    #[must_use]
    pub fn satisfies(&self, min_insync_replicas: u32) -> bool {
        let proposed_len = self.proposed.as_ref().map_or(self.committed.len(), BTreeSet::len);
        self.committed.len().min(proposed_len) >= min_insync_replicas as usize
    }
}
