//! Why a broker did not start. Every text says what is wrong and what to do about it.

use sluice_controller::{MembershipError, OpenError};
use sluice_shard::{FatalReason, FolderProblem};
use sluice_tuning::check::Finding;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Debug)]
pub enum StartError {
    /// A value of the configuration is outside its bounds.
    InvalidSetting { setting: &'static str, problem: String },
    /// The host lacks something, or a folder lies where nothing is safe: a fatal finding of a check before the start.
    Host(Box<Finding>),
    /// A folder cannot be created, read or written.
    Folder { path: PathBuf, error: io::Error },
    /// The folder's file system keeps nothing (tmpfs), has no direct I/O, or is read-only.
    FolderProblem(FolderProblem),
    /// Another broker holds the lock of the folder.
    FolderInUse { path: PathBuf, holder: Option<u32> },
    /// Written by a newer program.
    NewerVersion { path: PathBuf, found: u32, known: u32 },
    /// A file that the broker wrote cannot be understood any more.
    Damaged { path: PathBuf, problem: String },
    /// The metadata knows topics, and nothing that a shard wrote is there.
    DataMissing { path: PathBuf, topics: Vec<String> },
    /// Metadata is to be made anew for a folder that needs none.
    NothingMissing { path: PathBuf, why: &'static str },
    /// The folder has partitions, and what names them is gone.
    MetadataMissing { path: PathBuf },
    /// The journal of this data folder is not where the configuration says.
    JournalMissing { path: PathBuf, last: Option<PathBuf> },
    /// The journal folder is another data folder's.
    ForeignJournal { path: PathBuf, owner: String, folder_id: String },
    /// The address cannot be listened on.
    Listen { address: SocketAddr, error: io::Error },
    /// The metadata cannot be opened.
    OpenMetadata(OpenError),
    /// The cluster does not take this broker.
    Membership(MembershipError),
    /// It was given up while it waited for others.
    Cancelled,
    /// The metadata does not take this start.
    Metadata { problem: String },
    /// A shard could not recover its partitions.
    Recovery { shard: u16, problem: String },
    /// A thread of the broker ended while starting.
    Thread { problem: String },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidSetting { setting, problem } => write!(f, "setting {setting}: {problem}"),
            Self::Host(finding) => finding.fmt(f),
            Self::Folder { path, error } => folder_text(f, path, error),
            Self::FolderProblem(problem) => problem.fmt(f),
            Self::FolderInUse { path, holder } => {
                write!(f, "data folder {} is in use by another broker", path.display())?;
                match holder {
                    Some(pid) => write!(f, " (process {pid}): stop that one, or choose another folder"),
                    None => write!(f, ": stop that one, or choose another folder"),
                }
            }
            Self::NewerVersion { path, found, known } => write!(
                f,
                "{} has format version {found}, this program knows versions up to {known}: start a newer program on it",
                path.display()
            ),
            Self::Damaged { path, problem } => write!(
                f,
                "{} is damaged ({problem}): nothing was changed; restore this file from a copy; without one move it away, and \
                 `sluice orphan new-metadata` makes a new one",
                path.display()
            ),
            Self::MetadataMissing { path } => write!(
                f,
                "{} is missing but the data folder has partitions, which without it have no name: nothing was changed; restore \
                 the file from a copy (an older one will do, `sluice orphan list` says what it does not know); without a copy, \
                 `sluice orphan new-metadata` makes a new one that knows no topic, and `sluice orphan adopt` gives the partitions \
                 their topics back",
                path.display()
            ),
            Self::DataMissing { path, topics } => write!(
                f,
                "the metadata of {} knows {} topic(s) ({}{}), and nothing of their data is there: no topic was begun anew; put back the \
                 shard-N, partitions and journal folders that belong to it, or move metadata.redb away to begin without these topics",
                path.display(),
                topics.len(),
                topics.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", "),
                if topics.len() > 5 { ", …" } else { "" }
            ),
            Self::NothingMissing { path, why } => {
                write!(f, "data folder {} needs no new metadata: {why}; nothing was changed", path.display())
            }
            Self::JournalMissing { path, last } => {
                write!(
                    f,
                    "the journal of this data folder is not in {}, and the newest records are only there: ",
                    path.display()
                )?;
                match last {
                    Some(last) if last == path => write!(
                        f,
                        "put back what was there, its file `owner` included, or give it up with `sluice log accept-loss`"
                    ),
                    Some(last) => {
                        write!(f, "it was last in {}; mount its device, move it, or set journal_dir back", last.display())
                    }
                    None => write!(f, "mount its device, or set journal_dir to where it is"),
                }
            }
            Self::ForeignJournal { path, owner, folder_id } => write!(
                f,
                "folder {} holds the journal of data folder {owner}, not of {folder_id}: choose another journal_dir",
                path.display()
            ),
            Self::Listen { address, error } if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "{address} is in use by another program: stop it, or choose another address to listen on")
            }
            Self::Listen { address, error } => write!(f, "cannot listen on {address}: {error}: {}", listen_remedy(error)),
            Self::OpenMetadata(error) => error.fmt(f),
            Self::Metadata { problem } => write!(f, "metadata: {problem}"),
            Self::Membership(error) => error.fmt(f),
            Self::Cancelled => write!(f, "it was stopped while it waited for a controller; nothing was changed"),
            Self::Recovery { shard, problem } => write!(
                f,
                "shard {shard} could not recover: {problem}; keep a copy of the folder, see what `sluice log verify` says of it, and put back a copy taken while the broker was stopped, or accept what is lost with `sluice log accept-loss`"
            ),
            Self::Thread { problem } => write!(f, "{problem}"),
        }
    }
}

fn listen_remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrNotAvailable => "listen on an address of this host, or on 0.0.0.0 for all of them",
        io::ErrorKind::PermissionDenied => "choose a port from 1024 on, or let this program use lower ones",
        _ => "choose another address to listen on",
    }
}

fn folder_text(f: &mut fmt::Formatter<'_>, path: &std::path::Path, error: &io::Error) -> fmt::Result {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => "give this user the right to write there, or choose another folder",
        io::ErrorKind::ReadOnlyFilesystem => "its file system is read-only; mount it writable, or choose another folder",
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "a file stands where a folder should be; choose another path"
        }
        io::ErrorKind::StorageFull => "the device is full; free some space",
        _ => "see that the folder can be read and written by this user",
    };
    write!(f, "folder {}: {error}: {remedy}", path.display())
}

impl StartError {
    /// The reason by which a program that only serves ends, with its exit status.
    #[must_use]
    pub fn fatal_reason(&self) -> FatalReason {
        let text = self.to_string();
        match self {
            Self::InvalidSetting { .. } => FatalReason::Configuration(text),
            Self::Host(finding) => match finding.id {
                "memlock" => FatalReason::LockedMemory(text),
                "io-uring" => FatalReason::NoIoUring(text),
                "file-system" | "mount-options" => FatalReason::DataFolder(text),
                _ => FatalReason::Host(text),
            },
            Self::Thread { .. } => FatalReason::Host(text),
            Self::FolderInUse { .. } | Self::OpenMetadata(OpenError::InUse { .. }) => FatalReason::DataFolderInUse(text),
            Self::Folder { .. }
            | Self::FolderProblem(_)
            | Self::NewerVersion { .. }
            | Self::Damaged { .. }
            | Self::MetadataMissing { .. }
            | Self::DataMissing { .. }
            | Self::NothingMissing { .. }
            | Self::JournalMissing { .. }
            | Self::ForeignJournal { .. } => FatalReason::DataFolder(text),
            Self::Listen { .. } => FatalReason::CannotListen(text),
            Self::OpenMetadata(_) | Self::Metadata { .. } | Self::Membership(_) | Self::Cancelled => FatalReason::Metadata(text),
            Self::Recovery { .. } => FatalReason::DamagedData(text),
        }
    }
}

impl std::error::Error for StartError {}
