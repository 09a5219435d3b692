//! One read of the scrubber. A device that fails a read is asked again block by block, so that one bad sector is
//! found as one bad block and what lies around it is still verified.

use crate::careful_read::{BlockBytes, read_blocks};
use crate::disk::DiskFile;

/// Bytes read with one call, and verified in one go: the core has nothing else to do for some twenty microseconds, which
/// does not show in the latency of a produce beside it.
pub(crate) const SCRUB_PIECE_LEN: usize = 128 * 1024;

/// Reads `len` bytes, whole blocks, at `position`. Whatever fails twice is unreadable.
pub(crate) async fn read_for_scrub<F: DiskFile>(file: &F, position: u64, len: usize) -> BlockBytes {
    if let Ok(buffer) = file.read_at(position, len).await {
        return BlockBytes { bytes: buffer.to_vec(), unreadable: Vec::new() };
    }
    let mut read = read_blocks(file, position, len, |_| true).await.unwrap_or_default();
    if read.unreadable.is_empty() {
        // It failed and then did not: nothing is lost, and the device is worth looking at.
        read.unreadable.push(position..position);
    }
    read
}
