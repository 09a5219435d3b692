//! Files that are read back and may never have become durable, made so.
//!
//! A process that was killed has left what a power cut may still take, and one whose flush failed has left what no later
//! flush makes durable: the device may have dropped it, and reading gives it back all the same. Whatever a start goes by,
//! and is about to make nobody else's, is written once more as it stands, and flushed: the newest checkpoint slot before
//! the other one is written over, segments that the journal still holds, before it begins anew, and the last group of a
//! journal before files are cut because it says so. The expensive mistake is to change a byte: a cut in the middle has to
//! leave what was there. Deliberately absent: what the bytes mean.

use crate::disk::{Disk, DiskFile};
use sluice_model::limits::BLOCK_LEN;
use std::io;
use std::ops::Range;

/// Bytes read and written at once.
const PIECE_LEN: usize = 256 * 1024;

/// Writes all of a file again, but for what was never written, and flushes it. Who only looks leaves it as it is.
pub(crate) async fn rewrite<D: Disk>(disk: &D, file: &D::File, file_len: u64) -> io::Result<()> {
    rewrite_part(disk, file, 0..file_len).await
}

/// The same for whole blocks of it.
pub(crate) async fn rewrite_part<D: Disk>(disk: &D, file: &D::File, part: Range<u64>) -> io::Result<()> {
    if disk.only_looks() {
        return Ok(());
    }
    let mut position = part.start;
    while position < part.end {
        let piece_len = usize::try_from(part.end - position).unwrap_or(usize::MAX).next_multiple_of(BLOCK_LEN);
        let bytes = file.read_at(position, piece_len.min(PIECE_LEN)).await?;
        // Nothing stands in a block that is not whole.
        let len = bytes.len() - bytes.len() % BLOCK_LEN;
        if len == 0 {
            break;
        }
        // Space that was allocated ahead reads as zeros, and will.
        if bytes[..len].iter().any(|&byte| byte != 0) {
            let mut buffer = disk.buffer(len);
            buffer.copy_from_slice(&bytes[..len]);
            file.write_at(position, buffer).await?;
        }
        position += len as u64;
    }
    file.sync().await
}
