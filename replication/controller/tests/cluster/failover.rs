use crate::support::{Cluster, create_topic, id, led_by, since};
use sluice_controller::Command;
use sluice_metadata::BrokerState;
use std::time::Duration;
use tokio::time::Instant;

/// The largest topic there can be, its leaders spread over three brokers, and one of them dies that is not the
/// controller: one entry, in time.
#[tokio::test(start_paused = true)]
async fn ten_thousand_partitions_of_a_dead_broker_fail_over_as_one_entry() {
    let mut cluster = Cluster::of_three("ten_thousand").await;
    cluster.decide(Command::CreateTopic(create_topic(1, 10_000))).await.unwrap();
    let before = cluster.settle().await;
    let controller = cluster.controller().await;
    let (dead, left) = if controller == 1 { (2, [1, 3]) } else { (1, if controller == 2 { [2, 3] } else { [3, 2] }) };
    assert!(led_by(&before, dead) > 3_000 && before.partition_count() == 10_000);
    let index = cluster.node(controller).image().index;
    cluster.kill(dead).await;
    let died = Instant::now();
    cluster.until("other leaders", |cluster| (led_by(&cluster.node(left[1]).image().image, dead) == 0).then_some(())).await;
    let took = since(died);
    let after = cluster.settle().await;
    assert_eq!(cluster.node(controller).image().index, index + 1, "one entry");
    assert_eq!(after.broker(id(dead)).unwrap().state, BrokerState::Fenced);
    assert!(after.partitions().all(|(_, p)| p.leader.is_some_and(|leader| leader != id(dead)) && p.isr.len() == 2));
    assert!(took <= Duration::from_millis(1500), "{took:?} by a clock that counts no work");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_controller_dies_and_what_it_led_is_led_on() {
    let mut cluster = Cluster::of_three("controller_dies").await;
    cluster.decide(Command::CreateTopic(create_topic(1, 30))).await.unwrap();
    cluster.settle().await;
    for _ in 0..2 {
        let dead = cluster.controller().await;
        cluster.kill(dead).await;
        let died = Instant::now();
        let left = cluster.until("another controller", |cluster| {
            cluster.nodes().iter().map(|node| node.status()).find(|status| status.is_controller).map(|status| status.broker.0)
        });
        let left = left.await;
        cluster.until("other leaders", |cluster| (led_by(&cluster.node(left).image().image, dead) == 0).then_some(())).await;
        // One split vote is a matter of luck, and allowed for.
        assert!(since(died) <= Duration::from_millis(3000), "{:?}", since(died));
        let image = cluster.settle().await;
        assert!(image.partitions().all(|(_, p)| p.leader.is_some()));
        assert_eq!(image.brokers().filter(|(_, b)| b.state == BrokerState::Active).count(), 2, "the others kept their leases");
        cluster.start(dead).await;
        cluster.register(dead).await;
    }
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_heard_keeps_its_lease_and_one_that_is_not_loses_it() {
    let mut cluster = Cluster::of_three("leases").await;
    cluster.decide(Command::CreateTopic(create_topic(1, 9))).await.unwrap();
    let index = cluster.settle().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(cluster.settle().await, index, "nothing happens while all are heard");
    let silent = if cluster.controller().await == 3 { 2 } else { 3 };
    cluster.silence(silent);
    cluster
        .until("a lease that ends", |cluster| {
            let image = cluster.node(silent).image().image;
            (image.broker(id(silent)).unwrap().state == BrokerState::Fenced).then_some(())
        })
        .await;
    let image = cluster.settle().await;
    assert_eq!(led_by(&image, silent), 0);
    let incarnation = image.broker(id(silent)).unwrap().incarnation;
    let renewed = cluster.node(cluster.controller().await).heartbeat(id(silent), incarnation).await.unwrap();
    assert!(!renewed.state.holds_lease(), "a late word brings no lease back");
    let late = sluice_model::Incarnation { number: incarnation.number + 7, random: 0 };
    cluster.node(cluster.controller().await).heartbeat(id(silent), late).await.unwrap_err();
    cluster.stop().await;
}
