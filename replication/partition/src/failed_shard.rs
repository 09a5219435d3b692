//! A shard that has failed writes nothing more, on any path.
//!
//! After a flush that failed, the next one may succeed without the device ever having had the bytes, and a checkpoint
//! after it would let go of the journal's copy of them. The expensive mistake is to trust that the process ends before
//! anybody asks for that: a stop, a deletion or a scrub may be waiting for its turn at that very moment. Deliberately
//! absent: ending the process, which the machine does, and the journal, which refuses by itself after its own failures.

use crate::partitions::Partitions;
use crate::refusal::Failure;
use sluice_model::Clock;
use sluice_storage::disk::Disk;

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// Notes that the shard cannot go on; whoever waits for its journal is told.
    pub(crate) fn fail(&self, failure: Failure) -> Failure {
        self.shared.failed.set(true);
        self.shared.group_durable_event.notify(usize::MAX);
        failure
    }

    /// Asked before anything is written, flushed, checkpointed or removed.
    pub(crate) fn refuse_failed(&self) -> Result<(), Failure> {
        if self.shared.failed.get() { Err(Failure::Earlier) } else { Ok(()) }
    }
}
