//! The journal of one shard: whatever its partitions have to make durable goes out as one write.
//!
//! While a group is in flight the next ones fill, so groups widen by themselves under load. Groups are issued and
//! acknowledged in sequence, one in flight. When `commit_next` returns a group, its sectors are durable, the
//! device's cache included; that, and nothing earlier, is what an acknowledgement may rest on. The expensive mistake
//! is to go on after a failed write: the journal is failed for ever then, and the process ends.
//!
//! Faults: an error of a write ends the process. Whatever a cut leaves of the group in flight, the groups before it are
//! whole. All else that happens to the ring is found at the next start (`journal_scan`, `recovery_journal`).
//!
//! Deliberately absent: time (who calls decides when ten milliseconds without a group have passed), admission
//! (`distance` and `queued_len` are what it needs), retries, and what entries mean.

use crate::commit_group::{GroupHeader, JournalEntry, group_len};
use crate::disk::{Disk, DiskFile};
use crate::entry_address::EntryAddress;
use crate::journal_ring::{Placement, Ring, RingGeometry};
use crate::pending_group::PendingGroup;
use crate::scrub_journal::Writer;
use event_listener::Event;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{Incarnation, ShardIndex};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

/// The shape of a shard's journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalConfig {
    /// The folder of its files (`Layout::shard_journal_dir`).
    pub dir: PathBuf,
    /// Bytes of each file, a multiple of `BLOCK_LEN`; in operation at least `GROUP_LEN_MAX`.
    pub file_len: u64,
    /// At least 2; with fewer than 4 little of the ring can be used.
    pub file_count: u32,
    /// A group is closed at this many bytes, unless its first entry alone is larger.
    pub group_len_target: usize,
}

impl JournalConfig {
    #[must_use]
    pub fn geometry(&self) -> RingGeometry {
        RingGeometry { file_len: self.file_len, file_count: self.file_count }
    }
}

/// A group that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommittedGroup {
    pub sequence: u64,
    /// 0 for the idle marker.
    pub entry_count: u32,
    /// Bytes written.
    pub len: u64,
}

/// A handle on the journal; a clone is the same journal.
pub struct Journal<D: Disk>(Rc<Inner<D>>);

impl<D: Disk> Clone for Journal<D> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Where a start of a journal stands: an empty ring, and what comes first.
pub(crate) struct JournalStart<D: Disk> {
    pub(crate) shard: ShardIndex,
    pub(crate) incarnation: Incarnation,
    pub(crate) group_len_target: usize,
    pub(crate) files: Vec<D::File>,
    pub(crate) ring: Ring,
    /// The sequence of the first group.
    pub(crate) first_sequence: u64,
}

struct Inner<D: Disk> {
    disk: D,
    shard: ShardIndex,
    incarnation: Incarnation,
    group_len_target: usize,
    files: Vec<D::File>,
    /// Something to write has come.
    wake: Event,
    state: RefCell<State<D::Buffer>>,
}

struct State<B> {
    ring: Ring,
    /// Groups not issued yet, all with entries; only the last one still fills.
    queue: VecDeque<PendingGroup<B>>,
    /// For the next group that opens.
    next_sequence: u64,
    durable_sequence: u64,
    prev_group_crc: u32,
    /// Bytes of entries appended and not durable.
    queued_len: u64,
    in_flight: bool,
    /// Length of the last group: how large a buffer the next one begins with.
    last_len: usize,
    marker_due: bool,
    /// The last group of this incarnation is an idle marker, or there is no group yet.
    ends_marked: bool,
    failed: Option<io::ErrorKind>,
}

/// A group on its way: where it goes and what it is.
struct Issue<B> {
    placement: Placement,
    buffer: B,
    group: CommittedGroup,
    body_len: u64,
}

impl<D: Disk> Journal<D> {
    pub(crate) fn new(disk: D, start: JournalStart<D>) -> Self {
        let state = State {
            ring: start.ring,
            queue: VecDeque::new(),
            next_sequence: start.first_sequence,
            durable_sequence: start.first_sequence - 1,
            prev_group_crc: 0,
            queued_len: 0,
            in_flight: false,
            last_len: BLOCK_LEN,
            marker_due: false,
            ends_marked: true,
            failed: None,
        };
        Self(Rc::new(Inner {
            disk,
            shard: start.shard,
            incarnation: start.incarnation,
            group_len_target: start.group_len_target,
            files: start.files,
            wake: Event::new(),
            state: RefCell::new(state),
        }))
    }

    /// Writes the first group of this start, an empty one, durable when it returns. From then on the ring says itself who
    /// wrote last: were all checkpoints lost, groups of an earlier start would else be taken for the newest, and what other
    /// shards have done to its partitions in between would be undone.
    pub(crate) async fn begin(&self) -> io::Result<()> {
        {
            let mut state = self.0.state.borrow_mut();
            assert!(state.prev_group_crc == 0 && state.queue.is_empty(), "a journal begins once, before anything is appended");
            (state.ends_marked, state.marker_due) = (false, true);
        }
        self.commit_next().await.map(|_| ())
    }

    /// Copies an entry into the group that fills, and wakes `commit_next`. Never fails for want of space: admission
    /// keeps `distance() + queued_len()` below three quarters of `capacity()` before anything is appended. One
    /// entry, its group header included, must fit in a journal file.
    pub fn append(&self, entry: JournalEntry<'_>) -> EntryAddress {
        let inner = &*self.0;
        let mut state = inner.state.borrow_mut();
        let state = &mut *state;
        let len = entry.encoded_len();
        let file_len = state.ring.geometry().file_len;
        assert!(group_len(len) as u64 <= file_len, "an entry of {len} bytes does not fit in a journal file of {file_len}");
        let open = match state.queue.back_mut() {
            Some(group) if group.has_room(len, inner.group_len_target) => group,
            _ => {
                let capacity = state.last_len.min(inner.group_len_target).max(group_len(len));
                let sequence = state.next_sequence;
                state.next_sequence += 1;
                state.queue.push_back(PendingGroup::new(&inner.disk, sequence, capacity));
                state.queue.back_mut().expect("just pushed")
            }
        };
        let index = open.push(&inner.disk, &entry, inner.group_len_target);
        let address = EntryAddress { sequence: open.sequence, index };
        state.queued_len += len as u64;
        inner.wake.notify(1);
        address
    }

    /// Bytes of entries appended and not yet durable, in flight included.
    #[must_use]
    pub fn queued_len(&self) -> u64 {
        self.0.state.borrow().queued_len
    }

    /// Waits until `commit_next` has something to write, so that the time it takes is the device's alone. Comes back
    /// at once when the journal has failed.
    pub async fn wait_pending(&self) {
        while !self.0.state.borrow().has_work() {
            let listener = self.0.wake.listen();
            // What came before there was a listener woke nobody.
            if self.0.state.borrow().has_work() {
                return;
            }
            listener.await;
        }
    }

    /// Waits until there is something to write, writes the next group, and returns once it is durable. Called by one
    /// task only, which does not drop the future before it is done. After an error every later call returns one.
    pub async fn commit_next(&self) -> io::Result<CommittedGroup> {
        let issue = loop {
            if let Some(issue) = self.issue_next()? {
                break issue;
            }
            let listener = self.0.wake.listen();
            if let Some(issue) = self.issue_next()? {
                break issue;
            }
            listener.await;
        };
        let Issue { placement, buffer, group, body_len } = issue;
        let written = self.0.files[placement.file as usize].write_at(placement.position, buffer).await;
        let mut state = self.0.state.borrow_mut();
        if let Err(error) = written {
            state.failed = Some(error.kind());
            return Err(error);
        }
        state.in_flight = false;
        state.queued_len -= body_len;
        state.durable_sequence = group.sequence;
        Ok(group)
    }

    /// The highest sequence that is durable. Entries of later groups may still come, so a checkpoint never names a
    /// `journal_sequence` above this plus one.
    #[must_use]
    pub fn durable_sequence(&self) -> u64 {
        self.0.state.borrow().durable_sequence
    }

    /// Asks for an idle marker: an empty group that names the last one durable. `commit_next` writes it when nothing
    /// else is queued. Gives back whether one is going to be written: never two in a row, and none before the first
    /// group of this start.
    pub fn request_idle_marker(&self) -> bool {
        let mut state = self.0.state.borrow_mut();
        let wanted = (!state.ends_marked || !state.queue.is_empty()) && state.failed.is_none();
        state.marker_due = wanted;
        if wanted {
            self.0.wake.notify(1);
        }
        wanted
    }

    /// Whether the last group of this start is an idle marker (or there was no group) and nothing is queued.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        let state = self.0.state.borrow();
        state.ends_marked && state.queue.is_empty() && !state.in_flight
    }

    /// Bytes of ring from the oldest group that a checkpoint slot still needs to the head, padding and empty groups
    /// included, what is queued not; rounded up by at most a sixty-fourth of a file.
    #[must_use]
    pub fn distance(&self) -> u64 {
        self.0.state.borrow().ring.distance()
    }

    /// The most `distance` can ever be: one file less than the ring has, because a file that is needed in part
    /// cannot be recycled.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.0.state.borrow().ring.geometry().capacity()
    }

    /// Neither checkpoint slot needs a group before `needed_from_sequence` (`Checkpoints::needed_from_sequence`).
    pub fn release(&self, needed_from_sequence: u64) {
        self.0.state.borrow_mut().ring.release(needed_from_sequence);
    }

    /// What the scrubber looks at: the ring, the last durable sequence, the files.
    pub(crate) fn with_ring<T>(&self, look: impl FnOnce(&Ring, u64, &[D::File]) -> T) -> T {
        let state = self.0.state.borrow();
        look(&state.ring, state.durable_sequence, &self.0.files)
    }

    /// Who has written every group since this start.
    pub(crate) fn writer(&self) -> Writer {
        Writer { shard: self.0.shard, incarnation: self.0.incarnation }
    }

    /// A write has failed. What was queued then will never be durable.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.0.state.borrow().failed.is_some()
    }

    /// Takes the next group out of the queue, sealed and placed, when there is one.
    fn issue_next(&self) -> io::Result<Option<Issue<D::Buffer>>> {
        let inner = &*self.0;
        let mut state = inner.state.borrow_mut();
        let state = &mut *state;
        if let Some(kind) = state.failed {
            return Err(io::Error::new(kind, "an earlier write of this journal failed"));
        }
        assert!(!state.in_flight, "commit_next is called by one task, and its future is not dropped");
        let Some(mut group) = state.next_group(&inner.disk) else { return Ok(None) };
        let crc = group.seal(GroupHeader {
            shard: inner.shard,
            incarnation: inner.incarnation,
            durable_sequence: state.durable_sequence,
            prev_group_crc: state.prev_group_crc,
            ..GroupHeader::default()
        });
        let placement = state.ring.place(group.sequence, group.len() as u64);
        let committed = CommittedGroup { sequence: group.sequence, entry_count: group.entry_count(), len: group.len() as u64 };
        state.prev_group_crc = crc;
        state.ends_marked = committed.entry_count == 0;
        state.last_len = group.len();
        state.in_flight = true;
        let body_len = group.body_len() as u64;
        let buffer = group.into_buffer(&inner.disk, state.ring.geometry().file_len - placement.position);
        Ok(Some(Issue { placement, buffer, group: committed, body_len }))
    }
}

impl<B: std::ops::DerefMut<Target = [u8]> + 'static> State<B> {
    fn has_work(&self) -> bool {
        !self.queue.is_empty() || (self.marker_due && !self.ends_marked) || self.failed.is_some()
    }

    /// The oldest group with entries; failing that, the idle marker when it is due.
    fn next_group<D: Disk<Buffer = B>>(&mut self, disk: &D) -> Option<PendingGroup<B>> {
        if let Some(group) = self.queue.pop_front() {
            return Some(group);
        }
        if !std::mem::take(&mut self.marker_due) || self.ends_marked {
            return None;
        }
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        Some(PendingGroup::new(disk, sequence, BLOCK_LEN))
    }
}

#[cfg(test)]
#[path = "journal_test.rs"]
mod tests;
