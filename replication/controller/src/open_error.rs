//! Why the metadata log was not opened, and what an operator can do about it.

use sluice_metadata::{ApplyError, FolderId, FramedError, SnapshotError};
use sluice_model::BrokerId;
use std::path::{Path, PathBuf};
use std::{error, fmt, io};

/// No entry was added, removed or changed. The store may have written to its own pages of a damaged file.
#[derive(Debug)]
pub enum OpenError {
    InUse {
        path: PathBuf,
    },
    /// There is none, and a new one was not asked for.
    Missing {
        path: PathBuf,
    },
    /// `what` is which of the formats is newer.
    NewerVersion {
        path: PathBuf,
        what: &'static str,
        got: u32,
        known: u32,
    },
    /// It was made for another data folder.
    OtherFolder {
        path: PathBuf,
        made_for: FolderId,
        folder_id: FolderId,
    },
    /// It is that of another broker of the cluster, which votes by it.
    OtherBroker {
        path: PathBuf,
        made_for: BrokerId,
        broker: BrokerId,
    },
    /// The cluster was founded with other voters than the settings name.
    OtherVoters {
        path: PathBuf,
        known: Vec<BrokerId>,
        configured: Vec<BrokerId>,
    },
    /// It is one of several of a cluster, and cannot be changed by itself.
    InCluster {
        path: PathBuf,
        voters: Vec<BrokerId>,
    },
    Damaged {
        path: PathBuf,
        damage: Damage,
    },
    /// The consensus engine did not start.
    Engine {
        path: PathBuf,
        problem: String,
    },
    Io {
        path: PathBuf,
        source: io::Error,
    },
}

/// What about the log is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The store under the log says so.
    Store(String),
    /// An entry of the table of identities is missing or has the wrong length.
    Meta {
        key: &'static str,
    },
    /// Entries are missing.
    Gap {
        expected: u64,
        found: u64,
    },
    Entry {
        index: u64,
        error: EntryError,
    },
    /// A row beside the log.
    Row {
        key: &'static str,
        error: FramedError,
    },
    Snapshot {
        error: SnapshotError,
    },
    /// An entry is intact and contradicts those before it.
    Apply {
        index: u64,
        error: ApplyError,
    },
}

/// What is wrong with the bytes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryError {
    Frame(FramedError),
    Batch(FramedError),
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => error.fmt(f),
            Self::Batch(error) => error.fmt(f),
        }
    }
}

impl OpenError {
    pub(crate) fn from_store(path: &Path, error: redb::Error) -> Self {
        let path = path.to_owned();
        match error {
            redb::Error::DatabaseAlreadyOpen => Self::InUse { path },
            // The store reports what it cannot make sense of as invalid data, and a file cut short as its end.
            redb::Error::Io(e) if matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                Self::Damaged { path, damage: Damage::Store(e.to_string()) }
            }
            redb::Error::Io(source) => Self::Io { path, source },
            other => Self::Damaged { path, damage: Damage::Store(other.to_string()) },
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(what) => write!(f, "{what}"),
            Self::Meta { key } => write!(f, "its {key} is missing or malformed"),
            Self::Gap { expected, found } => write!(f, "entry {expected} is missing, {found} is there"),
            Self::Entry { index, error } => write!(f, "entry {index}: {error}"),
            Self::Row { key, error } => write!(f, "its {key}: {error}"),
            Self::Snapshot { error } => write!(f, "its snapshot: {error}"),
            Self::Apply { index, error } => write!(f, "entry {index} contradicts those before it: {error}"),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { path } => {
                write!(f, "{} is in use by another broker; stop that one, or give this one its own data folder", path.display())
            }
            Self::Missing { path } => write!(
                f,
                "{} is missing, though its data folder was in use before; put it back from a copy, or, when there is none, see `sluice orphan new-metadata --help`",
                path.display()
            ),
            Self::NewerVersion { path, what, got, known } => write!(
                f,
                "{} is from a newer version of sluice ({what} {got}, this program reads up to {known}); start that version or a later one",
                path.display()
            ),
            Self::OtherFolder { path, made_for, folder_id } => write!(
                f,
                "{} belongs to data folder {made_for}, this one is {folder_id}; put back the file of this folder",
                path.display()
            ),
            Self::OtherBroker { path, made_for, broker } => write!(
                f,
                "{} is that of broker {made_for}, this one is broker {broker}; set broker_id = {made_for}, or put back the file of this broker",
                path.display()
            ),
            Self::OtherVoters { path, known, configured } => write!(
                f,
                "{} belongs to a cluster with the voters {}, the settings name {}; put back the voters it was founded with",
                path.display(),
                listed(known),
                listed(configured)
            ),
            Self::InCluster { path, voters } => write!(
                f,
                "{} is one of a cluster with the voters {}, which decide together; ask a broker that runs",
                path.display(),
                listed(voters)
            ),
            Self::Engine { path, problem } => write!(f, "the controller over {} does not start: {problem}", path.display()),
            Self::Damaged { path, damage } => write!(
                f,
                "{} is damaged ({damage}); nothing was changed in it; put back a copy taken while the broker was stopped; without one \
                 move it away, and `sluice orphan new-metadata` makes a new one that knows no topic",
                path.display()
            ),
            Self::Io { path, source } if source.kind() == io::ErrorKind::StorageFull => {
                write!(f, "{} cannot be opened: the disk is full; make room and start again", path.display())
            }
            Self::Io { path, source } if source.kind() == io::ErrorKind::PermissionDenied => {
                write!(f, "{} cannot be opened: permission denied; the broker's user must own it", path.display())
            }
            Self::Io { path, source } => {
                write!(f, "{} cannot be opened: {source}; look at the disk and the kernel's log", path.display())
            }
        }
    }
}

fn listed(brokers: &[BrokerId]) -> String {
    brokers.iter().map(|broker| format!("{broker}")).collect::<Vec<_>>().join(", ")
}

impl error::Error for OpenError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
