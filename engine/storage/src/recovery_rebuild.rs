//! A partition's checkpoint made anew from its segments, when both slots of its shard are lost.
//!
//! Segments follow one another by offset and chain. A segment with a trailer ends where that says; one without is
//! walked frame by frame and ends at its last good frame, and the log goes on in a new segment. What the journal also
//! has (`Named::first` and everything after it) may never have been flushed, so it is verified here too, and at the
//! first doubt the segments end and the journal goes on. Where the journal begins later, a hole is damage: it is
//! quarantined, and what proves itself behind it is kept.
//!
//! The expensive mistake is to end a log early and to write over what follows: nothing is changed here, and only the
//! journal's own copies ever replace what stood in a file. What neither segments nor journal say (log starts, what
//! operators had accepted as lost) comes from the spare checkpoint, when that one is left (`recovery_rebuild_kept`).
//! Deliberately absent: the log as it comes together (`recovery_rebuild_log`), and which trailers are
//! believed (`recovery_rebuild_trailer`).

use crate::checkpoint::{PartitionCheckpoint, SealedSegmentInfo};
use crate::damage::{BlockError, DamageKind, DamagedRange};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::frame_reader::FrameReader;
use crate::frame_walk::{FrameWalk, WalkError, WalkRange};
use crate::layout::{Layout, segment_base_offset, segment_file};
use crate::recovery::RecoveryError;
use crate::recovery_rebuild_journal::{InSegments, Named};
use crate::recovery_rebuild_kept::{Kept, segment_end};
use crate::recovery_rebuild_log::{RebuiltLog, Walked};
use crate::rewrite::rewrite;
use crate::segment_format::{SEGMENT_FORMAT_VERSION, SegmentFooter, SegmentHeader, SegmentTrailer, block_up};
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{FrameHeader, LeaderEpochHistory, Offset, PlacementEpoch, TopicPartition};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

const BLOCK: u64 = BLOCK_LEN as u64;
const WINDOW_LEN: usize = 1024 * 1024;
/// No log gets here.
pub(crate) const OFFSET_MAX: Offset = Offset(u64::MAX / 2);

/// A partition as its segments have it.
pub(crate) struct Rebuilt {
    pub(crate) checkpoint: PartitionCheckpoint,
    pub(crate) log_start: Offset,
    /// Something stands behind the last good frame that is neither a frame nor zeros.
    pub(crate) doubted: bool,
    /// `header_crc` of the frames from `Named::cut_from` on, by base offset.
    pub(crate) behind_cut: BTreeMap<Offset, u32>,
}

impl Rebuilt {
    pub(crate) fn in_segments(&self) -> InSegments<'_> {
        let point = &self.checkpoint.recovery_point;
        InSegments { end: point.offset, last_header_crc: point.prev_header_crc, behind_cut: &self.behind_cut }
    }

    /// Whether segments are as a truncation to this offset leaves them: one begins there, under a new leader epoch. An
    /// older log that goes on behind the cut almost never looks so.
    pub(crate) fn may_be_cut_at(&self, end_offset: Offset) -> bool {
        let begins = self.checkpoint.sealed.iter().any(|segment| segment.base_offset == end_offset);
        begins && self.checkpoint.epochs.entries().iter().any(|&(_, start)| start == end_offset)
    }
}

/// Rebuilds one partition; `named` is what the journal says of it, `spare` what the spare does.
pub(crate) async fn rebuild_partition<D: Disk>(
    disk: &D,
    layout: &Layout,
    (id, placement_epoch): (TopicPartition, PlacementEpoch),
    mut named: Named,
    spare: Option<Kept<'_>>,
) -> Result<Rebuilt, RecoveryError> {
    let kept = spare.map(|spare| spare.partition);
    named.log_start = named.log_start.max(kept.map_or(Offset::ZERO, |kept| kept.log_start_offset));
    let dir = layout.partition_dir(id);
    let mut bases: Vec<Offset> = match disk.read_dir(&dir).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        entries => {
            let entries = entries?;
            // What was removed has to stay so: a log that is found empty begins anew, and nothing of before follows that.
            disk.sync_dir(&dir).await?;
            entries.iter().filter_map(|entry| segment_base_offset(&entry.name)).collect()
        }
    };
    bases.sort_unstable();
    let spare_end = spare.filter(|spare| spare.has_all_since).map(|spare| spare.partition.recovery_point.offset);
    let mut rebuild = Rebuild { disk, dir, id, named, kept, spare_end, log: RebuiltLog::default() };
    // Without a file, what was before the journal's first frame was deleted, or the spare says that it is missing.
    let begin = bases.first().copied().or(named.first).or(kept.map(|kept| kept.log_start_offset)).unwrap_or(named.log_start);
    (rebuild.log.start, rebuild.log.end) = (begin, begin);
    // Segments before the first one there is are missing, not deleted, when the journal has what they held.
    let missing = named.log_start < begin && named.first.is_some_and(|in_journal| in_journal < begin);
    if !missing && !bases.is_empty() {
        rebuild.take_segments(&bases).await?;
    }
    let mut log = rebuild.log;
    log.begin_in_journal(named);
    match kept {
        Some(kept) => log.end_where_kept(kept, named),
        // Whether nothing was ever written, or all of it deleted, nothing is left to say.
        None => log.doubted |= log.last_header_crc.is_none() && log.end == Offset::ZERO,
    }
    let mut rebuilt = log.finish(id, placement_epoch, named);
    if let Some(kept) = kept {
        rebuilt.add_kept(kept, named);
    }
    Ok(rebuilt)
}

pub(crate) struct Rebuild<'a, D: Disk> {
    disk: &'a D,
    dir: PathBuf,
    pub(crate) id: TopicPartition,
    pub(crate) named: Named,
    /// As the spare has it.
    pub(crate) kept: Option<&'a PartitionCheckpoint>,
    /// Where the log ended when the spare was written, if the journal has every entry since: what neither has was never
    /// acknowledged.
    spare_end: Option<Offset>,
    log: RebuiltLog,
}

/// One segment's file, and how much of it is taken.
pub(crate) struct Segment<F> {
    pub(crate) file: F,
    pub(crate) base: Offset,
    pub(crate) file_len: u64,
    /// What has lost it is left out where the journal has the same: the journal's copy is written to a whole file.
    has_header: bool,
    /// The chain before its first frame, where it is known.
    pub(crate) chain: Option<u32>,
    pub(crate) trailer: Option<SegmentTrailer>,
}

impl<D: Disk> Rebuild<'_, D> {
    async fn take_segments(&mut self, bases: &[Offset]) -> Result<(), RecoveryError> {
        for (index, &base) in bases.iter().enumerate() {
            // Begun twice, by a recovery that was cut off: what the earlier one has of it is as good.
            if base < self.log.end {
                continue;
            }
            if base > self.log.end && self.needs_no_more(self.log.end) {
                return Ok(());
            }
            let segment = self.open(base).await?;
            let next_base = self.next_begun(&bases[index + 1..]).await?;
            let maybe_unflushed = match self.named.first {
                // The segment that ends where the journal begins may have got its footer since.
                Some(first) => next_base.is_none_or(|next| first <= next),
                // Frames may be here, and their group was never written: only the spare says what is older.
                None => self.kept_segment_end(base).is_none(),
            };
            if maybe_unflushed {
                rewrite(self.disk, &segment.file, segment.file_len).await?;
            }
            let trailer = self.valid_trailer(&segment, next_base).await?;
            let goes_on = match trailer {
                Some(trailer) => self.take_sealed(&segment, trailer, next_base).await?,
                None => self.take_unsealed(&segment, next_base).await?,
            };
            if !goes_on {
                return Ok(());
            }
        }
        Ok(())
    }

    pub(crate) fn kept_segment_end(&self, base: Offset) -> Option<Offset> {
        segment_end(self.kept?, base, self.named)
    }

    fn is_kept(&self, base: Offset) -> bool {
        let is_active = |kept: &PartitionCheckpoint| {
            let point = &kept.recovery_point;
            point.segment_base == base && point.position > 0 && self.named.cut_from.is_none_or(|cut| base < cut)
        };
        self.kept_segment_end(base).is_some() || self.kept.is_some_and(is_active)
    }

    /// The first of these segments that holds a frame. One that was begun and holds nothing says nothing either; but what
    /// stands where its first frame does, is no frame, and is not in the journal either, was one.
    async fn next_begun(&self, bases: &[Offset]) -> Result<Option<Offset>, RecoveryError> {
        for &base in bases {
            let segment = self.open(base).await?;
            if segment.trailer.is_some() || self.is_kept(base) || self.holds_frame(&segment).await? {
                return Ok(Some(base));
            }
        }
        Ok(None)
    }

    async fn holds_frame(&self, segment: &Segment<D::File>) -> Result<bool, RecoveryError> {
        let head = segment.file.read_at(BLOCK, BLOCK_LEN).await?;
        if !self.in_journal(segment.base) {
            return Ok(head.iter().any(|&byte| byte != 0));
        }
        let header = FrameHeader::parse_sealed(&head).ok();
        Ok(header.is_some_and(|header| header.topic_partition() == self.id && header.base_offset() == segment.base))
    }

    /// Whether the journal has everything from this offset on.
    fn in_journal(&self, offset: Offset) -> bool {
        self.named.first.is_some_and(|first| first <= offset)
    }

    /// Leader epochs of the log as far as the spare has them: a frame of an earlier one was cut off.
    pub(crate) fn epochs(&self) -> LeaderEpochHistory {
        let mut epochs = self.kept.map(|kept| kept.epochs.clone()).unwrap_or_default();
        epochs.truncate(self.named.cut_from.unwrap_or(OFFSET_MAX));
        epochs
    }

    /// Whether segments are not asked for anything from this offset on: the journal has it, or it was never acknowledged. What
    /// is not good there is no damage.
    fn needs_no_more(&self, offset: Offset) -> bool {
        self.in_journal(offset) || self.spare_end.is_some_and(|end| end <= offset)
    }

    /// Whether all that was acknowledged between these offsets ends inside: what follows damage there is not looked for.
    fn ends_between(&self, from: Offset, until: Offset) -> bool {
        self.named.first.is_none() && self.spare_end.is_some_and(|end| from < end && end < until)
    }

    pub(crate) async fn open(&self, base: Offset) -> Result<Segment<D::File>, RecoveryError> {
        let path = segment_file(&self.dir, base);
        let file = self.disk.open(&path, OpenMode::Existing).await?;
        let file_len = file.len().await?;
        let header = SegmentHeader::decode_expecting(&file.read_at(0, BLOCK_LEN).await?, self.id, base);
        if let Err(BlockError::Version { actual, .. }) = header {
            return Err(RecoveryError::OtherVersion { path, found: actual, known: SEGMENT_FORMAT_VERSION });
        }
        let follows = self.log.last_header_crc.filter(|_| base == self.log.end);
        let has_header = header.is_ok();
        let chain = header.ok().map(|header| header.prev_header_crc).or(follows).or((base == Offset::ZERO).then_some(0));
        let mut trailer = None;
        if file_len >= 2 * BLOCK && file_len.is_multiple_of(BLOCK) {
            let block = file.read_at(file_len - BLOCK, BLOCK_LEN).await?;
            let decoded = SegmentTrailer::decode_expecting(&block, file_len, self.id, base).ok();
            trailer = decoded.filter(|trailer| trailer.next_offset > base && trailer.next_offset <= OFFSET_MAX);
        }
        Ok(Segment { file, base, file_len, has_header, chain, trailer })
    }

    /// A segment that says itself where it ends. `false` when the journal goes on within it.
    async fn take_sealed(
        &mut self,
        segment: &Segment<D::File>,
        trailer: SegmentTrailer,
        next_base: Option<Offset>,
    ) -> Result<bool, RecoveryError> {
        let breaks_chain = self.breaks_chain(segment);
        if (breaks_chain || !segment.has_header) && self.needs_no_more(segment.base) {
            return Ok(false);
        }
        if breaks_chain {
            self.log.damaged.push(DamagedRange { from: segment.base, until: trailer.next_offset });
        }
        let footer = self.read_footer(segment, &trailer).await?;
        let is_behind_spare = self.spare_end.is_some_and(|end| end < trailer.next_offset);
        let maybe_unflushed =
            is_behind_spare || self.named.first.map_or(next_base.is_none(), |first| first < trailer.next_offset);
        // Written when the log began within the segment: what stands before that was deleted, and has come back.
        let begins_later =
            |footer: &SegmentFooter| footer.epochs.entries().first().is_none_or(|&(_, start)| start > segment.base);
        if maybe_unflushed || footer.as_ref().is_none_or(begins_later) {
            let walked = self.walk(segment, trailer.end_position, trailer.next_offset).await?;
            let ends_here = self.needs_no_more(walked.end) || self.ends_between(walked.end, trailer.next_offset);
            if walked.stopped.is_some() && ends_here {
                self.log.end_without_footer(segment.base, &walked);
                return Ok(false);
            }
            self.log.damaged.extend(walked.damaged);
        }
        let mut info = SealedSegmentInfo::from_trailer(&trailer);
        match footer {
            Some(footer) => self.log.take_tables(&footer.epochs, footer.producers),
            // Torn, or it has rotted: from now on the checkpoint says where the segment ends.
            None => (info.has_footer, info.file_len) = (false, block_up(trailer.end_position) + BLOCK),
        }
        self.log.sealed.push(info);
        (self.log.end, self.log.last_header_crc) = (trailer.next_offset, Some(trailer.last_header_crc));
        self.log.doubted = false;
        Ok(true)
    }

    /// A segment that was still being written, or whose trailer is lost. `false` when the journal goes on within it.
    async fn take_unsealed(&mut self, segment: &Segment<D::File>, next_base: Option<Offset>) -> Result<bool, RecoveryError> {
        let breaks_chain = self.breaks_chain(segment);
        if (breaks_chain || !segment.has_header) && self.needs_no_more(segment.base) {
            return Ok(false);
        }
        let until = next_base.unwrap_or(OFFSET_MAX).min(self.kept_segment_end(segment.base).unwrap_or(OFFSET_MAX));
        let walked = self.walk(segment, segment.file_len, until).await?;
        self.log.end_without_footer(segment.base, &walked);
        // Its header is not missed where the frames follow what is known to stand before them: readers do without it, too.
        if breaks_chain && walked.end > segment.base {
            self.log.damaged.push(DamagedRange { from: segment.base, until: walked.end });
        }
        let Some(stopped) = walked.stopped else { return Ok(true) };
        if self.needs_no_more(walked.end) {
            return Ok(false);
        }
        // Zeros, or the end of the file, are how a segment that grows ends. One that had a footer, and has lost it together
        // with its last frames, cannot be taken for that: a footer is written when the next segment begins, whose file or
        // journal entry shows the gap, or by a truncation, which the journal knows until the spare does.
        self.log.doubted = !matches!(stopped, DamageKind::NoFrame | DamageKind::FileTooShort { .. });
        Ok(true)
    }

    /// It begins where the log ends, and says that it follows something else.
    fn breaks_chain(&self, segment: &Segment<D::File>) -> bool {
        let ours = self.log.last_header_crc.filter(|_| segment.base == self.log.end);
        matches!((ours, segment.chain), (Some(ours), Some(theirs)) if ours != theirs)
    }

    pub(crate) async fn read_footer(
        &self,
        segment: &Segment<D::File>,
        trailer: &SegmentTrailer,
    ) -> Result<Option<SegmentFooter>, RecoveryError> {
        let len = usize::try_from(trailer.footer_len).unwrap_or(usize::MAX);
        let bytes = segment.file.read_at(trailer.footer_position, len).await?;
        let footer = SegmentFooter::decode(&bytes, trailer).ok();
        let sound = |footer: &SegmentFooter| footer.epochs.entries().last().is_none_or(|&(_, start)| start < trailer.next_offset);
        Ok(footer.filter(sound))
    }

    /// Walks every frame, body included, up to `until`, and stops where the journal has what follows damage.
    async fn walk(&mut self, segment: &Segment<D::File>, end_position: u64, until: Offset) -> Result<Walked, RecoveryError> {
        let mut walked = Walked {
            end: segment.base,
            end_position: BLOCK,
            last_header_crc: segment.chain.unwrap_or_default(),
            damaged: Vec::new(),
            stopped: None,
        };
        let Some(prev_header_crc) = segment.chain else {
            walked.stopped = Some(DamageKind::Block(BlockError::Content { field: "header" }));
            return Ok(walked);
        };
        let range = WalkRange {
            id: self.id,
            segment: segment.base,
            position: BLOCK,
            offset: segment.base,
            prev_header_crc,
            end_position,
            end_offset: until,
        };
        let walk = FrameWalk::new(range, Offset::ZERO).under(self.epochs());
        let mut reader = FrameReader::new(segment.file.clone(), walk, WINDOW_LEN);
        let mut hole: Option<DamageKind> = None;
        loop {
            let kind = match reader.next().await {
                // Of an older log, which was truncated: the segment that begins within it has what counts.
                Ok(Some(frame)) if frame.header.next_offset() > until => {
                    walked.stopped = Some(hole.unwrap_or(DamageKind::NoFrame));
                    return Ok(walked);
                }
                Ok(Some(frame)) if hole.is_some() && self.ends_between(walked.end, frame.header.base_offset()) => {
                    walked.stopped = hole;
                    return Ok(walked);
                }
                Ok(Some(frame)) if self.log.takes(&frame.header) && !self.named.supersedes(&frame.header) => {
                    if hole.take().is_some() {
                        walked.damaged.push(DamagedRange { from: walked.end, until: frame.header.base_offset() });
                    }
                    self.log.on_frame(&frame.header);
                    if self.named.cut_from.is_some_and(|cut| frame.header.base_offset() >= cut) {
                        self.log.behind_cut.insert(frame.header.base_offset(), frame.header.header_crc.to_native());
                    }
                    walked.end = frame.header.next_offset();
                    walked.end_position = frame.position + frame.header.frame_len() as u64;
                    walked.last_header_crc = frame.header.header_crc.to_native();
                    continue;
                }
                Ok(Some(_)) => DamageKind::Block(BlockError::Content { field: "leader_epoch" }),
                Ok(None) => break,
                Err(WalkError::Damaged(damage)) => damage.kind,
                Err(WalkError::Io(error)) => return Err(error.into()),
            };
            let first = *hole.get_or_insert(kind);
            if self.needs_no_more(walked.end) || !resumed(&mut reader).await? {
                walked.stopped = Some(first);
                return Ok(walked);
            }
        }
        walked.stopped = hole;
        Ok(walked)
    }
}

async fn resumed<F: DiskFile>(reader: &mut FrameReader<F>) -> Result<bool, RecoveryError> {
    match reader.resume_behind_gap().await {
        Ok(found) => Ok(found),
        Err(WalkError::Damaged(_)) => Ok(false),
        Err(WalkError::Io(error)) => Err(error.into()),
    }
}
