use super::*;
use crate::measurement::BrokerFigures;

/// p90 at twice, p99 and the rest at three times the p50.
fn histogram(p50_us: f64) -> LatencyHistogram {
    let mut latencies = LatencyHistogram::new();
    for (times, count) in [(1.0, 60), (2.0, 31), (3.0, 9)] {
        (0..count).for_each(|_| latencies.record(std::time::Duration::from_nanos((p50_us * times * 1e3) as u64)));
    }
    latencies
}

fn latencies(step: Step, p50s: &[f64]) -> Series {
    let round = |&p50: &f64| {
        let latencies = Some(histogram(p50));
        Measurement { latencies, reached_per_s: Some(1e6 / p50), ..Measurement::default() }
    };
    Series { step, rounds: p50s.iter().map(round).collect() }
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

fn throughputs(step: Step, mb_s: &[f64]) -> Series {
    let round = |&mb_s: &f64| Measurement { throughput_mb_s: Some(mb_s), refused_count: 2, ..Measurement::default() };
    Series { step, rounds: mb_s.iter().map(round).collect() }
}

fn whole_run() -> Report {
    let series = [
        latencies(Step::Probe, &[80.0, 100.0, 90.0]),
        latencies(Step::Floor(WaitMode::Asleep), &[100.0, 900.0, 120.0]),
        latencies(Step::Load(Workload::SingleRecord), &[150.0, 180.0, 2000.0]),
        throughputs(Step::RawWrite, &[2000.0, 2400.0]),
        throughputs(Step::Load(Workload::Bulk), &[500.0, 600.0]),
    ];
    Report::new(&series, Vec::new())
}

#[test]
fn ratios_are_of_medians_to_the_yardstick_of_the_same_run() {
    let report = whole_run();
    let [_, floor, single, _, bulk] = &report.results[..] else { panic!("five results") };
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
}

#[test]
fn json_has_the_published_names_and_null_for_what_does_not_apply() {
    let value: serde_json::Value = serde_json::from_str(&whole_run().to_json()).expect("JSON");
    let results = value.as_array().expect("one array");
    assert_eq!(results.len(), 5);
    for result in results {
        for name in [
            "workload",
            "system",
            "mode",
            "loop",
            "asked_per_s",
            "offered_per_s",
            "reached_per_s",
            "throughput_mb_s",
            "latency_us",
            "broker_cpu_s_per_gb",
            "flushed",
            "yardstick",
            "ratio",
        ] {
            assert!(result.get(name).is_some(), "{name} is missing in {result}");
        }
    }
    let single = &results[2];
    assert_eq!(
        (&single["workload"], &single["system"], &single["mode"]),
        (&"single-record".into(), &"sluice".into(), &"asleep".into())
    );
    for percentile in ["p50", "p90", "p99", "p99_9", "p99_99", "max"] {
        assert!(single["latency_us"][percentile].is_f64(), "{percentile}");
    }
    assert!(results[0]["yardstick"].is_null() && single["throughput_mb_s"].is_null());
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
    let series = Series { step: Step::Load(Workload::Restart), rounds: vec![round(10.0, 50.0, 3.0), round(20.0, 30.0, 1.0)] };
    let report = Report::new(&[series], Vec::new());
    assert_eq!(report.results[0].broker_memory, Some(Memory { rss_mb: 20.0, peak_mb: 50.0 }));
    assert_eq!(report.results[0].seconds_to_serve, Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
    assert_eq!(report.results[0].seconds_to_listen, Some(Spread { median: 1.0, min: 0.5, max: 1.5 }));
    assert_eq!(report.results[0].recoveries, ["shard 0 in 3", "shard 0 in 1"]);
    assert_eq!(report.results[0].flushed, None);
}

#[test]
fn the_table_says_what_was_measured() {
    let text = whole_run().to_string();
    for expected in ["single-record", "closed loop", "1.50", "raw-write", "bulk", "0.25"] {
        assert!(text.contains(expected), "{expected:?} is missing in\n{text}");
    }
}
