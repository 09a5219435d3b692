//! Shards that have lost every checkpoint, the spare too, and what must not be done in the start that rebuilds them.
//!
//! Recovery rebuilds such a shard from the folders of the partitions placed on it. The expensive mistake is to let a
//! partition move when nobody can say where it was last: its records may still stand in the journal of a shard that it
//! leaves, or have been truncated since by one that it was on in between, and what an older checkpoint says would be
//! served as if it were new. A partition is certain when some checkpoint names it under the placement epoch it has now,
//! or under the one before and it goes to a shard that has lost nothing. Deliberately absent: which shards these are
//! (`survey`), and the rebuilding (`sluice_storage::recovery`).

use crate::lifecycle::OpenError;
use crate::settings::PartitionAssignment;
use crate::survey::{HeldPlacement, Survey};
use sluice_model::{PlacementEpoch, ShardIndex, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

/// Where a partition is first placed; every move counts it up by one.
pub(crate) const PLACEMENT_EPOCH_FIRST: PlacementEpoch = PlacementEpoch(1);

/// Whether a start that would place partitions so has to be refused. To be asked before the placement is recorded: the
/// same partitions placed back afterwards would be placed otherwise, and under later epochs, than those that were lost.
pub fn check_moves(survey: &Survey, assigned: &[(ShardIndex, PartitionAssignment)]) -> Result<(), OpenError> {
    refuse_moves(&survey.lost, assigned, &survey.held)
}

/// `held` is what the checkpoints say that are left.
pub(crate) fn refuse_moves(
    lost: &BTreeSet<ShardIndex>,
    assigned: &[(ShardIndex, PartitionAssignment)],
    held: &BTreeMap<TopicPartition, HeldPlacement>,
) -> Result<(), OpenError> {
    let Some(&first) = lost.first() else { return Ok(()) };
    for (shard, assignment) in assigned {
        let (id, to, epoch) = (assignment.id, *shard, assignment.placement_epoch);
        let is_to_lost = lost.contains(&to);
        match held.get(&id) {
            Some(held) if held.placement_epoch == epoch => {}
            Some(held) if held.placement_epoch.0 + 1 == epoch.0 && !is_to_lost && held.shard != to => {}
            // It may have come from there, or be about to: what stands there may be older than what was lost.
            Some(held) if is_to_lost => return Err(OpenError::MovedToLost { lost: to, id, from: held.shard }),
            Some(_) => return Err(OpenError::MovesFromLost { lost: first, id, to }),
            // One that never moved was never anywhere else.
            None if epoch == PLACEMENT_EPOCH_FIRST => {}
            // Of two lost shards either may have had it last.
            None if is_to_lost && lost.len() == 1 => {}
            None => return Err(OpenError::MovesFromLost { lost: first, id, to }),
        }
    }
    Ok(())
}
