//! What a shard's recovery found of a replica, as the controller is told.

use sluice_metadata::{Recovered, ReplicaEnd};
use sluice_partition::RecoveredReplica;
use sluice_replica::LogState;

/// What an operator has accepted as lost was acknowledged once: such a replica is not trusted with what was.
pub(crate) fn recovered_of(found: &RecoveredReplica) -> Recovered {
    let end = ReplicaEnd { leader_epoch: found.leader_epoch, end_offset: found.end_offset };
    match (found.log_state, found.cut_torn_group) {
        _ if found.has_accepted_loss => Recovered::Damaged,
        (LogState::Whole, false) => Recovered::Whole { end },
        (LogState::Whole, true) => Recovered::CutTornGroup { end },
        _ => Recovered::Damaged,
    }
}
