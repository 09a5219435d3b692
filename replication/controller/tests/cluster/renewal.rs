//! Leases of brokers that are not the controller.

use crate::support::{Cluster, create_topic, id, led_by};
use sluice_controller::{Command, CommandError, ControllerNode, LEASE_MS, LEASE_RENEWAL_MS};
use sluice_metadata::{BrokerState, Refusal};
use sluice_model::Incarnation;
use std::time::Duration;
use tokio::time::{Instant, sleep};

fn incarnation(node: &ControllerNode, broker: u32) -> Incarnation {
    node.image().image.broker(id(broker)).unwrap().incarnation
}

#[tokio::test(start_paused = true)]
async fn a_broker_keeps_its_lease_through_whoever_leads() {
    let mut cluster = Cluster::of_three("renewal").await;
    cluster.start(4).await;
    cluster.register(4).await;
    cluster.decide(Command::CreateTopic(create_topic(1, 9))).await.unwrap();
    cluster.settle().await;
    let controller = cluster.controller().await;
    let renewing = [4, if controller == 1 { 2 } else { 1 }];
    for broker in renewing {
        cluster.silence(broker);
    }
    let index = cluster.node(controller).image().index;
    for _ in 0..20 {
        for broker in renewing {
            let node = cluster.node(broker);
            let before = Instant::now();
            let renewed = node.renew_lease(incarnation(&node, broker)).await.unwrap();
            assert_eq!((renewed.sent, renewed.state, renewed.index), (before, BrokerState::Active, index));
            assert_eq!(renewed.lease, Duration::from_millis(LEASE_MS));
            assert!(Instant::now() > renewed.sent, "it counts from sending");
        }
        sleep(Duration::from_millis(LEASE_RENEWAL_MS)).await;
    }
    assert_eq!(cluster.node(controller).image().index, index, "nobody was fenced");
    // The answer to the first asking is lost: the second one's time counts.
    let node = cluster.node(4);
    let before = Instant::now();
    cluster.lose_answers(4, 1);
    assert!(node.renew_lease(incarnation(&node, 4)).await.unwrap().sent > before);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_outlives_the_controller_that_granted_it() {
    let mut cluster = Cluster::of_three("outlives").await;
    cluster.decide(Command::CreateTopic(create_topic(1, 9))).await.unwrap();
    cluster.settle().await;
    let dead = cluster.controller().await;
    let broker = if dead == 1 { 2 } else { 1 };
    cluster.silence(broker);
    let node = cluster.node(broker);
    let own = incarnation(&node, broker);
    let beating = tokio::spawn(async move {
        loop {
            let _asked_again = node.renew_lease(own).await;
            sleep(Duration::from_millis(LEASE_RENEWAL_MS)).await;
        }
    });
    cluster.kill(dead).await;
    cluster
        .until("the dead one's leaders to move", |cluster| (led_by(&cluster.node(broker).image().image, dead) == 0).then_some(()))
        .await;
    sleep(Duration::from_secs(5)).await;
    let image = cluster.settle().await;
    assert_eq!(image.broker(id(broker)).unwrap().state, BrokerState::Active);
    assert!(led_by(&image, broker) > 0);
    beating.abort();
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_is_cut_off_gets_no_lease_and_an_earlier_start_is_told_so() {
    let mut cluster = Cluster::of_three("no_lease").await;
    let old = cluster.controller().await;
    let others: Vec<u32> = (1..=3).filter(|broker| *broker != old).collect();
    let node = cluster.node(old);
    let own = incarnation(&node, old);
    cluster.cut_off(old);
    cluster.controller_of(&others).await;
    let refused = node.renew_lease(own).await.unwrap_err();
    assert!(matches!(refused, CommandError::NotController { .. }), "{refused}");
    cluster.heal();
    cluster.until("the old one to follow", |cluster| (!cluster.node(old).status().is_controller).then_some(())).await;
    cluster.settle().await;
    node.renew_lease(own).await.unwrap();
    cluster.register(old).await;
    cluster.settle().await;
    let fenced = node.renew_lease(own).await.unwrap_err();
    let current = incarnation(&node, old);
    let expected = Refusal::FencedIncarnation { broker: id(old), got: own, current };
    assert!(matches!(&fenced, CommandError::Refused(refusal) if *refusal == expected), "{fenced}");
    cluster.stop().await;
}
