//! One shard's journal: its groups in sequence, and whether everything that a start would need is there and good.
//!
//! What counts is judged as recovery judges it: a group that a later one names durable must be whole; what nobody
//! names durable may be torn, which is an end and no damage. Groups older than the checkpoint needs are only
//! counted. The expensive mistake is to call a torn end damage, or the reverse.

use super::files::{Files, ShardFiles};
use super::finding::{Finding, crc};
use super::plain_disk::{PlainFile, ReadAround};
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{Incarnation, Offset, TopicPartition};
use sluice_storage::commit_group::{ENTRY_HEADER_LEN, Entries, EntryError, GROUP_HEADER_LEN, GroupHeader, JournalEntry};
use sluice_storage::entry_address::EntryAddress;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

const BLOCK: u64 = BLOCK_LEN as u64;
const WINDOW_LEN: usize = 1024 * 1024;

/// A group whose header is good.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) header: GroupHeader,
    pub(crate) header_crc: u32,
    pub(crate) body_ok: bool,
    /// A start would read it: it is of the checkpoint's incarnation and not older than the checkpoint needs.
    pub(crate) needed: bool,
    pub(crate) path: PathBuf,
    pub(crate) position: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct JournalSummary {
    pub(crate) group_count: u64,
    pub(crate) needed_count: u64,
    pub(crate) entry_count: u64,
    /// The last needed group is torn: nothing was acknowledged of it.
    pub(crate) torn_end: bool,
    pub(crate) findings: Vec<Finding>,
}

/// An entry, its address, and the byte of the file at which it begins; one that is no good is an `Err`.
pub(crate) type EntryAt<'a> = (EntryAddress, u64, Result<JournalEntry<'a>, EntryError>);

/// Sees each needed group with its entries.
pub(crate) type OnGroup<'a> = dyn FnMut(&Group, &[EntryAt<'_>]) + 'a;

/// Every group with a good header in the shard's files, in the order of files and positions. What the device does not give
/// is a finding.
fn groups(shard: &ShardFiles, findings: &mut Vec<Finding>) -> io::Result<Vec<Group>> {
    let wanted = shard.newest().map(|found| (found.checkpoint.incarnation, found.checkpoint.journal_sequence));
    let mut groups = Vec::new();
    for path in &shard.journal {
        scan_file(path, shard, &mut groups, findings)?;
    }
    // Without a checkpoint the newest incarnation counts, from its first group on.
    let newest = groups.iter().map(|group| group.header.incarnation).max().unwrap_or_default();
    let (incarnation, from) = wanted.unwrap_or((newest, 0));
    for group in &mut groups {
        group.needed = is_of(group, incarnation) && group.header.sequence >= from;
    }
    Ok(groups)
}

/// Reads what a start would read, in sequence, and judges it.
pub(crate) fn verify(shard: &ShardFiles, files: &Files, on_group: &mut OnGroup<'_>) -> io::Result<JournalSummary> {
    let mut summary = JournalSummary::default();
    let all = groups(shard, &mut summary.findings)?;
    summary.group_count = all.len() as u64;
    let mut needed: Vec<&Group> = all.iter().filter(|group| group.needed).collect();
    needed.sort_by_key(|group| (group.header.sequence, !group.body_ok));
    needed.dedup_by_key(|group| group.header.sequence);
    summary.needed_count = needed.len() as u64;
    let named = needed.iter().map(|group| group.header.durable_sequence).max().unwrap_or(0);
    let mut expected = shard.newest().map(|found| found.checkpoint.journal_sequence);
    let mut before: Option<&Group> = None;
    let mut chains = Chains::of(shard, files);
    for &group in &needed {
        let sequence = group.header.sequence;
        let gap = expected.is_some_and(|expected| sequence != expected);
        if gap && expected.is_some_and(|expected| expected <= named) {
            summary.findings.push(Finding::new(
                &group.path,
                group.position,
                "sequence of the group",
                expected.unwrap_or(0),
                sequence,
            ));
        } else if gap {
            summary.torn_end = true;
            break;
        }
        if let Some(before) = before.filter(|_| !gap)
            && before.header_crc != group.header.prev_group_crc
        {
            let problem = "checksum of the group before, as named by the group";
            summary.findings.push(Finding::new(
                &group.path,
                group.position,
                problem,
                crc(before.header_crc),
                crc(group.header.prev_group_crc),
            ));
        }
        if !group.body_ok && sequence > named {
            summary.torn_end = true;
            break;
        }
        read_group(group, &mut chains, &mut summary, on_group)?;
        (before, expected) = (Some(group), Some(sequence + 1));
    }
    let missing = expected.filter(|&expected| expected <= named);
    if let (Some(expected), Some(path)) = (missing, shard.journal.first()) {
        summary.findings.push(Finding::new(path, 0, "group known durable", format_args!("group {expected}"), "no such group"));
    }
    Ok(summary)
}

fn read_group(group: &Group, chains: &mut Chains, summary: &mut JournalSummary, on_group: &mut OnGroup<'_>) -> io::Result<()> {
    let file = PlainFile::open(&group.path)?;
    let ReadAround { bytes, .. } = file.read_around(group.position, group.header.group_len()).map_err(about(&group.path))?;
    let body = group_body(&bytes, &group.header).unwrap_or_default();
    let actual = crc32c::crc32c(body);
    if actual != group.header.body_crc {
        summary.findings.push(Finding::new(
            &group.path,
            group.position,
            "checksum of the group",
            crc(group.header.body_crc),
            crc(actual),
        ));
    }
    let mut position = group.position + GROUP_HEADER_LEN as u64;
    let mut entries = Vec::new();
    for (index, entry) in Entries::new(body).enumerate() {
        let address = EntryAddress { sequence: group.header.sequence, index: u32::try_from(index).unwrap_or(u32::MAX) };
        match &entry {
            Ok(good) => chains.follow(good, address, &group.path, position, &mut summary.findings),
            Err(EntryError::Frame(error)) => summary.findings.push(Finding::of_frame(&group.path, position, error)),
            Err(EntryError::Checksum) => {
                summary.findings.push(Finding::new(
                    &group.path,
                    position,
                    "checksum of the truncation",
                    "that of its bytes",
                    "another",
                ));
            }
            Err(EntryError::Malformed) => {
                summary.findings.push(Finding::new(
                    &group.path,
                    position,
                    "entry of the group",
                    "a known kind and length",
                    "another",
                ));
            }
        }
        let len = body.get(entry_start(position, group)..).and_then(entry_len);
        entries.push((address, position, entry));
        position += len.unwrap_or(0);
    }
    summary.entry_count += entries.len() as u64;
    let (expected, actual) = (group.header.entry_count as usize, entries.len());
    if expected != actual {
        summary.findings.push(Finding::new(&group.path, group.position, "entries of the group", expected, actual));
    }
    on_group(group, &entries);
    Ok(())
}

fn entry_start(position: u64, group: &Group) -> usize {
    usize::try_from(position - group.position).map_or(usize::MAX, |start| start - GROUP_HEADER_LEN)
}

fn entry_len(entry: &[u8]) -> Option<u64> {
    let len = u32::from_le_bytes(entry.get(4..8)?.try_into().ok()?);
    Some(u64::from(len) + ENTRY_HEADER_LEN as u64)
}

/// Where each partition's replay stands: the offset and chain that its next frame must have.
struct Chains {
    next: BTreeMap<TopicPartition, Chain>,
}

struct Chain {
    held: EntryAddress,
    offset: Offset,
    prev_header_crc: u32,
}

impl Chains {
    fn of(shard: &ShardFiles, files: &Files) -> Self {
        let partitions = shard.newest().map_or(&[][..], |found| &found.checkpoint.partitions);
        // Files of a partition that was placed elsewhere since are recovered there.
        let ours = partitions
            .iter()
            .filter(|ours| files.partitions.get(&ours.id).is_some_and(|newest| newest.placement_epoch == ours.placement_epoch));
        let next = ours.map(|partition| {
            let point = &partition.recovery_point;
            (partition.id, Chain { held: point.held, offset: point.offset, prev_header_crc: point.prev_header_crc })
        });
        Self { next: next.collect() }
    }

    fn follow(
        &mut self,
        entry: &JournalEntry<'_>,
        address: EntryAddress,
        path: &Path,
        position: u64,
        findings: &mut Vec<Finding>,
    ) {
        let (id, end) = match entry {
            JournalEntry::Frame { header, .. } => (header.topic_partition(), None),
            JournalEntry::Truncate { id, end_offset, last_header_crc } => (*id, Some((*end_offset, *last_header_crc))),
            JournalEntry::LogStart { .. } => return,
        };
        let Some(chain) = self.next.get_mut(&id).filter(|chain| address > chain.held) else { return };
        match (entry, end) {
            (JournalEntry::Frame { header, .. }, _) => {
                if header.base_offset() != chain.offset {
                    findings.push(Finding::new(
                        path,
                        position,
                        format!("base offset of the frame of {id}"),
                        chain.offset,
                        header.base_offset(),
                    ));
                } else if chain.prev_header_crc != header.prev_header_crc.to_native() {
                    let (expected, actual) = (chain.prev_header_crc, header.prev_header_crc.to_native());
                    let problem = format!("checksum of the frame before, as named by the frame of {id}");
                    findings.push(Finding::new(path, position, problem, crc(expected), crc(actual)));
                }
                chain.offset = header.next_offset();
                chain.prev_header_crc = header.header_crc.to_native();
            }
            (_, Some(end)) => (chain.offset, chain.prev_header_crc) = end,
            _ => {}
        }
    }
}

fn is_of(group: &Group, incarnation: Incarnation) -> bool {
    group.header.incarnation == incarnation
}

fn scan_file(path: &Path, shard: &ShardFiles, groups: &mut Vec<Group>, findings: &mut Vec<Finding>) -> io::Result<()> {
    let file = PlainFile::open(path)?;
    let file_len = file.file_len()?;
    let (mut window_position, mut window) = (0u64, Vec::new());
    let (mut position, mut unreadable_until) = (0u64, 0u64);
    while position < file_len {
        if position + BLOCK > window_position + window.len() as u64 {
            let ReadAround { bytes, failed } = file.read_around(position, WINDOW_LEN).map_err(about(path))?;
            for (at, error) in failed {
                if at >= unreadable_until {
                    findings.push(unreadable(path, at, &error));
                }
                // One finding says it of blocks that follow one another, and of one that is read twice.
                unreadable_until = unreadable_until.max(at + BLOCK + 1);
            }
            (window_position, window) = (position, bytes);
            if window.is_empty() {
                break;
            }
        }
        let start = usize::try_from(position - window_position).map_err(io::Error::other)?;
        let parsed = GroupHeader::parse(window.get(start..).unwrap_or_default());
        let Some((header, header_crc)) = parsed.filter(|(header, _)| header.shard == shard.shard) else {
            position += BLOCK;
            continue;
        };
        let ReadAround { bytes, .. } = file.read_around(position, header.group_len()).map_err(about(path))?;
        let body_ok = group_body(&bytes, &header).is_some_and(|body| crc32c::crc32c(body) == header.body_crc);
        groups.push(Group { header, header_crc, body_ok, needed: false, path: path.to_owned(), position });
        // A header inside another group's body (a record may imitate one) is stepped over with that body.
        position += if body_ok { header.group_len() as u64 } else { BLOCK };
    }
    Ok(())
}

fn unreadable(path: &Path, position: u64, error: &io::Error) -> Finding {
    Finding::new(path, position, "the device failed to read it", "the bytes that were written", error)
}

/// Which file it was that could not be read.
fn about(path: &Path) -> impl Fn(io::Error) -> io::Error + '_ {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn group_body<'a>(group: &'a [u8], header: &GroupHeader) -> Option<&'a [u8]> {
    group.get(GROUP_HEADER_LEN..)?.get(..header.body_len as usize)
}
