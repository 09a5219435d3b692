//! What the broker counts on one shard. Plain cells of one thread; a snapshot is a value that may cross threads.

use crate::connection::Overdue;
use crate::refusal_reason::RefusalCounters;
use crate::stages::Stages;
use std::cell::Cell;

#[derive(Debug, Default)]
pub(crate) struct Counter(Cell<u64>);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.set(self.0.get().wrapping_add(count));
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.get()
    }
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The peer ended it.
    Peer,
    /// It was refused for what it sent.
    Refused,
    /// Its client has opened another one.
    Fenced,
    /// No room to keep what it had sent.
    NoRoom,
    Overdue(Overdue),
    Stopping,
}

#[derive(Debug, Default)]
pub(crate) struct BrokerMetrics {
    pub(crate) connections_accepted: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) connections_closed: Counter,
    pub(crate) connections_overdue: Counter,
    pub(crate) requests: Counter,
    pub(crate) requests_without_room: Counter,
    pub(crate) refusals: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) batches_appended: Counter,
    pub(crate) batches_refused: Counter,
    /// Records and bytes of the frames appended.
    pub(crate) admitted_records: Counter,
    pub(crate) admitted_len: Counter,
    pub(crate) refused_for: RefusalCounters,
    pub(crate) fetches_parked: Counter,
    pub(crate) disk_reads: Counter,
    /// Bytes of frames in answers to fetches.
    pub(crate) fetched_memory_len: Counter,
    pub(crate) fetched_disk_len: Counter,
    /// Bytes of frames sent to followers, and copied from leaders.
    pub(crate) replica_sent_len: Counter,
    pub(crate) replica_copied_len: Counter,
    pub(crate) stages: Stages,
}

impl BrokerMetrics {
    pub(crate) fn closed(&self, reason: CloseReason) {
        self.connections_closed.add(1);
        if matches!(reason, CloseReason::Overdue(_)) {
            self.connections_overdue.add(1);
        }
    }

    pub(crate) fn snapshot(&self) -> BrokerCounters {
        BrokerCounters {
            connections_accepted: self.connections_accepted.get(),
            connections_refused: self.connections_refused.get(),
            connections_closed: self.connections_closed.get(),
            connections_overdue: self.connections_overdue.get(),
            requests: self.requests.get(),
            requests_without_room: self.requests_without_room.get(),
            refusals: self.refusals.get(),
            received_bytes: self.received_bytes.get(),
            sent_bytes: self.sent_bytes.get(),
            batches_appended: self.batches_appended.get(),
            batches_refused: self.batches_refused.get(),
            fetches_parked: self.fetches_parked.get(),
            disk_reads: self.disk_reads.get(),
        }
    }
}

/// A snapshot of one shard's counters since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerCounters {
    pub connections_accepted: u64,
    /// Over the limit, or for want of descriptors.
    pub connections_refused: u64,
    pub connections_closed: u64,
    /// Of those closed: for owing a request, taking no answers, or saying nothing.
    pub connections_overdue: u64,
    pub requests: u64,
    /// Refused before they were read, for want of room in the network budget.
    pub requests_without_room: u64,
    /// Answers that are refusals as a whole.
    pub refusals: u64,
    pub received_bytes: u64,
    pub sent_bytes: u64,
    pub batches_appended: u64,
    pub batches_refused: u64,
    pub fetches_parked: u64,
    pub disk_reads: u64,
}
