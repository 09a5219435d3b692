//! The journal of a shard that lost both checkpoints: which incarnation is its newest, which of its groups are there,
//! and what its entries say of each partition before anything is replayed.
//!
//! The newest incarnation is the one with the greatest number at the start of a file, where a record body never
//! stands; only when a file's start is no group (and not zeros) are the groups behind it asked too. The expensive
//! mistake is to take an older incarnation for the newest: what was acknowledged since would be left out. Deliberately
//! absent: segments (`recovery_rebuild`).

use crate::checkpoint_slots::{FoundCheckpoint, RingState};
use crate::commit_group::{Entries, GroupHeader, JournalEntry, other_group_version};
use crate::disk::{Disk, DiskFile};
use crate::entry_address::EntryAddress;
use crate::journal_files::{is_missing, open_found_ring};
use crate::journal_ring::RingGeometry;
use crate::journal_scan::{FoundGroup, Wanted, Window, good_body, group_body, scan_journal};
use crate::layout::{Layout, journal_file};
use crate::recovery::RecoveryError;
use crate::recovery_journal::{JournalPlan, Step, plan_replay};
use crate::recovery_report::LostGroups;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{FrameHeader, Incarnation, LeaderEpoch, Offset, ShardIndex, TopicPartition};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

const BLOCK: u64 = BLOCK_LEN as u64;
const WINDOW_LEN: u64 = 1024 * 1024;

/// A journal of which no checkpoint says anything.
pub(crate) struct FoundJournal<D: Disk> {
    pub(crate) files: Vec<D::File>,
    pub(crate) ring: RingGeometry,
    pub(crate) plan: JournalPlan,
    /// No start before used a greater one.
    pub(crate) incarnation_number_max: u64,
    /// Of the newest groups in the ring, 0 when none was found although some have to be there; `None` for a ring that is
    /// being made anew.
    pub(crate) ring_incarnation_number: Option<u64>,
    /// The file that the last group is in.
    pub(crate) last_file: u32,
}

/// What the entries that are left say of one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// Base offset of its first frame: from there on the journal has all of it.
    pub(crate) first: Option<Offset>,
    /// What that frame is chained to, and its leader epoch.
    pub(crate) first_chain: u32,
    pub(crate) first_epoch: LeaderEpoch,
    pub(crate) log_start: Offset,
    /// The lowest offset that the log was ever truncated to.
    pub(crate) cut_from: Option<Offset>,
}

impl Named {
    /// Whether a frame of a segment was cut off before the journal's first one was appended, which says so by its leader
    /// epoch: a truncation leaves the beginning of what it cuts off where it stands.
    pub(crate) fn supersedes(&self, header: &FrameHeader) -> bool {
        self.first.is_some_and(|first| header.next_offset() > first) && header.leader_epoch() < self.first_epoch
    }
}

/// What the segments of one partition hold, for the journal's entries to be found in.
pub(crate) struct InSegments<'a> {
    pub(crate) end: Offset,
    pub(crate) last_header_crc: u32,
    /// `header_crc` of the frames from `cut_from` on, by base offset.
    pub(crate) behind_cut: &'a BTreeMap<Offset, u32>,
}

/// The last entry that segments hold, and the offset after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeldEntry {
    pub(crate) address: EntryAddress,
    pub(crate) until: Offset,
}

/// Opens and scans it. Its ring has the shape that its files have; how many there were the spare says, or without one the
/// settings (`file_count`), or the last ones could be gone without a word.
pub(crate) async fn find_journal<D: Disk>(
    disk: &D,
    layout: &Layout,
    shard: ShardIndex,
    file_count: u32,
    spare: Option<&FoundCheckpoint>,
) -> Result<FoundJournal<D>, RecoveryError> {
    let dir = layout.shard_journal_dir(shard);
    let remade = spare.filter(|spare| spare.ring_state == RingState::Rebuilt);
    let file_count_min = spare.map_or(file_count, |spare| spare.ring.file_count);
    let (files, ring) = match (open_found_ring(disk, &dir, file_count_min).await, remade) {
        (Err(error), Some(spare)) if is_missing(&error) => return Ok(FoundJournal::nothing(Vec::new(), spare.ring, Some(spare))),
        (Err(error), _) if is_missing(&error) => return Err(RecoveryError::JournalMissing { dir, error }),
        (opened, _) => opened?,
    };
    let newest = newest_incarnation::<D>(&files, ring, shard, &dir).await?;
    let begun = spare.map(|spare| spare.checkpoint.incarnation);
    if let Some(spare) = remade.filter(|_| newest < begun) {
        return Ok(FoundJournal::nothing(files, ring, Some(spare)));
    }
    // What is older than the start that wrote the spare was in segments by then. Where no file begins with a group of that
    // start, its first one is lost, and others may be there behind it.
    let Some(incarnation) = newest.max(begun) else { return Ok(FoundJournal::nothing(files, ring, None)) };
    let mut scan = scan_journal::<D>(&files, ring, Wanted { shard, incarnation, from_sequence: 0 }).await?;
    drop_recycled(&mut scan.groups);
    let first = scan.groups.first().map_or(1, |group| group.header.sequence);
    let mut plan = plan_replay(&scan.groups, first);
    let begins_at = spare.map_or(1, |spare| spare.checkpoint.journal_sequence);
    if let Some(lost) = lost_before(&scan.groups, ring, begins_at) {
        plan.steps.insert(0, Step::Lost(lost));
        plan.next_sequence = plan.next_sequence.max(lost.last_sequence.saturating_add(1));
    }
    let last_file = scan.groups.last().map_or(ring.file_count - 1, |group| group.placement.file);
    let ring_incarnation_number =
        if scan.groups.is_empty() { newest.map_or(0, |newest| newest.number) } else { incarnation.number };
    let incarnation_number_max = scan.incarnation_number_max.max(incarnation.number);
    let ring_incarnation_number = Some(ring_incarnation_number);
    Ok(FoundJournal { files, ring, plan, incarnation_number_max, ring_incarnation_number, last_file })
}

impl<D: Disk> FoundJournal<D> {
    /// Of a ring that holds nothing that counts: it is new, as the spare says, or nothing is known of it.
    fn nothing(files: Vec<D::File>, ring: RingGeometry, spare: Option<&FoundCheckpoint>) -> Self {
        let begun = spare.map(|spare| &spare.checkpoint);
        let plan = JournalPlan { next_sequence: begun.map_or(1, |begun| begun.journal_sequence), ..JournalPlan::default() };
        Self {
            files,
            ring,
            plan,
            incarnation_number_max: begun.map_or(0, |begun| begun.incarnation.number),
            ring_incarnation_number: if begun.is_some() { None } else { Some(0) },
            last_file: ring.file_count - 1,
        }
    }

    /// First frame and log start of every partition it names.
    pub(crate) async fn named(&self) -> Result<BTreeMap<TopicPartition, Named>, RecoveryError> {
        let mut named: BTreeMap<TopicPartition, Named> = BTreeMap::new();
        self.for_each_entry(&mut |_, group_is_good, entry| match *entry {
            JournalEntry::Frame { header, .. } => {
                let named = named.entry(header.topic_partition()).or_default();
                if named.first.is_none() {
                    (named.first, named.first_chain) = (Some(header.base_offset()), header.prev_header_crc.to_native());
                    named.first_epoch = header.leader_epoch();
                }
            }
            JournalEntry::LogStart { id, offset } if group_is_good => {
                let named = named.entry(id).or_default();
                named.log_start = named.log_start.max(offset);
            }
            // It has no checksum but the group's.
            JournalEntry::LogStart { .. } => {}
            // Everything below was in segments by then, and what came back above it is in the journal.
            JournalEntry::Truncate { id, end_offset, last_header_crc } => {
                let named = named.entry(id).or_default();
                named.cut_from = Some(named.cut_from.map_or(end_offset, |cut| cut.min(end_offset)));
                if named.first.is_none_or(|first| end_offset < first) {
                    (named.first, named.first_chain) = (Some(end_offset), last_header_crc);
                    named.first_epoch = LeaderEpoch::default();
                }
            }
        })
        .await?;
        Ok(named)
    }

    /// The last entry of each partition that its segments hold already.
    pub(crate) async fn held(
        &self,
        in_segments: &BTreeMap<TopicPartition, InSegments<'_>>,
    ) -> Result<BTreeMap<TopicPartition, HeldEntry>, RecoveryError> {
        let mut last: BTreeMap<TopicPartition, HeldEntry> = BTreeMap::new();
        let mut before_next: BTreeMap<TopicPartition, HeldEntry> = BTreeMap::new();
        self.for_each_entry(&mut |address, _, entry| {
            let JournalEntry::Frame { header, .. } = *entry else { return };
            let id = header.topic_partition();
            let Some(segments) = in_segments.get(&id) else { return };
            let (crc, until) = (header.header_crc.to_native(), header.next_offset());
            let is_last = until == segments.end && crc == segments.last_header_crc;
            if is_last || segments.behind_cut.get(&header.base_offset()) == Some(&crc) {
                last.insert(id, HeldEntry { address, until });
            } else if header.base_offset() == segments.end && header.prev_header_crc.to_native() == segments.last_header_crc {
                before_next.entry(id).or_insert(HeldEntry { address: just_before(address), until: segments.end });
            }
        })
        .await?;
        before_next.extend(last);
        Ok(before_next)
    }

    /// Whether anything behind the group of this sequence is lost or damaged: entries of it may be missing then.
    pub(crate) async fn is_doubted_behind(&self, sequence: u64) -> Result<bool, RecoveryError> {
        Ok(self.plan.torn_group_cut || self.is_damaged_behind(sequence).await?)
    }

    /// Whether every entry that was ever durable from the group of this sequence on is here, none written over, lost or
    /// damaged. What the power cut off was not durable.
    pub(crate) async fn has_all_from(&self, sequence: u64) -> Result<bool, RecoveryError> {
        let begins_later = |step: &Step| match step {
            Step::Replay(group) => group.header.sequence > sequence,
            Step::Lost(_) => true,
        };
        // Every start begins its ring with a group: one without any has lost them all.
        let begins_in_time = self.plan.steps.first().is_some_and(|step| !begins_later(step));
        // The rest of the steps leaves out none: where groups are missing there is one that says so.
        Ok(begins_in_time && !self.is_damaged_behind(sequence.saturating_sub(1)).await?)
    }

    async fn is_damaged_behind(&self, sequence: u64) -> Result<bool, RecoveryError> {
        let is_lost = |step: &Step| matches!(step, Step::Lost(lost) if lost.last_sequence > sequence);
        if self.plan.steps.iter().any(is_lost) {
            return Ok(true);
        }
        for step in &self.plan.steps {
            let Step::Replay(FoundGroup { header, placement, .. }) = step else { continue };
            if header.sequence > sequence {
                let bytes = self.files[placement.file as usize].read_at(placement.position, header.group_len()).await?;
                if good_body(&bytes, header).is_none() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Every entry that proves itself, with its address and whether its whole group does.
    async fn for_each_entry(&self, on_entry: &mut dyn FnMut(EntryAddress, bool, &JournalEntry<'_>)) -> Result<(), RecoveryError> {
        let mut window: Option<(u32, Window<D>)> = None;
        for step in &self.plan.steps {
            let Step::Replay(FoundGroup { header, placement, .. }) = step else { continue };
            let of_file = window.take().filter(|(file, _)| *file == placement.file);
            let (_, mut reading) =
                of_file.unwrap_or_else(|| (placement.file, Window::new(&self.files[placement.file as usize], WINDOW_LEN)));
            let bytes = reading.bytes(placement.position, header.group_len() as u64).await?;
            let group_is_good = good_body(bytes, header).is_some();
            let entries = Entries::new(group_body(bytes, header).unwrap_or_default());
            for (index, entry) in (0..).zip(entries) {
                if let Ok(entry) = entry {
                    on_entry(EntryAddress { sequence: header.sequence, index }, group_is_good, &entry);
                }
            }
            window = Some((placement.file, reading));
        }
        Ok(())
    }
}

fn just_before(address: EntryAddress) -> EntryAddress {
    match address.index.checked_sub(1) {
        Some(index) => EntryAddress { index, ..address },
        None => EntryAddress { sequence: address.sequence - 1, index: u32::MAX },
    }
}

/// A file is only written to once nobody needs what it held, so an older group behind a newer one in its file is left
/// out: the group that was being written when the power went may have destroyed any of them.
fn drop_recycled(groups: &mut Vec<FoundGroup>) {
    let mut lowest: BTreeMap<u32, u64> = BTreeMap::new();
    let mut kept = Vec::with_capacity(groups.len());
    for group in groups.iter().rev() {
        let position = lowest.entry(group.placement.file).or_insert(u64::MAX);
        if group.placement.position < *position {
            *position = group.placement.position;
            kept.push(*group);
        }
    }
    kept.reverse();
    *groups = kept;
}

/// Groups before the first one that is there, when it is neither the first of its incarnation nor what the ring's next
/// group would have been written over. Every incarnation begins with a group: where there is none at all, that one is
/// lost (`begins_at`, or a later one), and whatever followed it.
fn lost_before(groups: &[FoundGroup], ring: RingGeometry, begins_at: u64) -> Option<LostGroups> {
    let (Some(first), Some(last)) = (groups.first(), groups.last()) else {
        return Some(LostGroups { first_sequence: begins_at, last_sequence: begins_at });
    };
    let (from, to) = (first.placement, last.placement);
    let overwritten = from.position == 0 && from.file == (to.file + 1) % ring.file_count;
    let sequence = first.header.sequence.saturating_sub(1);
    let explained = first.header.prev_group_crc == 0 || overwritten;
    (!explained).then_some(LostGroups { first_sequence: sequence, last_sequence: sequence })
}

/// The newest incarnation of this shard in the ring; `None` when it holds no group at all.
pub(crate) async fn newest_incarnation<D: Disk>(
    files: &[D::File],
    ring: RingGeometry,
    shard: ShardIndex,
    dir: &Path,
) -> Result<Option<Incarnation>, RecoveryError> {
    let mut newest: Option<Incarnation> = None;
    let mut other: Option<(u8, Incarnation, usize)> = None;
    for (index, file) in files.iter().enumerate() {
        let block = file.read_at(0, BLOCK_LEN).await?;
        match GroupHeader::parse(&block) {
            Some((header, _)) if header.shard == shard => newest = newest.max(Some(header.incarnation)),
            Some(_) => {}
            None if block.iter().all(|&byte| byte == 0) => {}
            None => {
                if let Some((version, incarnation)) = other_group_version(&block) {
                    other = other.max(Some((version, incarnation, index)));
                }
                newest = newest.max(newest_behind::<D>(file, ring, shard).await?);
            }
        }
    }
    match other {
        // Rot in the version of one group leaves others of the same incarnation.
        Some((found, incarnation, index)) if newest.is_none_or(|newest| newest < incarnation) => {
            let path = journal_file(dir, u32::try_from(index).unwrap_or(u32::MAX));
            Err(RecoveryError::OtherVersion { path, found: found.into(), known: GroupHeader::FORMAT_VERSION.into() })
        }
        _ => Ok(newest),
    }
}

async fn newest_behind<D: Disk>(file: &D::File, ring: RingGeometry, shard: ShardIndex) -> io::Result<Option<Incarnation>> {
    let mut window = Window::<D>::new(file, WINDOW_LEN);
    let (mut position, mut newest) = (0, None);
    while position < ring.file_len {
        let parsed = GroupHeader::parse(window.bytes(position, BLOCK).await?);
        position += match parsed.filter(|(header, _)| header.shard == shard) {
            Some((header, _)) => {
                newest = newest.max(Some(header.incarnation));
                header.group_len() as u64
            }
            None => BLOCK,
        };
    }
    Ok(newest)
}
