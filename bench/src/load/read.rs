//! A log read over and over, by each group from its begin to its end, while nobody writes.
//!
//! A log that fits into the memory a broker keeps shows what a reader gets from there; one of several times that, what it gets
//! from the device. A pass ends when every group has all records: the next one begins with connections of its own, and the time
//! in which they are made is not counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::open::fill;
use super::thread_time::thread_cpu_time;
use super::topic::on_fresh_topic;
use super::{Stop, SystemWatch};
use crate::error::BenchError;
use crate::measurement::{Acknowledged, BrokerFigures, Measurement};
use crate::system::{ReadBatch, ReadPlan, Reader, System, Topic};
use crate::workload::{ReadLoad, Workload};

/// How soon one that has all of its own sees that its group has too.
const WAIT_MAX: Duration = Duration::from_millis(1);
/// A reader that gets nothing for so long has lost something.
const PATIENCE: Duration = Duration::from_secs(20);
/// After the log is written and settled, so that reads count as what they are to a broker that paces them beside writes.
const QUIET: Duration = Duration::from_secs(1);

/// Runs one round of `workload` on a fresh topic.
///
/// # Errors When the topic cannot be made or filled, a reader's connection breaks, a record does not come, or the round is to end.
pub fn measure_read(
    system: &mut dyn System,
    workload: &Workload,
    load: &ReadLoad,
    stop: &Stop,
) -> Result<Measurement, BenchError> {
    on_fresh_topic(system, workload, |system, topic| {
        let record_count = fill(system, topic, &load.fill(), stop)?;
        if stop.is_asked() {
            return Err(BenchError::Interrupted);
        }
        std::thread::sleep(QUIET);
        // Whoever reads first finds cold caches and sets up what later passes have.
        read_all(system, topic, load, record_count, stop)?;
        let watch = SystemWatch::begin(system)?;
        let begun_at = Instant::now();
        let mut passes = Pass::default();
        while passes.seconds == 0.0 || begun_at.elapsed().as_secs_f64() < load.seconds {
            let pass = read_all(system, topic, load, record_count, stop)?;
            passes.seconds += pass.seconds;
            passes.record_count += pass.record_count;
            passes.value_len += pass.value_len;
            passes.cpu_time += pass.cpu_time;
        }
        let read = Acknowledged { record_count: passes.record_count, value_len: passes.value_len };
        // What was written for each byte that was read says nothing.
        let broker = BrokerFigures { write_amplification: None, ..watch.finish(system, read)? };
        let mb_s = passes.value_len as f64 / passes.seconds / 1e6;
        Ok(Measurement {
            throughput_mb_s: Some(mb_s),
            consumed_per_s: Some(passes.record_count as f64 / passes.seconds),
            consumed_mb_s: Some(mb_s),
            generator_cpu_percent: Some(100.0 * passes.cpu_time.as_secs_f64() / passes.seconds),
            broker,
            ..Measurement::default()
        })
    })
}

/// What readers saw, of one pass or several.
#[derive(Default)]
struct Pass {
    seconds: f64,
    record_count: u64,
    value_len: u64,
    cpu_time: Duration,
}

/// The readers of one group, which have all records when they have them together.
struct Group {
    record_count: u64,
    seen: AtomicU64,
}

/// Every group reads the whole log once, each reader on a thread of its own.
fn read_all(system: &mut dyn System, topic: &Topic, load: &ReadLoad, record_count: u64, stop: &Stop) -> Result<Pass, BenchError> {
    let groups: Vec<Group> = (0..load.groups).map(|_| Group { record_count, seen: AtomicU64::new(0) }).collect();
    let mut readers = Vec::new();
    for (number, group) in (0..).zip(&groups) {
        for reader in 0..load.readers {
            let partitions = (reader..load.partition_count).step_by(load.readers as usize).collect();
            readers.push((system.reader(topic, &ReadPlan { partitions, group: number })?, group));
        }
    }
    let begun_at = Instant::now();
    let seen: Vec<Result<Pass, BenchError>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            readers.into_iter().map(|(reader, group)| scope.spawn(move || read_log(reader, group, stop))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a reader does not panic")).collect()
    });
    let mut sum = Pass { seconds: begun_at.elapsed().as_secs_f64().max(1e-9), ..Pass::default() };
    for pass in seen {
        let pass = pass?;
        sum.record_count += pass.record_count;
        sum.value_len += pass.value_len;
        sum.cpu_time += pass.cpu_time;
    }
    Ok(sum)
}

fn read_log(mut reader: Box<dyn Reader + Send>, group: &Group, stop: &Stop) -> Result<Pass, BenchError> {
    let cpu_before = thread_cpu_time();
    let mut pass = Pass::default();
    let mut batch = ReadBatch::default();
    let mut last_came_at = Instant::now();
    while group.seen.load(Ordering::Relaxed) < group.record_count {
        if stop.is_asked() {
            return Err(BenchError::Interrupted);
        }
        batch.clear();
        let now = Instant::now();
        reader.poll(now + WAIT_MAX, &mut batch)?;
        if !batch.stamps.is_empty() {
            last_came_at = now;
        } else if now.saturating_duration_since(last_came_at) > PATIENCE {
            let (seen, record_count, seconds) = (group.seen.load(Ordering::Relaxed), group.record_count, PATIENCE.as_secs());
            return Err(BenchError::protocol(format!("{seen} of {record_count} records came, and none for {seconds} s")));
        }
        let count = batch.stamps.len() as u64;
        group.seen.fetch_add(count, Ordering::Relaxed);
        pass.record_count += count;
        pass.value_len += batch.value_len;
    }
    pass.cpu_time = thread_cpu_time().saturating_sub(cpu_before);
    Ok(pass)
}

#[cfg(test)]
#[path = "read_test.rs"]
mod tests;
