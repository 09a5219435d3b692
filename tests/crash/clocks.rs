//! The real program while the wall clock jumps by days and back, under load: nothing young is deleted, everything goes
//! on, and the log says what happened. (What needs ten minutes of a steady clock is tested on the partitions' own clock.)

use super::load::{Load, connect, four_habits, read_all};
use super::preload::Preload;
use super::process::Home;
use super::random::seed_of_this_run;
use sluice_client::Admin;
use std::time::Duration;

const DAY_MS: i64 = 24 * 3_600_000;

#[test]
fn a_wall_clock_that_jumps_by_days_deletes_nothing_young() {
    let seed = seed_of_this_run();
    let mut home = Home::new();
    let preload = Preload::build(home.folder());
    home.environment = preload.environment();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut life = home.start(2);
    let load = runtime.block_on(async {
        let client = connect(&home.address()).await;
        let load = Load::begin(&client, "kept", 2, seed, four_habits()).await;
        let retention = [("retention_ms".to_owned(), "10min".to_owned())];
        Admin::new(client).alter_topic("kept", &retention, None).await.expect("a setting");
        load
    });
    std::thread::sleep(Duration::from_millis(500));
    for by_ms in [4 * DAY_MS, -4 * DAY_MS] {
        preload.shift_clock_ms(by_ms);
        life.wait_until_said("the wall clock jumped");
        // Retention looks once a second.
        std::thread::sleep(Duration::from_millis(1_500));
        preload.shift_clock_ms(0);
        life.wait_until_said("the wall clock has settled");
        // A start while it is wrong, and while it is right again.
        preload.shift_clock_ms(by_ms);
        life.kill();
        life = home.start(2);
        life.wait_until_said("the wall clock jumped");
        std::thread::sleep(Duration::from_millis(1_500));
        preload.shift_clock_ms(0);
        life.wait_until_said("the wall clock has settled");
        life.kill();
        life = home.start(2);
        load.assert_alive();
    }
    let (ledger, topic, partitions) = runtime.block_on(load.end());
    eprintln!("{:?}", ledger.tally());
    runtime.block_on(async {
        let log = read_all(&home.address(), &topic, partitions, &ledger).await;
        assert!(log.iter().all(|partition| partition.start == 0), "records a few seconds old were deleted");
        ledger.check(&log);
    });
    life.stop();
}
