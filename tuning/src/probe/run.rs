//! A whole probe: every step, on files of its own in a scratch folder that whoever calls removes.
//!
//! The expensive mistake is a figure of a warm cache: each direct write gets a new file, and what follows it into the device's
//! cache is flushed within its time. Reads cannot be kept out of the cache of a hypervisor or of the device; nobody below a
//! guest's kernel says what is in it.

use super::load::{Blocks, Moved, Shape, Turn, beside, go_on, measure};
use super::steps::{READ_BESIDE_SIZE, Step, Steps};
use super::{DURABLE_FILE_LEN, ProbeError, SEQUENTIAL_DEPTH, SEQUENTIAL_PIECE_LEN, error_at};
use crate::Stop;
use crate::direct_file::{BLOCK_LEN, Durability, create_allocated, create_written, open_direct};
use crate::floor::measure_echo;
use crate::folder::{ScratchFolder, free_len, refuse_memory};
use crate::machine_speed::{measure_crc32c, measure_loopback, measure_memcpy};
use crate::properties::{Figures, FlushUnderLoad, Latency, Transfer, WriteBesideReads, rate_of};
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// A step takes at least this long, whatever those before it took.
const STEP_MIN: Duration = Duration::from_millis(10);
/// Memory needs no longer: it does not share a queue with anything.
const MEMORY_MAX: Duration = Duration::from_millis(100);
const ONE_BLOCK: Shape = Shape { size: BLOCK_LEN as u32, depth: 1 };
const BULK: Shape = Shape { size: SEQUENTIAL_PIECE_LEN as u32, depth: SEQUENTIAL_DEPTH };

/// Where a probe is, told before each step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub done: usize,
    pub total: usize,
    pub what: String,
}

/// Measures all `steps` on files in `folder`. Blocks for about as long as they say.
///
/// # Errors When the folder lies in memory, has too little room or no direct I/O, a call fails, or it is asked to stop.
pub fn run(
    folder: &ScratchFolder,
    steps: &Steps,
    stop: &Stop,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Figures, ProbeError> {
    refuse_memory(folder.path())?;
    let needed = steps.space_needed();
    if let Some(free) = free_len(folder.path()).filter(|&free| free < needed) {
        return Err(ProbeError::NoSpace { path: folder.path().to_path_buf(), needed, free });
    }
    let deadline = Instant::now() + steps.duration;
    let total = steps.steps.len();
    progress(&Progress { done: 0, total, what: "writing scratch files".to_owned() });
    let mut files = Files::create(folder, steps, stop)?;
    let mut taken = Taken::default();
    for (done, &step) in steps.steps.iter().enumerate() {
        progress(&Progress { done, total, what: step.to_string() });
        let left = deadline.saturating_duration_since(Instant::now());
        let share = (left / u32::try_from(total - done).unwrap_or(u32::MAX)).max(STEP_MIN);
        taken.step(&mut files, step, Turn { until: Instant::now() + share, stop }, share)?;
        if stop.is_asked() {
            return Err(ProbeError::Interrupted);
        }
    }
    Ok(taken.figures())
}

/// The scratch files.
struct Files {
    durable: (PathBuf, File),
    /// A file for reads, and how much of it was written.
    read: (PathBuf, File, u64),
    fresh_path: PathBuf,
    fresh_len: u64,
}

impl Files {
    fn create(folder: &ScratchFolder, steps: &Steps, stop: &Stop) -> Result<Self, ProbeError> {
        let durable_path = folder.join("durable");
        let durable = create_written(&durable_path, DURABLE_FILE_LEN)
            .and_then(|()| open_direct(&durable_path, Durability::Flushed))
            .map_err(|source| error_at(&durable_path, source))?;
        if stop.is_asked() {
            return Err(ProbeError::Interrupted);
        }
        let read_path = folder.join("read");
        let read_error = |source| error_at(&read_path, source);
        let read = create_allocated(&read_path, steps.file_len).map_err(read_error)?;
        // A tenth of the time is enough to fill the file on the devices measured so far; a slower one gets a shorter file.
        let turn = Turn { until: Instant::now() + steps.duration / 10, stop };
        let blocks = Blocks { file: &read, len: steps.file_len };
        let written = measure(BULK, turn, |buffer, number| blocks.write_next(buffer, number), || read.sync_data());
        let written_len = written.map_err(read_error)?.len;
        if stop.is_asked() {
            return Err(ProbeError::Interrupted);
        }
        Ok(Self {
            durable: (durable_path, durable),
            read: (read_path, read, written_len),
            fresh_path: folder.join("fresh"),
            fresh_len: steps.file_len,
        })
    }

    fn durable(&self) -> Blocks<'_> {
        Blocks { file: &self.durable.1, len: DURABLE_FILE_LEN }
    }

    fn to_read(&self) -> Blocks<'_> {
        Blocks { file: &self.read.1, len: self.read.2 }
    }

    /// Gives `work` a file with space and nothing in it, and removes that.
    fn with_fresh<T>(&self, work: impl FnOnce(&File) -> io::Result<T>) -> Result<T, ProbeError> {
        let done = create_allocated(&self.fresh_path, self.fresh_len).and_then(|file| work(&file));
        // Whatever became of it, the next one needs the room.
        let removed = fs::remove_file(&self.fresh_path);
        let done = done.map_err(|source| error_at(&self.fresh_path, source))?;
        removed.map_err(|source| error_at(&self.fresh_path, source))?;
        Ok(done)
    }
}

/// What has been measured so far.
#[derive(Default)]
struct Taken {
    direct_writes: Vec<Transfer>,
    durable_writes: Vec<Transfer>,
    reads: Vec<Transfer>,
    flushes_under_load: Vec<FlushUnderLoad>,
    writes_beside_reads: Vec<WriteBesideReads>,
    loopback_rate: f64,
    loopback_round_trip: Option<Latency>,
    memory_copy_rate: f64,
    checksum_rate: f64,
}

impl Taken {
    /// `share` is what `turn` has from now on.
    fn step(&mut self, files: &mut Files, step: Step, turn: Turn<'_>, share: Duration) -> Result<(), ProbeError> {
        let host = |what| move |source| ProbeError::Host { what, source };
        match step {
            Step::DurableWrite { size, depth } => {
                let blocks = files.durable();
                let write = |buffer: &mut _, number| blocks.write_round(buffer, number).map(|()| true);
                let moved = measure(Shape { size, depth }, turn, write, || Ok(()));
                let moved = moved.map_err(|source| error_at(&files.durable.0, source))?;
                self.durable_writes.push(transfer(Shape { size, depth }, &moved));
            }
            Step::DirectWrite { size, depth } => {
                let moved = files.with_fresh(|file| {
                    let blocks = Blocks { file, len: files.fresh_len };
                    measure(Shape { size, depth }, turn, |buffer, number| blocks.write_next(buffer, number), || file.sync_data())
                })?;
                self.direct_writes.push(transfer(Shape { size, depth }, &moved));
            }
            Step::Read { size, depth } => {
                let blocks = files.to_read();
                let read = |buffer: &mut _, number| blocks.read_anywhere(buffer, number).map(|()| true);
                let moved = measure(Shape { size, depth }, turn, read, || Ok(()));
                let moved = moved.map_err(|source| error_at(&files.read.0, source))?;
                self.reads.push(transfer(Shape { size, depth }, &moved));
            }
            Step::FlushUnderLoad { load } => self.flush_under_load(files, load, turn)?,
            Step::WriteBesideReads { depth } => self.write_beside_reads(files, depth, turn)?,
            Step::LoopbackStream => {
                let moved = measure_loopback(share).map_err(host("a stream over loopback"))?;
                self.loopback_rate = rate_of(moved.len, moved.seconds);
            }
            Step::LoopbackRoundTrip => {
                let figures = measure_echo(share).map_err(host("round trips over loopback"))?;
                self.loopback_round_trip = Some(Latency::of(&figures.latencies));
            }
            Step::MemoryCopy => {
                let moved = measure_memcpy(share.min(MEMORY_MAX));
                self.memory_copy_rate = rate_of(moved.len, moved.seconds);
            }
            Step::Checksum => {
                let moved = measure_crc32c(share.min(MEMORY_MAX));
                self.checksum_rate = rate_of(moved.len, moved.seconds);
            }
        }
        Ok(())
    }

    fn flush_under_load(&mut self, files: &Files, load: u32, turn: Turn<'_>) -> Result<(), ProbeError> {
        let alone = self.direct_writes.iter().map(|row| row.rate).fold(0.0, f64::max);
        // At the whole of it there is nothing to hold back.
        let rate = (load < 100).then_some(alone * f64::from(load) / 100.0);
        // Without O_DSYNC, as the flush is a call of its own here.
        let path = &files.durable.0;
        let journal = open_direct(path, Durability::Written).map_err(|source| error_at(path, source))?;
        let blocks = Blocks { file: &journal, len: DURABLE_FILE_LEN };
        let write_and_flush =
            |buffer: &mut _, number| blocks.write_round(buffer, number).and_then(|()| journal.sync_data()).map(|()| true);
        let (measured, aside) = files.with_fresh(|file| {
            let bulk = Blocks { file, len: files.fresh_len };
            let background =
                move |is_over: &AtomicBool| go_on(BULK, rate, is_over, |buffer, number| bulk.write_round(buffer, number));
            beside((load > 0).then_some(background), || measure(ONE_BLOCK, turn, write_and_flush, || Ok(())))
        })?;
        let written = aside.map_or(0.0, |moved| rate_of(moved.len, moved.seconds));
        self.flushes_under_load.push(FlushUnderLoad {
            load: f64::from(load),
            written,
            latency: Latency::of(&measured.latencies),
        });
        Ok(())
    }

    fn write_beside_reads(&mut self, files: &Files, depth: u32, turn: Turn<'_>) -> Result<(), ProbeError> {
        let (journal, to_read) = (files.durable(), files.to_read());
        let shape = Shape { size: READ_BESIDE_SIZE, depth };
        let background =
            |is_over: &AtomicBool| go_on(shape, None, is_over, |buffer, number| to_read.read_anywhere(buffer, number));
        let write = |buffer: &mut _, number| journal.write_round(buffer, number).map(|()| true);
        let both = beside(Some(background), || measure(ONE_BLOCK, turn, write, || Ok(())));
        let (measured, aside) = both.map_err(|source| error_at(&files.durable.0, source))?;
        let aside = aside.expect("there is a background");
        self.writes_beside_reads.push(WriteBesideReads {
            size: shape.size,
            depth,
            read: rate_of(aside.len, aside.seconds),
            read_latency: Latency::of(&aside.latencies),
            latency: Latency::of(&measured.latencies),
        });
        Ok(())
    }

    fn figures(self) -> Figures {
        Figures {
            direct_writes: self.direct_writes,
            durable_writes: self.durable_writes,
            reads: self.reads,
            flushes_under_load: self.flushes_under_load,
            writes_beside_reads: self.writes_beside_reads,
            loopback_rate: self.loopback_rate,
            loopback_round_trip: self.loopback_round_trip.expect("every probe has round trips among its steps"),
            memory_copy_rate: self.memory_copy_rate,
            checksum_rate: self.checksum_rate,
        }
    }
}

fn transfer(shape: Shape, moved: &Moved) -> Transfer {
    let rate = rate_of(moved.len, moved.seconds);
    Transfer { size: shape.size, depth: shape.depth, rate, latency: Latency::of(&moved.latencies) }
}
