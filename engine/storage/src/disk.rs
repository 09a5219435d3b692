//! The seam between storage and a device: everything storage asks of files, and what it may rely on.
//!
//! Two implementations stand behind it, under the same tests: direct I/O on glommio (`shard::direct_disk`) and
//! the in-memory fault disk (`testing::fault_disk`). The expensive mistake is to rely on more than is promised
//! here: a completed `write_at` on a file opened without `durable_writes` is *not* durable before a `sync` of that
//! file has returned; a created, renamed or removed name is not durable before `sync_dir` of its folder.
//!
//! Deliberately absent: retries. A failed write or flush is given to the caller, who ends the process.

use std::future::Future;
use std::io;
use std::ops::DerefMut;
use std::path::{Path, PathBuf};

/// How a file is opened. All positions and lengths of reads and writes are multiples of `BLOCK_LEN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file.
    Existing,
    /// A file that must not exist yet.
    CreateNew,
    /// An existing, pre-written file of fixed size, every completed write of which is durable (O_DSYNC).
    DurableWrites,
}

/// Whether the device itself has failed to give bytes back (EIO, and what file systems and controllers say of media and
/// integrity errors), and not a want of rights, names or memory.
#[must_use]
pub fn is_device_error(error: &std::io::Error) -> bool {
    const EIO: i32 = 5;
    const ENODATA: i32 = 61;
    const EBADMSG: i32 = 74;
    const EILSEQ: i32 = 84;
    const EUCLEAN: i32 = 117;
    error.raw_os_error().is_some_and(|code| [EIO, ENODATA, EBADMSG, EILSEQ, EUCLEAN].contains(&code))
}

/// A name in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    pub name: String,
    pub is_dir: bool,
}

/// A device with a tree of files. Cheap to clone; clones are the same device.
///
/// Calls on one disk may overlap. None of them may be made on the path of a produce but `write_at` of a
/// `DurableWrites` file (open, allocate and sync run on other threads and take milliseconds).
pub trait Disk: Clone + 'static {
    type File: DiskFile<Buffer = Self::Buffer>;
    type Buffer: DerefMut<Target = [u8]> + 'static;

    /// A zeroed buffer of `len` bytes (a multiple of `BLOCK_LEN`) fit for this device's reads and writes.
    fn buffer(&self, len: usize) -> Self::Buffer;
    /// The same without the zeros: it holds anything, so whoever takes one writes every byte of it before it goes to a file.
    fn scratch_buffer(&self, len: usize) -> Self::Buffer;

    /// Whoever has it looks at a stopped broker's files and changes none of them: what is read need not be made durable,
    /// because nothing is given out by it.
    fn only_looks(&self) -> bool {
        false
    }

    fn open(&self, path: &Path, mode: OpenMode) -> impl Future<Output = io::Result<Self::File>>;
    /// The entries of a folder, sorted by name. `NotFound` when it does not exist.
    fn read_dir(&self, path: &Path) -> impl Future<Output = io::Result<Vec<DirEntry>>>;
    /// Creates a folder and those above it; each created name is made durable.
    fn create_dir_all(&self, path: &Path) -> impl Future<Output = io::Result<()>>;
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>>;
    fn remove_file(&self, path: &Path) -> impl Future<Output = io::Result<()>>;
    /// Removes an empty folder.
    fn remove_dir(&self, path: &Path) -> impl Future<Output = io::Result<()>>;
    /// Makes the names in this folder durable.
    fn sync_dir(&self, path: &Path) -> impl Future<Output = io::Result<()>>;
    /// Bytes free for this user on the file system that holds `path`.
    fn free_len(&self, path: &Path) -> impl Future<Output = io::Result<u64>>;
}

/// An open file. Cheap to clone; clones are the same open file. Dropping the last one closes it.
#[expect(clippy::len_without_is_empty, reason = "a file's length is asked for, never its emptiness")]
pub trait DiskFile: Clone + 'static {
    type Buffer: DerefMut<Target = [u8]> + 'static;

    fn path(&self) -> PathBuf;
    fn len(&self) -> impl Future<Output = io::Result<u64>>;
    /// Reads `len` bytes; fewer only where the file ends (the buffer is then shorter).
    fn read_at(&self, position: u64, len: usize) -> impl Future<Output = io::Result<Self::Buffer>>;
    /// Writes the whole buffer, or fails with an unknown part of it written.
    fn write_at(&self, position: u64, buffer: Self::Buffer) -> impl Future<Output = io::Result<()>>;
    /// Reserves space so that writes below `len` cannot fail for want of it; the file's length becomes at least
    /// `len`, new bytes read as zeros. Fails with `StorageFull` and nothing changed.
    fn allocate(&self, len: u64) -> impl Future<Output = io::Result<()>>;
    /// Cuts the file to `len` bytes.
    fn truncate(&self, len: u64) -> impl Future<Output = io::Result<()>>;
    /// Makes every completed write, allocation and truncation of this file durable.
    fn sync(&self) -> impl Future<Output = io::Result<()>>;
}
