//! The scrub of a checkpoint slot: is it still what was written there?
//!
//! It is read piece by piece without holding up those who write checkpoints, so it may be rewritten meanwhile; what was
//! read counts only when it was not ([`Checkpoints::is_unchanged`]). The expensive mistake is to repair a rotten slot by
//! writing to the good one: a crash in the middle would leave neither. [`Checkpoints::write_next_to`] names the slot
//! that the next checkpoint goes to. What lies behind the last block of the body is left of a longer checkpoint
//! and holds nothing.

use crate::careful_read::BlockBytes;
use crate::checkpoint_codec::SlotHeader;
use crate::checkpoint_slots::Checkpoints;
use crate::disk::{Disk, DiskFile};
use crate::scrub_finding::{ScrubFinding, ScrubKind};
use crate::scrub_read::{SCRUB_PIECE_LEN, read_for_scrub};
use sluice_model::limits::BLOCK_LEN;
use std::path::PathBuf;

/// One slot on its way through a scrub.
pub struct SlotScrub<D: Disk> {
    pub(crate) slot: usize,
    file: D::File,
    expected: SlotContent,
    header: Option<SlotHeader>,
    /// Bytes read so far, and the checksum of those that are the body's.
    read_len: u64,
    body_crc: u32,
}

/// Which checkpoint a slot holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SlotContent {
    /// 0 while that is unknown or torn.
    pub(crate) slot_sequence: u64,
    pub(crate) journal_sequence: u64,
}

/// One read of a slot. Owns everything it needs.
pub struct SlotPlan<D: Disk> {
    file: D::File,
    position: u64,
    len: usize,
}

/// What a [`SlotPlan`] has brought; to be given to [`SlotScrub::on_read`].
pub struct SlotRead {
    asked: usize,
    read: BlockBytes,
}

impl<D: Disk> SlotScrub<D> {
    pub(crate) fn new(slot: usize, file: D::File, expected: SlotContent) -> Self {
        Self { slot, file, expected, header: None, read_len: 0, body_crc: 0 }
    }

    /// The next read; `None` when the slot is done.
    #[must_use]
    pub fn plan(&self) -> Option<SlotPlan<D>> {
        let len = match &self.header {
            None if self.read_len == 0 => BLOCK_LEN,
            None => return None,
            Some(header) => {
                let end = BLOCK_LEN as u64 + header.body_len.next_multiple_of(BLOCK_LEN as u64);
                match usize::try_from(end - self.read_len).unwrap_or(usize::MAX).min(SCRUB_PIECE_LEN) {
                    0 => return None,
                    len => len,
                }
            }
        };
        Some(SlotPlan { file: self.file.clone(), position: self.read_len, len })
    }

    /// Verifies what was read. After a finding the slot is done.
    pub fn on_read(&mut self, read: SlotRead) -> Option<ScrubFinding> {
        let SlotRead { asked, read } = read;
        let position = self.read_len;
        self.read_len += asked as u64;
        let problem = match &self.header {
            _ if read.bytes.len() < asked => Some("its file is too short"),
            None => self.on_header(&read.bytes),
            Some(header) => {
                let (header, from) = (*header, position - BLOCK_LEN as u64);
                self.on_body(&header, from, &read.bytes)
            }
        };
        let kind = match read.unreadable.is_empty() {
            true => problem.map(|field| ScrubKind::Slot { field }),
            false => Some(ScrubKind::Unreadable),
        };
        if kind.is_some() {
            self.header = None;
        }
        kind.map(|kind| ScrubFinding { file: self.path(), position, kind, id: None, lost: None })
    }

    fn on_header(&mut self, block: &[u8]) -> Option<&'static str> {
        let Some(header) = SlotHeader::parse(block) else { return Some("header") };
        if !SlotHeader::has_zeros_behind(block) {
            return Some("padding of the header");
        }
        let found = SlotContent { slot_sequence: header.slot_sequence, journal_sequence: header.journal_sequence };
        if found != self.expected {
            return Some("it is another checkpoint than the one last written there");
        }
        self.header = Some(header);
        None
    }

    /// `bytes` begin at `from` of the body.
    fn on_body(&mut self, header: &SlotHeader, from: u64, bytes: &[u8]) -> Option<&'static str> {
        let left = usize::try_from(header.body_len - from).unwrap_or(usize::MAX);
        let (body, padding) = bytes.split_at(left.min(bytes.len()));
        self.body_crc = crc32c::crc32c_append(self.body_crc, body);
        if padding.iter().any(|byte| *byte != 0) {
            return Some("padding of the body");
        }
        (left <= bytes.len() && self.body_crc != header.body_crc).then_some("body")
    }

    fn path(&self) -> PathBuf {
        self.file.path()
    }
}

impl<D: Disk> SlotPlan<D> {
    /// Bytes it is about to read, for pacing.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a plan is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    pub async fn run(self) -> SlotRead {
        SlotRead { asked: self.len, read: read_for_scrub(&self.file, self.position, self.len).await }
    }
}

impl<D: Disk> Checkpoints<D> {
    /// Begins the scrub of slot 0 or 1; `None` while it is known to hold nothing good.
    #[must_use]
    pub fn scrub_slot(&self, slot: usize) -> Option<SlotScrub<D>> {
        let expected = self.content[slot];
        (expected.slot_sequence > 0).then(|| SlotScrub::new(slot, self.files[slot].clone(), expected))
    }

    /// Whether the slot still is what its scrub was begun with.
    #[must_use]
    pub fn is_unchanged(&self, scrub: &SlotScrub<D>) -> bool {
        self.content[scrub.slot] == scrub.expected
    }

    /// The next checkpoint goes to the slot of this scrub, which does not verify.
    pub fn write_next_to(&mut self, scrub: &SlotScrub<D>) {
        self.next = scrub.slot;
    }
}
