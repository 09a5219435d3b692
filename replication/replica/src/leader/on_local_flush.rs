//! A commit group of this shard's journal is durable: everything below an offset is flushed here.

use super::Leader;
use crate::effect::Effects;
use sluice_model::Offset;

impl Leader {
    /// Everything below `flushed` is on this replica's disk, device cache included. Offsets come in order.
    pub fn on_local_flush(&mut self, flushed: Offset, effects: &mut Effects) {
        self.set_local_flushed(flushed);
        self.advance_high_watermark(effects);
        self.assert_invariants();
    }
}
