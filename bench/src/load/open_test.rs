use super::*;
use crate::load::closed::measure_closed;
use crate::process::Process;
use crate::system::{Record, Settled, TopicPlan};
use crate::workload::ClosedLoad;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Answers at once; keeps how many records it had taken, and when, as stages began.
#[derive(Default)]
struct Counting {
    taken: Arc<AtomicU64>,
    /// How often stages have begun, and after how many times it answers.
    begun_count: Arc<AtomicU64>,
    answers_after: u64,
    /// Those of the last time.
    stages_begun: Option<(Instant, u64)>,
    client_cpu_asked: std::cell::Cell<u64>,
    deleted: Vec<String>,
}

struct Taker {
    taken: Arc<AtomicU64>,
    begun_count: Arc<AtomicU64>,
    answers_after: u64,
    waiting: Vec<u64>,
}

impl Producer for Taker {
    fn has_room(&self, _: u32, _: u32) -> bool {
        true
    }

    fn send(&mut self, _: &Record<'_>, token: u64) -> Result<(), BenchError> {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.waiting.push(token);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        Ok(())
    }

    fn poll(&mut self, until: Instant, settled: &mut Vec<Settled>) -> Result<(), BenchError> {
        if self.waiting.is_empty() || self.begun_count.load(Ordering::Relaxed) < self.answers_after {
            std::thread::sleep(until.saturating_duration_since(Instant::now()).min(Duration::from_millis(5)));
            return Ok(());
        }
        settled.extend(self.waiting.drain(..).map(|token| Settled { token, outcome: crate::system::Outcome::Acknowledged }));
        Ok(())
    }
}

impl System for Counting {
    fn name(&self) -> &str {
        "counting"
    }

    fn create_topic(&mut self, plan: &TopicPlan) -> Result<Topic, BenchError> {
        Ok(Topic { name: plan.name.clone(), partition_count: plan.partition_count, acks: plan.acks })
    }

    fn delete_topic(&mut self, topic: &Topic) -> Result<(), BenchError> {
        self.deleted.push(topic.name.clone());
        Ok(())
    }

    fn producer(&mut self, _: &Topic, _: &LanePlan) -> Result<Box<dyn Producer + Send>, BenchError> {
        Ok(Box::new(Taker {
            taken: self.taken.clone(),
            begun_count: self.begun_count.clone(),
            answers_after: self.answers_after,
            waiting: Vec::new(),
        }))
    }

    fn reader(&mut self, _: &Topic, _: &ReadPlan) -> Result<Box<dyn Reader + Send>, BenchError> {
        Err(BenchError::protocol("it has no readers"))
    }

    fn processes(&self) -> Vec<Process> {
        Vec::new()
    }

    fn settle(&self) -> Result<(), BenchError> {
        Ok(())
    }

    fn begin_stages(&mut self) -> Result<(), BenchError> {
        self.begun_count.fetch_add(1, Ordering::Relaxed);
        self.stages_begun = Some((Instant::now(), self.taken.load(Ordering::Relaxed)));
        Ok(())
    }

    /// Its client uses a second between any two looks.
    fn client_cpu_time(&self) -> Duration {
        self.client_cpu_asked.set(self.client_cpu_asked.get() + 1);
        Duration::from_secs(self.client_cpu_asked.get())
    }
}

fn phase(seconds: f64, is_counted: bool) -> Phase {
    Phase { name: "phase".to_owned(), seconds, from_per_s: 1000.0, to_per_s: 1000.0, is_counted }
}

#[test]
fn what_a_load_costs_is_watched_from_the_counted_time_on() {
    let mut workload = crate::workload::find("acks-all").expect("a workload").remove(0);
    if let crate::workload::Load::Open(load) = &mut workload.load {
        load.phases = vec![phase(0.1, false), phase(0.1, true)];
    }
    // Answers come after the second time only: so the round cannot be over before.
    let (mut system, begun_at) = (Counting { answers_after: 2, ..Counting::default() }, Instant::now());
    let measured = crate::load::measure(&mut system, &workload, &Stop::default()).expect("a round");
    let (stages_begun_at, _) = system.stages_begun.expect("stages are asked for");
    assert!(stages_begun_at - begun_at >= Duration::from_millis(100), "the warm-up is over by then");
    let percent = measured.generator_cpu_percent.expect("a share");
    assert!((1000.0..1100.0).contains(&percent), "a second of the client's in a tenth of one: {percent}");
    assert_eq!(system.deleted.len(), 1);
}

#[test]
fn a_closed_loop_is_watched_when_it_is_warm() {
    let load = ClosedLoad { partition_count: 2, value_len: 16, seconds: 0.02 };
    let workload = crate::workload::find("single-record").expect("a workload").remove(0);
    let mut system = Counting::default();
    let measured = measure_closed(&mut system, &workload, &load, &Stop::default()).expect("a round");
    let (_, taken_before) = system.stages_begun.expect("stages are asked for");
    assert!(taken_before >= 2, "at least one sample goes before");
    let counted = system.taken.load(Ordering::Relaxed) - taken_before;
    assert_eq!(measured.latencies.map(|latencies| 2 * latencies.count()), Some(counted));
    assert_eq!(system.deleted.len(), 1);
}
