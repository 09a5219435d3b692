//! Which groups stand in a journal's ring, found without believing any of them.
//!
//! Only groups of one shard and one incarnation count, from one sequence on: what a restart has to replay is always
//! of the incarnation that the checkpoint names, because that incarnation stood in both slots before its first
//! group. The random bits also keep a record body that imitates a header from being taken for one. After bytes
//! that are no header the search goes on block by block, so damage to one group does not hide those behind it; and so
//! it does within a group that the next one does not follow, which may stand there by mistake, over the next one.
//!
//! Bodies are read here only where nothing names a group durable: of the others replay finds out itself, so the
//! journal is read once. Memory is bounded: a window, and some bytes for each group found. Deliberately absent: what
//! to make of it (`recovery_decision`).

use crate::careful_read::read_journal;
use crate::commit_group::{GROUP_HEADER_LEN, GroupHeader};
use crate::disk::Disk;
use crate::journal_ring::{Placement, RingGeometry};
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{Incarnation, ShardIndex};
use std::io;
use std::ops::Deref;

const BLOCK: u64 = BLOCK_LEN as u64;
/// What a device writes, and may write elsewhere.
const SECTOR_LEN: usize = 512;
/// Bytes read at once while looking for headers: between the largest groups most bytes are skipped.
const SCAN_WINDOW_LEN: u64 = 128 * 1024;

/// What a scan looks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) shard: ShardIndex,
    pub(crate) incarnation: Incarnation,
    pub(crate) from_sequence: u64,
}

/// A group with a good header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FoundGroup {
    pub(crate) header: GroupHeader,
    pub(crate) header_crc: u32,
    /// Its checksum agrees, or a later group names it durable and it was not looked at yet.
    pub(crate) body_ok: bool,
    /// The highest sequence that a later group names durable whose header was found within this one's bytes, where a
    /// write that went astray has put it; 0 without one.
    pub(crate) named_within: u64,
    pub(crate) placement: Placement,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct JournalScan {
    /// By sequence, each once.
    pub(crate) groups: Vec<FoundGroup>,
    /// The greatest incarnation number at the start of a file, where a record body never stands.
    pub(crate) incarnation_number_max: u64,
}

/// Reads every file of a ring that can hold a wanted group.
pub(crate) async fn scan_journal<D: Disk>(files: &[D::File], ring: RingGeometry, wanted: Wanted) -> io::Result<JournalScan> {
    let mut scan = JournalScan::default();
    let mut firsts = Vec::new();
    for file in files {
        let block = read_journal(file, 0, BLOCK_LEN).await?;
        firsts.push(GroupHeader::parse(&block).map(|(header, _)| header));
    }
    for (index, file) in files.iter().enumerate() {
        scan.incarnation_number_max = scan.incarnation_number_max.max(firsts[index].map_or(0, |first| first.incarnation.number));
        if can_hold_wanted(&firsts, index, wanted) {
            let index = u32::try_from(index).expect("a ring has at most JOURNAL_FILES_MAX files");
            scan_file::<D>(file, index, ring.file_len, wanted, &mut scan).await?;
        }
    }
    scan.groups.sort_by_key(|group| group.header.sequence);
    scan.groups.dedup_by_key(|group| group.header.sequence);
    verify_unnamed::<D>(files, &mut scan.groups).await?;
    Ok(scan)
}

/// The highest sequence that any of these groups names durable; 0 when there are none.
pub(crate) fn named_durable(groups: &[FoundGroup]) -> u64 {
    groups.iter().map(|group| group.header.durable_sequence.max(group.named_within)).max().unwrap_or(0)
}

/// Verifies the bodies of the last groups, which nothing names durable: they may be torn. A later group within their
/// bytes was written there by mistake, and says that they were whole.
async fn verify_unnamed<D: Disk>(files: &[D::File], groups: &mut [FoundGroup]) -> io::Result<()> {
    let named = named_durable(groups);
    let Some(last) = groups.last().map(|group| group.header.sequence) else { return Ok(()) };
    for group in groups.iter_mut().rev().take_while(|group| group.header.sequence > named) {
        let Placement { file, position } = group.placement;
        let bytes = read_journal(&files[file as usize], position, group.header.group_len()).await?;
        group.body_ok = good_body(&bytes, &group.header).is_some();
        group.named_within = named_within(&bytes, &group.header, last);
    }
    Ok(())
}

/// One group is in flight at a time, so one that was issued after `group` says that it was durable; and a write that
/// goes astray spoils two groups at most, so more than that after the last one found, it is none of ours.
fn named_within(bytes: &[u8], group: &GroupHeader, last: u64) -> u64 {
    let headers = (SECTOR_LEN..bytes.len()).step_by(SECTOR_LEN).filter_map(|at| GroupHeader::parse(&bytes[at..]));
    let later = headers.map(|(header, _)| header).filter(|header| {
        let is_ours = header.shard == group.shard && header.incarnation == group.incarnation;
        is_ours && header.sequence > group.sequence && header.sequence <= last.saturating_add(2)
    });
    later.map(|header| header.durable_sequence).max().unwrap_or(0)
}

/// Files are filled from their start, in order of sequence, so a first group says much about a whole file: unless the
/// write that put it there never arrived, and it is of an earlier round, or is another file's that has landed there. The
/// first is told from the files beside it; and as one write goes astray at a time, no single file is believed to begin
/// behind this one.
fn can_hold_wanted(firsts: &[Option<GroupHeader>], index: usize, wanted: Wanted) -> bool {
    let Some(first) = firsts[index].filter(|first| first.shard == wanted.shard) else { return true };
    let sequence_if_wanted = |header: Option<GroupHeader>| {
        header.filter(|h| h.shard == wanted.shard && h.incarnation == wanted.incarnation).map(|h| h.sequence)
    };
    let before = firsts[(index + firsts.len() - 1) % firsts.len()];
    let after = firsts[(index + 1) % firsts.len()];
    if first.incarnation == wanted.incarnation {
        let begins_later = |sequence: u64| sequence > first.sequence && sequence <= wanted.from_sequence;
        let later = firsts.iter().filter_map(|other| sequence_if_wanted(*other)).filter(|sequence| begins_later(*sequence));
        return later.count() < 2 || sequence_if_wanted(before).is_some_and(|sequence| sequence > first.sequence);
    }
    let follows_wanted = sequence_if_wanted(before).is_some();
    let begins_before_the_first_seen = sequence_if_wanted(after).is_some_and(|sequence| sequence > wanted.from_sequence);
    let older = firsts.iter().flatten().filter(|header| sequence_if_wanted(Some(**header)).is_none());
    let newest = older.map(|header| header.sequence).max();
    let would_be_first = index == 0 || before.map(|header| header.sequence) == newest;
    let few_seen = firsts.iter().filter_map(|other| sequence_if_wanted(*other)).count() < 2;
    first.incarnation.number >= wanted.incarnation.number
        || follows_wanted
        || begins_before_the_first_seen
        || (few_seen && would_be_first)
}

async fn scan_file<D: Disk>(file: &D::File, index: u32, file_len: u64, wanted: Wanted, scan: &mut JournalScan) -> io::Result<()> {
    let mut window = Window::<D>::new(file, SCAN_WINDOW_LEN);
    let mut position = 0;
    // The group whose bytes were stepped over last, and where they begin behind its first block.
    let mut over: Option<(u64, u64)> = None;
    while position < file_len {
        let parsed = GroupHeader::parse(window.bytes(position, BLOCK).await?);
        let found = parsed.filter(|(header, _)| {
            let ours = header.shard == wanted.shard && header.incarnation == wanted.incarnation;
            ours && position + header.group_len() as u64 <= file_len
        });
        // A group of an earlier round says nothing about what stands behind its header now.
        let found = found.filter(|(header, _)| header.sequence >= wanted.from_sequence);
        // A group that a write has put too far back covers the beginning of the next one, or all of it.
        if let Some((sequence, inside)) = over.take()
            && found.is_none_or(|(header, _)| header.sequence != sequence + 1)
            && inside < position
        {
            position = inside;
            continue;
        }
        let Some((header, header_crc)) = found else {
            position += BLOCK;
            continue;
        };
        let placement = Placement { file: index, position };
        scan.groups.push(FoundGroup { header, header_crc, body_ok: true, named_within: 0, placement });
        over = Some((header.sequence, position + BLOCK));
        position += header.group_len() as u64;
    }
    Ok(())
}

/// The entries of a group, when they are all there and their checksum agrees.
pub(crate) fn good_body<'a>(group: &'a [u8], header: &GroupHeader) -> Option<&'a [u8]> {
    group_body(group, header).filter(|body| crc32c::crc32c(body) == header.body_crc)
}

/// The entries of a group, unverified.
pub(crate) fn group_body<'a>(group: &'a [u8], header: &GroupHeader) -> Option<&'a [u8]> {
    group.get(GROUP_HEADER_LEN..)?.get(..header.body_len as usize)
}

/// Part of a file in memory, read in large pieces as a walk goes on.
pub(crate) struct Window<D: Disk> {
    file: D::File,
    /// Bytes read at once, unless more are asked for.
    len: u64,
    start: u64,
    buffer: Option<D::Buffer>,
}

impl<D: Disk> Window<D> {
    pub(crate) fn new(file: &D::File, len: u64) -> Self {
        Self { file: file.clone(), len, start: 0, buffer: None }
    }

    /// The `len` bytes of whole blocks at `position`; fewer where the file ends. The caller has bounded `len`.
    pub(crate) async fn bytes(&mut self, position: u64, len: u64) -> io::Result<&[u8]> {
        let have = self.buffer.as_ref().map_or(0, |buffer| buffer.deref().len() as u64);
        if position < self.start || position + len > self.start + have {
            let want = len.max(self.len);
            self.buffer = None;
            let want = usize::try_from(want).expect("a window fits in memory");
            self.buffer = Some(read_journal(&self.file, position, want).await?);
            self.start = position;
        }
        let buffer = self.buffer.as_deref().unwrap_or_default();
        let from = usize::try_from(position - self.start).expect("inside the window");
        let end = from + usize::try_from(len).expect("inside the window");
        Ok(&buffer[from.min(buffer.len())..end.min(buffer.len())])
    }
}

#[cfg(test)]
#[path = "journal_scan_test.rs"]
mod tests;
