//! The frames that a scrub has met, once they are proved: what stands behind damage counts only when the damage ends.
//!
//! A running broker does not ask for them; whoever counts or prints them does (`segment_check`).

use crate::frame_walk::WalkedFrame;
use sluice_model::Offset;

#[derive(Debug, Default)]
pub(crate) struct SeenFrames {
    proven: Vec<WalkedFrame>,
    /// Since the last damage, whose end is not known.
    unproven: Vec<WalkedFrame>,
}

impl SeenFrames {
    pub(crate) fn on_frame(&mut self, frame: &WalkedFrame, is_proven: bool) {
        let frames = if is_proven { &mut self.proven } else { &mut self.unproven };
        frames.push(*frame);
    }

    /// They may have been a record that holds frames.
    pub(crate) fn forget_unproven(&mut self) {
        self.unproven.clear();
    }

    /// The damage has ended before `until`.
    pub(crate) fn prove_from(&mut self, until: Offset) {
        let proven = self.unproven.drain(..).filter(|frame| frame.header.base_offset() >= until);
        self.proven.extend(proven);
    }

    pub(crate) fn take_proven(&mut self) -> Vec<WalkedFrame> {
        std::mem::take(&mut self.proven)
    }
}
