//! What a load costs the system's processes, as the kernel tells it: processor time, memory, bytes to the device.

use std::time::{Duration, Instant};

use crate::error::BenchError;
use crate::measurement::{Acknowledged, BrokerFigures};
use crate::process::Memory;
use crate::system::System;

/// Watches the processes of a system during one load.
#[derive(Debug)]
pub struct SystemWatch {
    cpu_before: Option<Duration>,
    written_before: Option<u64>,
    begun_at: Instant,
}

impl SystemWatch {
    pub fn begin(system: &dyn System) -> Result<Self, BenchError> {
        for process in system.processes() {
            // Where it is forbidden the peak is the one since the process's start: higher, never lower.
            let _ = process.forget_peak();
        }
        let (cpu_before, written_before) = (cpu_time(system)?, written_len(system));
        Ok(Self { cpu_before, written_before, begun_at: Instant::now() })
    }

    /// Call it when the load has ended; waits until the system is quiet, so that what it does later for these records counts.
    pub fn finish(self, system: &dyn System, acknowledged: Acknowledged) -> Result<BrokerFigures, BenchError> {
        let wall_s = self.begun_at.elapsed().as_secs_f64();
        let cpu_in_load = cpu_time(system)?;
        system.settle()?;
        let cpu_after = cpu_time(system)?;
        let used_s = |after: Option<Duration>| Some(after?.saturating_sub(self.cpu_before?).as_secs_f64());
        let per = |amount: f64| used_s(cpu_after).filter(|_| amount > 0.0).map(|seconds| seconds / amount);
        let written = written_len(system).zip(self.written_before).map(|(after, before)| after.saturating_sub(before));
        Ok(BrokerFigures {
            cpu_percent: used_s(cpu_in_load).filter(|_| wall_s > 0.0).map(|seconds| 100.0 * seconds / wall_s),
            cpu_s_per_gb: per(acknowledged.value_len as f64 / 1e9),
            cpu_s_per_million_records: per(acknowledged.record_count as f64 / 1e6),
            memory: memory(system)?,
            write_amplification: written
                .filter(|_| acknowledged.value_len > 0)
                .map(|written| written as f64 / acknowledged.value_len as f64),
        })
    }
}

/// Of all processes together; `None` when the system names none.
fn cpu_time(system: &dyn System) -> Result<Option<Duration>, BenchError> {
    let mut sum = None;
    for process in system.processes() {
        let time = process.cpu_time().map_err(BenchError::io("the broker's processor time"))?;
        sum = Some(sum.unwrap_or(Duration::ZERO) + time);
    }
    Ok(sum)
}

fn memory(system: &dyn System) -> Result<Option<Memory>, BenchError> {
    let mut sum = None;
    for process in system.processes() {
        let memory = process.memory().map_err(BenchError::io("the broker's memory"))?;
        sum = Some(sum.unwrap_or_default() + memory);
    }
    Ok(sum)
}

/// `None` as well where the kernel keeps it to itself: a process of another user.
fn written_len(system: &dyn System) -> Option<u64> {
    let lens: Option<Vec<u64>> = system.processes().iter().map(|process| process.written_len().ok()).collect();
    lens.filter(|lens| !lens.is_empty()).map(|lens| lens.iter().sum())
}
