//! What a checkpoint says of a partition's segments, held against the files that are there.
//!
//! Contents are not read here (reads and the scrubber verify them), but for the one frame that straddles the
//! recovery point. No block below a recovery point is written again: a segment whose straddling frame is not the
//! journal's ends before that frame, and the frame opens a new one. Such a segment has no footer; the checkpoint
//! records its end.

use crate::careful_read::read_twice;
use crate::checkpoint::{PartitionCheckpoint, SealedSegmentInfo};
use crate::disk::{Disk, OpenMode, is_device_error};
use crate::layout::{Layout, segment_base_offset, segment_file};
use crate::recovery_decision::{Evidence, KnownDurable, Verdict, decide};
use crate::segment_format::block_down;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{FRAME_HEADER_LEN, FrameHeader, Offset};
use std::collections::BTreeSet;
use std::io;

/// Takes segments whose file is gone out of the checkpoint: their offsets become a gap, which the log quarantines.
pub(crate) async fn check_segments<D: Disk>(
    disk: &D,
    layout: &Layout,
    mut partition: PartitionCheckpoint,
) -> io::Result<PartitionCheckpoint> {
    let there: BTreeSet<Offset> = match disk.read_dir(&layout.partition_dir(partition.id)).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
        entries => entries?.iter().filter_map(|entry| segment_base_offset(&entry.name)).collect(),
    };
    partition.sealed.retain(|segment| there.contains(&segment.base_offset));
    let point = &mut partition.recovery_point;
    if point.position > 0 && !there.contains(&point.segment_base) {
        (point.segment_base, point.position, point.next_frame_position) = (point.offset, 0, 0);
    }
    Ok(partition)
}

/// Whether the bytes of a straddling frame that are below the recovery point are those of the journal's `header` and
/// `body`.
pub(crate) async fn straddle_is_good<D: Disk>(
    disk: &D,
    layout: &Layout,
    partition: &PartitionCheckpoint,
    header: &FrameHeader,
    body: &[u8],
) -> io::Result<bool> {
    let point = &partition.recovery_point;
    let path = segment_file(&layout.partition_dir(partition.id), point.segment_base);
    let file = match disk.open(&path, OpenMode::Existing).await {
        // Its frames are a hole, which readers name; this one opens a new segment.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    let from = block_down(point.next_frame_position);
    let len = usize::try_from(point.position - from).unwrap_or(usize::MAX);
    let skip = usize::try_from(point.next_frame_position - from).expect("less than a block");
    let chain_follows = header.base_offset() == point.offset && header.prev_header_crc.to_native() == point.prev_header_crc;
    let frame_len = header.frame_len();
    // A frame that ends below the recovery point does not straddle it: the checkpoint meant another one.
    if len.saturating_sub(skip) >= frame_len {
        return Ok(false);
    }
    let found = match read_twice(&file, from, len).await {
        // Readers name what else is lost with it; this frame opens a new segment.
        Err(error) if is_device_error(&error) => return Ok(false),
        read => read?,
    };
    let part = found.get(skip..len).unwrap_or_default();
    let (head, rest) = part.split_at(part.len().min(FRAME_HEADER_LEN));
    let evidence = Evidence {
        header_ok: !part.is_empty() && header.as_bytes().starts_with(head),
        body_ok: body.starts_with(rest),
        chain_follows,
        durable: KnownDurable::Checkpointed,
    };
    Ok(decide(evidence) == Verdict::Keep)
}

/// Ends the active segment before the frame that straddles the recovery point.
pub(crate) fn end_straddled_segment(partition: &mut PartitionCheckpoint) {
    let point = &mut partition.recovery_point;
    if point.offset > point.segment_base {
        partition.sealed.push(SealedSegmentInfo {
            base_offset: point.segment_base,
            next_offset: point.offset,
            // As if a trailer followed what was flushed: there is none, so readers walk the frames.
            file_len: point.position + BLOCK_LEN as u64,
            last_header_crc: point.prev_header_crc,
            append_time_ms_max: i64::MAX,
            timestamp_ms_max: i64::MAX,
            has_footer: false,
        });
    }
    (point.segment_base, point.position, point.next_frame_position) = (point.offset, 0, 0);
}
