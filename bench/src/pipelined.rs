//! Several produce requests in flight on each of several connections: how bulk and flood are offered.
//!
//! A worker sends until its window is full, then sends one for each answer. A request refused for want of room is counted
//! and sent again after the time the broker asked for, so throughput is what was acknowledged and nothing else. Absent: a
//! rate; the broker sets the pace.

use std::time::{Duration, Instant};

use sluice_tuning::LatencyHistogram;

use crate::connection::{Connection, Produced};
use crate::error::BenchError;
use crate::measurement::Acknowledged;
use crate::payload::PreparedProduce;

/// One connection and the request it sends over and over.
#[derive(Debug)]
pub struct PipelineWorker {
    pub connection: Connection,
    pub produce: PreparedProduce,
}

/// How every worker goes about it.
#[derive(Clone, Copy, Debug)]
pub struct PipelinePlan {
    /// Requests in flight on one connection.
    pub window: usize,
    /// Runs before anything is counted.
    pub warm_up: Duration,
    /// Then everything acknowledged within this time is counted.
    pub duration: Duration,
    /// A worker that was acknowledged this many bytes of values ends early.
    pub value_len_max: u64,
}

/// What all workers reached together.
#[derive(Clone, Debug, Default)]
pub struct PipelineFigures {
    /// From sending a request to its acknowledgement, with the others of the window before it.
    pub latencies: LatencyHistogram,
    /// Acknowledged within the counted time.
    pub counted: Acknowledged,
    /// Acknowledged at all.
    pub total: Acknowledged,
    pub refused_count: u64,
    pub refused_because: Option<String>,
}

/// Runs one thread per worker and adds up what they reached. The first failure is the result.
pub fn run_pipelines(workers: Vec<PipelineWorker>, plan: PipelinePlan) -> Result<PipelineFigures, BenchError> {
    let count_from = Instant::now() + plan.warm_up;
    std::thread::scope(|scope| {
        let threads: Vec<_> = workers.into_iter().map(|worker| scope.spawn(move || run_one(worker, plan, count_from))).collect();
        let mut sum = PipelineFigures::default();
        let mut failure = None;
        for thread in threads {
            match thread.join().expect("a worker does not panic") {
                Ok(figures) => sum.add(&figures),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(sum), Err)
    })
}

fn run_one(mut worker: PipelineWorker, plan: PipelinePlan, count_from: Instant) -> Result<PipelineFigures, BenchError> {
    let until = count_from + plan.duration;
    let mut figures = PipelineFigures::default();
    let mut in_flight: Vec<(u32, Instant)> = Vec::with_capacity(plan.window);
    let mut resume_at = Instant::now();
    loop {
        let now = Instant::now();
        let more = now < until && figures.total.value_len < plan.value_len_max;
        if more && now >= resume_at && in_flight.len() < plan.window {
            let id = worker.connection.send_produce(&mut worker.produce)?;
            in_flight.push((id, now));
        } else if !in_flight.is_empty() {
            let (id, produced) = worker.connection.receive_produced()?;
            let Some(index) = in_flight.iter().position(|&(sent_id, _)| sent_id == id) else {
                return Err(BenchError::protocol(format!("answers request {id}, which is not in flight")));
            };
            let (_, sent_at) = in_flight.remove(index);
            match produced {
                Produced::Acknowledged => figures.acknowledge(&worker.produce, sent_at, count_from..until),
                Produced::Later { retry_after, reason } => {
                    figures.refused_count += 1;
                    figures.refused_because = Some(reason);
                    resume_at = Instant::now() + retry_after;
                }
            }
        } else if more {
            std::thread::sleep(resume_at.min(until).saturating_duration_since(now));
        } else {
            return Ok(figures);
        }
    }
}

impl PipelineFigures {
    fn acknowledge(&mut self, produce: &PreparedProduce, sent_at: Instant, counted_time: std::ops::Range<Instant>) {
        let now = Instant::now();
        self.total.add(produce);
        if counted_time.contains(&now) {
            self.counted.add(produce);
            self.latencies.record(now - sent_at);
        }
    }

    fn add(&mut self, other: &Self) {
        self.latencies.merge(&other.latencies);
        for (sum, part) in [(&mut self.counted, other.counted), (&mut self.total, other.total)] {
            sum.record_count += part.record_count;
            sum.value_len += part.value_len;
        }
        self.refused_count += other.refused_count;
        self.refused_because = self.refused_because.take().or_else(|| other.refused_because.clone());
    }
}

impl Acknowledged {
    pub(crate) fn add(&mut self, produce: &PreparedProduce) {
        self.record_count += produce.record_count();
        self.value_len += produce.value_len();
    }
}
