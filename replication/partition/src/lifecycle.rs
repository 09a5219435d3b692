//! Partitions come and go: recovered at start, created, taken over from another shard, removed.
//!
//! The expensive mistake is a partition that takes a record before a checkpoint names it: after a crash its frames
//! would stand in the journal and belong to nobody. A partition is therefore checkpointed before it can be found.

use crate::checkpointing::Background;
use crate::clock_floor::ClockFloor;
use crate::completions::{Completed, Completion};
use crate::pace::Pace;
use crate::partitions::{Partitions, SharedParts};
use crate::refusal::Failure;
use crate::removal::{remove_partition_folder, remove_topic_folder};
use crate::settings::{PartitionAssignment, PartitionSettings, PartitionsConfig};
use crate::space_reserve::{SpaceReserve, release_if_short};
use sluice_model::{Clock, Incarnation, LeaderEpoch, Offset, PlacementEpoch, ShardIndex, TopicId, TopicPartition};
use sluice_replica::Leader;
use sluice_storage::batch_cache::TailMemory;
use sluice_storage::checkpoint::PartitionCheckpoint;
use sluice_storage::disk::Disk;
use sluice_storage::log::LogConfig;
use sluice_storage::recovery::{PartitionFate, RecoverShard, RecoveredPartition, RecoveryError, recover_shard};
use sluice_storage::recovery_report::RecoveryReport;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::rc::Rc;

/// Why a shard's partitions could not be opened.
#[derive(Debug)]
pub enum OpenError {
    Recovery(Box<RecoveryError>),
    Reserve(io::Error),
    Clock(io::Error),
    Checkpoint(Box<Failure>),
    /// The folders of the shards cannot be looked at.
    Look(io::Error),
    /// What is left of a deleted topic cannot be removed.
    Remove(io::Error),
    /// A partition's frames are of a later leader epoch than the one it would be led under.
    LeaderEpochTooLow {
        id: TopicPartition,
        found: LeaderEpoch,
        given: LeaderEpoch,
    },
    /// The folder of a partition holds segments, and neither checkpoint nor journal of any shard knows them.
    UnknownData {
        id: TopicPartition,
    },
    /// A shard has lost both checkpoints and the spare, and a partition that it may have had is placed on another one now.
    MovesFromLost {
        lost: ShardIndex,
        id: TopicPartition,
        to: ShardIndex,
    },
    /// The shard that a partition is placed on has lost both checkpoints and the spare, and another shard's folder still
    /// names the partition: whether it had moved, and what was written since, only the lost checkpoints said.
    MovedToLost {
        lost: ShardIndex,
        id: TopicPartition,
        from: ShardIndex,
    },
    /// There is no room for the checkpoint that a new partition has to stand in.
    DiskFull,
}

impl OpenError {
    fn recovery(error: RecoveryError) -> Self {
        match error {
            RecoveryError::UnknownData { id } => Self::UnknownData { id },
            error => Self::Recovery(Box::new(error)),
        }
    }

    fn checkpoint(failure: Failure) -> Self {
        Self::Checkpoint(Box::new(failure))
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recovery(error) => error.fmt(f),
            Self::Reserve(error) => write!(f, "the disk space reserve cannot be opened: {error}"),
            Self::Clock(error) => write!(f, "the file of the last believed time cannot be opened: {error}"),
            Self::Checkpoint(failure) => failure.fmt(f),
            Self::Look(error) => write!(f, "the shard folders cannot be read: {error}"),
            Self::Remove(error) => write!(f, "the files of a deleted topic cannot be removed: {error}"),
            Self::UnknownData { id } => write!(
                f,
                "partition {id} has segments that no checkpoint and no journal names; the shard folders of this data folder are missing \
                 or from another one: restore them, or see what `sluice log accept-loss` can make of its segments and what is lost with \
                 the journal"
            ),
            Self::MovesFromLost { lost, id, to } => write!(
                f,
                "shard {lost} has lost both checkpoints and their spare, and partition {id}, which may have been there, is placed on shard {to} now: \
                 nothing was changed; start once with as many shards as before, so that it is rebuilt where it was, or put back \
                 a copy of shard-{lost}"
            ),
            Self::MovedToLost { lost, id, from } => write!(
                f,
                "shard {lost} has lost both checkpoints and their spare, and shard {from} still names partition {id}, which moved to shard {lost}, perhaps \
                 from an older time: nothing was changed; put back a copy of shard-{lost}, and leave the number of shards as it is"
            ),
            Self::LeaderEpochTooLow { id, found, given } => write!(
                f,
                "partition {id} has records of leader epoch {found} and would be led under {given}: the metadata is older than the data; put \
                 back the newest metadata.redb there is"
            ),
            Self::DiskFull => write!(f, "the disk is full; free space or shorten retention, then try again"),
        }
    }
}

impl std::error::Error for OpenError {}

/// What a shard begins with.
pub struct OpenShard {
    pub config: PartitionsConfig,
    pub incarnation: Incarnation,
    pub assigned: Vec<PartitionAssignment>,
    /// What [`crate::prepare`] found: the last state of partitions that another shard had before, and who has what.
    pub imports: Vec<PartitionCheckpoint>,
    pub owners: BTreeMap<TopicPartition, ShardIndex>,
    /// What it found of partitions that leave this shard. Those they move to may serve them before this one is open.
    pub handed_over: Vec<PartitionCheckpoint>,
    /// Topics that were deleted; what is found of them is removed.
    pub deleted: BTreeSet<TopicId>,
    pub pacer: Rc<dyn Pace>,
}

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// Recovers what the shard's folder holds, takes over what is placed here now, and checkpoints. Nothing is
    /// served before this is done.
    pub async fn open(disk: D, clock: C, open: OpenShard) -> Result<(Self, RecoveryReport), OpenError> {
        let OpenShard { config, incarnation, assigned, imports, owners, handed_over, deleted, pacer } = open;
        let memory = TailMemory::new(config.tail_budget as u64);
        let fates = Fates::new(config.shard, &assigned, &owners, &deleted);
        let placement: BTreeMap<_, _> = assigned.iter().map(|a| (a.id, a.placement_epoch)).collect();
        let imports = imports.into_iter().filter_map(|import| {
            let placement_epoch = *placement.get(&import.id)?;
            Some(PartitionCheckpoint { placement_epoch, ..import })
        });
        let plan = RecoverShard {
            layout: config.layout.clone(),
            shard: config.shard,
            incarnation,
            journal: config.journal.clone(),
            memory: memory.clone(),
            fate: &|id, placement_epoch| fates.of(id, placement_epoch),
            assigned: placement.iter().map(|(&id, &placement_epoch)| (id, placement_epoch)).collect(),
            imports: imports.collect(),
            handed_over: handed_over.clone(),
            may_rebuild: true,
        };
        // What was admitted has its room in the reserve, at a start as well.
        let reserve_path = config.layout.reserve(config.shard);
        release_if_short(&disk, &reserve_path, config.tail_budget as u64).await.map_err(OpenError::Reserve)?;
        let recovered = recover_shard(&disk, plan).await.map_err(OpenError::recovery)?;
        let reserve = SpaceReserve::open(&disk, reserve_path, config.tail_budget as u64).await.map_err(OpenError::Reserve)?;
        let floor_path = config.layout.clock(config.shard);
        let (clock_floor, floor_ms) = ClockFloor::open(&disk, &floor_path).await.map_err(OpenError::Clock)?;
        let disk_full = !reserve.is_held();
        let background = Background {
            checkpoints: recovered.checkpoints,
            reserve,
            clock_floor,
            ran_full: false,
            incarnation,
            checkpointed_at: 0,
            handed_over,
            spare_is_old: true,
            opening: Vec::new(),
        };
        let parts =
            SharedParts { disk, clock, config, pacer, journal: recovered.journal, memory, background, disk_full, floor_ms };
        let partitions = Self::from_parts(parts);
        let cut_torn_group = recovered.report.torn_group_cut;
        partitions.adopt(recovered.partitions, assigned, cut_torn_group).await?;
        for topic in deleted {
            remove_topic_folder(&partitions.shared.disk, &partitions.shared.config.layout, topic)
                .await
                .map_err(OpenError::Remove)?;
        }
        Ok((partitions, recovered.report))
    }

    /// Gives every assigned partition the log it has, or a new one.
    async fn adopt(
        &self,
        mut recovered: BTreeMap<TopicPartition, RecoveredPartition<D>>,
        assigned: Vec<PartitionAssignment>,
        cut_torn_group: bool,
    ) -> Result<(), OpenError> {
        let mut any_is_new = false;
        for assignment in assigned {
            let id = assignment.id;
            let cell = match recovered.remove(&id) {
                Some(own) => {
                    let cell = self.restored(&assignment, own)?;
                    self.note_recovered(&cell.borrow(), cut_torn_group);
                    cell
                }
                // Recovery has made sure that there is nothing in its folder.
                None => {
                    any_is_new = true;
                    let cell = self.created(&assignment);
                    self.note_recovered(&cell.borrow(), false);
                    cell
                }
            };
            self.shared.partitions.borrow_mut().insert(id, Rc::clone(&cell));
            self.take_first_state(&cell, assignment.state);
        }
        let mut background = self.shared.background.lock().await;
        // What moves away now is in the checkpoint until the shard it moves to has it in its own; what no topic is known
        // of is kept beside it until an operator says what is to become of it.
        let kept = recovered.into_values().map(|partition| partition.log.checkpoint(partition.high_watermark));
        background.handed_over.extend(kept);
        // Both slots, or the loss of the newer one would lose a partition that the older one does not name yet: the next
        // move would leave its records behind in the journal.
        let mut written = self.checkpoint_both(&mut background).await.map_err(OpenError::checkpoint)?;
        if !written {
            // In the room of the reserve, which is given back now.
            written = self.checkpoint_both(&mut background).await.map_err(OpenError::checkpoint)?;
        }
        // What recovery found stands in both slots since then; without a record taken, nothing is lost by starting again.
        if written || !any_is_new { Ok(()) } else { Err(OpenError::DiskFull) }
    }

    /// A new partition must not begin at offset 0 over files that somebody's records are in.
    async fn assert_no_data(&self, id: TopicPartition) -> Result<(), OpenError> {
        let dir = self.shared.config.layout.partition_dir(id);
        match self.shared.disk.read_dir(&dir).await {
            Ok(entries) if entries.is_empty() => Ok(()),
            Ok(_) => Err(OpenError::UnknownData { id }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(OpenError::Look(error)),
        }
    }

    /// Opens new partitions. Both checkpoint slots name them before this returns and before they can be found, so
    /// that the loss of one slot loses no partition.
    pub async fn create(&self, assignments: Vec<PartitionAssignment>) -> Result<(), OpenError> {
        let mut background = self.shared.background.lock().await;
        self.refuse_failed().map_err(OpenError::checkpoint)?;
        let mut cells = Vec::with_capacity(assignments.len());
        for assignment in assignments.iter().filter(|assignment| !self.contains(assignment.id)) {
            self.assert_no_data(assignment.id).await?;
            cells.push((assignment.id, self.created(assignment)));
        }
        background.opening = cells.iter().map(|(_, cell)| cell.borrow().log.checkpoint(Offset::ZERO)).collect();
        let written = self.checkpoint_both(&mut background).await;
        background.opening.clear();
        if !written.map_err(OpenError::checkpoint)? {
            return Err(OpenError::DiskFull);
        }
        self.shared.partitions.borrow_mut().extend(cells);
        for assignment in assignments {
            if let Some(cell) = self.get(assignment.id) {
                // Nobody told it while it could not be found.
                self.tell_lease(&cell);
                self.take_first_state(&cell, assignment.state);
            }
        }
        Ok(())
    }

    /// Removes partitions of a deleted topic and their files. Produces that wait are told that nobody can say.
    pub async fn remove(&self, ids: &[TopicPartition]) -> Result<(), OpenError> {
        let mut background = self.shared.background.lock().await;
        self.refuse_failed().map_err(OpenError::checkpoint)?;
        for &id in ids {
            let Some(cell) = self.shared.partitions.borrow_mut().remove(&id) else { continue };
            let mut partition = cell.borrow_mut();
            let deletes: Vec<u64> = partition.log_starts.drain(..).filter_map(|moved| moved.token).collect();
            let unknown = partition.leader_mut().map(Leader::on_removed).unwrap_or_default();
            for token in unknown.into_iter().chain(deletes) {
                self.shared.completions.push(Completion { token, outcome: Completed::PartitionRemoved });
            }
            self.shared.replication.on_removed(id);
            self.tell_replicas(&mut partition);
            self.shared.completions.push_watched(partition.watchers.drain(..));
            partition.flushes.clear();
        }
        // Both slots, or the partition would come back when the newer one is lost.
        self.checkpoint_both(&mut background).await.map_err(OpenError::checkpoint)?;
        for &id in ids {
            let removed = remove_partition_folder(&self.shared.disk, &self.shared.config.layout, id).await;
            removed.map_err(|error| OpenError::checkpoint(self.fail(Failure::Remove { id, error })))?;
        }
        Ok(())
    }
}

pub(crate) fn log_config(settings: &PartitionSettings) -> LogConfig {
    LogConfig { segment_len: settings.segment_len, ..LogConfig::default() }
}

/// What becomes of the partitions that a shard's folder names.
pub(crate) struct Fates<'a> {
    shard: ShardIndex,
    assigned: BTreeMap<TopicPartition, (PlacementEpoch, LogConfig)>,
    owners: &'a BTreeMap<TopicPartition, ShardIndex>,
    deleted: &'a BTreeSet<TopicId>,
}

impl<'a> Fates<'a> {
    pub(crate) fn new(
        shard: ShardIndex,
        assigned: &[PartitionAssignment],
        owners: &'a BTreeMap<TopicPartition, ShardIndex>,
        deleted: &'a BTreeSet<TopicId>,
    ) -> Self {
        let assigned = assigned.iter().map(|a| (a.id, (a.placement_epoch, log_config(&a.settings)))).collect();
        Self { shard, assigned, owners, deleted }
    }

    /// `placement_epoch` is the one that a checkpoint, or an import, names.
    pub(crate) fn of(&self, id: TopicPartition, placement_epoch: Option<PlacementEpoch>) -> PartitionFate {
        if self.deleted.contains(&id.topic_id) {
            return PartitionFate::Deleted;
        }
        let assigned = self.assigned.get(&id);
        if let Some(&(_, config)) = assigned.filter(|(epoch, _)| placement_epoch == Some(*epoch)) {
            return PartitionFate::Recover(config);
        }
        if self.owners.get(&id).is_some_and(|&owner| owner != self.shard) {
            return PartitionFate::Elsewhere;
        }
        PartitionFate::Recover(assigned.map(|(_, config)| *config).unwrap_or_default())
    }
}
