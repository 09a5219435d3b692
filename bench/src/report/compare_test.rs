use super::*;
use crate::report::synthetic::{self, latency, named, with_rounds};
use crate::result::{Machine, RESULT_VERSION, RoundOutcome, Yardstick};

fn run(results: Vec<WorkloadResult>) -> Run {
    let machine = Machine { cpu: "cpu".to_owned(), cores: 2, memory_mb: 8_000, ..Machine::default() };
    Run {
        version: RESULT_VERSION,
        started_at: "2026-03-01T00:00:00Z".to_owned(),
        machine,
        commit: None,
        build: "release".to_owned(),
        settings: String::new(),
        warnings: Vec::new(),
        interrupted: false,
        results,
    }
}

/// Rounds lie 3 % apart.
fn spike(p50: f64, round_count: usize) -> WorkloadResult {
    with_rounds(WorkloadResult { latency_us: Some(latency(p50)), ..named("spike", "sluice") }, round_count)
}

fn with_floor(result: WorkloadResult, floor_us: f64) -> WorkloadResult {
    let own = result.latency_us.expect("a latency");
    WorkloadResult {
        yardstick: Some(Yardstick { name: "floor-asleep".to_owned(), unit: "us".to_owned(), figure: floor_us }),
        ratio: Some(own.p50 / floor_us),
        ratio_p99: Some(own.p99 / (2.0 * floor_us)),
        ..result
    }
}

fn p50(comparison: &Comparison) -> &Change {
    comparison.changes.iter().find(|change| change.figure == "p50").expect("a p50")
}

#[test]
fn the_rule_says_what_the_constants_are() {
    let per_cent = format!("at least {} %", rule::CHANGE_MIN * 100.0);
    assert!(RULE.contains(&per_cent) && RULE.contains(&format!("at least {} whole rounds", rule::ROUND_COUNT_MIN)), "{RULE}");
}

#[test]
fn the_rule_row_by_row() {
    let rows = [
        // before, after, rounds before, rounds after, verdict
        (100.0, 100.0, 3, 3, Verdict::WithinNoise),
        (100.0, 109.0, 3, 3, Verdict::WithinNoise), // apart, and less than a tenth
        (100.0, 111.0, 3, 3, Verdict::Worse),
        (100.0, 111.0, 9, 9, Verdict::WithinNoise), // more than a tenth, and the ranges overlap
        (100.0, 50.0, 3, 3, Verdict::Better),
        (100.0, 50.0, 2, 3, Verdict::TooFewRounds),
        (100.0, 500.0, 3, 1, Verdict::TooFewRounds),
    ];
    for (before, after, rounds_before, rounds_after, verdict) in rows {
        let comparison = compare(&run(vec![spike(before, rounds_before)]), &run(vec![spike(after, rounds_after)]));
        let change = p50(&comparison);
        assert_eq!(change.verdict, verdict, "{before} -> {after}, {rounds_before} and {rounds_after} rounds: {change:?}");
        assert_eq!(change.basis, Basis::Figure);
        assert!((change.change.expect("a change") - (after / before - 1.0)).abs() < 0.02, "{change:?}");
    }
}

#[test]
fn more_throughput_is_better() {
    let bulk = |mb_s| with_rounds(WorkloadResult { throughput_mb_s: Some(mb_s), ..named("bulk", "sluice") }, 5);
    let better = compare(&run(vec![bulk(500.0)]), &run(vec![bulk(700.0)]));
    assert_eq!(
        better.changes.iter().map(|change| (change.figure, change.verdict)).collect::<Vec<_>>(),
        [("throughput", Verdict::Better)]
    );
    assert_eq!((better.worse(), compare(&run(vec![bulk(700.0)]), &run(vec![bulk(500.0)])).worse()), (0, 1));
}

#[test]
fn only_whole_rounds_count() {
    let mut after = spike(100.0, 4);
    let mut dead = after.rounds[0].clone();
    dead.outcome = RoundOutcome::BrokerDied;
    dead.latency_us = Some(latency(9_000.0));
    after.rounds.push(dead);
    after.outcome = RoundOutcome::BrokerDied;
    let comparison = compare(&run(vec![spike(100.0, 4)]), &run(vec![after.clone()]));
    assert_eq!(p50(&comparison).verdict, Verdict::WithinNoise);
    assert!(p50(&comparison).note.as_ref().is_some_and(|note| note.contains("broker died (4 of 5")), "{comparison:?}");
    after.outcome = RoundOutcome::GeneratorBehind;
    after.rounds.iter_mut().for_each(|round| round.outcome = RoundOutcome::GeneratorBehind);
    assert_eq!(p50(&compare(&run(vec![spike(50.0, 4)]), &run(vec![after]))).verdict, Verdict::NotComparable);
}

#[test]
fn another_machine_is_compared_by_ratio() {
    let before = run(vec![with_floor(spike(100.0, 3), 80.0), spike(100.0, 3).clone()]);
    let mut after = run(vec![with_floor(spike(200.0, 3), 160.0)]);
    after.machine.cpu = "another".to_owned();
    let comparison = compare(&before, &after);
    let change = p50(&comparison);
    assert_eq!((change.basis, change.unit, change.verdict), (Basis::Ratio, "ratio", Verdict::WithinNoise));
    assert!((change.before.expect("a ratio").median - 1.25).abs() < 1e-9);
    assert!(comparison.warnings[0].contains("different processors"), "{:?}", comparison.warnings);
    // Without a yardstick there is nothing to say.
    let comparison = compare(&run(vec![spike(100.0, 3)]), &Run { build: "debug".to_owned(), ..run(vec![spike(500.0, 3)]) });
    assert_eq!(p50(&comparison).verdict, Verdict::NotComparable);
    assert!(comparison.warnings[0].contains("different builds"), "{:?}", comparison.warnings);
}

#[test]
fn a_yardstick_that_moved_makes_it_a_comparison_of_ratios() {
    let slower = |floor_us| run(vec![with_floor(spike(200.0, 3), floor_us)]);
    let before = run(vec![with_floor(spike(100.0, 3), 80.0)]);
    let same = compare(&before, &slower(82.0));
    assert_eq!((p50(&same).basis, p50(&same).verdict), (Basis::Figure, Verdict::Worse));
    let moved = compare(&before, &slower(160.0));
    assert_eq!((p50(&moved).basis, p50(&moved).verdict), (Basis::Ratio, Verdict::WithinNoise));
    assert!(p50(&moved).note.as_ref().is_some_and(|note| note.contains("yardstick itself moved")), "{moved:?}");
}

#[test]
fn the_text_says_the_rule_and_everything_else() {
    let before = synthetic::whole_run();
    let mut after = before.clone();
    after.results.remove(0);
    let single = after.results.iter().position(|result| result.workload == "single-record").expect("single-record");
    after.results[single] = with_rounds(WorkloadResult { latency_us: Some(latency(190.0)), ..after.results[single].clone() }, 5);
    let comparison = compare(&before, &after);
    let text = comparison.to_string();
    for expected in
        ["at least 10 %", "Beyond noise: 0 better, 2 worse", "WORSE", "+53.2 %", "only before: probe: device", "noise"]
    {
        assert!(text.contains(expected), "{expected:?} is missing in\n{text}");
    }
    assert!(text.lines().skip(8).all(|line| line.chars().count() <= 130), "{text}");
    let value: serde_json::Value = serde_json::from_str(&comparison.to_json()).expect("JSON");
    assert_eq!(value["changes"].as_array().map(Vec::len), Some(comparison.changes.len()));
    assert!(value["changes"].as_array().expect("changes").iter().any(|change| change["verdict"] == "worse"));
    let nothing = compare(&run(vec![]), &run(vec![])).to_string();
    assert!(nothing.contains("Nothing to compare"), "{nothing}");
}
