//! A fault disk as its users see it while it runs: names, bytes, the log of calls, what is armed to fail.
//!
//! Deliberately absent: what of it is durable (`fault_image`).

use crate::disk::DirEntry;
use crate::testing::fault_astray::Scar;
use crate::testing::fault_image::{Call, Change, Image, InodeId, Node, SECTOR_LEN, apply_name, landing};
use crate::testing::fault_plan::{FaultPlan, Hit};
use crate::testing::random::Random;
use sluice_model::limits::BLOCK_LEN;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub(super) struct State {
    pub(super) random: Random,
    /// Durable when the device was switched on.
    pub(super) base: Image,
    pub(super) calls: Vec<Call>,
    /// Calls begun plus calls ended.
    pub(super) events: usize,
    pub(super) names: BTreeMap<PathBuf, Node>,
    pub(super) files: Vec<LiveFile>,
    pub(super) capacity: u64,
    pub(super) plan: FaultPlan,
    /// Places that writes which went astray have hit or missed (`fault_astray`).
    pub(super) scars: Vec<Scar>,
    /// The calls that went astray.
    pub(super) astray_calls: BTreeSet<usize>,
    pub(super) turns_max: u64,
    /// Of writes to files of durable writes.
    pub(super) durable_turns_max: u64,
}

#[derive(Clone, Default)]
pub(super) struct LiveFile {
    /// Shared with the image it came from until it is written to.
    pub(super) bytes: Rc<Vec<u8>>,
    pub(super) links: u32,
}

impl State {
    pub(super) fn new(image: Image, seed: u64) -> Self {
        let mut files: Vec<LiveFile> = image.inodes.iter().map(|bytes| LiveFile { bytes: bytes.clone(), links: 0 }).collect();
        for node in image.names.values() {
            if let Node::File(inode) = node {
                if files.len() <= *inode {
                    files.resize(inode + 1, LiveFile::default());
                }
                files[*inode].links += 1;
            }
        }
        let names = image.names.clone();
        Self {
            random: Random::new(seed),
            base: image,
            calls: Vec::new(),
            events: 0,
            names,
            files,
            capacity: u64::MAX,
            plan: FaultPlan::default(),
            scars: Vec::new(),
            astray_calls: BTreeSet::new(),
            turns_max: 2,
            durable_turns_max: 2,
        }
    }

    pub(super) fn issue(&mut self, change: Change) -> usize {
        self.calls.push(Call { change, issued: self.events, completed: None, failed: false });
        self.events += 1;
        self.calls.len() - 1
    }

    /// [`Self::issue`], with what hits the call.
    pub(super) fn issue_hit(&mut self, mut change: Change, hit: Hit) -> usize {
        if let Change::Write { inode, position, bytes, durable, lands } = &mut change {
            if hit.misdirected.is_some() || hit.is_astray {
                // The file is as long as if the write had arrived: that is the file system's business.
                let extend = Change::Extend { inode: *inode, len: *position + bytes.len() as u64 };
                if self.files[*inode].bytes.len() < *position as usize + bytes.len() {
                    let call = self.issue(extend);
                    self.complete(call, false);
                }
            }
            if hit.is_astray && !hit.fails {
                let landed = hit.astray.and_then(|seed| self.astray(seed, *inode, *position, bytes.len()));
                self.on_missed(*inode, *position, bytes);
                let (target, hit, len) = landed.unwrap_or((*inode, *position, 0));
                self.on_hit(target, hit, len);
                // Nobody will flush the file that it hits.
                (*inode, *position, *durable) = (target, hit, true);
                Rc::make_mut(bytes).truncate(len);
                self.astray_calls.insert(self.calls.len());
            }
            if let Some(seed) = hit.misdirected {
                let (target, missed, len) = self.misdirected(seed, *inode, *position, bytes.len());
                (*inode, *position) = (target, missed);
                Rc::make_mut(bytes).truncate(len);
            }
            if hit.fails {
                *lands = Some(self.short_write(bytes.len()));
            }
        }
        self.issue(change)
    }

    pub(super) fn complete(&mut self, call: usize, failed: bool) {
        self.calls[call].completed = Some(self.events);
        self.calls[call].failed = failed;
        self.events += 1;
        let change = self.calls[call].change.clone();
        let is_astray = self.astray_calls.contains(&call);
        match change {
            Change::Write { inode, position, bytes, lands, .. } => {
                let position = usize::try_from(position).expect("a test file fits in memory");
                if !self.scars.is_empty() && !is_astray && lands.is_none() {
                    self.on_arrived(inode, position, &bytes);
                }
                let file = Rc::make_mut(&mut self.files[inode].bytes);
                for (from, until) in landing(bytes.len(), lands.as_deref().map(Vec::as_slice)) {
                    file.resize(file.len().max(position + until), 0);
                    file[position + from..position + until].copy_from_slice(&bytes[from..until]);
                }
            }
            Change::Extend { inode, len } => {
                let file = Rc::make_mut(&mut self.files[inode].bytes);
                file.resize(file.len().max(usize::try_from(len).expect("a test file fits in memory")), 0);
            }
            Change::Truncate { inode, len } => {
                let len = usize::try_from(len).expect("a test file fits in memory");
                Rc::make_mut(&mut self.files[inode].bytes).resize(len, 0);
            }
            Change::Sync { .. } | Change::SyncDir { .. } | Change::FlipBit { .. } => {}
            Change::CreateDir { path } => {
                self.names.insert(path, Node::Dir);
            }
            Change::Remove { ref path } | Change::Rename { to: ref path, .. } => {
                if let Ok(inode) = self.inode(path) {
                    self.files[inode].links -= 1;
                }
                apply_name(&mut self.names, &change);
            }
            Change::CreateFile { .. } => apply_name(&mut self.names, &change),
        }
    }

    /// Which sectors of a write of `len` bytes arrive when it fails: some from its start, or any.
    pub(super) fn short_write(&mut self, len: usize) -> Rc<Vec<bool>> {
        let count = len.div_ceil(SECTOR_LEN);
        let prefix = self.random.coin().then(|| self.random.below(count as u64 + 1) as usize);
        Rc::new((0..count).map(|at| prefix.map_or_else(|| self.random.coin(), |prefix| at < prefix)).collect())
    }

    /// Where a misdirected write of `len` bytes lands: a file that has bytes, and a sector in it from which it fits
    /// (or the file's start, and as much as fits). Half of them stay in their file.
    pub(super) fn misdirected(&self, seed: u64, inode: InodeId, position: u64, len: usize) -> (InodeId, u64, usize) {
        let mut random = Random::new(seed);
        let targets: Vec<InodeId> = (0..self.files.len())
            .filter(|&at| self.files[at].links > 0 && !self.files[at].bytes.is_empty() && at != inode)
            .collect();
        let stays = targets.is_empty() || (random.coin() && !self.files[inode].bytes.is_empty());
        let target = if stays { inode } else { targets[random.below(targets.len() as u64) as usize] };
        let file_len = self.files[target].bytes.len();
        let len = len.min(file_len);
        let room = ((file_len - len) / SECTOR_LEN) as u64;
        let chosen = random.below(room + 1) * SECTOR_LEN as u64;
        // Not where it was meant to go.
        let missed = if target == inode && chosen == position {
            (chosen + SECTOR_LEN as u64) % (room * SECTOR_LEN as u64 + 1)
        } else {
            chosen
        };
        (target, missed, len)
    }

    pub(super) fn inode(&self, path: &Path) -> io::Result<InodeId> {
        match self.names.get(path) {
            Some(Node::File(inode)) => Ok(*inode),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn name_of(&self, inode: InodeId) -> String {
        self.path_of(inode).map_or_else(|| format!("a removed file ({inode})"), |path| path.display().to_string())
    }

    pub(super) fn path_of(&self, inode: InodeId) -> Option<PathBuf> {
        self.names.iter().find(|(_, node)| **node == Node::File(inode)).map(|(path, _)| path.clone())
    }

    pub(super) fn is_dir(&self, path: &Path) -> bool {
        path.parent().is_none() || path.as_os_str().is_empty() || self.names.get(path) == Some(&Node::Dir)
    }

    pub(super) fn children(&self, folder: &Path) -> Vec<DirEntry> {
        let inside = self.names.iter().filter(|(path, _)| path.parent() == Some(folder));
        let entry = |(path, node): (&PathBuf, &Node)| {
            let name = path.file_name()?.to_str()?.to_owned();
            Some(DirEntry { name, is_dir: *node == Node::Dir })
        };
        let mut entries: Vec<DirEntry> = inside.filter_map(entry).collect();
        entries.sort();
        entries
    }

    pub(super) fn used_len(&self) -> u64 {
        let linked = self.files.iter().filter(|file| file.links > 0);
        linked.map(|file| (file.bytes.len() as u64).next_multiple_of(BLOCK_LEN as u64)).sum()
    }

    /// Whether a file may become `len` long.
    pub(super) fn check_space(&self, inode: InodeId, len: u64) -> io::Result<()> {
        let have = (self.files[inode].bytes.len() as u64).next_multiple_of(BLOCK_LEN as u64);
        let more = len.next_multiple_of(BLOCK_LEN as u64).saturating_sub(have);
        if more > self.capacity.saturating_sub(self.used_len()) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    /// How long an allocation to `len` that fails for want of space leaves the file, when it leaves anything.
    pub(super) fn part_of_allocation(&mut self, inode: InodeId, len: u64) -> Option<u64> {
        if !self.plan.allocation_leaves_part || self.check_space(inode, len).is_ok() {
            return None;
        }
        let block = BLOCK_LEN as u64;
        let have = (self.files[inode].bytes.len() as u64).next_multiple_of(block);
        let free = self.capacity.saturating_sub(self.used_len()) / block;
        Some(have + self.random.below(free + 1) * block)
    }
}
