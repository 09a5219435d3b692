//! From a data folder as a stop, a crash or a rotten device left it to a shard that can serve.
//!
//! Segments are trusted up to their recovery points and not read beyond; then every partition gets the journal
//! entries after the one its checkpoint names, in order (`recovery_replay`), as the decision table says
//! (`recovery_decision`). Recovery ends with all of it in segments, flushed, a new checkpoint in both slots, and an
//! empty journal under a new incarnation. It may itself be cut off anywhere and be run again.
//!
//! With the newer checkpoint slot lost, the older one and the journal suffice. With both lost, the partitions placed
//! here are rebuilt from their segments (`recovery_rebuild`), from all that the journal still holds and from the spare
//! checkpoint, and the report says so. With the spare lost as well nothing vouches for any log's end: each is reported as
//! possibly short.
//!
//! One window a single copy cannot close: rot in the very last group of the journal, which nothing names durable
//! before a later group or the idle marker does. It looks like a torn group and is cut; the report says
//! `torn_group_cut`. Once the idle marker stands, wherever it landed, the same rot is damage.
//!
//! A slot that the device does not give back is lost as well, and made so before anything else is written: were it read
//! again by the next start, it would vouch for blocks that this one has written anew.
//!
//! The expensive mistake is to start from less than there is: a journal that is missing where one has to be is an
//! error, never an empty beginning, and what another version of this program wrote is refused, never repaired. Memory is
//! bounded by the tail budget; what is replayed is written back as it goes. Deliberately absent: repair from replicas, and who leads afterwards.

use crate::batch_cache::TailMemory;
use crate::checkpoint::{PartitionCheckpoint, ShardCheckpoint};
use crate::checkpoint_codec::RingState;
use crate::checkpoint_slots::{Checkpoints, FoundCheckpoint, read_spare};
use crate::checkpoint_spare::write_spare_if_room;
use crate::damage::DamagedRange;
use crate::disk::Disk;
use crate::journal::{Journal, JournalConfig, JournalStart};
use crate::journal_files::{create_ring, open_ring};
use crate::journal_ring::{Ring, RingGeometry};
use crate::journal_scan::{JournalScan, Wanted, scan_journal};
use crate::layout::Layout;
use crate::log::{Log, LogConfig};
use crate::recovery_found::{FoundShard, find_checkpoint};
use crate::recovery_journal::plan_replay;
use crate::recovery_leftovers::{cut_leftovers, remove_segments, set_aside_leftovers};
use crate::recovery_rebuild_held::rebuild_partitions;
use crate::recovery_rebuild_journal::find_journal;
use crate::recovery_replay::Replay;
use crate::recovery_report::RecoveryReport;
use crate::recovery_truncation::Truncations;
use crate::recovery_unknown::refuse_unknown_data;
use sluice_model::{Incarnation, LeaderEpochHistory, Offset, PlacementEpoch, ProducerTable, ShardIndex, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

pub use crate::recovery_error::RecoveryError;

/// What becomes of a partition that the shard's checkpoint or journal names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionFate {
    /// It is recovered here, whether this shard is to keep it or only to hand it over.
    Recover(LogConfig),
    /// Its topic is deleted: its entries are skipped, its files are the caller's to remove.
    Deleted,
    /// Another shard holds it under a greater placement epoch: this shard's entries no longer count.
    Elsewhere,
}

/// What a shard is to be recovered with.
pub struct RecoverShard<'a> {
    pub layout: Layout,
    pub shard: ShardIndex,
    /// Of this start; its number is greater than any this shard was ever used under.
    pub incarnation: Incarnation,
    /// The ring as configured; one of another shape that is found is read first and then made anew.
    pub journal: JournalConfig,
    pub memory: TailMemory,
    /// Asked once for each partition found, with its placement epoch (`None` when no checkpoint names it).
    pub fate: &'a dyn Fn(TopicPartition, Option<PlacementEpoch>) -> PartitionFate,
    /// What is placed on this shard: rebuilt from its segments when both checkpoint slots are lost. Nobody else works with
    /// its files, so that those which nothing names are set aside.
    pub assigned: Vec<(TopicPartition, PlacementEpoch)>,
    /// Partitions that other shards recovered and this one owns from now on.
    pub imports: Vec<PartitionCheckpoint>,
    /// Partitions that this shard was recovered for in the same start, and another one owns from now on. Its checkpoints
    /// name them as they are here until that one's do; their files are not looked at, since that one may be at work with
    /// them already.
    pub handed_over: Vec<PartitionCheckpoint>,
    /// Whether `assigned` is all that the shard is to have, so that it can be rebuilt from segments without a checkpoint that
    /// names what it held, the spare.
    pub may_rebuild: bool,
}

/// A shard that can serve.
pub struct RecoveredShard<D: Disk> {
    pub journal: Journal<D>,
    pub checkpoints: Checkpoints<D>,
    pub partitions: BTreeMap<TopicPartition, RecoveredPartition<D>>,
    pub report: RecoveryReport,
}

/// A partition whose log is wholly in segments, flushed.
pub struct RecoveredPartition<D: Disk> {
    pub log: Log<D>,
    /// 0 when no checkpoint named the partition.
    pub placement_epoch: PlacementEpoch,
    /// As of the log end.
    pub epochs: LeaderEpochHistory,
    /// As of the log end.
    pub producers: ProducerTable,
    /// As of the last checkpoint, within the log.
    pub high_watermark: Offset,
    /// Acknowledged perhaps, and lost here: not served.
    pub damaged: Vec<DamagedRange>,
    /// Journal groups were lost, now or before, whose contents nobody knows, and no later frame vouches for what this
    /// log had then: acknowledged records may be missing from this offset on.
    pub possibly_short: Option<Offset>,
}

/// Recovers a shard, or makes a new one where there is none.
pub async fn recover_shard<D: Disk>(disk: &D, mut plan: RecoverShard<'_>) -> Result<RecoveredShard<D>, RecoveryError> {
    check_journal_shape(&plan.journal)?;
    let mut report = RecoveryReport::new(plan.shard);
    let found = match find_checkpoint(disk, &plan, &mut report).await? {
        FoundShard::Checkpoint(found) => found,
        FoundShard::Nothing => return create_shard(disk, plan, report).await,
        FoundShard::CheckpointsLost(spare) => return rebuild_shard(disk, plan, report, spare.as_deref()).await,
    };
    check_incarnation(&plan, found.checkpoint.incarnation.number)?;
    let (files, scan) = read_journal(disk, &plan, &found).await?;
    check_incarnation(&plan, scan.incarnation_number_max)?;
    report.ring_incarnation_number = Some(scan.incarnation_number_max).filter(|number| *number > 0);

    let journal_plan = plan_replay(&scan.groups, found.checkpoint.journal_sequence);
    report.torn_group_cut = journal_plan.torn_group_cut;
    report.ends_marked = journal_plan.ends_marked;
    let first_file = scan.groups.last().map_or(0, |group| (group.placement.file + 1) % found.ring.file_count);
    let imports = std::mem::take(&mut plan.imports);
    let truncations = Truncations::find(disk, &files, &journal_plan).await?;
    let mut replay = Replay::new(disk, &plan, truncations, report);
    replay.start(found.checkpoint.partitions.clone(), imports, journal_plan.next_sequence).await?;
    for step in &journal_plan.steps {
        replay.run_step(&files, step).await?;
    }
    if replay.may_lack_log_starts()
        && let Some(spare) = read_spare(disk, &plan.layout, plan.shard).await?
        && spare.checkpoint.incarnation == found.checkpoint.incarnation
    {
        replay.take_log_starts(&spare.checkpoint);
    }
    let next_sequence = journal_plan.next_sequence.max(replay.held_sequence_max() + 1);
    let (partitions, report) = replay.finish().await?;

    let ring = Ring::new(found.ring, first_file);
    let rest = Rest { files, ring, next_sequence, found: Some(found), partitions, report };
    start_anew(disk, plan, rest).await
}

/// What recovery has come to before anything but segments is written.
struct Rest<D: Disk> {
    files: Vec<D::File>,
    ring: Ring,
    next_sequence: u64,
    found: Option<Box<FoundCheckpoint>>,
    partitions: BTreeMap<TopicPartition, RecoveredPartition<D>>,
    report: RecoveryReport,
}

/// Both checkpoints are lost: segments say what they hold, the journal the rest.
async fn rebuild_shard<D: Disk>(
    disk: &D,
    mut plan: RecoverShard<'_>,
    mut report: RecoveryReport,
    spare: Option<&FoundCheckpoint>,
) -> Result<RecoveredShard<D>, RecoveryError> {
    let journal = find_journal(disk, &plan.layout, plan.shard, plan.journal.file_count, spare).await?;
    check_incarnation(&plan, journal.incarnation_number_max)?;
    report.rebuilt = true;
    report.ring_incarnation_number = journal.ring_incarnation_number;
    report.spare_lost = spare.is_none();
    report.torn_group_cut = journal.plan.torn_group_cut;
    report.ends_marked = journal.plan.ends_marked;
    let truncations = Truncations::find(disk, &journal.files, &journal.plan).await?;
    let rebuilt = rebuild_partitions(disk, &plan, &journal, &truncations, spare.map(|spare| &spare.checkpoint)).await?;
    let found: Vec<_> = rebuilt.iter().map(|rebuilt| (rebuilt.checkpoint.id, rebuilt.log_start, rebuilt.doubted)).collect();
    let imports = std::mem::take(&mut plan.imports);
    let mut replay = Replay::new(disk, &plan, truncations, report);
    replay.start(rebuilt.into_iter().map(|rebuilt| rebuilt.checkpoint).collect(), imports, journal.plan.next_sequence).await?;
    for (id, log_start, doubted) in found {
        replay.on_rebuilt(id, log_start, doubted, spare.is_some());
    }
    for step in &journal.plan.steps {
        replay.run_step(&journal.files, step).await?;
    }
    let next_sequence = journal.plan.next_sequence.max(replay.held_sequence_max() + 1);
    let (partitions, report) = replay.finish().await?;
    let ring = Ring::new(journal.ring, (journal.last_file + 1) % journal.ring.file_count);
    let rest = Rest { files: journal.files, ring, next_sequence, found: None, partitions, report };
    start_anew(disk, plan, rest).await
}

async fn read_journal<D: Disk>(
    disk: &D,
    plan: &RecoverShard<'_>,
    found: &FoundCheckpoint,
) -> Result<(Vec<D::File>, JournalScan), RecoveryError> {
    let files = open_named_ring(disk, &plan.layout, found).await?;
    let wanted =
        Wanted { shard: plan.shard, incarnation: found.checkpoint.incarnation, from_sequence: found.checkpoint.journal_sequence };
    let scan = scan_journal::<D>(&files, found.ring, wanted).await?;
    Ok((files, scan))
}

/// The ring that a checkpoint names; no files while that is being made anew.
pub(crate) async fn open_named_ring<D: Disk>(
    disk: &D,
    layout: &Layout,
    found: &FoundCheckpoint,
) -> Result<Vec<D::File>, RecoveryError> {
    if found.ring_state == RingState::Rebuilt {
        return Ok(Vec::new());
    }
    let dir = layout.shard_journal_dir(found.checkpoint.shard);
    match open_ring(disk, &dir, found.ring).await {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
            Err(RecoveryError::JournalMissing { dir, error })
        }
        opened => Ok(opened?),
    }
}

async fn create_shard<D: Disk>(
    disk: &D,
    mut plan: RecoverShard<'_>,
    mut report: RecoveryReport,
) -> Result<RecoveredShard<D>, RecoveryError> {
    report.created = true;
    let imports = std::mem::take(&mut plan.imports);
    let mut replay = Replay::new(disk, &plan, Truncations::default(), report);
    replay.start(Vec::new(), imports, 1).await?;
    let (partitions, report) = replay.finish().await?;
    let ring = Ring::new(plan.journal.geometry(), 0);
    let rest = Rest { files: Vec::new(), ring, next_sequence: 1, found: None, partitions, report };
    start_anew(disk, plan, rest).await
}

/// Puts a checkpoint of the new incarnation into both slots and opens the journal, made anew when its shape is not
/// the configured one. Then files without a name are set aside.
async fn start_anew<D: Disk>(disk: &D, plan: RecoverShard<'_>, rest: Rest<D>) -> Result<RecoveredShard<D>, RecoveryError> {
    let Rest { mut files, mut ring, next_sequence, found, mut partitions, mut report } = rest;
    refuse_unknown_data(disk, &plan, &partitions).await?;
    let removed: Vec<_> = partitions.values_mut().flat_map(|partition| partition.log.plan_remove_segments()).collect();
    let kept = partitions.values().map(|partition| partition.log.checkpoint(partition.high_watermark));
    let checkpoint = ShardCheckpoint {
        shard: plan.shard,
        incarnation: plan.incarnation,
        journal_sequence: next_sequence,
        partitions: plan.handed_over.iter().cloned().chain(kept).collect(),
    };
    let geometry = plan.journal.geometry();
    let mut checkpoints = Checkpoints::open(disk, &plan.layout, plan.shard, found.as_deref(), geometry).await?;
    let is_remade = files.is_empty() || ring.geometry() != geometry;
    // Until the ring is whole, the slots say that it holds nothing and need not be there.
    checkpoints.set_ring_state(if is_remade { RingState::Rebuilt } else { RingState::InUse });
    write_both(&mut checkpoints, &checkpoint).await?;
    // The folder of a partition that is placed elsewhere is another shard's, which may be at work there already.
    let placed_here: BTreeSet<TopicPartition> = plan.assigned.iter().map(|(id, _)| *id).collect();
    // Where groups are damaged, it may be the last copy of something, for whoever wants to look.
    if report.damaged_groups.is_empty() && report.lost_groups.is_empty() && !report.rebuilt {
        let logs = partitions.iter_mut().filter(|(id, _)| placed_here.contains(id)).map(|(_, partition)| &mut partition.log);
        cut_leftovers(disk, logs).await?;
    }
    // Whatever the ring holds is in segments: a spare that says so is right until the ring begins, and as soon as this one
    // is there, the truncations that only the old ring knows of are not needed any more.
    checkpoints.set_ring_state(RingState::Rebuilt);
    write_spare_if_room(&checkpoints, &checkpoint).await?;
    checkpoints.set_ring_state(RingState::InUse);
    if is_remade {
        drop(std::mem::take(&mut files));
        create_ring(disk, &plan.journal.dir, geometry).await?;
        files = open_ring(disk, &plan.journal.dir, geometry).await?;
        ring = Ring::new(geometry, 0);
        write_both(&mut checkpoints, &checkpoint).await?;
    }
    remove_segments(disk, &removed).await?;
    let logs = partitions.iter().filter(|(id, _)| placed_here.contains(id)).map(|(_, partition)| &partition.log);
    report.set_aside = set_aside_leftovers(disk, &plan.layout, plan.incarnation, logs).await?;
    let start = JournalStart {
        shard: plan.shard,
        incarnation: plan.incarnation,
        group_len_target: plan.journal.group_len_target,
        files,
        ring,
        first_sequence: next_sequence,
    };
    let journal = Journal::new(disk.clone(), start);
    // Behind the spare: one that could not be written does not count from here on.
    journal.begin().await?;
    // From now on a ring without that first group is one that has lost it.
    write_spare_if_room(&checkpoints, &checkpoint).await?;
    Ok(RecoveredShard { journal, checkpoints, partitions, report })
}

async fn write_both<D: Disk>(checkpoints: &mut Checkpoints<D>, checkpoint: &ShardCheckpoint) -> io::Result<()> {
    checkpoints.write(checkpoint).await?;
    checkpoints.write(checkpoint).await?;
    Ok(())
}

fn check_journal_shape(config: &JournalConfig) -> Result<(), RecoveryError> {
    let RingGeometry { file_len, file_count } = config.geometry();
    let group_len_target = config.group_len_target;
    if config.geometry().is_valid() && group_len_target as u64 <= file_len {
        return Ok(());
    }
    Err(RecoveryError::JournalShape { file_len, file_count, group_len_target })
}

fn check_incarnation(plan: &RecoverShard<'_>, found: u64) -> Result<(), RecoveryError> {
    let given = plan.incarnation.number;
    if given > found { Ok(()) } else { Err(RecoveryError::IncarnationTooLow { found, given }) }
}

#[cfg(test)]
#[path = "recovery_test.rs"]
mod tests;

#[cfg(test)]
#[path = "recovery_damage_test.rs"]
mod damage_tests;

#[cfg(test)]
#[path = "recovery_fate_test.rs"]
mod fate_tests;

#[cfg(test)]
#[path = "recovery_truncation_test.rs"]
mod truncation_tests;

#[cfg(test)]
#[path = "recovery_rebuild_test.rs"]
mod rebuild_tests;

#[cfg(test)]
#[path = "recovery_rebuild_cases_test.rs"]
mod rebuild_cases_tests;

#[cfg(test)]
#[path = "recovery_rebuild_trailer_test.rs"]
mod rebuild_trailer_tests;

#[cfg(test)]
#[path = "recovery_truncation_unread_test.rs"]
mod truncation_unread_tests;

#[cfg(test)]
#[path = "recovery_rebuild_cut_test.rs"]
mod rebuild_cut_tests;

#[cfg(test)]
#[path = "recovery_rebuild_doubt_test.rs"]
mod rebuild_doubt_tests;

#[cfg(test)]
#[path = "recovery_rebuild_kept_test.rs"]
mod rebuild_kept_tests;

#[cfg(test)]
#[path = "recovery_missing_test.rs"]
mod missing_tests;

#[cfg(test)]
#[path = "recovery_slots_test.rs"]
mod slots_tests;

#[cfg(test)]
#[path = "recovery_spare_test.rs"]
mod spare_tests;
