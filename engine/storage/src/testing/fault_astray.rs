//! Writes of a fault disk that are reported done and are not where they were meant to be: what ought to stand there, and
//! in the place that they hit instead.
//!
//! The expensive mistake is to blame such a write for what somebody has written properly since, or to forget what it
//! covers: what ought to stand in a place follows every later write to it, and a power cut leaves it as it is. Deliberately
//! absent: what the loss of the place costs, which is for whoever knows what stood there.

use crate::testing::fault_disk::FaultDisk;
use crate::testing::fault_image::{InodeId, SECTOR_LEN};
use crate::testing::fault_state::State;
use crate::testing::random::Random;
use sluice_model::limits::BLOCK_LEN;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A place that does not hold what the device has reported to be there.
#[derive(Clone, Debug)]
pub(super) struct Scar {
    pub(super) inode: InodeId,
    pub(super) position: usize,
    /// What ought to stand there.
    pub(super) told: Vec<u8>,
}

/// The bytes of a file as the device has reported them, and where it holds others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub bytes: Vec<u8>,
    /// Sectors that differ, by position, each once.
    pub bad_sectors: Vec<usize>,
}

impl Told {
    /// The first byte from `from` up to `until` that may differ.
    #[must_use]
    pub fn first_bad(&self, from: usize, until: usize) -> Option<usize> {
        let next = self.bad_sectors.partition_point(|&sector| sector + SECTOR_LEN <= from);
        self.bad_sectors.get(next).map(|&sector| sector.max(from)).filter(|&at| at < until)
    }
}

impl FaultDisk {
    /// Makes the `nth` next write to a file whose path holds `name` land elsewhere, at a whole block, or nowhere, as
    /// `seed` says. The device reports success, and the intended place keeps its bytes.
    pub fn lead_astray(&self, nth: u64, name: &'static str, seed: u64) {
        self.0.borrow_mut().plan.arm_astray(nth, name, Some(seed));
    }

    /// The same, and it lands nowhere.
    pub fn lose_write(&self, nth: u64, name: &'static str) {
        self.0.borrow_mut().plan.arm_astray(nth, name, None);
    }

    /// Places that ever were hit or missed by a write that went astray, on this device and those that it was before its
    /// power cuts; it only grows.
    #[must_use]
    pub fn scar_count(&self) -> usize {
        self.0.borrow().scars.len()
    }

    /// Files that do not hold, where the scars from this one on are, what the device has reported.
    #[must_use]
    pub fn told_from(&self, scar: usize) -> Vec<(PathBuf, Told)> {
        let state = self.0.borrow();
        let mut inodes: Vec<InodeId> = state.scars.iter().skip(scar).map(|scar| scar.inode).collect();
        inodes.sort_unstable();
        inodes.dedup();
        let told = inodes.into_iter().filter_map(|inode| Some((state.path_of(inode)?, state.told(inode, scar))));
        told.filter(|(_, told)| !told.bad_sectors.is_empty()).collect()
    }

    /// Every file with its bytes as the device has reported them, by path.
    #[must_use]
    pub fn told_files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = self.files();
        files.extend(self.told_from(0).into_iter().map(|(path, told)| (path, told.bytes)));
        files
    }

    /// Whether a write is armed to go astray.
    #[must_use]
    pub fn is_astray_armed(&self) -> bool {
        self.0.borrow().plan.is_astray_armed()
    }
}

impl State {
    /// A write is meant for this place and will not arrive there.
    pub(super) fn on_missed(&mut self, inode: InodeId, position: u64, bytes: &[u8]) {
        let position = usize::try_from(position).expect("a test file fits in memory");
        self.scars.push(Scar { inode, position, told: bytes.to_vec() });
    }

    /// It will arrive here instead: what stands here ought to go on standing here.
    pub(super) fn on_hit(&mut self, inode: InodeId, position: u64, len: usize) {
        let position = usize::try_from(position).expect("a test file fits in memory");
        let live = &self.files[inode].bytes;
        let mut told = live[position.min(live.len())..(position + len).min(live.len())].to_vec();
        for scar in self.scars.iter().filter(|scar| scar.inode == inode) {
            scar.overlay(&mut told, position);
        }
        self.scars.push(Scar { inode, position, told });
    }

    /// These bytes have arrived where they were meant to. Whoever writes what stands there has only read it, and knows no
    /// better than the place did.
    pub(super) fn on_arrived(&mut self, inode: InodeId, position: usize, bytes: &[u8]) {
        if self.files[inode].bytes.get(position..position + bytes.len()) == Some(bytes) {
            return;
        }
        let arrived = Scar { inode, position, told: bytes.to_vec() };
        for scar in self.scars.iter_mut().filter(|scar| scar.inode == inode) {
            arrived.overlay(&mut scar.told, scar.position);
        }
    }

    fn told(&self, inode: InodeId, from: usize) -> Told {
        let live = &self.files[inode].bytes;
        let mut bytes = live.as_ref().clone();
        let of_file = || self.scars.iter().enumerate().filter(|(_, scar)| scar.inode == inode);
        of_file().for_each(|(_, scar)| scar.overlay(&mut bytes, 0));
        let is_wanted = |sector: usize| {
            let until = (sector + SECTOR_LEN).min(bytes.len());
            bytes[sector..until] != live[sector..until]
                && of_file().any(|(at, scar)| at >= from && scar.position < until && sector < scar.position + scar.told.len())
        };
        let bad_sectors = (0..bytes.len()).step_by(SECTOR_LEN).filter(|&sector| is_wanted(sector)).collect();
        Told { bytes, bad_sectors }
    }

    /// Where a write of `len` bytes that goes astray lands: a file that has bytes, and a block in it from which it fits,
    /// or as much of it as fits. `None` when it lands nowhere.
    pub(super) fn astray(&self, seed: u64, inode: InodeId, position: u64, len: usize) -> Option<(InodeId, u64, usize)> {
        let mut random = Random::new(seed);
        if random.below(3) == 0 {
            return None;
        }
        let others: Vec<InodeId> = (0..self.files.len())
            .filter(|&at| at != inode && self.files[at].links > 0 && self.files[at].bytes.len() >= BLOCK_LEN)
            .collect();
        let stays = others.is_empty() || random.coin();
        let target = if stays { inode } else { others[usize::try_from(random.below(others.len() as u64)).ok()?] };
        let blocks = self.files[target].bytes.len() / BLOCK_LEN;
        let len = len.min(blocks * BLOCK_LEN);
        let room = (blocks - len / BLOCK_LEN) as u64;
        let chosen = random.below(room + 1) * BLOCK_LEN as u64;
        // Not where it was meant to go; a file that has no other place loses it.
        let missed = if target == inode && chosen == position {
            (chosen + BLOCK_LEN as u64) % ((room + 1) * BLOCK_LEN as u64)
        } else {
            chosen
        };
        (target != inode || missed != position).then_some((target, missed, len)).filter(|(.., len)| *len > 0)
    }
}

impl Scar {
    /// Puts what ought to stand here into `bytes`, which begin at `position` of the same file, as far as they overlap.
    fn overlay(&self, bytes: &mut [u8], position: usize) {
        let from = self.position.max(position);
        let until = (self.position + self.told.len()).min(position + bytes.len());
        if from < until {
            bytes[from - position..until - position].copy_from_slice(&self.told[from - self.position..until - self.position]);
        }
    }
}

/// Whether a path is one of those that a write was armed for.
pub(super) fn is_named(path: &Path, name: &str) -> bool {
    path.to_str().is_some_and(|path| path.contains(name))
}

#[cfg(test)]
#[path = "fault_astray_test.rs"]
mod tests;
