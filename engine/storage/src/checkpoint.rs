//! What a shard remembers of its partitions between starts: plain values.
//!
//! The expensive mistake is a checkpoint whose parts belong to different moments: `epochs` and `producers` are
//! those of the recovery point, not of the newest append, because replay feeds every later frame into them again.
//! Deliberately absent: bytes (`checkpoint_codec`) and files (`checkpoint_slots`).

use crate::damage::DamagedRange;
use crate::entry_address::EntryAddress;
use crate::segment_format::SegmentTrailer;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{Incarnation, LeaderEpochHistory, Offset, PlacementEpoch, ProducerTable, ShardIndex, TopicPartition};

/// Up to where segments alone are trusted; everything after it comes from the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RecoveryPoint {
    /// First offset that is not wholly in segments below `position`; replay begins with the frame that has it.
    pub offset: Offset,
    /// Base offset of the active segment (the name of its file), whether the file exists yet or not.
    pub segment_base: Offset,
    /// Where the frame of `offset` begins in the active segment, bytes; below `position` when it straddles.
    pub next_frame_position: u64,
    /// End of the whole blocks that are written and flushed, bytes, a multiple of `BLOCK_LEN`; 0 when the active
    /// segment has no file yet.
    pub position: u64,
    /// The last journal entry that segments hold wholly; replay is every entry after it.
    pub held: EntryAddress,
    /// `header_crc` of the last frame before `offset`; 0 at the start of a log.
    pub prev_header_crc: u32,
}

/// A segment that ended; where it ends is recorded here and in its footer, never found by scanning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedSegmentInfo {
    pub base_offset: Offset,
    /// The offset after its last record.
    pub next_offset: Offset,
    /// Bytes of its file, footer included.
    pub file_len: u64,
    /// `header_crc` of its last frame.
    pub last_header_crc: u32,
    /// The latest append time of its frames; `i64::MAX` where nobody has read them all, so that retention goes by what
    /// follows it.
    pub append_time_ms_max: i64,
    pub timestamp_ms_max: i64,
    /// Whether a footer and a trailer have to be in its file. A segment that recovery ended has none: nothing is
    /// written behind what may have been acknowledged.
    pub has_footer: bool,
}

impl SealedSegmentInfo {
    /// Of a segment that ends with this trailer.
    pub(crate) fn from_trailer(trailer: &SegmentTrailer) -> Self {
        Self {
            base_offset: trailer.base_offset,
            next_offset: trailer.next_offset,
            file_len: trailer.footer_position + trailer.footer_len + BLOCK_LEN as u64,
            last_header_crc: trailer.last_header_crc,
            append_time_ms_max: trailer.append_time_ms_max,
            timestamp_ms_max: trailer.timestamp_ms_max,
            has_footer: true,
        }
    }
}

/// One partition at its recovery point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionCheckpoint {
    pub id: TopicPartition,
    pub placement_epoch: PlacementEpoch,
    pub log_start_offset: Offset,
    pub high_watermark: Offset,
    pub recovery_point: RecoveryPoint,
    /// As of the recovery point.
    pub epochs: LeaderEpochHistory,
    /// As of the recovery point.
    pub producers: ProducerTable,
    /// Oldest first.
    pub sealed: Vec<SealedSegmentInfo>,
    /// Not served, because it cannot be proved good; in order, apart from each other, at most `DAMAGED_RANGES_MAX`.
    pub damaged: Vec<DamagedRange>,
    /// Not served either, and an operator has accepted that it is lost: readers go on behind it. In order, apart from
    /// each other, at most `DAMAGED_RANGES_MAX`.
    pub accepted: Vec<DamagedRange>,
    /// The lowest offset from which acknowledged records may be missing: a journal was damaged, and nothing vouches
    /// for what it held of this partition. Stays until an operator accepts it or the log start has passed all that was
    /// doubted, which ended no later than the log did when it was last recovered.
    pub possibly_short: Option<Offset>,
}

impl PartitionCheckpoint {
    /// Of a partition that holds nothing, or of which nothing is known.
    pub(crate) fn empty(id: TopicPartition) -> Self {
        Self {
            id,
            placement_epoch: PlacementEpoch(0),
            log_start_offset: Offset::ZERO,
            high_watermark: Offset::ZERO,
            recovery_point: RecoveryPoint::default(),
            epochs: LeaderEpochHistory::default(),
            producers: ProducerTable::default(),
            sealed: Vec::new(),
            damaged: Vec::new(),
            accepted: Vec::new(),
            possibly_short: None,
        }
    }
}

/// Most ranges of a kind that one partition remembers. Beyond it the two that lie closest together become one, so
/// that nothing damaged is ever forgotten.
pub const DAMAGED_RANGES_MAX: usize = 1024;

/// All partitions of one shard, and where the replay of its journal begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardCheckpoint {
    pub shard: ShardIndex,
    pub incarnation: Incarnation,
    /// The lowest group sequence that replay needs; groups before it may be gone from the ring.
    pub journal_sequence: u64,
    pub partitions: Vec<PartitionCheckpoint>,
}
