//! Runs made up for tests, from a small model of a queue: a spike that one system suffers, one refuses and one rides out.

use std::time::Duration;

use sluice_tuning::{LatencyHistogram, LatencySummary};

use crate::floor::WaitMode;
use crate::process::Memory;
use crate::result::{
    LatencyRange, Limit, LoopKind, Machine, RESULT_VERSION, Round, RoundOutcome, Run, Second, Stage, WorkloadResult, Yardstick,
    heat_bucket_us, percentiles,
};
use crate::spread::Spread;

/// Tenths of a second of a spike round.
const INTERVAL_COUNT: u32 = 340;
const INTERVAL_S: f64 = 0.1;

/// A system by what matters for a spike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model {
    pub base_us: f64,
    /// Records it takes a second.
    pub capacity_per_s: f64,
    /// Longest wait it admits before it refuses.
    pub wait_s_max: f64,
    /// It stands still for a second in the middle of the spike.
    pub stalls: bool,
}

pub(crate) fn whole_run() -> Run {
    let mut results = limits();
    results.push(single_record());
    let fast = Model { base_us: 180.0, capacity_per_s: 150_000.0, wait_s_max: 0.25, stalls: false };
    let slow = Model { base_us: 2_400.0, capacity_per_s: 90_000.0, wait_s_max: f64::INFINITY, stalls: false };
    let quick = Model { base_us: 450.0, capacity_per_s: 260_000.0, wait_s_max: f64::INFINITY, stalls: true };
    results.push(WorkloadResult { stages: stages(), ..spike("sluice", true, fast) });
    results.push(spike("kafka", true, slow));
    results.push(spike("kafka", false, quick));
    results.push(died(spike("nats", true, Model { base_us: 900.0, ..slow })));
    results.push(bulk("sluice", 610.0));
    results.push(bulk("kafka", 380.0));
    results.push(WorkloadResult { outcome: RoundOutcome::Interrupted, round_count: 0, ..named("catch-up", "sluice") });
    Run {
        version: RESULT_VERSION,
        started_at: "2026-03-01T10:20:30Z".to_owned(),
        machine: Machine {
            cpu: "Example <CPU> & Co".to_owned(),
            cores: 8,
            memory_mb: 32_768,
            kernel: "6.12.1".to_owned(),
            file_system: "ext4".to_owned(),
            device: Some("nvme0n1".to_owned()),
            scheduler: Some("none".to_owned()),
            memlock_kib: None,
        },
        commit: Some("0123456789abcdef".to_owned()),
        build: "release".to_owned(),
        settings: "journal_len = \"64MiB\"\nname = \"<b>&\"".to_owned(),
        warnings: vec!["other load: 1.9 of 8 cores were busy before the run".to_owned()],
        interrupted: true,
        results,
    }
}

/// It went away in all rounds but the first.
fn died(mut result: WorkloadResult) -> WorkloadResult {
    result.outcome = RoundOutcome::BrokerDied;
    result.outcome_because = Some("the server closed the connection: <stream error> & \"reset\"".to_owned());
    result.rounds.iter_mut().skip(1).for_each(|round| round.outcome = RoundOutcome::BrokerDied);
    result.round_count = 1;
    result
}

pub(crate) fn named(workload: &str, system: &str) -> WorkloadResult {
    WorkloadResult {
        workload: workload.to_owned(),
        about: format!("what {workload} is for"),
        system: system.to_owned(),
        mode: Some(WaitMode::Asleep),
        loop_kind: Some(LoopKind::Open),
        flushed: Some(true),
        ..WorkloadResult::default()
    }
}

/// Rounds that lie 3 % apart around these figures.
pub(crate) fn with_rounds(mut result: WorkloadResult, count: usize) -> WorkloadResult {
    let factor = |index: usize| 1.0 + 0.03 * (index as f64 - (count as f64 - 1.0) / 2.0);
    let round = |index: usize| Round {
        reached_per_s: result.reached_per_s,
        throughput_mb_s: result.throughput_mb_s.map(|mb_s| mb_s * factor(index)),
        latency_us: result.latency_us.map(|latency| scaled(latency, factor(index))),
        end_to_end_us: result.end_to_end_us.map(|latency| scaled(latency, factor(index))),
        ..Round::default()
    };
    result.rounds = (0..count).map(round).collect();
    result.round_count = count;
    let (least, greatest) = (factor(0), factor(count.saturating_sub(1)));
    result.latency_us_range =
        result.latency_us.map(|latency| LatencyRange { min: scaled(latency, least), max: scaled(latency, greatest) });
    result.throughput_mb_s_range =
        result.throughput_mb_s.map(|mb_s| Spread { median: mb_s, min: mb_s * least, max: mb_s * greatest });
    result
}

pub(crate) fn scaled(latency: LatencySummary, factor: f64) -> LatencySummary {
    LatencySummary {
        p50: latency.p50 * factor,
        p90: latency.p90 * factor,
        p99: latency.p99 * factor,
        p99_9: latency.p99_9 * factor,
        p99_99: latency.p99_99 * factor,
        max: latency.max * factor,
    }
}

/// A summary whose tail grows from this p50.
pub(crate) fn latency(p50: f64) -> LatencySummary {
    LatencySummary { p50, p90: p50 * 1.3, p99: p50 * 2.0, p99_9: p50 * 4.0, p99_99: p50 * 9.0, max: p50 * 14.0 }
}

fn limits() -> Vec<WorkloadResult> {
    let closed = |workload: &str, system: &str, mode, p50: f64| {
        let result = named(workload, system);
        let latency_us = Some(latency(p50));
        with_rounds(
            WorkloadResult { mode, loop_kind: Some(LoopKind::Closed), latency_us, reached_per_s: Some(1e6 / p50), ..result },
            3,
        )
    };
    let raw = |workload: &str, system: &str, mb_s: f64| {
        with_rounds(WorkloadResult { mode: None, loop_kind: None, throughput_mb_s: Some(mb_s), ..named(workload, system) }, 3)
    };
    vec![
        closed("probe", "device", None, 72.0),
        closed("floor", "floor", Some(WaitMode::Asleep), 95.0),
        closed("floor", "floor", Some(WaitMode::Spinning), 81.0),
        closed("round-trip", "loopback", Some(WaitMode::Asleep), 18.0),
        raw("raw-write", "device", 1900.0),
        raw("raw-read", "device", 3200.0),
        WorkloadResult { flushed: None, ..raw("memcpy", "memory", 11_000.0) },
    ]
}

fn floor() -> Yardstick {
    Yardstick { name: "floor-asleep".to_owned(), unit: "us".to_owned(), figure: 95.0 }
}

/// The distance of a p50 and a throughput to every limit.
fn distances(p50: f64, mb_s: f64) -> Vec<Limit> {
    let limit = |name: &str, unit: &str, figure: f64, own: f64| Limit {
        name: name.to_owned(),
        unit: unit.to_owned(),
        figure,
        ratio: own / figure,
    };
    vec![
        limit("probe", "us", 72.0, p50),
        limit("floor-asleep", "us", 95.0, p50),
        limit("loopback", "us", 18.0, p50),
        limit("raw-write", "mb_s", 1900.0, mb_s),
        limit("memcpy", "mb_s", 11_000.0, mb_s),
    ]
}

fn single_record() -> WorkloadResult {
    let result = WorkloadResult {
        loop_kind: Some(LoopKind::Closed),
        acknowledgement: Some("flushed to the device, its cache included".to_owned()),
        latency_us: Some(latency(124.0)),
        reached_per_s: Some(7_900.0),
        yardstick: Some(floor()),
        ratio: Some(124.0 / 95.0),
        ratio_p99: Some(248.0 / 190.0),
        stages: stages(),
        ..named("single-record", "sluice")
    };
    with_rounds(result, 5)
}

fn bulk(system: &str, mb_s: f64) -> WorkloadResult {
    let result = WorkloadResult {
        throughput_mb_s: Some(mb_s),
        reached_per_s: Some(mb_s * 1e6 / 1024.0),
        latency_us: Some(latency(5_100.0)),
        broker_cpu_s_per_gb: Some(0.81),
        broker_cpu_s_per_million_records: Some(0.83),
        broker_memory: Some(Memory { rss_mb: 310.0, peak_mb: 355.0 }),
        write_amplification: Some(2.06),
        yardstick: Some(Yardstick { name: "raw-write".to_owned(), unit: "mb_s".to_owned(), figure: 1900.0 }),
        ratio: Some(mb_s / 1900.0),
        ..named("bulk", system)
    };
    with_rounds(result, 3)
}

fn stages() -> Vec<Stage> {
    let stage = |name: &str, share, p50| Stage { name: name.to_owned(), share, latency_us: latency(p50) };
    vec![
        stage("admit", 0.04, 5.0),
        stage("queue", 0.22, 26.0),
        stage("write_flush", 0.66, 78.0),
        stage("replicate", 0.0, 0.0),
        stage("answer", 0.08, 9.0),
    ]
}

fn spike(system: &str, flushed: bool, model: Model) -> WorkloadResult {
    let (timeline, latencies) = spike_timeline(model);
    let summary = latencies.summary();
    let refused_count = timeline.iter().map(|second| second.refused).sum();
    let offered: u64 = timeline.iter().map(|second| second.offered).sum();
    let per_s = offered as f64 / (f64::from(INTERVAL_COUNT) * INTERVAL_S);
    let words = if flushed { "flushed to the device before it is given" } else { "in the page cache: a power cut may lose it" };
    let result = WorkloadResult {
        about: "a sudden flood: ten times the rate within two seconds, held, then gone".to_owned(),
        acks: Some("all".to_owned()),
        acknowledgement: Some(words.to_owned()),
        flushed: Some(flushed),
        asked_per_s: Some(per_s),
        offered_per_s: Some(per_s),
        reached_per_s: Some(per_s * 0.998),
        throughput_mb_s: Some(per_s * 1024.0 / 1e6),
        latency_us: Some(summary),
        mean_us: Some(latencies.mean_us()),
        deviation_us: Some(latencies.deviation_us()),
        end_to_end_us: Some(scaled(summary, 1.2)),
        service_us: Some(latency(model.base_us)),
        latency_refused_first_us: (refused_count > 0).then(|| latency(310_000.0)),
        refused_count,
        refused_because: (refused_count > 0).then(|| "Overloaded: 250 ms of work are queued".to_owned()),
        generator_cpu_percent: Some(38.0),
        generator_late_us: Some(61.0),
        broker_cpu_percent: Some(71.0),
        broker_cpu_s_per_gb: Some(1.32),
        yardstick: Some(floor()),
        ratio: Some(summary.p50 / 95.0),
        ratio_p99: Some(summary.p99 / 190.0),
        limits: distances(summary.p50, per_s * 1024.0 / 1e6),
        notes: vec!["one consumer was slower than the producers".to_owned()],
        percentiles: percentiles(&latencies),
        timeline,
        ..named("spike", system)
    };
    with_rounds(result, 3)
}

/// Base load, two seconds of rise to ten times, eight held, and the base again.
fn phase(at_s: f64) -> (&'static str, f64) {
    const BASE: f64 = 20_000.0;
    match at_s {
        s if s < 8.0 => ("base", BASE),
        s if s < 10.0 => ("rise", BASE * (1.0 + 9.0 * (s - 8.0) / 2.0)),
        s if s < 18.0 => ("hold", BASE * 10.0),
        _ => ("after", BASE),
    }
}

fn spike_timeline(model: Model) -> (Vec<Second>, LatencyHistogram) {
    let mut latencies = LatencyHistogram::new();
    let (mut queued, mut unread) = (0.0f64, 0.0f64);
    let seconds = (0..INTERVAL_COUNT).map(|index| {
        let at_s = f64::from(index) * INTERVAL_S;
        let (phase, rate) = phase(at_s);
        let stalled = model.stalls && (13.0..14.0).contains(&at_s);
        let capacity = if stalled { 0.0 } else { model.capacity_per_s * INTERVAL_S };
        let offered = rate * INTERVAL_S;
        let room = (model.capacity_per_s * model.wait_s_max - queued).max(0.0) + capacity;
        let admitted = offered.min(room);
        let acknowledged = (queued + admitted).min(capacity);
        queued += admitted - acknowledged;
        unread = (unread + acknowledged - 140_000.0 * INTERVAL_S).max(0.0);
        let wait_us = queued / model.capacity_per_s * 1e6 + if stalled { (14.0 - at_s) * 1e6 } else { 0.0 };
        // Seven tenths near the middle, the rest in a tail that wanders a little from interval to interval.
        let wander = 1.0 + 0.15 * f64::from(index * 7919 % 13) / 13.0;
        let spread = [(0.8, 0.2), (1.0, 0.5), (1.4, 0.2), (2.2, 0.07), (4.0, 0.025), (9.0, 0.005)];
        let mut heat: Vec<(f64, u64)> = Vec::new();
        for (factor, share) in spread {
            let us = model.base_us * factor * wander + wait_us * (0.9 + 0.1 * factor.min(2.0));
            let count = (admitted * share) as u64;
            (0..count.div_ceil(16)).for_each(|_| latencies.record(Duration::from_nanos((us * 1e3) as u64)));
            heat.push((heat_bucket_us(us), count));
        }
        Second {
            at_s,
            phase: phase.to_owned(),
            asked: offered as u64,
            offered: offered as u64,
            acknowledged: acknowledged as u64,
            refused: (offered - admitted) as u64,
            failed: 0,
            consumed: (acknowledged.min(14_000.0)) as u64,
            backlog_records: unread as u64,
            backlog_mb: unread * 1024.0 / 1e6,
            heat,
        }
    });
    (seconds.collect(), latencies)
}
