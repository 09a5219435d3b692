//! What a recovery found and did, for the log, the operator and the election. Values only.

use crate::damage::DamagedRange;
use sluice_model::{Offset, ShardIndex, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

/// Groups of which not even a header is left, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostGroups {
    pub first_sequence: u64,
    pub last_sequence: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    pub shard: ShardIndex,
    /// There was no shard, and one was made.
    pub created: bool,
    /// No slot held a good checkpoint: what is known comes from segments and journal. Deleted records may be back, up
    /// to whole segments of them.
    pub rebuilt: bool,
    /// Nor was the spare good, or it did not count: no log's end is vouched for, and each is possibly short from there.
    pub spare_lost: bool,
    /// Checkpoint slots that hold something that is no checkpoint: one that was being written, or rot,
    /// or that the device does not give back.
    pub checkpoint_slots_bad: u32,
    /// The greatest incarnation number of the groups that the ring held before. `None` when it held none: it is new. 0 when
    /// it has lost those that it held.
    pub ring_incarnation_number: Option<u64>,
    pub groups_read: u64,
    /// Entries put into logs, and the bytes of their frames.
    pub entries_replayed: u64,
    pub bytes_replayed: u64,
    /// A group that was begun and not whole was cut off. A replica that cut one comes last in an election.
    pub torn_group_cut: bool,
    /// The last group was an idle marker: nothing was cut, not even something that left no trace.
    pub ends_marked: bool,
    /// Sequences of groups that may have been acknowledged and whose checksum failed; what proved itself was replayed.
    pub damaged_groups: Vec<u64>,
    /// Groups that may have been acknowledged and of which nothing is left.
    pub lost_groups: Vec<LostGroups>,
    /// Per partition, what is not served: found now or remembered, and not accepted as lost.
    pub damaged: BTreeMap<TopicPartition, Vec<DamagedRange>>,
    /// Partitions of which lost groups may have held records, now or at an earlier start, and the lowest offset from
    /// which those may be missing.
    pub possibly_short: BTreeMap<TopicPartition, Offset>,
    /// Partitions that the journal names and no checkpoint does; they were recovered from their entries.
    pub unknown: BTreeSet<TopicPartition>,
    /// Entries of partitions that are deleted or belong to another shard, by partition.
    pub skipped: BTreeMap<TopicPartition, u64>,
    /// Entries that do not fit where their partition's log ended: not applied.
    pub out_of_place: u64,
    /// Frames that a later truncation of their log cut off again: not applied, and nothing is missing.
    pub entries_truncated: u64,
    /// Where files were moved to that nothing names.
    pub set_aside: Vec<PathBuf>,
}

impl RecoveryReport {
    pub(crate) fn new(shard: ShardIndex) -> Self {
        Self { shard, ..Self::default() }
    }

    /// Whether nothing that may have been acknowledged is missing or in doubt, and no deletion undone.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.damaged_groups.is_empty()
            && self.lost_groups.is_empty()
            && self.damaged.is_empty()
            && self.possibly_short.is_empty()
            && self.out_of_place == 0
            && !self.rebuilt
    }
}

/// How many of a kind one line names; the fields have them all.
const NAMED_MAX: usize = 10;

fn write_rest(f: &mut fmt::Formatter<'_>, count: usize, what: &str) -> fmt::Result {
    if count > NAMED_MAX { write!(f, "; and {} more {what}", count - NAMED_MAX) } else { Ok(()) }
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.created {
            return write!(f, "shard {} is new", self.shard);
        }
        write!(
            f,
            "shard {}: {} entries ({} bytes) replayed from {} journal groups",
            self.shard, self.entries_replayed, self.bytes_replayed, self.groups_read
        )?;
        if self.rebuilt {
            write!(
                f,
                "; rebuilt from segments and journal, because both checkpoint slots were lost: deleted records may be back"
            )?;
        }
        if self.spare_lost {
            write!(f, "; their spare was lost too, so that nothing vouches for where any partition ends")?;
        }
        if self.torn_group_cut {
            write!(f, "; a torn group was cut off")?;
        }
        if self.checkpoint_slots_bad > 0 && !self.rebuilt {
            write!(f, "; one checkpoint slot was unusable")?;
        }
        for group in self.damaged_groups.iter().take(NAMED_MAX) {
            write!(f, "; journal group {group} is damaged")?;
        }
        write_rest(f, self.damaged_groups.len(), "damaged journal groups")?;
        for LostGroups { first_sequence, last_sequence } in self.lost_groups.iter().take(NAMED_MAX) {
            write!(f, "; journal groups {first_sequence} to {last_sequence} are lost")?;
        }
        write_rest(f, self.lost_groups.len(), "runs of lost journal groups")?;
        let damaged = self.damaged.iter().flat_map(|(id, ranges)| ranges.iter().map(move |range| (id, range)));
        for (id, DamagedRange { from, until }) in damaged.clone().take(NAMED_MAX) {
            write!(f, "; partition {id}: offsets {from} up to {until} are not served")?;
        }
        write_rest(f, damaged.count(), "damaged ranges")?;
        for (id, offset) in self.possibly_short.iter().take(NAMED_MAX) {
            write!(f, "; partition {id} may have lost records from offset {offset} on")?;
        }
        write_rest(f, self.possibly_short.len(), "partitions that may be short")?;
        for id in self.unknown.iter().take(NAMED_MAX) {
            write!(f, "; partition {id} was in no checkpoint")?;
        }
        write_rest(f, self.unknown.len(), "partitions that were in no checkpoint")?;
        if self.out_of_place > 0 {
            write!(f, "; {} entries fit nowhere", self.out_of_place)?;
        }
        if self.entries_truncated > 0 {
            write!(f, "; {} entries had been truncated", self.entries_truncated)?;
        }
        for path in self.set_aside.iter().take(NAMED_MAX) {
            write!(f, "; set aside {}", path.display())?;
        }
        write_rest(f, self.set_aside.len(), "files set aside")?;
        Ok(())
    }
}
