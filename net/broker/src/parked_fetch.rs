//! Fetches that found too little and wait: until a partition of theirs has more, or their time is up.

use crate::answer::ReplyTo;
use crate::slab::{Key, Slab};
use sluice_model::TopicPartition;
use sluice_protocol::FetchPartition;
use std::collections::BTreeSet;

/// One fetch, as it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FetchWork {
    pub(crate) to: ReplyTo,
    pub(crate) began_us: u64,
    /// Answered then with whatever there is.
    pub(crate) wait_until_us: u64,
    pub(crate) len_min: usize,
    pub(crate) len_max: usize,
    /// The partition that is served first.
    pub(crate) first: usize,
    pub(crate) partitions: Vec<FetchPartition>,
}

#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) work: FetchWork,
    /// What it watches.
    pub(crate) ids: Vec<TopicPartition>,
}

pub(crate) struct ParkedFetches {
    slab: Slab<Parked>,
    deadlines: BTreeSet<(u64, u64)>,
}

impl ParkedFetches {
    pub(crate) fn new() -> Self {
        Self { slab: Slab::new(), deadlines: BTreeSet::new() }
    }

    pub(crate) fn insert(&mut self, parked: Parked) -> Key {
        let until_us = parked.work.wait_until_us;
        let key = self.slab.insert(parked);
        self.deadlines.insert((until_us, key.to_u64()));
        key
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<Parked> {
        let parked = self.slab.remove(key)?;
        self.deadlines.remove(&(parked.work.wait_until_us, key.to_u64()));
        Some(parked)
    }

    /// `u64::MAX` when none is parked.
    pub(crate) fn next_deadline_us(&self) -> u64 {
        self.deadlines.first().map_or(u64::MAX, |&(until_us, _)| until_us)
    }

    /// One whose time is up.
    pub(crate) fn next_due(&self, now_us: u64) -> Option<Key> {
        self.deadlines.first().filter(|&&(until_us, _)| until_us <= now_us).map(|&(_, key)| Key::from_u64(key))
    }
}
