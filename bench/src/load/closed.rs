//! The closed loop over any system: one record to each partition, and the next when all are acknowledged.

use std::time::{Duration, Instant};

use super::open::unused_name;
use super::thread_time::thread_cpu_time;
use super::{Stop, SystemWatch};
use crate::closed_loop::closed_loop;
use crate::error::BenchError;
use crate::measurement::{Acknowledged, Measurement};
use crate::system::{LanePlan, Outcome, Producer, Record, Settled, System, Topic, TopicPlan};
use crate::workload::{ClosedLoad, Workload};

/// A sample whose last outcome takes longer is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs one round of the closed `workload` on a fresh topic, through the system's own producer.
///
/// # Errors When the system goes away, fails a record for good, or never settles one.
pub fn measure_closed(
    system: &mut dyn System,
    workload: &Workload,
    load: &ClosedLoad,
    stop: &Stop,
) -> Result<Measurement, BenchError> {
    let plan = TopicPlan {
        name: unused_name(&workload.name),
        partition_count: load.partition_count,
        acks: workload.acks,
        value_len_max: load.value_len,
    };
    let topic = system.create_topic(&plan)?;
    let measured = measure_on(system, &topic, load, stop);
    // After a failed measurement the system may be gone: the failure is what matters.
    let deleted = system.delete_topic(&topic);
    measured.and_then(|value| deleted.map(|()| value))
}

fn measure_on(system: &mut dyn System, topic: &Topic, load: &ClosedLoad, stop: &Stop) -> Result<Measurement, BenchError> {
    let partition_count = load.partition_count;
    let batch_len_max = load.value_len;
    let plan = LanePlan { lane: 0, lane_count: 1, partition_count, connection_count: 1, batch_len_max, window: 1 };
    let mut round =
        Round { producer: system.producer(topic, &plan)?, value: vec![0x5a; load.value_len], refused: Refused::default() };
    system.begin_stages()?;
    let watch = SystemWatch::begin(system)?;
    let (cpu_before, begun_at) = (thread_cpu_time() + system.client_cpu_time(), Instant::now());
    let mut sample_count = 0;
    let figures = closed_loop(Duration::from_secs_f64(load.seconds), || {
        if stop.is_asked() {
            return Err(BenchError::Interrupted);
        }
        sample_count += 1;
        round.exchange(partition_count)
    })?;
    let used = (thread_cpu_time() + system.client_cpu_time()).saturating_sub(cpu_before);
    let record_count = sample_count * u64::from(partition_count);
    let acknowledged = Acknowledged { record_count, value_len: record_count * load.value_len as u64 };
    Ok(Measurement {
        reached_per_s: Some(figures.per_s()),
        latencies: Some(figures.latencies),
        generator_cpu_percent: Some(100.0 * used.as_secs_f64() / begun_at.elapsed().as_secs_f64().max(1e-9)),
        refused_count: round.refused.count,
        refused_because: round.refused.because,
        stages: system.stages()?,
        broker: watch.finish(system, acknowledged)?,
        ..Measurement::default()
    })
}

struct Round {
    producer: Box<dyn Producer + Send>,
    value: Vec<u8>,
    refused: Refused,
}

#[derive(Default)]
struct Refused {
    count: u64,
    because: Option<String>,
}

impl Round {
    /// A record to each partition, until all are acknowledged. One that is refused is sent again within the same sample.
    fn exchange(&mut self, partition_count: u32) -> Result<(), BenchError> {
        for partition in 0..partition_count {
            self.send(partition)?;
        }
        self.producer.flush()?;
        let give_up_at = Instant::now() + PATIENCE;
        let (mut left, mut settled) = (partition_count, Vec::new());
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

    /// Its token is its partition.
    fn send(&mut self, partition: u32) -> Result<(), BenchError> {
        let record = Record { partition, connection: 0, value: &self.value };
        self.producer.send(&record, u64::from(partition))
    }
}
