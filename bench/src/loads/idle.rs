//! Idle: what a system costs that nobody talks to.

use std::time::{Duration, Instant};

use crate::error::BenchError;
use crate::load::{Stop, SystemWatch};
use crate::measurement::{Acknowledged, BrokerFigures, Measurement};
use crate::result::RoundOutcome;
use crate::system::System;

const STEP: Duration = Duration::from_millis(50);

/// Processor time over `seconds` of quiet, and the memory at rest.
pub fn measure_idle(system: &dyn System, seconds: f64, stop: &Stop) -> Result<Measurement, BenchError> {
    if system.processes().is_empty() {
        return Err(BenchError::ProcessUnknown { workload: "idle" });
    }
    system.settle()?;
    let watch = SystemWatch::begin(system)?;
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    while Instant::now() < until && !stop.is_asked() {
        std::thread::sleep(until.saturating_duration_since(Instant::now()).min(STEP));
    }
    let figures = watch.finish(system, Acknowledged::default())?;
    let broker = BrokerFigures { cpu_percent: figures.cpu_percent, memory: figures.memory, ..BrokerFigures::default() };
    let outcome = if stop.is_asked() { RoundOutcome::Interrupted } else { RoundOutcome::Whole };
    Ok(Measurement { outcome, broker, ..Measurement::default() })
}
