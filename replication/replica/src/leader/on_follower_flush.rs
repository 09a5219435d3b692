//! A flush completes at a follower while its fetch is parked: it says so at once, and names nothing else.
//!
//! It moves no fetch position, so what it says counts only up to where a fetch has proved that both logs agree.

use super::Leader;
use super::on_follower_fetch::FollowerRefusal;
use crate::effect::Effects;
use crate::log_position::LogState;
use sluice_model::{BrokerId, Incarnation, LeaderEpoch, Offset};

/// What one follower has flushed of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerFlush {
    pub broker: BrokerId,
    pub incarnation: Incarnation,
    pub leader_epoch: LeaderEpoch,
    /// Everything below this is on its disk, device cache included.
    pub flushed: Offset,
}

impl Leader {
    /// Counts what a follower has flushed. Nothing has changed when this refuses.
    pub fn on_follower_flush(
        &mut self,
        now_us: u64,
        flush: &FollowerFlush,
        effects: &mut Effects,
    ) -> Result<(), FollowerRefusal> {
        self.check_follower(flush.broker, flush.incarnation, flush.leader_epoch)?;
        let follower = self.followers.get_mut(&flush.broker).ok_or(FollowerRefusal::UnknownReplica(flush.broker))?;
        let proved = follower.proved.map_or(Offset::ZERO, |proved| proved.offset);
        if flush.flushed > proved {
            return Err(FollowerRefusal::FlushedBeyond { flushed: flush.flushed, end: proved });
        }
        if let Some(known) = follower.flushed.filter(|known| flush.flushed < *known) {
            return Err(FollowerRefusal::Stale { got: flush.flushed, known });
        }
        if follower.log_state == LogState::Whole {
            follower.flushed = Some(flush.flushed);
        }
        self.note_report(now_us, flush.broker);
        self.advance_high_watermark(effects);
        self.assert_invariants();
        Ok(())
    }
}

#[cfg(test)]
#[path = "on_follower_flush_test.rs"]
mod tests;
