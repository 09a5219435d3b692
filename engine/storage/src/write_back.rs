//! Write-back: from the tail in memory to segment files, in large pieces and off the path of a produce.
//!
//! Plan (sync, owns all it needs), run (async, borrows nothing), report (sync). Every 4 KiB block of a segment is
//! written once: a plan begins where the last one ended and takes whole blocks, or, when the journal needs the
//! space, all blocks with the last one padded. The expensive mistake is to write before the space is allocated: a
//! full disk then strands half a segment; so a plan allocates first and fails with nothing changed. Deliberately
//! absent: flushing (`flush`), and when to do any of it.

use crate::active_segment::{ActiveSegment, FRAMES_START};
use crate::checkpoint::SealedSegmentInfo;
use crate::damage::{DamageKind, DamagedRange, SegmentDamage};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::footer_plan::FooterPlan;
use crate::log::Log;
use crate::run_bounded::run_bounded;
use crate::sealed_segment::{SealedSegment, SegmentFile};
use crate::segment_format::{SegmentEnd, SegmentFooter, block_down};
use crate::tail::PlacedBytes;
use bytes::Bytes;
use sluice_model::Offset;
use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::rc::Rc;

/// Most bytes one plan writes, footer not counted, so that write-back can be paced.
const PLAN_LEN_MAX: u64 = 1024 * 1024;
/// Bytes of one write.
const PIECE_LEN: u64 = 256 * 1024;
/// Writes of one plan that are under way at once.
const PIECES_AT_ONCE: usize = 4;
/// Bounds of the step in which space is allocated ahead of need, bytes.
const ALLOCATE_AHEAD_LEN_MIN: u64 = 1024 * 1024;
const ALLOCATE_AHEAD_LEN_MAX: u64 = 32 * 1024 * 1024;

/// How much is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteBackKind {
    /// Whole blocks, when at least this many bytes of them have gathered (or a segment has ended).
    WholeBlocks { at_least: usize },
    /// All there is, the last block padded with zeros: the journal needs the space, or the broker stops.
    Everything,
}

/// One piece of write-back of one segment. Owns everything it needs.
pub struct WriteBackPlan<D: Disk> {
    segment: Rc<SegmentFile<D>>,
    handle: Option<D::File>,
    /// Blocks to write: from here, a multiple of `BLOCK_LEN`, to there; 0 includes the header.
    from: u64,
    to: u64,
    header: Option<Vec<u8>>,
    content: Vec<PlacedBytes>,
    /// Bytes before `from` that must be in the file already.
    compare_from: Option<u64>,
    damaged_range: DamagedRange,
    allocated: u64,
    allocate_ahead: u64,
    footer: Option<FooterPlan>,
}

/// What a plan has done; to be given to [`Log::on_written_back`].
pub struct WrittenBack<D: Disk> {
    segment: Offset,
    from: u64,
    to: u64,
    handle: D::File,
    allocated: u64,
    sealed: Option<SealedSegmentInfo>,
}

impl<D: Disk> WrittenBack<D> {
    /// Bytes that were written, footer included.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a plan is never empty")]
    pub fn len(&self) -> u64 {
        self.sealed.map_or(self.to, |info| info.file_len) - self.from
    }
}

/// Why a plan failed.
#[derive(Debug)]
pub enum WriteBackError {
    /// With `StorageFull` (see [`Self::is_storage_full`]) nothing is written and the plan may be made anew later.
    /// Any other error ends the process: no write is retried.
    Io(io::Error),
    /// The file does not hold what it held at the recovery point.
    Damaged(SegmentDamage),
}

impl WriteBackError {
    #[must_use]
    pub fn is_storage_full(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::StorageFull)
    }
}

impl fmt::Display for WriteBackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "write-back: {error}"),
            Self::Damaged(damage) => write!(f, "write-back: {damage}"),
        }
    }
}

impl std::error::Error for WriteBackError {}

impl From<io::Error> for WriteBackError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<D: Disk> Log<D> {
    /// The next piece of write-back, `None` when nothing is due. One plan covers at most 1 MiB of one segment; ask
    /// again after [`Self::on_written_back`]. One plan at a time per log; a plan that failed with
    /// `StorageFull` is simply made anew.
    pub fn plan_write_back(&mut self, kind: WriteBackKind) -> Option<WriteBackPlan<D>> {
        self.assert_not_cutting();
        self.drop_empty_ended_segments();
        if kind == WriteBackKind::Everything {
            self.active_mut().pad();
        }
        let front = self.open.front().expect("a log has an active segment");
        let gathered: u64 = self.open.iter().map(ActiveSegment::writable_len).sum();
        let is_due = match kind {
            WriteBackKind::WholeBlocks { at_least } => gathered >= at_least as u64 && gathered > 0,
            WriteBackKind::Everything => gathered > 0 || front.straddle.is_some_and(|start| start < front.append_position()),
        };
        (is_due || front.ended).then(|| self.plan_segment(front))
    }

    /// Takes note of a plan that has run.
    pub fn on_written_back(&mut self, written: WrittenBack<D>) {
        let front = self.open.front_mut().expect("a log has an active segment");
        assert_eq!((front.base_offset, front.written()), (written.segment, written.from), "write-back reported out of order");
        front.set_written(written.to);
        front.allocated = written.allocated;
        front.write_count += 1;
        front.write_handle = Some(written.handle);
        front.straddle = None;
        if written.from == 0 {
            self.dir_changes += 1;
        }
        let (base, end) = (front.base_offset, front.written());
        let mut count = self.tail.written_count();
        while let Some(frame) = self.tail.frames().get(count) {
            if frame.segment_base != base || frame.end_position() > end {
                break;
            }
            self.held.on_written(&self.tail.header(count), frame.address);
            count += 1;
        }
        self.tail.set_written_count(count);
        if let Some(info) = written.sealed {
            self.seal_front(info);
        }
    }

    fn seal_front(&mut self, info: SealedSegmentInfo) {
        let front = self.open.pop_front().expect("a log has an active segment");
        self.sealed.push_back(SealedSegment { info, file: front.file, unflushed: front.write_handle });
        if self.open.is_empty() {
            self.open_segment(info.next_offset, info.last_header_crc);
        }
    }

    /// A segment that ended before any frame came is no segment; its file, if it has one, is to be removed.
    fn drop_empty_ended_segments(&mut self) {
        while let Some(front) = self.open.front().filter(|front| front.ended && front.is_empty()) {
            if front.written() > 0 {
                self.removable.push(front.file.path().to_owned());
            }
            let (next_offset, prev_header_crc) = (front.next_offset, front.prev_header_crc);
            self.open.pop_front();
            if self.open.is_empty() {
                self.open_segment(next_offset, prev_header_crc);
            }
        }
    }

    fn plan_segment(&self, segment: &ActiveSegment<D>) -> WriteBackPlan<D> {
        let from = segment.written();
        let to = segment.writable_end().min(from.max(FRAMES_START) + PLAN_LEN_MAX);
        let first = self.tail.written_count();
        let belongs = |index: &usize| {
            let frame = &self.tail.frames()[*index];
            frame.segment_base == segment.base_offset && frame.position < to.max(from)
        };
        let count = (first..self.tail.frames().len()).take_while(belongs).count();
        let content = self.tail.placed_slices(first..first + count);
        let starts_at = content.first().map(|placed| placed.position);
        let compare_from = segment.straddle.filter(|straddle| starts_at == Some(*straddle));
        let footer = (segment.ended && to == segment.writable_end()).then(|| self.plan_footer(segment, first..first + count));
        WriteBackPlan {
            segment: segment.file.clone(),
            handle: segment.write_handle.clone(),
            from,
            to,
            header: (from == 0).then(|| segment.header().encode()),
            content,
            compare_from,
            damaged_range: DamagedRange { from: self.held.point().offset, until: segment.next_offset },
            allocated: segment.allocated,
            allocate_ahead: self.allocate_ahead_len(segment, to),
            footer,
        }
    }

    fn plan_footer(&self, segment: &ActiveSegment<D>, frames: std::ops::Range<usize>) -> FooterPlan {
        let (mut epochs, mut producers) = self.held.tables_as_written();
        for index in frames {
            let header = self.tail.header(index);
            epochs.on_append(header.leader_epoch(), header.base_offset());
            producers.on_append(&header);
        }
        let end = SegmentEnd {
            header: segment.header(),
            next_offset: segment.next_offset,
            end_position: segment.end_position(),
            footer_position: segment.footer_position(),
            last_header_crc: segment.last_header_crc,
        };
        let footer = SegmentFooter { index: segment.index.clone(), epochs, producers };
        FooterPlan { end, footer, restored: segment.restored.map(|extent| (extent, segment.restored_index.clone())) }
    }

    /// A quarter of what the segment holds, or four times what waits: little for a quiet partition, and few
    /// allocations for a busy one. Never beyond what the segment can still become.
    fn allocate_ahead_len(&self, segment: &ActiveSegment<D>, to: u64) -> u64 {
        let wanted = (segment.append_position() / 4).max(self.tail.unwritten_len() * 4);
        let left = self.config.segment_len.saturating_sub(to);
        block_down(wanted.clamp(ALLOCATE_AHEAD_LEN_MIN, ALLOCATE_AHEAD_LEN_MAX).min(left))
    }
}

impl<D: Disk> WriteBackPlan<D> {
    /// Bytes it is about to write, for pacing.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a plan is never empty")]
    pub fn len(&self) -> u64 {
        self.to - self.from
    }

    /// Opens or creates the file, allocates, writes. Nothing is durable afterwards.
    pub async fn run(mut self) -> Result<WrittenBack<D>, WriteBackError> {
        let handle = match self.handle.take() {
            Some(handle) => handle,
            None => self.open().await?,
        };
        let footer = match self.footer.take() {
            Some(footer) => Some(footer.encode(&self.segment).await?),
            None => None,
        };
        let allocated = self.allocate(&handle, footer.as_ref().map_or(0, |(bytes, _)| bytes.len() as u64)).await?;
        if let Some(start) = self.compare_from {
            self.compare(&handle, start).await?;
        }
        self.write_content(&handle).await?;
        let sealed = match footer {
            Some((bytes, info)) => {
                self.write(&handle, self.to, &[PlacedBytes { position: self.to, bytes: Bytes::from(bytes) }], info.file_len)
                    .await?;
                handle.truncate(info.file_len).await?;
                Some(info)
            }
            None => None,
        };
        Ok(WrittenBack { segment: self.segment.base_offset, from: self.from, to: self.to, handle, allocated, sealed })
    }

    /// A segment that begins may find a file: one that was created after the checkpoint that recovery started from.
    /// It is written anew from its header on.
    async fn open(&self) -> io::Result<D::File> {
        let (disk, path) = (self.segment.disk(), self.segment.path());
        if self.from > 0 {
            return disk.open(path, OpenMode::Existing).await;
        }
        let created = match disk.open(path, OpenMode::CreateNew).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                disk.create_dir_all(path.parent().expect("a segment lies in a folder")).await?;
                disk.open(path, OpenMode::CreateNew).await
            }
            other => other,
        };
        match created {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => disk.open(path, OpenMode::Existing).await,
            other => other,
        }
    }

    /// Space for all that this plan writes, and ahead of need where there is enough; gives back what is allocated.
    async fn allocate(&self, handle: &D::File, footer_len: u64) -> io::Result<u64> {
        let needed = self.to + footer_len;
        if needed <= self.allocated {
            return Ok(self.allocated);
        }
        if footer_len == 0 && self.allocate_ahead > 0 {
            match handle.allocate(needed + self.allocate_ahead).await {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
                other => return other.map(|()| needed + self.allocate_ahead),
            }
        }
        handle.allocate(needed).await.map(|()| needed)
    }

    /// The bytes of the first frame that were written before the restart are those of the journal's copy.
    async fn compare(&self, handle: &D::File, start: u64) -> Result<(), WriteBackError> {
        let position = block_down(start);
        let len = usize::try_from(self.from - position).expect("one frame fits in memory");
        let mut wanted = vec![0; len];
        place(&mut wanted, position, &self.content);
        let found = handle.read_at(position, len).await?;
        let skip = usize::try_from(start - position).expect("below a block");
        if found.len() < len {
            let kind = DamageKind::FileTooShort { expected: self.from, actual: position + found.len() as u64 };
            return Err(WriteBackError::Damaged(self.damage(start, kind)));
        }
        match (skip..len).find(|&at| wanted[at] != found[at]) {
            None => Ok(()),
            Some(at) => {
                let kind = DamageKind::Replayed { expected: wanted[at], actual: found[at] };
                Err(WriteBackError::Damaged(self.damage(position + at as u64, kind)))
            }
        }
    }

    async fn write_content(&self, handle: &D::File) -> io::Result<()> {
        match &self.header {
            None => self.write(handle, self.from, &self.content, self.to).await,
            Some(header) => {
                let header = PlacedBytes { position: 0, bytes: Bytes::copy_from_slice(header) };
                let content: Vec<PlacedBytes> = std::iter::once(header).chain(self.content.iter().cloned()).collect();
                self.write(handle, self.from, &content, self.to).await
            }
        }
    }

    /// Writes the blocks from `from` to `to`; what `content` leaves out is zeros.
    async fn write(&self, handle: &D::File, from: u64, content: &[PlacedBytes], to: u64) -> io::Result<()> {
        let starts = (from..to).step_by(PIECE_LEN as usize);
        let pieces = starts.map(|position| async move {
            let len = PIECE_LEN.min(to - position);
            let mut buffer = self.segment.disk().scratch_buffer(usize::try_from(len).expect("a piece fits in memory"));
            let first = content.partition_point(|placed| placed.position + placed.bytes.len() as u64 <= position);
            place(&mut buffer, position, &content[first..]);
            handle.write_at(position, buffer).await
        });
        let result = run_bounded(PIECES_AT_ONCE, pieces, |written| match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        });
        match result.await {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }

    fn damage(&self, position: u64, kind: DamageKind) -> SegmentDamage {
        SegmentDamage { id: self.segment.id, segment: self.segment.base_offset, position, kind, range: self.damaged_range }
    }
}

/// Fills the window that begins at `position`: what lies in it of `content`, which is in order, and zeros.
fn place(window: &mut [u8], position: u64, content: &[PlacedBytes]) {
    let end = position + window.len() as u64;
    let mut filled = 0;
    for placed in content.iter().take_while(|placed| placed.position < end) {
        let placed_end = placed.position + placed.bytes.len() as u64;
        let (from, to) = (placed.position.max(position), placed_end.min(end));
        if from < to {
            let (source, target) = ((from - placed.position) as usize, (from - position) as usize);
            let len = (to - from) as usize;
            assert!(filled <= target, "content at {target} of a window that is filled up to {filled}");
            window[filled..target].fill(0);
            window[target..target + len].copy_from_slice(&placed.bytes[source..source + len]);
            filled = target + len;
        }
    }
    window[filled..].fill(0);
}

#[cfg(test)]
#[path = "write_back_test.rs"]
mod tests;
