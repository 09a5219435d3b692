//! The journal's entries on their way into the logs.
//!
//! Every partition gets exactly the entries after the one its checkpoint names, in order, and only those that prove
//! themselves: checksums, offset and chain. Where entries were lost the log goes on behind the gap, which is
//! quarantined. The expensive mistake is to let damage in one partition keep another from being served, or memory
//! grow with the journal: what is replayed is written back as soon as the tails fill.

use crate::checkpoint::PartitionCheckpoint;
use crate::commit_group::{Entries, JournalEntry};
use crate::disk::Disk;
use crate::entry_address::EntryAddress;
use crate::journal_ring::Placement;
use crate::journal_scan::{FoundGroup, Window, group_body};
use crate::log::Log;
use crate::recovery::{PartitionFate, RecoverShard, RecoveryError};
use crate::recovery_decision::Verdict;
use crate::recovery_journal::{Step, judge_body};
use crate::recovery_replayed::{Replayed, write_back};
use crate::recovery_report::RecoveryReport;
use crate::recovery_segments::{check_segments, end_straddled_segment, straddle_is_good};
use crate::recovery_truncation::{FoundTruncation, Truncations, truncate_restored};
use crate::write_back::WriteBackKind;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{Offset, PlacementEpoch, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

mod finish;

/// Bytes of the journal read at once.
const REPLAY_WINDOW_LEN: u64 = 1024 * 1024;
/// Partitions that are written back and flushed at once: their flushes share what one costs.
const FLUSHES_AT_ONCE: usize = 16;

/// Replays into the logs of one shard.
pub(crate) struct Replay<'a, D: Disk> {
    disk: &'a D,
    plan: &'a RecoverShard<'a>,
    truncations: Truncations,
    /// Whatever is found of them here is in segments already, and those are another shard's.
    handed_over: BTreeSet<TopicPartition>,
    partitions: BTreeMap<TopicPartition, Found<D>>,
    held_sequence_max: u64,
    /// Log starts that came before the frame with which a straddled partition is compared.
    straddled_log_starts: BTreeMap<TopicPartition, Offset>,
    /// The last group of which anything was lost; 0 while there is none.
    lost_sequence: u64,
    /// Part of the journal file that is being replayed, and which file that is.
    window: Option<(u32, Window<D>)>,
    report: RecoveryReport,
}

/// What is to become of a partition that was found.
enum Found<D: Disk> {
    /// Its recovery point lies inside a frame: its log waits until that frame comes and can be compared.
    Straddled(Box<PartitionCheckpoint>, PartitionFate),
    Recovered(Box<Replayed<D>>),
    /// Deleted, or another shard's.
    Skipped,
}

impl<'a, D: Disk> Replay<'a, D> {
    pub(crate) fn new(disk: &'a D, plan: &'a RecoverShard<'a>, truncations: Truncations, report: RecoveryReport) -> Self {
        Self {
            disk,
            plan,
            truncations,
            handed_over: plan.handed_over.iter().map(|partition| partition.id).collect(),
            partitions: BTreeMap::new(),
            held_sequence_max: plan.handed_over.iter().map(|of| of.recovery_point.held.sequence).max().unwrap_or(0),
            straddled_log_starts: BTreeMap::new(),
            lost_sequence: 0,
            window: None,
            report,
        }
    }

    /// Takes the partitions of the shard's checkpoint, and those that it is given. An entry of the journal that is
    /// about an imported partition is older than the import and does not count.
    pub(crate) async fn start(
        &mut self,
        own: Vec<PartitionCheckpoint>,
        imports: Vec<PartitionCheckpoint>,
        next_sequence: u64,
    ) -> Result<(), RecoveryError> {
        for partition in own {
            self.held_sequence_max = self.held_sequence_max.max(partition.recovery_point.held.sequence);
            let superseded =
                imports.iter().any(|import| import.id == partition.id && import.placement_epoch > partition.placement_epoch);
            if !superseded {
                self.take(partition).await?;
            }
        }
        let newest = EntryAddress { sequence: next_sequence.max(self.held_sequence_max + 1) - 1, index: u32::MAX };
        for mut partition in imports {
            if !self.partitions.contains_key(&partition.id) {
                partition.recovery_point.held = newest;
                self.take(partition).await?;
            }
        }
        Ok(())
    }

    fn fate(&self, id: TopicPartition, placement_epoch: Option<PlacementEpoch>) -> PartitionFate {
        if self.handed_over.contains(&id) { PartitionFate::Elsewhere } else { (self.plan.fate)(id, placement_epoch) }
    }

    async fn take(&mut self, partition: PartitionCheckpoint) -> Result<(), RecoveryError> {
        let id = partition.id;
        let fate = self.fate(id, Some(partition.placement_epoch));
        let found = match fate {
            PartitionFate::Deleted | PartitionFate::Elsewhere => Found::Skipped,
            PartitionFate::Recover(_) => {
                let partition = check_segments(self.disk, &self.plan.layout, partition).await?;
                let point = partition.recovery_point;
                let straddled = point.next_frame_position < point.position;
                let lowest = self.truncations.lowest_after(id, point.held);
                let into = |end_offset| end_offset < point.offset || straddled && end_offset == point.offset;
                if let Some(truncation) = lowest.filter(|lowest| into(lowest.end_offset)) {
                    self.truncated(partition, fate, truncation).await?
                } else if straddled {
                    Found::Straddled(Box::new(partition), fate)
                } else {
                    self.restored(partition, fate)
                }
            }
        };
        self.partitions.insert(id, found);
        Ok(())
    }

    fn restored(&self, partition: PartitionCheckpoint, fate: PartitionFate) -> Found<D> {
        let PartitionFate::Recover(config) = fate else { return Found::Skipped };
        let straddled = self.straddled_log_starts.get(&partition.id).copied().unwrap_or_default();
        let dir = self.plan.layout.partition_dir(partition.id);
        let log = Log::restore(self.disk.clone(), dir, &partition, config, self.plan.memory.clone());
        Found::Recovered(Box::new(Replayed {
            log,
            placement_epoch: partition.placement_epoch,
            high_watermark: partition.high_watermark,
            held: partition.recovery_point.held,
            leader_epoch: partition.epochs.latest().unwrap_or_default(),
            log_start_offset: partition.log_start_offset.max(straddled),
            possibly_short: self.is_doubted(partition.recovery_point.held),
            has_no_checkpoint: false,
        }))
    }

    /// A partition whose checkpoint speaks of more than the journal leaves of it.
    async fn truncated(
        &self,
        partition: PartitionCheckpoint,
        fate: PartitionFate,
        truncation: FoundTruncation,
    ) -> Result<Found<D>, RecoveryError> {
        let mut found = self.restored(partition, fate);
        if let Found::Recovered(partition) = &mut found {
            truncate_restored(&mut partition.log, truncation).await?;
            partition.leader_epoch = partition.log.held.epochs().latest().unwrap_or_default();
            partition.high_watermark = partition.high_watermark.min(truncation.end_offset);
        }
        Ok(found)
    }

    /// Whether something was lost that may have been of a partition which holds all of its entries up to `held`.
    fn is_doubted(&self, held: EntryAddress) -> bool {
        self.lost_sequence > 0 && held.sequence <= self.lost_sequence
    }

    /// What rebuilding found besides the checkpoint, before any entry; `has_spare` when one vouches for what entries do not.
    pub(crate) fn on_rebuilt(&mut self, id: TopicPartition, log_start_offset: Offset, doubted: bool, has_spare: bool) {
        if let Some(Found::Recovered(partition)) = self.partitions.get_mut(&id) {
            partition.log_start_offset = partition.log_start_offset.max(log_start_offset);
            partition.possibly_short |= doubted;
            partition.has_no_checkpoint = !has_spare;
            if partition.placement_epoch == PlacementEpoch(0) {
                // Neither placed here nor in a checkpoint: the journal alone names it.
                self.report.unknown.insert(id);
            }
        }
    }

    /// The greatest sequence that any checkpointed partition holds an entry of.
    pub(crate) fn held_sequence_max(&self) -> u64 {
        self.held_sequence_max
    }

    pub(crate) async fn run_step(&mut self, files: &[D::File], step: &Step) -> Result<(), RecoveryError> {
        match step {
            Step::Replay(group) => self.run_group(files, group).await?,
            Step::Lost(groups) => {
                self.report.lost_groups.push(*groups);
                self.doubt_all(groups.last_sequence);
            }
        }
        self.make_room().await
    }

    async fn run_group(&mut self, files: &[D::File], group: &FoundGroup) -> Result<(), RecoveryError> {
        let (Placement { file, position }, header) = (group.placement, &group.header);
        let window = self.window.take().filter(|(of, _)| *of == file);
        let (_, mut window) = window.unwrap_or_else(|| (file, Window::new(&files[file as usize], REPLAY_WINDOW_LEN)));
        let bytes = window.bytes(position, header.group_len() as u64).await?;
        self.report.groups_read += 1;
        let Some(body) = group_body(bytes, header) else {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a journal file became shorter").into());
        };
        let damaged = judge_body(crc32c::crc32c(body) == header.body_crc) == Verdict::Damaged;
        if damaged {
            self.report.damaged_groups.push(header.sequence);
        }
        let mut index = 0;
        for entry in Entries::new(body) {
            let address = EntryAddress { sequence: header.sequence, index };
            match entry {
                // It has no checksum but the group's.
                Ok(JournalEntry::LogStart { .. }) if damaged => {}
                Ok(entry) => self.on_entry(address, entry).await?,
                Err(_) => self.doubt_all(header.sequence),
            }
            index += 1;
        }
        if index != header.entry_count {
            self.doubt_all(header.sequence);
        }
        self.window = Some((file, window));
        Ok(())
    }

    async fn on_entry(&mut self, address: EntryAddress, entry: JournalEntry<'_>) -> Result<(), RecoveryError> {
        let id = match entry {
            JournalEntry::Frame { header, .. } => header.topic_partition(),
            JournalEntry::LogStart { id, .. } | JournalEntry::Truncate { id, .. } => id,
        };
        self.settle(id, address, &entry).await?;
        if let (Some(Found::Straddled(..)), JournalEntry::LogStart { offset, .. }) = (self.partitions.get(&id), &entry) {
            let start = self.straddled_log_starts.entry(id).or_default();
            *start = (*offset).max(*start);
            return Ok(());
        }
        let Some(Found::Recovered(partition)) = self.partitions.get_mut(&id) else {
            *self.report.skipped.entry(id).or_default() += 1;
            return Ok(());
        };
        if address <= partition.held {
            return Ok(());
        }
        self.report.entries_replayed += 1;
        match entry {
            JournalEntry::Frame { header, .. } if self.truncations.cut_off(header, address) => {
                self.report.entries_replayed -= 1;
                self.report.entries_truncated += 1;
            }
            JournalEntry::Frame { header, body } if partition.accepts(header) => {
                self.report.bytes_replayed += header.frame_len() as u64;
                partition.append(header, body, address);
            }
            // Segments hold it already: a rebuilt partition is not told where the journal begins to be new to it.
            JournalEntry::Frame { header, .. }
                if self.report.rebuilt && header.next_offset() <= partition.log.log_end_offset() =>
            {
                self.report.entries_replayed -= 1;
            }
            JournalEntry::LogStart { offset, .. } => partition.log_start_offset = partition.log_start_offset.max(offset),
            // What it cuts off was not replayed. It vouches for the log's end as a frame does, or says what is missing.
            JournalEntry::Truncate { end_offset, .. } if end_offset >= partition.log.log_end_offset() => {
                partition.possibly_short = end_offset > partition.log.log_end_offset();
                // As of a checkpoint before the cut; what was appended since may not be committed.
                partition.high_watermark = partition.high_watermark.min(end_offset);
            }
            JournalEntry::Frame { .. } | JournalEntry::Truncate { .. } => {
                self.report.entries_replayed -= 1;
                self.report.out_of_place += 1;
                partition.possibly_short = true;
            }
        }
        Ok(())
    }

    /// Makes sure that it is known what becomes of a partition before an entry of it is looked at.
    async fn settle(&mut self, id: TopicPartition, address: EntryAddress, entry: &JournalEntry<'_>) -> Result<(), RecoveryError> {
        match self.partitions.get(&id) {
            None => {
                let fate = self.fate(id, None);
                if let PartitionFate::Recover(_) = fate {
                    self.report.unknown.insert(id);
                }
                let found = self.restored(PartitionCheckpoint::empty(id), fate);
                self.partitions.insert(id, found);
            }
            Some(Found::Straddled(partition, fate)) => {
                if address <= partition.recovery_point.held {
                    return Ok(());
                }
                let mut partition = partition.as_ref().clone();
                let is_good = match *entry {
                    JournalEntry::Frame { header, body } => {
                        straddle_is_good(self.disk, &self.plan.layout, &partition, header, body).await?
                    }
                    JournalEntry::Truncate { .. } => false,
                    JournalEntry::LogStart { .. } => return Ok(()),
                };
                if !is_good {
                    end_straddled_segment(&mut partition);
                }
                let found = self.restored(partition, *fate);
                self.partitions.insert(id, found);
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Something of this group was lost, and nobody knows whose it was. A partition whose segments hold later entries
    /// has lost nothing; one that is met, or compared, only later is doubted then (`is_doubted`).
    fn doubt_all(&mut self, sequence: u64) {
        self.lost_sequence = self.lost_sequence.max(sequence);
        for found in self.partitions.values_mut() {
            if let Found::Recovered(partition) = found
                && partition.held.sequence <= sequence
            {
                partition.possibly_short = true;
            }
        }
    }

    /// Brings the tails below half of their budget.
    async fn make_room(&mut self) -> Result<(), RecoveryError> {
        let memory = &self.plan.memory;
        let target = memory.budget_len() / 2;
        for kind in [WriteBackKind::WholeBlocks { at_least: BLOCK_LEN }, WriteBackKind::Everything] {
            if memory.used_len() - memory.clean_len() > target {
                for partition in self.logs() {
                    write_back(&mut partition.log, kind).await?;
                }
            }
        }
        while memory.used_len() > target {
            let Some(id) = memory.next_eviction() else { break };
            if let Some(Found::Recovered(partition)) = self.partitions.get_mut(&id) {
                partition.log.evict_oldest_clean();
            }
        }
        Ok(())
    }

    fn logs(&mut self) -> impl Iterator<Item = &mut Replayed<D>> {
        self.partitions.values_mut().filter_map(|found| match found {
            Found::Recovered(partition) => Some(&mut **partition),
            Found::Straddled(..) | Found::Skipped => None,
        })
    }
}
