//! Files as ordinary reads give them: the `Disk` of the offline commands.
//!
//! `READ_ONLY` never writes, whatever it is asked: every call that would change something fails. `WRITABLE` is for what
//! writes checkpoint slots and repairs segments; it removes and renames nothing either. The futures are ready at once,
//! so any executor will do.

use sluice_model::limits::BLOCK_LEN;
use sluice_storage::disk::{DirEntry, Disk, DiskFile, OpenMode, is_device_error};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainDisk {
    may_write: bool,
}

impl PlainDisk {
    pub(crate) const READ_ONLY: Self = Self { may_write: false };
    pub(crate) const WRITABLE: Self = Self { may_write: true };
}

#[derive(Clone, Debug)]
pub(crate) struct PlainFile {
    file: Rc<File>,
    path: Rc<PathBuf>,
}

/// What a device has given: zeros stand for the blocks that it did not, and `failed` says where these are, and why.
pub(crate) struct ReadAround {
    pub(crate) bytes: Vec<u8>,
    pub(crate) failed: Vec<(u64, io::Error)>,
}

impl PlainFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: Rc::new(File::open(path)?), path: Rc::new(path.to_owned()) })
    }

    pub(crate) fn file_len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// `len` bytes at `position`, fewer only where the file ends.
    pub(crate) fn read(&self, position: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len {
            match self.file.read_at(&mut bytes[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// The same from a device that fails some of it. `position` is a multiple of `BLOCK_LEN`.
    pub(crate) fn read_around(&self, position: u64, len: usize) -> io::Result<ReadAround> {
        match self.read(position, len) {
            Err(error) if is_device_error(&error) => {}
            read => return Ok(ReadAround { bytes: read?, failed: Vec::new() }),
        }
        let left = self.file_len()?.saturating_sub(position);
        let len = usize::try_from(left).map_or(len, |left| left.min(len));
        let (mut bytes, mut failed) = (Vec::<u8>::with_capacity(len), Vec::new());
        while bytes.len() < len {
            let (at, piece) = (position + bytes.len() as u64, BLOCK_LEN.min(len - bytes.len()));
            match self.read(at, piece) {
                Ok(read) if read.is_empty() => break,
                Ok(read) => bytes.extend_from_slice(&read),
                Err(error) if is_device_error(&error) => {
                    bytes.resize(bytes.len() + piece, 0);
                    failed.push((at, error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(ReadAround { bytes, failed })
    }

    /// The block at `position`, zeros where the file has none.
    pub(crate) fn read_block(&self, position: u64) -> io::Result<Vec<u8>> {
        let mut block = self.read(position, BLOCK_LEN)?;
        block.resize(BLOCK_LEN, 0);
        Ok(block)
    }
}

fn read_only<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "the offline commands change nothing"))
}

impl Disk for PlainDisk {
    type File = PlainFile;
    type Buffer = Vec<u8>;

    fn buffer(&self, len: usize) -> Vec<u8> {
        vec![0; len]
    }

    fn scratch_buffer(&self, len: usize) -> Vec<u8> {
        self.buffer(len)
    }

    fn only_looks(&self) -> bool {
        !self.may_write
    }

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<PlainFile> {
        if !self.may_write {
            return if mode == OpenMode::CreateNew { read_only() } else { PlainFile::open(path) };
        }
        let file = File::options().read(true).write(true).create_new(mode == OpenMode::CreateNew).open(path)?;
        Ok(PlainFile { file: Rc::new(file), path: Rc::new(path.to_owned()) })
    }

    async fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            entries.push(DirEntry { name, is_dir: entry.file_type()?.is_dir() });
        }
        entries.sort();
        Ok(entries)
    }

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if self.may_write { std::fs::create_dir_all(path) } else { read_only() }
    }

    async fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        read_only()
    }

    async fn remove_file(&self, _path: &Path) -> io::Result<()> {
        read_only()
    }

    async fn remove_dir(&self, _path: &Path) -> io::Result<()> {
        read_only()
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    async fn free_len(&self, _path: &Path) -> io::Result<u64> {
        Ok(0)
    }
}

impl DiskFile for PlainFile {
    type Buffer = Vec<u8>;

    fn path(&self) -> PathBuf {
        self.path.to_path_buf()
    }

    async fn len(&self) -> io::Result<u64> {
        self.file_len()
    }

    async fn read_at(&self, position: u64, len: usize) -> io::Result<Vec<u8>> {
        self.read(position, len)
    }

    /// Fails where the file was opened for reading.
    async fn write_at(&self, position: u64, buffer: Vec<u8>) -> io::Result<()> {
        self.file.write_all_at(&buffer, position)
    }

    async fn allocate(&self, _len: u64) -> io::Result<()> {
        read_only()
    }

    async fn truncate(&self, _len: u64) -> io::Result<()> {
        read_only()
    }

    async fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}
