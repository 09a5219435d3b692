//! What is on the platter of a fault disk, and what might be: the effect of a prefix of its calls, sector by
//! sector, and the image a power cut leaves.
//!
//! Faults it may suffer: a sector written and not flushed holds any of the versions written since the last flush,
//! or the flushed one, so a later write may be there while an earlier one is not; a write that was under way
//! leaves any subset of its sectors; a length, and every single name, not yet flushed may or may not have changed. A
//! sector (512 bytes) is never torn itself, and what is flushed never changes by a cut.

use crate::testing::fault_image::{Call, Change, Image, InodeId, Node, SECTOR_LEN, Unflushed, apply_name, landing};
use crate::testing::random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// One unflushed version of a sector: `bytes[from..from + SECTOR_LEN]`, or zeros past its end.
#[derive(Clone)]
struct Version {
    event: usize,
    /// When the call that made it began, which tells calls apart.
    issued: usize,
    bytes: Rc<Vec<u8>>,
    from: usize,
}

#[derive(Clone, Copy)]
struct LenChange {
    event: usize,
    issued: usize,
    len: u64,
    /// Only ever grows the file.
    extends: bool,
}

#[derive(Clone)]
struct PlatterFile {
    durable: Rc<Vec<u8>>,
    sectors: BTreeMap<usize, Vec<Version>>,
    lens: Vec<LenChange>,
}

#[derive(Clone)]
struct NameChange {
    event: usize,
    issued: usize,
    change: Change,
}

/// The state of the platter after some of the calls.
#[derive(Clone)]
pub(super) struct Platter {
    names: BTreeMap<PathBuf, Node>,
    name_changes: Vec<NameChange>,
    files: Vec<PlatterFile>,
}

const UNDER_WAY: usize = usize::MAX;

impl Platter {
    pub(super) fn new(base: &Image) -> Self {
        let files = base.inodes.iter().map(|bytes| PlatterFile::new(bytes.clone())).collect();
        Self { names: base.names.clone(), name_changes: Vec::new(), files }
    }

    fn file(&mut self, inode: InodeId) -> &mut PlatterFile {
        while self.files.len() <= inode {
            self.files.push(PlatterFile::new(Rc::default()));
        }
        &mut self.files[inode]
    }

    /// A call ended, at this event.
    pub(super) fn on_completed(&mut self, call: &Call, event: usize) {
        match &call.change {
            // What a failed flush was asked to make durable may never become so: the kernel drops the dirty marks.
            Change::Sync { inode } if call.failed => self.file(*inode).forget_unflushed(call.issued),
            Change::Sync { inode } => self.file(*inode).flush(call.issued),
            Change::SyncDir { .. } if call.failed => {}
            Change::SyncDir { folder } => self.flush_names(folder, call.issued),
            Change::CreateDir { path } => {
                self.names.insert(path.clone(), Node::Dir);
            }
            Change::FlipBit { inode, position, bit } => self.file(*inode).flip_bit(*position, *bit),
            change => self.change(change, event, call.issued),
        }
    }

    /// The power goes while this call is under way.
    pub(super) fn on_under_way(&mut self, call: &Call) {
        match &call.change {
            // A flush under way has made some of it durable; so may have time alone.
            Change::Sync { .. } | Change::SyncDir { .. } => {}
            change => self.change(change, UNDER_WAY, call.issued),
        }
    }

    fn change(&mut self, change: &Change, event: usize, issued: usize) {
        match change {
            Change::Write { inode, position, bytes, durable, lands } => {
                let durable = *durable && lands.is_none() && event != UNDER_WAY;
                let write = Version { event, issued, bytes: bytes.clone(), from: 0 };
                self.file(*inode).write(*position, &write, lands.as_deref().map(Vec::as_slice), durable);
            }
            Change::Extend { inode, len } => {
                self.file(*inode).lens.push(LenChange { event, issued, len: *len, extends: true });
            }
            Change::Truncate { inode, len } => self.file(*inode).truncate(*len, event, issued),
            change => self.name_changes.push(NameChange { event, issued, change: change.clone() }),
        }
    }

    fn flush_names(&mut self, folder: &Path, issued: usize) {
        let changes = std::mem::take(&mut self.name_changes);
        let is_flushed = |change: &NameChange| change.event < issued && change.change.folder() == Some(folder);
        // A name that was moved there was made before: what made it is durable with the move.
        let moved: BTreeSet<PathBuf> = changes
            .iter()
            .filter(|change| is_flushed(change))
            .filter_map(|change| if let Change::Rename { from, .. } = &change.change { Some(from.clone()) } else { None })
            .collect();
        let makes_moved = |change: &NameChange| matches!(&change.change, Change::CreateFile { path, .. } if moved.contains(path));
        let (flushed, rest): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|change| is_flushed(change) || change.event < issued && makes_moved(change));
        self.name_changes = rest;
        flushed.iter().for_each(|change| apply_name(&mut self.names, &change.change));
    }

    /// The image when the power goes now.
    pub(super) fn image(&self, unflushed: Unflushed) -> Image {
        let mut choice = Choice::new(unflushed);
        let mut names = self.names.clone();
        for change in &self.name_changes {
            if choice.keeps(change.issued) {
                apply_name(&mut names, &change.change);
            }
        }
        // Whoever removes a folder has removed what was in it: where the first is durable, so is the second.
        let folders: BTreeSet<PathBuf> =
            names.iter().filter(|(_, node)| **node == Node::Dir).map(|(path, _)| path.clone()).collect();
        names.retain(|path, _| path.ancestors().skip(1).all(|folder| folder.parent().is_none() || folders.contains(folder)));
        Image { names, inodes: self.files.iter().map(|file| file.bytes(&mut choice)).collect() }
    }
}

/// Decides what of the unflushed is there.
struct Choice {
    unflushed: Unflushed,
    random: Random,
}

impl Choice {
    fn new(unflushed: Unflushed) -> Self {
        let seed = match unflushed {
            Unflushed::Torn(seed) | Unflushed::Reordered(seed) => seed,
            Unflushed::Kept | Unflushed::Lost => 0,
        };
        Self { unflushed, random: Random::new(seed) }
    }

    /// Whether what a call did is there, as far as it cannot be there in part.
    fn keeps(&mut self, issued: usize) -> bool {
        match self.unflushed {
            Unflushed::Kept => true,
            Unflushed::Lost => false,
            Unflushed::Torn(_) => self.random.coin(),
            // The same answer for everything that the call did, wherever it is asked.
            Unflushed::Reordered(seed) => Random::new(seed ^ (issued as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).coin(),
        }
    }

    /// Which version of a sector is there; `None` is the flushed one.
    fn version<'a>(&mut self, versions: &'a [Version]) -> Option<&'a Version> {
        match self.unflushed {
            Unflushed::Kept => versions.last(),
            Unflushed::Lost => None,
            Unflushed::Torn(_) => {
                let chosen = self.random.below(versions.len() as u64 + 1);
                usize::try_from(chosen).ok()?.checked_sub(1).map(|at| &versions[at])
            }
            Unflushed::Reordered(_) => versions.iter().rev().find(|version| self.keeps(version.issued)),
        }
    }
}

impl PlatterFile {
    fn new(durable: Rc<Vec<u8>>) -> Self {
        Self { durable, sectors: BTreeMap::new(), lens: Vec::new() }
    }

    /// `write` is the version that every sector of it gets, but for `from`.
    fn write(&mut self, position: u64, write: &Version, lands: Option<&[bool]>, durable: bool) {
        let position = usize::try_from(position).expect("a test file fits in memory");
        for (from, until) in landing(write.bytes.len(), lands) {
            let sector = (position + from) / SECTOR_LEN;
            if durable {
                let file = Rc::make_mut(&mut self.durable);
                file.resize(file.len().max(position + until), 0);
                file[position + from..position + until].copy_from_slice(&write.bytes[from..until]);
                self.sectors.remove(&sector);
            } else {
                self.sectors.entry(sector).or_default().push(Version { from, ..write.clone() });
            }
        }
        let end = landing(write.bytes.len(), lands).last().map(|(_, until)| (position + until) as u64);
        if let (Some(len), false) = (end, durable) {
            self.lens.push(LenChange { event: write.event, issued: write.issued, len, extends: true });
        }
    }

    fn truncate(&mut self, len: u64, event: usize, issued: usize) {
        self.lens.push(LenChange { event, issued, len, extends: false });
        let first = usize::try_from(len).expect("a test file fits in memory").div_ceil(SECTOR_LEN);
        let written = self.durable.len().div_ceil(SECTOR_LEN);
        let later: Vec<usize> = self.sectors.range(first..).map(|(&sector, _)| sector).collect();
        let zeros = Rc::new(Vec::new());
        for sector in (first..written).chain(later.into_iter().filter(|&sector| sector >= written)) {
            self.sectors.entry(sector).or_default().push(Version { event, issued, bytes: zeros.clone(), from: 0 });
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

    fn bytes(&self, choice: &mut Choice) -> Rc<Vec<u8>> {
        if self.lens.is_empty() && self.sectors.is_empty() {
            return self.durable.clone();
        }
        let mut len = self.durable.len() as u64;
        for change in &self.lens {
            if choice.keeps(change.issued) {
                len = change.applied(len);
            }
        }
        let mut file = self.durable.as_ref().clone();
        file.resize(usize::try_from(len).expect("a test file fits in memory"), 0);
        for (&sector, versions) in &self.sectors {
            if let Some(version) = choice.version(versions) {
                version.put(&mut file, sector);
            }
        }
        Rc::new(file)
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
