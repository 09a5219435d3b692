//! Frames were sent to a follower: its next fetch goes on behind them, and need not be looked up.

use super::Leader;
use crate::log_position::LogPosition;
use sluice_model::{BrokerId, FrameHeader, Incarnation};

impl Leader {
    /// The answer to the last fetch of `broker` ends with this frame of the leader's log.
    pub fn on_sent(&mut self, broker: BrokerId, incarnation: Incarnation, last: &FrameHeader) {
        let end = LogPosition::after(last);
        // A log that was cut off meanwhile has other frames there.
        if end.offset > self.log_end_offset || self.epochs.at(last.base_offset()) != end.last_epoch {
            return;
        }
        if let Some(follower) = self.followers.get_mut(&broker).filter(|follower| follower.incarnation == incarnation) {
            follower.sent = Some(end);
        }
    }
}
