//! A segment that has ended, and the file behind any segment as readers see it.
//!
//! A sealed segment costs a few words until it is first read; then its file is opened and its index loaded from
//! the footer, both into the shard's bounded cache. A footer that does not verify costs one walk over the segment,
//! not the segment. The expensive mistake is to open or load on the path of a produce, so nothing here is sync
//! and does I/O.

use crate::careful_read::read_twice;
use crate::checkpoint::SealedSegmentInfo;
use crate::damage::{BlockError, DamageKind, DamagedRange, SegmentDamage};
use crate::disk::{Disk, OpenMode, is_device_error};
use crate::frame_reader::Reading;
use crate::frame_walk::{WalkError, WalkRange};
use crate::layout;
use crate::offset_index::OffsetEntry;
use crate::open_segments::{OpenSegment, OpenSegments};
use crate::read_turns::Turns;
use crate::segment_format::{SegmentFooter, SegmentTrailer};
use crate::segment_index::SegmentIndex;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{Offset, TopicPartition};
use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};

/// Bytes read at a time when an index has to be rebuilt.
pub(crate) const REBUILD_WINDOW_LEN: usize = 256 * 1024;

/// A segment whose end is recorded.
pub(crate) struct SealedSegment<D: Disk> {
    pub info: SealedSegmentInfo,
    pub file: Rc<SegmentFile<D>>,
    /// Not yet flushed: the file that has to be, kept open for it.
    pub unflushed: Option<D::File>,
}

impl<D: Disk> SealedSegment<D> {
    pub(crate) fn extent(&self) -> SegmentExtent {
        SegmentExtent {
            end_position: self.info.file_len.saturating_sub(BLOCK_LEN as u64),
            end_offset: self.info.next_offset,
            last_header_crc: self.info.last_header_crc,
            footer_end: self.info.has_footer.then_some(self.info.file_len),
        }
    }
}

/// How much of a segment file may be read as frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentExtent {
    /// No frame reaches behind this byte.
    pub end_position: u64,
    /// The offset after the last record that may be read.
    pub end_offset: Offset,
    /// `header_crc` of the last frame before it.
    pub last_header_crc: u32,
    /// The file's length, when it has a footer.
    pub footer_end: Option<u64>,
}

/// What the first frame of the segment at `base_offset` follows, when that is known.
pub(crate) fn linked(base_offset: Offset, before: Option<&SealedSegmentInfo>) -> Option<u32> {
    match before {
        Some(before) => (before.next_offset == base_offset).then_some(before.last_header_crc),
        None => (base_offset == Offset::ZERO).then_some(0),
    }
}

/// The index of the first frames of an extent, and where the walk that made it goes on.
#[derive(Clone)]
struct BegunIndex {
    index: Rc<SegmentIndex>,
    next: WalkRange,
}

/// A segment file as readers see it: opened when first read, closed by the shard's cache.
pub(crate) struct SegmentFile<D: Disk> {
    disk: D,
    path: PathBuf,
    pub id: TopicPartition,
    pub base_offset: Offset,
    me: Weak<Self>,
    cache: Rc<OpenSegments>,
    opened: RefCell<Option<D::File>>,
    /// The index, and up to which offset it goes.
    index: RefCell<Option<(Offset, Rc<SegmentIndex>)>>,
    /// Of what a restart has left unread: as much of the index as readers have come to need.
    begun_index: RefCell<Option<BegunIndex>>,
    used: Cell<bool>,
    /// Set when the log gives the file up: that it cannot be opened then is no damage.
    removed: Cell<bool>,
    /// Set when a truncation cuts the segment off or ends it earlier: nothing read through this value counts.
    truncated: Cell<bool>,
    /// `header_crc` of the frame before its first one, where the log knows it.
    pub(crate) follows: Cell<Option<u32>>,
}

impl<D: Disk> SegmentFile<D> {
    pub(crate) fn new(disk: &D, dir: &Path, id: TopicPartition, base_offset: Offset, cache: &Rc<OpenSegments>) -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            disk: disk.clone(),
            path: layout::segment_file(dir, base_offset),
            id,
            base_offset,
            me: me.clone(),
            cache: cache.clone(),
            opened: RefCell::new(None),
            index: RefCell::new(None),
            begun_index: RefCell::new(None),
            used: Cell::new(false),
            removed: Cell::new(false),
            truncated: Cell::new(false),
            follows: Cell::new(None),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn disk(&self) -> &D {
        &self.disk
    }

    /// The log has no use for this file any more, and it will be removed.
    pub(crate) fn set_removed(&self) {
        self.removed.set(true);
    }

    /// A truncation has reached into this segment: who reads it has to ask the log again.
    pub(crate) fn set_truncated(&self) {
        self.set_removed();
        self.truncated.set(true);
    }

    pub(crate) fn is_truncated(&self) -> bool {
        self.truncated.get()
    }

    /// The file, opened now or before. `end_offset` is what cannot be served if it is missing.
    pub(crate) async fn open(&self, end_offset: Offset) -> Result<D::File, WalkError> {
        self.used.set(true);
        let opened = self.opened.borrow().clone();
        if let Some(file) = opened {
            return Ok(file);
        }
        let asked_again = match self.disk.open(&self.path, OpenMode::Existing).await {
            Err(error) if is_device_error(&error) => self.disk.open(&self.path, OpenMode::Existing).await,
            opened => opened,
        };
        let file = asked_again.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if !self.removed.get() => {
                WalkError::Damaged(self.damage(0, DamageKind::FileMissing, end_offset))
            }
            _ if is_device_error(&error) => WalkError::Damaged(self.damage(0, DamageKind::Unreadable, end_offset)),
            _ => WalkError::Io(error),
        })?;
        *self.opened.borrow_mut() = Some(file.clone());
        self.cache.on_opened(self.me.clone());
        Ok(file)
    }

    /// An index of `extent` that goes at least as far as `offset`, where there is no damage before it. What a restart has
    /// left unread is walked as far as readers come and not to its end, however long it is.
    pub(crate) async fn index_towards(
        &self,
        extent: &SegmentExtent,
        offset: Offset,
        reading: Reading<'_>,
    ) -> Result<Rc<SegmentIndex>, WalkError> {
        let is_whole = self.index.borrow().as_ref().is_some_and(|(end, _)| *end == extent.end_offset);
        let whole = if is_whole || extent.footer_end.is_some() { Some(self.index(extent, reading).await?) } else { None };
        let file = self.open(extent.end_offset).await?;
        let unread = match &whole {
            None => self.walk_from_start(&file, extent, reading).await?,
            Some(index) => match index.offsets.unread_at(offset) {
                Some((from, until)) => self.unread_range(from, until),
                None => return Ok(index.clone()),
            },
        };
        match self.walk_unread(file, unread, offset, reading).await {
            // What lies behind damage is known only when all of it is walked.
            Err(WalkError::Damaged(_)) => self.whole_index(extent, reading).await,
            walked => walked,
        }
    }

    /// Goes on with the walk over `unread` until it has passed `offset`, or begins it.
    async fn walk_unread(
        &self,
        file: D::File,
        unread: WalkRange,
        offset: Offset,
        reading: Reading<'_>,
    ) -> Result<Rc<SegmentIndex>, WalkError> {
        let begun = self.begun_index.borrow().clone().filter(|begun| begun.next.end_offset == unread.end_offset);
        let begun = begun.unwrap_or(BegunIndex { index: Rc::default(), next: unread });
        if begun.next.offset > offset {
            return Ok(begun.index);
        }
        let mut index = begun.index.as_ref().clone();
        let mut reader = reading.reader(file, begun.next, unread.end_offset, REBUILD_WINDOW_LEN);
        while reader.walk().next_offset() <= offset {
            match reader.next().await? {
                Some(frame) => index.on_frame(frame.position, &frame.header),
                None => break,
            }
        }
        let index = Rc::new(index);
        let next = reader.walk().rest();
        // Of two readers that walked at once, the one that came further has what counts.
        let mut held = self.begun_index.borrow_mut();
        if held.as_ref().is_none_or(|held| held.next.end_offset != next.end_offset || held.next.offset < next.offset) {
            *held = Some(BegunIndex { index: index.clone(), next });
        }
        drop(held);
        self.cache.on_opened(self.me.clone());
        Ok(index)
    }

    fn unread_range(&self, from: OffsetEntry, until: OffsetEntry) -> WalkRange {
        WalkRange {
            id: self.id,
            segment: self.base_offset,
            position: u64::from(from.position),
            offset: from.base_offset,
            prev_header_crc: from.prev_header_crc,
            end_position: u64::from(until.position),
            end_offset: until.base_offset,
        }
    }

    /// An index that knows nothing but where the first frame of `extent` is.
    pub(crate) async fn first_entry(&self, extent: &SegmentExtent) -> Result<SegmentIndex, WalkError> {
        let file = self.open(extent.end_offset).await?;
        let WalkRange { offset: base_offset, prev_header_crc, .. } = self.known_start(&file, extent).await?;
        let position = u32::try_from(BLOCK_LEN).expect("a block is short");
        let mut index = SegmentIndex::default();
        index.offsets.push(OffsetEntry { base_offset, position, prev_header_crc });
        Ok(index)
    }

    /// The index of everything in `extent`: from the cache, from the footer, or else from a walk.
    pub(crate) async fn index(&self, extent: &SegmentExtent, reading: Reading<'_>) -> Result<Rc<SegmentIndex>, WalkError> {
        let cached = self.index.borrow().as_ref().filter(|(end, _)| *end == extent.end_offset).map(|(_, index)| index.clone());
        if let Some(index) = cached {
            self.used.set(true);
            return Ok(index);
        }
        let file = self.open(extent.end_offset).await?;
        let from_footer = match extent.footer_end {
            Some(file_len) => self.read_footer(&file, file_len, extent.end_offset, reading.turns).await,
            None => Err(WalkError::Damaged(self.damage(0, DamageKind::NoFrame, extent.end_offset))),
        };
        let index = match from_footer {
            Ok(footer) => footer.index,
            Err(WalkError::Damaged(_)) => self.rebuild_index(file, extent, reading).await?,
            Err(error) => return Err(error),
        };
        Ok(self.keep_index(extent, index))
    }

    /// The footer of a sealed segment; `Damaged` when it has none that is good.
    pub(crate) async fn footer(&self, extent: &SegmentExtent, turns: &Turns) -> Result<SegmentFooter, WalkError> {
        let file = self.open(extent.end_offset).await?;
        self.read_footer(&file, extent.footer_end.unwrap_or(0), extent.end_offset, turns).await
    }

    /// How far readers have had the segment walked, bytes.
    #[cfg(test)]
    pub(crate) fn walked_to(&self) -> Option<u64> {
        self.begun_index.borrow().as_ref().map(|begun| begun.next.position)
    }

    async fn read_footer(
        &self,
        file: &D::File,
        file_len: u64,
        end_offset: Offset,
        turns: &Turns,
    ) -> Result<SegmentFooter, WalkError> {
        let damaged = |position, error| WalkError::Damaged(self.damage(position, DamageKind::Block(error), end_offset));
        let trailer_position = file_len.saturating_sub(BLOCK_LEN as u64);
        let block = self.read(file, trailer_position, BLOCK_LEN, end_offset).await?;
        let trailer = SegmentTrailer::decode_expecting(&block, file_len, self.id, self.base_offset)
            .map_err(|error| damaged(trailer_position, error))?;
        if trailer.next_offset != end_offset {
            return Err(damaged(trailer_position, BlockError::Content { field: "next_offset" }));
        }
        // Bounded by the file's length, which fits u32.
        let footer_len = usize::try_from(trailer.footer_len).unwrap_or(usize::MAX);
        let _turn = turns.take(footer_len).await;
        let bytes = self.read(file, trailer.footer_position, footer_len, end_offset).await?;
        SegmentFooter::decode(&bytes, &trailer).map_err(|error| damaged(trailer.footer_position, error))
    }

    /// The same without any part left unread, which costs a walk over all of it where a restart left one.
    pub(crate) async fn whole_index(&self, extent: &SegmentExtent, reading: Reading<'_>) -> Result<Rc<SegmentIndex>, WalkError> {
        let index = self.index(extent, reading).await?;
        if !index.is_partial() {
            return Ok(index);
        }
        let file = self.open(extent.end_offset).await?;
        let index = self.rebuild_index(file, extent, reading).await?;
        Ok(self.keep_index(extent, index))
    }

    fn keep_index(&self, extent: &SegmentExtent, index: SegmentIndex) -> Rc<SegmentIndex> {
        let index = Rc::new(index);
        *self.index.borrow_mut() = Some((extent.end_offset, index.clone()));
        self.begun_index.borrow_mut().take();
        self.cache.on_opened(self.me.clone());
        index
    }

    /// What the first frame follows, where the log knows it: its last frame before this segment says so.
    pub(crate) fn set_follows(&self, header_crc: Option<u32>) {
        self.follows.set(header_crc);
    }

    /// Reads what is of use only as a whole; what the device fails twice is damaged.
    pub(crate) async fn read(
        &self,
        file: &D::File,
        position: u64,
        len: usize,
        end_offset: Offset,
    ) -> Result<D::Buffer, WalkError> {
        read_twice(file, position, len).await.map_err(|error| match is_device_error(&error) {
            true => WalkError::Damaged(self.damage(position, DamageKind::Unreadable, end_offset)),
            false => WalkError::Io(error),
        })
    }

    pub(crate) fn damage(&self, position: u64, kind: DamageKind, end_offset: Offset) -> SegmentDamage {
        let range = DamagedRange { from: self.base_offset, until: end_offset };
        SegmentDamage { id: self.id, segment: self.base_offset, position, kind, range }
    }
}

impl<D: Disk> OpenSegment for SegmentFile<D> {
    fn index_len(&self) -> usize {
        let whole = self.index.borrow().as_ref().map_or(0, |(_, index)| index.len_in_memory());
        whole + self.begun_index.borrow().as_ref().map_or(0, |begun| begun.index.len_in_memory())
    }

    fn take_used(&self) -> bool {
        self.used.replace(false)
    }

    fn close(&self) {
        self.opened.borrow_mut().take();
        self.index.borrow_mut().take();
        self.begun_index.borrow_mut().take();
    }
}
