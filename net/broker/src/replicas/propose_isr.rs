//! Changes of in-sync sets that the leaders of this shard want, to the control thread.

use crate::data_plane::DataPlane;
use sluice_replica::IsrAnswer;

impl DataPlane {
    pub(crate) fn propose_isr(&mut self) {
        let Some(opened) = self.parts.opened.get() else { return };
        opened.partitions.take_isr_proposals(&mut self.isr_proposals);
        if self.isr_proposals.is_empty() {
            return;
        }
        // What cannot be asked for now is asked for again at the next review.
        for proposal in self.parts.control.propose_isr(std::mem::take(&mut self.isr_proposals)) {
            let (id, leader_epoch, number) = (proposal.id, proposal.leader_epoch, proposal.number);
            opened.partitions.on_isr_answer(self.now, id, leader_epoch, number, IsrAnswer::Unknown);
        }
    }
}
