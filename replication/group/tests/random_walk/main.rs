//! Random walks over one group: members that die, freeze, get stuck, leave and come back, messages that are lost, doubled
//! and late, coordinators that fail over and lose what was not committed, logs that take nothing, topics that come and go.
//!
//! Beside the rules go members as the client has to be (`client.rs`), with clocks of their own. What must hold after every
//! step (`checks.rs`): no partition is delivered by two members at the same time, by what they know themselves; what was
//! acknowledged is committed; offsets go back by a reset only; a late commit is fenced. And once all faults stop, every
//! partition is somebody's, and the log gives the same image again. Seeds are fixed and printed; `SLUICE_SEED` walks one.

mod checks;
mod client;
mod world;

use std::collections::BTreeMap;
use world::World;

const SEEDS: u64 = 120;
const STEPS: usize = 1500;

#[test]
fn no_partition_is_ever_of_two_members_and_no_commit_is_lost() {
    let given = std::env::var("SLUICE_SEED").ok().map(|seed| seed.parse::<u64>().expect("SLUICE_SEED is a number"));
    let seeds = given.map_or(0..SEEDS, |seed| seed..seed + 1);
    let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
    for seed in seeds {
        println!("seed {seed}: SLUICE_SEED={seed} cargo test -p sluice-group --test random_walk");
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.settle();
        world.check_replay();
        world.counts.into_iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
    }
    println!("{counts:?}");
    if given.is_none() {
        let wanted = [
            ("joined", 1000),
            ("took over", 50),
            ("refused", 500),
            ("sessions or polls ended", 200),
            ("stuck", 100),
            ("frozen", 100),
            ("left", 100),
            ("given up", 300),
            ("commits acknowledged", 3000),
            ("commits fenced", 20),
            ("commits of what is another's", 20),
            ("commits behind", 20),
            ("failovers", 500),
            ("batches lost", 200),
            ("appends refused", 200),
            ("log starts moved", 50),
            ("snapshots outdated", 20),
            ("offsets reset", 100),
            ("topics changed", 200),
            ("subscriptions changed", 100),
            ("answered after failover", 50),
        ];
        for (what, least) in wanted {
            assert!(counts.get(what).is_some_and(|&count| count >= least), "{what} hardly happens: {counts:?}");
        }
    }
}
