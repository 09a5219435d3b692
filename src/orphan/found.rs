//! What a folder holds of partitions: by the newest checkpoint that names them, the journal entries after it, and
//! their segment files.
//!
//! Shards that are out of use count like the others. Only the segments that do not say themselves when their records
//! were appended are read, and only of the partitions asked for. Deliberately absent: judging what is good
//! (`log verify`).

use crate::log::files::{Files, SegmentFile};
use crate::log::finding::Standing;
use crate::log::{journal, segment};
use sluice_model::{FrameHeader, LeaderEpoch, Offset, PlacementEpoch, ProducerId, ShardIndex, TopicPartition};
use sluice_storage::checkpoint::PartitionCheckpoint;
use sluice_storage::commit_group::JournalEntry;
use std::collections::BTreeMap;
use std::io;

/// Who names a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NamedBy {
    Checkpoint,
    /// Only entries of a journal.
    Journal,
    /// Nobody: there are segments.
    Nobody,
}

#[derive(Clone, Debug)]
pub(super) struct FoundPartition {
    pub(super) named_by: NamedBy,
    /// The shard whose folder has its newest state.
    pub(super) shard: Option<ShardIndex>,
    pub(super) placement_epoch: PlacementEpoch,
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) log_start: Offset,
    pub(super) log_end: Offset,
    pub(super) record_count: u64,
    /// Of segment files, and of journal frames that are not in them.
    pub(super) bytes: u64,
    pub(super) append_time_ms: Option<i64>,
    pub(super) producer_id_max: Option<ProducerId>,
    /// Something in a segment is no good.
    pub(super) is_damaged: bool,
}

impl FoundPartition {
    fn empty(named_by: NamedBy) -> Self {
        Self {
            named_by,
            shard: None,
            placement_epoch: PlacementEpoch(0),
            leader_epoch: LeaderEpoch(0),
            log_start: Offset::ZERO,
            log_end: Offset::ZERO,
            record_count: 0,
            bytes: 0,
            append_time_ms: None,
            producer_id_max: None,
            is_damaged: false,
        }
    }

    pub(super) fn of_checkpoint(shard: ShardIndex, checkpoint: &PartitionCheckpoint) -> Self {
        let (start, point) = (checkpoint.log_start_offset, &checkpoint.recovery_point);
        let sealed = checkpoint.sealed.iter().map(|segment| (segment.base_offset, segment.next_offset));
        let ranges = sealed.chain([(point.segment_base, point.offset)]);
        Self {
            shard: Some(shard),
            placement_epoch: checkpoint.placement_epoch,
            leader_epoch: checkpoint.epochs.latest().unwrap_or_default(),
            log_start: start,
            log_end: point.offset,
            record_count: ranges.map(|(from, to)| to.0.saturating_sub(from.max(start).0)).sum(),
            producer_id_max: checkpoint.producers.iter().map(|(id, _)| id).max(),
            ..Self::empty(NamedBy::Checkpoint)
        }
    }

    fn on_frame(&mut self, header: &FrameHeader) {
        self.leader_epoch = self.leader_epoch.max(header.leader_epoch());
        self.append_time_ms = self.append_time_ms.max(Some(header.append_time_ms.to_native()));
        if header.producer_id() != ProducerId::NONE {
            self.producer_id_max = self.producer_id_max.max(Some(header.producer_id()));
        }
    }

    fn on_entry(&mut self, entry: &JournalEntry<'_>) {
        match *entry {
            JournalEntry::Frame { header, .. } => {
                self.on_frame(header);
                if header.base_offset() >= self.log_end {
                    self.log_end = header.next_offset();
                    self.record_count += u64::from(header.record_count.to_native());
                    self.bytes += header.frame_len() as u64;
                }
            }
            JournalEntry::LogStart { offset, .. } if offset > self.log_start => {
                self.record_count = self.record_count.saturating_sub(offset.0 - self.log_start.0);
                self.log_start = offset;
            }
            JournalEntry::Truncate { end_offset, .. } if end_offset < self.log_end => {
                self.record_count = self.record_count.saturating_sub(self.log_end.0 - end_offset.0);
                self.log_end = end_offset;
            }
            JournalEntry::LogStart { .. } | JournalEntry::Truncate { .. } => {}
        }
    }
}

/// All partitions for which `wanted` is true.
pub(super) fn find(
    files: &Files,
    wanted: &dyn Fn(TopicPartition) -> bool,
) -> io::Result<BTreeMap<TopicPartition, FoundPartition>> {
    let mut found = BTreeMap::new();
    for shard in &files.shards {
        for checkpoint in shard.newest().map_or(&[][..], |newest| &newest.checkpoint.partitions) {
            let known: Option<&FoundPartition> = found.get(&checkpoint.id);
            if wanted(checkpoint.id) && known.is_none_or(|known| known.placement_epoch < checkpoint.placement_epoch) {
                found.insert(checkpoint.id, FoundPartition::of_checkpoint(shard.shard, checkpoint));
            }
        }
    }
    for shard in &files.shards {
        journal::verify(shard, files, &mut |_, entries| {
            for (_, _, entry) in entries {
                let Ok(entry) = entry else { continue };
                let id = id_of(entry);
                if !wanted(id) {
                    continue;
                }
                let partition = found
                    .entry(id)
                    .or_insert_with(|| FoundPartition { shard: Some(shard.shard), ..FoundPartition::empty(NamedBy::Journal) });
                // Another shard's entries about it are older than what it has been handed over with.
                if partition.shard == Some(shard.shard) {
                    partition.on_entry(entry);
                }
            }
        })?;
    }
    for segment in files.segments.iter().filter(|segment| wanted(segment.id)) {
        let partition = found.entry(segment.id).or_insert_with(|| FoundPartition::empty(NamedBy::Nobody));
        add_segment(partition, segment, files.partitions.get(&segment.id))?;
    }
    Ok(found)
}

fn id_of(entry: &JournalEntry<'_>) -> TopicPartition {
    match *entry {
        JournalEntry::Frame { header, .. } => header.topic_partition(),
        JournalEntry::LogStart { id, .. } | JournalEntry::Truncate { id, .. } => id,
    }
}

fn add_segment(
    partition: &mut FoundPartition,
    segment: &SegmentFile,
    checkpoint: Option<&PartitionCheckpoint>,
) -> io::Result<()> {
    partition.bytes += std::fs::metadata(&segment.path)?.len();
    let sealed = checkpoint.and_then(|checkpoint| checkpoint.sealed.iter().find(|info| info.base_offset == segment.base_offset));
    // A sealed segment says itself when its records were appended, unless a crash ended it.
    if let Some(info) = sealed.filter(|info| info.append_time_ms_max != i64::MAX) {
        partition.append_time_ms = partition.append_time_ms.max(Some(info.append_time_ms_max));
        return Ok(());
    }
    let summary = segment::read(segment, checkpoint, &mut |_, header| partition.on_frame(header))?;
    partition.is_damaged |= summary.findings.iter().any(|finding| finding.standing == Standing::Damaged);
    if partition.named_by == NamedBy::Nobody {
        partition.log_start = if partition.record_count == 0 { segment.base_offset } else { partition.log_start };
        partition.log_end = partition.log_end.max(summary.next_offset);
        partition.record_count += summary.record_count;
    }
    Ok(())
}
