use super::*;
use crate::measurement::BrokerFigures;

fn latency(p50: f64) -> Option<LatencySummary> {
    Some(LatencySummary { p50, p90: 2.0 * p50, p99: 3.0 * p50, p99_9: 4.0 * p50, p99_99: 5.0 * p50, max: 6.0 * p50 })
}

fn latencies(step: Step, p50s: &[f64]) -> Series {
    let round = |&p50: &f64| Measurement { latency_us: latency(p50), reached_per_s: Some(1e6 / p50), ..Measurement::default() };
    Series { step, rounds: p50s.iter().map(round).collect() }
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
    assert_eq!(floor.yardstick, Some(Yardstick { name: "probe", unit: "us", figure: 90.0 }));
    assert_eq!(single.yardstick, Some(Yardstick { name: "floor-asleep", unit: "us", figure: 120.0 }));
    assert_eq!((single.ratio, single.ratio_p99), (Some(1.5), Some(1.5)));
    assert_eq!(single.latency_us, latency(180.0));
    assert_eq!(single.latency_us_range.map(|range| (range.min.p50, range.max.p50)), Some((150.0, 2000.0)));
    assert_eq!(bulk.yardstick, Some(Yardstick { name: "raw-write", unit: "mb_s", figure: 2200.0 }));
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
