//! A disk in memory that fails as devices fail, from a seed: same seed and same calls, same bytes.
//!
//! It keeps a log of every call that changes something, so that after one run of a scenario the image that a power
//! cut at any call would have left can be asked for (`crash`), with the unflushed sectors kept, lost or torn. The
//! expensive mistake would be a disk kinder than a device: what is not flushed is never safe here, names included.
//!
//! Runs under any executor that honours wake-ups, on one thread. Deliberately absent: time (a call only takes a
//! few turns of the executor, as the seed decides).

use crate::disk::{DirEntry, Disk, DiskFile, OpenMode};
use crate::testing::executor::yield_times;
use crate::testing::fault_image::{Change, Image, InodeId, Node};
use crate::testing::fault_state::{LiveFile, State};
use sluice_model::limits::BLOCK_LEN;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use crate::testing::fault_image::Unflushed;
pub use crate::testing::fault_plan::FaultKind;

/// EIO, the error of a device that gives up.
const DEVICE_ERROR: i32 = 5;
/// What a scratch buffer is full of.
pub(crate) const SCRATCH_BYTE: u8 = 0xa5;

/// Where the power goes: while the call of this number (from 0) is under way; at `call_count` after all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerCut {
    pub call: usize,
    pub unflushed: Unflushed,
}

/// The disk; a clone is the same device.
#[derive(Clone)]
pub struct FaultDisk(pub(super) Rc<RefCell<State>>);

/// An open file of a [`FaultDisk`].
#[derive(Clone)]
pub struct FaultFile {
    disk: FaultDisk,
    path: PathBuf,
    inode: InodeId,
    mode: OpenMode,
}

impl FaultDisk {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::from_image(Image::default(), seed)
    }

    /// Bytes that fit on the device; without a limit at first. File lengths count, in whole blocks.
    pub fn set_capacity(&self, len: u64) {
        self.0.borrow_mut().capacity = len;
    }

    /// Calls so far that change something: writes, flushes, allocations, truncations, changes of names.
    #[must_use]
    pub fn call_count(&self) -> usize {
        self.0.borrow().calls.len()
    }

    /// What call number `at` did, for messages of failed tests.
    #[must_use]
    pub fn describe_call(&self, at: usize) -> String {
        let state = self.0.borrow();
        match state.calls.get(at).map(|call| &call.change) {
            None => "after the last call".to_owned(),
            Some(Change::Write { inode, position, bytes, durable, .. }) => {
                format!("write of {} bytes at {position} to {} (durable: {durable})", bytes.len(), state.name_of(*inode))
            }
            Some(Change::Sync { inode }) => format!("sync of {}", state.name_of(*inode)),
            Some(Change::Extend { inode, len }) => format!("allocation to {len} of {}", state.name_of(*inode)),
            Some(Change::Truncate { inode, len }) => format!("truncation to {len} of {}", state.name_of(*inode)),
            Some(change) => format!("{change:?}"),
        }
    }

    /// The device as it is found when the power comes back. This one is left as it is.
    #[must_use]
    pub fn crash(&self, cut: PowerCut) -> Self {
        self.cuts().at(cut.call).image(cut.unflushed)
    }

    /// A device on which readers find what they find on this one, a page cache's bytes among it, and nothing is to fail.
    #[must_use]
    pub fn as_read(&self) -> Self {
        let state = self.0.borrow();
        let inodes = state.files.iter().map(|file| file.bytes.clone()).collect();
        Self::from_image(Image { names: state.names.clone(), inodes }, 0)
    }

    /// The process that made them is gone, and the power is not: calls under way end as they would have.
    pub fn end_calls(&self) {
        let mut state = self.0.borrow_mut();
        let under_way: Vec<usize> = (0..state.calls.len()).filter(|&at| state.calls[at].completed.is_none()).collect();
        under_way.into_iter().for_each(|call| state.complete(call, false));
    }

    /// Tells what readers see of two devices apart.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let state = self.0.borrow();
        Image { names: state.names.clone(), inodes: state.files.iter().map(|file| file.bytes.clone()).collect() }.fingerprint()
    }

    /// Rot: changes one bit of a file, on the platter and for readers. The position must be in the file.
    pub fn flip_bit(&self, path: &Path, position: u64, bit: u8) {
        let mut state = self.0.borrow_mut();
        let inode = state.inode(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let position = usize::try_from(position).expect("a test file fits in memory");
        let byte = Rc::make_mut(&mut state.files[inode].bytes).get_mut(position);
        *byte.unwrap_or_else(|| panic!("{} has no byte {position}", path.display())) ^= 1 << bit;
        let call = state.issue(Change::FlipBit { inode, position, bit });
        state.complete(call, false);
    }

    /// Every file of the device with its bytes as readers see them, by path.
    #[must_use]
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.0.borrow();
        let files = state.names.iter().filter_map(|(path, node)| match node {
            Node::File(inode) => Some((path.clone(), state.files[*inode].bytes.as_ref().clone())),
            Node::Dir => None,
        });
        files.collect()
    }

    /// How many turns of the executor a call takes at most; 2 at first.
    pub fn set_turns_max(&self, turns: u64) {
        self.set_turns_max_apart(turns, turns);
    }

    /// The same for writes to files of durable writes and for all other calls: a journal may lie on a quicker device than
    /// the rest, or on a slower one.
    pub fn set_turns_max_apart(&self, durable_writes: u64, other_calls: u64) {
        let mut state = self.0.borrow_mut();
        (state.durable_turns_max, state.turns_max) = (durable_writes, other_calls);
    }

    pub(super) fn from_image(image: Image, seed: u64) -> Self {
        Self(Rc::new(RefCell::new(State::new(image, seed))))
    }

    async fn take_turns(&self, is_durable_write: bool, more: u64) {
        let count = {
            let mut state = self.0.borrow_mut();
            let bound = if is_durable_write { state.durable_turns_max } else { state.turns_max } + 1;
            let spikes = state.plan.spikes;
            let spike = match spikes {
                Some((one_in, turns)) if state.random.below(one_in) == 0 => state.random.below(turns + 1),
                _ => 0,
            };
            state.random.below(bound) + spike + more
        };
        yield_times(count).await;
    }

    /// A call that changes nothing takes its time, or fails.
    async fn look(&self, kind: FaultKind) -> io::Result<()> {
        let hit = self.0.borrow_mut().plan.on_call(kind, None);
        self.take_turns(false, hit.turns).await;
        if hit.fails { Err(device_error()) } else { Ok(()) }
    }

    /// Logs a change, lets it take its time, and makes readers see it.
    async fn perform(&self, change: Change, kind: FaultKind) -> io::Result<()> {
        let is_durable_write = matches!(change, Change::Write { durable: true, .. });
        let (hit, call) = {
            let mut state = self.0.borrow_mut();
            // Looked for only when it matters: there are many names.
            let path = match &change {
                Change::Write { inode, .. } if state.plan.is_astray_armed() => state.path_of(*inode),
                _ => None,
            };
            let hit = state.plan.on_call(kind, path.as_deref());
            // A failed change of names or lengths has happened or has not; of a failed flush or write the rest is known.
            let partial = matches!(change, Change::Write { .. } | Change::Sync { .. } | Change::SyncDir { .. });
            let happens = !hit.fails || partial || state.random.coin();
            (hit, happens.then(|| state.issue_hit(change, hit)))
        };
        self.take_turns(is_durable_write, hit.turns).await;
        if let Some(call) = call {
            self.0.borrow_mut().complete(call, hit.fails);
        }
        if hit.fails { Err(device_error()) } else { Ok(()) }
    }
}

impl Disk for FaultDisk {
    type File = FaultFile;
    type Buffer = Vec<u8>;

    fn buffer(&self, len: usize) -> Vec<u8> {
        assert!(len.is_multiple_of(BLOCK_LEN), "a buffer of {len} bytes is not a whole number of blocks");
        vec![0; len]
    }

    fn scratch_buffer(&self, len: usize) -> Vec<u8> {
        let mut buffer = self.buffer(len);
        // Not zeros, so that a test sees what nobody has written.
        buffer.fill(SCRATCH_BYTE);
        buffer
    }

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<FaultFile> {
        let inode = if mode == OpenMode::CreateNew {
            let inode = {
                let mut state = self.0.borrow_mut();
                if state.names.contains_key(path) {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                if !path.parent().is_some_and(|folder| state.is_dir(folder)) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                state.files.push(LiveFile { bytes: Rc::default(), links: 1 });
                state.files.len() - 1
            };
            self.perform(Change::CreateFile { path: path.to_owned(), inode }, FaultKind::Open).await?;
            inode
        } else {
            self.look(FaultKind::Open).await?;
            self.0.borrow().inode(path)?
        };
        Ok(FaultFile { disk: self.clone(), path: path.to_owned(), inode, mode })
    }

    async fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.look(FaultKind::List).await?;
        let state = self.0.borrow();
        if state.is_dir(path) { Ok(state.children(path)) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut missing: Vec<PathBuf> = Vec::new();
        for folder in path.ancestors() {
            let state = self.0.borrow();
            if state.is_dir(folder) {
                break;
            }
            if state.names.contains_key(folder) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            missing.push(folder.to_owned());
        }
        for folder in missing.into_iter().rev() {
            self.perform(Change::CreateDir { path: folder }, FaultKind::CreateDir).await?;
        }
        Ok(())
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        {
            let state = self.0.borrow();
            if !state.names.contains_key(from) || !to.parent().is_some_and(|folder| state.is_dir(folder)) {
                return Err(io::ErrorKind::NotFound.into());
            }
            if state.names.get(to) == Some(&Node::Dir) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
        }
        self.perform(Change::Rename { from: from.to_owned(), to: to.to_owned() }, FaultKind::Rename).await
    }

    async fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.borrow().inode(path)?;
        self.perform(Change::Remove { path: path.to_owned() }, FaultKind::Remove).await
    }

    async fn remove_dir(&self, path: &Path) -> io::Result<()> {
        {
            let state = self.0.borrow();
            match state.names.get(path) {
                None => return Err(io::ErrorKind::NotFound.into()),
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                Some(Node::Dir) if !state.children(path).is_empty() => return Err(io::ErrorKind::DirectoryNotEmpty.into()),
                Some(Node::Dir) => {}
            }
        }
        self.perform(Change::Remove { path: path.to_owned() }, FaultKind::Remove).await
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if !self.0.borrow().is_dir(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.perform(Change::SyncDir { folder: path.to_owned() }, FaultKind::Sync).await
    }

    async fn free_len(&self, _path: &Path) -> io::Result<u64> {
        let state = self.0.borrow();
        Ok(state.capacity.saturating_sub(state.used_len()))
    }
}

impl DiskFile for FaultFile {
    type Buffer = Vec<u8>;

    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    async fn len(&self) -> io::Result<u64> {
        Ok(self.disk.0.borrow().files[self.inode].bytes.len() as u64)
    }

    async fn read_at(&self, position: u64, len: usize) -> io::Result<Vec<u8>> {
        check_aligned(position, len)?;
        self.disk.look(FaultKind::Read).await?;
        let mut state = self.disk.0.borrow_mut();
        if state.plan.is_unreadable(self.inode, &(position..position + len as u64)) {
            return Err(device_error());
        }
        let bytes = &state.files[self.inode].bytes;
        let start = usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
        let end = start.saturating_add(len).min(bytes.len());
        let read = bytes[start..end].to_vec();
        state.plan.read_len += read.len() as u64;
        Ok(read)
    }

    async fn write_at(&self, position: u64, buffer: Vec<u8>) -> io::Result<()> {
        check_aligned(position, buffer.len())?;
        let durable = self.mode == OpenMode::DurableWrites;
        {
            let state = self.disk.0.borrow();
            let end = position + buffer.len() as u64;
            if durable && end > state.files[self.inode].bytes.len() as u64 {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file of durable writes has a fixed size"));
            }
            state.check_space(self.inode, end)?;
        }
        let written = position..position + buffer.len() as u64;
        let change = Change::Write { inode: self.inode, position, bytes: Rc::new(buffer), durable, lands: None };
        self.disk.perform(change, FaultKind::Write).await?;
        self.disk.0.borrow_mut().plan.on_written(self.inode, &written);
        Ok(())
    }

    async fn allocate(&self, len: u64) -> io::Result<()> {
        let (space, part) = {
            let mut state = self.disk.0.borrow_mut();
            (state.check_space(self.inode, len), state.part_of_allocation(self.inode, len))
        };
        if let (Err(_), Some(len)) = (&space, part) {
            self.disk.perform(Change::Extend { inode: self.inode, len }, FaultKind::Allocate).await?;
        }
        space?;
        self.disk.perform(Change::Extend { inode: self.inode, len }, FaultKind::Allocate).await
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        if len > self.len().await? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a truncation does not lengthen a file"));
        }
        self.disk.perform(Change::Truncate { inode: self.inode, len }, FaultKind::Truncate).await
    }

    async fn sync(&self) -> io::Result<()> {
        self.disk.perform(Change::Sync { inode: self.inode }, FaultKind::Sync).await
    }
}

fn check_aligned(position: u64, len: usize) -> io::Result<()> {
    if position.is_multiple_of(BLOCK_LEN as u64) && len.is_multiple_of(BLOCK_LEN) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{len} bytes at {position} are not whole blocks")))
}

fn device_error() -> io::Error {
    io::Error::from_raw_os_error(DEVICE_ERROR)
}

#[cfg(test)]
#[path = "fault_disk_test.rs"]
mod tests;
