//! The closed loop over any system: one record to each partition, and the next when all are acknowledged.

use std::time::{Duration, Instant};

use super::thread_time::thread_cpu_time;
use super::topic::on_fresh_topic;
use super::{Stop, SystemWatch};
use crate::closed_loop::{timed_loop, warm_up};
use crate::error::BenchError;
use crate::measurement::{Acknowledged, Measurement};
use crate::system::{LanePlan, Outcome, Producer, Record, Settled, System};
use crate::workload::{ClosedLoad, OnFull, Workload};

/// A sample whose last outcome takes longer is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a closed loop does over and over.
pub(crate) trait Exchange {
    /// A record to each partition, until all are acknowledged. One that is refused is sent again within the same sample.
    fn exchange(&mut self) -> Result<(), BenchError>;

    fn refused(&mut self) -> &mut Refused;
}

/// Requests that were refused for want of room.
#[derive(Default)]
pub(crate) struct Refused {
    pub count: u64,
    /// What the system said to the last.
    pub because: Option<String>,
}

/// Runs one round of the closed `workload` on a fresh topic, through the system's own producer.
///
/// # Errors When the system goes away, fails a record for good, or never settles one.
pub fn measure_closed(
    system: &mut dyn System,
    workload: &Workload,
    load: &ClosedLoad,
    stop: &Stop,
) -> Result<Measurement, BenchError> {
    on_fresh_topic(system, workload, |system, topic| {
        let (partition_count, batch_len_max) = (load.partition_count, load.value_len);
        let on_full = OnFull::Block;
        let plan = LanePlan { lane: 0, lane_count: 1, partition_count, connection_count: 1, batch_len_max, window: 1, on_full };
        let producer = system.producer(topic, &plan)?;
        let mut round = Round { producer, partition_count, value: vec![0x5a; load.value_len], refused: Refused::default() };
        measure_exchange(system, load, stop, &mut round)
    })
}

/// Warms up, and then measures samples of `round` and what they cost the system.
///
/// # Errors Those of the exchange, or a wish to stop.
pub(crate) fn measure_exchange(
    system: &mut dyn System,
    load: &ClosedLoad,
    stop: &Stop,
    round: &mut dyn Exchange,
) -> Result<Measurement, BenchError> {
    let duration = Duration::from_secs_f64(load.seconds);
    let exchange = |round: &mut dyn Exchange| if stop.is_asked() { Err(BenchError::Interrupted) } else { round.exchange() };
    warm_up(duration, || exchange(round))?;
    *round.refused() = Refused::default();
    system.begin_stages()?;
    let watch = SystemWatch::begin(system)?;
    let (cpu_before, begun_at) = (thread_cpu_time() + system.client_cpu_time(), Instant::now());
    let figures = timed_loop(duration, || exchange(round))?;
    let used = (thread_cpu_time() + system.client_cpu_time()).saturating_sub(cpu_before);
    let record_count = figures.latencies.count() * u64::from(load.partition_count);
    let acknowledged = Acknowledged { record_count, value_len: record_count * load.value_len as u64 };
    let refused = std::mem::take(round.refused());
    Ok(Measurement {
        reached_per_s: Some(figures.per_s()),
        latencies: Some(figures.latencies),
        generator_cpu_percent: Some(100.0 * used.as_secs_f64() / begun_at.elapsed().as_secs_f64().max(1e-9)),
        refused_count: refused.count,
        refused_because: refused.because,
        stages: system.stages()?,
        broker: watch.finish(system, acknowledged)?,
        ..Measurement::default()
    })
}

struct Round {
    producer: Box<dyn Producer + Send>,
    partition_count: u32,
    value: Vec<u8>,
    refused: Refused,
}

impl Exchange for Round {
    fn exchange(&mut self) -> Result<(), BenchError> {
        for partition in 0..self.partition_count {
            self.send(partition)?;
        }
        self.producer.flush()?;
        let give_up_at = Instant::now() + PATIENCE;
        let (mut left, mut settled) = (self.partition_count, Vec::new());
        while left > 0 {
            if Instant::now() > give_up_at {
                return Err(BenchError::protocol(format!("{left} records were not settled within {} s", PATIENCE.as_secs())));
            }
            self.producer.poll(give_up_at, &mut settled)?;
            for Settled { token, outcome } in settled.drain(..) {
                match outcome {
                    Outcome::Acknowledged => left -= 1,
                    Outcome::AcknowledgedLater { refusal_count } => {
                        self.refused.count += u64::from(refusal_count);
                        left -= 1;
                    }
                    Outcome::Refused { retry_after, because } => {
                        self.refused.count += 1;
                        self.refused.because = Some(because.to_string());
                        std::thread::sleep(retry_after);
                        self.send(token as u32)?;
                        self.producer.flush()?;
                    }
                    Outcome::Failed { because } => return Err(BenchError::protocol(because)),
                    Outcome::TimedOut => return Err(BenchError::protocol("a record timed out")),
                }
            }
        }
        Ok(())
    }

    fn refused(&mut self) -> &mut Refused {
        &mut self.refused
    }
}

impl Round {
    /// Its token is its partition.
    fn send(&mut self, partition: u32) -> Result<(), BenchError> {
        let record = Record { partition, connection: 0, value: &self.value };
        self.producer.send(&record, u64::from(partition))
    }
}
