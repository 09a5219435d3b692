//! The lease of the broker, as a shard looks at it in each turn of a cluster.
//!
//! The expensive mistake is to acknowledge as a leader that may have been replaced. The time of the turn decides, not
//! a message: whoever sends those may be late. What had been decided under the lease and is not told yet is told as unknown,
//! which a producer may say again.

use crate::data_plane::DataPlane;
use sluice_partition::{Completed, Completion};

impl DataPlane {
    pub(crate) fn look_at_lease(&mut self) {
        if self.parts.config.cluster.is_none() {
            return;
        }
        let Some(opened) = self.parts.opened.get() else { return };
        let has_lease = self.parts.lease.is_held(self.now.mono_us);
        if has_lease == self.has_lease {
            return;
        }
        self.has_lease = has_lease;
        if has_lease {
            opened.partitions.on_lease_regained();
        } else {
            opened.partitions.on_lease_lost();
        }
    }

    /// What may be told of a completion now.
    pub(crate) fn under_lease(&self, completion: Completion) -> Completion {
        match completion.outcome {
            Completed::Produced { .. } if !self.has_lease => Completion { outcome: Completed::LeadershipLost, ..completion },
            _ => completion,
        }
    }
}
