//! The truncations that a journal holds, found before anything of it is replayed.
//!
//! A truncation may have cut files before the crash, and the checkpoint from which recovery starts may speak of
//! them as they were: what is above the lowest cut to come is therefore taken off the log at the start, where the
//! files below that cut are as they have always been, and no frame that a later truncation cuts off is replayed.
//! The expensive mistake is to replay in the order of the journal and to look for a boundary in files that are cut
//! already, or that later ones of the same name have replaced. Groups say in their header whether they hold a
//! truncation, so nothing else is read here.

use crate::careful_read::read_journal;
use crate::commit_group::{Entries, JournalEntry};
use crate::disk::Disk;
use crate::entry_address::EntryAddress;
use crate::journal_scan::{FoundGroup, group_body};
use crate::log::Log;
use crate::recovery_journal::{JournalPlan, Step};
use crate::rewrite::rewrite_part;
use sluice_model::{FrameHeader, Offset, TopicPartition};
use std::collections::BTreeMap;
use std::io;

/// By partition, in order of their addresses.
#[derive(Debug, Default)]
pub(crate) struct Truncations(BTreeMap<TopicPartition, Vec<FoundTruncation>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FoundTruncation {
    pub(crate) address: EntryAddress,
    pub(crate) end_offset: Offset,
    pub(crate) last_header_crc: u32,
}

impl Truncations {
    /// Those in the groups that are about to be replayed. One that stands in a group which nothing names durable is durable
    /// when this returns: its write may have failed, and been read back from where a power cut takes it. The files would then
    /// be cut, and nothing would say so.
    pub(crate) async fn find<D: Disk>(disk: &D, files: &[D::File], plan: &JournalPlan) -> io::Result<Self> {
        for group in truncating(plan).filter(|group| group.header.sequence > plan.named) {
            let (file, position) = (&files[group.placement.file as usize], group.placement.position);
            rewrite_part(disk, file, position..position + group.header.group_len() as u64).await?;
        }
        Self::read::<D>(files, plan).await
    }

    /// The same, and nothing is written.
    pub(crate) async fn read<D: Disk>(files: &[D::File], plan: &JournalPlan) -> io::Result<Self> {
        let mut found = Self::default();
        for group in truncating(plan) {
            let file = &files[group.placement.file as usize];
            let bytes = read_journal(file, group.placement.position, group.header.group_len()).await?;
            let body = group_body(&bytes, &group.header).unwrap_or_default();
            for (index, entry) in (0..).zip(Entries::new(body)) {
                // Its own checksum vouches for it, whatever else of the group is damaged.
                let Ok(JournalEntry::Truncate { id, end_offset, last_header_crc }) = entry else { continue };
                let address = EntryAddress { sequence: group.header.sequence, index };
                found.0.entry(id).or_default().push(FoundTruncation { address, end_offset, last_header_crc });
            }
        }
        Ok(found)
    }

    /// The lowest cut of this log behind `address`.
    pub(crate) fn lowest_after(&self, id: TopicPartition, address: EntryAddress) -> Option<FoundTruncation> {
        let after = self.0.get(&id)?.iter().filter(|found| found.address > address);
        after.min_by_key(|found| found.end_offset).copied()
    }

    /// Whether a frame, which stands at `address`, is cut off later. A cut ends a log between two frames, unless it could
    /// not read where one begins: what it went through is gone as well, even if it is good here. So is the frame that ends
    /// at the cut when the cut could not read that one: what was appended since follows the last one that it could.
    pub(crate) fn cut_off(&self, header: &FrameHeader, address: EntryAddress) -> bool {
        let (next_offset, crc) = (header.next_offset(), header.header_crc.to_native());
        let is_unread = |found: &FoundTruncation| next_offset == found.end_offset && crc != found.last_header_crc;
        let found = self.0.get(&header.topic_partition()).into_iter().flatten();
        found.filter(|found| found.address > address).any(|found| next_offset > found.end_offset || is_unread(found))
    }
}

/// The groups of a plan that hold a truncation.
fn truncating(plan: &JournalPlan) -> impl Iterator<Item = &FoundGroup> {
    let groups = plan.steps.iter().filter_map(|step| if let Step::Replay(group) = step { Some(group) } else { None });
    groups.filter(|group| group.header.truncates)
}

/// Truncates a log that was restored from a checkpoint, memory and files. Nothing of it when the log begins above.
pub(crate) async fn truncate_restored<D: Disk>(log: &mut Log<D>, found: FoundTruncation) -> io::Result<()> {
    let start = log.log_start_offset();
    let mut truncation = log.plan_truncate(found.end_offset.max(start)).run().await?;
    if truncation.end_offset() == found.end_offset && truncation.last_header_crc() != found.last_header_crc {
        // It could not read the last frame then, and what was appended since does not follow it.
        truncation = log.plan_truncate(Offset(found.end_offset.0.saturating_sub(1)).max(start)).run().await?;
    }
    if truncation.end_offset() <= found.end_offset {
        truncation.set_end(found.end_offset, found.last_header_crc);
    }
    if truncation.end_offset() < log.log_start_offset() {
        return Ok(());
    }
    log.truncate(truncation, found.address);
    if let Some(plan) = log.plan_cut() {
        let cut = plan.run().await?;
        log.on_cut(cut);
    }
    Ok(())
}
