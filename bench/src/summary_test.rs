use super::*;
use crate::measurement::{BrokerFigures, StageTimes};
use crate::result::{Machine, RESULT_VERSION};
use crate::workload::find;

/// p90 at twice, p99 and the rest at three times the p50.
fn histogram(p50_us: f64) -> LatencyHistogram {
    let mut latencies = LatencyHistogram::new();
    for (times, count) in [(1.0, 60), (2.0, 31), (3.0, 9)] {
        (0..count).for_each(|_| latencies.record(std::time::Duration::from_nanos((p50_us * times * 1e3) as u64)));
    }
    latencies
}

fn latency_round(p50: f64) -> Measurement {
    Measurement { latencies: Some(histogram(p50)), reached_per_s: Some(1e6 / p50), ..Measurement::default() }
}

fn throughput_round(mb_s: f64) -> Measurement {
    Measurement { throughput_mb_s: Some(mb_s), refused_count: 2, ..Measurement::default() }
}

fn load(name: &str) -> SeriesOf {
    load_in_mode(name, WaitMode::Asleep)
}

fn load_in_mode(name: &str, mode: WaitMode) -> SeriesOf {
    SeriesOf::Load {
        mode,
        workload: Box::new(find(name).expect("a workload of the program").remove(0)),
        system: "sluice".to_owned(),
        acknowledgement: ("flushed".to_owned(), Some(true)),
        settings: "shards = 1".to_owned(),
    }
}

fn series(of: SeriesOf, rounds: impl IntoIterator<Item = Measurement>) -> Series {
    Series { of, rounds: rounds.into_iter().collect() }
}

fn summary(series: &[Series]) -> Vec<WorkloadResult> {
    let run = Run {
        version: RESULT_VERSION,
        started_at: "2026-01-01T00:00:00Z".to_owned(),
        machine: Machine { cores: 2, ..Machine::default() },
        commit: Some("abc".to_owned()),
        build: "release".to_owned(),
        settings: String::new(),
        warnings: Vec::new(),
        interrupted: false,
        results: Vec::new(),
    };
    summarize(series, &run)
}

fn whole_run() -> Vec<WorkloadResult> {
    summary(&[
        series(SeriesOf::Yardstick(YardstickName::Probe), [80.0, 100.0, 90.0].map(latency_round)),
        series(SeriesOf::Yardstick(YardstickName::FloorAsleep), [100.0, 900.0, 120.0].map(latency_round)),
        series(load("single-record"), [150.0, 180.0, 2000.0].map(latency_round)),
        series(SeriesOf::Yardstick(YardstickName::RawWrite), [2000.0, 2400.0].map(throughput_round)),
        series(load("bulk"), [500.0, 600.0].map(throughput_round)),
    ])
}

/// Histograms are good to one in a thousand.
fn near(got: f64, expected: f64) {
    assert!((got - expected).abs() <= expected * 0.002, "{got} is not {expected}");
}

fn yardstick(result: &WorkloadResult, name: &str, unit: &str, figure: f64) {
    let yardstick = result.yardstick.as_ref().expect("a yardstick");
    assert_eq!((yardstick.name.as_str(), yardstick.unit.as_str()), (name, unit));
    near(yardstick.figure, figure);
}

#[test]
fn what_spins_is_held_against_the_floor_that_spins() {
    let spinning = |name| series(load_in_mode(name, WaitMode::Spinning), [latency_round(100.0)]);
    let results = summary(&[
        series(SeriesOf::Yardstick(YardstickName::FloorAsleep), [latency_round(120.0)]),
        series(SeriesOf::Yardstick(YardstickName::FloorSpinning), [latency_round(80.0)]),
        series(SeriesOf::Yardstick(YardstickName::Floor1000), [latency_round(200.0)]),
        spinning("single-record"),
        spinning("single-record-1000"),
    ]);
    for result in &results[3..] {
        assert_eq!((result.system.as_str(), result.mode), ("sluice", Some(WaitMode::Spinning)));
        yardstick(result, "floor-spinning", "us", 80.0);
        near(result.ratio.expect("a ratio"), 1.25);
    }
}

#[test]
fn ratios_are_of_medians_to_the_yardstick_of_the_same_run() {
    let results = whole_run();
    let [_, floor, single, _, bulk] = &results[..] else { panic!("five results") };
    yardstick(floor, "probe", "us", 90.0);
    yardstick(single, "floor-asleep", "us", 120.0);
    near(single.ratio.expect("a ratio"), 1.5);
    near(single.ratio_p99.expect("a ratio"), 1.5);
    near(single.latency_us.expect("a latency").p99, 3.0 * 180.0);
    let range = single.latency_us_range.expect("a range");
    near(range.min.p50, 150.0);
    near(range.max.p50, 2000.0);
    yardstick(bulk, "raw-write", "mb_s", 2200.0);
    assert_eq!((bulk.ratio, bulk.ratio_p99, bulk.refused_count), (Some(0.25), None, 4));
    let limits: Vec<&str> = single.limits.iter().map(|limit| limit.name.as_str()).collect();
    assert_eq!(limits, ["probe", "floor-asleep"], "a limit of the other unit has no ratio");
}

#[test]
fn json_has_the_published_names_and_null_for_what_does_not_apply() {
    let value = serde_json::to_value(whole_run()).expect("JSON");
    let results = value.as_array().expect("one array");
    for result in results {
        for name in [
            "workload",
            "about",
            "system",
            "mode",
            "loop",
            "outcome",
            "acks",
            "acknowledgement",
            "asked_per_s",
            "offered_per_s",
            "reached_per_s",
            "throughput_mb_s",
            "latency_us",
            "latency_refused_first_us",
            "end_to_end_us",
            "consumed_mb_s",
            "generator_cpu_percent",
            "generator_late_us",
            "broker_cpu_s_per_gb",
            "broker_cpu_s_per_million_records",
            "write_amplification",
            "stages",
            "flushed",
            "yardstick",
            "ratio",
            "percentiles",
            "timeline",
            "machine",
            "commit",
            "settings",
        ] {
            assert!(result.get(name).is_some(), "{name} is missing in {result}");
        }
    }
    let single = &results[2];
    assert_eq!(
        (&single["workload"], &single["system"], &single["mode"], &single["loop"]),
        (&"single-record".into(), &"sluice".into(), &"asleep".into(), &"closed".into())
    );
    for percentile in ["p50", "p90", "p99", "p99_9", "p99_99", "max"] {
        assert!(single["latency_us"][percentile].is_f64(), "{percentile}");
    }
    assert!(results[0]["yardstick"].is_null() && single["throughput_mb_s"].is_null());
}

#[test]
fn a_round_that_is_not_whole_is_in_no_median_and_is_listed() {
    let died = Measurement { outcome: RoundOutcome::BrokerDied, outcome_because: Some("gone".to_owned()), ..latency_round(1.0) };
    let behind = Measurement { outcome: RoundOutcome::GeneratorBehind, ..latency_round(7000.0) };
    let rounds = [latency_round(100.0), died.clone(), behind.clone(), latency_round(200.0)];
    let result = summary(&[series(load("steady"), rounds)]).remove(0);
    near(result.latency_us.expect("of the whole rounds").p50, 150.0);
    assert_eq!((result.outcome, result.outcome_because.as_deref()), (RoundOutcome::BrokerDied, Some("gone")));
    assert_eq!((result.round_count, result.rounds.len()), (2, 4));
    assert_eq!(result.percentiles.last().map(|last| last.count), Some(200), "merged over whole rounds");

    let result = summary(&[series(load("steady"), [behind])]).remove(0);
    near(result.latency_us.expect("better than nothing, and marked").p50, 7000.0);
    assert_eq!((result.outcome, result.round_count), (RoundOutcome::GeneratorBehind, 0));

    let result = summary(&[series(load("steady"), [died])]).remove(0);
    assert_eq!((result.latency_us, result.reached_per_s), (None, None), "what died is in no figure");
}

#[test]
fn memory_is_the_worst_round_and_restart_has_a_range() {
    let round = |rss_mb, peak_mb, seconds| Measurement {
        broker: BrokerFigures { memory: Some(Memory { rss_mb, peak_mb }), ..BrokerFigures::default() },
        seconds_to_listen: Some(seconds / 2.0),
        seconds_to_serve: Some(seconds),
        recoveries: vec![format!("shard 0 in {seconds}")],
        ..Measurement::default()
    };
    let result = summary(&[series(load("restart"), [round(10.0, 50.0, 3.0), round(20.0, 30.0, 1.0)])]).remove(0);
    assert_eq!(result.broker_memory, Some(Memory { rss_mb: 20.0, peak_mb: 50.0 }));
    assert_eq!(result.seconds_to_serve, Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
    assert_eq!(result.seconds_to_listen, Some(Spread { median: 1.0, min: 0.5, max: 1.5 }));
    assert_eq!(result.recoveries, ["shard 0 in 3", "shard 0 in 1"]);
    assert_eq!((result.flushed, result.acks), (None, None));
}

#[test]
fn stages_share_the_time_of_all_rounds() {
    let stage =
        |name: &str, us: f64| StageTimes { name: name.to_owned(), latencies: histogram(us), total_ns: (us * 1e3) as u64 * 100 };
    let round =
        |queue_us| Measurement { stages: vec![stage("queue", queue_us), stage("write_flush", 100.0)], ..latency_round(1.0) };
    let result = summary(&[series(load("steady"), [round(100.0), round(300.0)])]).remove(0);
    let shares: Vec<(&str, f64)> = result.stages.iter().map(|stage| (stage.name.as_str(), stage.share)).collect();
    assert_eq!(shares[0].0, "queue");
    near(shares[0].1, 400.0 / 600.0);
    near(shares[1].1, 200.0 / 600.0);
}

#[test]
fn the_table_says_what_was_measured() {
    let run = Run {
        version: RESULT_VERSION,
        started_at: String::new(),
        machine: Machine::default(),
        commit: None,
        build: "release".to_owned(),
        settings: String::new(),
        warnings: Vec::new(),
        interrupted: false,
        results: whole_run(),
    };
    let text = run.to_string();
    for expected in ["single-record", "closed loop", "1.50", "raw-write", "bulk", "0.25"] {
        assert!(text.contains(expected), "{expected:?} is missing in\n{text}");
    }
}
