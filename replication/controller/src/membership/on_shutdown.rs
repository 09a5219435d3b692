//! The broker is to stop: others are to lead what it leads, and then its lease is given up.

use super::{Effects, Member};
use std::time::Duration;

impl Member {
    /// For others to lead it is waited no longer than `wait`.
    pub(crate) fn on_shutdown(&mut self, now: Duration, wait: Duration, effects: &mut Effects) {
        let until = now.saturating_add(wait);
        self.stop_until = Some(self.stop_until.map_or(until, |known| known.min(until)));
        self.retry_at = None;
        self.next_step(now, effects);
    }
}
