//! Cutting a log off below its end: where the last frame that stays ends, and what the log then remembers.
//!
//! Plan and run only read (and reserve the space of a footer), so that a truncation that cannot be made has changed
//! nothing; [`Log::truncate`] changes memory alone, and `segment_cut` the files. In that order: write everything
//! back and flush it, [`Log::plan_truncate`], run, the journal's `Truncate` entry, [`Log::truncate`], and, once the
//! entry is durable, the same entry again, [`Log::on_truncation_repeated`], and, once that one is durable,
//! [`Log::plan_cut`], run, [`Log::on_cut`]. Whoever does it holds off every other write-back, flush and checkpoint of
//! the log meanwhile, and every append from the plan on.
//!
//! Twice, in two groups, because nothing else knows of the cut until checkpoints do: were it in one, rot of that one would
//! bring back what was cut off, and refuse what was acknowledged since. A start that finds either carries it out; between
//! the two stands no entry of this log, so that the second one changes nothing.
//!
//! The expensive mistake is to cut off more than was asked for: where the walk meets damage below the cut, what an
//! index vouches for behind it stays, and what nothing vouches for is quarantined, not forgotten. Deliberately
//! absent: who decides where to cut, and whether anything acknowledged lies above.

use crate::active_segment::FRAMES_START;
use crate::checkpoint::{RecoveryPoint, SealedSegmentInfo};
use crate::commit_group::JournalEntry;
use crate::damage::DamagedRange;
use crate::disk::{Disk, DiskFile};
use crate::entry_address::EntryAddress;
use crate::frame_reader::Reading;
use crate::frame_walk::{WalkError, WalkRange, undamaged};
use crate::held_state::HeldState;
use crate::layout::segment_file;
use crate::log::Log;
use crate::read_plan::walk_range;
use crate::read_turns::Turns;
use crate::sealed_segment::{SealedSegment, SegmentExtent, SegmentFile, linked};
use crate::segment_cut::{PendingCut, SegmentCut};
use crate::segment_format::{SegmentEnd, SegmentFooter, SegmentHeader, block_up};
use crate::tail::Tail;
use crate::truncation_walk::{ThroughSegment, Walked, active_extent, add_remembered, through_active};
use sluice_model::{LeaderEpochHistory, Offset, ProducerTable, TopicPartition};
use std::io;
use std::rc::Rc;

/// Bytes read at a time.
const WINDOW_LEN: usize = 256 * 1024;

/// A truncation that was asked for. Owns everything it needs.
pub struct TruncatePlan<D: Disk> {
    end_offset: Offset,
    log_end: Offset,
    /// Sealed segments that stay whole, oldest first.
    whole: Vec<(Rc<SegmentFile<D>>, SegmentExtent)>,
    /// The segment that the cut goes through.
    through: Option<ThroughSegment<D>>,
    /// The first segment behind a cut that goes through none, and what precedes its first frame where that is known.
    behind: Option<(Rc<SegmentFile<D>>, SegmentExtent, Option<u32>)>,
    epochs: LeaderEpochHistory,
    /// As of the log end.
    producers: ProducerTable,
    turns: Turns,
}

/// How a log ends once it is truncated; to be given to [`Log::truncate`].
pub struct Truncation {
    log_end: Offset,
    end_offset: Offset,
    last_header_crc: u32,
    epochs: LeaderEpochHistory,
    producers: ProducerTable,
    cut: Option<SegmentCut>,
    /// Segments from this base offset on go.
    remove_from: Offset,
    lost: Vec<DamagedRange>,
}

impl Truncation {
    /// Where the log will end: the boundary between two frames at or below what was asked for.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        self.end_offset
    }

    /// `header_crc` of the last frame, which the next one follows.
    pub(crate) fn last_header_crc(&self) -> u32 {
        self.last_header_crc
    }

    /// What the journal has to hold before any file is cut.
    #[must_use]
    pub fn journal_entry(&self, id: TopicPartition) -> JournalEntry<'static> {
        JournalEntry::Truncate { id, end_offset: self.end_offset, last_header_crc: self.last_header_crc }
    }

    /// A journal says where the log ended, and what the last frame was: a file that was cut before a crash may not, nor may
    /// one in which a batch cannot be read that the cut went through. What is missing below that end is damage.
    pub(crate) fn set_end(&mut self, end_offset: Offset, last_header_crc: u32) {
        assert!(self.end_offset <= end_offset && end_offset <= self.log_end, "{} then {end_offset}", self.end_offset);
        if self.end_offset < end_offset {
            self.lost.push(DamagedRange { from: self.end_offset, until: end_offset });
        }
        self.end_offset = end_offset;
        self.last_header_crc = last_header_crc;
    }

    /// Epochs and producers of the log as it will be.
    #[must_use]
    pub fn tables(&self) -> (&LeaderEpochHistory, &ProducerTable) {
        (&self.epochs, &self.producers)
    }
}

impl<D: Disk> Log<D> {
    /// Plans to end the log at the frame boundary at or below `end_offset`, which is at most the log end. All of
    /// the log is in segments and flushed.
    #[must_use]
    pub fn plan_truncate(&self, end_offset: Offset) -> TruncatePlan<D> {
        self.assert_settled();
        assert!(end_offset <= self.log_end, "{} ends at {}, below a cut at {end_offset}", self.id(), self.log_end);
        let whole = self.sealed.iter().take_while(|segment| segment.info.next_offset <= end_offset);
        let whole: Vec<_> = whole.map(|segment| (segment.file.clone(), segment.extent())).collect();
        let active = self.open.front().expect("a log has an active segment");
        let (mut through, mut behind) = (None, None);
        match self.sealed.get(whole.len()) {
            Some(segment) if segment.info.base_offset < end_offset => {
                through = Some(ThroughSegment { file: segment.file.clone(), extent: segment.extent(), open: None });
            }
            Some(segment) => behind = Some((segment.file.clone(), segment.extent(), None)),
            None if active.base_offset < end_offset && !active.is_empty() => through = Some(through_active(active)),
            // Of a segment that was restored, only its header says what precedes its first frame.
            None => {
                let known = active.restored.is_none().then_some(active.prev_header_crc);
                behind = Some((active.file.clone(), active_extent(active), known));
            }
        }
        let mut epochs = self.held.epochs().clone();
        epochs.truncate(end_offset);
        let producers = self.held.producers().clone();
        TruncatePlan { end_offset, log_end: self.log_end, whole, through, behind, epochs, producers, turns: Turns::UNPACED }
    }

    /// Ends the log where `truncation` says, in memory; `address` is that of the journal's entry. Readers stop
    /// there, reads under way end as [`crate::read_plan::DiskReadError::Removed`], and a new segment begins.
    pub fn truncate(&mut self, truncation: Truncation, address: EntryAddress) {
        self.assert_settled();
        let Truncation { log_end, end_offset, last_header_crc, epochs, producers, cut, remove_from, lost } = truncation;
        assert!(
            log_end == self.log_end,
            "{} ended at {log_end} when its truncation was planned, and at {} now",
            self.id(),
            self.log_end
        );
        assert!(self.log_start <= end_offset, "{} begins at {}, above its end at {end_offset}", self.id(), self.log_start);
        let kept = self.sealed.partition_point(|segment| segment.info.base_offset < remove_from);
        for segment in self.sealed.range(kept..) {
            segment.file.set_truncated();
        }
        self.sealed.truncate(kept);
        for segment in self.open.drain(..) {
            segment.file.set_truncated();
        }
        if let Some(cut) = &cut {
            if let Some(segment) = self.sealed.pop_back_if(|segment| segment.info.base_offset == cut.info.base_offset) {
                segment.file.set_truncated();
            }
            let file = SegmentFile::new(&self.disk, &self.dir, self.id(), cut.info.base_offset, self.memory.open_segments());
            file.set_follows(linked(cut.info.base_offset, self.sealed.back().map(|before| &before.info)));
            self.sealed.push_back(SealedSegment { info: cut.info, file, unflushed: None });
        }
        self.open_segment(end_offset, last_header_crc);
        // Everything in it is on disk, below the cut too.
        self.tail = Tail::new(self.id(), self.memory.clone());
        let first_removed = segment_file(&self.dir, remove_from);
        self.removable.retain(|path| *path < first_removed);
        self.damage.truncate(end_offset);
        // What was accepted below the log start is forgotten, and nobody's concern any more.
        let start = self.log_start;
        lost.into_iter().for_each(|range| self.quarantine(DamagedRange { from: range.from.max(start), until: range.until }));
        let point = RecoveryPoint {
            offset: end_offset,
            segment_base: end_offset,
            next_frame_position: 0,
            position: 0,
            held: address,
            prev_header_crc: last_header_crc,
        };
        self.held = HeldState::new(point, epochs, producers);
        self.set_end(end_offset, last_header_crc);
        self.dir_changes_flushed = self.dir_changes;
        self.cut = Some(PendingCut { address, remove_from, cut });
    }

    fn assert_settled(&self) {
        let flushed =
            self.open.front().is_some_and(|segment| !segment.ended && segment.write_count == segment.flushed_write_count);
        let settled = self.open.len() == 1
            && flushed
            && self.tail.unwritten_len() == 0
            && self.sealed.iter().all(|segment| segment.unflushed.is_none())
            && self.held.point().offset == self.log_end
            && self.cut.is_none();
        assert!(settled, "the log of {} is written back and flushed, and no cut is open, before it is truncated", self.id());
    }
}

impl<D: Disk> TruncatePlan<D> {
    /// [`Self::run`], with each window of a segment read in a turn of its own: a walk may be that of a whole segment.
    pub async fn run_in_turns(mut self, turns: &Turns) -> io::Result<Truncation> {
        self.turns = turns.clone();
        self.run().await
    }

    /// Finds the boundary and the tables as of it. Fails with `StorageFull`, and nothing changed, when there is no
    /// room for the footer of the segment that is cut.
    pub async fn run(mut self) -> io::Result<Truncation> {
        let stands = std::mem::take(&mut self.producers);
        let mut producers = self.producers_below().await?;
        let Some(through) = self.through.take() else {
            let last_header_crc = self.crc_between().await?;
            add_remembered(&mut producers, &stands, self.end_offset);
            let end_offset = self.end_offset;
            return Ok(self.truncation(end_offset, last_header_crc, producers, None));
        };
        let base_offset = through.file.base_offset;
        let walked = self.walk(&through, &mut producers).await?;
        // What cannot be proved up to the cut is quarantined; a log does not end inside it.
        let end_offset = walked.lost.last().map_or(walked.end_offset, |range| walked.end_offset.max(range.until));
        self.epochs.truncate(end_offset);
        add_remembered(&mut producers, &stands, end_offset);
        let cut =
            if walked.end_offset > base_offset { Some(self.plan_footer(&through, &walked, &producers).await?) } else { None };
        let last_header_crc = walked.last_header_crc;
        let mut truncation = self.truncation(end_offset, last_header_crc, producers, cut);
        truncation.remove_from = if truncation.cut.is_some() { base_offset.advanced(1) } else { base_offset };
        truncation.lost = walked.lost;
        Ok(truncation)
    }

    fn truncation(
        self,
        end_offset: Offset,
        last_header_crc: u32,
        producers: ProducerTable,
        cut: Option<SegmentCut>,
    ) -> Truncation {
        Truncation {
            log_end: self.log_end,
            end_offset,
            last_header_crc,
            epochs: self.epochs,
            producers,
            cut,
            remove_from: end_offset,
            lost: Vec::new(),
        }
    }

    /// Producers as of the end of the last segment that stays whole: from the newest footer that is good, and the
    /// frames of the segments behind it.
    async fn producers_below(&self) -> io::Result<ProducerTable> {
        let (mut producers, mut from) = (ProducerTable::default(), 0);
        for (at, (file, extent)) in self.whole.iter().enumerate().rev() {
            match file.footer(extent, &self.turns).await {
                Ok(footer) => {
                    (producers, from) = (footer.producers, at + 1);
                    break;
                }
                Err(WalkError::Damaged(_)) => {}
                Err(WalkError::Io(error)) => return Err(error),
            }
        }
        for (file, extent) in &self.whole[from..] {
            let segment = ThroughSegment { file: file.clone(), extent: *extent, open: None };
            self.walk(&segment, &mut producers).await?;
        }
        Ok(producers)
    }

    /// `header_crc` of the frame before a cut that goes through no segment.
    async fn crc_between(&self) -> io::Result<u32> {
        let before = self.whole.last().map(|(_, extent)| extent);
        let Some((file, extent, known)) = self.behind.as_ref().filter(|_| before.is_none_or(|b| b.end_offset != self.end_offset))
        else {
            return Ok(before.map_or(0, |extent| extent.last_header_crc));
        };
        if file.base_offset != self.end_offset {
            return Ok(before.map_or(0, |extent| extent.last_header_crc));
        }
        if let Some(known) = known {
            return Ok(*known);
        }
        let walk = match file.open(extent.end_offset).await {
            Ok(handle) => file.walk_from_start(&handle, extent, self.reading()).await,
            Err(error) => Err(error),
        };
        match walk {
            Ok(range) => Ok(range.prev_header_crc),
            Err(WalkError::Damaged(_)) => Ok(before.map_or(0, |extent| extent.last_header_crc)),
            Err(WalkError::Io(error)) => Err(error),
        }
    }

    /// Walks the headers of a segment up to the cut, and steps over damage to where an index knows a frame again.
    async fn walk(&self, segment: &ThroughSegment<D>, producers: &mut ProducerTable) -> io::Result<Walked> {
        let ThroughSegment { file, extent, .. } = segment;
        let end_offset = self.end_offset.min(extent.end_offset);
        let mut walked = Walked { end_offset: file.base_offset, end_position: FRAMES_START, ..Walked::default() };
        let mut start = match undamaged(self.start(segment).await)? {
            Some(start) => start,
            None => match self.resume(segment, 0, end_offset).await? {
                Some(start) => start,
                None => {
                    walked.lost.push(DamagedRange { from: file.base_offset, until: end_offset });
                    return Ok(walked);
                }
            },
        };
        let Some(handle) = undamaged(file.open(extent.end_offset).await)? else { return Ok(walked) };
        loop {
            start.end_offset = end_offset;
            walked.on_start(start);
            let mut reader = self.reading().reader(handle.clone(), start, Offset(u64::MAX), WINDOW_LEN);
            let damaged = walked.follow(&mut reader, end_offset, producers).await?;
            let Some(position) = damaged else { return Ok(walked) };
            let from = walked.end_offset;
            let Some(next) = self.resume(segment, position, end_offset).await? else {
                walked.lost.push(DamagedRange { from, until: end_offset });
                return Ok(walked);
            };
            walked.lost.push(DamagedRange { from, until: next.offset });
            start = next;
        }
    }

    fn reading(&self) -> Reading<'_> {
        Reading { turns: &self.turns, epochs: &self.epochs }
    }

    async fn start(&self, segment: &ThroughSegment<D>) -> Result<WalkRange, WalkError> {
        let handle = segment.file.open(segment.extent.end_offset).await?;
        segment.file.walk_from_start(&handle, &segment.extent, self.reading()).await
    }

    /// The first frame behind `position` that an index vouches for, when it is not above the cut.
    async fn resume(&self, segment: &ThroughSegment<D>, position: u64, end_offset: Offset) -> io::Result<Option<WalkRange>> {
        let Some(index) = segment.index(self.reading()).await? else { return Ok(None) };
        let entry = index.offsets.next_after(position).filter(|entry| entry.base_offset <= end_offset);
        Ok(entry.map(|entry| walk_range(&segment.file, &segment.extent, entry)))
    }

    /// The footer of the segment that is cut, with room made for it in the file.
    async fn plan_footer(
        &self,
        segment: &ThroughSegment<D>,
        walked: &Walked,
        producers: &ProducerTable,
    ) -> io::Result<SegmentCut> {
        let file = &segment.file;
        let mut index = walked.index.clone();
        if !walked.lost.is_empty() {
            // Nothing says when the frames were appended that cannot be read: as late as may be.
            index = index.without_times();
        }
        let mut epochs = self.epochs.clone();
        epochs.truncate(walked.end_offset);
        let end = SegmentEnd {
            header: SegmentHeader { id: file.id, base_offset: file.base_offset, prev_header_crc: 0 },
            next_offset: walked.end_offset,
            end_position: walked.end_position,
            footer_position: block_up(walked.end_position),
            last_header_crc: walked.last_header_crc,
        };
        let (footer, trailer) = SegmentFooter { index, epochs, producers: producers.clone() }.encode(&end);
        let info = SealedSegmentInfo::from_trailer(&trailer);
        let handle = undamaged(file.open(segment.extent.end_offset).await)?.ok_or(io::ErrorKind::NotFound)?;
        if handle.len().await? < info.file_len {
            handle.allocate(info.file_len).await?;
        }
        Ok(SegmentCut { path: file.path().to_owned(), footer_position: end.footer_position, footer: footer.into(), info })
    }
}

#[cfg(test)]
#[path = "truncation_test.rs"]
mod tests;
