//! The index of what stood in a segment before a restart, gathered once the segment has ended, for its footer.
//!
//! A restart leaves it unread, or it would take the longer the longer segments are. Plan (sync), run (async, borrows
//! nothing), report (sync), a bounded piece at a time, so that whoever seals the segment can pace them. The expensive
//! mistake is to read all of a segment in one go beside a produce, or to hold a sealing up: a footer may be written at
//! any time, with as much of the index as there is. Deliberately absent: pacing, and who waits for it.

use crate::disk::Disk;
use crate::frame_reader::Reading;
use crate::frame_walk::{WalkError, WalkRange};
use crate::log::Log;
use crate::read_turns::Turns;
use crate::sealed_segment::{SegmentExtent, SegmentFile};
use crate::segment_index::SegmentIndex;
use sluice_model::{LeaderEpochHistory, Offset};
use std::io;
use std::rc::Rc;

/// Bytes that one plan reads, but for the rest of the frame that it ends in.
pub const INDEX_PIECE_LEN: usize = 256 * 1024;

/// As much of the index as was gathered.
#[derive(Clone, Debug, Default)]
pub(crate) struct RestoredIndex {
    pub(crate) index: SegmentIndex,
    /// End of the last frame in it.
    pub(crate) end_position: u64,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, Default)]
enum Progress {
    #[default]
    NotBegun,
    At(WalkRange),
    /// Every frame is in it.
    Whole,
    /// What comes next cannot be proved good. Readers find out where it goes on.
    Damaged,
}

impl RestoredIndex {
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.progress, Progress::Whole)
    }

    fn is_over(&self) -> bool {
        matches!(self.progress, Progress::Whole | Progress::Damaged)
    }
}

/// One piece of the walk. Owns everything it needs.
pub struct IndexPlan<D: Disk> {
    file: Rc<SegmentFile<D>>,
    extent: SegmentExtent,
    /// Of the log, from the segment's first frame on.
    epochs: LeaderEpochHistory,
    gathered: RestoredIndex,
}

/// What a plan has brought; to be given to [`Log::on_indexed`].
pub struct Indexed {
    segment: Offset,
    gathered: RestoredIndex,
}

impl<D: Disk> Log<D> {
    /// The next piece to read before the oldest segment that is not sealed is, if its footer is to know of all its
    /// frames; `None` when it does, or cannot. One plan at a time per log.
    #[must_use]
    pub fn plan_index(&self) -> Option<IndexPlan<D>> {
        let front = self.open.front().filter(|front| front.ended && !front.restored_index.is_over())?;
        let extent = front.restored?;
        let epochs = self.held.epochs_from(front.base_offset);
        Some(IndexPlan { file: front.file.clone(), extent, epochs, gathered: front.restored_index.clone() })
    }

    /// Takes note of a plan that has run.
    pub fn on_indexed(&mut self, indexed: Indexed) {
        if let Some(front) = self.open.front_mut().filter(|front| front.base_offset == indexed.segment) {
            front.restored_index = indexed.gathered;
        }
    }
}

impl<D: Disk> IndexPlan<D> {
    /// Bytes it is about to read, for pacing.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a plan is never empty")]
    pub fn len(&self) -> usize {
        INDEX_PIECE_LEN
    }

    pub async fn run(self) -> io::Result<Indexed> {
        let Self { file, extent, epochs, mut gathered } = self;
        let reading = Reading { turns: &Turns::UNPACED, epochs: &epochs };
        gathered.gather(&file, &extent, reading).await?;
        Ok(Indexed { segment: file.base_offset, gathered })
    }
}

impl RestoredIndex {
    /// Goes on to the end at once, of a segment that is not long.
    pub(crate) async fn gather_all<D: Disk>(
        &mut self,
        file: &SegmentFile<D>,
        extent: &SegmentExtent,
        reading: Reading<'_>,
    ) -> io::Result<()> {
        while !self.is_over() {
            self.gather(file, extent, reading).await?;
        }
        Ok(())
    }

    async fn gather<D: Disk>(&mut self, file: &SegmentFile<D>, extent: &SegmentExtent, reading: Reading<'_>) -> io::Result<()> {
        self.progress = match self.go_on(file, extent, reading).await {
            Ok(progress) => progress,
            Err(WalkError::Damaged(_)) => Progress::Damaged,
            Err(WalkError::Io(error)) => return Err(error),
        };
        Ok(())
    }

    async fn go_on<D: Disk>(
        &mut self,
        file: &SegmentFile<D>,
        extent: &SegmentExtent,
        reading: Reading<'_>,
    ) -> Result<Progress, WalkError> {
        let handle = file.open(extent.end_offset).await?;
        let from = match self.progress {
            Progress::At(range) => range,
            Progress::NotBegun | Progress::Whole | Progress::Damaged => file.known_start(&handle, extent).await?,
        };
        // Headers are enough: each says how long its frame is.
        let mut reader = reading.reader(handle, from, extent.end_offset, INDEX_PIECE_LEN);
        while reader.walk().position() < from.position + INDEX_PIECE_LEN as u64 {
            let Some(frame) = reader.next().await? else {
                let is_proven = reader.walk().prev_header_crc() == extent.last_header_crc;
                return Ok(if is_proven { Progress::Whole } else { Progress::Damaged });
            };
            self.index.on_frame(frame.position, &frame.header);
            self.end_position = frame.position + frame.header.frame_len() as u64;
        }
        Ok(Progress::At(reader.walk().rest()))
    }
}

#[cfg(test)]
#[path = "restored_index_test.rs"]
mod tests;
