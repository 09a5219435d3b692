//! The store as the parts of a node share it: changed by one after the other, opened again after a full disk, closed for
//! good after any other failure.
//!
//! The expensive mistake is to take a failure for "nothing has happened": whether the change is there is read from the
//! store, and where that cannot be read nothing is answered any more.

use crate::backend::Reserve;
use crate::codec::EntryRow;
use crate::codec::LogIdRow;
use crate::open_error::Damage;
use crate::raft_types::{Entry, RaftLogId, RaftVote};
use crate::store::{Change, ReadError, StateRow, Store};
use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A store, and the reserve of its file where there is a file.
pub(crate) type Opened = (Store, Option<Reserve>);
/// Opens the same store again.
pub(crate) type OpenStore = Box<dyn Fn() -> Result<Opened, redb::Error> + Send + Sync>;

pub(crate) struct SharedStore {
    open: OpenStore,
    inner: Mutex<Inner>,
}

struct Inner {
    /// `None` after a failure that leaves unknown what is in the store, and once it is closed.
    opened: Option<Opened>,
    state: StateRow,
    /// Said of every use after such a failure.
    failure: Option<String>,
    /// The last change found no room.
    is_full: bool,
    /// Bytes appended since the last snapshot.
    log_len: u64,
}

impl SharedStore {
    pub(crate) fn new(open: OpenStore, opened: Opened, state: StateRow, log_len: u64) -> Self {
        let inner = Inner { opened: Some(opened), state, failure: None, is_full: false, log_len };
        Self { open, inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> StateRow {
        self.lock().state
    }

    /// Why the store cannot be used any more.
    pub(crate) fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    /// Whether the last change found no room.
    pub(crate) fn is_full(&self) -> bool {
        self.lock().is_full
    }

    /// Bytes of entries that a start would have to read.
    pub(crate) fn log_len(&self) -> u64 {
        self.lock().log_len
    }

    /// Nothing is written any more, and the file is free for others.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.opened = None;
        inner.failure.get_or_insert_with(|| "it is closed".to_owned());
    }

    /// Sees to it that the reserve of the file is there; fails with `StorageFull` when there is no room for it.
    pub(crate) fn check_room(&self) -> io::Result<()> {
        match &self.lock().opened {
            Some((_, Some(reserve))) => reserve.renew(),
            _ => Ok(()),
        }
    }

    /// Written with the next change: losing it loses nothing but time.
    pub(crate) fn note_committed(&self, committed: Option<RaftLogId>) {
        self.lock().state.committed = committed.map(Into::into);
    }

    pub(crate) fn save_vote(&self, vote: &RaftVote) -> io::Result<()> {
        let vote = Some((*vote).into());
        self.write(&Change::default(), |state| state.vote = vote)
    }

    pub(crate) fn append(&self, entries: impl Iterator<Item = Entry>) -> io::Result<()> {
        let append: Vec<_> = entries.map(|entry| (entry.log_id.index, EntryRow::from(entry).encode())).collect();
        self.write(&Change { append, ..Change::default() }, |_| {})
    }

    pub(crate) fn truncate(&self, from: u64) -> io::Result<()> {
        self.write(&Change { truncate_from: Some(from), ..Change::default() }, |_| {})
    }

    pub(crate) fn purge(&self, to: RaftLogId) -> io::Result<()> {
        let change = Change { purge_to: Some(to.index), ..Change::default() };
        self.write(&change, |state| state.purged = Some(LogIdRow::from(to)))
    }

    /// One transaction, or nothing.
    pub(crate) fn write(&self, change: &Change, set: impl FnOnce(&mut StateRow)) -> io::Result<()> {
        let mut inner = self.lock();
        if let Some(failure) = &inner.failure {
            return Err(io::Error::other(failure.clone()));
        }
        let mut state = inner.state;
        set(&mut state);
        state.change += 1;
        let opened = inner.opened.take().ok_or_else(|| io::Error::other("it is closed"))?;
        let error = match opened.0.change(change, &state) {
            Ok(()) => {
                inner.opened = Some(opened);
                inner.written(change, state);
                return Ok(());
            }
            Err(error) => into_io(error),
        };
        drop(opened);
        if error.kind() != io::ErrorKind::StorageFull {
            inner.failure = Some(error.to_string());
            return Err(error);
        }
        self.reopen_after_full(&mut inner, change, state)
    }

    /// The store has to be opened again after any error. A full disk shows before the commit, and what is there can be
    /// read.
    fn reopen_after_full(&self, inner: &mut Inner, change: &Change, state: StateRow) -> io::Result<()> {
        let found = (self.open)().map_err(into_io).and_then(|opened| {
            let found = opened.0.state().map_err(read_io)?;
            Ok((opened, found))
        });
        let (opened, found) = found.inspect_err(|error| inner.failure = Some(error.to_string()))?;
        inner.opened = Some(opened);
        if found.change == state.change {
            inner.written(change, state);
            return Ok(());
        }
        inner.is_full = true;
        Err(io::ErrorKind::StorageFull.into())
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&Store) -> Result<T, redb::Error>) -> io::Result<T> {
        let inner = self.lock();
        match (&inner.opened, &inner.failure) {
            (Some((store, _)), None) => read(store).map_err(into_io),
            (_, failure) => Err(io::Error::other(failure.clone().unwrap_or_else(|| "it is closed".to_owned()))),
        }
    }

    pub(crate) fn entries(&self, range: Range<u64>, cut: bool) -> io::Result<Vec<Entry>> {
        let rows = self.read(|store| store.entries(range, cut))?;
        rows.into_iter().map(|(index, bytes)| decoded(index, &bytes)).collect()
    }

    pub(crate) fn last_log_id(&self) -> io::Result<Option<RaftLogId>> {
        let last = self.read(Store::last)?;
        let last = last.map(|(index, bytes)| decoded(index, &bytes)).transpose()?;
        Ok(last.map(|entry| entry.log_id).or(self.state().purged.map(Into::into)))
    }
}

impl Inner {
    fn written(&mut self, change: &Change, state: StateRow) {
        self.state = state;
        self.is_full = false;
        if change.snapshot.is_some() {
            self.log_len = 0;
        }
        self.log_len += change.append.iter().map(|(_, entry)| entry.len() as u64).sum::<u64>();
    }
}

fn decoded(index: u64, bytes: &[u8]) -> io::Result<Entry> {
    let row = EntryRow::decode(bytes).map_err(|error| io::Error::other(format!("entry {index}: {error}")))?;
    Ok(row.into())
}

pub(crate) fn into_io(error: redb::Error) -> io::Error {
    match error {
        redb::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

pub(crate) fn read_io(error: ReadError<Damage>) -> io::Error {
    match error {
        ReadError::Store(error) => into_io(error),
        ReadError::Content(damage) => io::Error::other(damage.to_string()),
    }
}
