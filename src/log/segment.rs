//! One segment file: header block, frames, footer and trailer.
//!
//! Where frames end is recorded, never found: in the trailer of a sealed segment, in the checkpoint for the active
//! one. Without either, the walk goes on until something is no frame, and says that it did.

use super::files::SegmentFile;
use super::finding::{Finding, crc};
use super::plain_disk::PlainFile;
use serde::Serialize;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{FrameHeader, Offset};
use sluice_storage::checkpoint::PartitionCheckpoint;
use sluice_storage::damage::DamageKind;
use sluice_storage::frame_walk::{FrameWalk, WalkRange, WalkStep, WalkedFrame};
use sluice_storage::segment_format::{SegmentFooter, SegmentHeader, SegmentTrailer};
use std::io;

const WINDOW_LEN: usize = 1024 * 1024;
const BLOCK: u64 = BLOCK_LEN as u64;

/// How it is known where the frames end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EndKnown {
    /// By its own trailer: nothing is ever added to it.
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
    pub(crate) frame_count: u64,
    pub(crate) record_count: u64,
    /// `header_crc` of the frame before its first one.
    pub(crate) first_prev_header_crc: u32,
    /// The offset after its last good frame, and that frame's `header_crc`: what the next segment must begin with.
    pub(crate) next_offset: Offset,
    pub(crate) last_header_crc: u32,
    pub(crate) end_position: u64,
    pub(crate) findings: Vec<Finding>,
}

impl SegmentSummary {
    /// What is wrong when this segment does not go on where the one before it ended.
    pub(crate) fn gap_after(&self, before: &Self, segment: &SegmentFile) -> Option<Finding> {
        let expected = (before.next_offset, before.last_header_crc);
        let actual = (segment.base_offset, self.first_prev_header_crc);
        let text = |(offset, chain): (Offset, u32)| format!("offset {offset} after {}", crc(chain));
        let sound = before.findings.is_empty() && self.findings.is_empty();
        (sound && expected != actual).then(|| {
            Finding::new(&segment.path, 0, "beginning of the segment after the one before it", text(expected), text(actual))
        })
    }
}

/// What the caller gets to see of each good frame: position, header, body.
pub(crate) type OnFrame<'a> = dyn FnMut(u64, &FrameHeader, &[u8]) + 'a;

/// Reads the whole segment. Errors are the device's; damage is in the summary.
pub(crate) fn read(
    segment: &SegmentFile,
    checkpoint: Option<&PartitionCheckpoint>,
    on_frame: &mut OnFrame<'_>,
) -> io::Result<SegmentSummary> {
    let file = PlainFile::open(&segment.path)?;
    let file_len = file.file_len()?;
    let mut summary = SegmentSummary {
        end_known: EndKnown::Unknown,
        frame_count: 0,
        record_count: 0,
        first_prev_header_crc: 0,
        next_offset: segment.base_offset,
        last_header_crc: 0,
        end_position: BLOCK,
        findings: Vec::new(),
    };
    let active = checkpoint.filter(|checkpoint| checkpoint.recovery_point.segment_base == segment.base_offset);
    if checkpoint.is_some_and(|checkpoint| !is_named(checkpoint, segment.base_offset)) {
        summary.end_known = EndKnown::Unnamed;
        return Ok(summary);
    }
    let header = match SegmentHeader::decode_expecting(&file.read_block(0)?, segment.id, segment.base_offset) {
        Ok(header) => header,
        Err(error) => {
            summary.findings.push(Finding::of_block(&segment.path, 0, "segment header", &error));
            return Ok(summary);
        }
    };
    let (end_known, end_position, end_offset) = match active {
        Some(checkpoint) => (EndKnown::Active, checkpoint.recovery_point.next_frame_position, checkpoint.recovery_point.offset),
        None => read_end(&file, file_len, segment, checkpoint, &mut summary)?,
    };
    summary.end_known = end_known;
    let range = WalkRange {
        id: segment.id,
        segment: segment.base_offset,
        position: BLOCK,
        offset: segment.base_offset,
        prev_header_crc: header.prev_header_crc,
        end_position,
        end_offset,
    };
    walk(&file, segment, range, &mut summary, on_frame)?;
    Ok(summary)
}

/// Whether a start would read the file: it is sealed, or active with something in it that the checkpoint relies on.
fn is_named(checkpoint: &PartitionCheckpoint, base_offset: Offset) -> bool {
    let point = &checkpoint.recovery_point;
    let active = point.segment_base == base_offset && point.position > 0;
    active || checkpoint.sealed.iter().any(|info| info.base_offset == base_offset)
}

/// Where the frames of a segment that is not the active one end: its trailer says, and the checkpoint must agree.
fn read_end(
    file: &PlainFile,
    file_len: u64,
    segment: &SegmentFile,
    checkpoint: Option<&PartitionCheckpoint>,
    summary: &mut SegmentSummary,
) -> io::Result<(EndKnown, u64, Offset)> {
    let sealed = checkpoint.and_then(|checkpoint| checkpoint.sealed.iter().find(|info| info.base_offset == segment.base_offset));
    // Ended by recovery, which writes nothing behind what may have been acknowledged: only the checkpoint says where.
    if let Some(info) = sealed.filter(|info| !info.has_footer) {
        return Ok((EndKnown::Sealed, info.file_len.saturating_sub(BLOCK), info.next_offset));
    }
    let path = &segment.path;
    if let Some(info) = sealed
        && info.file_len != file_len
    {
        summary.findings.push(Finding::new(path, file_len, "length of the file, by the checkpoint", info.file_len, file_len));
    }
    let trailer_position = file_len.saturating_sub(BLOCK);
    let trailer =
        match SegmentTrailer::decode_expecting(&file.read_block(trailer_position)?, file_len, segment.id, segment.base_offset) {
            Ok(trailer) => trailer,
            // Without a checkpoint that calls it sealed, a file without a trailer is an active segment as far as anybody knows.
            Err(_) if sealed.is_none() => return Ok((EndKnown::Unknown, file_len, Offset(u64::MAX))),
            Err(error) => {
                summary.findings.push(Finding::of_block(path, trailer_position, "segment trailer", &error));
                let end_offset = sealed.map_or(Offset(u64::MAX), |info| info.next_offset);
                return Ok((EndKnown::Sealed, file_len, end_offset));
            }
        };
    if let Some(info) = sealed
        && info.next_offset != trailer.next_offset
    {
        let problem = "offset after the last record, by the checkpoint";
        summary.findings.push(Finding::new(path, trailer_position, problem, info.next_offset, trailer.next_offset));
    }
    let footer_len = usize::try_from(trailer.footer_len).map_err(io::Error::other)?;
    if let Err(error) = SegmentFooter::decode(&file.read(trailer.footer_position, footer_len)?, &trailer) {
        summary.findings.push(Finding::of_block(path, trailer.footer_position, "segment footer", &error));
    }
    Ok((EndKnown::Sealed, trailer.end_position, trailer.next_offset))
}

fn walk(
    file: &PlainFile,
    segment: &SegmentFile,
    range: WalkRange,
    summary: &mut SegmentSummary,
    on_frame: &mut OnFrame<'_>,
) -> io::Result<()> {
    let mut walk = FrameWalk::new(range, Offset::ZERO);
    let (mut window_position, mut window) = (0, Vec::new());
    (summary.first_prev_header_crc, summary.last_header_crc) = (range.prev_header_crc, range.prev_header_crc);
    loop {
        match walk.step(window_position, &window) {
            Ok(WalkStep::Frame(WalkedFrame { position, header })) => {
                let start = usize::try_from(position - window_position).expect("the frame is in the window");
                let body = &window[start + sluice_model::FRAME_HEADER_LEN..start + header.frame_len()];
                on_frame(position, &header, body);
                summary.frame_count += 1;
                summary.record_count += u64::from(header.record_count.to_native());
                summary.next_offset = header.next_offset();
                summary.last_header_crc = header.header_crc.to_native();
                summary.end_position = position + header.frame_len() as u64;
            }
            Ok(WalkStep::More { from, len }) => {
                window = file.read(from, len.max(WINDOW_LEN))?;
                window_position = from;
                if window.len() < len {
                    if summary.end_known != EndKnown::Unknown {
                        let actual = from + window.len() as u64;
                        summary.findings.push(Finding::new(&segment.path, from, "length of the file", from + len as u64, actual));
                    }
                    return Ok(());
                }
            }
            Ok(WalkStep::End) => return Ok(()),
            // Nobody says that a frame has to be here.
            Err(damage) if summary.end_known == EndKnown::Unknown && ends_quietly(&damage.kind) => return Ok(()),
            Err(damage) => {
                summary.findings.push(Finding::of_segment(&segment.path, &damage));
                return Ok(());
            }
        }
    }
}

/// What stands behind the last frame of a segment that is still being written: zeros, or the end of the file.
fn ends_quietly(kind: &DamageKind) -> bool {
    matches!(kind, DamageKind::NoFrame | DamageKind::PastEnd { .. } | DamageKind::FileTooShort { .. })
}
