//! The simulator over many seeds, and over some of them twice.

use sluice_sim::coverage::{Coverage, EXPECTED};
use sluice_sim::plan::Mask;
use sluice_sim::plants::{STORAGE, check_applies, plants};
use sluice_sim::run::{Settings, minimised, run_seed, run_seeds};
use sluice_sim::sweep::Range;
use std::path::Path;

/// `sluice-sim run --from` takes others.
const FROM: u64 = sluice_sim::plants::FROM;
const COUNT: u64 = 750;

#[test]
fn whatever_happens_nothing_acknowledged_is_lost_altered_reordered_or_invented() {
    let mask = Mask::default();
    let seeds = Range { from: FROM, count: COUNT, threads: 2, keeps_going: false };
    println!("{COUNT} seeds from {FROM} on");
    let summary = run_seeds(seeds, mask, &|_| {});
    if let Some((seed, outcome)) = &summary.failure {
        let failure = minimised(*seed, mask, outcome);
        panic!("seed {seed}: {:?}\nshortest: {}\nreplay it with: {}", outcome.violation, failure.message, failure.command());
    }
    assert_eq!(summary.seeds, COUNT);
    println!("{} steps, {} events", summary.steps, summary.events);
    assert_met(&summary.coverage, EXPECTED);
}

/// A simulator that meets nothing proves nothing.
fn assert_met(coverage: &Coverage, expected: &[&str]) {
    let missing: Vec<&str> = expected.iter().copied().filter(|name| coverage.count(name) == 0).collect();
    assert!(missing.is_empty(), "never met: {missing:?}");
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    for seed in FROM..FROM + 25 {
        let settings = Settings::default();
        let (first, second) = (run_seed(seed, settings), run_seed(seed, settings));
        assert!(first.events > 100, "seed {seed} does nothing");
        assert_eq!(first, second, "seed {seed} differs from itself");
    }
    assert_ne!(run_seed(FROM, Settings::default()).trace_hash, run_seed(FROM + 1, Settings::default()).trace_hash);
}

#[test]
fn every_planted_bug_still_applies() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let plants = plants(STORAGE, &workspace).unwrap_or_else(|message| panic!("{message}"));
    assert!(plants.len() >= 10, "only {} bugs are planted", plants.len());
    for plant in plants {
        assert!(plant.breaks.len() > 20, "{} does not say what it breaks", plant.name);
        check_applies(&workspace, &plant).unwrap_or_else(|message| panic!("{message}"));
    }
}
