//! The scrub of a journal: every durable group that a checkpoint slot still needs.
//!
//! Groups are read in order, from marks that the ring keeps in memory: where a group that does not verify ends is not
//! to be believed, so the walk goes on block by block to the next good one, and never past a mark. A report counts only for
//! groups that are needed when it is made, because files are recycled meanwhile. Nothing is lost by a bad group as
//! long as the shard runs: its records are in memory. Deliberately absent: getting them to segments at once, which is
//! the owner's part. Files that no slot needs, and what is left at the end of a file, hold nothing.

use crate::careful_read::BlockBytes;
use crate::commit_group::{Entries, GROUP_HEADER_LEN, GroupHeader};
use crate::disk::{Disk, DiskFile};
use crate::journal::Journal;
use crate::journal_ring::Ring;
use crate::scrub_finding::{ScrubFinding, ScrubKind};
use crate::scrub_read::{SCRUB_PIECE_LEN, read_for_scrub};
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{Incarnation, ShardIndex};
use std::ops::Range;

/// Where a scrub stands in a journal. Positions count from the first byte ever written, as the ring's do.
#[derive(Debug, Default)]
pub struct JournalScrub {
    /// The group that comes next, and where it is or is looked for.
    sequence: u64,
    position: u64,
    /// The last group that was durable when the scrub began; 0 before that.
    last_sequence: u64,
    /// Header checksum of the group before, when that one is good.
    prev_group_crc: Option<u32>,
    /// The group that comes next is not where it has to be: where that is.
    missing_at: Option<u64>,
    bytes: Vec<u8>,
    unreadable: Vec<Range<u64>>,
}

/// One read. Owns everything it needs.
pub struct JournalScrubPlan<D: Disk> {
    file: D::File,
    /// Where it is in the file, and in the ring.
    position: u64,
    ring_position: u64,
    len: usize,
}

/// What a plan has brought; to be given to [`Journal::on_scrubbed`].
pub struct JournalScrubbed {
    ring_position: u64,
    read: BlockBytes,
    of_file: u64,
}

/// What a group may be compared with.
#[derive(Clone, Copy)]
pub(crate) struct Writer {
    pub(crate) shard: ShardIndex,
    pub(crate) incarnation: Incarnation,
}

impl<D: Disk> JournalScrubPlan<D> {
    /// Bytes it is about to read, for pacing.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a plan is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    pub async fn run(self) -> JournalScrubbed {
        let read = read_for_scrub(&self.file, self.position, self.len).await;
        JournalScrubbed { ring_position: self.ring_position, read, of_file: self.position }
    }
}

impl<D: Disk> Journal<D> {
    /// The next read of a scrub; `None` when every group was read that was durable and needed when it began.
    pub fn plan_scrub(&self, scrub: &mut JournalScrub) -> Option<JournalScrubPlan<D>> {
        self.with_ring(|ring, durable_sequence, files| {
            scrub.skip_released(ring, durable_sequence);
            if scrub.sequence > scrub.last_sequence {
                return None;
            }
            let ring_position = scrub.read_end();
            let placement = ring.placement_of(ring_position);
            let left = ring.geometry().file_len - placement.position;
            let len = usize::try_from(left.min(SCRUB_PIECE_LEN as u64)).expect("a piece fits in memory");
            let file: D::File = files[placement.file as usize].clone();
            Some(JournalScrubPlan { file, position: placement.position, ring_position, len })
        })
    }

    /// Verifies what a plan has read.
    pub fn on_scrubbed(&self, scrub: &mut JournalScrub, scrubbed: JournalScrubbed) -> Vec<ScrubFinding> {
        let writer = self.writer();
        self.with_ring(|ring, durable_sequence, files| {
            scrub.skip_released(ring, durable_sequence);
            if scrubbed.ring_position != scrub.read_end() {
                return Vec::new();
            }
            let to_ring = scrubbed.ring_position - scrubbed.of_file;
            let JournalScrubbed { read, .. } = scrubbed;
            scrub.unreadable.extend(read.unreadable.iter().map(|bad| bad.start + to_ring..bad.end + to_ring));
            scrub.bytes.extend_from_slice(&read.bytes);
            let found = scrub.verify(ring, writer);
            let finding = |(sequence, position, kind)| {
                let placement = ring.placement_of(position);
                let file = files[placement.file as usize].path();
                (sequence >= ring.needed_from()).then_some(ScrubFinding {
                    file,
                    position: placement.position,
                    kind,
                    id: None,
                    lost: None,
                })
            };
            found.into_iter().filter_map(finding).collect()
        })
    }

    /// Bytes that a scrub begun now would read, about.
    #[must_use]
    pub fn scrub_len(&self) -> u64 {
        self.distance()
    }
}

type Found = (u64, u64, ScrubKind);

enum Step {
    /// The group has been looked at; perhaps something is wrong with it.
    Passed,
    More,
}

impl JournalScrub {
    /// Begins at the oldest group that is needed, or goes on there when what was next is needed no more.
    fn skip_released(&mut self, ring: &Ring, durable_sequence: u64) {
        if self.last_sequence == 0 {
            self.last_sequence = durable_sequence;
        }
        match ring.mark_from(0) {
            None => self.sequence = self.last_sequence + 1,
            Some(oldest) if oldest.sequence > self.sequence || self.sequence == 0 => self.go_to(oldest.sequence, oldest.position),
            Some(_) => {}
        }
    }

    fn go_to(&mut self, sequence: u64, position: u64) {
        (self.sequence, self.position) = (sequence, position);
        (self.prev_group_crc, self.missing_at) = (None, None);
        self.bytes.clear();
        self.unreadable.clear();
    }

    fn read_end(&self) -> u64 {
        self.position + self.bytes.len() as u64
    }

    fn verify(&mut self, ring: &Ring, writer: Writer) -> Vec<Found> {
        let mut found = Vec::new();
        while self.sequence <= self.last_sequence {
            // Where the next group is that the ring knows of; what comes before it lies before it.
            let mark = ring.mark_from(self.sequence).filter(|mark| mark.sequence == self.sequence && self.missing_at.is_none());
            if let Some(mark) = mark.filter(|mark| mark.position != self.position) {
                self.go_to(mark.sequence, mark.position);
                break;
            }
            let bound = ring.mark_from(self.sequence + 1).map_or(ring.head(), |mark| mark.position);
            let file_end = self.position - ring.placement_of(self.position).position + ring.geometry().file_len;
            if self.position >= bound.min(file_end) {
                self.give_up(ring, &mut found);
                break;
            }
            if let Step::More = self.step(file_end, writer, &mut found) {
                break;
            }
        }
        found
    }

    /// Looks at the block where the next group has to begin.
    fn step(&mut self, file_end: u64, writer: Writer, found: &mut Vec<Found>) -> Step {
        let Some(block) = self.bytes.get(..BLOCK_LEN) else { return Step::More };
        let parsed = GroupHeader::parse(block).filter(|(header, _)| {
            let ours = header.shard == writer.shard && header.incarnation == writer.incarnation;
            let fits = self.position + header.group_len() as u64 <= file_end;
            let is_next = header.sequence == self.sequence;
            ours && fits && (is_next || (self.missing_at.is_some() && header.sequence > self.sequence))
        });
        let Some((header, header_crc)) = parsed else {
            self.missing_at.get_or_insert(self.position);
            self.pass(BLOCK_LEN);
            return Step::Passed;
        };
        if header.sequence > self.last_sequence {
            // Durable since this scrub began.
            let at = self.missing_at.take().unwrap_or(self.position);
            self.report_missing(at, self.last_sequence + 1, found);
            return Step::Passed;
        }
        let Some(group) = self.bytes.get(..header.group_len()) else { return Step::More };
        let problem = judge(group, &header, self.prev_group_crc.filter(|_| self.missing_at.is_none()));
        if let Some(at) = self.missing_at.take() {
            self.report_missing(at, header.sequence, found);
        }
        let end = self.position + header.group_len() as u64;
        let of_device =
            self.unreadable.iter().any(|bad| bad.start < end && (bad.start >= self.position || bad.end > self.position));
        match problem {
            _ if of_device => found.push((header.sequence, self.position, ScrubKind::Unreadable)),
            Some(field) => found.push((header.sequence, self.position, ScrubKind::Group { sequence: header.sequence, field })),
            None => {}
        }
        self.prev_group_crc = Some(header_crc);
        self.sequence = header.sequence + 1;
        self.pass(header.group_len());
        Step::Passed
    }

    /// Groups from the next one up to `until` have no good header; the first of them begins at `at`.
    fn report_missing(&mut self, at: u64, until: u64, found: &mut Vec<Found>) {
        let of_device = self.unreadable.iter().any(|bad| bad.start <= at && at < bad.end);
        while self.sequence < until {
            let sequence = self.sequence;
            let kind = if of_device { ScrubKind::Unreadable } else { ScrubKind::Group { sequence, field: "header" } };
            found.push((sequence, at, kind));
            self.sequence += 1;
        }
        self.prev_group_crc = None;
    }

    /// Nothing of the group that comes next was found before the next one that the ring knows of.
    fn give_up(&mut self, ring: &Ring, found: &mut Vec<Found>) {
        let next = ring.mark_from(self.sequence + 1);
        let until = next.map_or(self.last_sequence + 1, |mark| mark.sequence.min(self.last_sequence + 1));
        let at = self.missing_at.take().unwrap_or(self.position);
        self.report_missing(at, until, found);
        if let Some(next) = next {
            self.go_to(next.sequence, next.position);
        }
    }

    fn pass(&mut self, len: usize) {
        self.bytes.drain(..len);
        self.position += len as u64;
        self.unreadable.retain(|bad| bad.end > self.position || self.missing_at.is_some());
    }
}

/// What is wrong with a group whose header is good.
fn judge(group: &[u8], header: &GroupHeader, prev_group_crc: Option<u32>) -> Option<&'static str> {
    let (body, padding) = group[GROUP_HEADER_LEN..].split_at(header.body_len as usize);
    if prev_group_crc.is_some_and(|crc| crc != header.prev_group_crc) {
        return Some("checksum of the group before");
    }
    if crc32c::crc32c(body) != header.body_crc {
        return Some("entries");
    }
    if padding.iter().any(|byte| *byte != 0) {
        return Some("padding");
    }
    let entries = Entries::new(body).take_while(Result::is_ok).count();
    (entries != header.entry_count as usize).then_some("entry count")
}
