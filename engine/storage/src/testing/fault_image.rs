//! The words of a fault disk: an image of the device, a change asked of it, a call of the log.
//!
//! Values only. What a cut makes of them is `fault_platter`'s.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub(super) const SECTOR_LEN: usize = 512;

/// What becomes of everything that was not flushed when the power went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unflushed {
    /// All of it had reached the platter, the call under way included.
    Kept,
    /// None of it had.
    Lost,
    /// Any part of it, sector by sector, as this seed chooses.
    Torn(u64),
    /// Every call wholly or not at all, later ones without earlier ones too, as this seed chooses.
    Reordered(u64),
}

pub(super) type InodeId = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Dir,
    File(InodeId),
}

/// The bytes of the files and the tree of names, all of it durable.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    pub(super) names: BTreeMap<PathBuf, Node>,
    pub(super) inodes: Vec<Rc<Vec<u8>>>,
}

/// A change asked of the device. Calls that change nothing are not logged.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write {
        inode: InodeId,
        position: u64,
        bytes: Rc<Vec<u8>>,
        durable: bool,
        /// Which of its sectors arrive when it fails; all of them when it does not.
        lands: Option<Rc<Vec<bool>>>,
    },
    Extend {
        inode: InodeId,
        len: u64,
    },
    Truncate {
        inode: InodeId,
        len: u64,
    },
    Sync {
        inode: InodeId,
    },
    SyncDir {
        folder: PathBuf,
    },
    CreateFile {
        path: PathBuf,
        inode: InodeId,
    },
    CreateDir {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    /// Rot: a bit changes on the platter, whatever was or was not flushed.
    FlipBit {
        inode: InodeId,
        position: usize,
        bit: u8,
    },
}

/// One call of the log: what it asked, and when it began and ended in the order of all events.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) change: Change,
    pub(super) issued: usize,
    /// `None` while it is under way.
    pub(super) completed: Option<usize>,
    pub(super) failed: bool,
}

impl Image {
    /// Tells images apart; equal ones have equal fingerprints.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (path, node) in &self.names {
            path.hash(&mut hasher);
            if let Node::File(inode) = node {
                let bytes = self.inodes.get(*inode).map_or([].as_slice(), |bytes| bytes);
                (bytes.len(), crc32c::crc32c(bytes)).hash(&mut hasher);
            }
        }
        hasher.finish()
    }
}

/// Which bytes of a buffer of `len` land, sector by sector: `(from, until)` of each sector that does.
pub(super) fn landing(len: usize, lands: Option<&[bool]>) -> impl Iterator<Item = (usize, usize)> {
    let sectors = (0..len).step_by(SECTOR_LEN).enumerate();
    let landed = sectors.filter(move |(at, _)| lands.is_none_or(|lands| lands[*at]));
    landed.map(move |(_, from)| (from, (from + SECTOR_LEN).min(len)))
}

impl Change {
    /// The folder whose flush makes this change of names durable; for a rename that of the new name.
    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            Self::CreateFile { path, .. } | Self::Remove { path } | Self::Rename { to: path, .. } => path.parent(),
            _ => None,
        }
    }
}

/// Applies a change of names to a tree; one whose subject is not there (an earlier change was lost) does nothing.
pub(super) fn apply_name(names: &mut BTreeMap<PathBuf, Node>, change: &Change) {
    match change {
        Change::CreateFile { path, inode } => {
            names.insert(path.clone(), Node::File(*inode));
        }
        Change::Remove { path } => {
            names.remove(path);
        }
        Change::Rename { from, to } => {
            let moved: Vec<PathBuf> = names.keys().filter(|name| name.starts_with(from)).cloned().collect();
            for name in moved {
                let rest = name.strip_prefix(from).expect("filtered by prefix");
                let target = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
                if let Some(node) = names.remove(&name) {
                    names.insert(target, node);
                }
            }
        }
        _ => {}
    }
}
