//! Idle: what a broker costs that nobody talks to.

use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::error::BenchError;
use crate::measurement::{BrokerFigures, Measurement};

/// Long enough for what a broker does every few seconds to be in it.
const DURATION_MIN: Duration = Duration::from_secs(5);

/// Processor time over at least five quiet seconds with one connection open, and the memory at rest.
pub fn measure_idle(broker: &Broker, duration: Duration) -> Result<Measurement, BenchError> {
    let Some(process) = broker.process() else {
        return Err(BenchError::ProcessUnknown { workload: "idle" });
    };
    let cpu_time = || process.cpu_time().map_err(BenchError::io("the broker's processor time"));
    let _open = broker.connect()?;
    broker.settle()?;
    let (before, begun_at) = (cpu_time()?, Instant::now());
    std::thread::sleep(duration.max(DURATION_MIN));
    let (after, elapsed) = (cpu_time()?, begun_at.elapsed());
    let cpu_percent = 100.0 * after.saturating_sub(before).as_secs_f64() / elapsed.as_secs_f64();
    let memory = process.memory().map_err(BenchError::io("the broker's memory"))?;
    let broker = BrokerFigures { cpu_percent: Some(cpu_percent), memory: Some(memory), ..BrokerFigures::default() };
    Ok(Measurement { broker, ..Measurement::default() })
}
