//! What `sluice probe` measures, in which order, for how long, and how much space that takes.
//!
//! The time is one budget for all: a step that took longer than its share (a slow device has to flush what it was given)
//! takes it from those that follow, so that the whole stays within what was promised.

use super::{DURABLE_FILE_LEN, SEQUENTIAL_FILE_LEN};
use std::time::Duration;

/// A full probe is done in less than two minutes, a quick one in less than twenty seconds: what is left goes into scratch files.
pub const FULL: Duration = Duration::from_secs(95);
pub const QUICK: Duration = Duration::from_secs(14);
/// Bytes of a scratch file for each second of all measuring.
const FILE_LEN_PER_S: u64 = 64 << 20;
const FILE_LEN_MIN: u64 = 64 << 20;
/// Of each read that goes on beside writes: what a consumer that catches up reads at a time.
pub const READ_BESIDE_SIZE: u32 = 256 << 10;

/// One thing to be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    DurableWrite {
        size: u32,
        depth: u32,
    },
    DirectWrite {
        size: u32,
        depth: u32,
    },
    Read {
        size: u32,
        depth: u32,
    },
    /// Per cent of what bulk writes reach alone.
    FlushUnderLoad {
        load: u32,
    },
    WriteBesideReads {
        depth: u32,
    },
    LoopbackStream,
    LoopbackRoundTrip,
    MemoryCopy,
    Checksum,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kib = |size: u32| size / 1024;
        match *self {
            Self::DurableWrite { size, depth } => write!(f, "durable writes of {} KiB, {depth} in flight", kib(size)),
            Self::DirectWrite { size, depth } => write!(f, "direct writes of {} KiB, {depth} in flight", kib(size)),
            Self::Read { size, depth } => write!(f, "reads of {} KiB, {depth} in flight", kib(size)),
            Self::FlushUnderLoad { load } => write!(f, "flushes while bulk writes go on at {load} %"),
            Self::WriteBesideReads { depth } => write!(f, "durable writes beside {depth} reads"),
            Self::LoopbackStream => f.write_str("a stream over loopback"),
            Self::LoopbackRoundTrip => f.write_str("round trips over loopback"),
            Self::MemoryCopy => f.write_str("copying memory"),
            Self::Checksum => f.write_str("checksums"),
        }
    }
}

/// All that one probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steps {
    pub steps: Vec<Step>,
    /// For all of them together.
    pub duration: Duration,
    /// Bytes of each of the two large scratch files.
    pub file_len: u64,
}

impl Steps {
    /// Every size and depth.
    #[must_use]
    pub fn full(duration: Option<Duration>) -> Self {
        let sizes = [4, 16, 64, 256, 1024];
        Self::new(&sizes, &[1, 4, 16], &[0, 25, 50, 75, 100], &[1, 4, 16], duration.unwrap_or(FULL))
    }

    /// The ends of each range.
    #[must_use]
    pub fn quick(duration: Option<Duration>) -> Self {
        Self::new(&[4, 64, 1024], &[1, 16], &[0, 50, 100], &[1, 16], duration.unwrap_or(QUICK))
    }

    fn new(kib: &[u32], depths: &[u32], loads: &[u32], read_depths: &[u32], duration: Duration) -> Self {
        let shapes = || kib.iter().flat_map(|kib| depths.iter().map(move |depth| (kib * 1024, *depth)));
        let mut steps = vec![Step::MemoryCopy, Step::Checksum, Step::LoopbackStream, Step::LoopbackRoundTrip];
        steps.extend(shapes().map(|(size, depth)| Step::DurableWrite { size, depth }));
        // Flushes need to know what bulk writes reach alone.
        steps.extend(shapes().map(|(size, depth)| Step::DirectWrite { size, depth }));
        steps.extend(shapes().map(|(size, depth)| Step::Read { size, depth }));
        steps.extend(loads.iter().map(|&load| Step::FlushUnderLoad { load }));
        steps.extend(read_depths.iter().map(|&depth| Step::WriteBesideReads { depth }));
        let wanted_len = duration.as_secs().saturating_mul(FILE_LEN_PER_S);
        Self { steps, duration, file_len: wanted_len.clamp(FILE_LEN_MIN, SEQUENTIAL_FILE_LEN) }
    }

    /// Bytes that have to be free: a file that is read, one that is written, and the one written before.
    #[must_use]
    pub fn space_needed(&self) -> u64 {
        2 * self.file_len + DURABLE_FILE_LEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::SEQUENTIAL_PIECE_LEN;

    #[test]
    fn sizes_and_depths_go_from_end_to_end_and_no_step_stands_twice() {
        for steps in [Steps::full(None), Steps::quick(None)] {
            for (size, depth) in [(4096, 1), (4096, 16), (1 << 20, 1), (1 << 20, 16)] {
                for step in [Step::DurableWrite { size, depth }, Step::DirectWrite { size, depth }, Step::Read { size, depth }] {
                    assert_eq!(steps.steps.iter().filter(|known| **known == step).count(), 1, "{step}");
                }
            }
            assert!(steps.file_len.is_multiple_of(SEQUENTIAL_PIECE_LEN as u64));
        }
        assert!(Steps::quick(None).steps.len() < Steps::full(None).steps.len());
    }

    #[test]
    fn a_short_probe_needs_little_space_and_a_full_one_no_more_than_four_gib() {
        assert_eq!(Steps::quick(Some(Duration::from_millis(10))).space_needed(), 192 << 20);
        assert_eq!(Steps::full(None).space_needed(), (4 << 30) + (64 << 20));
        assert_eq!(Steps::full(Some(Duration::MAX)).space_needed(), Steps::full(None).space_needed());
    }
}
