//! A random walk over clusters of three to five brokers: brokers crash, freeze, come back, lose their disks; leaders
//! change in-sync sets; operators elect. Beside the rules goes a model of the data plane (`replicas.rs`), with brokers
//! that hear of changes late, which says what was acknowledged.
//!
//! What must hold: every invariant after every batch, however a decision is cut into batches; whoever is elected by the
//! rules holds all that was acknowledged; the log gives the same image again; and once all brokers are back, every
//! partition has a leader. Seeds are fixed and printed; `SLUICE_SEED` gives one more.

mod control;
mod replicas;
mod world;

use std::collections::BTreeMap;
use world::{Faults, World};

const STEPS: usize = 400;

type Counts = BTreeMap<&'static str, usize>;

fn walk(seed: u64, faults: Faults, counts: &mut Counts) {
    println!("seed {seed}, {faults:?}");
    let mut world = World::new(seed, faults);
    for _ in 0..STEPS {
        world.step();
    }
    world.all_come_back();
    world.check_replay();
    for (what, count) in &world.counts {
        *counts.entry(what).or_default() += count;
    }
}

/// Walks from all seeds, in which each of `wanted` has happened so often: a walk in which nothing happens shows nothing.
fn walks(faults: Faults, wanted: &[(&str, usize)]) {
    let given = std::env::var("SLUICE_SEED").ok().map(|seed| seed.parse().expect("SLUICE_SEED is a number"));
    let mut counts = Counts::new();
    (1..=30).chain(given).for_each(|seed| walk(seed, faults, &mut counts));
    println!("{counts:?}");
    for &(what, least) in wanted {
        assert!(counts.get(what).is_some_and(|&count| count >= least), "{what}: {counts:?}");
    }
}

/// Disks are lost and damaged on any broker; what recovery cuts off was never flushed.
#[test]
fn disks_are_lost_and_damaged() {
    let wanted = [
        ("elections of in-sync replicas", 100),
        ("elections of eligible replicas", 30),
        ("unclean elections", 30),
        ("in-sync sets changed", 100),
        ("records acknowledged", 500),
        ("replicas repaired", 1),
        ("controllers died half-way", 30),
    ];
    walks(Faults::LostDisks, &wanted);
}

/// No disk is lost, but on one broker rot in the last group looks like a group that was being written.
#[test]
fn the_last_group_of_one_broker_rots() {
    let wanted = [
        ("elections of in-sync replicas", 100),
        ("elections of eligible replicas", 30),
        ("in-sync sets changed", 100),
        ("records acknowledged", 200),
        ("last groups that rotted", 10),
    ];
    walks(Faults::Rot, &wanted);
}
