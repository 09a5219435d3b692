//! Where a partition ends, for those who read it, and where its leader epochs ended.

use crate::partitions::Partitions;
use sluice_model::{Clock, LeaderEpoch, Offset, TopicPartition};
use sluice_replica::EndOffsetRefusal;
use sluice_storage::disk::Disk;
use std::fmt;

/// Why nobody is told where the partition ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndRefusal {
    UnknownPartition(TopicPartition),
    /// Another broker leads it, or nobody does.
    NotLeader(TopicPartition),
    /// The same question has an answer later.
    Rules(EndOffsetRefusal),
}

impl fmt::Display for EndRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPartition(id) => write!(f, "partition {id} is not on this shard"),
            Self::NotLeader(id) => write!(f, "this broker does not lead partition {id} now; ask for metadata again"),
            Self::Rules(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for EndRefusal {}

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// The end of what consumers may read: never less than anybody was told before, whoever led then (KIP-207).
    pub fn end_offset(&self, id: TopicPartition) -> Result<Offset, EndRefusal> {
        let cell = self.get(id).ok_or(EndRefusal::UnknownPartition(id))?;
        let partition = cell.borrow();
        partition.leader().ok_or(EndRefusal::NotLeader(id))?.end_offset().map_err(EndRefusal::Rules)
    }

    /// The greatest leader epoch that is not above `epoch`, and where it ended in this log: a consumer that has read beyond
    /// that has read what was taken back (KIP-320). `None` when this log has none as old.
    pub fn end_offset_for_epoch(
        &self,
        id: TopicPartition,
        epoch: LeaderEpoch,
    ) -> Result<Option<(LeaderEpoch, Offset)>, EndRefusal> {
        let cell = self.get(id).ok_or(EndRefusal::UnknownPartition(id))?;
        let partition = cell.borrow();
        Ok(partition.leader().ok_or(EndRefusal::NotLeader(id))?.end_offset_for_epoch(epoch))
    }
}
