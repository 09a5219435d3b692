//! Files that are read back and may never have become durable, made so.
//!
//! A process that was killed has left what a power cut may still take, and one whose flush failed has left what no later
//! flush makes durable: the device may have dropped it, and reading gives it back all the same. Whatever a start goes by,
//! and is about to make nobody else's, is written once more as it stands, and flushed: the newest checkpoint slot before
//! the other one is written over, and segments that the journal still holds, before it begins anew. The expensive mistake
//! is to change a byte: a cut in the middle has to leave what was there. Deliberately absent: what the bytes mean.

use crate::disk::{Disk, DiskFile};
use sluice_model::limits::BLOCK_LEN;
use std::io;

/// Bytes read and written at once.
const PIECE_LEN: usize = 256 * 1024;

/// Writes all of a file again, but for what was never written, and flushes it. Who only looks leaves it as it is.
pub(crate) async fn rewrite<D: Disk>(disk: &D, file: &D::File, file_len: u64) -> io::Result<()> {
    if disk.only_looks() {
        return Ok(());
    }
    let mut position = 0;
    while position < file_len {
        let bytes = file.read_at(position, PIECE_LEN).await?;
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
