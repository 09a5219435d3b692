//! The device probe: what a plain thread gets from the device, against which everything else here is judged.
//!
//! Here are two files that others time by, too: one for 4 KiB writes with O_DSYNC, one at a time (what a durable record costs at least), and one for
//! sequential 1 MiB pieces, a few in flight (what bulk could reach at most). The expensive mistake is to time the file
//! system's block allocation, or a hypervisor's cache, for the device: the first file is written whole before anything is
//! timed, as a journal is; the second is allocated and fresh, as segments are. Absent: io_uring and any executor.
//! `sluice probe` measures more of the same kinds by size and depth: `steps` says what, `run` does it.

mod load;
mod run;
pub mod steps;

pub use run::{Progress, run};
pub use steps::Steps;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::direct_file::{AlignedBuffer, BLOCK_LEN, Durability, create_allocated, create_written, open_direct};
use crate::folder::{FolderError, refuse_memory};
use crate::latency::LatencyHistogram;

/// Enough for the device to see fresh addresses most of the time; small enough to be written in a blink.
pub const DURABLE_FILE_LEN: u64 = 64 << 20;
/// About a second of writing on the devices measured so far.
pub const SEQUENTIAL_FILE_LEN: u64 = 2 << 30;
pub const SEQUENTIAL_PIECE_LEN: usize = 1 << 20;
/// Threads, each with one piece in flight, that saturate the devices measured so far.
pub const SEQUENTIAL_DEPTH: u32 = 4;

/// Why the device could not be measured.
#[derive(Debug)]
pub enum ProbeError {
    Folder(FolderError),
    /// The scratch files would not fit; bytes.
    NoSpace {
        path: PathBuf,
        needed: u64,
        free: u64,
    },
    /// The file system has no direct I/O at all.
    DirectUnsupported {
        path: PathBuf,
    },
    Io {
        path: PathBuf,
        source: io::Error,
    },
    /// Loopback sockets, or threads.
    Host {
        what: &'static str,
        source: io::Error,
    },
    /// It was asked to stop.
    Interrupted,
}

impl std::fmt::Display for ProbeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(error) => error.fmt(f),
            Self::DirectUnsupported { path } => {
                write!(f, "{}: this file system refuses direct I/O (O_DIRECT): name a folder on ext4 or XFS", path.display())
            }
            Self::NoSpace { path, needed, free } => write!(
                f,
                "{}: measuring needs {} MiB for scratch files, and {} MiB are free: make room, or measure for a shorter time",
                path.display(),
                needed.div_ceil(1 << 20),
                free >> 20
            ),
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Host { what, source } => write!(f, "{what}: {source}"),
            Self::Interrupted => f.write_str("ended by a signal"),
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
        refuse_memory(path.parent().unwrap_or(Path::new(".")))?;
        let opened = create_written(path, len).and_then(|()| open_direct(path, Durability::Flushed));
        let file = opened.map_err(|source| error_at(path, source))?;
        Ok(Self { file, path: path.to_path_buf(), block: AlignedBuffer::filled(BLOCK_LEN), position: 0, len })
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
            self.write_next().map_err(|source| ProbeError::Io { path: self.path.clone(), source })?;
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
        if self.seconds > 0.0 { self.len as f64 / 1e6 / self.seconds } else { 0.0 }
    }
}

/// A file that is written anew from front to back in 1 MiB pieces, and read back the same way.
///
/// It is allocated before it is written and every measurement gets a fresh one, as a log's segments are: overwriting one
/// file again and again finds its blocks in the caches of a hypervisor and shows twice what new data reaches.
#[derive(Debug)]
pub struct SequentialFile {
    path: PathBuf,
    piece_count: u64,
    written_count: u64,
}

impl SequentialFile {
    /// Creates an empty file of which up to `len` bytes, a multiple of 1 MiB, will be used.
    pub fn create(path: &Path, len: u64) -> Result<Self, ProbeError> {
        assert!(len > 0 && len.is_multiple_of(SEQUENTIAL_PIECE_LEN as u64), "{len} bytes are not whole pieces");
        refuse_memory(path.parent().unwrap_or(Path::new(".")))?;
        File::create_new(path).map_err(|source| error_at(path, source))?;
        Ok(Self { path: path.to_path_buf(), piece_count: len / SEQUENTIAL_PIECE_LEN as u64, written_count: 0 })
    }

    /// Sequential direct writes with `depth` pieces in flight until `duration` is over or the file is full, then one flush
    /// of the device, which counts towards the time.
    pub fn measure_write(&mut self, depth: u32, duration: Duration) -> Result<Throughput, ProbeError> {
        let path = self.path.clone();
        let len = self.piece_count * SEQUENTIAL_PIECE_LEN as u64;
        let file =
            std::fs::remove_file(&path).and_then(|()| create_allocated(&path, len)).map_err(|source| error_at(&path, source))?;
        let next_piece = AtomicU64::new(0);
        let begun_at = Instant::now();
        let moved_len = at_depth(depth, SEQUENTIAL_PIECE_LEN, |buffer| {
            move_pieces(&next_piece, begun_at + duration, |piece| {
                if piece < self.piece_count {
                    file.write_all_at(buffer.as_slice(), position_of(piece)).map(|()| true)
                } else {
                    Ok(false)
                }
            })
        });
        let moved_len = moved_len.and_then(|lens| file.sync_data().map(|()| lens));
        let len = moved_len.map_err(|source| error_at(&path, source))?.into_iter().sum();
        let seconds = begun_at.elapsed().as_secs_f64();
        self.written_count = len / SEQUENTIAL_PIECE_LEN as u64;
        Ok(Throughput { len, seconds })
    }

    /// Sequential direct reads of what was written, over and over, with `depth` pieces in flight. Something must have been
    /// written.
    pub fn measure_read(&self, depth: u32, duration: Duration) -> Result<Throughput, ProbeError> {
        assert!(self.written_count > 0, "there is nothing to read before a measured write");
        let file = open_direct(&self.path, Durability::Written).map_err(|source| error_at(&self.path, source))?;
        let next_piece = AtomicU64::new(0);
        let begun_at = Instant::now();
        let moved_len = at_depth(depth, SEQUENTIAL_PIECE_LEN, |buffer| {
            move_pieces(&next_piece, begun_at + duration, |piece| {
                file.read_exact_at(buffer.as_mut_slice(), position_of(piece % self.written_count)).map(|()| true)
            })
        });
        let len = moved_len.map_err(|source| error_at(&self.path, source))?.into_iter().sum();
        Ok(Throughput { len, seconds: begun_at.elapsed().as_secs_f64() })
    }
}

fn position_of(piece: u64) -> u64 {
    piece * SEQUENTIAL_PIECE_LEN as u64
}

/// Runs `work` on `depth` threads, each with a buffer of `size` bytes, and gives back what each of them returned.
fn at_depth<T: Send>(depth: u32, size: usize, work: impl Fn(&mut AlignedBuffer) -> io::Result<T> + Sync) -> io::Result<Vec<T>> {
    assert!(depth > 0, "a depth of zero moves nothing");
    let mut buffers: Vec<AlignedBuffer> = (0..depth).map(|_| AlignedBuffer::filled(size)).collect();
    let work = &work;
    std::thread::scope(|scope| {
        let workers: Vec<_> = buffers.iter_mut().map(|buffer| scope.spawn(move || work(buffer))).collect();
        workers.into_iter().map(|worker| worker.join().expect("a probe thread does not panic")).collect()
    })
}

/// One thread's share: hands `move_piece` the next piece until `until`, at least one, or until it says that there is none.
/// Returns the bytes moved.
fn move_pieces(next_piece: &AtomicU64, until: Instant, mut move_piece: impl FnMut(u64) -> io::Result<bool>) -> io::Result<u64> {
    let mut moved_len = 0;
    while moved_len == 0 || Instant::now() < until {
        if !move_piece(next_piece.fetch_add(1, Ordering::Relaxed))? {
            break;
        }
        moved_len += SEQUENTIAL_PIECE_LEN as u64;
    }
    Ok(moved_len)
}

/// EINVAL on opening or on the first aligned write means that the file system has no direct I/O.
fn error_at(path: &Path, source: io::Error) -> ProbeError {
    match source.raw_os_error() {
        Some(libc::EINVAL | libc::EOPNOTSUPP) => ProbeError::DirectUnsupported { path: path.to_path_buf() },
        _ => ProbeError::Io { path: path.to_path_buf(), source },
    }
}
