//! The `Disk` seam on direct I/O.
//!
//! Every file is opened O_DIRECT, read and write; a `DurableWrites` file O_DSYNC besides, so that one write is one
//! flush. Reads and writes go through the ring, a small durable write inline (`inline_choice`); everything that may
//! wait on a file system (open, allocate, truncate, flush, names) runs on the blocking pool or the ring's workers,
//! takes milliseconds, and has no place on the path of a produce.
//!
//! Two mistakes are expensive. The first open on a device must meet a file whose first block is written: glommio reads
//! it to learn whether the device can be polled, and a hole answers "yes", after which the executor cannot sleep with
//! I/O in flight (`prepare_device`). And a call on the pool must own the descriptor it works on: the file may be closed,
//! and its number given to another, before the call runs.

mod buffer;
mod file;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use glommio::GlommioError;
use glommio::io::OpenOptions;
use sluice_storage::disk::{DirEntry, Disk, OpenMode};

pub use self::buffer::DirectBuffer;
pub use self::file::DirectFile;
use crate::clock::SystemClock;
use crate::folder::{self, FolderProblem, PROBE_PREFIX, ProbeFile};
use crate::inline_choice::InlineChoice;
use crate::metrics::ShardMetrics;

/// The disks of one shard, as one. Cheap to clone; bound to the shard's thread.
#[derive(Clone)]
pub struct DirectDisk {
    device: Rc<DeviceState>,
}

/// The most pressing of the calls under way in the rings and on the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnderWay {
    DurableWrite,
    Other,
    Nothing,
}

/// What the files of one shard share.
struct DeviceState {
    clock: SystemClock,
    metrics: Rc<ShardMetrics>,
    inline: Cell<InlineChoice>,
    traffic: Traffic,
    /// Devices (st_dev) that glommio has probed on this thread.
    prepared: RefCell<BTreeSet<u64>>,
}

/// Calls under way.
#[derive(Default)]
struct Traffic {
    durable_ring_writes: Cell<usize>,
    bulk_writes: Cell<usize>,
    /// Anything whose completion only shows when the executor looks at its rings or its pool.
    pending: Cell<usize>,
}

impl DirectDisk {
    /// Call on the executor's own thread.
    pub(crate) fn new(clock: SystemClock, metrics: Rc<ShardMetrics>) -> DirectDisk {
        let device =
            DeviceState { clock, metrics, inline: Cell::default(), traffic: Traffic::default(), prepared: RefCell::default() };
        DirectDisk { device: Rc::new(device) }
    }

    /// Whether a folder can hold data. Blocking: for the start of the program, before any shard runs.
    pub fn check_folder(path: &Path) -> Result<(), FolderProblem> {
        folder::check_folder(path)
    }

    /// Refuses a folder, there or still to be made, whose file system lives in memory. Blocking, as above.
    pub fn refuse_memory_around(path: &Path) -> Result<(), FolderProblem> {
        folder::refuse_memory_around(path)
    }

    /// What may have completed without anybody having looked.
    pub(crate) fn under_way(&self) -> UnderWay {
        let traffic = &self.device.traffic;
        match (traffic.durable_ring_writes.get(), traffic.pending.get()) {
            (0, 0) => UnderWay::Nothing,
            (0, _) => UnderWay::Other,
            _ => UnderWay::DurableWrite,
        }
    }

    /// Lets glommio probe the device that holds `path` on a block that is written; refuses one in memory.
    async fn prepare_device(&self, path: &Path) -> io::Result<()> {
        let folder = parent(path);
        let found = folder.clone();
        let device_id = self.pool(move || Ok(fs::metadata(found)?.dev())).await?;
        if self.device.prepared.borrow().contains(&device_id) {
            return Ok(());
        }
        let (probe, probed) = self
            .pool(move || {
                folder::refuse_memory(&folder)?;
                match ProbeFile::create(&folder) {
                    // A full disk has no block for a probe, and a broker has to start on one: any file beside it whose
                    // first block is written serves as well.
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                        folder::written_file_in(&folder)?.map(|written| (None, written)).ok_or(error)
                    }
                    created => created.map(|probe| {
                        let path = probe.path().to_path_buf();
                        (Some(probe), path)
                    }),
                }
            })
            .await?;
        let _pending = Pending::of(&self.device.traffic.pending);
        let opened = OpenOptions::new().read(true).write(true).dma_open(probed).await.map_err(io_error)?;
        opened.close().await.map_err(io_error)?;
        self.device.prepared.borrow_mut().insert(device_id);
        self.pool(move || {
            drop(probe);
            Ok(())
        })
        .await
    }

    /// Runs a blocking call on glommio's pool. The call must not panic: its caller would wait for ever.
    async fn pool<T: Send + 'static>(&self, call: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
        run_on_pool(&self.device, call).await
    }
}

impl Disk for DirectDisk {
    type File = DirectFile;
    type Buffer = DirectBuffer;

    fn buffer(&self, len: usize) -> DirectBuffer {
        DirectBuffer::zeroed(len)
    }

    fn scratch_buffer(&self, len: usize) -> DirectBuffer {
        DirectBuffer::scratch(len)
    }

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<DirectFile> {
        self.prepare_device(path).await?;
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        match mode {
            OpenMode::Existing => {}
            OpenMode::CreateNew => {
                options.create_new(true);
            }
            OpenMode::DurableWrites => {
                options.custom_flags(libc::O_DSYNC);
            }
        }
        let _pending = Pending::of(&self.device.traffic.pending);
        let opened = options.dma_open(path).await.map_err(io_error)?;
        Ok(DirectFile::new(self.device.clone(), opened, path.to_path_buf(), mode == OpenMode::DurableWrites))
    }

    async fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let path = path.to_path_buf();
        self.pool(move || list(&path)).await
    }

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let path = path.to_path_buf();
        self.pool(move || create_durably(&path)).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (from.to_path_buf(), to.to_path_buf());
        self.pool(move || fs::rename(from, to)).await
    }

    async fn remove_file(&self, path: &Path) -> io::Result<()> {
        let path = path.to_path_buf();
        self.pool(move || fs::remove_file(path)).await
    }

    async fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let path = path.to_path_buf();
        self.pool(move || remove_empty(&path)).await
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = path.to_path_buf();
        self.pool(move || sync_folder(&path)).await
    }

    async fn free_len(&self, path: &Path) -> io::Result<u64> {
        let path = path.to_path_buf();
        self.pool(move || free_len(&path)).await
    }
}

async fn run_on_pool<T: Send + 'static>(
    device: &Rc<DeviceState>,
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let _pending = Pending::of(&device.traffic.pending);
    glommio::executor().spawn_blocking(call).await
}

/// Counts one call for as long as it lives.
struct Pending<'a> {
    count: &'a Cell<usize>,
}

impl<'a> Pending<'a> {
    fn of(count: &'a Cell<usize>) -> Pending<'a> {
        count.set(count.get() + 1);
        Pending { count }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.count.set(self.count.get() - 1);
    }
}

/// The system's own error, where there is one: its kind decides what the caller does.
fn io_error(error: GlommioError<()>) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.into(),
    }
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Names that are not UTF-8 are not ours and are left out; so are probe files that a crash left behind.
fn list(path: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.starts_with(PROBE_PREFIX) {
            entries.push(DirEntry { name, is_dir: entry.file_type()?.is_dir() });
        }
    }
    entries.sort();
    Ok(entries)
}

/// How often a folder is made whose folder above goes meanwhile: each time another shard has to be as quick again.
const FOLDER_ATTEMPTS: u32 = 100;

/// A folder above may go while it is still empty: another shard has removed the last partition of a topic that is being
/// deleted. It is then made once more.
fn create_durably(path: &Path) -> io::Result<()> {
    for _ in 1..FOLDER_ATTEMPTS {
        match try_create_durably(path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => {}
            result => return result,
        }
    }
    try_create_durably(path)
}

fn try_create_durably(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let above = parent(path);
    try_create_durably(&above)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        result => result?,
    }
    sync_folder(&above)
}

fn remove_empty(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name().as_bytes().starts_with(PROBE_PREFIX.as_bytes()) {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir(path)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn free_len(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut found = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path is a valid C string and the buffer has the size the call writes.
    let result = unsafe { libc::statvfs(path.as_ptr(), found.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded and has filled the buffer.
    let found = unsafe { found.assume_init() };
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// One shard writes the first segment of a partition while others remove theirs of the same, deleted topic.
    #[test]
    fn a_folder_is_made_though_the_one_above_is_removed_whenever_it_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let topic = dir.path().join("topic");
        for n in 0..60 {
            let ended = AtomicBool::new(false);
            let partition = topic.join(format!("{n}"));
            std::thread::scope(|scope| {
                // Once, at whatever moment it is empty.
                scope.spawn(|| {
                    while !ended.load(Ordering::Relaxed) && fs::remove_dir(&topic).is_err() {
                        std::thread::yield_now();
                    }
                });
                let made = create_durably(&partition);
                ended.store(true, Ordering::Relaxed);
                made.unwrap_or_else(|error| panic!("folder {n}: {error}"));
            });
            assert!(partition.is_dir());
            fs::remove_dir_all(&topic).unwrap();
        }
        // What is in the way for good is said.
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        assert_eq!(create_durably(&file).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(create_durably(&file.join("partition")).is_err());
    }
}
