//! One round of an open load on one system: topic, threads, and what all of them saw together.

use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use sluice_tuning::LatencyHistogram;

use super::figures::LaneFigures;
use super::lane::{LaneJob, run_lane};
use super::reading::{ReadFigures, ReadJob, run_reader};
use super::schedule::{Phase, Schedule};
use super::timeline::Timeline;
use super::topic::on_fresh_topic;
use super::watch::SystemWatch;
use super::{Shared, Stop};
use crate::error::BenchError;
use crate::measurement::{Acknowledged, BrokerFigures, Measurement, StageTimes};
use crate::result::RoundOutcome;
use crate::system::{LanePlan, Producer, ReadPlan, Reader, System, Topic};
use crate::workload::{OpenLoad, Workload};

/// From the moment all threads are told to the first intended time: long enough for each to be waiting.
const LEAD: Duration = Duration::from_millis(20);
/// Whether a round is over is looked at as often as this.
const WAIT_MAX: Duration = Duration::from_millis(50);
/// Asked for when records are written ahead of a round: more than anything takes.
const PRELOAD_PER_S: f64 = 20e6;
const PRELOAD_PATIENCE: Duration = Duration::from_secs(600);

type Lanes = Vec<(Box<dyn Producer + Send>, LanePlan)>;
type Readers = Vec<(Box<dyn Reader + Send>, u32)>;

/// Runs one round of `workload`, whose load is `load`, on a fresh topic. A system that goes away meanwhile is an outcome of the
/// round, and so is a wish to stop.
///
/// # Errors When the round could not begin: no topic, no connection.
pub fn measure_open(
    system: &mut dyn System,
    workload: &Workload,
    load: &OpenLoad,
    stop: &Stop,
) -> Result<Measurement, BenchError> {
    on_fresh_topic(system, workload, |system, topic| measure_on(system, topic, load, stop))
}

fn measure_on(system: &mut dyn System, topic: &Topic, load: &OpenLoad, stop: &Stop) -> Result<Measurement, BenchError> {
    let preloaded = fill(system, topic, load, stop)?;
    let schedule = Schedule::new(&load.phases);
    let lanes = producers(system, topic, load)?;
    let readers = readers(system, topic, load)?;
    let group_count = load.consume.as_ref().map_or(0, |consume| consume.groups);
    let shared = Shared::new(group_count, preloaded);
    let mut counted = Counted::begin(system, &shared)?;
    let begin = Instant::now() + LEAD;
    let job = LaneJob {
        schedule: &schedule,
        begin,
        tick: load.tick,
        drain: load.drain,
        value_len: load.value_len,
        is_stamped: true,
        shared: &shared,
        stop,
    };
    let mut watched = Ok(());
    let seen = run_threads(lanes, readers, job, load, |is_over| watched = counted.watch(system, &job, is_over));
    // Of a system that has gone there are no figures.
    let (stages, broker, client_cpu_time) = if shared.has_failed() {
        (Vec::new(), BrokerFigures::default(), Duration::ZERO)
    } else {
        watched?;
        counted.finish(system, &shared, load)?
    };
    let preloaded = (preloaded, preloaded * load.value_len as u64);
    Ok(Measurement {
        broker,
        stages,
        ..seen.measurement(&schedule, load, Ended { client_cpu_time, preloaded, is_interrupted: stop.is_asked() })
    })
}

/// Writes what `load` wants to be there before the round; how many records that were.
pub(super) fn fill(system: &mut dyn System, topic: &Topic, load: &OpenLoad, stop: &Stop) -> Result<u64, BenchError> {
    if load.preload_len == 0 {
        return Ok(0);
    }
    let count = (load.preload_len / load.value_len as u64).max(1);
    let seconds = count as f64 / PRELOAD_PER_S;
    let name = "preload".to_owned();
    let phase = Phase { name, seconds, from_per_s: PRELOAD_PER_S, to_per_s: PRELOAD_PER_S, is_counted: false };
    let (schedule, shared) = (Schedule::new(&[phase]), Shared::new(0, 0));
    let job = LaneJob {
        schedule: &schedule,
        begin: Instant::now(),
        tick: load.tick,
        drain: PRELOAD_PATIENCE,
        value_len: load.value_len,
        is_stamped: false,
        shared: &shared,
        stop,
    };
    let lanes = producers(system, topic, load)?;
    let seen = run_threads(lanes, Vec::new(), job, load, |_| ());
    if let Some(problem) = seen.lanes.error {
        return Err(BenchError::protocol(format!("while the log was written ahead of the round: {problem}")));
    }
    system.settle()?;
    Ok(seen.lanes.acknowledged_total)
}

fn producers(system: &mut dyn System, topic: &Topic, load: &OpenLoad) -> Result<Lanes, BenchError> {
    let lane = |lane: u32| {
        let plan = LanePlan {
            lane,
            lane_count: load.lanes,
            partition_count: load.partition_count,
            connection_count: (load.connections / load.lanes).max(1),
            batch_len_max: load.batch_len_max,
            window: load.window,
            on_full: load.on_full,
        };
        Ok((system.producer(topic, &plan)?, plan))
    };
    (0..load.lanes).map(lane).collect()
}

fn readers(system: &mut dyn System, topic: &Topic, load: &OpenLoad) -> Result<Readers, BenchError> {
    let Some(consume) = &load.consume else { return Ok(Vec::new()) };
    let mut readers: Readers = Vec::new();
    for group in 0..consume.groups {
        for reader in 0..consume.readers {
            let partitions: Vec<u32> = (reader..load.partition_count).step_by(consume.readers as usize).collect();
            readers.push((system.reader(topic, &ReadPlan { partitions, group })?, group));
        }
    }
    Ok(readers)
}

/// What the counted time costs: warm-up is in none of it, and what the system does afterwards for these records is.
struct Counted {
    watch: SystemWatch,
    acknowledged_before: u64,
    client_cpu_before: Duration,
    /// Of the system's client in this process, until the counted time's end.
    client_cpu_time: Duration,
    /// What was begun before the warm-up.
    with_warm_up: Option<Box<Self>>,
}

impl Counted {
    fn begin(system: &mut dyn System, shared: &Shared) -> Result<Self, BenchError> {
        system.begin_stages()?;
        let watch = SystemWatch::begin(system)?;
        let (acknowledged_before, client_cpu_before) = (shared.acknowledged(), system.client_cpu_time());
        Ok(Self { watch, acknowledged_before, client_cpu_before, client_cpu_time: Duration::ZERO, with_warm_up: None })
    }

    /// Waits for the counted time and through it, while lanes and readers run, and begins anew with it. On a machine so busy that
    /// all is acknowledged before this thread wakes, what was begun before it stands, warm-up included.
    fn watch(&mut self, system: &mut dyn System, job: &LaneJob<'_>, is_over: &dyn Fn() -> bool) -> Result<(), BenchError> {
        let counted_ns = job.schedule.counted_ns();
        let at = |ns: u64| job.begin + Duration::from_nanos(ns);
        if counted_ns.start > 0 && wait_until(at(counted_ns.start), is_over) {
            let counted = Self::begin(system, job.shared)?;
            if !is_over() {
                self.with_warm_up = Some(Box::new(std::mem::replace(self, counted)));
            }
        }
        wait_until(at(counted_ns.end), is_over);
        self.client_cpu_time = system.client_cpu_time().saturating_sub(self.client_cpu_before);
        Ok(())
    }

    fn finish(
        self,
        system: &mut dyn System,
        shared: &Shared,
        load: &OpenLoad,
    ) -> Result<(Vec<StageTimes>, BrokerFigures, Duration), BenchError> {
        let record_count = shared.acknowledged().saturating_sub(self.acknowledged_before);
        if let Some(with_warm_up) = self.with_warm_up.filter(|_| record_count == 0) {
            let client_cpu_time = self.client_cpu_time;
            return Self { client_cpu_time, ..*with_warm_up }.finish(system, shared, load);
        }
        let acknowledged = Acknowledged { record_count, value_len: record_count * load.value_len as u64 };
        Ok((system.stages()?, self.watch.finish(system, acknowledged)?, self.client_cpu_time))
    }
}

/// Sleeps; false when the round is over.
fn wait_until(at: Instant, is_over: &dyn Fn() -> bool) -> bool {
    loop {
        let left = at.saturating_duration_since(Instant::now());
        if is_over() {
            return false;
        }
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(WAIT_MAX));
    }
}

/// Runs every lane and reader to its end, and `meanwhile` on this thread; it can ask whether all lanes have ended.
fn run_threads(
    lanes: Lanes,
    readers: Readers,
    job: LaneJob<'_>,
    load: &OpenLoad,
    meanwhile: impl FnOnce(&dyn Fn() -> bool),
) -> Seen {
    let (readers_per_group, per_s_max) = match &load.consume {
        Some(consume) => (f64::from(consume.readers), consume.per_s_max),
        None => (1.0, None),
    };
    std::thread::scope(|scope| {
        let lanes: Vec<_> =
            lanes.into_iter().map(|(producer, plan)| scope.spawn(move || run_lane(producer, plan, job))).collect();
        let read_job = |group| ReadJob {
            schedule: job.schedule,
            begin: job.begin,
            per_s_max: per_s_max.map(|per_s| per_s / readers_per_group),
            drain: job.drain,
            group,
            shared: job.shared,
            stop: job.stop,
        };
        let spawn = |(reader, group)| {
            let read_job = read_job(group);
            scope.spawn(move || run_reader(reader, read_job))
        };
        let readers: Vec<_> = readers.into_iter().map(spawn).collect();
        meanwhile(&|| lanes.iter().all(ScopedJoinHandle::is_finished));
        let lanes: Vec<LaneFigures> = lanes.into_iter().map(|lane| lane.join().expect("a lane does not panic")).collect();
        job.shared.end_lanes();
        let readers = readers.into_iter().map(|reader| reader.join().expect("a reader does not panic")).collect();
        Seen::of(&lanes, readers)
    })
}

/// All lanes added up, and every reader.
struct Seen {
    lanes: LaneFigures,
    readers: Vec<ReadFigures>,
}

/// How a round ended.
struct Ended {
    client_cpu_time: Duration,
    /// Records and bytes that were there before it.
    preloaded: (u64, u64),
    is_interrupted: bool,
}

impl Seen {
    fn of(lanes: &[LaneFigures], readers: Vec<ReadFigures>) -> Self {
        let mut sum = lanes.first().cloned().expect("a load has at least one lane");
        lanes[1..].iter().for_each(|lane| sum.merge(lane));
        Self { lanes: sum, readers }
    }

    fn measurement(&self, schedule: &Schedule, load: &OpenLoad, ended: Ended) -> Measurement {
        let lanes = &self.lanes;
        let counted_ns = schedule.counted_ns();
        let counted_s = ((counted_ns.end - counted_ns.start) as f64 / 1e9).max(1e-9);
        let asked = schedule.asked_between(counted_ns.start, counted_ns.end);
        let (outcome, outcome_because) = self.outcome(ended.is_interrupted);
        let cpu_time =
            lanes.time.cpu + self.readers.iter().map(|reader| reader.cpu_time).sum::<Duration>() + ended.client_cpu_time;
        let reached_per_s = lanes.acknowledged_count as f64 / counted_s;
        let read_s = self.read_seconds(counted_s, ended.preloaded.0 > 0);
        let read = |figure: fn(&ReadFigures) -> u64, total: fn(&ReadFigures) -> u64| {
            let figure = if ended.preloaded.0 > 0 { total } else { figure };
            (!self.readers.is_empty()).then(|| self.readers.iter().map(figure).sum::<u64>() as f64 / read_s)
        };
        Measurement {
            outcome,
            outcome_because,
            latencies: some(&lanes.latencies),
            latencies_refused_first: some(&lanes.latencies_refused_first),
            service: some(&lanes.service),
            end_to_end: self.end_to_end(),
            generator_late: some(&lanes.late),
            generator_cpu_percent: Some(100.0 * cpu_time.as_secs_f64() / counted_s),
            asked_per_s: Some(asked as f64 / counted_s),
            offered_per_s: Some(lanes.offered_count as f64 / counted_s),
            reached_per_s: Some(reached_per_s),
            throughput_mb_s: Some(reached_per_s * load.value_len as f64 / 1e6),
            consumed_per_s: read(|reader| reader.count, |reader| reader.total_count),
            consumed_mb_s: read(|reader| reader.value_len, |reader| reader.total_value_len).map(|per_s| per_s / 1e6),
            refused_count: lanes.refused_count,
            refused_because: lanes.refused_because.clone(),
            failed_count: lanes.failed_count,
            failed_because: lanes.failed_because.clone(),
            timed_out_count: lanes.timed_out_count,
            timeline: self.timeline(schedule, ended.preloaded),
            notes: self.notes(schedule),
            ..Measurement::default()
        }
    }

    /// A backlog that was there before is read from the begin on, until it is read: that is the time its rate is over.
    fn read_seconds(&self, counted_s: f64, has_backlog: bool) -> f64 {
        let longest = self.readers.iter().map(|reader| reader.seconds).fold(0.0, f64::max);
        if has_backlog { longest.max(1e-9) } else { counted_s }
    }

    fn outcome(&self, is_interrupted: bool) -> (RoundOutcome, Option<String>) {
        let error = self.lanes.error.as_ref().or_else(|| self.readers.iter().find_map(|reader| reader.error.as_ref()));
        if is_interrupted {
            return (RoundOutcome::Interrupted, Some("ended by a signal".to_owned()));
        }
        if let Some(error) = error {
            return (RoundOutcome::BrokerDied, Some(error.clone()));
        }
        match self.lanes.lateness() {
            Some(because) => (RoundOutcome::GeneratorBehind, Some(because)),
            None => (RoundOutcome::Whole, None),
        }
    }

    fn end_to_end(&self) -> Option<LatencyHistogram> {
        let mut sum = LatencyHistogram::new();
        self.readers.iter().for_each(|reader| sum.merge(&reader.end_to_end));
        some(&sum)
    }

    fn timeline(&self, schedule: &Schedule, preloaded: (u64, u64)) -> Vec<crate::result::Second> {
        let mut groups: Vec<(u32, Timeline)> = Vec::new();
        for reader in &self.readers {
            match groups.iter_mut().find(|(group, _)| *group == reader.group) {
                Some((_, timeline)) => timeline.merge(&reader.timeline),
                None => groups.push((reader.group, reader.timeline.clone())),
            }
        }
        let groups: Vec<Timeline> = groups.into_iter().map(|(_, timeline)| timeline).collect();
        self.lanes.timeline.seconds(&groups, preloaded, |from_s, to_s| {
            let phase = if from_s >= schedule.seconds() { "drain" } else { schedule.phase_at(from_s) };
            (phase.to_owned(), schedule.asked_between((from_s * 1e9) as u64, (to_s * 1e9) as u64))
        })
    }

    fn notes(&self, schedule: &Schedule) -> Vec<String> {
        let mut notes = Vec::new();
        if self.lanes.unoffered_count > 0 && self.lanes.error.is_none() {
            let share = 100.0 * self.lanes.unoffered_count as f64 / schedule.count() as f64;
            notes.push(format!(
                "{share:.0} % of the records asked for were never handed over, for want of room in the window: the rate reached is \
                 what the system takes, and the latency is that of what was handed over"
            ));
        }
        if self.lanes.turned_away_count > 0 {
            let count = self.lanes.turned_away_count;
            let share = 100.0 * count as f64 / schedule.count() as f64;
            notes.push(format!(
                "{count} records ({share:.0} %) fell due while their producer was full or told to wait: refused there and offered \
                 when there was room, they count among those refused first"
            ));
        }
        if self.lanes.refused_to_the_end_count > 0 {
            let count = self.lanes.refused_to_the_end_count;
            notes.push(format!("{count} records were refused and not offered again before the end of the round"));
        }
        notes
    }
}

fn some(latencies: &LatencyHistogram) -> Option<LatencyHistogram> {
    (latencies.count() > 0).then(|| latencies.clone())
}

#[cfg(test)]
#[path = "open_test.rs"]
mod tests;
