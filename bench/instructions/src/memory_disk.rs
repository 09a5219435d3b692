//! A disk in memory that does nothing but keep bytes: every call is done at once, and costs a copy.
//!
//! The fault disk of the tests keeps a log of all that was done to it and would be most of what is counted.
//! Deliberately absent: faults, durability, and errors but for names that are not there.

use sluice_model::limits::BLOCK_LEN;
use sluice_storage::disk::{DirEntry, Disk, DiskFile, OpenMode};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::rc::Rc;

type Content = Rc<RefCell<Vec<u8>>>;

/// The disk; a clone is the same device.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    /// `None` is a folder.
    names: Rc<RefCell<BTreeMap<PathBuf, Option<Content>>>>,
}

#[derive(Clone)]
pub struct MemoryFile {
    path: PathBuf,
    content: Content,
}

impl MemoryDisk {
    fn file(&self, path: &Path) -> Result<Content> {
        self.names.borrow().get(path).cloned().flatten().ok_or(Error::from(ErrorKind::NotFound))
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;
    type Buffer = Vec<u8>;

    fn buffer(&self, len: usize) -> Vec<u8> {
        assert!(len.is_multiple_of(BLOCK_LEN), "a buffer of {len} bytes");
        // Written, as a buffer for direct writes is, and not had from the kernel as zeros.
        std::iter::repeat_n(0, len).collect()
    }

    fn scratch_buffer(&self, len: usize) -> Vec<u8> {
        self.buffer(len)
    }

    async fn open(&self, path: &Path, mode: OpenMode) -> Result<MemoryFile> {
        let content = match (mode, self.file(path)) {
            (OpenMode::CreateNew, Ok(_)) => return Err(ErrorKind::AlreadyExists.into()),
            (OpenMode::CreateNew, Err(_)) => {
                let content = Content::default();
                self.names.borrow_mut().insert(path.to_owned(), Some(content.clone()));
                content
            }
            (OpenMode::Existing | OpenMode::DurableWrites, found) => found?,
        };
        Ok(MemoryFile { path: path.to_owned(), content })
    }

    async fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>> {
        let names = self.names.borrow();
        names.get(path).ok_or(Error::from(ErrorKind::NotFound))?;
        let within = names.iter().filter(|(name, _)| name.parent() == Some(path));
        let entries = within.map(|(name, node)| DirEntry {
            name: name.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            is_dir: node.is_none(),
        });
        Ok(entries.collect())
    }

    async fn create_dir_all(&self, path: &Path) -> Result<()> {
        let mut names = self.names.borrow_mut();
        for dir in path.ancestors() {
            names.entry(dir.to_owned()).or_insert(None);
        }
        Ok(())
    }

    async fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut names = self.names.borrow_mut();
        let node = names.remove(from).ok_or(Error::from(ErrorKind::NotFound))?;
        names.insert(to.to_owned(), node);
        Ok(())
    }

    async fn remove_file(&self, path: &Path) -> Result<()> {
        self.names.borrow_mut().remove(path).map(drop).ok_or(ErrorKind::NotFound.into())
    }

    async fn remove_dir(&self, path: &Path) -> Result<()> {
        self.remove_file(path).await
    }

    async fn sync_dir(&self, _path: &Path) -> Result<()> {
        Ok(())
    }

    async fn free_len(&self, _path: &Path) -> Result<u64> {
        Ok(1 << 40)
    }
}

impl DiskFile for MemoryFile {
    type Buffer = Vec<u8>;

    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    async fn len(&self) -> Result<u64> {
        Ok(self.content.borrow().len() as u64)
    }

    async fn read_at(&self, position: u64, len: usize) -> Result<Vec<u8>> {
        let content = self.content.borrow();
        let from = index(position).min(content.len());
        Ok(content[from..content.len().min(from + len)].to_vec())
    }

    async fn write_at(&self, position: u64, buffer: Vec<u8>) -> Result<()> {
        let mut content = self.content.borrow_mut();
        let (from, to) = (index(position), index(position) + buffer.len());
        if content.len() < to {
            content.resize(to, 0);
        }
        content[from..to].copy_from_slice(&buffer);
        Ok(())
    }

    async fn allocate(&self, len: u64) -> Result<()> {
        let mut content = self.content.borrow_mut();
        let len = content.len().max(index(len));
        content.resize(len, 0);
        Ok(())
    }

    async fn truncate(&self, len: u64) -> Result<()> {
        self.content.borrow_mut().truncate(index(len));
        Ok(())
    }

    async fn sync(&self) -> Result<()> {
        Ok(())
    }
}

fn index(position: u64) -> usize {
    usize::try_from(position).expect("a file in memory fits in memory")
}
