//! What is on the platter of a fault disk, and what might be: the effect of a prefix of its calls, sector by
//! sector, and the image a power cut leaves.
//!
//! Faults it may suffer: a sector written and not flushed holds any of the versions written since the last flush,
//! or the flushed one; a write that was under way leaves any subset of its sectors; a length, and every single
//! name, not yet flushed may or may not have changed. A sector (512 bytes) is never torn itself, and what is
//! flushed never changes by a cut.

use crate::testing::random::Random;
use std::collections::BTreeMap;
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
    /// Any part of it, as this seed chooses.
    Torn(u64),
}

pub(super) type InodeId = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Dir,
    File(InodeId),
}

/// A file's bytes and the tree of names, all of it durable.
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

/// Builds the image that a cut at event `at` leaves: calls issued before it count, completed or under way.
pub(super) fn image_after_cut(base: &Image, calls: &[Call], at: usize, unflushed: Unflushed) -> Image {
    let mut platter = Platter::new(base);
    let mut events: Vec<(usize, bool, &Call)> = Vec::new();
    for call in calls.iter().filter(|call| call.issued < at) {
        match call.completed {
            Some(completed) if completed < at => events.push((completed, true, call)),
            _ => events.push((usize::MAX, false, call)),
        }
    }
    events.sort_by_key(|&(event, _, call)| (event, call.issued));
    for (event, completed, call) in events {
        if completed { platter.on_completed(call, event) } else { platter.on_under_way(call) }
    }
    platter.into_image(unflushed)
}

/// One unflushed version of a sector: `bytes[from..from + SECTOR_LEN]`, or zeros past its end.
struct Version {
    event: usize,
    bytes: Rc<Vec<u8>>,
    from: usize,
}

#[derive(Clone, Copy)]
struct LenChange {
    event: usize,
    len: u64,
    /// Only ever grows the file.
    extends: bool,
}

struct PlatterFile {
    durable: Rc<Vec<u8>>,
    sectors: BTreeMap<usize, Vec<Version>>,
    lens: Vec<LenChange>,
}

struct NameChange {
    event: usize,
    change: Change,
}

struct Platter {
    names: BTreeMap<PathBuf, Node>,
    name_changes: Vec<NameChange>,
    files: Vec<PlatterFile>,
}

const UNDER_WAY: usize = usize::MAX;

impl Platter {
    fn new(base: &Image) -> Self {
        let files = base.inodes.iter().map(|bytes| PlatterFile::new(bytes.clone())).collect();
        Self { names: base.names.clone(), name_changes: Vec::new(), files }
    }

    fn file(&mut self, inode: InodeId) -> &mut PlatterFile {
        while self.files.len() <= inode {
            self.files.push(PlatterFile::new(Rc::default()));
        }
        &mut self.files[inode]
    }

    fn on_completed(&mut self, call: &Call, event: usize) {
        match &call.change {
            Change::Write { inode, position, bytes, durable } => {
                let durable = *durable && !call.failed;
                self.file(*inode).write(*position, bytes, event, durable);
            }
            Change::Extend { inode, len } => self.file(*inode).lens.push(LenChange { event, len: *len, extends: true }),
            Change::Truncate { inode, len } => self.file(*inode).truncate(*len, event),
            // What a failed flush was asked to make durable may never become so: the kernel drops the dirty marks.
            Change::Sync { inode } if call.failed => self.file(*inode).forget_unflushed(call.issued),
            Change::Sync { inode } => self.file(*inode).flush(call.issued),
            Change::SyncDir { .. } if call.failed => {}
            Change::SyncDir { folder } => self.flush_names(folder, call.issued),
            Change::CreateDir { path } => {
                self.names.insert(path.clone(), Node::Dir);
            }
            Change::FlipBit { inode, position, bit } => self.file(*inode).flip_bit(*position, *bit),
            change => self.name_changes.push(NameChange { event, change: change.clone() }),
        }
    }

    fn on_under_way(&mut self, call: &Call) {
        match &call.change {
            Change::Write { inode, position, bytes, .. } => self.file(*inode).write(*position, bytes, UNDER_WAY, false),
            Change::Extend { inode, len } => {
                self.file(*inode).lens.push(LenChange { event: UNDER_WAY, len: *len, extends: true });
            }
            Change::Truncate { inode, len } => self.file(*inode).truncate(*len, UNDER_WAY),
            // A flush under way has made some of it durable; so may have time alone.
            Change::Sync { .. } | Change::SyncDir { .. } => {}
            change => self.name_changes.push(NameChange { event: UNDER_WAY, change: change.clone() }),
        }
    }

    fn flush_names(&mut self, folder: &Path, issued: usize) {
        let (flushed, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.name_changes)
            .into_iter()
            .partition(|change| change.event < issued && change.change.folder() == Some(folder));
        self.name_changes = rest;
        flushed.iter().for_each(|change| apply_name(&mut self.names, &change.change));
    }

    fn into_image(mut self, unflushed: Unflushed) -> Image {
        let mut random = match unflushed {
            Unflushed::Torn(seed) => Some(Random::new(seed)),
            Unflushed::Kept | Unflushed::Lost => None,
        };
        for change in &self.name_changes {
            let kept = random.as_mut().map_or(unflushed == Unflushed::Kept, Random::coin);
            if kept {
                apply_name(&mut self.names, &change.change);
            }
        }
        let inodes = self.files.into_iter().map(|file| Rc::new(file.into_bytes(unflushed, random.as_mut()))).collect();
        Image { names: self.names, inodes }
    }
}

impl PlatterFile {
    fn new(durable: Rc<Vec<u8>>) -> Self {
        Self { durable, sectors: BTreeMap::new(), lens: Vec::new() }
    }

    fn write(&mut self, position: u64, bytes: &Rc<Vec<u8>>, event: usize, durable: bool) {
        let position = usize::try_from(position).expect("a test file fits in memory");
        let end = position + bytes.len();
        if durable {
            let file = Rc::make_mut(&mut self.durable);
            file.resize(file.len().max(end), 0);
            file[position..end].copy_from_slice(bytes);
        } else {
            self.lens.push(LenChange { event, len: end as u64, extends: true });
        }
        for from in (0..bytes.len()).step_by(SECTOR_LEN) {
            let sector = (position + from) / SECTOR_LEN;
            if durable {
                self.sectors.remove(&sector);
            } else {
                self.sectors.entry(sector).or_default().push(Version { event, bytes: bytes.clone(), from });
            }
        }
    }

    fn truncate(&mut self, len: u64, event: usize) {
        self.lens.push(LenChange { event, len, extends: false });
        let first = usize::try_from(len).expect("a test file fits in memory").div_ceil(SECTOR_LEN);
        let written = self.durable.len().div_ceil(SECTOR_LEN);
        let later: Vec<usize> = self.sectors.range(first..).map(|(&sector, _)| sector).collect();
        let zeros = Rc::new(Vec::new());
        for sector in (first..written).chain(later.into_iter().filter(|&sector| sector >= written)) {
            self.sectors.entry(sector).or_default().push(Version { event, bytes: zeros.clone(), from: 0 });
        }
    }

    fn flush(&mut self, issued: usize) {
        let mut len = self.durable.len() as u64;
        self.lens.retain(|change| {
            if change.event < issued {
                len = change.applied(len);
            }
            change.event >= issued
        });
        let file = Rc::make_mut(&mut self.durable);
        file.resize(usize::try_from(len).expect("a test file fits in memory"), 0);
        for (&sector, versions) in &mut self.sectors {
            let done = versions.iter().take_while(|version| version.event < issued).count();
            if let Some(version) = versions.drain(..done).next_back() {
                version.put(file, sector);
            }
        }
        self.sectors.retain(|_, versions| !versions.is_empty());
    }

    fn flip_bit(&mut self, position: usize, bit: u8) {
        if let Some(byte) = Rc::make_mut(&mut self.durable).get_mut(position) {
            *byte ^= 1 << bit;
        }
        for version in self.sectors.get_mut(&(position / SECTOR_LEN)).into_iter().flatten() {
            if let Some(byte) = Rc::make_mut(&mut version.bytes).get_mut(version.from + position % SECTOR_LEN) {
                *byte ^= 1 << bit;
            }
        }
    }

    fn forget_unflushed(&mut self, issued: usize) {
        for versions in self.sectors.values_mut() {
            versions.retain(|version| version.event >= issued);
        }
        self.sectors.retain(|_, versions| !versions.is_empty());
    }

    fn into_bytes(self, unflushed: Unflushed, mut random: Option<&mut Random>) -> Vec<u8> {
        let mut len = self.durable.len() as u64;
        for change in &self.lens {
            if random.as_mut().map_or(unflushed == Unflushed::Kept, |random| random.coin()) {
                len = change.applied(len);
            }
        }
        let mut file = Rc::unwrap_or_clone(self.durable);
        file.resize(usize::try_from(len).expect("a test file fits in memory"), 0);
        for (sector, versions) in self.sectors {
            let count = versions.len();
            let chosen = match (&mut random, unflushed) {
                (Some(random), _) => usize::try_from(random.below(count as u64 + 1)).expect("below a usize"),
                (None, Unflushed::Kept) => count,
                (None, _) => 0,
            };
            if let Some(version) = chosen.checked_sub(1).map(|at| &versions[at]) {
                version.put(&mut file, sector);
            }
        }
        file
    }
}

impl Version {
    /// Puts this version into `file`, as far as the file reaches.
    fn put(&self, file: &mut [u8], sector: usize) {
        let start = (sector * SECTOR_LEN).min(file.len());
        let end = (start + SECTOR_LEN).min(file.len());
        let bytes = self.bytes.get(self.from..).unwrap_or_default();
        let have = bytes.len().min(end - start);
        file[start..start + have].copy_from_slice(&bytes[..have]);
        file[start + have..end].fill(0);
    }
}

impl LenChange {
    fn applied(self, len: u64) -> u64 {
        if self.extends { len.max(self.len) } else { self.len }
    }
}

impl Change {
    /// The folder whose flush makes this change of names durable; for a rename that of the new name.
    fn folder(&self) -> Option<&Path> {
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
