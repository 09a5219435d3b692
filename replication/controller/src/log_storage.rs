//! The log as the consensus engine asks for it.
//!
//! Writes block the thread they are called on until they are durable: the control thread, which has nothing better to
//! wait for. An error ends the engine; whether it may be started again is for the node to find out from the store.

use crate::raft_types::{Entry, RaftLogId, RaftVote, StorageError, TypeConfig};
use crate::shared_store::SharedStore;
use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader, StorageIOError};
use std::fmt::Debug;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

#[derive(Clone)]
pub(crate) struct LogStorage {
    pub(crate) store: Arc<SharedStore>,
}

fn as_range(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(&at) => at,
        Bound::Excluded(&at) => at.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&at) => at.saturating_add(1),
        Bound::Excluded(&at) => at,
        Bound::Unbounded => u64::MAX,
    };
    start..end.max(start)
}

impl RaftLogReader<TypeConfig> for LogStorage {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        self.store.entries(as_range(&range), false).map_err(|error| StorageIOError::read_logs(&error).into())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        self.store.entries(start..end, true).map_err(|error| StorageIOError::read_logs(&error).into())
    }
}

impl RaftLogStorage<TypeConfig> for LogStorage {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let last_log_id = self.store.last_log_id().map_err(|error| StorageIOError::read_logs(&error))?;
        Ok(LogState { last_purged_log_id: self.store.state().purged.map(Into::into), last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> Result<(), StorageError> {
        self.store.save_vote(vote).map_err(|error| StorageIOError::write_vote(&error).into())
    }

    async fn read_vote(&mut self) -> Result<Option<RaftVote>, StorageError> {
        Ok(self.store.state().vote.map(Into::into))
    }

    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> Result<(), StorageError> {
        self.store.note_committed(committed);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<RaftLogId>, StorageError> {
        Ok(self.store.state().committed.map(Into::into))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.store.append(entries.into_iter()).map_err(|error| StorageIOError::write_logs(&error))?;
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: RaftLogId) -> Result<(), StorageError> {
        self.store.truncate(log_id.index).map_err(|error| StorageIOError::write_logs(&error).into())
    }

    async fn purge(&mut self, log_id: RaftLogId) -> Result<(), StorageError> {
        self.store.purge(log_id).map_err(|error| StorageIOError::write_logs(&error).into())
    }
}
