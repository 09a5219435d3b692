//! Before shards open: which folder holds the newest state of each partition, and what has to move because the
//! number of shards, or a placement, has changed.
//!
//! Of two folders that know a partition, the one with the greater placement epoch owns it; the other's entry is what
//! was left behind and is never applied. What no folder's checkpoint knows a journal may. The expensive mistake is to let
//! a shard take over a partition while records of it still stand only in another shard's journal: that journal is
//! recovered first, into segments.

use crate::lifecycle::{Fates, OpenError};
use crate::lost_shards::{PLACEMENT_EPOCH_FIRST, refuse_moves};
use crate::settings::PartitionAssignment;
use crate::survey::{Survey, found_shards, survey};
use sluice_model::{Incarnation, ShardIndex, TopicId, TopicPartition};
use sluice_storage::batch_cache::TailMemory;
use sluice_storage::checkpoint::PartitionCheckpoint;
use sluice_storage::disk::Disk;
use sluice_storage::journal::JournalConfig;
use sluice_storage::journal_names::partitions_in_journal;
use sluice_storage::layout::Layout;
use sluice_storage::recovery::{RecoverShard, recover_shard};
use sluice_storage::recovery_report::RecoveryReport;
use std::collections::{BTreeMap, BTreeSet};

/// What a start knows before it opens any shard.
pub struct Prepare {
    pub layout: Layout,
    /// For a folder that has to be recovered for its partitions to move; greater than any start's before.
    pub incarnation: Incarnation,
    /// The journal's shape for each shard.
    pub journal_of: Box<dyn Fn(ShardIndex) -> JournalConfig>,
    /// Memory to recover with, bytes.
    pub tail_budget: usize,
    /// Where each partition is placed now.
    pub assigned: Vec<(ShardIndex, PartitionAssignment)>,
    pub deleted: BTreeSet<TopicId>,
}

/// What each shard has to be opened with.
#[derive(Default)]
pub struct Prepared {
    /// Whose folder has the newest state of each partition.
    pub owners: BTreeMap<TopicPartition, ShardIndex>,
    /// Partitions that move to this shard, with all their records in segments.
    pub imports: BTreeMap<ShardIndex, Vec<PartitionCheckpoint>>,
    /// The same partitions, by the shard that they leave.
    pub handed_over: BTreeMap<ShardIndex, Vec<PartitionCheckpoint>>,
    /// Of the folders that had to be recovered for that.
    pub reports: Vec<RecoveryReport>,
}

/// What no checkpoint names and the journal of another shard does is still that one's: its records are there only. One
/// that never moved was never anywhere else, so that few starts have to read a journal for this.
async fn find_in_journals<D: Disk>(
    disk: &D,
    prepare: &Prepare,
    surveyed: &Survey,
    owners: &mut BTreeMap<TopicPartition, ShardIndex>,
) -> Result<(), OpenError> {
    let moved = prepare.assigned.iter().filter(|(_, assignment)| assignment.placement_epoch > PLACEMENT_EPOCH_FIRST);
    let unnamed: BTreeMap<TopicPartition, ShardIndex> =
        moved.map(|(shard, of)| (of.id, *shard)).filter(|(id, _)| !owners.contains_key(id)).collect();
    if unnamed.is_empty() {
        return Ok(());
    }
    for shard in found_shards(disk, &prepare.layout).await.map_err(OpenError::Look)? {
        // Where its journal names a partition at all, one that has lost its checkpoints is where that is placed.
        if surveyed.lost.contains(&shard) {
            continue;
        }
        let file_count = (prepare.journal_of)(shard).file_count;
        let named = partitions_in_journal(disk, &prepare.layout, shard, file_count).await;
        for id in named.map_err(|error| OpenError::Recovery(Box::new(error)))? {
            if unnamed.get(&id).is_some_and(|to| *to != shard) {
                owners.insert(id, shard);
            }
        }
    }
    Ok(())
}

/// Recovers every folder that a partition moves away from. Costs a look at the checkpoints when nothing moves.
pub async fn prepare<D: Disk>(disk: &D, prepare: Prepare) -> Result<Prepared, OpenError> {
    let surveyed = survey(disk, &prepare.layout, usize::MAX).await?;
    refuse_moves(&surveyed.lost, &prepare.assigned, &surveyed.held)?;
    let mut owners: BTreeMap<_, _> = surveyed.held.iter().map(|(&id, held)| (id, held.shard)).collect();
    find_in_journals(disk, &prepare, &surveyed, &mut owners).await?;
    // What nothing names is its own shard's.
    for (shard, assignment) in &prepare.assigned {
        owners.entry(assignment.id).or_insert(*shard);
    }
    let mut leaving: BTreeMap<ShardIndex, BTreeMap<TopicPartition, ShardIndex>> = BTreeMap::new();
    for (shard, assignment) in &prepare.assigned {
        if let Some(&owner) = owners.get(&assignment.id).filter(|owner| *owner != shard) {
            leaving.entry(owner).or_default().insert(assignment.id, *shard);
        }
    }
    let assignments: Vec<PartitionAssignment> = prepare.assigned.iter().map(|(_, assignment)| assignment.clone()).collect();
    let mut prepared = Prepared { owners, ..Prepared::default() };
    for (owner, moves) in leaving {
        let fates = Fates::new(owner, &assignments, &prepared.owners, &prepare.deleted);
        let plan = RecoverShard {
            layout: prepare.layout.clone(),
            shard: owner,
            incarnation: prepare.incarnation,
            journal: (prepare.journal_of)(owner),
            memory: TailMemory::new(prepare.tail_budget as u64),
            fate: &|id, placement_epoch| fates.of(id, placement_epoch),
            assigned: Vec::new(),
            imports: Vec::new(),
            handed_over: Vec::new(),
            // What else it holds is not known here.
            may_rebuild: false,
        };
        let mut recovered = recover_shard(disk, plan).await.map_err(|error| OpenError::Recovery(Box::new(error)))?;
        for (id, to) in moves {
            if let Some(partition) = recovered.partitions.remove(&id) {
                let checkpoint = partition.log.checkpoint(partition.high_watermark);
                prepared.handed_over.entry(owner).or_default().push(checkpoint.clone());
                prepared.imports.entry(to).or_default().push(checkpoint);
            }
        }
        prepared.reports.push(recovered.report);
    }
    Ok(prepared)
}
