//! Timed operations by so many threads, each with one in flight, and other threads' load beside them.

use super::at_depth;
use crate::Stop;
use crate::closed_loop::sharpen_timers;
use crate::direct_file::AlignedBuffer;
use crate::latency::LatencyHistogram;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a step goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn<'a> {
    pub until: Instant,
    pub stop: &'a Stop,
}

impl Turn<'_> {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until || self.stop.is_asked()
    }
}

/// What operations of one size, so many in flight, are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Bytes.
    pub size: u32,
    pub depth: u32,
}

/// What was moved, in what time, and how long each operation took.
#[derive(Debug)]
pub(super) struct Moved {
    pub len: u64,
    pub seconds: f64,
    pub latencies: LatencyHistogram,
}

/// Runs `operation` with numbers that only grow, `shape.depth` at a time, until the turn is over or it says that there is no more;
/// each thread at least once. `after` is timed with them, and not among the latencies.
pub(super) fn measure(
    shape: Shape,
    turn: Turn<'_>,
    operation: impl Fn(&mut AlignedBuffer, u64) -> io::Result<bool> + Sync,
    after: impl FnOnce() -> io::Result<()>,
) -> io::Result<Moved> {
    let next = AtomicU64::new(0);
    let begun_at = Instant::now();
    let parts = at_depth(shape.depth, shape.size as usize, |buffer| {
        let mut latencies = LatencyHistogram::new();
        while latencies.count() == 0 || !turn.is_over() {
            let issued_at = Instant::now();
            if !operation(buffer, next.fetch_add(1, Ordering::Relaxed))? {
                break;
            }
            latencies.record(issued_at.elapsed());
        }
        Ok(latencies)
    })?;
    after()?;
    let seconds = begun_at.elapsed().as_secs_f64();
    let mut latencies = LatencyHistogram::new();
    parts.iter().for_each(|part| latencies.merge(part));
    Ok(Moved { len: latencies.count() * u64::from(shape.size), seconds, latencies })
}

/// Runs `foreground` while `background` goes on in threads of its own, which end with it. `None` where there is no background.
pub(super) fn beside<T: Send>(
    background: Option<impl FnOnce(&AtomicBool) -> io::Result<T> + Send>,
    foreground: impl FnOnce() -> io::Result<Moved>,
) -> io::Result<(Moved, Option<T>)> {
    let is_over = AtomicBool::new(false);
    let is_over = &is_over;
    std::thread::scope(|scope| {
        let background = background.map(|background| scope.spawn(move || background(is_over)));
        let measured = foreground();
        is_over.store(true, Ordering::Relaxed);
        let aside = background.map(|thread| thread.join().expect("a probe thread does not panic")).transpose();
        Ok((measured?, aside?))
    })
}

/// Operations in flight until `is_over`, no faster than `rate` bytes a second where there is one; `len` counts the bytes.
pub(super) fn go_on(
    shape: Shape,
    rate: Option<f64>,
    is_over: &AtomicBool,
    operation: impl Fn(&mut AlignedBuffer, u64) -> io::Result<()> + Sync,
) -> io::Result<Moved> {
    let next = AtomicU64::new(0);
    let begun_at = Instant::now();
    let parts = at_depth(shape.depth, shape.size as usize, |buffer| {
        sharpen_timers();
        let mut latencies = LatencyHistogram::new();
        while latencies.count() == 0 || !is_over.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if let Some(rate) = rate {
                let due_after = Duration::try_from_secs_f64(number as f64 * f64::from(shape.size) / rate);
                if !wait_until(begun_at + due_after.unwrap_or_default(), is_over) && latencies.count() > 0 {
                    break;
                }
            }
            let issued_at = Instant::now();
            operation(buffer, number)?;
            latencies.record(issued_at.elapsed());
        }
        Ok(latencies)
    })?;
    let seconds = begun_at.elapsed().as_secs_f64();
    let mut latencies = LatencyHistogram::new();
    parts.iter().for_each(|part| latencies.merge(part));
    Ok(Moved { len: latencies.count() * u64::from(shape.size), seconds, latencies })
}

/// Sleeps in small pieces, so that a slow rate does not outlast the step. False when that was over first.
fn wait_until(due_at: Instant, is_over: &AtomicBool) -> bool {
    const PIECE: Duration = Duration::from_millis(5);
    loop {
        let left = due_at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        if is_over.load(Ordering::Relaxed) {
            return false;
        }
        std::thread::sleep(left.min(PIECE));
    }
}

/// The blocks of a file, by number.
#[derive(Debug)]
pub(super) struct Blocks<'a> {
    pub file: &'a File,
    /// Bytes of it that are used.
    pub len: u64,
}

impl Blocks<'_> {
    /// One after the other; false after the last.
    pub(super) fn write_next(&self, buffer: &AlignedBuffer, number: u64) -> io::Result<bool> {
        let size = buffer.as_slice().len() as u64;
        if number >= self.len / size {
            return Ok(false);
        }
        self.file.write_all_at(buffer.as_slice(), number * size).map(|()| true)
    }

    /// One after the other, again and again.
    pub(super) fn write_round(&self, buffer: &AlignedBuffer, number: u64) -> io::Result<()> {
        let size = buffer.as_slice().len() as u64;
        self.file.write_all_at(buffer.as_slice(), number % (self.len / size) * size)
    }

    /// At a place that looks random and is the same for the same number.
    pub(super) fn read_anywhere(&self, buffer: &mut AlignedBuffer, number: u64) -> io::Result<()> {
        let size = buffer.as_slice().len() as u64;
        self.file.read_exact_at(buffer.as_mut_slice(), scattered(number) % (self.len / size) * size)
    }
}

/// The output step of SplitMix64.
fn scattered(number: u64) -> u64 {
    let mut value = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_thread_works_at_least_once_and_none_after_the_end() {
        let stop = Stop::default();
        let shape = Shape { size: 4096, depth: 3 };
        let turn = Turn { until: Instant::now(), stop: &stop };
        let moved = measure(shape, turn, |_, _| Ok(true), || Ok(())).expect("no error");
        assert_eq!((moved.latencies.count(), moved.len), (3, 3 * 4096));
        let turn = Turn { until: Instant::now() + Duration::from_secs(3600), stop: &stop };
        let moved = measure(shape, turn, |_, number| Ok(number < 10), || Ok(())).expect("no error");
        assert_eq!(moved.latencies.count(), 10, "it ends when there is no more");
        stop.ask();
        assert_eq!(measure(shape, turn, |_, _| Ok(true), || Ok(())).expect("no error").latencies.count(), 3, "or is asked to");
        let failed = measure(shape, turn, |_, _| Err(io::ErrorKind::StorageFull.into()), || Ok(()));
        assert_eq!(failed.expect_err("an error").kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn what_goes_on_beside_ends_with_what_is_measured() {
        let stop = Stop::default();
        let shape = Shape { size: 4096, depth: 2 };
        let turn = Turn { until: Instant::now(), stop: &stop };
        // So slow that a second turn would come after an hour.
        let background = |is_over: &AtomicBool| go_on(shape, Some(1.0), is_over, |_, _| Ok(()));
        let (measured, aside) = beside(Some(background), || measure(shape, turn, |_, _| Ok(true), || Ok(()))).expect("no error");
        assert_eq!((measured.latencies.count(), aside.expect("a background").latencies.count()), (2, 2));
    }

    #[test]
    fn places_are_spread_and_the_same_each_time() {
        let places: BTreeSet<u64> = (0..1000).map(|number| scattered(number) % 4096).collect();
        assert!(places.len() > 800, "{}", places.len());
        assert_eq!(scattered(7), scattered(7));
    }
}
