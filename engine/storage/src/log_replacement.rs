//! A log is given up, all of it, and one without frames takes its place at a later offset.
//!
//! For a follower all of whose records its leader has deleted. In order: whatever the journal holds of the old log is
//! durable, [`Log::replace`] changes memory alone, checkpoints in both slots say so, and then the old files go
//! ([`Log::plan_removal`]). A crash before the first checkpoint leaves the old log, one after it the new one, with files
//! that nothing names, which a start sets aside. Whoever does it holds off every other write-back, flush and checkpoint of
//! the log meanwhile, and every append.
//!
//! The expensive mistake is an entry of the old log that a start replays into the new one: the new one's recovery point
//! names every entry so far as held. Deliberately absent: who decides that nobody needs the old one.

use crate::checkpoint::RecoveryPoint;
use crate::damaged_ranges::DamagedRanges;
use crate::disk::Disk;
use crate::entry_address::EntryAddress;
use crate::held_state::HeldState;
use crate::layout::{segment_base_offset, segment_file};
use crate::log::Log;
use crate::tail::Tail;
use sluice_model::{LeaderEpochHistory, Offset, ProducerTable};
use std::io;
use std::path::PathBuf;

/// Where a log without frames begins.
#[derive(Clone, Debug)]
pub struct LogStart {
    pub offset: Offset,
    /// `header_crc` of the frame before it, which the first one is chained to; 0 for none.
    pub prev_header_crc: u32,
    /// As of `offset`.
    pub epochs: LeaderEpochHistory,
    /// As of `offset`.
    pub producers: ProducerTable,
}

/// Files of a log that was replaced. Owns everything it needs.
pub struct RemovalPlan<D: Disk> {
    disk: D,
    dir: PathBuf,
}

impl<D: Disk> Log<D> {
    /// Nothing of the old log is left in memory. `durable_sequence` is that of a journal group: this one and those before
    /// it, all durable, hold all entries there are of this log.
    pub fn replace(&mut self, start: LogStart, durable_sequence: u64) {
        self.assert_not_cutting();
        let LogStart { offset, prev_header_crc, epochs, producers } = start;
        let held = EntryAddress { sequence: durable_sequence, index: u32::MAX };
        assert!(self.held.point().held <= held, "{}: group {durable_sequence} is older than what is held", self.id());
        for segment in self.sealed.drain(..) {
            segment.file.set_truncated();
        }
        for segment in self.open.drain(..) {
            segment.file.set_truncated();
        }
        self.tail = Tail::new(self.id(), self.memory.clone());
        self.removable.clear();
        self.damage = DamagedRanges::default();
        self.open_segment(offset, prev_header_crc);
        let point = RecoveryPoint { offset, segment_base: offset, next_frame_position: 0, position: 0, held, prev_header_crc };
        self.held = HeldState::new(point, epochs, producers);
        self.log_start = offset;
        self.set_end(offset, prev_header_crc);
        self.dir_changes_flushed = self.dir_changes;
    }

    /// What is on disk of a log that was replaced, once checkpoints do not name it any more and before anything is
    /// appended to the new one.
    #[must_use]
    pub fn plan_removal(&self) -> RemovalPlan<D> {
        RemovalPlan { disk: self.disk.clone(), dir: self.dir.clone() }
    }
}

impl<D: Disk> RemovalPlan<D> {
    /// Removes every segment in the folder, durably. An error ends the process, or is one that the same again gets over.
    pub async fn run(self) -> io::Result<()> {
        let entries = match self.disk.read_dir(&self.dir).await {
            // Nothing of this log was ever written.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for base_offset in entries.iter().filter_map(|entry| segment_base_offset(&entry.name)) {
            match self.disk.remove_file(&segment_file(&self.dir, base_offset)).await {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        self.disk.sync_dir(&self.dir).await
    }
}
