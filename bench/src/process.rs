//! What the kernel says about a broker's process: processor time, memory, and the peak of memory since it was last asked.
//!
//! Absent: anything a broker says about itself.

use std::fs;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A pause in which a process uses less of a core than this has nothing left to do.
const SETTLED_CPU_SHARE: f64 = 0.05;
const SETTLE_STEP: Duration = Duration::from_millis(250);
const SETTLE_STEPS_MAX: u32 = 60;

/// A process by its id.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    id: u32,
}

impl std::ops::Add for Memory {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { rss_mb: self.rss_mb + other.rss_mb, peak_mb: self.peak_mb + other.peak_mb }
    }
}

/// Resident memory, millions of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    pub rss_mb: f64,
    /// The most since [`Process::forget_peak`], or since the start where that is forbidden.
    pub peak_mb: f64,
}

impl Process {
    pub fn new(id: u32) -> Self {
        Self { id }
    }

    #[must_use]
    pub fn id(self) -> u32 {
        self.id
    }

    /// Processor time of all its threads since its start, ended ones included, user and system.
    pub fn cpu_time(self) -> io::Result<Duration> {
        let id = libc::pid_t::try_from(self.id).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
        let mut clock: libc::clockid_t = 0;
        // SAFETY: `clock` is a valid place for one clock id.
        let refused = unsafe { libc::clock_getcpuclockid(id, &raw mut clock) };
        if refused != 0 {
            return Err(io::Error::from_raw_os_error(refused));
        }
        let mut time = MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: `time` has room for one timespec.
        if unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: clock_gettime returned 0, so it filled the structure.
        let time = unsafe { time.assume_init() };
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Ok(Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0)))
    }

    /// Waits until it has finished what the last load left behind, 15 seconds at most: the next measurement begins on a quiet
    /// machine.
    pub fn settle(self) -> io::Result<()> {
        let mut before = self.cpu_time()?;
        for _ in 0..SETTLE_STEPS_MAX {
            std::thread::sleep(SETTLE_STEP);
            let after = self.cpu_time()?;
            if after.saturating_sub(before).as_secs_f64() < SETTLED_CPU_SHARE * SETTLE_STEP.as_secs_f64() {
                break;
            }
            before = after;
        }
        Ok(())
    }

    /// Begins a new period for [`Memory::peak_mb`].
    pub fn forget_peak(self) -> io::Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.id), "5")
    }

    /// Bytes this process has caused to be written to devices since its start, whenever that happens.
    pub fn written_len(self) -> io::Result<u64> {
        let io = fs::read_to_string(format!("/proc/{}/io", self.id))?;
        let line = io.lines().find_map(|line| line.strip_prefix("write_bytes:"));
        line.and_then(|number| number.trim().parse().ok()).ok_or_else(|| ErrorKind::InvalidData.into())
    }

    pub fn memory(self) -> io::Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id))?;
        let field = |name: &str| kib_field(&status, name).map(|kib| kib as f64 * 1024.0 / 1e6);
        match (field("VmRSS:"), field("VmHWM:")) {
            (Some(rss_mb), Some(peak_mb)) => Ok(Memory { rss_mb, peak_mb }),
            _ => Err(io::Error::new(ErrorKind::NotFound, format!("process {} has ended", self.id))),
        }
    }
}

/// The number of a `Name:   1234 kB` line.
fn kib_field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(name))?;
    line[name.len()..].split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_uses_its_core() {
        let this = Process::new(std::process::id());
        let before = this.cpu_time().expect("its processor time");
        let mut sum = 0u64;
        while this.cpu_time().expect("its processor time") < before + Duration::from_millis(5) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let memory = this.memory().expect("its memory");
        this.written_len().expect("what it has written");
        assert!(memory.rss_mb > 0.0 && memory.peak_mb > 0.0, "{memory:?}");
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        let nobody = Process::new(u32::MAX);
        assert!(nobody.cpu_time().is_err() && nobody.memory().is_err());
    }

    #[test]
    fn fields_are_found_by_name() {
        let status = "Name:\tsluice\nVmHWM:\t   2048 kB\nVmRSS:\t 1024 kB\n";
        assert_eq!(kib_field(status, "VmRSS:"), Some(1024));
        assert_eq!(kib_field(status, "VmSwap:"), None);
    }
}
