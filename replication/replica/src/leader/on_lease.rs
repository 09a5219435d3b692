//! The broker has lost its lease with the controller, or has it again.
//!
//! Without one somebody else may lead already, so nothing is acknowledged. Safety does not rest on it: the followers of
//! another leader epoch report nothing here. It only shortens how long a leader that is cut off lets producers wait.

use super::Leader;
use crate::effect::Effects;

impl Leader {
    /// Gives back the tokens of produces that were appended and of which nobody can say whether they will be durable.
    #[must_use = "whoever waits has to be told"]
    pub fn on_lease_lost(&mut self) -> Vec<u64> {
        self.has_lease = false;
        let unknown = self.pending.drain_tokens();
        self.assert_invariants();
        unknown
    }

    /// It leads on, when no newer leader epoch has become known: what was flushed meanwhile may be committed now.
    pub fn on_lease_regained(&mut self, effects: &mut Effects) {
        self.has_lease = true;
        self.advance_high_watermark(effects);
        self.assert_invariants();
    }
}

#[cfg(test)]
#[path = "on_lease_test.rs"]
mod tests;
