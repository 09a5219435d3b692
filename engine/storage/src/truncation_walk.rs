//! The segment that a truncation goes through, and what of its frames stays.
//!
//! The expensive mistake is to forget a producer's batch that stays: a duplicate of it would be appended again.
//! Deliberately absent: where the walk goes on behind damage (`truncation`).

use crate::active_segment::ActiveSegment;
use crate::damage::DamagedRange;
use crate::disk::{Disk, DiskFile};
use crate::frame_reader::{FrameReader, Reading};
use crate::frame_walk::{WalkError, WalkRange, undamaged};
use crate::sealed_segment::{SegmentExtent, SegmentFile};
use crate::segment_index::SegmentIndex;
use sluice_model::limits::BATCHES_PER_PRODUCER;
use sluice_model::{Offset, ProducerEntry, ProducerTable};
use std::io;
use std::rc::Rc;

pub(crate) struct ThroughSegment<D: Disk> {
    pub(crate) file: Rc<SegmentFile<D>>,
    pub(crate) extent: SegmentExtent,
    /// Of a segment that is not sealed: the index of its newer part, and how much is before that.
    pub(crate) open: Option<(Option<SegmentExtent>, SegmentIndex)>,
}

pub(crate) fn active_extent<D: Disk>(segment: &ActiveSegment<D>) -> SegmentExtent {
    SegmentExtent {
        end_position: segment.end_position(),
        end_offset: segment.next_offset,
        last_header_crc: segment.last_header_crc,
        footer_end: None,
    }
}

pub(crate) fn through_active<D: Disk>(segment: &ActiveSegment<D>) -> ThroughSegment<D> {
    ThroughSegment {
        file: segment.file.clone(),
        extent: active_extent(segment),
        open: Some((segment.restored, segment.index.clone())),
    }
}

/// Where the frames of a segment that is cut end, and what they are.
#[derive(Default)]
pub(crate) struct Walked {
    pub(crate) end_offset: Offset,
    /// End of the last frame that stays.
    pub(crate) end_position: u64,
    pub(crate) last_header_crc: u32,
    pub(crate) index: SegmentIndex,
    /// Below the cut, not to be proved good. One that reaches `end_offset` of the log means that the boundary is not known.
    pub(crate) lost: Vec<DamagedRange>,
}

impl<D: Disk> ThroughSegment<D> {
    /// What is known of its frames' positions; `None` when that is damaged too.
    pub(crate) async fn index(&self, reading: Reading<'_>) -> io::Result<Option<SegmentIndex>> {
        let Some((before, newer)) = &self.open else {
            return Ok(undamaged(self.file.whole_index(&self.extent, reading).await)?.map(|index| index.as_ref().clone()));
        };
        let Some(before) = before else { return Ok(Some(newer.clone())) };
        let before = undamaged(self.file.index(before, reading).await)?;
        Ok(Some(before.map_or_else(SegmentIndex::default, |index| index.as_ref().clone()).followed_by(newer)))
    }
}

impl Walked {
    pub(crate) fn on_start(&mut self, start: WalkRange) {
        self.end_offset = start.offset;
        self.end_position = start.position;
        self.last_header_crc = start.prev_header_crc;
    }

    /// Takes frames up to the cut; gives back the position of damage, when there is some before it.
    pub(crate) async fn follow<F: DiskFile>(
        &mut self,
        reader: &mut FrameReader<F>,
        end_offset: Offset,
        producers: &mut ProducerTable,
    ) -> io::Result<Option<u64>> {
        let mut index = SegmentIndex::default();
        let damaged = loop {
            match reader.next().await {
                Ok(Some(frame)) if frame.header.next_offset() <= end_offset => {
                    index.on_frame(frame.position, &frame.header);
                    producers.on_append(&frame.header);
                    self.end_offset = frame.header.next_offset();
                    self.end_position = frame.position + frame.header.frame_len() as u64;
                    self.last_header_crc = frame.header.header_crc.to_native();
                }
                Ok(_) => break None,
                Err(WalkError::Damaged(damage)) => break Some(damage.position),
                Err(WalkError::Io(error)) => return Err(error),
            }
        };
        self.index = std::mem::take(&mut self.index).followed_by(&index);
        Ok(damaged)
    }
}

/// Adds what the log remembers of batches below `end_offset` and `producers` does not have: those of segments that
/// retention has removed, and of frames that are damaged. A batch that the cut goes through is none of them: its records
/// above the cut are gone, and its producer sends it again.
pub(crate) fn add_remembered(producers: &mut ProducerTable, stands: &ProducerTable, end_offset: Offset) {
    for (id, entry) in stands.iter() {
        let mut batches: Vec<_> = entry.batches.iter().filter(|batch| batch.next_offset() <= end_offset).copied().collect();
        let known = producers.get(id);
        if batches.is_empty() || known.is_some_and(|known| known.epoch > entry.epoch) {
            continue;
        }
        let newest = batches.last().map(|batch| batch.base_offset);
        let known = known.filter(|known| known.epoch == entry.epoch);
        batches.extend(known.iter().flat_map(|known| &known.batches));
        batches.sort_by_key(|batch| batch.base_offset);
        batches.dedup_by_key(|batch| batch.base_offset);
        let first = batches.len().saturating_sub(BATCHES_PER_PRODUCER);
        let is_newest = known.is_some_and(|known| known.batches.back().map(|batch| batch.base_offset) >= newest);
        let last_append_ms = known.filter(|_| is_newest).map_or(entry.last_append_ms, |known| known.last_append_ms);
        let merged = ProducerEntry { epoch: entry.epoch, last_append_ms, batches: batches.drain(first..).collect() };
        producers.insert(id, merged);
    }
}
