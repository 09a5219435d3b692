//! One segment file: header block, frames, footer and trailer, every bad place of it and every good frame.
//!
//! Where frames end is recorded, never found: in the trailer of a sealed segment, in the checkpoint for the active
//! one; then it is verified as the scrubber of a running broker does it. Without either, the walk goes on until nothing
//! that follows is a frame, and says that it did. The expensive mistake is to call damage what an operator has given up
//! or deleted, or the reverse.

use super::files::{SegmentFile, ready};
use super::finding::{Finding, Standing, crc};
use super::plain_disk::PlainFile;
use serde::Serialize;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{FrameHeader, Offset};
use sluice_storage::checkpoint::PartitionCheckpoint;
use sluice_storage::damage::{DamageKind, DamagedRange, SegmentDamage};
use sluice_storage::frame_reader::FrameReader;
use sluice_storage::frame_walk::{FrameWalk, WalkError, WalkRange, WalkedFrame};
use sluice_storage::scrub_finding::{ScrubFinding, ScrubKind};
use sluice_storage::segment_check::{CheckedSegment, SegmentCheck};
use sluice_storage::segment_format::{SegmentHeader, SegmentTrailer};
use std::io;
use std::path::Path;

const WINDOW_LEN: usize = 1024 * 1024;
const BLOCK: u64 = BLOCK_LEN as u64;

/// How it is known where the frames end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EndKnown {
    /// By the checkpoint, or by its own trailer: nothing is ever added to it.
    Sealed,
    /// By the checkpoint: what follows comes from the journal.
    Active,
    /// Nothing of it is relied on: it was begun after the checkpoint, and the journal has what is in it, or it was
    /// given up and is only not removed yet.
    Unnamed,
    /// Not at all: there is no checkpoint of its partition.
    Unknown,
}

#[derive(Clone, Debug)]
pub(crate) struct SegmentSummary {
    pub(crate) end_known: EndKnown,
    /// Of good frames.
    pub(crate) frame_count: u64,
    pub(crate) record_count: u64,
    pub(crate) first_prev_header_crc: u32,
    pub(crate) next_offset: Offset,
    pub(crate) last_header_crc: u32,
    pub(crate) end_position: u64,
    pub(crate) findings: Vec<Finding>,
}

impl SegmentSummary {
    fn new(segment: &SegmentFile, end_known: EndKnown) -> Self {
        Self {
            end_known,
            frame_count: 0,
            record_count: 0,
            first_prev_header_crc: 0,
            next_offset: segment.base_offset,
            last_header_crc: 0,
            end_position: BLOCK,
            findings: Vec::new(),
        }
    }

    fn on_frame(&mut self, frame: &WalkedFrame) {
        let header = &frame.header;
        if self.frame_count == 0 {
            self.first_prev_header_crc = header.prev_header_crc.to_native();
        }
        self.frame_count += 1;
        self.record_count += u64::from(header.record_count.to_native());
        self.next_offset = header.next_offset();
        self.last_header_crc = header.header_crc.to_native();
        self.end_position = frame.position + header.frame_len() as u64;
    }

    /// What is wrong when this segment does not go on where the one before it ended.
    pub(crate) fn gap_after(&self, before: &Self, segment: &SegmentFile) -> Option<Finding> {
        let expected = (before.next_offset, before.last_header_crc);
        let actual = (segment.base_offset, self.first_prev_header_crc);
        let text = |(offset, chain): (Offset, u32)| format!("offset {offset} after {}", crc(chain));
        let sound = before.findings.is_empty() && self.findings.is_empty();
        (sound && expected != actual).then(|| {
            Finding::new(&segment.path, 0, "beginning of the segment after the one before it", text(expected), text(actual))
                .of_partition(segment.id)
        })
    }
}

/// What the caller gets to see of each good frame: position and header.
pub(crate) type OnFrame<'a> = dyn FnMut(u64, &FrameHeader) + 'a;

/// Reads the whole segment. Damage is in the summary, what the device does not give back included.
pub(crate) fn read(
    segment: &SegmentFile,
    checkpoint: Option<&PartitionCheckpoint>,
    on_frame: &mut OnFrame<'_>,
) -> io::Result<SegmentSummary> {
    let file = PlainFile::open(&segment.path)?;
    let Some(checkpoint) = checkpoint else { return read_unnamed(&file, segment, on_frame) };
    let Some(check) = SegmentCheck::by_checkpoint(&segment.path, checkpoint, segment.base_offset) else {
        return Ok(SegmentSummary::new(segment, EndKnown::Unnamed));
    };
    let is_sealed = checkpoint.sealed.iter().any(|info| info.base_offset == segment.base_offset);
    let mut summary = SegmentSummary::new(segment, if is_sealed { EndKnown::Sealed } else { EndKnown::Active });
    let checked = run(check, &file, &mut summary, on_frame);
    summary.findings = checked.findings.iter().map(|finding| Finding::of_scrub(finding, Some(checkpoint))).collect();
    Ok(summary)
}

/// What of a segment is wrong, as storage says it; `None` when the checkpoint relies on nothing in it.
pub(crate) fn check(segment: &SegmentFile, checkpoint: &PartitionCheckpoint) -> io::Result<Option<CheckedSegment>> {
    let Some(check) = SegmentCheck::by_checkpoint(&segment.path, checkpoint, segment.base_offset) else { return Ok(None) };
    let file = PlainFile::open(&segment.path)?;
    Ok(Some(ready(check.run(&file, &mut |_| {}))))
}

/// The offsets of a segment that cannot be served; all of them when it has no file.
pub(crate) fn lost(segment: &SegmentFile, checkpoint: &PartitionCheckpoint) -> io::Result<Vec<DamagedRange>> {
    match check(segment, checkpoint) {
        Ok(checked) => Ok(checked.into_iter().flat_map(|checked| checked.findings).filter_map(|finding| finding.lost).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let check = SegmentCheck::by_checkpoint(&segment.path, checkpoint, segment.base_offset);
            Ok(check.and_then(|check| check.on_missing().lost).into_iter().collect())
        }
        Err(error) => Err(error),
    }
}

fn run(check: SegmentCheck, file: &PlainFile, summary: &mut SegmentSummary, on_frame: &mut OnFrame<'_>) -> CheckedSegment {
    let checked = ready(check.run(file, &mut |frame| {
        summary.on_frame(frame);
        on_frame(frame.position, &frame.header);
    }));
    if summary.frame_count == 0 {
        // It has no good frame: what it follows, it hands on.
        summary.first_prev_header_crc = checked.prev_header_crc.unwrap_or_default();
        summary.last_header_crc = summary.first_prev_header_crc;
    }
    checked
}

/// A segment of which no checkpoint says anything: its trailer does, or nobody.
fn read_unnamed(file: &PlainFile, segment: &SegmentFile, on_frame: &mut OnFrame<'_>) -> io::Result<SegmentSummary> {
    let file_len = file.file_len()?;
    if file_len >= 2 * BLOCK && file_len.is_multiple_of(BLOCK) {
        let block = file.read_block(file_len - BLOCK)?;
        if let Ok(trailer) = SegmentTrailer::decode_expecting(&block, file_len, segment.id, segment.base_offset) {
            let mut summary = SegmentSummary::new(segment, EndKnown::Sealed);
            let checked = run(SegmentCheck::by_trailer(&segment.path, &trailer, file_len), file, &mut summary, on_frame);
            summary.findings = checked.findings.iter().map(|finding| Finding::of_scrub(finding, None)).collect();
            return Ok(summary);
        }
    }
    let mut summary = SegmentSummary::new(segment, EndKnown::Unknown);
    match SegmentHeader::decode_expecting(&file.read_block(0)?, segment.id, segment.base_offset) {
        Ok(header) => walk(file, segment, walk_range(segment, &header, file_len), &mut summary, on_frame)?,
        Err(error) => {
            summary.findings.push(Finding::of_block(&segment.path, 0, "segment header", &error).of_partition(segment.id));
        }
    }
    Ok(summary)
}

fn walk_range(segment: &SegmentFile, header: &SegmentHeader, file_len: u64) -> WalkRange {
    WalkRange {
        id: segment.id,
        segment: segment.base_offset,
        position: BLOCK,
        offset: segment.base_offset,
        prev_header_crc: header.prev_header_crc,
        end_position: file_len,
        end_offset: Offset(u64::MAX),
    }
}

/// Frame by frame, as a start takes them when all checkpoints are lost: damage is known by what follows it.
fn walk(
    file: &PlainFile,
    segment: &SegmentFile,
    range: WalkRange,
    summary: &mut SegmentSummary,
    on_frame: &mut OnFrame<'_>,
) -> io::Result<()> {
    (summary.first_prev_header_crc, summary.last_header_crc) = (range.prev_header_crc, range.prev_header_crc);
    let mut reader = FrameReader::new(file.clone(), FrameWalk::new(range, Offset::ZERO), WINDOW_LEN);
    let mut hole = None;
    loop {
        match ready(reader.next()) {
            Ok(Some(frame)) => {
                if let Some(damage) = hole.take() {
                    let until = frame.header.base_offset();
                    summary.findings.push(of_hole(segment, &damage, DamagedRange { from: summary.next_offset, until }));
                }
                summary.on_frame(&frame);
                on_frame(frame.position, &frame.header);
            }
            Ok(None) => return Ok(()),
            Err(WalkError::Io(error)) => return Err(error),
            Err(WalkError::Damaged(damage)) => {
                let first = *hole.get_or_insert(damage);
                let resumed = match ready(reader.resume_behind_damage()) {
                    Ok(resumed) => resumed,
                    Err(WalkError::Damaged(_)) => false,
                    Err(WalkError::Io(error)) => return Err(error),
                };
                if !resumed {
                    // Nobody says that a frame has to be here.
                    if !ends_quietly(&first.kind) {
                        let rest = DamagedRange { from: summary.next_offset, until: Offset(u64::MAX) };
                        summary.findings.push(of_hole(segment, &first, rest));
                    }
                    return Ok(());
                }
            }
        }
    }
}

fn of_hole(segment: &SegmentFile, damage: &SegmentDamage, range: DamagedRange) -> Finding {
    let kind = ScrubKind::Segment(damage.kind);
    let found =
        ScrubFinding { file: segment.path.clone(), position: damage.position, kind, id: Some(segment.id), lost: Some(range) };
    Finding::of_scrub(&found, None)
}

/// The finding of a segment whose file is not there.
pub(crate) fn missing(segment: &SegmentFile, checkpoint: Option<&PartitionCheckpoint>) -> Finding {
    let check = checkpoint.and_then(|checkpoint| SegmentCheck::by_checkpoint(&segment.path, checkpoint, segment.base_offset));
    let range = check.and_then(|check| check.on_missing().lost);
    Finding::new(&segment.path, 0, "segment that the checkpoint names", "a file", "none")
        .of_partition(segment.id)
        .losing(range, checkpoint)
}

/// What the checkpoint remembers of a partition and no file shows: offsets that were found damaged before, and where
/// records may be missing. `found` is what files show.
pub(crate) fn remembered(checkpoint: &PartitionCheckpoint, slot: &Path, found: &[Finding]) -> Vec<Finding> {
    let id = checkpoint.id;
    let shown = |range: &DamagedRange| {
        let of_it = found.iter().filter(|one| one.partition == Some(id)).filter_map(|one| one.offsets);
        of_it.into_iter().any(|shown| shown.from <= range.from.0 && range.until.0 <= shown.until)
    };
    let mut findings = Vec::new();
    for &range in checkpoint.damaged.iter().filter(|range| !shown(range)) {
        let finding = Finding::new(slot, 0, "what was found before", "records", "damage");
        findings.push(finding.of_partition(id).losing(Some(range), Some(checkpoint)));
    }
    if let Some(offset) = checkpoint.possibly_short {
        let what = format!("possibly short: acknowledged records may be missing from offset {offset} on");
        findings.push(Finding::new(slot, 0, what, "a checkpoint or journal that vouches for them", "none").of_partition(id));
    }
    findings
}

/// What stands behind the last frame of a segment that is still being written: zeros, or the end of the file.
fn ends_quietly(kind: &DamageKind) -> bool {
    matches!(kind, DamageKind::NoFrame | DamageKind::PastEnd { .. } | DamageKind::FileTooShort { .. })
}

/// How a segment's row names what was found in it.
pub(crate) fn state(summary: &SegmentSummary) -> &'static str {
    if summary.findings.iter().any(|finding| finding.standing == Standing::Damaged) {
        return "DAMAGED";
    }
    match (summary.end_known, summary.findings.is_empty()) {
        (EndKnown::Sealed, true) => "sealed",
        (EndKnown::Active, true) => "active",
        (EndKnown::Sealed, false) => "sealed, part of it given up",
        (EndKnown::Active, false) => "active, part of it given up",
        (EndKnown::Unnamed, _) => "not relied on: the journal has it",
        (EndKnown::Unknown, _) => "end unknown",
    }
}
