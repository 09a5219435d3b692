//! Where the next group of a journal goes, and how much of the ring is still needed: numbers only.
//!
//! A ring is a number of files of one length, filled in turn. A group never straddles two files; what it leaves
//! over at the end of one is padding and counts as used. The expensive mistake is to write into a file of which a
//! checkpoint slot still needs a group, so that is asserted at every new file.
//!
//! Deliberately absent: bytes, files, async.

use crate::layout::JOURNAL_FILES_MAX;
use sluice_model::limits::BLOCK_LEN;
use std::collections::VecDeque;

/// How many marks a file gets; distance is known to a file's length divided by this, rounded up.
const MARKS_PER_FILE: u64 = 64;

/// The shape of a ring. A ring found on disk may have another than the configured one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingGeometry {
    /// Bytes of each file, a multiple of `BLOCK_LEN`.
    pub file_len: u64,
    pub file_count: u32,
}

impl RingGeometry {
    /// Whether a ring of this shape can work: whole blocks, and at least two files.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let blocks = self.file_len.is_multiple_of(BLOCK_LEN as u64) && self.file_len > 0 && self.file_len <= 1 << 40;
        blocks && (2..=JOURNAL_FILES_MAX).contains(&self.file_count)
    }

    /// Bytes from the oldest needed group to the head that always fit: all files but one, because a file that is
    /// needed in part cannot be recycled.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.file_len * u64::from(self.file_count - 1)
    }
}

/// A place in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    pub file: u32,
    pub position: u64,
}

/// Where a group began, counted from the first byte ever written, as if the ring had no end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) sequence: u64,
    pub(crate) position: u64,
}

#[derive(Clone, Debug)]
pub struct Ring {
    geometry: RingGeometry,
    /// Where the next group goes, without end.
    head: u64,
    /// The oldest needed group first; between two marks are groups without one. Empty when none is needed.
    marks: VecDeque<Mark>,
    last_sequence: u64,
    /// Groups before this one are needed no more.
    needed_from: u64,
}

impl Ring {
    /// An empty ring whose first group goes to the start of `first_file`.
    #[must_use]
    pub fn new(geometry: RingGeometry, first_file: u32) -> Self {
        assert!(geometry.is_valid() && first_file < geometry.file_count, "file {first_file} of a ring of {geometry:?}");
        Self {
            geometry,
            head: u64::from(first_file) * geometry.file_len,
            marks: VecDeque::new(),
            last_sequence: 0,
            needed_from: 0,
        }
    }

    /// Takes room for a group of `len` bytes. Admission keeps the ring from running out (`distance` and what is
    /// queued stay below three quarters of `capacity`), so a ring that is overrun is a bug.
    pub fn place(&mut self, sequence: u64, len: u64) -> Placement {
        let file_len = self.geometry.file_len;
        assert!(len <= file_len, "a group of {len} bytes does not fit in a journal file of {file_len}");
        assert!(sequence > self.last_sequence, "group {sequence} after group {}", self.last_sequence);
        if self.head % file_len + len > file_len {
            self.head = self.head.next_multiple_of(file_len);
        }
        if self.head.is_multiple_of(file_len) {
            self.assert_file_is_free();
        }
        self.mark(sequence);
        let placement = self.placement_of(self.head);
        self.head += len;
        self.last_sequence = sequence;
        placement
    }

    /// Groups before `needed_from_sequence` are needed no more.
    pub fn release(&mut self, needed_from_sequence: u64) {
        self.needed_from = self.needed_from.max(needed_from_sequence);
        if needed_from_sequence > self.last_sequence {
            self.marks.clear();
        }
        while self.marks.get(1).is_some_and(|mark| mark.sequence <= needed_from_sequence) {
            self.marks.pop_front();
        }
    }

    /// Bytes from the oldest needed group to the head, padding included; rounded up, never down.
    #[must_use]
    pub fn distance(&self) -> u64 {
        self.marks.front().map_or(0, |oldest| self.head - oldest.position)
    }

    #[must_use]
    pub fn geometry(&self) -> RingGeometry {
        self.geometry
    }

    /// The first group from `sequence` on whose place is known. The first group of every file that is needed is one.
    pub(crate) fn mark_from(&self, sequence: u64) -> Option<Mark> {
        let at = self.marks.partition_point(|mark| mark.sequence < sequence);
        self.marks.get(at).copied()
    }

    pub(crate) fn needed_from(&self) -> u64 {
        self.needed_from
    }

    /// Where the next group goes, unless it has to go to the next file.
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// A position as it is counted here, in its file.
    pub(crate) fn placement_of(&self, position: u64) -> Placement {
        let RingGeometry { file_len, file_count } = self.geometry;
        let file = u32::try_from(position / file_len % u64::from(file_count)).expect("a remainder of file_count");
        Placement { file, position: position % file_len }
    }

    fn mark(&mut self, sequence: u64) {
        let step = self.geometry.file_len / MARKS_PER_FILE;
        let due = self.marks.back().is_none_or(|last| self.head - last.position >= step);
        if due || self.head.is_multiple_of(self.geometry.file_len) {
            self.marks.push_back(Mark { sequence, position: self.head });
        }
    }

    fn assert_file_is_free(&self) {
        let Some(oldest) = self.marks.front() else { return };
        let file_len = self.geometry.file_len;
        let oldest_file = oldest.position / file_len;
        assert!(
            self.head / file_len < oldest_file + u64::from(self.geometry.file_count),
            "the journal is overrun: group {} is still needed, and {} bytes follow it in {:?}",
            oldest.sequence,
            self.distance(),
            self.geometry
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = BLOCK_LEN as u64;

    fn ring() -> Ring {
        Ring::new(RingGeometry { file_len: 4 * BLOCK, file_count: 3 }, 1)
    }

    #[test]
    fn groups_follow_each_other_and_never_straddle_files() {
        let mut ring = ring();
        let places: Vec<_> = [(1, 1), (2, 2), (3, 2), (4, 2), (5, 3)]
            .map(|(sequence, blocks)| {
                ring.release(sequence);
                let place = ring.place(sequence, blocks * BLOCK);
                (place.file, place.position / BLOCK)
            })
            .to_vec();
        assert_eq!(places, [(1, 0), (1, 1), (2, 0), (2, 2), (0, 0)]);
    }

    #[test]
    fn distance_counts_padding_and_falls_with_release() {
        let mut ring = ring();
        assert_eq!(ring.distance(), 0);
        ring.place(1, 3 * BLOCK);
        ring.place(2, 2 * BLOCK);
        assert_eq!(ring.distance(), 6 * BLOCK);
        ring.release(2);
        assert_eq!(ring.distance(), 2 * BLOCK);
        ring.release(3);
        assert_eq!(ring.distance(), 0);
        assert_eq!(ring.geometry().capacity(), 8 * BLOCK);
    }

    #[test]
    #[should_panic(expected = "the journal is overrun: group 1 is still needed")]
    fn a_file_that_is_needed_is_never_taken() {
        let mut ring = ring();
        for sequence in 1..=4 {
            ring.place(sequence, 4 * BLOCK);
        }
    }

    #[test]
    fn a_released_file_is_taken_again() {
        let mut ring = ring();
        for sequence in 1..=100 {
            ring.release(sequence - 1);
            ring.place(sequence, 4 * BLOCK);
        }
        assert_eq!(ring.distance(), 8 * BLOCK);
    }

    #[test]
    fn a_release_frees_the_groups_before_it_and_not_one_more() {
        for needed_from in 1..=9 {
            let mut ring = ring();
            for sequence in 1..=8 {
                ring.place(sequence, BLOCK);
            }
            ring.release(needed_from);
            assert_eq!(ring.distance(), (9 - needed_from) * BLOCK, "needed from {needed_from}");
        }
    }

    #[test]
    #[should_panic(expected = "the journal is overrun: group 4 is still needed")]
    fn the_last_group_of_a_file_keeps_it() {
        let mut ring = ring();
        for sequence in 1..=12 {
            ring.place(sequence, BLOCK);
        }
        ring.release(4);
        ring.place(13, BLOCK);
    }
}
