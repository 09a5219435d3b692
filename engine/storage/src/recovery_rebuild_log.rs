//! A rebuilt log as it comes together, frame by frame and segment by segment, and the checkpoint that it becomes.
//!
//! The expensive mistake is to let bytes from a device reach an assertion: epochs and offsets are judged before they are
//! taken. Deliberately absent: reading (`recovery_rebuild`), and what the spare adds (`recovery_rebuild_kept`).

use crate::checkpoint::{PartitionCheckpoint, RecoveryPoint, SealedSegmentInfo};
use crate::damage::{DamageKind, DamagedRange};
use crate::damaged_ranges::joined;
use crate::recovery_rebuild::{OFFSET_MAX, Rebuilt};
use crate::recovery_rebuild_journal::Named;
use crate::segment_format::block_up;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{FrameHeader, LeaderEpochHistory, Offset, PlacementEpoch, ProducerTable, TopicPartition};
use std::collections::BTreeMap;

const BLOCK: u64 = BLOCK_LEN as u64;

/// What has come together so far.
#[derive(Default)]
pub(crate) struct RebuiltLog {
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    /// `header_crc` of the last frame, once there is one.
    pub(crate) last_header_crc: Option<u32>,
    pub(crate) epochs: LeaderEpochHistory,
    pub(crate) producers: ProducerTable,
    pub(crate) sealed: Vec<SealedSegmentInfo>,
    pub(crate) damaged: Vec<DamagedRange>,
    pub(crate) doubted: bool,
    pub(crate) behind_cut: BTreeMap<Offset, u32>,
}

/// Where a walk ended.
pub(crate) struct Walked {
    pub(crate) end: Offset,
    pub(crate) end_position: u64,
    pub(crate) last_header_crc: u32,
    pub(crate) damaged: Vec<DamagedRange>,
    pub(crate) stopped: Option<DamageKind>,
}

impl RebuiltLog {
    /// Bytes from a device never reach the assertion that epochs grow.
    pub(crate) fn takes(&self, header: &FrameHeader) -> bool {
        let last = self.epochs.entries().last();
        last.is_none_or(|&(epoch, start)| {
            epoch == header.leader_epoch() || epoch < header.leader_epoch() && start < header.base_offset()
        }) && header.next_offset() <= OFFSET_MAX
    }

    pub(crate) fn on_frame(&mut self, header: &FrameHeader) {
        self.epochs.on_append(header.leader_epoch(), header.base_offset());
        self.producers.on_append(header);
    }

    /// A footer has the tables as of its end, and no epochs that were below the log start then.
    pub(crate) fn take_tables(&mut self, epochs: &LeaderEpochHistory, producers: ProducerTable) {
        let first = epochs.entries().first().copied();
        let is_before =
            |(epoch, start)| first.is_none_or(|(first_epoch, first_start)| epoch < first_epoch && start < first_start);
        let mut known = LeaderEpochHistory::default();
        let before = self.epochs.entries().iter().copied().filter(|&entry| is_before(entry));
        before.chain(epochs.entries().iter().copied()).for_each(|(epoch, start)| known.on_append(epoch, start));
        (self.epochs, self.producers) = (known, producers);
    }

    /// The segment ends at the last good frame of it, and has no footer.
    pub(crate) fn end_without_footer(&mut self, base: Offset, walked: &Walked) {
        self.damaged.extend(&walked.damaged);
        if walked.end == base {
            return;
        }
        self.sealed.push(SealedSegmentInfo {
            base_offset: base,
            next_offset: walked.end,
            file_len: block_up(walked.end_position) + BLOCK,
            last_header_crc: walked.last_header_crc,
            append_time_ms_max: i64::MAX,
            timestamp_ms_max: i64::MAX,
            has_footer: false,
        });
        (self.end, self.last_header_crc) = (walked.end, Some(walked.last_header_crc));
        self.doubted = false;
    }

    /// Where segments give no frame, the journal's first one is the log's, when it is not behind a hole.
    pub(crate) fn begin_in_journal(&mut self, named: Named) {
        if let (None, Some(first)) = (self.last_header_crc, named.first.filter(|first| *first <= self.end)) {
            (self.start, self.end, self.last_header_crc) = (first, first, Some(named.first_chain));
        }
    }

    pub(crate) fn finish(self, id: TopicPartition, placement_epoch: PlacementEpoch, named: Named) -> Rebuilt {
        let recovery_point = RecoveryPoint {
            offset: self.end,
            segment_base: self.end,
            prev_header_crc: self.last_header_crc.unwrap_or_default(),
            ..RecoveryPoint::default()
        };
        let checkpoint = PartitionCheckpoint {
            placement_epoch,
            log_start_offset: self.start,
            // What a follower has may be taken back, and nothing is left that says up to where it may not. Whoever leads
            // alone commits all of it at once.
            high_watermark: self.start,
            recovery_point,
            epochs: self.epochs,
            producers: self.producers,
            sealed: self.sealed,
            damaged: joined(&[], &self.damaged),
            ..PartitionCheckpoint::empty(id)
        };
        Rebuilt { checkpoint, log_start: named.log_start, doubted: self.doubted, behind_cut: self.behind_cut }
    }
}
