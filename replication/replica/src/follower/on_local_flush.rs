//! A commit group of this shard's journal is durable.

use super::Follower;
use sluice_model::Offset;

impl Follower {
    /// Everything below `flushed` is on this replica's disk, device cache included. `true` when that is news for the
    /// leader. Groups from before a cut count up to the cut, as they do for whoever cuts the log.
    pub fn on_local_flush(&mut self, flushed: Offset) -> bool {
        assert!(flushed <= self.log_end_offset, "{}: flushed {flushed} beyond the log end {}", self.id, self.log_end_offset);
        let is_news = flushed > self.flushed;
        self.flushed = self.flushed.max(flushed);
        self.assert_invariants();
        is_news
    }
}
