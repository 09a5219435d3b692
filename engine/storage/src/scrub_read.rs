//! One read of the scrubber. A device that fails a read is asked again block by block, so that one bad sector is
//! found as one bad block and what lies around it is still verified.

use crate::disk::DiskFile;
use sluice_model::limits::BLOCK_LEN;
use std::ops::Range;

/// Bytes read with one call, and verified in one go: the core has nothing else to do for some twenty microseconds, which
/// does not show in the latency of a produce beside it.
pub(crate) const SCRUB_PIECE_LEN: usize = 128 * 1024;
/// What stands in memory for a byte that could not be read: neither padding nor the start of anything.
const UNREADABLE_BYTE: u8 = 0xa5;

/// What a read has brought.
#[derive(Debug, Default)]
pub(crate) struct ScrubBytes {
    /// Fewer than asked for only where the file ends. What could not be read is in `unreadable`.
    pub(crate) bytes: Vec<u8>,
    /// Positions in the file.
    pub(crate) unreadable: Vec<Range<u64>>,
}

/// Reads `len` bytes, whole blocks, at `position`.
pub(crate) async fn read_for_scrub<F: DiskFile>(file: &F, position: u64, len: usize) -> ScrubBytes {
    match file.read_at(position, len).await {
        Ok(buffer) => ScrubBytes { bytes: buffer.to_vec(), unreadable: Vec::new() },
        Err(_) => read_blocks(file, position, len).await,
    }
}

async fn read_blocks<F: DiskFile>(file: &F, position: u64, len: usize) -> ScrubBytes {
    let mut read = ScrubBytes::default();
    for at in (position..position + len as u64).step_by(BLOCK_LEN) {
        match file.read_at(at, BLOCK_LEN).await {
            Ok(block) => {
                read.bytes.extend_from_slice(&block);
                if block.len() < BLOCK_LEN {
                    break;
                }
            }
            Err(_) => {
                read.bytes.resize(read.bytes.len() + BLOCK_LEN, UNREADABLE_BYTE);
                match read.unreadable.last_mut() {
                    Some(last) if last.end == at => last.end += BLOCK_LEN as u64,
                    _ => read.unreadable.push(at..at + BLOCK_LEN as u64),
                }
            }
        }
    }
    if read.unreadable.is_empty() {
        // It failed and then did not: nothing is lost, and the device is worth looking at.
        read.unreadable.push(position..position);
    }
    read
}
