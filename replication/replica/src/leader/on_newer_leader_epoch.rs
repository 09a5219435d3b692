//! Somebody knows of a leader epoch after this one: this leader acknowledges nothing more, from this moment on.

use super::Leader;
use sluice_model::LeaderEpoch;

impl Leader {
    /// Gives back the tokens of produces that were appended and of which nobody can say whether they will be durable;
    /// none of them is ever answered as refused. An epoch that is not newer changes nothing.
    #[must_use = "whoever waits has to be told"]
    pub fn on_newer_leader_epoch(&mut self, epoch: LeaderEpoch) -> Vec<u64> {
        if epoch <= self.newer_epoch.unwrap_or(self.leader_epoch) {
            return Vec::new();
        }
        self.newer_epoch = Some(epoch);
        let unknown = self.pending.drain_tokens();
        self.assert_invariants();
        unknown
    }
}
