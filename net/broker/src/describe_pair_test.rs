//! What two brokers say of their cluster, while both are there and after the lease of one has ended.

use crate::broker_pair_test::*;
use sluice_metadata::{EndLease, on_lease_ended};
use sluice_protocol::{
    AilingPartition, ClusterBrokerState, DescribeClusterAnswer, DescribeClusterRequest, DescribeReplicasRequest,
    DescribedReplicas, PartitionCounts, PartitionRef,
};

fn described(side: &Side) -> DescribeClusterAnswer {
    side.client().call(&DescribeClusterRequest {})
}

fn replicas(side: &Side) -> DescribedReplicas {
    let partition = PartitionRef { topic_id: TOPIC, partition: 0 };
    side.client().call(&DescribeReplicasRequest { partitions: vec![partition] }).partitions.remove(0)
}

#[test]
fn a_broker_that_is_gone_is_counted_and_its_partitions_named() {
    let mut pair = Pair::start(|address| address);
    let (lost, left) = (pair.leader.broker.id().0, pair.follower.broker.id().0);
    pair.follower.tell(&pair.image);
    let whole = until("the view has arrived", || Some(described(&pair.follower)).filter(|cluster| cluster.broker_count == 2));
    assert_eq!((whole.counts, whole.ailing_count), (PartitionCounts { total: 1, ..Default::default() }, 0));
    assert!(whole.brokers.iter().all(|broker| broker.state == ClusterBrokerState::Active as u8), "{:?}", whole.brokers);
    let held = replicas(&pair.follower);
    assert_eq!((held.leader, held.replicas.len(), held.isr.len()), (Some(lost), 2, 2));
    until("the follower has opened its replica", || replicas(&pair.follower).log);

    let ended = EndLease { broker: pair.leader.broker.id(), incarnation: pair.leader.broker.incarnation() };
    decide(&mut pair.image, |image| on_lease_ended(image, &ended));
    pair.follower.tell(&pair.image);
    let cluster = until("the view has arrived", || Some(described(&pair.follower)).filter(|cluster| cluster.ailing_count > 0));
    let counts = PartitionCounts { total: 1, under_replicated: 1, not_led_by_preferred: 1, ..Default::default() };
    assert_eq!((cluster.counts, cluster.ailing_count), (counts, 1));
    let (topic, replicas) = ("t".to_owned(), vec![lost, left]);
    let ailing = AilingPartition { topic, partition: 0, leader: Some(left), replicas, isr: vec![left], min_insync_replicas: 1 };
    assert_eq!(cluster.ailing, [ailing]);
    let state = |id| cluster.brokers.iter().find(|broker| broker.broker_id == id).map(|broker| broker.state);
    assert_eq!(state(lost), Some(ClusterBrokerState::Fenced as u8));
    assert_eq!(state(left), Some(ClusterBrokerState::Active as u8));

    let ended = EndLease { broker: pair.follower.broker.id(), incarnation: pair.follower.broker.incarnation() };
    decide(&mut pair.image, |image| on_lease_ended(image, &ended));
    pair.leader.tell(&pair.image);
    let cluster = until("the view has arrived", || Some(described(&pair.leader)).filter(|cluster| cluster.ailing_count > 0));
    let counts = PartitionCounts { total: 1, under_replicated: 1, without_leader: 1, ..Default::default() };
    assert_eq!((cluster.counts, cluster.ailing[0].leader), (counts, None));
    pair.follower.broker.shutdown().expect("a clean stop");
    pair.leader.broker.shutdown().expect("a clean stop");
}
