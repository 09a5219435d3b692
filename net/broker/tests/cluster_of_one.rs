//! A broker without others tells of a cluster of one, and elects whom it can.

mod support;

use sluice_broker::{Broker, BrokerConfig, start};
use sluice_model::ErrorCode;
use sluice_protocol::{
    ClusterBrokerState, DescribeClusterRequest, DescribeReplicasRequest, ElectLeadersRequest, Election, PartitionRef,
    PlacedReplica, ReplicaEndShown, ShownReplicaEnd, UncleanElection,
};
use support::{FrameSpec, RawClient, config, temp_dir};
use tempfile::TempDir;

fn broker_of(shards: usize) -> (TempDir, Broker) {
    let folder = temp_dir();
    let broker = start(BrokerConfig { shards: Some(shards), ..config(folder.path()) }).expect("the broker starts");
    (folder, broker)
}

#[test]
fn it_names_itself_and_counts_its_partitions() {
    let (_folder, broker) = broker_of(2);
    let mut client = RawClient::connect(broker.local_addrs()[1]);
    client.create_topic("orders", 3);
    let cluster = client.call(&DescribeClusterRequest {});
    assert_eq!((cluster.error, cluster.broker_id, cluster.controller, &*cluster.voters), (0, 1, Some(1), &[1][..]));
    assert_eq!(cluster.heard_ms_ago, Some(0));
    let one = &cluster.brokers[0];
    assert_eq!((cluster.brokers.len(), cluster.broker_count, one.broker_id, one.shard_count), (1, 1, 1, 2));
    assert_eq!((one.state, one.address.port), (ClusterBrokerState::Active as u8, broker.local_addrs()[0].port()));
    let counts = cluster.counts;
    assert_eq!((counts.total, counts.under_replicated, counts.without_leader, counts.not_led_by_preferred), (3, 0, 0, 0));
    assert!(cluster.ailing.is_empty() && cluster.ailing_count == 0);
}

#[test]
fn replicas_are_told_with_the_log_of_the_shard_that_has_one() {
    let (_folder, broker) = broker_of(2);
    let mut clients = [RawClient::connect(broker.local_addrs()[0]), RawClient::connect(broker.local_addrs()[1])];
    let topic_id = clients[0].create_topic("orders", 1);
    let named = |partition| DescribeReplicasRequest { partitions: vec![PartitionRef { topic_id, partition }] };
    let told = [0_u16, 1].map(|shard| clients[usize::from(shard)].call(&named(0)).partitions.remove(0));
    let PlacedReplica { broker_id, shard } = told[0].replicas[0];
    assert_eq!((broker_id, told[0].leader, &*told[0].isr, told[0].error), (1, Some(1), &[1][..], 0));
    let (here, elsewhere) = (usize::from(shard), usize::from(1 - shard));
    assert_eq!(told[elsewhere].log, None);
    let log = told[here].log.expect("the shard that holds it knows its log");
    assert_eq!((log.log_end_offset, log.last_epoch), (0, 0));

    let produced = clients[here].produce(&FrameSpec::new(topic_id, &[b"v"]));
    assert_eq!(produced.error, 0, "{}", produced.text);
    let log = clients[here].call(&named(0)).partitions[0].log.expect("it has a log");
    assert!(log.log_end_offset > 0 && log.last_epoch == told[here].leader_epoch, "{log:?}");

    let unknown = clients[0].call(&named(1)).partitions.remove(0);
    assert_eq!(unknown.error, ErrorCode::UnknownPartition as u16);
    let request = DescribeReplicasRequest { partitions: vec![PartitionRef { topic_id: [9; 16], partition: 0 }] };
    assert_eq!(clients[0].call(&request).partitions[0].error, ErrorCode::UnknownTopic as u16);
}

#[test]
fn elections_are_answered_partition_by_partition() {
    let (_folder, broker) = broker_of(1);
    let mut client = RawClient::connect(broker.local_addrs()[0]);
    let topic_id = client.create_topic("orders", 2);
    let all = client.call(&ElectLeadersRequest { election: Election::AllPreferred });
    assert_eq!((all.error, all.has_changed, all.partitions.len()), (0, false, 0), "everything is as it should be already");

    let partition = |partition| PartitionRef { topic_id, partition };
    let named = client.call(&ElectLeadersRequest { election: Election::Preferred(vec![partition(1), partition(7)]) });
    assert_eq!((named.error, named.has_changed, named.partitions.len()), (0, false, 2));
    assert_eq!((named.partitions[0].error, named.partitions[0].leader), (0, Some(1)));
    assert!(named.partitions[1].error != 0 && named.partitions[1].text.contains("no partition"), "{named:?}");

    let end = Some(ReplicaEndShown::default());
    let unclean = UncleanElection {
        partition: partition(0),
        broker_id: 1,
        partition_epoch: 0,
        shown: vec![ShownReplicaEnd { broker_id: 1, end }],
    };
    let refused = client.call(&ElectLeadersRequest { election: Election::Unclean(unclean) });
    assert!(refused.partitions[0].text.contains("nothing has to be given up"), "a leader is never replaced so: {refused:?}");
}
