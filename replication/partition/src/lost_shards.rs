//! Shards that have lost both checkpoints, and what must not be done in the start that rebuilds them.
//!
//! Recovery rebuilds such a shard from the folders of the partitions placed on it. The expensive mistake is to let a
//! partition move in the same start: its records may still stand in the journal of the shard it leaves, and nothing
//! says that they do. Deliberately absent: which shards these are (`survey`), and the rebuilding
//! (`sluice_storage::recovery`).

use crate::lifecycle::OpenError;
use crate::settings::PartitionAssignment;
use crate::survey::Survey;
use sluice_model::{PlacementEpoch, ShardIndex, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

/// Where a partition is first placed; every move counts it up.
const PLACEMENT_EPOCH_FIRST: PlacementEpoch = PlacementEpoch(1);

/// Whether a start that would place partitions so has to be refused. To be asked before the placement is recorded: the
/// same partitions placed back afterwards would be placed otherwise, and under later epochs, than those that were lost.
pub fn check_moves(survey: &Survey, assigned: &[(ShardIndex, PartitionAssignment)]) -> Result<(), OpenError> {
    let owners = survey.held.iter().map(|(&id, held)| (id, held.shard)).collect();
    refuse_moves(&survey.lost, assigned, &owners)
}

/// A shard that has lost its checkpoints is rebuilt from the folders of the partitions placed on it. What else it had
/// nobody knows, so nothing may move in the same start.
pub(crate) fn refuse_moves(
    lost: &BTreeSet<ShardIndex>,
    assigned: &[(ShardIndex, PartitionAssignment)],
    owners: &BTreeMap<TopicPartition, ShardIndex>,
) -> Result<(), OpenError> {
    let Some(&first) = lost.first() else { return Ok(()) };
    for (shard, assignment) in assigned {
        let (id, to) = (assignment.id, *shard);
        // It may have come, or be about to come, from that folder: what stands there may be older than what was lost.
        if let Some(&from) = owners.get(&id).filter(|owner| **owner != to && lost.contains(&to)) {
            return Err(OpenError::MovedToLost { lost: to, id, from });
        }
        let moves = match owners.get(&id) {
            Some(owner) => *owner != to,
            None if lost.contains(&to) => false,
            // A partition that never moved was never anywhere else.
            None => assignment.placement_epoch > PLACEMENT_EPOCH_FIRST,
        };
        if moves {
            return Err(OpenError::MovesFromLost { lost: first, id, to });
        }
    }
    Ok(())
}
