//! The end of one log in memory: frames that are not yet in segments, and behind them, as long as memory allows,
//! frames that are (the batch cache).
//!
//! Frames are copied once, into chunks; readers and write-back share the chunks' bytes. What was appended since
//! the last look is frozen in one piece, so frames that are read together are one slice. The expensive mistake is
//! a buffer per partition: an idle tail holds a chunk as small as its frames, an empty one nothing. Deliberately
//! absent: positions' meaning, which is `active_segment`'s.

use crate::batch_cache::TailMemory;
use crate::entry_address::EntryAddress;
use bytes::{BufMut, Bytes, BytesMut};
use sluice_model::limits::TAIL_CHUNK_LEN;
use sluice_model::{FRAME_HEADER_LEN, FrameHeader, Offset, TopicPartition};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;

/// The smallest chunk, bytes.
const CHUNK_LEN_MIN: usize = 1024;
/// A frame of at least this length that does not fit in the open chunk gets a buffer of its own.
const OWN_CHUNK_LEN_MIN: usize = TAIL_CHUNK_LEN / 4;

/// One frame in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TailFrame {
    pub base_offset: Offset,
    pub next_offset: Offset,
    /// The segment it belongs to, and where it begins there.
    pub segment_base: Offset,
    pub position: u64,
    pub len: u32,
    pub address: EntryAddress,
    /// Number of its chunk since the tail began, and where it begins there.
    chunk: u64,
    start: u32,
}

impl TailFrame {
    pub(crate) fn end_position(&self) -> u64 {
        self.position + u64::from(self.len)
    }
}

/// Where an appended frame belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FramePlace {
    pub segment_base: Offset,
    pub position: u64,
    pub address: EntryAddress,
}

/// Bytes of a segment from `position` on.
#[derive(Clone, Debug)]
pub(crate) struct PlacedBytes {
    pub position: u64,
    pub bytes: Bytes,
}

#[derive(Debug)]
pub(crate) struct Tail {
    id: TopicPartition,
    memory: TailMemory,
    frames: VecDeque<TailFrame>,
    /// Frames at the front of `frames` that are wholly in segments.
    written_count: usize,
    /// Bytes of the frames behind them.
    unwritten_len: u64,
    chunks: VecDeque<Chunk>,
    first_chunk: u64,
    /// Chunks at the front of `chunks` that are in the eviction queue.
    clean_count: usize,
}

#[derive(Debug)]
struct Chunk {
    bytes: RefCell<ChunkBytes>,
    len: usize,
    frame_count: usize,
    /// What the shard's account is charged for it.
    charged_len: u64,
}

#[derive(Debug)]
struct ChunkBytes {
    /// Frozen so far, each with where it begins in the chunk.
    pieces: Vec<(usize, Bytes)>,
    /// Appended since; its spare capacity is what the chunk still has room for.
    open: BytesMut,
}

impl Tail {
    pub(crate) fn new(id: TopicPartition, memory: TailMemory) -> Self {
        Self {
            id,
            memory,
            frames: VecDeque::new(),
            written_count: 0,
            unwritten_len: 0,
            chunks: VecDeque::new(),
            first_chunk: 0,
            clean_count: 0,
        }
    }

    pub(crate) fn frames(&self) -> &VecDeque<TailFrame> {
        &self.frames
    }

    /// Index in [`Self::frames`] of the first frame that is not wholly in segments; their count when all are.
    pub(crate) fn written_count(&self) -> usize {
        self.written_count
    }

    /// Bytes of frames that are not wholly in segments.
    pub(crate) fn unwritten_len(&self) -> u64 {
        self.unwritten_len
    }

    pub(crate) fn append(&mut self, header: &FrameHeader, body: &[u8], place: FramePlace) {
        let len = FRAME_HEADER_LEN + body.len();
        let last_is_full = self.clean_count == self.chunks.len() || self.chunks.back().is_none_or(|chunk| chunk.room() < len);
        if last_is_full {
            self.open_chunk(len);
        }
        let frame_charge = size_of::<TailFrame>() as u64;
        let chunk_number = self.first_chunk + self.chunks.len() as u64 - 1;
        let chunk = self.chunks.back_mut().expect("a chunk is open");
        let start = chunk.len;
        chunk.push(header.as_bytes(), body, frame_charge);
        self.memory.on_allocated(frame_charge);
        self.unwritten_len += len as u64;
        self.frames.push_back(TailFrame {
            base_offset: header.base_offset(),
            next_offset: header.next_offset(),
            segment_base: place.segment_base,
            position: place.position,
            len: u32::try_from(len).expect("a frame is at most FRAME_BODY_LEN_MAX and a header"),
            address: place.address,
            chunk: chunk_number,
            start: u32::try_from(start).expect("a chunk is at most one frame or TAIL_CHUNK_LEN"),
        });
    }

    /// Index of the last frame with a base offset at or below `offset`.
    pub(crate) fn find(&self, offset: Offset) -> Option<usize> {
        self.frames.partition_point(|frame| frame.base_offset <= offset).checked_sub(1)
    }

    /// The header of one frame.
    pub(crate) fn header(&self, index: usize) -> FrameHeader {
        let frame = &self.frames[index];
        let start = frame.start as usize;
        self.chunk(frame.chunk).with_bytes(start, |bytes| {
            *FrameHeader::parse(bytes).expect("the tail holds frames that were verified before they were appended")
        })
    }

    /// The bytes of these frames, neighbours in as few slices as they were frozen in.
    pub(crate) fn slices(&self, range: Range<usize>) -> Vec<Bytes> {
        let mut out = Vec::new();
        self.each_run(
            range,
            |_, _| true,
            |first, last| {
                self.chunk(first.chunk)
                    .slices(first.start as usize..(last.start + last.len) as usize, |_, bytes| out.push(bytes));
            },
        );
        out
    }

    /// The same with their positions; frames that are not neighbours in the segment are not in one slice either.
    pub(crate) fn placed_slices(&self, range: Range<usize>) -> Vec<PlacedBytes> {
        let mut out = Vec::new();
        self.each_run(
            range,
            |a, b| a.end_position() == b.position,
            |first, last| {
                let start = first.start as usize;
                self.chunk(first.chunk).slices(start..(last.start + last.len) as usize, |at, bytes| {
                    out.push(PlacedBytes { position: first.position + (at - start) as u64, bytes });
                });
            },
        );
        out
    }

    /// The frames up to `count` (an index in [`Self::frames`]) are wholly in segments now; chunks that hold no
    /// others may be evicted.
    pub(crate) fn set_written_count(&mut self, count: usize) {
        assert!(
            self.written_count <= count && count <= self.frames.len(),
            "{} then {count} of {}",
            self.written_count,
            self.frames.len()
        );
        self.unwritten_len -= self.frames.range(self.written_count..count).map(|frame| u64::from(frame.len)).sum::<u64>();
        self.written_count = count;
        let chunk_of_next = self.frames.get(count).map_or(u64::MAX, |frame| frame.chunk);
        while let Some(chunk) = self.chunks.get(self.clean_count) {
            if self.first_chunk + self.clean_count as u64 >= chunk_of_next {
                break;
            }
            self.memory.on_clean(self.id, chunk.charged_len);
            self.clean_count += 1;
        }
    }

    /// Frees the oldest chunk when it is clean; gives back its bytes. Readers that hold slices of it keep them.
    pub(crate) fn evict_oldest_clean(&mut self) -> u64 {
        if self.clean_count == 0 {
            return 0;
        }
        let chunk = self.chunks.pop_front().expect("clean chunks are chunks");
        self.frames.drain(..chunk.frame_count);
        self.written_count -= chunk.frame_count;
        self.clean_count -= 1;
        self.first_chunk += 1;
        self.memory.on_evicted(chunk.charged_len);
        if self.frames.capacity() > 64 && self.frames.len() < self.frames.capacity() / 4 {
            self.frames.shrink_to(self.frames.len() * 2);
        }
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new();
            self.frames = VecDeque::new();
        }
        chunk.charged_len
    }

    fn chunk(&self, number: u64) -> &Chunk {
        let index = usize::try_from(number - self.first_chunk).expect("chunks are counted in memory");
        &self.chunks[index]
    }

    fn open_chunk(&mut self, frame_len: usize) {
        let held: usize = self.chunks.back().map_or(0, |chunk| chunk.len * 2);
        let capacity = if frame_len >= OWN_CHUNK_LEN_MIN {
            frame_len
        } else {
            held.next_power_of_two().clamp(CHUNK_LEN_MIN, TAIL_CHUNK_LEN).max(frame_len)
        };
        let open = BytesMut::with_capacity(capacity);
        let charged_len = capacity as u64;
        self.memory.on_allocated(charged_len);
        let bytes = RefCell::new(ChunkBytes { pieces: Vec::new(), open });
        self.chunks.push_back(Chunk { bytes, len: 0, frame_count: 0, charged_len });
    }

    /// Gives the first and the last frame of every run of frames that are neighbours in one chunk and for which `joined`
    /// holds.
    fn each_run(
        &self,
        range: Range<usize>,
        joined: impl Fn(&TailFrame, &TailFrame) -> bool,
        mut give: impl FnMut(&TailFrame, &TailFrame),
    ) {
        let mut frames = self.frames.range(range);
        let Some(mut first) = frames.next() else { return };
        let mut last = first;
        for frame in frames {
            if last.chunk != frame.chunk || !joined(last, frame) {
                give(first, last);
                first = frame;
            }
            last = frame;
        }
        give(first, last);
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let len = |chunks: &VecDeque<Chunk>, count: usize| chunks.range(..count).map(|chunk| chunk.charged_len).sum::<u64>();
        self.memory.on_freed(len(&self.chunks, self.chunks.len()), len(&self.chunks, self.clean_count));
    }
}

impl Chunk {
    fn room(&self) -> usize {
        let bytes = self.bytes.borrow();
        bytes.open.capacity() - bytes.open.len()
    }

    fn push(&mut self, header: &[u8], body: &[u8], frame_charge: u64) {
        let bytes = self.bytes.get_mut();
        bytes.open.put_slice(header);
        bytes.open.put_slice(body);
        self.len += header.len() + body.len();
        self.frame_count += 1;
        self.charged_len += frame_charge;
    }

    /// Shows the bytes from `start` on, as many as are in one piece: at least the frame that begins there.
    fn with_bytes<T>(&self, start: usize, look: impl FnOnce(&[u8]) -> T) -> T {
        let bytes = self.bytes.borrow();
        let frozen_len = self.len - bytes.open.len();
        if start >= frozen_len {
            return look(&bytes.open[start - frozen_len..]);
        }
        let at = bytes.pieces.partition_point(|(begin, piece)| begin + piece.len() <= start);
        let (begin, piece) = &bytes.pieces[at];
        look(&piece[start - begin..])
    }

    /// Gives the bytes of `range`, piece by piece, each with where it begins in the chunk.
    fn slices(&self, range: Range<usize>, mut give: impl FnMut(usize, Bytes)) {
        let mut bytes = self.bytes.borrow_mut();
        let frozen_len = self.len - bytes.open.len();
        if range.end > frozen_len {
            let piece = bytes.open.split().freeze();
            bytes.pieces.push((frozen_len, piece));
        }
        let first = bytes.pieces.partition_point(|(start, piece)| start + piece.len() <= range.start);
        for (start, piece) in &bytes.pieces[first..] {
            if *start >= range.end {
                break;
            }
            let (from, to) = (range.start.max(*start), range.end.min(start + piece.len()));
            give(from, piece.slice(from - start..to - start));
        }
    }
}
