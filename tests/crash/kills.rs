//! `kill -9` at random moments of a broker's life, under load, and what its clients were told afterwards.

use super::churn::Churn;
use super::load::{Load, connect, four_habits, read_all};
use super::process::{Home, Life};
use super::random::{Random, seed_of_this_run};
use super::trim::Trim;
use crate::common::{run, sluice};
use std::collections::BTreeMap;
use std::time::Duration;

const KILLS: u64 = 20;
const PARTITIONS: u32 = 6;
const SHARDS_MAX: u32 = 3;

/// Where in its life the broker is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Serving,
    /// Shortly after it began to serve, when every client comes back.
    JustServing,
    /// During the start: settings, metadata, recovery, the first checkpoint.
    Starting,
    /// During a clean stop.
    Stopping,
}

const MOMENTS: [Moment; 6] =
    [Moment::Serving, Moment::Starting, Moment::JustServing, Moment::Serving, Moment::Stopping, Moment::Starting];

#[test]
fn kill_9_at_any_moment_loses_nothing_doubles_nothing_and_moves_nothing() {
    let kills = crate::from_environment("SLUICE_KILLS", KILLS);
    let seed = seed_of_this_run();
    let mut random = Random::new(seed);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut home = Home::new();
    let mut shards = 2;
    let mut life = home.start(shards);
    let (load, churn, trim) = runtime.block_on(async {
        let client = connect(&home.address()).await;
        let load = Load::begin(&client, "kept", PARTITIONS, seed, four_habits()).await;
        let trim = Trim::begin(&client, seed).await;
        (load, Churn::begin(client, seed), trim)
    });

    let mut start_time = Duration::from_millis(300);
    let mut counts = BTreeMap::new();
    for kill in 0..kills {
        let moment = MOMENTS[random.below(MOMENTS.len() as u64) as usize];
        *counts.entry(moment).or_insert(0_u64) += 1;
        kill_at(moment, life, &mut home, shards, start_time, &mut random);
        // Partitions move between shards, too, after whatever way the last life ended.
        shards = if random.chance(25) { 1 + random.below(SHARDS_MAX.into()) as u32 } else { shards };
        life = home.spawn(shards);
        start_time = (start_time * 3 + life.wait_until_serving()) / 4;
        load.assert_alive();
        churn.assert_alive();
        trim.assert_alive();
        if kill % 10 == 9 {
            eprintln!("{} kills, {:?}, start {start_time:?}", kill + 1, load.ledger.tally());
        }
    }

    let (ledger, topic, partitions) = runtime.block_on(load.end());
    let churn = runtime.block_on(churn.end());
    let trim = runtime.block_on(trim.end());
    life.stop();
    run(sluice().args(["log", "verify"]).arg(home.data_dir())).expect(0, &[]);
    let life = home.start(2);
    runtime.block_on(async {
        let tally = ledger.tally();
        eprintln!("{counts:?}; {tally:?}, {} seen beside; not acknowledged: {:?}", ledger.seen_count(), ledger.reasons());
        assert!(tally.unsettled == 0 && tally.acknowledged > 0 && ledger.seen_count() > 0, "{tally:?}");
        ledger.check(&read_all(&home.address(), &topic, partitions, &ledger).await);
        churn.check(&home.address()).await;
        trim.check(&home.address()).await;
    });
    life.stop();
}

fn kill_at(moment: Moment, life: Life, home: &mut Home, shards: u32, start_time: Duration, random: &mut Random) {
    let part = |of: Duration, random: &mut Random| of.mul_f64(random.below(1_200) as f64 / 1_000.0);
    match moment {
        Moment::Serving => {
            std::thread::sleep(Duration::from_millis(20 + random.below(500)));
            life.kill();
        }
        Moment::JustServing => {
            std::thread::sleep(Duration::from_micros(random.below(20_000)));
            life.kill();
        }
        Moment::Starting => {
            std::thread::sleep(Duration::from_millis(random.below(150)));
            life.kill();
            let unborn = home.spawn(shards);
            std::thread::sleep(part(start_time, random));
            unborn.kill();
        }
        Moment::Stopping => {
            std::thread::sleep(Duration::from_millis(random.below(200)));
            life.signal("-TERM");
            std::thread::sleep(Duration::from_micros(random.below(60_000)));
            life.kill_while_it_stops();
        }
    }
}
