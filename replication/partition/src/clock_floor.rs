//! The time a shard last believed, kept across starts: without it a start could not tell a wall clock that was set back
//! from one that is right, and would stamp records in the past.
//!
//! One block, overwritten in place: what it says stands in its first sector, so a torn write leaves the one or the other.
//! Deliberately absent: any need for it. One that is missing, or that a full disk has no block for, is no floor.

use sluice_model::limits::BLOCK_LEN;
use sluice_storage::disk::{Disk, DiskFile, OpenMode};
use std::io;
use std::path::Path;

const MAGIC: &[u8; 8] = b"sluiceCF";
/// It is written this often at most, microseconds.
const INTERVAL_US: u64 = 30 * 1_000_000;

pub(crate) struct ClockFloor<D: Disk> {
    file: Option<D::File>,
    saved_us: Option<u64>,
}

impl<D: Disk> ClockFloor<D> {
    /// The file, made when it is missing, and the time in it.
    pub(crate) async fn open(disk: &D, path: &Path) -> io::Result<(Self, Option<i64>)> {
        let file = match disk.open(path, OpenMode::Existing).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => match disk.open(path, OpenMode::CreateNew).await {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    return Ok((Self { file: None, saved_us: None }, None));
                }
                created => created?,
            },
            opened => opened?,
        };
        let floor_ms = match file.read_at(0, BLOCK_LEN).await {
            Ok(block) => decode(&block),
            // What cannot be read is no floor, and nobody's records.
            Err(_) => None,
        };
        Ok((Self { file: Some(file), saved_us: None }, floor_ms))
    }

    /// Writes the time down, when it has not been for a while.
    pub(crate) async fn save(&mut self, disk: &D, now_us: u64, believed_ms: i64) -> io::Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| self.is_due(now_us)) else { return Ok(()) };
        let mut block = disk.buffer(BLOCK_LEN);
        encode(believed_ms, &mut block);
        let saved = match file.write_at(0, block).await {
            Ok(()) => file.sync().await,
            Err(error) => Err(error),
        };
        match saved {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
            saved => {
                self.saved_us = Some(now_us);
                saved
            }
        }
    }

    fn is_due(&self, now_us: u64) -> bool {
        self.saved_us.is_none_or(|saved_us| now_us.saturating_sub(saved_us) >= INTERVAL_US)
    }
}

/// The time twice, once inverted, so that neither zeros nor anything torn is taken for one.
fn encode(believed_ms: i64, block: &mut [u8]) {
    block[..8].copy_from_slice(MAGIC);
    block[8..16].copy_from_slice(&believed_ms.to_le_bytes());
    block[16..24].copy_from_slice(&(!believed_ms).to_le_bytes());
}

fn decode(block: &[u8]) -> Option<i64> {
    let number = |at: usize| Some(i64::from_le_bytes(block.get(at..at + 8)?.try_into().ok()?));
    let believed_ms = number(8)?;
    (block.get(..8)? == MAGIC && number(16)? == !believed_ms).then_some(believed_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_is_read() {
        let mut block = [0; BLOCK_LEN];
        assert_eq!(decode(&block), None);
        assert_eq!(decode(&[]), None);
        for time in [0, -1, 1_800_000_000_000, i64::MAX, i64::MIN] {
            encode(time, &mut block);
            assert_eq!(decode(&block), Some(time));
        }
        for bit in 0..24 * 8 {
            let mut flipped = block;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), None, "bit {bit}");
        }
    }
}
