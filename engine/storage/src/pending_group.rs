//! A commit group while it fills: entries are copied once, into the buffer that is written.
//!
//! Buffers grow in steps, because a quiet journal writes 4 KiB groups and a flooded one 1 MiB groups. They hold what was
//! there before, and only what is behind the entries is zeroed, once it is known. Deliberately absent: positions and order.

use crate::commit_group::{GROUP_HEADER_LEN, GroupHeader, JournalEntry, group_len};
use crate::disk::Disk;
use sluice_model::limits::BLOCK_LEN;

/// Zeros behind a group that are written along rather than copying the group to a shorter buffer: an eighth.
const SLACK_SHIFT: u32 = 3;

pub(crate) struct PendingGroup<B> {
    pub(crate) sequence: u64,
    buffer: B,
    /// Bytes of the buffer in use, header included.
    used: usize,
    entry_count: u32,
    body_crc: u32,
    truncates: bool,
}

impl<B: std::ops::DerefMut<Target = [u8]> + 'static> PendingGroup<B> {
    /// An empty group with room for about `len` bytes before it has to grow.
    pub(crate) fn new<D: Disk<Buffer = B>>(disk: &D, sequence: u64, len: usize) -> Self {
        let buffer = disk.scratch_buffer(len.next_multiple_of(BLOCK_LEN).max(BLOCK_LEN));
        Self { sequence, buffer, used: GROUP_HEADER_LEN, entry_count: 0, body_crc: 0, truncates: false }
    }

    /// Copies an entry behind those that are there; gives back its index.
    pub(crate) fn push<D: Disk<Buffer = B>>(&mut self, disk: &D, entry: &JournalEntry<'_>, len_target: usize) -> u32 {
        let end = self.used + entry.encoded_len();
        if end > self.buffer.len() {
            self.grow(disk, end, len_target);
        }
        let bytes = &mut self.buffer[self.used..end];
        entry.encode(bytes);
        self.body_crc = crc32c::crc32c_append(self.body_crc, bytes);
        self.truncates |= matches!(entry, JournalEntry::Truncate { .. });
        self.used = end;
        self.entry_count += 1;
        self.entry_count - 1
    }

    /// Whether a further entry of `len` bytes belongs into this group: at least one always does.
    pub(crate) fn has_room(&self, len: usize, len_target: usize) -> bool {
        self.entry_count == 0 || group_len(self.used - GROUP_HEADER_LEN + len) <= len_target
    }

    pub(crate) fn body_len(&self) -> usize {
        self.used - GROUP_HEADER_LEN
    }

    pub(crate) fn entry_count(&self) -> u32 {
        self.entry_count
    }

    /// Bytes of the group in the ring.
    pub(crate) fn len(&self) -> usize {
        group_len(self.body_len())
    }

    /// Completes a header with what this group knows, writes it, and gives back its checksum.
    pub(crate) fn seal(&mut self, mut header: GroupHeader) -> u32 {
        header.sequence = self.sequence;
        header.body_len = u32::try_from(self.body_len()).expect("a group is within GROUP_LEN_MAX");
        header.entry_count = self.entry_count;
        header.body_crc = self.body_crc;
        header.truncates = self.truncates;
        let bytes = self.buffer.first_chunk_mut().expect("a buffer is at least a block");
        header.write(bytes)
    }

    /// The buffer to write, `len()` bytes or a little more (zeros, over ring that the next group overwrites), and
    /// never more than `len_max`, which is at least `len()`.
    pub(crate) fn into_buffer<D: Disk<Buffer = B>>(mut self, disk: &D, len_max: u64) -> B {
        let len = self.len();
        let slack = self.buffer.len() - len;
        let fits = slack == 0 || (slack <= len >> SLACK_SHIFT && self.buffer.len() as u64 <= len_max);
        if !fits {
            self.move_to(disk.scratch_buffer(len));
        }
        self.buffer[self.used..].fill(0);
        self.buffer
    }

    fn grow<D: Disk<Buffer = B>>(&mut self, disk: &D, end: usize, len_target: usize) {
        let doubled = (self.buffer.len() * 2).min(len_target);
        self.move_to(disk.scratch_buffer(doubled.max(end).next_multiple_of(BLOCK_LEN)));
    }

    fn move_to(&mut self, mut buffer: B) {
        buffer[..self.used].copy_from_slice(&self.buffer[..self.used]);
        self.buffer = buffer;
    }
}

#[cfg(test)]
#[path = "pending_group_test.rs"]
mod tests;
