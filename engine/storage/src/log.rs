//! One partition's log: what is appended, where it is read from, and how it gets to disk.
//!
//! An append goes into the tail in memory, and its position in a segment file is assigned there and then; the
//! journal makes it durable, write-back and flush bring it into segments later. No sync call here does I/O: whatever
//! needs the disk is a plan that owns what it needs, runs on its own, and is reported back. One such write-back
//! or flush plan of each kind runs at a time per log; reads overlap with anything. The expensive mistake is to hold
//! more than a few words for an idle partition, because a shard has thousands.
//!
//! Life of a frame: [`Log::append`], [`Log::plan_write_back`], [`Log::plan_flush`], [`Log::checkpoint`], and, when
//! nobody needs it any more, [`Log::set_log_start`] and [`Log::plan_remove_segments`]; or, when the log is to end
//! before it, [`Log::plan_truncate`].

use crate::active_segment::ActiveSegment;
use crate::batch_cache::TailMemory;
use crate::checkpoint::PartitionCheckpoint;
use crate::damage::DamagedRange;
use crate::damaged_ranges::DamagedRanges;
use crate::disk::Disk;
use crate::entry_address::EntryAddress;
use crate::held_state::HeldState;
use crate::sealed_segment::{SealedSegment, SegmentFile, linked};
use crate::segment_cut::PendingCut;
use crate::tail::{FramePlace, Tail};
use sluice_model::limits::{SEGMENT_LEN_DEFAULT, SEGMENT_LEN_MAX, WRITE_BACK_LEN};
use sluice_model::{FrameHeader, Offset, PlacementEpoch, TopicPartition};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Settings of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A segment that would grow beyond this is rolled, bytes; at most `SEGMENT_LEN_MAX`.
    pub segment_len: u64,
    /// Write-back is worth its while from this many bytes on.
    pub write_back_len: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { segment_len: SEGMENT_LEN_DEFAULT, write_back_len: WRITE_BACK_LEN }
    }
}

pub struct Log<D: Disk> {
    pub(crate) disk: D,
    pub(crate) dir: PathBuf,
    id: TopicPartition,
    placement_epoch: PlacementEpoch,
    pub(crate) config: LogConfig,
    pub(crate) memory: TailMemory,
    pub(crate) log_start: Offset,
    pub(crate) log_end: Offset,
    last_header_crc: u32,
    /// Oldest first; all before `open`.
    pub(crate) sealed: VecDeque<SealedSegment<D>>,
    /// Not wholly on disk, oldest first; the last one is the active segment, the others have ended.
    pub(crate) open: VecDeque<ActiveSegment<D>>,
    pub(crate) tail: Tail,
    pub(crate) held: HeldState,
    /// Not served: what is damaged, what of it is accepted as lost, and whether records may be missing.
    pub(crate) damage: DamagedRanges,
    /// Files without a segment, to be removed.
    pub(crate) removable: Vec<PathBuf>,
    /// New names in the folder so far, and how many of them a flush has made durable.
    pub(crate) dir_changes: u64,
    pub(crate) dir_changes_flushed: u64,
    /// A truncation whose files are not cut yet.
    pub(crate) cut: Option<PendingCut>,
}

impl<D: Disk> Log<D> {
    /// An empty log that begins at offset 0. Nothing is on disk before the first write-back.
    #[must_use]
    pub fn create(
        disk: D,
        dir: PathBuf,
        id: TopicPartition,
        placement_epoch: PlacementEpoch,
        config: LogConfig,
        memory: TailMemory,
    ) -> Self {
        let checkpoint = PartitionCheckpoint { placement_epoch, ..PartitionCheckpoint::empty(id) };
        Self::restore(disk, dir, &checkpoint, config, memory)
    }

    /// The log as it stood at a checkpoint's recovery point. Replay appends every frame after it; until write-back
    /// has compared it, a frame that straddles the recovery point is served from memory.
    #[must_use]
    pub fn restore(disk: D, dir: PathBuf, checkpoint: &PartitionCheckpoint, config: LogConfig, memory: TailMemory) -> Self {
        let PartitionCheckpoint { id, placement_epoch, log_start_offset, recovery_point: point, .. } = checkpoint;
        let file = |base_offset| SegmentFile::new(&disk, &dir, *id, base_offset, memory.open_segments());
        let sealed: VecDeque<SealedSegment<D>> = checkpoint
            .sealed
            .iter()
            .map(|info| SealedSegment { info: *info, file: file(info.base_offset), unflushed: None })
            .collect();
        let active = ActiveSegment::restored(file(point.segment_base), point);
        for (at, segment) in sealed.iter().enumerate() {
            segment.file.set_follows(linked(segment.info.base_offset, at.checked_sub(1).map(|before| &sealed[before].info)));
        }
        active.file.set_follows(linked(active.base_offset, sealed.back().map(|before| &before.info)));
        let mut log = Self {
            tail: Tail::new(*id, memory.clone()),
            held: HeldState::new(*point, checkpoint.epochs.clone(), checkpoint.producers.clone()),
            disk,
            dir,
            id: *id,
            placement_epoch: *placement_epoch,
            config,
            memory,
            log_start: *log_start_offset,
            log_end: point.offset,
            last_header_crc: point.prev_header_crc,
            sealed,
            open: VecDeque::from([active]),
            damage: DamagedRanges::restored(checkpoint),
            removable: Vec::new(),
            dir_changes: 0,
            dir_changes_flushed: 0,
            cut: None,
        };
        log.set_config(config);
        log.find_gaps();
        log
    }

    #[must_use]
    pub fn id(&self) -> TopicPartition {
        self.id
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Changed settings; they count from the next roll on. `segment_len` is at most `SEGMENT_LEN_MAX`.
    pub fn set_config(&mut self, config: LogConfig) {
        assert!(config.segment_len <= SEGMENT_LEN_MAX, "segment_len {} is above {SEGMENT_LEN_MAX}", config.segment_len);
        self.config = config;
    }

    /// The placement this shard holds the partition under from now on; checkpoints name it.
    pub fn set_placement_epoch(&mut self, placement_epoch: PlacementEpoch) {
        assert!(placement_epoch >= self.placement_epoch, "placement epoch {} -> {placement_epoch}", self.placement_epoch);
        self.placement_epoch = placement_epoch;
    }

    #[must_use]
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    #[must_use]
    pub fn log_start_offset(&self) -> Offset {
        self.log_start
    }

    /// The offset that the next record gets.
    #[must_use]
    pub fn log_end_offset(&self) -> Offset {
        self.log_end
    }

    /// What the next frame's `prev_header_crc` has to be; 0 at the start of a log.
    #[must_use]
    pub fn last_header_crc(&self) -> u32 {
        self.last_header_crc
    }

    /// Bytes of its segments, sealed files and what was appended to the active one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "emptiness is a question of offsets")]
    pub fn len(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|segment| segment.info.file_len).sum();
        sealed + self.open.iter().filter(|segment| !segment.is_empty()).map(ActiveSegment::append_position).sum::<u64>()
    }

    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.sealed.len() + self.open.len()
    }

    /// Takes a sealed frame into the tail. It must be the log's next one: same partition, `base_offset` at the log
    /// end, chained to the last. Only recovery may skip offsets, when the frames between are lost: they are
    /// quarantined, and a new segment begins.
    pub fn append(&mut self, header: &FrameHeader, body: &[u8], address: EntryAddress) {
        let base_offset = header.base_offset();
        assert!(header.topic_partition() == self.id, "a frame of {} appended to {}", header.topic_partition(), self.id);
        assert!(base_offset >= self.log_end, "frame at {base_offset} appended at {}", self.log_end);
        assert!(FrameHeader::parse(header.as_bytes()).is_ok() && header.body_len() == body.len(), "bad {header:?} appended");
        let chained = header.prev_header_crc.to_native() == self.last_header_crc;
        assert!(base_offset > self.log_end || chained, "{header:?} appended after {:08x}", self.last_header_crc);
        let (segment_base, position) = self.place(header);
        self.tail.append(header, body, FramePlace { segment_base, position, address });
        self.held.on_append(address);
        self.set_end(header.next_offset(), header.header_crc.to_native());
    }

    pub(crate) fn set_end(&mut self, log_end: Offset, last_header_crc: u32) {
        self.log_end = log_end;
        self.last_header_crc = last_header_crc;
    }

    /// Offsets in this range are refused from now on, because what the segments hold of them cannot be proved good.
    pub fn quarantine(&mut self, range: DamagedRange) {
        self.damage.quarantine(range);
    }

    /// Forgets what was found damaged, for tests that mend it.
    #[cfg(test)]
    pub(crate) fn forget_damage(&mut self) {
        self.damage = DamagedRanges::default();
    }

    /// What is not served and nobody has accepted as lost, in order.
    #[must_use]
    pub fn damaged(&self) -> &[DamagedRange] {
        self.damage.damaged()
    }

    /// What an operator has accepted as lost, in order: reads go on behind it.
    #[must_use]
    pub fn accepted(&self) -> &[DamagedRange] {
        self.damage.accepted()
    }

    /// Acknowledged records may be missing from `offset` on.
    pub(crate) fn doubt(&mut self, offset: Offset) {
        self.damage.doubt(offset);
    }

    /// The lowest offset from which acknowledged records may be missing.
    #[must_use]
    pub fn possibly_short(&self) -> Option<Offset> {
        self.damage.possibly_short()
    }

    /// The log is a copy of one that is whole, and has all of it that may have been acknowledged: nothing is missing.
    pub fn end_doubt(&mut self) {
        self.damage.end_doubt();
    }

    /// Base offset and `prev_header_crc` of the frame that holds `offset`, where memory knows them; at the log end, of the
    /// frame that will.
    #[must_use]
    pub fn frame_at(&self, offset: Offset) -> Option<(Offset, u32)> {
        if offset == self.log_end {
            return Some((offset, self.last_header_crc));
        }
        if let Some(index) = self.tail.find(offset) {
            let frame = &self.tail.frames()[index];
            let is_in_it = offset < frame.next_offset;
            return is_in_it.then(|| (frame.base_offset, self.tail.header(index).prev_header_crc.to_native()));
        }
        let before = self.sealed.iter().rev().find(|segment| segment.info.next_offset == offset);
        before.map(|segment| (offset, segment.info.last_header_crc))
    }

    /// Bytes of frames that are not wholly in segments yet.
    #[must_use]
    pub fn unwritten_len(&self) -> u64 {
        self.tail.unwritten_len()
    }

    /// The oldest journal entry that the flushed recovery point does not cover: the journal is needed from there on.
    #[must_use]
    pub fn oldest_needed_address(&self) -> Option<EntryAddress> {
        self.cut.as_ref().map(|cut| cut.address).or(self.held.first_needed())
    }

    /// The partition as of the last completed flush, for a checkpoint.
    #[must_use]
    pub fn checkpoint(&self, high_watermark: Offset) -> PartitionCheckpoint {
        self.assert_not_cutting();
        PartitionCheckpoint {
            id: self.id,
            placement_epoch: self.placement_epoch,
            log_start_offset: self.log_start,
            high_watermark,
            recovery_point: *self.held.point(),
            epochs: self.held.epochs().clone(),
            producers: self.held.producers().clone(),
            sealed: self.sealed.iter().take_while(|segment| segment.unflushed.is_none()).map(|segment| segment.info).collect(),
            damaged: self.damage.damaged().to_vec(),
            accepted: self.damage.accepted().to_vec(),
            possibly_short: self.damage.possibly_short(),
        }
    }

    /// Forgets producers whose last append is before `before_ms`, in what checkpoints and footers will hold.
    pub fn expire_producers(&mut self, before_ms: i64) {
        self.held.expire_producers(before_ms);
    }

    /// Frees the oldest chunk of the batch cache, when [`TailMemory::next_eviction`] named this partition; gives
    /// back its bytes, 0 when there is none.
    pub fn evict_oldest_clean(&mut self) -> u64 {
        self.tail.evict_oldest_clean()
    }

    /// Gives a frame its segment and its position there.
    fn place(&mut self, header: &FrameHeader) -> (Offset, u64) {
        let segment_len = self.config.segment_len;
        let (base_offset, prev_header_crc) = (header.base_offset(), header.prev_header_crc.to_native());
        let expected = self.active_mut().next_offset;
        if base_offset > expected {
            self.quarantine(DamagedRange { from: expected, until: base_offset });
            self.roll(base_offset, prev_header_crc);
        } else if !self.active_mut().has_room_for(header.frame_len() as u64, segment_len) {
            self.roll(base_offset, prev_header_crc);
        }
        let active = self.active_mut();
        (active.base_offset, active.place(header))
    }

    /// Ends the active segment: the next frame opens a new one.
    fn roll(&mut self, base_offset: Offset, prev_header_crc: u32) {
        self.active_mut().ended = true;
        self.open_segment(base_offset, prev_header_crc);
    }

    pub(crate) fn open_segment(&mut self, base_offset: Offset, prev_header_crc: u32) {
        let file: Rc<SegmentFile<D>> = SegmentFile::new(&self.disk, &self.dir, self.id, base_offset, self.memory.open_segments());
        file.set_follows(Some(prev_header_crc));
        self.open.push_back(ActiveSegment::new(file, prev_header_crc));
    }

    pub(crate) fn active_mut(&mut self) -> &mut ActiveSegment<D> {
        self.open.back_mut().expect("a log has an active segment")
    }

    /// Offsets that no segment holds were lost once, and stay quarantined.
    fn find_gaps(&mut self) {
        // Without its first segments a log begins where it did, behind a gap.
        let mut expected = self.sealed.front().map_or(self.log_start, |segment| segment.info.base_offset.min(self.log_start));
        let active = self.open.front().map(|segment| (segment.base_offset, segment.next_offset));
        let segments: Vec<(Offset, Offset)> =
            self.sealed.iter().map(|segment| (segment.info.base_offset, segment.info.next_offset)).chain(active).collect();
        for (base_offset, next_offset) in segments {
            self.quarantine(DamagedRange { from: expected.max(self.log_start), until: base_offset });
            expected = next_offset;
        }
    }
}

#[cfg(test)]
#[path = "log_test.rs"]
pub(crate) mod tests;

#[cfg(test)]
#[path = "log_gaps_test.rs"]
mod gaps_tests;
