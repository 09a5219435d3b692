//! Reads of a device that may fail them: what fails is asked for a second time, and what fails twice is damaged.
//!
//! The second time goes block by block, so that one bad sector costs one block and what lies around it is still given
//! out. The expensive mistake is to call bytes lost for one failure that passes: nothing is damaged before it was asked
//! for twice, and the scrubber clears what it can read again later. Deliberately absent: which bytes are good.

use crate::disk::{DiskFile, is_device_error};
use sluice_model::limits::BLOCK_LEN;
use std::fmt;
use std::io;
use std::ops::Range;

/// What stands in memory for a byte that could not be read: neither padding nor the start of anything.
const UNREADABLE_BYTE: u8 = 0xa5;

/// What reading block by block has brought.
#[derive(Debug, Default)]
pub(crate) struct BlockBytes {
    /// Fewer than asked for only where the file ends. What could not be read is in `unreadable`.
    pub(crate) bytes: Vec<u8>,
    /// Positions in the file.
    pub(crate) unreadable: Vec<Range<u64>>,
}

/// Reads `len` bytes, whole blocks, at `position`, each block for itself. Errors that `is_unreadable` does not take for
/// the device's are given back.
pub(crate) async fn read_blocks<F: DiskFile>(
    file: &F,
    position: u64,
    len: usize,
    is_unreadable: impl Fn(&io::Error) -> bool,
) -> io::Result<BlockBytes> {
    let mut read = BlockBytes::default();
    for at in (position..position + len as u64).step_by(BLOCK_LEN) {
        match file.read_at(at, BLOCK_LEN).await {
            Ok(block) => {
                read.bytes.extend_from_slice(&block);
                if block.len() < BLOCK_LEN {
                    break;
                }
            }
            Err(error) if is_unreadable(&error) => {
                read.bytes.resize(read.bytes.len() + BLOCK_LEN, UNREADABLE_BYTE);
                match read.unreadable.last_mut() {
                    Some(last) if last.end == at => last.end += BLOCK_LEN as u64,
                    _ => read.unreadable.push(at..at + BLOCK_LEN as u64),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// Reads what is of use only as a whole, a second time when the device fails it.
pub(crate) async fn read_twice<F: DiskFile>(file: &F, position: u64, len: usize) -> io::Result<F::Buffer> {
    match file.read_at(position, len).await {
        Err(error) if is_device_error(&error) => file.read_at(position, len).await,
        read => read,
    }
}

/// Where and how the device has failed to give a journal back, twice, and what to do.
#[derive(Debug)]
struct UnreadableJournal(String);

impl fmt::Display for UnreadableJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UnreadableJournal {}

/// Whether [`read_journal`] has failed because of the device.
pub(crate) fn is_unreadable_journal(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<UnreadableJournal>())
}

/// Reads whole blocks of a journal. What the device fails twice is an error that names file and position: the journal
/// may be the only place of what was acknowledged and is written over after a start, so that nobody starts without it.
pub(crate) async fn read_journal<F: DiskFile>(file: &F, position: u64, len: usize) -> io::Result<F::Buffer> {
    let error = match read_twice(file, position, len).await {
        Err(error) if is_device_error(&error) => error,
        read => return read,
    };
    let blocks = read_blocks(file, position, len, is_device_error).await?;
    let at = blocks.unreadable.first().map_or(position, |range| range.start);
    let text = format!(
        "{}, position {at}: {error}; nothing was changed, start again once the device reads it, or copy what can be read of \
         the file to where it can, with zeros for the rest, and what that costs is named",
        file.path().display()
    );
    Err(io::Error::new(error.kind(), UnreadableJournal(text)))
}
