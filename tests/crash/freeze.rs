//! A broker that is frozen (SIGSTOP) for longer than its clients wait, and then goes on as if nothing had been.
//!
//! To the clients it is a broker that neither answers nor ends; to the broker no time has passed. The expensive mistake
//! is the old connection: what it still holds is carried out after the thaw, beside what was sent again on a new one.

use super::load::{Load, connect_with, four_habits, read_all};
use super::process::Home;
use super::random::{Random, seed_of_this_run};
use sluice_client::ClientConfig;
use std::time::Duration;

const FREEZES: u64 = 3;
const REQUEST_TIMEOUT_MS: u32 = 300;

#[test]
fn a_frozen_broker_that_goes_on_has_lost_nothing_and_doubled_nothing() {
    let seed = seed_of_this_run();
    let mut random = Random::new(seed);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut home = Home::new();
    let life = home.start(2);
    let config = ClientConfig {
        request_timeout_ms: REQUEST_TIMEOUT_MS,
        connect_timeout_ms: REQUEST_TIMEOUT_MS,
        retry_backoff_ms: 5,
        retry_backoff_ms_max: 50,
        ..ClientConfig::default()
    };
    let load = runtime.block_on(async {
        let client = connect_with(&home.address(), config).await;
        Load::begin(&client, "kept", 4, seed, four_habits()).await
    });
    for _ in 0..FREEZES {
        std::thread::sleep(Duration::from_millis(100 + random.below(300)));
        life.signal("-STOP");
        std::thread::sleep(Duration::from_millis(u64::from(REQUEST_TIMEOUT_MS) * 3 + random.below(800)));
        let while_frozen = load.ledger.tally();
        life.signal("-CONT");
        load.assert_alive();
        // Only what waits longer than its own delivery timeout may have no certain outcome.
        eprintln!("frozen: {while_frozen:?}");
    }
    let before = load.ledger.tally().acknowledged;
    std::thread::sleep(Duration::from_millis(200));
    let (ledger, topic, partitions) = runtime.block_on(load.end());
    let tally = ledger.tally();
    eprintln!("{tally:?}, {} seen beside; not acknowledged: {:?}", ledger.seen_count(), ledger.reasons());
    assert!(tally.acknowledged > before && tally.unsettled == 0, "it goes on: {before} acknowledged before, then {tally:?}");
    runtime.block_on(async { ledger.check(&read_all(&home.address(), &topic, partitions, &ledger).await) });
    life.stop();
    // What a consumer sees of a running broker it sees after a restart.
    let life = home.start(2);
    runtime.block_on(async { ledger.check(&read_all(&home.address(), &topic, partitions, &ledger).await) });
    life.stop();
}
