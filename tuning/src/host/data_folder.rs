//! A folder that a broker keeps its files in: whether it is there and may be written, and what it lies on.

use super::mounts::{Mount, mount_of};
use super::root::{Read, Root, Unread};
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFolder {
    /// As it was given.
    pub path: PathBuf,
    pub state: Read<FolderState>,
    /// Of the nearest folder that is there.
    pub mount: Read<Mount>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FolderState {
    Writable,
    /// Made by a broker at its first start; what holds it is there and may be written.
    Missing {
        nearest: String,
    },
    NotAFolder {
        what: String,
    },
    NotWritable {
        what: String,
        error: String,
    },
}

pub(super) fn read(root: &Root, path: &Path, mounts: &Read<Vec<Mount>>) -> DataFolder {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let nearest = nearest(root, &absolute);
    let state = nearest.clone().and_then(|nearest| state(root, &absolute, nearest));
    let mount = nearest.and_then(|nearest| {
        let resolved = root.resolved(&nearest.display().to_string())?;
        mount_of(mounts.as_ref().map_err(Clone::clone)?, &resolved)
    });
    DataFolder { path: path.to_path_buf(), state, mount }
}

/// The path itself, or the nearest one above it that is there.
pub(super) fn nearest(root: &Root, absolute: &Path) -> Read<PathBuf> {
    for above in absolute.ancestors() {
        match root.path(above).symlink_metadata() {
            Ok(_) => return Ok(above.to_path_buf()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(Unread::io(above.display().to_string(), &error)),
        }
    }
    Err(Unread { path: absolute.display().to_string(), why: "nothing above it is there".to_owned(), is_missing: true })
}

fn state(root: &Root, absolute: &Path, nearest: PathBuf) -> Read<FolderState> {
    let what = nearest.display().to_string();
    let real = root.path(&nearest);
    let metadata = real.metadata().map_err(|error| Unread::io(&what, &error))?;
    if !metadata.is_dir() {
        return Ok(FolderState::NotAFolder { what });
    }
    let name = CString::new(real.as_os_str().as_bytes()).map_err(|_| Unread::malformed(&what, "a zero byte"))?;
    // SAFETY: the name is a valid C string for the duration of the call.
    if unsafe { libc::access(name.as_ptr(), libc::W_OK | libc::X_OK) } != 0 {
        return Ok(FolderState::NotWritable { what, error: io::Error::last_os_error().to_string() });
    }
    Ok(if nearest == absolute { FolderState::Writable } else { FolderState::Missing { nearest: what } })
}
