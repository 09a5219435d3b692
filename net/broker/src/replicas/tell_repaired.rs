//! Replicas that the metadata calls damaged and that are whole again, to the control thread.
//!
//! One whose recovery reported damage, or that came with a new folder, neither joins nor leads until that is taken back.
//! The expensive mistake is to take it back too early: it is for a log that follows, under the leader epoch that the
//! metadata names, and of which nothing is damaged or may be short.

use crate::data_plane::DataPlane;
use sluice_replica::LogState;

impl DataPlane {
    pub(crate) fn tell_repaired(&mut self) {
        if self.parts.config.cluster.is_none() {
            return;
        }
        let Some(opened) = self.parts.opened.get() else { return };
        let repaired: Vec<_> = {
            let view = self.parts.view.get();
            let is_damaged = |id| view.image.partition(id).is_some_and(|partition| partition.damaged.contains(&view.broker));
            let ids = opened.partitions.ids().into_iter().filter(|id| is_damaged(*id));
            let positions = ids.filter_map(|id| Some((id, opened.partitions.follower_position(id)?)));
            let whole = positions.filter(|(id, position)| {
                let leader_epoch = view.image.partition(*id).map(|partition| partition.leader_epoch);
                position.log_state == LogState::Whole && leader_epoch == Some(position.leader_epoch)
            });
            whole.map(|(id, position)| (id, position.leader_epoch)).collect()
        };
        if !repaired.is_empty() {
            self.parts.control.repaired(repaired);
        }
    }
}
