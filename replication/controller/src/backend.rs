//! The file under the store. It allocates what it grows by, so that a full disk shows when the file grows and not in
//! the middle of a commit, and the room a file has is room it keeps.

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::fd::AsRawFd;

#[derive(Debug)]
pub(crate) struct AllocatedFile {
    inner: FileBackend,
    /// The same open file as `inner`'s.
    file: File,
}

impl AllocatedFile {
    pub(crate) fn new(file: File) -> Result<Self, redb::Error> {
        let inner = FileBackend::new(file.try_clone()?)?;
        Ok(Self { inner, file })
    }
}

impl StorageBackend for AllocatedFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let current = self.inner.len()?;
        if len <= current { self.inner.set_len(len) } else { allocate(&self.file, current, len) }
    }

    /// An error here means that the kernel may have dropped what it could not write: never "the disk is full", after
    /// which one could go on.
    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data().map_err(|e| io::Error::other(format!("flush failed: {e}")))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.inner.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }
}

/// Grows `file` from `from` to `to` bytes of allocated zeros.
fn allocate(file: &File, from: u64, to: u64) -> io::Result<()> {
    let as_off_t = |value: u64| libc::off_t::try_from(value).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge));
    let (offset, len) = (as_off_t(from)?, as_off_t(to - from)?);
    // SAFETY: the descriptor is open for the whole call, and no memory is passed.
    let code = unsafe { libc::posix_fallocate(file.as_raw_fd(), offset, len) };
    match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}
