//! Simulated clusters over many seeds, and some of them twice.

use sluice_sim::cluster::plan::FAULTS;
use sluice_sim::cluster::run::{run_cluster, run_clusters};
use sluice_sim::plants::{CLUSTER, check_applies, plants};
use sluice_sim::sweep::Range;
use std::path::Path;

/// `sluice-sim cluster run --from` takes others.
const FROM: u64 = sluice_sim::plants::FROM;
const COUNT: u64 = 300;

/// What so many seeds have to meet, beside every fault. A simulator that meets nothing proves nothing.
const EXPECTED: &[&str] = &[
    "a clean stop",
    "a folder is lost",
    "a process ends by itself",
    "acknowledged",
    "acknowledged: looked for on the devices",
    "acknowledged by a leader that another has followed",
    "controller: leaders moved",
    "controller: lease ended",
    "copy: cut off",
    "copy: stale",
    "crash: of a process",
    "fetch: diverging",
    "fetch: fenced leader epoch",
    "fetch: follower reads from disk",
    "fetch: looked up",
    "fetch: other incarnation",
    "flush: counted while a fetch is parked",
    "healed",
    "isr: change decided",
    "isr: change refused",
    "isr: change unknown",
    "network: cut",
    "network: doubled",
    "network: late",
    "network: lost",
    "produce: answered",
    "produce: fenced leader",
    "produce: not enough replicas",
    "produce: not leader",
    "produce: out of order",
    "produce: outcome unknown",
    "produce: sent again",
    "read: from the beginning",
    "read: records",
    "recovery: entries replayed",
    "recovery: torn group cut",
    "session: answer to an earlier request",
    "session: full again",
    "session: no answer",
];

#[test]
fn whatever_befalls_a_cluster_nothing_acknowledged_is_lost_and_it_heals() {
    println!("{COUNT} seeds from {FROM} on");
    let summary = run_clusters(Range { from: FROM, count: COUNT, threads: 2, keeps_going: false }, &|_, _| {});
    if let [(seed, message), ..] = summary.failures.as_slice() {
        panic!("seed {seed}: {message}\nreplay it with: cargo run --release -p sluice-sim -- cluster replay {seed}");
    }
    assert_eq!(summary.seeds, COUNT);
    let seconds = summary.length_us / 1_000_000;
    println!("{} events, {} acknowledged, {seconds} s of virtual time", summary.events, summary.acknowledged);
    let expected = EXPECTED.iter().copied().chain(FAULTS.iter().map(|(_, name, _)| *name));
    let missing: Vec<&str> = expected.filter(|name| summary.coverage.count(name) == 0).collect();
    assert!(missing.is_empty(), "never met: {missing:?}");
}

#[test]
fn a_cluster_of_a_seed_is_the_same_every_time() {
    for seed in FROM..FROM + 8 {
        let (first, second) = (run_cluster(seed, false), run_cluster(seed, false));
        assert!(first.events > 500, "seed {seed} does nothing");
        assert_eq!(first, second, "seed {seed} differs from itself");
    }
}

#[test]
fn every_planted_bug_of_the_protocol_still_applies() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let plants = plants(CLUSTER, &workspace).unwrap_or_else(|message| panic!("{message}"));
    assert!(plants.len() >= 10, "only {} bugs are planted", plants.len());
    for plant in plants {
        assert!(plant.breaks.len() > 20, "{} does not say what it breaks", plant.name);
        check_applies(&workspace, &plant).unwrap_or_else(|message| panic!("{message}"));
    }
}
