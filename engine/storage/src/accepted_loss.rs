//! A loss that an operator accepts: what it consists of, and the checkpoint that says so.
//!
//! Only on a stopped shard, and only by command: nothing in a start or in recovery comes here. Both slots are written,
//! and the spare, so that none of them brings the refusal back. The expensive mistake is to accept more than was shown:
//! what is written is made from the same value that is shown. Deliberately absent: asking.

use crate::careful_read::is_unreadable_journal;
use crate::checkpoint::{DAMAGED_RANGES_MAX, PartitionCheckpoint, ShardCheckpoint};
use crate::checkpoint_slots::{CHECKPOINT_FORMAT_VERSION, Checkpoints, FoundCheckpoint, RingState, SlotFound, read_slots};
use crate::damage::DamagedRange;
use crate::damaged_ranges::joined;
use crate::disk::Disk;
use crate::journal_files::open_ring;
use crate::journal_scan::{Wanted, scan_journal};
use crate::layout::Layout;
use crate::recovery::RecoveryError;
use crate::recovery_journal::plan_replay;
use crate::recovery_rebuild_kept::below;
use crate::recovery_truncation::Truncations;
use sluice_model::{Offset, ShardIndex, TopicPartition};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

/// What of one shard is refused or in doubt.
#[derive(Debug)]
pub struct ShardLoss {
    pub shard: ShardIndex,
    /// The journal is missing or not whole, and why: all that it alone held is lost.
    pub journal: Option<(PathBuf, io::Error)>,
    /// Those that lose something.
    pub partitions: Vec<PartitionLoss>,
    /// Where truncations have ended logs that the checkpoint has as they were before.
    cuts: BTreeMap<TopicPartition, Offset>,
    found: Box<FoundCheckpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionLoss {
    pub id: TopicPartition,
    pub damaged: Vec<DamagedRange>,
    pub possibly_short: Option<Offset>,
    /// With a missing journal: acknowledged records may be missing from here on.
    pub journal_from: Option<Offset>,
}

/// What there is to accept in a shard; `None` when it has no good checkpoint (a start rebuilds it, or makes it).
pub async fn find_loss<D: Disk>(disk: &D, layout: &Layout, shard: ShardIndex) -> Result<Option<ShardLoss>, RecoveryError> {
    let mut newest: Option<Box<FoundCheckpoint>> = None;
    for (index, slot) in read_slots(disk, layout, shard).await?.into_iter().enumerate() {
        match slot {
            SlotFound::Good(found) if newest.as_ref().is_none_or(|newest| newest.slot_sequence < found.slot_sequence) => {
                newest = Some(found);
            }
            SlotFound::OtherVersion { found } => {
                let (path, known) = (layout.checkpoint_slot(shard, index), CHECKPOINT_FORMAT_VERSION.into());
                return Err(RecoveryError::OtherVersion { path, found: found.into(), known });
            }
            _ => {}
        }
    }
    let Some(mut found) = newest else { return Ok(None) };
    let dir = layout.shard_journal_dir(shard);
    let is_new = found.ring_state == RingState::Rebuilt;
    let opened = if is_new { Ok(Vec::new()) } else { open_ring(disk, &dir, found.ring).await };
    let mut cuts = BTreeMap::new();
    let journal = match opened {
        Ok(files) if files.is_empty() => None,
        Ok(files) => {
            cuts = find_cuts::<D>(&found, &files).await?;
            None
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => Some((dir, error)),
        Err(error) => return Err(error.into()),
    };
    // Nobody misses what was cut off.
    for partition in &mut found.checkpoint.partitions {
        if let Some(&end) = cuts.get(&partition.id) {
            partition.damaged = below(&partition.damaged, end);
            partition.possibly_short = partition.possibly_short.filter(|&offset| offset < end);
        }
    }
    let of = |partition: &PartitionCheckpoint| PartitionLoss {
        id: partition.id,
        damaged: partition.damaged.clone(),
        possibly_short: partition.possibly_short,
        journal_from: journal.is_some().then_some(partition.recovery_point.offset),
    };
    let loses = |loss: &PartitionLoss| !loss.damaged.is_empty() || loss.possibly_short.is_some() || loss.journal_from.is_some();
    let partitions = found.checkpoint.partitions.iter().map(of).filter(loses).collect();
    Ok(Some(ShardLoss { shard, journal, partitions, cuts, found }))
}

/// Where the journal says that logs were cut since the checkpoint. Nothing where the device does not give it back: no start
/// comes of that either.
async fn find_cuts<D: Disk>(found: &FoundCheckpoint, files: &[D::File]) -> io::Result<BTreeMap<TopicPartition, Offset>> {
    let ShardCheckpoint { shard, incarnation, journal_sequence, ref partitions } = found.checkpoint;
    let wanted = Wanted { shard, incarnation, from_sequence: journal_sequence };
    let truncations = match scan_journal::<D>(files, found.ring, wanted).await {
        Ok(scan) => Truncations::read::<D>(files, &plan_replay(&scan.groups, journal_sequence)).await,
        Err(error) => Err(error),
    };
    let truncations = match truncations {
        Err(error) if is_unreadable_journal(&error) => return Ok(BTreeMap::new()),
        read => read?,
    };
    let lowest = |partition: &PartitionCheckpoint| {
        let point = &partition.recovery_point;
        let lowest = truncations.lowest_after(partition.id, point.held).map(|lowest| lowest.end_offset);
        lowest.filter(|&end| end < point.offset).map(|end| (partition.id, end))
    };
    Ok(partitions.iter().filter_map(lowest).collect())
}

impl ShardLoss {
    #[must_use]
    pub fn checkpoint(&self) -> &ShardCheckpoint {
        &self.found.checkpoint
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.journal.is_none() && self.partitions.is_empty()
    }

    /// Offsets of `id` that a look at its segments has found to be lost and no broker has met yet. What is deleted, cut
    /// off or was accepted before is no loss.
    pub fn on_found(&mut self, id: TopicPartition, lost: DamagedRange) {
        let Some(partition) = self.found.checkpoint.partitions.iter_mut().find(|partition| partition.id == id) else { return };
        let until = self.cuts.get(&id).map_or(lost.until, |&end| end.min(lost.until));
        let lost = DamagedRange { from: lost.from.max(partition.log_start_offset), until };
        let is_accepted = partition.accepted.iter().any(|range| range.from <= lost.from && lost.until <= range.until);
        if lost.from >= lost.until || is_accepted {
            return;
        }
        partition.damaged = joined(&partition.damaged, &[lost]);
        let damaged = partition.damaged.clone();
        match self.partitions.iter_mut().find(|partition| partition.id == id) {
            Some(loss) => loss.damaged = damaged,
            None => self.partitions.push(PartitionLoss { id, damaged, possibly_short: None, journal_from: None }),
        }
    }

    /// A partition that no checkpoint and no journal names, as its segments have it. What it may lack is shown with the
    /// loss of a journal, and what of it is damaged with the rest.
    pub fn on_unnamed(&mut self, partition: PartitionCheckpoint) {
        self.partitions.push(PartitionLoss {
            id: partition.id,
            damaged: partition.damaged.clone(),
            possibly_short: None,
            journal_from: Some(partition.recovery_point.offset),
        });
        self.found.checkpoint.partitions.push(partition);
        self.found.checkpoint.partitions.sort_by_key(|partition| partition.id);
    }

    /// Writes both slots: what was damaged is accepted and stepped over by readers, nothing is in doubt, and a journal
    /// that is missing is not asked for any more.
    pub async fn accept<D: Disk>(mut self, disk: &D, layout: &Layout) -> io::Result<()> {
        for partition in &mut self.found.checkpoint.partitions {
            let accepted = joined(&partition.accepted, &std::mem::take(&mut partition.damaged));
            if accepted.len() > DAMAGED_RANGES_MAX {
                let what = format!(
                    "partition {} would have {} accepted ranges, and a checkpoint takes {DAMAGED_RANGES_MAX}; delete records up to \
                     behind the first of them, then accept the rest",
                    partition.id,
                    accepted.len()
                );
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
            (partition.accepted, partition.possibly_short) = (accepted, None);
        }
        let mut checkpoints = Checkpoints::open(disk, layout, self.shard, Some(&self.found), self.found.ring).await?;
        let gone = self.journal.is_some();
        checkpoints.set_ring_state(if gone { RingState::Rebuilt } else { self.found.ring_state });
        checkpoints.write(&self.found.checkpoint).await?;
        checkpoints.write(&self.found.checkpoint).await?;
        checkpoints.write_spare(&self.found.checkpoint).await
    }
}

#[cfg(test)]
#[path = "accepted_loss_test.rs"]
mod tests;
