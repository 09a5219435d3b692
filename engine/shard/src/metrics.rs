//! What a shard counts about itself. Plain cells of one thread; a snapshot is a value that may cross threads.

use std::cell::Cell;

/// Counters of one shard since its start.
#[derive(Debug, Default)]
pub struct ShardMetrics {
    pub(crate) inline_writes: Cell<u64>,
    pub(crate) durable_ring_writes: Cell<u64>,
    pub(crate) bulk_writes: Cell<u64>,
    pub(crate) reads: Cell<u64>,
    pub(crate) written_len: Cell<u64>,
    pub(crate) read_len: Cell<u64>,
    pub(crate) slow_inline_writes: Cell<u64>,
    pub(crate) socket_sleeps: Cell<u64>,
    pub(crate) socket_blocks: Cell<u64>,
    pub(crate) socket_polls: Cell<u64>,
    pub(crate) stalls: Cell<u64>,
    pub(crate) stall_us_max: Cell<u64>,
}

/// A snapshot of `ShardMetrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardCounters {
    /// Durable writes made by one blocking `pwrite` on the executor's thread.
    pub inline_writes: u64,
    /// Durable writes made through the ring.
    pub durable_ring_writes: u64,
    /// Writes of files that are not durable at once.
    pub bulk_writes: u64,
    pub reads: u64,
    /// Bytes of all writes and of all reads, as they were asked of the device.
    pub written_len: u64,
    pub read_len: u64,
    /// Inline writes that took so long that the next ones went to the ring.
    pub slow_inline_writes: u64,
    /// Times glommio was left to put the thread to sleep until a socket is ready.
    pub socket_sleeps: u64,
    /// Times the thread blocked in a call of its own until a socket is ready.
    pub socket_blocks: u64,
    pub socket_polls: u64,
    /// Times the shard did not run for longer than `stall::STALL_US`.
    pub stalls: u64,
    /// The longest of them, microseconds.
    pub stall_us_max: u64,
}

impl ShardMetrics {
    pub fn snapshot(&self) -> ShardCounters {
        ShardCounters {
            inline_writes: self.inline_writes.get(),
            durable_ring_writes: self.durable_ring_writes.get(),
            bulk_writes: self.bulk_writes.get(),
            reads: self.reads.get(),
            written_len: self.written_len.get(),
            read_len: self.read_len.get(),
            slow_inline_writes: self.slow_inline_writes.get(),
            socket_sleeps: self.socket_sleeps.get(),
            socket_blocks: self.socket_blocks.get(),
            socket_polls: self.socket_polls.get(),
            stalls: self.stalls.get(),
            stall_us_max: self.stall_us_max.get(),
        }
    }
}

pub(crate) fn count(cell: &Cell<u64>) {
    add(cell, 1);
}

pub(crate) fn add(cell: &Cell<u64>, count: u64) {
    cell.set(cell.get().wrapping_add(count));
}
