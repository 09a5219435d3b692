//! What a bit that changes costs: which frames have it, in which copy, by what stands in the files before it changes.
//!
//! Found from the bytes alone, by the batches that were sent, and not by what recovery makes of them. The expensive
//! mistake is to excuse too much: a frame that keeps a copy which counts is not damaged. Deliberately absent: which bits
//! change (`faults`).

use crate::oracle::Oracle;
use sluice_model::frame::FRAME_MAGIC;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{FRAME_HEADER_LEN, FrameHeader, Incarnation, LeaderEpoch, TopicPartition};
use sluice_storage::commit_group::{ENTRY_HEADER_LEN, Entries, GROUP_HEADER_LEN, GroupHeader, JournalEntry};
use std::collections::BTreeSet;
use std::ops::Range;

/// A frame by its base offset.
pub type FrameId = (TopicPartition, u64);

/// A copy of a frame, and the leader epoch it was appended under: each truncation comes with a greater one.
pub type FrameCopy = (FrameId, LeaderEpoch);

/// What of a journal a bit is part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalHit {
    pub incarnation: Incarnation,
    pub sequence: u64,
    pub frames: Vec<FrameCopy>,
    /// All frames of the group: they go together when nothing names it durable.
    pub all_frames: Vec<FrameCopy>,
    /// Partitions whose log start the group moved: such an entry has no checksum but the group's, and goes with any bit of it.
    pub log_starts: Vec<TopicPartition>,
}

/// What of a segment a bit is part of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentHit {
    pub frames: Vec<FrameId>,
    /// The first offset of which nothing says any more where it stands: the chain of a segment that does not say itself where
    /// it ends begins in its header block.
    pub hidden_from: Option<u64>,
    /// The same for a truncation, which goes on behind a header that has rotted only where an index knows a frame again: the
    /// length of a frame is in its header. Whoever reads looks for the frames behind it.
    pub hidden_from_cuts: Option<u64>,
}

/// What checkpoints say of a segment; nothing of one that they do not name.
#[derive(Clone, Copy, Debug, Default)]
pub struct KnownSegment {
    pub has_footer: bool,
    /// The offset after the last record that is in it.
    pub end: u64,
}

/// What a bit of a segment file is part of. What lies between two damaged frames of a segment proves nothing, and its last
/// frames may be damaged already; `hit_before` are those of it that are being damaged with it.
pub fn hit_of_segment(
    oracle: &Oracle,
    (id, base): FrameId,
    segment: KnownSegment,
    bytes: &[u8],
    (at, hit_before): (usize, &[FrameId]),
) -> SegmentHit {
    let Some(model) = oracle.partitions.get(&id) else { return SegmentHit::default() };
    if at < BLOCK_LEN {
        return SegmentHit { hidden_from: (!segment.has_footer).then_some(base), ..SegmentHit::default() };
    }
    let found = frames_in(oracle, bytes, |found| found == id);
    let hit = found.iter().find(|(.., range)| range.contains(&at));
    let Some((hit, _, range)) = hit else {
        // What has rotted already is not found; its header may be hit now.
        let before = found.iter().rfind(|(.., range)| range.end <= at).map_or(base, |((_, base), ..)| *base);
        let behind = found.iter().find(|(.., range)| range.start > at).map_or(u64::MAX, |((_, base), ..)| *base);
        let known = model.known_between(before, behind);
        let hidden_from_cuts = known.into_iter().find(|(_, is_rotten)| *is_rotten).map(|(base, _)| base);
        return SegmentHit { hidden_from_cuts, ..SegmentHit::default() };
    };
    let (hit, from) = (*hit, range.start);
    let end = found.iter().map(|((_, base), ..)| *base + 1).max().unwrap_or(base);
    let known = model.known_between(base, end.max(segment.end));
    let is_hit = |base: &u64, is_rotten: &bool| *is_rotten || hit_before.contains(&(id, *base));
    let was_hit = known.iter().filter(|(base, is_rotten)| is_hit(base, is_rotten)).map(|(base, _)| *base);
    let rotten: BTreeSet<u64> = was_hit.chain([hit.1]).collect();
    let (Some(first), Some(last)) = (rotten.first(), rotten.last()) else { return SegmentHit::default() };
    let frames = known.range(first..=last).map(|(base, _)| (id, *base)).collect();
    SegmentHit { frames, hidden_from: None, hidden_from_cuts: (at < from + FRAME_HEADER_LEN).then_some(hit.1) }
}

/// Whether any byte from one place up to another does not hold what stood there.
pub type IsBad<'a> = &'a dyn Fn(usize, usize) -> bool;

/// What the places of a segment file that `is_bad` names are part of, as [`hit_of_segment`] has it for one bit.
pub fn hits_of_segment(
    oracle: &Oracle,
    (id, base): FrameId,
    segment: KnownSegment,
    bytes: &[u8],
    is_bad: IsBad<'_>,
) -> SegmentHit {
    let Some(model) = oracle.partitions.get(&id) else { return SegmentHit::default() };
    let found = frames_in(oracle, bytes, |found| found == id);
    let hit = || found.iter().filter(|(.., range)| is_bad(range.start, range.end));
    let end = found.iter().map(|((_, base), ..)| *base + 1).max().unwrap_or(base);
    let known = model.known_between(base, end.max(segment.end));
    let was_rotten = known.iter().filter(|(_, is_rotten)| **is_rotten).map(|(base, _)| *base);
    let rotten: BTreeSet<u64> = was_rotten.chain(hit().map(|((_, base), ..)| *base)).collect();
    let frames = match (hit().next(), rotten.first(), rotten.last()) {
        (Some(_), Some(first), Some(last)) => known.range(first..=last).map(|(base, _)| (id, *base)).collect(),
        _ => Vec::new(),
    };
    let header_hit = hit().find(|(.., range)| is_bad(range.start, range.start + FRAME_HEADER_LEN)).map(|((_, base), ..)| *base);
    let begins_unknown = is_bad(0, BLOCK_LEN) && !segment.has_footer;
    // Whole blocks are gone, headers among them, and perhaps other frames stand there.
    SegmentHit { frames, hidden_from: begins_unknown.then_some(base).or(header_hit), hidden_from_cuts: None }
}

/// The group that a bit of a journal file is part of.
pub fn group_of_journal(oracle: &Oracle, bytes: &[u8], at: usize) -> Option<JournalHit> {
    hits_of_journal(oracle, bytes, &|from, until| (from..until).contains(&at)).into_iter().next()
}

/// The groups that the places of a journal file that `is_bad` names are part of.
pub fn hits_of_journal(oracle: &Oracle, bytes: &[u8], is_bad: IsBad<'_>) -> Vec<JournalHit> {
    let hit = groups_in(bytes).filter(|(start, header)| is_bad(*start, start + header.group_len()));
    hit.filter_map(|(start, header)| hit_group(oracle, bytes, (start, header), is_bad)).collect()
}

fn hit_group(oracle: &Oracle, bytes: &[u8], (start, header): (usize, GroupHeader), is_bad: IsBad<'_>) -> Option<JournalHit> {
    let group = &bytes[start..(start + header.group_len()).min(bytes.len())];
    let is_hit = |range: &Range<usize>| is_bad(start + range.start, start + range.end);
    let end = GROUP_HEADER_LEN + header.body_len as usize;
    let all = is_hit(&(0..GROUP_HEADER_LEN)).then_some(0..end);
    let ranges: Vec<_> = match all {
        Some(all) => std::iter::once(all).collect(),
        None => lost_entries(group, end, &is_hit),
    };
    if ranges.is_empty() {
        return None;
    }
    let frames_of = |range: Range<usize>| {
        let frames = frames_in(oracle, group.get(range).unwrap_or_default(), |_| true);
        frames.into_iter().map(|(frame, epoch, _)| (frame, epoch))
    };
    let (incarnation, sequence) = (header.incarnation, header.sequence);
    let log_starts = Entries::new(group.get(GROUP_HEADER_LEN..end).unwrap_or_default())
        .filter_map(|entry| if let Ok(JournalEntry::LogStart { id, .. }) = entry { Some(id) } else { None });
    let log_starts = log_starts.collect();
    let (frames, all_frames) = (ranges.into_iter().flat_map(frames_of).collect(), frames_of(0..end).collect());
    Some(JournalHit { incarnation, sequence, frames, all_frames, log_starts })
}

/// The frames of every group of its newest incarnation that is whole in the files of a journal: a start has them from there.
pub fn frames_of_journal(oracle: &Oracle, files: &[&[u8]]) -> Vec<FrameId> {
    let groups: Vec<_> = files.iter().flat_map(|&bytes| groups_in(bytes).map(move |group| (bytes, group))).collect();
    let newest = groups.iter().map(|(_, (_, header))| header.incarnation).max();
    let of_newest = groups.into_iter().filter(|(_, (_, header))| Some(header.incarnation) == newest);
    let bodies = of_newest.filter_map(|(bytes, (start, header))| {
        let body = bytes.get(start + GROUP_HEADER_LEN..)?.get(..header.body_len as usize)?;
        let is_whole = Entries::new(body).filter(Result::is_ok).count() == header.entry_count as usize;
        is_whole.then_some(body)
    });
    bodies.flat_map(|body| frames_in(oracle, body, |_| true)).map(|(frame, ..)| frame).collect()
}

/// Every group with a good header, and where it begins.
pub fn groups_in(bytes: &[u8]) -> impl Iterator<Item = (usize, GroupHeader)> + '_ {
    (0..bytes.len()).step_by(BLOCK_LEN).filter_map(|start| Some((start, GroupHeader::parse(&bytes[start..])?.0)))
}

/// The bytes of the entries that were hit; with all that follow when that is in what says how long an entry is: nothing
/// else says where the next one begins. None when it is behind the last one.
fn lost_entries(group: &[u8], end: usize, is_hit: &dyn Fn(&Range<usize>) -> bool) -> Vec<Range<usize>> {
    let (mut lost, mut at) = (Vec::new(), GROUP_HEADER_LEN);
    while at + ENTRY_HEADER_LEN <= end {
        let Some(len) = group.get(at + 4..at + ENTRY_HEADER_LEN).and_then(|len| len.try_into().ok()) else { break };
        let next = at + ENTRY_HEADER_LEN + u32::from_le_bytes(len) as usize;
        if is_hit(&(at..at + ENTRY_HEADER_LEN)) {
            lost.push(at..end);
            break;
        }
        if is_hit(&(at..next)) {
            lost.push(at..next);
        }
        at = next;
    }
    lost
}

/// Every frame in some bytes that is one of the model's, whole, with its place.
fn frames_in(
    oracle: &Oracle,
    bytes: &[u8],
    is_wanted: impl Fn(TopicPartition) -> bool,
) -> Vec<(FrameId, LeaderEpoch, Range<usize>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + FRAME_HEADER_LEN <= bytes.len() {
        let len = bytes[at..].starts_with(&FRAME_MAGIC).then(|| frame_at(oracle, &bytes[at..], &is_wanted)).flatten();
        match len {
            Some((frame, epoch, len)) => {
                found.push((frame, epoch, at..at + len));
                at += len;
            }
            None => at += 1,
        }
    }
    found
}

fn frame_at(oracle: &Oracle, bytes: &[u8], is_wanted: &impl Fn(TopicPartition) -> bool) -> Option<(FrameId, LeaderEpoch, usize)> {
    let (header, body) = FrameHeader::parse_frame(bytes).ok()?;
    let (id, base) = (header.topic_partition(), header.base_offset().0);
    let batch = oracle.partitions.get(&id).filter(|_| is_wanted(id))?.batch_at(base)?;
    oracle.batches.is(batch, header, body).then_some(((id, base), header.leader_epoch(), header.frame_len()))
}
