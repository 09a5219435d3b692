//! A disk in memory that fails, fills up, and loses what was not flushed.

use redb::{BackendError, StorageBackend};
use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

/// A disk in memory: what is flushed, what is not yet, and when it begins to fail.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeDisk(Arc<Mutex<FakeDiskState>>);

#[derive(Debug, Default)]
pub(crate) struct FakeDiskState {
    bytes: Vec<u8>,
    flushed: Vec<u8>,
    unflushed: Vec<(u64, Vec<u8>)>,
    /// Changes still to succeed; `None` is all.
    changes_left: Option<usize>,
    /// The file cannot grow.
    full: bool,
}

impl FakeDisk {
    pub(crate) fn fail_after(&self, changes: Option<usize>) {
        self.0.lock().unwrap().changes_left = changes;
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.0.lock().unwrap().full = full;
    }

    /// The power fails: of the writes since the last flush only those survive that `keep` picks.
    pub(crate) fn cut_power(&self, keep: impl Fn(usize) -> bool) {
        let mut state = self.0.lock().unwrap();
        let mut bytes = state.flushed.clone();
        for (_, (offset, data)) in state.unflushed.iter().enumerate().filter(|(n, _)| keep(*n)) {
            let (start, end) = (*offset as usize, *offset as usize + data.len());
            bytes.resize(bytes.len().max(end), 0);
            bytes[start..end].copy_from_slice(data);
        }
        *state = FakeDiskState { bytes: bytes.clone(), flushed: bytes, ..FakeDiskState::default() };
    }

    fn change(&self, change: impl FnOnce(&mut FakeDiskState)) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        match &mut state.changes_left {
            Some(0) => return Err(io::Error::other("the disk is broken")),
            Some(left) => *left -= 1,
            None => {}
        }
        change(&mut state);
        Ok(())
    }
}

impl StorageBackend for FakeDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        let start = offset as usize;
        let bytes = state.bytes.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.0.lock().unwrap().full && len > self.len()? {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.change(|state| {
            state.bytes.resize(len as usize, 0);
            state.flushed.resize(len as usize, 0);
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(|state| {
            state.flushed = state.bytes.clone();
            state.unflushed.clear();
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(|state| {
            let start = offset as usize;
            state.bytes[start..start + data.len()].copy_from_slice(data);
            state.unflushed.push((offset, data.to_vec()));
        })
    }

    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}
