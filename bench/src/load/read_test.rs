use super::*;
use crate::process::Process;
use crate::result::RoundOutcome;
use crate::system::{LanePlan, Outcome, Producer, Record, Settled, TopicPlan};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const VALUE_LEN: usize = 100;

/// Keeps how many records were written, and gives them to the readers of a group, `withheld` of each left out.
#[derive(Default)]
struct Counter {
    written: Arc<AtomicU64>,
    withheld: u64,
    readers_made: Arc<AtomicU64>,
}

struct Writer {
    written: Arc<AtomicU64>,
    waiting: Vec<u64>,
}

impl Producer for Writer {
    fn has_room(&self, _: u32, _: u32) -> bool {
        true
    }

    fn send(&mut self, _: &Record<'_>, token: u64) -> Result<(), BenchError> {
        self.written.fetch_add(1, Ordering::Relaxed);
        self.waiting.push(token);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        Ok(())
    }

    fn poll(&mut self, _: Instant, settled: &mut Vec<Settled>) -> Result<(), BenchError> {
        settled.extend(self.waiting.drain(..).map(|token| Settled { token, outcome: Outcome::Acknowledged }));
        Ok(())
    }
}

/// Breaks before the last `withheld` records.
struct Giver {
    left: u64,
    withheld: u64,
}

impl Reader for Giver {
    fn poll(&mut self, _: Instant, seen: &mut ReadBatch) -> Result<(), BenchError> {
        if self.withheld > 0 && self.left == self.withheld {
            return Err(BenchError::protocol("the connection broke"));
        }
        let count = (self.left - self.withheld).min(10);
        (0..count).for_each(|_| seen.add(&[0; VALUE_LEN]));
        self.left -= count;
        Ok(())
    }
}

impl System for Counter {
    fn name(&self) -> &str {
        "counter"
    }

    fn create_topic(&mut self, plan: &TopicPlan) -> Result<Topic, BenchError> {
        Ok(Topic { name: plan.name.clone(), partition_count: plan.partition_count, acks: plan.acks })
    }

    fn delete_topic(&mut self, _: &Topic) -> Result<(), BenchError> {
        Ok(())
    }

    fn producer(&mut self, _: &Topic, _: &LanePlan) -> Result<Box<dyn Producer + Send>, BenchError> {
        Ok(Box::new(Writer { written: self.written.clone(), waiting: Vec::new() }))
    }

    fn reader(&mut self, _: &Topic, plan: &ReadPlan) -> Result<Box<dyn Reader + Send>, BenchError> {
        assert!(plan.partitions == [0, 2] || plan.partitions == [1], "{plan:?}");
        self.readers_made.fetch_add(1, Ordering::Relaxed);
        let written = self.written.load(Ordering::Relaxed);
        let of_one = written / 3;
        let left = if plan.partitions == [1] { of_one } else { written - of_one };
        Ok(Box::new(Giver { left, withheld: self.withheld }))
    }

    fn processes(&self) -> Vec<Process> {
        Vec::new()
    }

    fn settle(&self) -> Result<(), BenchError> {
        Ok(())
    }

    fn begin_stages(&mut self) -> Result<(), BenchError> {
        Ok(())
    }

    fn stages(&mut self) -> Result<Vec<crate::measurement::StageTimes>, BenchError> {
        Ok(Vec::new())
    }

    fn client_cpu_time(&self) -> Duration {
        Duration::ZERO
    }
}

fn measure(system: &mut Counter, stop: &Stop) -> Result<Measurement, BenchError> {
    let text = "about = \"\"\nloop = \"read\"\nseconds = 0.001\npartitions = 3\nvalue_len = 100\nlog_mb = 0.01\ngroups = 2\nreaders = 2\n";
    let workload = crate::workload::parse("test", text, &|name| Err(name.to_owned())).expect("a workload");
    let crate::workload::Load::Read(load) = &workload.load else { panic!("a read load") };
    measure_read(system, &workload, load, stop)
}

#[test]
fn each_group_reads_all_that_was_written_in_every_pass() {
    let mut system = Counter::default();
    let measured = measure(&mut system, &Stop::default()).expect("a round");
    assert_eq!(system.written.load(Ordering::Relaxed), 100, "10 kB of 100 bytes each, written once");
    assert!(
        system.readers_made.load(Ordering::Relaxed) >= 8,
        "two groups of two, in a pass that warms up and in at least one more"
    );
    let (per_s, mb_s) = (measured.consumed_per_s.expect("read"), measured.consumed_mb_s.expect("read"));
    assert!((mb_s * 1e6 / per_s - VALUE_LEN as f64).abs() < 1e-6, "{mb_s} MB/s of {per_s} records a second");
    assert_eq!(measured.throughput_mb_s, measured.consumed_mb_s);
    assert_eq!(measured.reached_per_s, None, "nothing is produced");
    assert_eq!(measured.outcome, RoundOutcome::Whole);
}

#[test]
fn a_reader_that_breaks_fails_the_round_and_a_wish_to_stop_ends_it() {
    let mut system = Counter { withheld: 30, ..Counter::default() };
    let error = measure(&mut system, &Stop::default()).expect_err("30 records never come");
    assert!(error.to_string().contains("the connection broke"), "{error}");
    let stop = Stop::default();
    stop.ask();
    assert!(matches!(measure(&mut Counter::default(), &stop), Err(BenchError::Interrupted)));
}
