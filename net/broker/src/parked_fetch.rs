//! Fetches that found too little and wait: until a partition of theirs has more, or their time is up.

use crate::answer::ReplyTo;
use crate::slab::{Key, Slab};
use sluice_model::{PartitionIndex, TopicId, TopicPartition};
use sluice_protocol::FetchPartition;
use sluice_shard::Reservation;
use std::collections::BTreeSet;

/// Bytes of memory that one partition of a fetch takes while it is under way.
pub(crate) const FETCH_PARTITION_LEN: usize = 256;

/// One fetch, as it was asked.
#[derive(Debug)]
pub(crate) struct FetchWork {
    pub(crate) to: ReplyTo,
    /// Answered then with whatever there is.
    pub(crate) wait_until_us: u64,
    pub(crate) len_min: usize,
    pub(crate) len_max: usize,
    /// The partition that is served first.
    pub(crate) first: usize,
    pub(crate) partitions: Vec<FetchPartition>,
    /// The memory of the above and of the answer without its frames.
    pub(crate) reservation: Reservation,
}

impl FetchWork {
    pub(crate) fn ids(&self) -> Vec<TopicPartition> {
        self.partitions.iter().map(partition_id).collect()
    }
}

pub(crate) fn partition_id(entry: &FetchPartition) -> TopicPartition {
    TopicPartition { topic_id: TopicId(entry.topic_id), partition: PartitionIndex(entry.partition) }
}

pub(crate) struct ParkedFetches {
    slab: Slab<FetchWork>,
    deadlines: BTreeSet<(u64, u64)>,
}

impl ParkedFetches {
    pub(crate) fn new() -> Self {
        Self { slab: Slab::new(), deadlines: BTreeSet::new() }
    }

    pub(crate) fn insert(&mut self, work: FetchWork) -> Key {
        let until_us = work.wait_until_us;
        let key = self.slab.insert(work);
        self.deadlines.insert((until_us, key.to_u64()));
        key
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<FetchWork> {
        let work = self.slab.remove(key)?;
        self.deadlines.remove(&(work.wait_until_us, key.to_u64()));
        Some(work)
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
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
