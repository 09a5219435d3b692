//! A fault disk as its users see it while it runs: names, bytes, the log of calls, what is armed to fail.
//!
//! Deliberately absent: what of it is durable (`fault_image`).

use crate::disk::DirEntry;
use crate::testing::fault_disk::FaultKind;
use crate::testing::fault_image::{Call, Change, Image, InodeId, Node, apply_name};
use crate::testing::random::Random;
use sluice_model::limits::BLOCK_LEN;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

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
    /// How many more calls of a kind until one fails.
    pub(super) armed: Vec<(FaultKind, u64)>,
    pub(super) turns_max: u64,
}

#[derive(Clone, Default)]
pub(super) struct LiveFile {
    pub(super) bytes: Vec<u8>,
    pub(super) links: u32,
}

impl State {
    pub(super) fn new(image: Image, seed: u64) -> Self {
        let mut files: Vec<LiveFile> =
            image.inodes.iter().map(|bytes| LiveFile { bytes: bytes.as_ref().clone(), links: 0 }).collect();
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
            armed: Vec::new(),
            turns_max: 2,
        }
    }

    pub(super) fn issue(&mut self, change: Change) -> usize {
        self.calls.push(Call { change, issued: self.events, completed: None, failed: false });
        self.events += 1;
        self.calls.len() - 1
    }

    pub(super) fn complete(&mut self, call: usize, failed: bool) {
        self.calls[call].completed = Some(self.events);
        self.calls[call].failed = failed;
        self.events += 1;
        let change = self.calls[call].change.clone();
        match change {
            // A failed write leaves its first half: readers, like a restart, must not be lucky.
            Change::Write { inode, position, bytes, .. } => {
                let len = if failed { bytes.len() / 2 } else { bytes.len() };
                self.write(inode, usize::try_from(position).expect("a test file fits in memory"), &bytes[..len]);
            }
            Change::Extend { inode, len } => {
                let file = &mut self.files[inode].bytes;
                file.resize(file.len().max(usize::try_from(len).expect("a test file fits in memory")), 0);
            }
            Change::Truncate { inode, len } => {
                self.files[inode].bytes.resize(usize::try_from(len).expect("a test file fits in memory"), 0);
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

    fn write(&mut self, inode: InodeId, position: usize, bytes: &[u8]) {
        let file = &mut self.files[inode].bytes;
        file.resize(file.len().max(position + bytes.len()), 0);
        file[position..position + bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn trips(&mut self, kind: FaultKind) -> bool {
        let mut tripped = false;
        self.armed.retain_mut(|(armed, count)| {
            if *armed != kind {
                return true;
            }
            let now = *count == 0;
            tripped |= now;
            *count = count.saturating_sub(1);
            !now
        });
        tripped
    }

    pub(super) fn inode(&self, path: &Path) -> io::Result<InodeId> {
        match self.names.get(path) {
            Some(Node::File(inode)) => Ok(*inode),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn name_of(&self, inode: InodeId) -> String {
        let name = self.names.iter().find(|(_, node)| **node == Node::File(inode));
        name.map_or_else(|| format!("a removed file ({inode})"), |(path, _)| path.display().to_string())
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
}
