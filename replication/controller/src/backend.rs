//! The file under the store, so arranged that a full disk is met early and does no harm.
//!
//! It allocates what it grows by before it grows, never gives room back, and keeps a reserve allocated beyond its end.
//! On a full disk the log can grow into the reserve, which is kept for what must still be possible then: to start, and
//! to delete. The expensive mistake is a file left at a length in between, which the store takes for damage.

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Least room kept beyond the end, bytes. The store grows by doubling, so a larger file keeps its own length.
const RESERVE_LEN_MIN: u64 = 1024 * 1024;

#[derive(Debug)]
pub(crate) struct AllocatedFile {
    /// Reads and writes the file, and locks it.
    inner: FileBackend,
    file: Arc<File>,
    /// Where the store believes the file to end: never beyond where it does.
    len: AtomicU64,
}

/// The room beyond the end of a file.
#[derive(Clone, Debug)]
pub(crate) struct Reserve(Arc<File>);

impl AllocatedFile {
    pub(crate) fn new(file: File) -> Result<Self, redb::Error> {
        let len = AtomicU64::new(file.metadata()?.len());
        Ok(Self { inner: FileBackend::new(file.try_clone()?)?, file: Arc::new(file), len })
    }

    pub(crate) fn reserve(&self) -> Reserve {
        Reserve(self.file.clone())
    }

    fn zero(&self, from: u64, to: u64) -> io::Result<()> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut at = from;
        while at < to {
            let len = (to - at).min(ZEROS.len() as u64);
            self.inner.write(at, &ZEROS[..len as usize])?;
            at += len;
        }
        Ok(())
    }
}

impl Reserve {
    /// Sees to it that the whole reserve is allocated; fails with `StorageFull` when there is no room for it.
    pub(crate) fn renew(&self) -> io::Result<()> {
        let len = self.0.metadata()?.len();
        allocate(&self.0, len, len.max(RESERVE_LEN_MIN))
    }
}

impl StorageBackend for AllocatedFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.len.load(Ordering::Acquire))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let (current, physical) = (self.len.load(Ordering::Acquire), self.inner.len()?);
        if len > physical {
            allocate(&self.file, physical, len - physical)?;
            self.inner.set_len(len)?;
        }
        self.zero(current, len.min(physical))?;
        self.len.store(len, Ordering::Release);
        Ok(())
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

/// Allocates `len` bytes from `offset` on and leaves the file's length as it is. A file system that cannot do so
/// allocates when it is written to.
fn allocate(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let as_off_t = |value: u64| libc::off_t::try_from(value).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge));
    let (offset, len) = (as_off_t(offset)?, as_off_t(len)?);
    loop {
        // SAFETY: the descriptor is open for the whole call, and no memory is passed.
        let done = unsafe { libc::fallocate(file.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, offset, len) };
        if done == 0 {
            return Ok(());
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => {}
            error if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(()),
            error => return Err(error),
        }
    }
}
