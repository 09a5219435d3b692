//! Whether a folder can hold data: it exists, may be written, lies on a device, and takes direct I/O.
//!
//! Blocking calls: for the start of the program and for the blocking pool, never for a shard's own thread. The
//! expensive mistake is to believe an `open` with O_DIRECT: some file systems drop the flag in silence (tmpfs) or refuse
//! only the first write, so a block is really written and read.

use std::ffi::CString;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use sluice_model::limits::BLOCK_LEN;

/// Names that begin so are probe files: removed at once, and left out of every listing if a crash left one behind.
pub(crate) const PROBE_PREFIX: &str = ".direct-io-probe-";

/// Why a folder cannot hold data. The message names the remedy.
#[derive(Debug)]
pub enum FolderProblem {
    Missing {
        path: PathBuf,
    },
    NotAFolder {
        path: PathBuf,
    },
    /// The file system, or the user's rights, forbid writing.
    ReadOnly {
        path: PathBuf,
        error: io::Error,
    },
    /// Its content lives in memory and is gone with a restart.
    InMemory {
        path: PathBuf,
        file_system: &'static str,
    },
    NoDirectIo {
        path: PathBuf,
        error: io::Error,
    },
    Failed {
        path: PathBuf,
        error: io::Error,
    },
}

impl fmt::Display for FolderProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FolderProblem::Missing { path } => write!(f, "the folder {} does not exist; create it first", path.display()),
            FolderProblem::NotAFolder { path } => write!(f, "{} is not a folder; name another one", path.display()),
            FolderProblem::ReadOnly { path, error } => write!(
                f,
                "the folder {} cannot be written ({error}); give this user the right to write there, or mount it writable",
                path.display()
            ),
            FolderProblem::InMemory { path, file_system } => write!(
                f,
                "the folder {} lies on {file_system}, which keeps its content in memory; choose a folder on a disk",
                path.display()
            ),
            FolderProblem::NoDirectIo { path, error } => write!(
                f,
                "the file system of {} does not take direct I/O in blocks of {BLOCK_LEN} bytes ({error}); choose a folder on ext4 or XFS",
                path.display()
            ),
            FolderProblem::Failed { path, error } => write!(f, "the folder {} cannot be examined: {error}", path.display()),
        }
    }
}

impl std::error::Error for FolderProblem {}

impl From<FolderProblem> for io::Error {
    fn from(problem: FolderProblem) -> io::Error {
        let kind = match &problem {
            FolderProblem::Missing { .. } => io::ErrorKind::NotFound,
            FolderProblem::NotAFolder { .. } => io::ErrorKind::NotADirectory,
            FolderProblem::ReadOnly { error, .. } | FolderProblem::Failed { error, .. } => error.kind(),
            FolderProblem::InMemory { .. } | FolderProblem::NoDirectIo { .. } => io::ErrorKind::Unsupported,
        };
        io::Error::new(kind, problem)
    }
}

/// Checks a folder by writing and reading one block in it. A full disk is not a problem of the folder: a broker has
/// to start on one to delete and drain.
pub(crate) fn check_folder(path: &Path) -> Result<(), FolderProblem> {
    let owned = || path.to_path_buf();
    match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => return Err(FolderProblem::NotAFolder { path: owned() }),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(FolderProblem::Missing { path: owned() }),
        Err(error) => return Err(FolderProblem::Failed { path: owned(), error }),
    }
    refuse_memory(path)?;
    let probe = match ProbeFile::create(path) {
        Ok(probe) => probe,
        Err(error) => return folder_verdict(path, error),
    };
    match probe.read_block() {
        Ok(()) => Ok(()),
        Err(error) => folder_verdict(path, error),
    }
}

fn folder_verdict(path: &Path, error: io::Error) -> Result<(), FolderProblem> {
    let path = path.to_path_buf();
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => Ok(()),
        Some(libc::EROFS | libc::EACCES | libc::EPERM) => Err(FolderProblem::ReadOnly { path, error }),
        Some(libc::EINVAL | libc::EOPNOTSUPP) => Err(FolderProblem::NoDirectIo { path, error }),
        _ => Err(FolderProblem::Failed { path, error }),
    }
}

/// Refuses file systems that live in memory: O_DIRECT is dropped on them in silence, and so is durability.
pub(crate) fn refuse_memory(path: &Path) -> Result<(), FolderProblem> {
    let magic = match file_system_magic(path) {
        Ok(magic) => magic,
        Err(error) => return Err(FolderProblem::Failed { path: path.to_path_buf(), error }),
    };
    match memory_file_system(magic) {
        Some(file_system) => Err(FolderProblem::InMemory { path: path.to_path_buf(), file_system }),
        None => Ok(()),
    }
}

/// The same of a folder that may not exist yet: judged by the nearest one above it that does.
pub(crate) fn refuse_memory_around(path: &Path) -> Result<(), FolderProblem> {
    // An empty rest of a relative path is the current folder.
    let there = path.ancestors().map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above });
    match there.into_iter().find(|above| above.exists()) {
        // The message names the folder that was asked for.
        Some(above) => refuse_memory(above).map_err(|problem| match problem {
            FolderProblem::InMemory { file_system, .. } => FolderProblem::InMemory { path: path.to_path_buf(), file_system },
            other => other,
        }),
        None => Ok(()),
    }
}

fn memory_file_system(magic: u64) -> Option<&'static str> {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    match magic {
        TMPFS => Some("tmpfs"),
        RAMFS => Some("ramfs"),
        _ => None,
    }
}

/// A file in `folder` whose first block was written; `None` when there is none.
pub(crate) fn written_file_in(folder: &Path) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && begins_written(&entry.path())? {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// Whether a file is there whose first block was written: neither a hole nor merely allocated.
fn begins_written(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    if file.metadata()?.len() < BLOCK_LEN as u64 {
        return Ok(false);
    }
    // SAFETY: a plain system call on a descriptor that is open for the duration of the borrow.
    Ok(unsafe { libc::lseek(file.as_raw_fd(), 0, libc::SEEK_DATA) } == 0)
}

fn file_system_magic(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut found = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the path is a valid C string and the buffer has the size the call writes.
    let result = unsafe { libc::statfs(path.as_ptr(), found.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded and has filled the buffer.
    let found = unsafe { found.assume_init() };
    Ok(found.f_type as u64 & 0xffff_ffff)
}

/// One written and flushed block in a file of its own, removed when dropped.
pub(crate) struct ProbeFile {
    file: File,
    path: PathBuf,
}

#[repr(align(4096))]
struct Block([u8; BLOCK_LEN]);

impl ProbeFile {
    /// Creates the file in `folder`, writes its first block by direct I/O and flushes it.
    pub(crate) fn create(folder: &Path) -> io::Result<ProbeFile> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{PROBE_PREFIX}{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = folder.join(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).custom_flags(libc::O_DIRECT);
        let probe = ProbeFile { file: options.open(&path)?, path };
        probe.file.write_all_at(&Block([0x5a; BLOCK_LEN]).0, 0)?;
        probe.file.sync_data()?;
        Ok(probe)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn read_block(&self) -> io::Result<()> {
        let mut block = Block([0; BLOCK_LEN]);
        self.file.read_exact_at(&mut block.0, 0)?;
        if block.0 != [0x5a; BLOCK_LEN] {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a block just written reads back differently"));
        }
        Ok(())
    }
}

impl Drop for ProbeFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a probe file could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_in_memory_are_known_by_their_magic() {
        assert_eq!(memory_file_system(libc::TMPFS_MAGIC as u64), Some("tmpfs"));
        assert_eq!(memory_file_system(0x8584_58f6), Some("ramfs"));
        assert_eq!(memory_file_system(libc::EXT4_SUPER_MAGIC as u64), None);
    }

    #[test]
    fn an_error_of_the_first_block_is_judged() {
        let judge = |code| folder_verdict(Path::new("d"), io::Error::from_raw_os_error(code));
        assert!(judge(libc::ENOSPC).is_ok());
        assert!(matches!(judge(libc::EROFS), Err(FolderProblem::ReadOnly { .. })));
        assert!(matches!(judge(libc::EACCES), Err(FolderProblem::ReadOnly { .. })));
        assert!(matches!(judge(libc::EINVAL), Err(FolderProblem::NoDirectIo { .. })));
        assert!(matches!(judge(libc::EIO), Err(FolderProblem::Failed { .. })));
    }

    #[test]
    fn a_missing_folder_and_a_file_in_its_place_are_named() {
        assert!(matches!(check_folder(Path::new("no/such/folder")), Err(FolderProblem::Missing { .. })));
        assert!(matches!(check_folder(Path::new("Cargo.toml")), Err(FolderProblem::NotAFolder { .. })));
    }
}
