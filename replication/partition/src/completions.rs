//! What a shard's partitions have to tell its data task: answers to produces, and fetches that may go on.
//!
//! Plain queues with one wake-up: the data task takes everything that is there in one go.

use sluice_model::Offset;
use sluice_replica::Durability;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

/// The answer to one produce (or delete-records) by its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    pub token: u64,
    pub outcome: Completed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completed {
    /// `base_offset` is `None` for a duplicate too old for its offset to be known; `append_time_ms` is -1 for one.
    Produced {
        base_offset: Option<Offset>,
        append_time_ms: i64,
        log_start_offset: Offset,
        durability: Durability,
        times: CommitTimes,
    },
    RecordsDeleted {
        log_start_offset: Offset,
    },
    /// The partition went away before its condition held: written or not, nobody can say.
    PartitionRemoved,
    /// The end of the log was cut off before its condition held: nobody can say either.
    Truncated,
    /// Another leader epoch has begun elsewhere, or the broker has lost its lease, before its condition held: nobody can say
    /// either.
    LeadershipLost,
}

/// When what a produce waited for happened, microseconds by the shard's monotonic clock. For a duplicate whose first
/// copy was durable already, the first two lie before its own append.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitTimes {
    /// Its commit group went to the device,
    pub issued_us: u64,
    /// was durable here,
    pub durable_us: u64,
    /// and the condition of the produce held.
    pub committed_us: u64,
}

/// The queues of one shard. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Completions {
    inner: Rc<Inner>,
}

#[derive(Default)]
struct Inner {
    completed: RefCell<VecDeque<Completion>>,
    watched: RefCell<BTreeSet<u64>>,
    on_progress: RefCell<Option<Rc<dyn Fn()>>>,
    /// Whether the data task has been told since it last took something.
    told: Cell<bool>,
}

impl Completions {
    pub(crate) fn on_progress(&self, wake: Box<dyn Fn()>) {
        *self.inner.on_progress.borrow_mut() = Some(Rc::from(wake));
    }

    pub(crate) fn push(&self, completion: Completion) {
        self.inner.completed.borrow_mut().push_back(completion);
        self.tell();
    }

    pub(crate) fn push_watched(&self, tokens: impl IntoIterator<Item = u64>) {
        self.inner.watched.borrow_mut().extend(tokens);
        self.tell();
    }

    pub(crate) fn take_completed(&self, into: &mut Vec<Completion>) {
        self.inner.told.set(false);
        into.extend(self.inner.completed.borrow_mut().drain(..));
    }

    pub(crate) fn take_watched(&self, into: &mut Vec<u64>) {
        self.inner.told.set(false);
        into.extend(std::mem::take(&mut *self.inner.watched.borrow_mut()));
    }

    /// Whoever is told takes something now: the next change tells again.
    pub(crate) fn take_wake(&self) {
        self.inner.told.set(false);
    }

    pub(crate) fn tell(&self) {
        if self.inner.told.replace(true) {
            return;
        }
        let wake = self.inner.on_progress.borrow().clone();
        if let Some(wake) = wake {
            wake();
        }
    }
}
