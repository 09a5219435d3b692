//! One batch in a partition's queue: what is known of it.
//!
//! The expensive mistake is to end a doubt by the word of somebody who does not know of every copy.

use super::queue_event::{ConnectionId, LastError, Peer};
use sluice_model::Sequence;

#[derive(Debug)]
pub(super) struct Entry<B> {
    /// `None` once settled: the place still counts for the window.
    pub(super) batch: Option<B>,
    pub(super) record_count: u32,
    pub(super) deadline_ms: u64,
    pub(super) in_flight: Option<InFlight>,
    pub(super) sequence: Option<Sequence>,
    /// May be written, by a copy that is not on the wire.
    pub(super) doubt: Doubt,
    pub(super) last_error: Option<LastError>,
}

/// A batch on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) on: ConnectionId,
    /// Counts the queue's sendings.
    pub(super) sending: u64,
    pub(super) since_ms: u64,
}

impl<B> Entry<B> {
    pub(super) fn is_settled(&self) -> bool {
        self.batch.is_none()
    }

    /// Has a place in the epoch, is not on the wire, and may be written.
    pub(super) fn is_in_doubt(&self) -> bool {
        !self.is_settled() && self.in_flight.is_none() && self.doubt.is_some()
    }

    /// Whatever is on the wire may be written.
    pub(super) fn leave_wire_in_doubt(&mut self) {
        if let Some(in_flight) = self.in_flight.take() {
            self.doubt.add(in_flight.on.peer);
        }
    }
}

/// Whether a copy of a batch may be written that no answer has spoken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Certainly not.
    #[default]
    None,
    /// Copies that only this peer had.
    At(Peer),
    /// Copies that several peers had.
    Several,
}

impl Doubt {
    pub(super) fn is_some(self) -> bool {
        self != Self::None
    }

    /// A copy that `peer` had is lost, or nobody knows what became of it.
    pub(super) fn add(&mut self, peer: Peer) {
        *self = match *self {
            Self::None => Self::At(peer),
            Self::At(other) if other == peer => Self::At(peer),
            Self::At(_) | Self::Several => Self::Several,
        };
    }

    /// The sequence check of `peer` says that the batch is not written. That ends the doubt only if nobody else had a copy:
    /// one in the log or the receive buffer of an earlier leader may yet be written, should that one lead again.
    pub(super) fn on_not_written_at(&mut self, peer: Peer) {
        if *self == Self::At(peer) {
            *self = Self::None;
        }
    }
}
