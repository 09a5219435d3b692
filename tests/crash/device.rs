//! A device whose flushes or writes fail: the process ends with its status, nothing false is acknowledged, and the next
//! start on a good device has everything that was.

use super::load::{Load, connect, four_habits, read_all};
use super::preload::Preload;
use super::process::Home;
use super::random::seed_of_this_run;
use std::time::Duration;

#[test]
fn a_failed_flush_ends_the_broker_with_the_status_of_a_failed_device() {
    fail(Preload::fail_flushes);
}

#[test]
fn a_failed_write_ends_the_broker_with_the_status_of_a_failed_device() {
    fail(Preload::fail_writes);
}

fn fail(order: impl Fn(&Preload)) {
    let seed = seed_of_this_run();
    let mut home = Home::new();
    let preload = Preload::build(home.folder());
    home.environment = preload.environment();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let life = home.start(1);
    let load = runtime.block_on(async {
        let client = connect(&home.address()).await;
        Load::begin(&client, "kept", 3, seed, four_habits()).await
    });
    std::thread::sleep(Duration::from_millis(300));
    order(&preload);
    let (status, said) = life.wait();
    assert_eq!(status.code(), Some(70), "{said}");
    assert!(said.contains("I/O failure") && said.contains("os error 5"), "{said}");
    preload.shift_clock_ms(0);
    let life = home.start(1);
    let (ledger, topic, partitions) = runtime.block_on(load.end());
    assert!(ledger.tally().acknowledged > 0, "{:?}", ledger.tally());
    runtime.block_on(async { ledger.check(&read_all(&home.address(), &topic, partitions, &ledger).await) });
    life.stop();
}
