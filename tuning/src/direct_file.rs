//! Opening files past the page cache, and buffers that direct I/O accepts.
//!
//! Expensive mistake: a buffer, position or length that is not a multiple of the block fails with EINVAL on one file system
//! and works on another; everything here is aligned to 4 KiB, which all of them accept.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Alignment of buffers, positions and lengths, in bytes.
pub const BLOCK_LEN: usize = 4096;
const FILL_PIECE_LEN: usize = 1 << 20;

/// Bytes that begin on a block boundary in memory.
#[derive(Debug)]
pub struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    /// `len` bytes of incompressible data (from a fixed seed, so that no device or hypervisor can shorten the work for zeros).
    pub fn filled(len: usize) -> Self {
        assert!(len > 0 && len.is_multiple_of(BLOCK_LEN), "{len} bytes are not whole blocks");
        let memory = vec![0; len + BLOCK_LEN];
        let start = memory.as_ptr().align_offset(BLOCK_LEN);
        let mut buffer = Self { memory, start, len };
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for word in buffer.as_mut_slice().chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        buffer
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

/// What a write has reached when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The device has accepted it (O_DIRECT).
    Written,
    /// The device's cache is flushed too (O_DIRECT | O_DSYNC).
    Flushed,
}

/// Opens an existing file for direct reads and writes.
pub fn open_direct(path: &Path, durability: Durability) -> io::Result<File> {
    let flags = match durability {
        Durability::Written => libc::O_DIRECT,
        Durability::Flushed => libc::O_DIRECT | libc::O_DSYNC,
    };
    File::options().read(true).write(true).custom_flags(flags).open(path)
}

/// Creates the file and writes all its `len` bytes once, flushed, so that later writes change no metadata. `len` is a
/// multiple of the block.
pub fn create_written(path: &Path, len: u64) -> io::Result<()> {
    assert!(len > 0 && len.is_multiple_of(BLOCK_LEN as u64), "{len} bytes are not whole blocks");
    File::options().write(true).create_new(true).open(path)?;
    let file = open_direct(path, Durability::Written)?;
    let piece = AlignedBuffer::filled(FILL_PIECE_LEN);
    let mut position = 0;
    while position < len {
        let piece_len = (len - position).min(FILL_PIECE_LEN as u64);
        file.write_all_at(&piece.as_slice()[..piece_len as usize], position)?;
        position += piece_len;
    }
    file.sync_all()
}

/// Creates the file with space for `len` bytes allocated (where the file system can) and none of it written.
pub fn create_allocated(path: &Path, len: u64) -> io::Result<File> {
    File::options().write(true).create_new(true).open(path)?;
    let file = open_direct(path, Durability::Written)?;
    let allocated_len = libc::off_t::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the descriptor is open for as long as `file` lives, and fallocate takes no pointers.
    if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, allocated_len) } == 0 {
        return Ok(file);
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::EOPNOTSUPP) => file.set_len(len).map(|()| file),
        error => Err(error),
    }
}
