//! Scratch folders for measurements: made inside a folder the caller names, locked while in use, removed afterwards.
//!
//! The expensive mistake is to leave gigabytes behind: a run that is killed cannot clean up after itself, so the next one
//! removes every scratch folder beside its own whose lock nobody holds. It touches nothing that does not bear the scratch
//! name and hold a lock file. The second mistake is to measure memory instead of a device: tmpfs and ramfs are refused,
//! because they accept O_DIRECT and drop it.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

const NAME_PREFIX: &str = "sluice-scratch-";
const LOCK_NAME: &str = "lock";
const TMPFS_MAGIC: u64 = 0x0102_1994;
const RAMFS_MAGIC: u64 = 0x8584_58f6;

/// A folder that exists as long as this value does.
#[derive(Debug)]
pub struct ScratchFolder {
    path: PathBuf,
    /// Held for its lock, which tells later runs that the folder is in use.
    _lock: File,
}

/// Why there is no scratch folder.
#[derive(Debug)]
pub enum FolderError {
    /// The folder lies in memory: nothing measured there says anything about a device.
    InMemory {
        path: PathBuf,
    },
    Io {
        path: PathBuf,
        source: io::Error,
    },
}

impl std::fmt::Display for FolderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InMemory { path } => {
                write!(
                    f,
                    "{} is on tmpfs or ramfs, where direct I/O is silently dropped: name a folder on a disk",
                    path.display()
                )
            }
            Self::Io { path, source } => write!(
                f,
                "no folder for measurements can be made in {}: {source}; name one that can be written with --data-dir",
                path.display()
            ),
        }
    }
}

impl std::error::Error for FolderError {}

impl ScratchFolder {
    /// Makes a new folder inside `parent` (itself created when missing), after removing those that ended runs left there.
    pub fn create(parent: &Path) -> Result<Self, FolderError> {
        fs::create_dir_all(parent).map_err(|source| FolderError::Io { path: parent.to_path_buf(), source })?;
        refuse_memory(parent)?;
        remove_abandoned(parent);
        loop {
            let path = parent.join(unused_name());
            match claim(&path) {
                Ok(Some(lock)) => return Ok(Self { path, _lock: lock }),
                Ok(None) => continue,
                Err(source) => return Err(FolderError::Io { path, source }),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path for a file or folder of this name inside; nothing is created.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next run.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Refuses a folder whose file system lives in memory.
pub fn refuse_memory(path: &Path) -> Result<(), FolderError> {
    match file_system_magic(path) {
        Ok(TMPFS_MAGIC | RAMFS_MAGIC) => Err(FolderError::InMemory { path: path.to_path_buf() }),
        Ok(_) => Ok(()),
        Err(source) => Err(FolderError::Io { path: path.to_path_buf(), source }),
    }
}

/// Bytes that an ordinary user may still write there. None where the kernel does not say.
pub fn free_len(folder: &Path) -> Option<u64> {
    let path = CString::new(folder.as_os_str().as_bytes()).ok()?;
    let mut found = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends with a zero byte and `found` has room for one statvfs.
    if unsafe { libc::statvfs(path.as_ptr(), found.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: statvfs returned 0, so it filled the structure.
    let found = unsafe { found.assume_init() };
    Some(found.f_bavail * found.f_frsize)
}

fn file_system_magic(path: &Path) -> io::Result<u64> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut found = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: `name` ends with a zero byte and `found` has room for one statfs.
    if unsafe { libc::statfs(name.as_ptr(), found.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: statfs returned 0, so it filled the structure.
    let found = unsafe { found.assume_init() };
    // The field's sign and width differ between targets; the magic numbers are 32 bits.
    Ok(found.f_type as u64 & 0xffff_ffff)
}

fn unused_name() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    format!("{NAME_PREFIX}{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// Creates the folder and takes its lock. `None` when the name is taken, or a run that was cleaning up removed the folder in
/// between.
fn claim(path: &Path) -> io::Result<Option<File>> {
    match fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => return Err(error),
    }
    let lock_path = path.join(LOCK_NAME);
    let lock = File::create(&lock_path)?;
    lock.lock()?;
    Ok(lock_path.exists().then_some(lock))
}

fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().as_bytes().starts_with(NAME_PREFIX.as_bytes()) {
            continue;
        }
        let Ok(lock) = File::options().write(true).open(entry.path().join(LOCK_NAME)) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
