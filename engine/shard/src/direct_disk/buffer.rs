//! Memory fit for direct I/O: from the arena the executor registered with its rings while that lasts, from the heap
//! after that (a 1 MiB buffer then costs 400 µs instead of 1).

use std::ops::{Deref, DerefMut};

use glommio::io::{DmaBuffer, ReadResult};
use sluice_model::limits::BLOCK_LEN;

/// A block-aligned buffer of one shard. What was read is shared with the ring's own buffer and copied only when it is
/// written to.
pub struct DirectBuffer {
    memory: Memory,
}

enum Memory {
    Empty,
    Owned(DmaBuffer),
    Read(ReadResult),
}

impl DirectBuffer {
    /// `len` zero bytes; a multiple of the block.
    pub(super) fn zeroed(len: usize) -> DirectBuffer {
        let mut buffer = DirectBuffer::scratch(len);
        buffer.fill(0);
        buffer
    }

    /// `len` bytes of what was there before; a multiple of the block.
    pub(super) fn scratch(len: usize) -> DirectBuffer {
        assert!(len.is_multiple_of(BLOCK_LEN), "a buffer of {len} bytes is not whole blocks");
        let memory = if len == 0 { Memory::Empty } else { Memory::Owned(glommio::allocate_dma_buffer(len)) };
        DirectBuffer { memory }
    }

    pub(super) fn from_read(read: ReadResult) -> DirectBuffer {
        DirectBuffer { memory: Memory::Read(read) }
    }

    pub(super) fn copied(bytes: &[u8]) -> DirectBuffer {
        DirectBuffer { memory: if bytes.is_empty() { Memory::Empty } else { Memory::Owned(copy_of(bytes)) } }
    }

    /// The buffer for a write; none when there is nothing to write.
    pub(super) fn into_dma(mut self) -> Option<DmaBuffer> {
        self.make_owned();
        match self.memory {
            Memory::Owned(buffer) => Some(buffer),
            Memory::Empty | Memory::Read(_) => None,
        }
    }

    fn make_owned(&mut self) {
        if let Memory::Read(read) = &self.memory {
            self.memory = if read.is_empty() { Memory::Empty } else { Memory::Owned(copy_of(read)) };
        }
    }
}

/// A copy in memory fit for direct I/O; `bytes` is not empty.
pub(super) fn copy_of(bytes: &[u8]) -> DmaBuffer {
    let mut buffer = glommio::allocate_dma_buffer(bytes.len().next_multiple_of(BLOCK_LEN));
    buffer.trim_to_size(bytes.len());
    buffer.as_bytes_mut().copy_from_slice(bytes);
    buffer
}

impl Deref for DirectBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.memory {
            Memory::Empty => &[],
            Memory::Owned(buffer) => buffer.as_bytes(),
            Memory::Read(read) => read,
        }
    }
}

impl DerefMut for DirectBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.make_owned();
        match &mut self.memory {
            Memory::Owned(buffer) => buffer.as_bytes_mut(),
            Memory::Empty | Memory::Read(_) => &mut [],
        }
    }
}
