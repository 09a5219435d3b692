//! What a consumer holds: a cursor for each partition, what was fetched and not yet taken, and how much of each shard's
//! share that is.
//!
//! The expensive mistake is to count bytes that are gone, or not to count those that are there: the one stops a shard
//! for ever, the other lets memory grow without bound. All counting of `used` for what is ready is done here.

use super::cursor::{Arrival, Cursor};
use super::prefetch::Prefetch;
use crate::address::Address;
use crate::config::ConsumerConfig;
use crate::refreshing::Refreshing;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Something for the application.
pub(super) struct Ready {
    pub(super) cursor: usize,
    pub(super) generation: u64,
    pub(super) arrival: Arrival,
    /// Bytes it holds of its shard's share.
    len: usize,
    address: Option<Address>,
    /// When it came.
    since_ms: u64,
}

pub(super) struct State {
    pub(super) cursors: Vec<Cursor>,
    ready: VecDeque<Ready>,
    /// Bytes on the wire and waiting for `poll`, by shard.
    pub(super) used: BTreeMap<Address, usize>,
    pub(super) connecting: BTreeSet<Address>,
    pub(super) refreshing: BTreeMap<Arc<str>, Refreshing>,
    /// Counts fetches that brought something.
    pub(super) servings: u64,
    pub(super) prefetch: Prefetch,
    pub(super) closed: bool,
}

impl State {
    pub(super) fn new(config: &ConsumerConfig) -> Self {
        Self {
            cursors: Vec::new(),
            ready: VecDeque::new(),
            used: BTreeMap::new(),
            connecting: BTreeSet::new(),
            refreshing: BTreeMap::new(),
            servings: 0,
            prefetch: Prefetch::new(config),
            closed: false,
        }
    }

    /// The next thing for the application that no seek has made void and no pause holds back.
    pub(super) fn take_ready(&mut self, now_ms: u64) -> Option<Ready> {
        let mut index = 0;
        while let Some(ready) = self.ready.get(index) {
            let cursor = self.cursors.get(ready.cursor).filter(|c| c.generation == ready.generation);
            let is_current = cursor.is_some();
            if cursor.is_some_and(|c| c.paused) {
                index += 1;
                continue;
            }
            let ready = self.ready.remove(index)?;
            self.release(&ready);
            if is_current {
                self.prefetch.on_taken(now_ms, now_ms.saturating_sub(ready.since_ms));
                return Some(ready);
            }
        }
        self.prefetch.on_empty();
        None
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Puts back what was taken and is not used up; it comes next again.
    pub(super) fn give_back(&mut self, ready: Ready) {
        if let Some(address) = &ready.address {
            *self.used.entry(address.clone()).or_default() += ready.len;
        }
        self.ready.push_front(ready);
    }

    /// Throws away what paused partitions hold of a shard's share; they fetch it again when they are resumed.
    pub(super) fn discard_paused(&mut self, address: &Address) {
        for ready in self.ready.iter().filter(|ready| ready.len > 0 && ready.address.as_ref() == Some(address)) {
            let cursor = self.cursors.get_mut(ready.cursor).filter(|c| c.paused && c.generation == ready.generation);
            if let Some(cursor) = cursor {
                cursor.seek(cursor.position);
            }
        }
        let is_current = |ready: &Ready| self.cursors.get(ready.cursor).is_some_and(|c| c.generation == ready.generation);
        let (current, void): (Vec<Ready>, Vec<Ready>) = std::mem::take(&mut self.ready).into_iter().partition(is_current);
        self.ready = current.into();
        void.iter().for_each(|ready| self.release(ready));
    }

    fn release(&mut self, ready: &Ready) {
        if let Some(used) = ready.address.as_ref().and_then(|address| self.used.get_mut(address)) {
            *used -= ready.len;
        }
    }

    /// Drops everything and begins with other cursors. Generations go on, so that old answers find nobody.
    pub(super) fn replace(&mut self, cursors: Vec<Cursor>) {
        self.cursors = cursors;
        for ready in std::mem::take(&mut self.ready) {
            self.release(&ready);
        }
    }

    pub(super) fn push(&mut self, now_ms: u64, cursor: usize, arrival: Arrival, address: Option<&Address>) {
        let len = match &arrival {
            Arrival::Frame { bytes, .. } => bytes.len(),
            Arrival::Skipped { .. } | Arrival::Stopped(_) => 0,
        };
        if let Some(address) = address {
            *self.used.entry(address.clone()).or_default() += len;
        }
        let generation = self.cursors[cursor].generation;
        self.ready.push_back(Ready { cursor, generation, arrival, len, address: address.cloned(), since_ms: now_ms });
    }
}
