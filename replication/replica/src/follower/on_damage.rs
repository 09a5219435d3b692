//! Damage is found in this replica's log, repaired, or declared.

use super::{Follower, Phase};
use crate::log_position::LogState;

impl Follower {
    /// A range of it is not served: it holds nothing for anybody, and says so with its next fetch.
    pub fn on_damage_found(&mut self) {
        self.log_state = LogState::Damaged;
        self.assert_invariants();
    }

    /// Every range is good again; that is not to say that nothing is missing at its end.
    pub fn on_repaired(&mut self, possibly_short: bool) {
        self.log_state = if possibly_short { LogState::PossiblyShort } else { LogState::Whole };
        self.assert_invariants();
    }

    /// An operator gives up what this replica has and the leader has not, even what may have been acknowledged; it fetches
    /// again, and is cut off where it is told to. Holds until its log agrees with a leader's.
    pub fn on_damage_declared(&mut self) {
        self.damage_is_declared = true;
        if let Phase::Stopped(_) = self.phase {
            self.phase = Phase::Fetching;
        }
        self.assert_invariants();
    }
}
