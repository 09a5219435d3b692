//! The data folder as a whole: whose it is, which format it has, how often it was started.
//!
//! The expensive mistake is to take a folder that lost a part for a fresh one and to begin anew in it, so anything
//! that is there without what should be beside it is an error and nothing is touched. Deliberately absent: what the
//! parts contain (metadata: the controller; journal, segments, checkpoints: the shards).

use crate::random::random_bytes;
use crate::start_error::StartError;
use serde::{Deserialize, Serialize};
use sluice_model::Incarnation;
use sluice_shard::DirectDisk;
use sluice_storage::layout::{Layout, journal_owner, shard_of_dir};
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The format this program writes, and the newest it reads.
pub(crate) const FORMAT_VERSION: u32 = 1;
const META_LEN_MAX: u64 = 64 * 1024;

/// A data folder that is this process's until it is dropped.
#[derive(Debug)]
pub(crate) struct DataFolder {
    pub(crate) layout: Layout,
    pub(crate) folder_id: [u8; 16],
    /// Nothing was ever kept in it.
    pub(crate) is_new: bool,
    meta: Meta,
    /// Holds the lock.
    _lock: File,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Meta {
    format_version: u32,
    folder_id: String,
    /// Of the last start.
    incarnation_number: u64,
    journal_dir: PathBuf,
}

impl DataFolder {
    /// Creates or checks the folder, and locks it.
    pub(crate) fn open(data_dir: &Path, journal_dir: Option<&Path>) -> Result<Self, StartError> {
        create_on_a_device(data_dir)?;
        let dir = data_dir.canonicalize().map_err(|error| folder(data_dir, error))?;
        let layout = Layout::new(&dir);
        let lock = take_lock(&layout)?;
        DirectDisk::check_folder(&dir).map_err(StartError::FolderProblem)?;
        let meta = read_meta(&layout)?;
        let has_data = holds_data(&dir)? || holds_journal(meta.as_ref().map_or(layout.journal_dir(), |meta| &meta.journal_dir))?;
        if meta.is_none() && has_data {
            return Err(StartError::MetadataMissing { path: layout.meta() });
        }
        if has_data && !exists(&layout.metadata())? {
            return Err(StartError::MetadataMissing { path: layout.metadata() });
        }
        let folder_id = match &meta {
            Some(meta) => parse_folder_id(&layout, &meta.folder_id)?,
            None => random_bytes().map_err(|error| folder(Path::new("/dev/urandom"), error))?,
        };
        let journal_dir = journal_dir.unwrap_or(layout.journal_dir()).to_path_buf();
        let journal_dir = check_journal_dir(&journal_dir, folder_id, meta.as_ref().filter(|_| has_data).map(|m| &m.journal_dir))?;
        let meta = Meta {
            format_version: FORMAT_VERSION,
            folder_id: hex(&folder_id),
            incarnation_number: meta.map_or(0, |meta| meta.incarnation_number),
            journal_dir: journal_dir.clone(),
        };
        let opened = Self { layout: layout.with_journal_dir(&journal_dir), folder_id, is_new: !has_data, meta, _lock: lock };
        opened.write_meta()?;
        Ok(opened)
    }

    /// Two new incarnations, durable before they are used: one to move partitions between shards under, the other to
    /// serve under. Their numbers are greater than any before, and at least `number_min`.
    pub(crate) fn begin_incarnations(&mut self, number_min: u64) -> Result<(Incarnation, Incarnation), StartError> {
        let first = self.meta.incarnation_number.saturating_add(1).max(number_min);
        self.meta.incarnation_number = first.saturating_add(1);
        self.write_meta()?;
        let incarnation = |number| {
            let random = random_bytes().map_err(|error| folder(Path::new("/dev/urandom"), error))?;
            Ok(Incarnation { number, random: u64::from_le_bytes(random) })
        };
        Ok((incarnation(first)?, incarnation(first.saturating_add(1))?))
    }

    /// Of the last start, or 0.
    pub(crate) fn incarnation_number(&self) -> u64 {
        self.meta.incarnation_number
    }

    /// The same with one that a cluster has registered, durable before it is used: the one before it is for moving
    /// partitions.
    pub(crate) fn begin_registered(&mut self, registered: Incarnation) -> Result<Incarnation, StartError> {
        let moving = registered.number.saturating_sub(1);
        assert!(moving > self.meta.incarnation_number, "incarnation {moving} after {}", self.meta.incarnation_number);
        self.meta.incarnation_number = registered.number;
        self.write_meta()?;
        let random = random_bytes().map_err(|error| folder(Path::new("/dev/urandom"), error))?;
        Ok(Incarnation { number: moving, random: u64::from_le_bytes(random) })
    }

    fn write_meta(&self) -> Result<(), StartError> {
        let dir = self.layout.data_dir();
        let text = serde_json::to_string_pretty(&self.meta)
            .map_err(|error| StartError::Damaged { path: self.layout.meta(), problem: error.to_string() })?;
        replace_durable(&self.layout.meta(), text.as_bytes()).map_err(|error| folder(dir, error))
    }
}

/// A data folder with data that lost the file that says whose it is, or its metadata; this process's until dropped.
#[derive(Debug)]
pub(crate) struct IncompleteFolder {
    pub(crate) layout: Layout,
    pub(crate) has_meta: bool,
    pub(crate) has_metadata: bool,
    meta: Option<Meta>,
    lock: File,
}

impl IncompleteFolder {
    /// Refuses a folder that lacks nothing, and one that holds nothing.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, StartError> {
        let dir = data_dir.canonicalize().map_err(|error| folder(data_dir, error))?;
        let layout = Layout::new(&dir);
        if !holds_data(&dir)? {
            return Err(StartError::NothingMissing { path: dir, why: "it holds no data" });
        }
        let lock = take_lock(&layout)?;
        DirectDisk::check_folder(&dir).map_err(StartError::FolderProblem)?;
        let meta = read_meta(&layout)?;
        let has_metadata = exists(&layout.metadata())?;
        if meta.is_some() && has_metadata {
            return Err(StartError::NothingMissing { path: dir, why: "it has both meta.json and metadata.redb" });
        }
        Ok(Self { layout, has_meta: meta.is_some(), has_metadata, meta, lock })
    }

    /// Writes `meta.json` anew when it is missing. Whose folder it is say `folder_id` or, failing that, the journal.
    pub(crate) fn completed(self, journal_dir: Option<&Path>, folder_id: Option<[u8; 16]>) -> Result<DataFolder, StartError> {
        let default_dir = self.meta.as_ref().map_or(self.layout.journal_dir(), |meta| &meta.journal_dir);
        let journal_dir = journal_dir.unwrap_or(default_dir).to_path_buf();
        let folder_id = match (&self.meta, folder_id) {
            (Some(meta), _) => parse_folder_id(&self.layout, &meta.folder_id)?,
            (None, Some(folder_id)) => folder_id,
            (None, None) => {
                let owner = fs::read_to_string(journal_owner(&journal_dir));
                let owner = owner.map_err(|_| StartError::JournalMissing { path: journal_dir.clone(), last: None })?;
                parse_folder_id(&self.layout, owner.trim())?
            }
        };
        let journal_dir = check_journal_dir(&journal_dir, folder_id, Some(&journal_dir))?;
        let meta = Meta {
            format_version: FORMAT_VERSION,
            folder_id: hex(&folder_id),
            incarnation_number: self.meta.map_or(0, |meta| meta.incarnation_number),
            journal_dir: journal_dir.clone(),
        };
        let layout = self.layout.with_journal_dir(&journal_dir);
        let completed = DataFolder { layout, folder_id, is_new: false, meta, _lock: self.lock };
        completed.write_meta()?;
        Ok(completed)
    }
}

/// Makes the folder, unless it would come to lie in memory: then nothing is left behind where nothing may be kept.
fn create_on_a_device(path: &Path) -> Result<(), StartError> {
    DirectDisk::refuse_memory_around(path).map_err(StartError::FolderProblem)?;
    fs::create_dir_all(path).map_err(|error| folder(path, error))
}

/// The lock file names the process that holds it, for the error of the next one.
fn take_lock(layout: &Layout) -> Result<File, StartError> {
    let (dir, path) = (layout.data_dir(), layout.lock());
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let lock = options.map_err(|error| folder(dir, error))?;
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
    let name = format!("{}\n", std::process::id());
    overwrite(&lock, name.as_bytes()).map_err(|error| folder(dir, error))?;
    Ok(lock)
}

fn read_meta(layout: &Layout) -> Result<Option<Meta>, StartError> {
    let path = layout.meta();
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
        let ours = name == "partitions" || shard_of_dir(&name).is_some();
        if ours && !is_empty(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A journal, which is nothing without the checkpoints and the metadata that belong to it.
fn holds_journal(dir: &Path) -> Result<bool, StartError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        entries => entries.map_err(|error| folder(dir, error))?,
    };
    for entry in entries {
        let entry = entry.map_err(|error| folder(dir, error))?;
        if shard_of_dir(&entry.file_name().to_string_lossy()).is_some() && !is_empty(&entry.path())? {
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
    let owner = journal_owner(path);
    match fs::read_to_string(&owner) {
        Ok(text) if text.trim() == hex(&folder_id) => {}
        Ok(text) => {
            let owner: String = text.trim().chars().take(32).collect();
            return Err(StartError::ForeignJournal { path: path.to_path_buf(), owner, folder_id: hex(&folder_id) });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if last.is_some() {
                return Err(StartError::JournalMissing { path: path.to_path_buf(), last: last.cloned() });
            }
            create_on_a_device(path)?;
            DirectDisk::check_folder(path).map_err(StartError::FolderProblem)?;
            write_durable(&owner, hex(&folder_id).as_bytes()).map_err(|error| folder(path, error))?;
        }
        Err(error) => return Err(folder(path, error)),
    }
    DirectDisk::check_folder(path).map_err(StartError::FolderProblem)?;
    path.canonicalize().map_err(|error| folder(path, error))
}

/// Whole or not at all: written beside, flushed, renamed, the folder flushed.
fn write_durable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync_folder_of(path)
}

/// The same for a file that every start writes, and a start on a full disk, too: what was replaced stays beside as the
/// spare that the next one is written into, so that after the first two no block is needed that is not there.
fn replace_durable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let spare = path.with_extension("spare");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&spare)?;
    overwrite(&file, bytes)?;
    file.sync_all()?;
    match exchange(&spare, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(&spare, path)?,
        // Not every file system exchanges names; those then need room for a new file each time.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => fs::rename(&spare, path)?,
        exchanged => exchanged?,
    }
    sync_folder_of(path)
}

/// In place: a file that is cut to nothing first has lost its block to whoever is quicker on a full disk.
fn overwrite(file: &File, bytes: &[u8]) -> io::Result<()> {
    file.write_all_at(bytes, 0)?;
    file.set_len(bytes.len() as u64)
}

/// Gives each of two files the other's name, at once.
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    let name = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from);
    let (one, other) = (name(one)?, name(other)?);
    // SAFETY: both names are valid C strings for the duration of the call.
    let result = unsafe { libc::renameat2(libc::AT_FDCWD, one.as_ptr(), libc::AT_FDCWD, other.as_ptr(), libc::RENAME_EXCHANGE) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

fn exists(path: &Path) -> Result<bool, StartError> {
    path.try_exists().map_err(|error| folder(path, error))
}

fn folder(path: &Path, error: io::Error) -> StartError {
    StartError::Folder { path: path.to_path_buf(), error }
}

fn parse_folder_id(layout: &Layout, text: &str) -> Result<[u8; 16], StartError> {
    let damaged = || StartError::Damaged { path: layout.meta(), problem: format!("folder_id {text:?} is not 32 digits") };
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(damaged());
    }
    Ok(u128::from_str_radix(text, 16).map_err(|_| damaged())?.to_be_bytes())
}

fn hex(id: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*id))
}

#[cfg(test)]
#[path = "data_folder_test.rs"]
mod tests;
