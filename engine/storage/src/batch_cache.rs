//! The memory of all tails of one shard: how much they hold, and whose batches are the oldest that may go.
//!
//! A chunk of a tail whose frames are all in segments stays as batch cache until memory is wanted, oldest first
//! over all partitions of the shard. The expensive mistake is to evict what is not yet written back; only chunks
//! that a log has named clean are in the queue. Deliberately absent: the bytes, which stay with their logs.

use crate::open_segments::OpenSegments;
use sluice_model::TopicPartition;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

/// The shared account of one shard's tails. Cheap to clone; clones are the same account.
#[derive(Clone, Debug)]
pub struct TailMemory {
    account: Rc<Account>,
}

#[derive(Debug)]
struct Account {
    budget_len: u64,
    used_len: Cell<u64>,
    clean_len: Cell<u64>,
    /// One entry per clean chunk, oldest first; entries of logs that are gone are skipped by whoever evicts.
    clean: RefCell<VecDeque<TopicPartition>>,
    /// The files and indexes that the shard's readers share.
    open_segments: Rc<OpenSegments>,
}

impl TailMemory {
    #[must_use]
    pub fn new(budget_len: u64) -> Self {
        let account = Account {
            budget_len,
            used_len: Cell::new(0),
            clean_len: Cell::new(0),
            clean: RefCell::new(VecDeque::new()),
            open_segments: Rc::default(),
        };
        Self { account: Rc::new(account) }
    }

    #[must_use]
    pub fn budget_len(&self) -> u64 {
        self.account.budget_len
    }

    /// Bytes that all tails of the shard hold, written back or not, unused ends of chunks included.
    #[must_use]
    pub fn used_len(&self) -> u64 {
        self.account.used_len.get()
    }

    /// Bytes of `used_len` that may be evicted.
    #[must_use]
    pub fn clean_len(&self) -> u64 {
        self.account.clean_len.get()
    }

    /// Bytes by which the tails exceed the budget.
    #[must_use]
    pub fn excess_len(&self) -> u64 {
        self.used_len().saturating_sub(self.budget_len())
    }

    /// Takes the oldest clean chunk's partition from the queue: the caller has its log evict one chunk
    /// (`Log::evict_oldest_clean`), or goes on with the next when it has no such log any more.
    #[must_use]
    pub fn next_eviction(&self) -> Option<TopicPartition> {
        self.account.clean.borrow_mut().pop_front()
    }

    pub(crate) fn open_segments(&self) -> &Rc<OpenSegments> {
        &self.account.open_segments
    }

    pub(crate) fn on_allocated(&self, len: u64) {
        self.account.used_len.set(self.used_len() + len);
    }

    pub(crate) fn on_clean(&self, id: TopicPartition, len: u64) {
        self.account.clean_len.set(self.clean_len() + len);
        self.account.clean.borrow_mut().push_back(id);
    }

    pub(crate) fn on_evicted(&self, len: u64) {
        self.on_freed(len, len);
    }

    /// A tail of `len` bytes, `clean_len` of them clean, is gone.
    pub(crate) fn on_freed(&self, len: u64, clean_len: u64) {
        self.account.used_len.set(self.used_len() - len);
        self.account.clean_len.set(self.clean_len() - clean_len);
    }
}
