//! How far one follower is, as far as it is proved, under one leader epoch and one incarnation of it.

use super::timing::Timing;
use crate::log_position::{LogPosition, LogState};
use sluice_model::{Incarnation, Offset};

/// One follower as its leader knows it.
#[derive(Clone, Debug)]
pub(crate) struct FollowerProgress {
    pub(crate) incarnation: Incarnation,
    pub(crate) log_state: LogState,
    /// The last position of a fetch whose history agreed with the leader's; `None` before any.
    pub(crate) proved: Option<LogPosition>,
    /// Behind the last frame that was sent to it.
    pub(crate) sent: Option<LogPosition>,
    /// Everything below this is on its disk. Never beyond `proved`; `None` before it has said anything.
    pub(crate) flushed: Option<Offset>,
    pub(crate) timing: Timing,
}

impl FollowerProgress {
    pub(crate) fn new(incarnation: Incarnation) -> Self {
        Self { incarnation, log_state: LogState::Whole, proved: None, sent: None, flushed: None, timing: Timing::default() }
    }

    /// What it said under another leader epoch or another incarnation counts no more.
    pub(crate) fn forget(&mut self) {
        *self = Self::new(self.incarnation);
    }

    /// The `header_crc` of the leader's frame that ends at `offset`, where this follower's fetches have shown it.
    pub(crate) fn crc_at(&self, offset: Offset) -> Option<u32> {
        [self.sent, self.proved].into_iter().flatten().find(|known| known.offset == offset).map(|known| known.last_header_crc)
    }
}
