//! Disk space set aside, so that what was admitted to memory and journal can always be written back.
//!
//! The reserve is an allocated file as long as the shard's tail budget. Whatever is admitted and has no space in a
//! segment yet has it here: when an allocation fails, the reserve is given back to the file system, produce is
//! refused, and write-back goes on in the space that became free. The same space lets a broker with a full disk
//! start, delete and drain.
//!
//! It is taken whole or not at all. Produce could come back sooner with a part of it and a tail bounded by that part, but
//! padding, footers and checkpoints need room that does not shrink with the tail; and a disk with less free than this is
//! full again within a fraction of a second, so that clients would be accepted and refused in turn for as long as it lasts.

use sluice_storage::disk::{Disk, DiskFile, OpenMode};
use std::io;
use std::path::{Path, PathBuf};

pub(crate) struct SpaceReserve<D: Disk> {
    file: D::File,
    len: u64,
    is_held: bool,
}

impl<D: Disk> SpaceReserve<D> {
    /// Opens the reserve and tries to fill it; a disk too full for it is no error, see [`Self::is_held`].
    pub(crate) async fn open(disk: &D, path: PathBuf, len: u64) -> io::Result<Self> {
        let file = match disk.open(&path, OpenMode::CreateNew).await {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => disk.open(&path, OpenMode::Existing).await?,
            created => {
                let file = created?;
                disk.sync_dir(path.parent().expect("a reserve lies in its shard's folder")).await?;
                file
            }
        };
        let mut reserve = Self { file, len, is_held: false };
        reserve.fill().await?;
        Ok(reserve)
    }

    pub(crate) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Takes the space; `Ok(false)` when the disk does not have it.
    pub(crate) async fn fill(&mut self) -> io::Result<bool> {
        if !self.is_held {
            match self.file.allocate(self.len).await {
                // Or a power cut would leave no reserve to start with.
                Ok(()) => self.file.sync().await?,
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(false),
                Err(error) => return Err(error),
            }
            self.is_held = true;
        }
        Ok(self.is_held)
    }

    /// Gives the space back to the file system.
    pub(crate) async fn give_back(&mut self) -> io::Result<()> {
        self.is_held = false;
        self.file.truncate(0).await?;
        self.file.sync().await
    }
}

/// Before recovery: gives back the space that a reserve holds when the device has not twice its length besides.
pub(crate) async fn release_if_short<D: Disk>(disk: &D, path: &Path, len: u64) -> io::Result<()> {
    let file = match disk.open(path, OpenMode::Existing).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    if file.len().await? > 0 && disk.free_len(path).await? < 2 * len {
        file.truncate(0).await?;
        file.sync().await?;
    }
    Ok(())
}
