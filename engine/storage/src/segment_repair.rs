//! What rots in a segment and costs no record, put right on a stopped shard: header block, padding, footer.
//!
//! A header block and padding are written again in place, with the bytes they held: a write that tears leaves old and
//! new sectors, and the new ones are those that belong there, so it is never worse than before. A footer is not written
//! again, because what it said of producers is in no frame of its segment: both checkpoint slots say from then on that
//! the segment has none, and readers walk its frames, as they had to already. The expensive mistake is to write a
//! frame's block on a guess, so nothing is put right that the frames around it do not prove. Deliberately absent:
//! frames, which nothing here can bring back.

use crate::active_segment::FRAMES_START;
use crate::checkpoint_slots::{Checkpoints, FoundCheckpoint};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::layout::Layout;
use crate::scrub_finding::ScrubKind;
use crate::segment_check::CheckedSegment;
use crate::segment_format::{SegmentHeader, block_down, block_up};
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{Offset, TopicPartition};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// One thing to put right in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// The first block is written again.
    Header(SegmentHeader),
    /// Zeros from this byte of the file to the end of its block.
    Padding { position: u64 },
    /// The footer is forgotten.
    Footer,
}

/// What can be put right in the segment of `id` at `base_offset`. Frames that are lost stay lost.
#[must_use]
pub fn repairs(id: TopicPartition, base_offset: Offset, checked: &CheckedSegment) -> Vec<Repair> {
    let kept = checked.findings.iter().filter(|finding| finding.lost.is_none());
    let header = |prev_header_crc| Repair::Header(SegmentHeader { id, base_offset, prev_header_crc });
    let mut repairs = Vec::new();
    for finding in kept {
        let repair = match finding.kind {
            ScrubKind::NotZero { .. } => Some(Repair::Padding { position: finding.position }),
            _ if checked.is_of_footer(finding) => Some(Repair::Footer),
            _ if finding.position < FRAMES_START => checked.prev_header_crc.map(header),
            _ => None,
        };
        repairs.extend(repair.filter(|repair| !repairs.contains(repair)));
    }
    // Whoever has neither header nor footer finds no frame at all.
    let has_header = repairs.iter().any(|repair| matches!(repair, Repair::Header(_)));
    if !has_header && checked.findings.iter().any(|finding| finding.position < FRAMES_START) {
        repairs.retain(|repair| *repair != Repair::Footer);
    }
    repairs
}

/// Writes a header block or padding, durably; false where that cannot be done in place. Nothing else has the file open.
pub async fn repair_in_place<D: Disk>(disk: &D, path: &Path, repair: &Repair) -> io::Result<bool> {
    let (position, from, bytes) = match repair {
        Repair::Header(header) => (0, 0, header.encode()),
        // At the beginning of a block zeros would say that no frame follows.
        Repair::Padding { position } if !position.is_multiple_of(BLOCK_LEN as u64) => {
            let zeros = usize::try_from(block_up(*position) - position).expect("less than a block");
            (block_down(*position), BLOCK_LEN - zeros, vec![0; zeros])
        }
        Repair::Padding { .. } | Repair::Footer => return Ok(false),
    };
    let file = disk.open(path, OpenMode::Existing).await?;
    let mut block = disk.buffer(BLOCK_LEN);
    if from > 0 {
        block[..from].copy_from_slice(file.read_at(position, BLOCK_LEN).await?.get(..from).ok_or(io::ErrorKind::UnexpectedEof)?);
    }
    block[from..].copy_from_slice(&bytes);
    file.write_at(position, block).await?;
    file.sync().await?;
    Ok(true)
}

/// Both slots say of these segments, by partition and base offset, that they have no footer. Whatever else the
/// checkpoint says stays as it is.
pub async fn forget_footers<D: Disk>(
    disk: &D,
    layout: &Layout,
    found: &FoundCheckpoint,
    segments: &BTreeSet<(TopicPartition, Offset)>,
) -> io::Result<()> {
    let mut checkpoint = found.checkpoint.clone();
    for partition in &mut checkpoint.partitions {
        let id = partition.id;
        let named = partition.sealed.iter_mut().filter(|info| segments.contains(&(id, info.base_offset)));
        named.for_each(|info| info.has_footer = false);
    }
    let mut checkpoints = Checkpoints::open(disk, layout, checkpoint.shard, Some(found), found.ring).await?;
    checkpoints.set_ring_state(found.ring_state);
    checkpoints.write(&checkpoint).await?;
    checkpoints.write(&checkpoint).await?;
    Ok(())
}

#[cfg(test)]
#[path = "segment_repair_test.rs"]
mod tests;
