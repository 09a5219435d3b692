//! The device probe: what a plain thread gets from the device, against which everything else here is judged.
//!
//! Two files: one for 4 KiB writes with O_DSYNC, one at a time (what a durable record costs at least), and one for sequential 1 MiB pieces, a few in
//! flight (what bulk could reach at most). Both are written whole before anything is timed: on a fresh or growing file the figures would be
//! the file system's block allocation. Absent: io_uring and any executor.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::direct_file::{AlignedBuffer, BLOCK_LEN, Durability, create_written, open_direct};
use crate::folder::{FolderError, refuse_memory};
use crate::latency::LatencyHistogram;

/// Enough for the device to see fresh addresses most of the time; small enough to be written in a blink.
pub const DURABLE_FILE_LEN: u64 = 64 << 20;
pub const SEQUENTIAL_FILE_LEN: u64 = 1 << 30;
pub const SEQUENTIAL_PIECE_LEN: usize = 1 << 20;
/// Threads, each with one piece in flight, that saturate the devices measured so far.
pub const SEQUENTIAL_DEPTH: u32 = 4;

/// Why the device could not be measured.
#[derive(Debug)]
pub enum ProbeError {
    Folder(FolderError),
    /// The file system has no direct I/O at all.
    DirectUnsupported {
        path: PathBuf,
    },
    Io {
        path: PathBuf,
        source: io::Error,
    },
}

impl std::fmt::Display for ProbeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(error) => error.fmt(f),
            Self::DirectUnsupported { path } => {
                write!(
                    f,
                    "{}: this file system refuses direct I/O (O_DIRECT): name a folder on ext4 or XFS",
                    path.display()
                )
            }
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}

impl std::error::Error for ProbeError {}

impl From<FolderError> for ProbeError {
    fn from(error: FolderError) -> Self {
        Self::Folder(error)
    }
}

/// A pre-written file whose blocks are overwritten one after the other, each write flushed when it returns. It wraps at its end.
#[derive(Debug)]
pub struct DurableBlockFile {
    file: File,
    path: PathBuf,
    block: AlignedBuffer,
    position: u64,
    len: u64,
}

impl DurableBlockFile {
    /// Creates the file and writes it once. `len` is in bytes and a multiple of 4 KiB.
    pub fn create(path: &Path, len: u64) -> Result<Self, ProbeError> {
        let file = create_and_open(path, len, Durability::Flushed)?;
        Ok(Self {
            file,
            path: path.to_path_buf(),
            block: AlignedBuffer::filled(BLOCK_LEN),
            position: 0,
            len,
        })
    }

    /// Writes the next 4 KiB; durable when it returns.
    pub fn write_next(&mut self) -> io::Result<()> {
        self.file.write_all_at(self.block.as_slice(), self.position)?;
        self.position = (self.position + BLOCK_LEN as u64) % self.len;
        Ok(())
    }

    /// The probe: one write after the other for `duration`, at least one.
    pub fn measure(&mut self, duration: Duration) -> Result<LatencyHistogram, ProbeError> {
        let mut latencies = LatencyHistogram::new();
        let begun_at = Instant::now();
        let mut issued_at = begun_at;
        while latencies.count() == 0 || issued_at - begun_at < duration {
            self.write_next().map_err(|source| ProbeError::Io {
                path: self.path.clone(),
                source,
            })?;
            let done_at = Instant::now();
            latencies.record(done_at - issued_at);
            issued_at = done_at;
        }
        Ok(latencies)
    }
}

/// Bytes moved, and the wall time it took.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Throughput {
    pub len: u64,
    pub seconds: f64,
}

impl Throughput {
    /// Millions of bytes per second.
    pub fn mb_per_s(&self) -> f64 {
        if self.seconds > 0.0 {
            self.len as f64 / 1e6 / self.seconds
        } else {
            0.0
        }
    }
}

/// A pre-written file that is overwritten or read from front to back in 1 MiB pieces, over and over.
#[derive(Debug)]
pub struct SequentialFile {
    file: File,
    path: PathBuf,
    piece_count: u64,
}

impl SequentialFile {
    /// Creates the file and writes it once. `len` is in bytes and a multiple of 1 MiB.
    pub fn create(path: &Path, len: u64) -> Result<Self, ProbeError> {
        assert!(
            len > 0 && len.is_multiple_of(SEQUENTIAL_PIECE_LEN as u64),
            "{len} bytes are not whole pieces"
        );
        let file = create_and_open(path, len, Durability::Written)?;
        Ok(Self {
            file,
            path: path.to_path_buf(),
            piece_count: len / SEQUENTIAL_PIECE_LEN as u64,
        })
    }

    /// Sequential direct writes with `depth` pieces in flight, then one flush of the device, which counts towards the time.
    pub fn measure_write(&self, depth: u32, duration: Duration) -> Result<Throughput, ProbeError> {
        self.measure(depth, duration, Direction::Write)
    }

    /// Sequential direct reads with `depth` pieces in flight.
    pub fn measure_read(&self, depth: u32, duration: Duration) -> Result<Throughput, ProbeError> {
        self.measure(depth, duration, Direction::Read)
    }

    fn measure(&self, depth: u32, duration: Duration, direction: Direction) -> Result<Throughput, ProbeError> {
        assert!(depth > 0, "a depth of zero moves nothing");
        let mut buffers: Vec<AlignedBuffer> = (0..depth).map(|_| AlignedBuffer::filled(SEQUENTIAL_PIECE_LEN)).collect();
        let next_piece = AtomicU64::new(0);
        let begun_at = Instant::now();
        let moved: io::Result<u64> = std::thread::scope(|scope| {
            let workers: Vec<_> = buffers
                .iter_mut()
                .map(|buffer| scope.spawn(|| self.move_pieces(buffer, &next_piece, begun_at + duration, direction)))
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().expect("a probe thread does not panic"))
                .sum()
        });
        let finished = moved.and_then(|len| match direction {
            Direction::Write => self.file.sync_data().map(|()| len),
            Direction::Read => Ok(len),
        });
        let len = finished.map_err(|source| ProbeError::Io {
            path: self.path.clone(),
            source,
        })?;
        Ok(Throughput {
            len,
            seconds: begun_at.elapsed().as_secs_f64(),
        })
    }

    /// One thread's share: takes the next piece of the file until `until`, at least one. Returns the bytes it moved.
    fn move_pieces(
        &self,
        buffer: &mut AlignedBuffer,
        next_piece: &AtomicU64,
        until: Instant,
        direction: Direction,
    ) -> io::Result<u64> {
        let mut moved_len = 0;
        while moved_len == 0 || Instant::now() < until {
            let piece = next_piece.fetch_add(1, Ordering::Relaxed) % self.piece_count;
            let position = piece * SEQUENTIAL_PIECE_LEN as u64;
            match direction {
                Direction::Write => self.file.write_all_at(buffer.as_slice(), position)?,
                Direction::Read => self.file.read_exact_at(buffer.as_mut_slice(), position)?,
            }
            moved_len += SEQUENTIAL_PIECE_LEN as u64;
        }
        Ok(moved_len)
    }
}

#[derive(Clone, Copy, Debug)]
enum Direction {
    Write,
    Read,
}

fn create_and_open(path: &Path, len: u64, durability: Durability) -> Result<File, ProbeError> {
    refuse_memory(path.parent().unwrap_or(Path::new(".")))?;
    create_written(path, len)
        .and_then(|()| open_direct(path, durability))
        .map_err(|source| match source.raw_os_error() {
            Some(libc::EINVAL | libc::EOPNOTSUPP) => ProbeError::DirectUnsupported {
                path: path.to_path_buf(),
            },
            _ => ProbeError::Io {
                path: path.to_path_buf(),
                source,
            },
        })
}
