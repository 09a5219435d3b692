//! The data folder as a whole: whose it is, which format it has, how often it was started.
//!
//! The expensive mistake is to take a folder that lost a part for a fresh one and to begin anew in it, so anything
//! that is there without what should be beside it is an error and nothing is touched. Deliberately absent: what the
//! parts contain (metadata: the controller; journal, segments, checkpoints: the shards).

use crate::start_error::StartError;
use serde::{Deserialize, Serialize};
use sluice_model::Incarnation;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// The format this program writes, and the newest it reads.
pub(crate) const FORMAT_VERSION: u32 = 1;
const META_LEN_MAX: u64 = 64 * 1024;
/// In the journal folder: the id of the data folder whose journal it is.
const JOURNAL_OWNER_NAME: &str = "owner";

/// A data folder that is this process's until it is dropped.
#[derive(Debug)]
pub(crate) struct DataFolder {
    pub(crate) dir: PathBuf,
    pub(crate) journal_dir: PathBuf,
    pub(crate) folder_id: [u8; 16],
    pub(crate) incarnation: Incarnation,
    /// Holds the lock.
    _lock: File,
}

#[derive(Serialize, Deserialize)]
struct Meta {
    format_version: u32,
    folder_id: String,
    incarnation_number: u64,
    journal_dir: PathBuf,
}

impl DataFolder {
    /// Creates or checks the folder, locks it, and begins a new incarnation.
    pub(crate) fn open(data_dir: &Path, journal_dir: Option<&Path>) -> Result<Self, StartError> {
        fs::create_dir_all(data_dir).map_err(|error| folder(data_dir, error))?;
        let dir = data_dir.canonicalize().map_err(|error| folder(data_dir, error))?;
        let lock = take_lock(&dir)?;
        refuse_memory_file_system(&dir)?;
        let meta = read_meta(&dir)?;
        if meta.is_none() && holds_data(&dir)? {
            return Err(StartError::MetadataMissing { path: meta_path(&dir) });
        }
        let metadata = dir.join("metadata.redb");
        if meta.is_some() && !exists(&metadata)? && holds_data(&dir)? {
            return Err(StartError::MetadataMissing { path: metadata });
        }
        let journal_dir = journal_dir.map_or_else(|| dir.join("journal"), Path::to_path_buf);
        let folder_id = match &meta {
            Some(meta) => parse_folder_id(&dir, &meta.folder_id)?,
            None => random_bytes().map_err(|error| folder(Path::new("/dev/urandom"), error))?,
        };
        let has_data = holds_data(&dir)?;
        let journal_dir = check_journal_dir(&journal_dir, folder_id, meta.as_ref().filter(|_| has_data).map(|m| &m.journal_dir))?;
        let number = meta.as_ref().map_or(1, |meta| meta.incarnation_number.saturating_add(1));
        let random = u64::from_le_bytes(random_bytes().map_err(|error| folder(Path::new("/dev/urandom"), error))?);
        let opened = Self { dir, journal_dir, folder_id, incarnation: Incarnation { number, random }, _lock: lock };
        opened.write_meta()?;
        Ok(opened)
    }

    pub(crate) fn metadata_path(&self) -> PathBuf {
        self.dir.join("metadata.redb")
    }

    fn write_meta(&self) -> Result<(), StartError> {
        let meta = Meta {
            format_version: FORMAT_VERSION,
            folder_id: hex(&self.folder_id),
            incarnation_number: self.incarnation.number,
            journal_dir: self.journal_dir.clone(),
        };
        let text = serde_json::to_string_pretty(&meta)
            .map_err(|error| StartError::Damaged { path: meta_path(&self.dir), problem: error.to_string() })?;
        write_durable(&self.dir, "meta.json", text.as_bytes()).map_err(|error| folder(&self.dir, error))
    }
}

/// The lock file names the process that holds it, for the error of the next one.
fn take_lock(dir: &Path) -> Result<File, StartError> {
    let path = dir.join("lock");
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut lock = options.map_err(|error| folder(dir, error))?;
    // SAFETY: a plain system call on a descriptor that `lock` keeps open.
    if unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::WouldBlock {
            return Err(folder(&path, error));
        }
        let mut text = String::new();
        let holder = (&lock).take(32).read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
        return Err(StartError::FolderInUse { path: dir.to_path_buf(), holder });
    }
    let named = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
    named.map_err(|error| folder(dir, error))?;
    Ok(lock)
}

/// A file system in memory keeps nothing over a restart and silently ignores direct I/O.
fn refuse_memory_file_system(path: &Path) -> Result<(), StartError> {
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    let text = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())
        .map_err(|error| folder(path, io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let mut found = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: `text` is a C string and `found` is a statfs to write to; both outlive the call.
    if unsafe { libc::statfs(text.as_ptr(), found.as_mut_ptr()) } != 0 {
        return Err(folder(path, io::Error::last_os_error()));
    }
    // SAFETY: zeroed is a valid statfs, and the call above filled it in.
    let kind = unsafe { found.assume_init() }.f_type;
    if kind == TMPFS || kind == RAMFS {
        let problem = "its file system lives in memory and loses everything at a restart: choose a folder on a disk".to_owned();
        return Err(StartError::FileSystem { path: path.to_path_buf(), problem });
    }
    Ok(())
}

fn read_meta(dir: &Path) -> Result<Option<Meta>, StartError> {
    let path = meta_path(dir);
    let mut text = String::new();
    match File::open(&path) {
        Ok(file) => match file.take(META_LEN_MAX).read_to_string(&mut text) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(StartError::Damaged { path, problem: "not text".to_owned() });
            }
            Err(error) => return Err(folder(&path, error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(folder(&path, error)),
    }
    // The version is read by itself first: a newer format may have other fields.
    #[derive(Deserialize)]
    struct Version {
        format_version: u32,
    }
    let damaged = |error: serde_json::Error| StartError::Damaged { path: path.clone(), problem: error.to_string() };
    let Version { format_version: found } = serde_json::from_str(&text).map_err(damaged)?;
    if found > FORMAT_VERSION {
        return Err(StartError::NewerVersion { path, found, known: FORMAT_VERSION });
    }
    Ok(Some(serde_json::from_str(&text).map_err(damaged)?))
}

/// Anything a shard wrote.
fn holds_data(dir: &Path) -> Result<bool, StartError> {
    for entry in fs::read_dir(dir).map_err(|error| folder(dir, error))? {
        let entry = entry.map_err(|error| folder(dir, error))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let ours = name == "partitions" || name.starts_with("shard-");
        if ours && !is_empty(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_empty(path: &Path) -> Result<bool, StartError> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(folder(path, error)),
    }
}

/// A journal folder is marked with the data folder it belongs to. `last` is where the journal was, when this data
/// folder has data: then a folder without the mark is not its journal.
fn check_journal_dir(path: &Path, folder_id: [u8; 16], last: Option<&PathBuf>) -> Result<PathBuf, StartError> {
    let owner = path.join(JOURNAL_OWNER_NAME);
    match fs::read_to_string(&owner) {
        Ok(text) if text.trim() == hex(&folder_id) => {}
        Ok(text) => {
            let problem = format!("it holds the journal of data folder {}, not of {}", text.trim(), hex(&folder_id));
            return Err(StartError::FileSystem { path: path.to_path_buf(), problem: format!("{problem}: choose another journal_dir") });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if last.is_some() {
                return Err(StartError::JournalMissing { path: path.to_path_buf(), last: last.cloned() });
            }
            fs::create_dir_all(path).map_err(|error| folder(path, error))?;
            refuse_memory_file_system(path)?;
            write_durable(path, JOURNAL_OWNER_NAME, hex(&folder_id).as_bytes()).map_err(|error| folder(path, error))?;
        }
        Err(error) => return Err(folder(path, error)),
    }
    refuse_memory_file_system(path)?;
    path.canonicalize().map_err(|error| folder(path, error))
}

/// Whole or not at all: written beside, flushed, renamed, the folder flushed.
fn write_durable(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let beside = dir.join(format!("{name}.new"));
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, dir.join(name))?;
    File::open(dir)?.sync_all()
}

fn meta_path(dir: &Path) -> PathBuf {
    dir.join("meta.json")
}

fn exists(path: &Path) -> Result<bool, StartError> {
    path.try_exists().map_err(|error| folder(path, error))
}

fn folder(path: &Path, error: io::Error) -> StartError {
    StartError::Folder { path: path.to_path_buf(), error }
}

fn parse_folder_id(dir: &Path, text: &str) -> Result<[u8; 16], StartError> {
    let damaged = || StartError::Damaged { path: meta_path(dir), problem: format!("folder_id {text:?} is not 32 digits") };
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(damaged());
    }
    Ok(u128::from_str_radix(text, 16).map_err(|_| damaged())?.to_be_bytes())
}

fn hex(id: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*id))
}

fn random_bytes<const LEN: usize>() -> io::Result<[u8; LEN]> {
    let mut bytes = [0; LEN];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
#[path = "data_folder_test.rs"]
mod tests;
