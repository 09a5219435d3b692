//! Disk space set aside, so that what was admitted to memory and journal can always be written back.
//!
//! The reserve is an allocated file as long as the shard's tail budget. Whatever is admitted and has no space in a
//! segment yet has it here: when an allocation fails, the reserve is given back to the file system, produce is
//! refused, and write-back goes on in the space that became free. The same space lets a broker with a full disk
//! start, delete and drain.

use sluice_storage::disk::{Disk, DiskFile, OpenMode};
use std::io;
use std::path::PathBuf;

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
            other => other?,
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
            self.is_held = match self.file.allocate(self.len).await {
                Ok(()) => true,
                Err(error) if error.kind() == io::ErrorKind::StorageFull => false,
                Err(error) => return Err(error),
            };
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
