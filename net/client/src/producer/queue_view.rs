//! What others may know of a partition's queue. Nothing here changes it.

use super::{ConnectionId, PartitionQueue, is_not_serving};
use sluice_model::limits::BATCHES_PER_PRODUCER;

impl<B> PartitionQueue<B> {
    /// When [`Self::on_tick`] has something to do.
    #[must_use]
    pub(crate) fn next_deadline_ms(&self) -> Option<u64> {
        self.entries.iter().find(|e| !e.is_settled()).map(|e| e.deadline_ms)
    }

    /// Nothing is sent before this time.
    #[must_use]
    pub(crate) fn not_before_ms(&self) -> u64 {
        self.not_before_ms
    }

    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[must_use]
    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Batches that were sent or wait to be.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Batches on the wire, and without outcome in all.
    pub(crate) fn in_flight_and_unsettled(&self) -> (usize, usize) {
        let unsettled = self.entries.iter().filter(|e| !e.is_settled());
        unsettled.fold((0, 0), |(on, all), e| (on + usize::from(e.in_flight.is_some()), all + 1))
    }

    /// The connection that has not answered for longest, and since when.
    #[must_use]
    pub(crate) fn longest_in_flight(&self) -> Option<(ConnectionId, u64)> {
        // Nothing further back is ever on the wire.
        let in_flight = self.entries.iter().take(BATCHES_PER_PRODUCER).filter_map(|e| e.in_flight);
        in_flight.min_by_key(|f| f.since_ms).map(|f| (f.on, f.since_ms))
    }

    /// The last answer was that the broker cannot serve the partition now: another one may lead it before the pause is over.
    #[must_use]
    pub(crate) fn waits_for_leader(&self) -> bool {
        let first = self.entries.iter().find(|e| !e.is_settled() && e.in_flight.is_none());
        first.and_then(|e| e.last_error.as_ref()).is_some_and(|last| is_not_serving(last.code))
    }

    /// There is a batch that [`Self::next_send`] would give out, were it late enough.
    #[must_use]
    pub(crate) fn has_sendable(&self) -> bool {
        self.producer_id.is_some() && self.next_index().is_some()
    }
}
