use super::*;
use crate::testing::{FOLDER, decide, incarnation, loads, one_broker, register, shards_of, topic_id, with_topics};
use sluice_model::TopicPartition;

fn registered(image: &mut Image, number: u64, shard_count: u16) -> Vec<Record> {
    decide(image, |i| on_register_broker(i, &register(number, shard_count))).unwrap()
}

#[test]
fn every_start_is_a_new_leader_epoch_of_all_it_leads() {
    let mut image = with_topics(2, &[3]);
    for number in 2..5 {
        let records = registered(&mut image, number, 2);
        assert_eq!(records.len(), 1 + 3);
        for (id, partition) in image.partitions() {
            assert_eq!(partition.leader_epoch, LeaderEpoch(u32::try_from(number).unwrap()), "{id}");
            assert_eq!(partition.placement(BrokerId(1)).unwrap().placement_epoch, PlacementEpoch(1));
        }
    }
    assert_eq!(shards_of(&image, 1), [0, 1, 0]);
    assert_eq!(image.next_incarnation_number(BrokerId(1)), 5);
    assert_eq!(image.next_incarnation_number(BrokerId(2)), 1);
}

#[test]
fn another_shard_count_moves_as_little_as_evens_out() {
    let mut image = with_topics(1, &[4, 4]);
    let records = registered(&mut image, 2, 2);
    assert_eq!(records.len(), 1 + 8);
    assert_eq!(loads(&image), [4, 4]);
    for topic in [1, 2] {
        let shards = shards_of(&image, topic);
        assert_eq!(shards.iter().filter(|&&s| s == 1).count(), 2, "each topic has both cores: {shards:?}");
    }
    let moved = image.partition(TopicPartition { topic_id: topic_id(1), partition: sluice_model::PartitionIndex(3) }).unwrap();
    let placement = moved.placement(BrokerId(1)).unwrap();
    assert_eq!(
        (placement.shard, placement.placement_epoch, moved.leader_epoch),
        (ShardIndex(1), PlacementEpoch(2), LeaderEpoch(2))
    );
    registered(&mut image, 3, 1);
    assert_eq!(loads(&image), [8]);
    let epochs = image.partitions().map(|(_, p)| p.placement(BrokerId(1)).unwrap().placement_epoch.0);
    assert_eq!(epochs.max(), Some(3), "there and back");
}

#[test]
fn a_repeated_registration_needs_nothing() {
    let image = with_topics(2, &[3]);
    assert_eq!(on_register_broker(&image, &register(1, 2)), Ok(Vec::new()));
}

#[test]
fn what_is_refused() {
    let image = one_broker(2);
    let refused = |request| on_register_broker(&image, &request).unwrap_err();
    let fenced = |got| Refusal::FencedIncarnation { broker: BrokerId(1), got, current: incarnation(1) };
    assert_eq!(refused(register(1, 3)), fenced(incarnation(1)));
    assert_eq!(refused(register(0, 2)), fenced(incarnation(0)));
    let copy = Incarnation { number: 1, random: 0 };
    assert_eq!(refused(RegisterBroker { incarnation: copy, ..register(1, 2) }), fenced(copy));
    let other = FolderId([1; 16]);
    let other_folder = Refusal::OtherFolder { broker: BrokerId(1), known: FOLDER, got: other };
    assert_eq!(refused(RegisterBroker { folder_id: other, ..register(2, 2) }), other_folder);
    assert_eq!(refused(register(2, 0)), Refusal::InvalidShardCount { got: 0, max: SHARDS_PER_BROKER_MAX });
    assert_eq!(refused(register(2, 1025)), Refusal::InvalidShardCount { got: 1025, max: SHARDS_PER_BROKER_MAX });
    let zero = RegisterBroker { broker: BrokerId(0), ..register(2, 2) };
    assert_eq!(refused(zero), Refusal::InvalidBrokerId { got: BrokerId(0) });
    for (host, port) in [("", 1), ("a b", 1), ("localhost", 0), (&"x".repeat(256), 1)] {
        let mut request = register(2, 2);
        request.addresses[1] = Address { host: host.into(), port };
        assert!(matches!(refused(request), Refusal::InvalidAddress { shard: 1, .. }), "{host}:{port}");
    }
}

mod in_cluster {
    use super::*;
    use crate::Recovered::Whole;
    use crate::record::BrokerIncarnationRegistered;
    use crate::testing::{Cluster, end};
    use crate::{CreateTopic, HeldPartitions, on_create_topic};
    use sluice_model::PartitionIndex;

    #[test]
    fn a_broker_begins_without_anything_and_keeps_its_rack() {
        let mut cluster = Cluster::with_racks(&[(1, Some("a")), (1, Some("b")), (1, None)]);
        cluster.create(1, 1, 3, 2).unwrap();
        cluster.register(1);
        let broker = cluster.image.broker(BrokerId(1)).unwrap();
        assert_eq!((broker.state, broker.rack.as_deref()), (BrokerState::Recovering, Some("a")));
        assert_eq!(cluster.shown(), "2@2 isr 2,3");
        let again = RegisterBroker { incarnation: broker.incarnation, ..cluster.registration(1, 1, Some("a")) };
        assert_eq!(on_register_broker(&cluster.image, &again), Ok(Vec::new()));
    }

    /// Whether the lease of the one before has ended or not.
    #[test]
    fn what_the_earlier_incarnation_was_trusted_with_is_inherited_on_the_same_folder_only() {
        for fenced_before in [false, true] {
            let mut cluster = Cluster::of_three(2);
            cluster.fence(3);
            cluster.fence(2);
            if fenced_before {
                cluster.fence(1);
            }
            cluster.register(1);
            assert_eq!(cluster.shown(), "-@2 isr 1 elr 2 last 1");
            cluster.register_fresh(1);
            assert_eq!(cluster.shown(), "-@2 isr 1 elr 2 damaged 1 last 1");
            cluster.register(1);
            assert_eq!(cluster.shown(), "-@2 isr 1 elr 2 damaged 1 last 1", "the fresh folder is the known one now");
        }
    }

    #[test]
    fn another_start_voids_what_the_one_before_has_reported() {
        let mut cluster = Cluster::of_three(2);
        [3, 2, 1].into_iter().for_each(|broker| drop(cluster.fence(broker)));
        cluster.register(2);
        cluster.report(2, &[(0, crate::Recovered::CutTornGroup { end: end(1, 5) })]);
        assert_eq!(cluster.shown(), "-@2 isr 1 elr 2 (2 has 1:5 cut) last 1");
        cluster.register(2);
        assert_eq!(cluster.shown(), "-@2 isr 1 elr 2 last 1");
    }

    #[test]
    fn another_shard_count_moves_replicas_and_changes_leaders_in_one_batch() {
        let mut cluster = Cluster::new(&[1, 1, 1]);
        cluster.create(1, 4, 3, 2).unwrap();
        let request = cluster.registration(1, 2, None);
        let records = cluster.run(|i| on_register_broker(i, &request)).unwrap();
        assert!(
            matches!(&records[0], Record::BrokerIncarnationRegistered(BrokerIncarnationRegistered { addresses, .. }) if addresses.len() == 2)
        );
        assert_eq!(crate::Batch::split(&records).len(), 1);
        let shards: Vec<_> = cluster.image.partitions().map(|(_, p)| p.placement(BrokerId(1)).unwrap().shard.0).collect();
        assert_eq!(shards.iter().filter(|&&shard| shard == 1).count(), 2, "{shards:?}");
        assert_eq!(cluster.image.led_by(BrokerId(1)).count(), 0);
        let held = HeldPartitions {
            incarnation_number: 9,
            placements: BTreeMap::from([(
                TopicPartition { topic_id: topic_id(1), partition: PartitionIndex(0) },
                Placement { shard: ShardIndex(1), placement_epoch: PlacementEpoch(7) },
            )]),
        };
        let request = RegisterBroker { held, ..cluster.registration(1, 2, None) };
        cluster.run(|i| on_register_broker(i, &request)).unwrap();
        let placement = cluster.image.partition(crate::testing::tp(0)).unwrap().placement(BrokerId(1)).unwrap();
        assert_eq!(placement.placement_epoch, PlacementEpoch(8));
    }

    #[test]
    fn what_is_refused() {
        let mut cluster = Cluster::of_three(2);
        let good = cluster.registration(1, 1, None);
        let refused = |request: RegisterBroker| on_register_broker(&cluster.image, &request).unwrap_err();
        let known = cluster.image.broker(BrokerId(1)).unwrap().folder_id;
        let other = RegisterBroker { folder_id: FOLDER, ..good.clone() };
        assert_eq!(refused(other.clone()), Refusal::OtherFolder { broker: BrokerId(1), known, got: FOLDER });
        let wrong = Start::InCluster { rack: None, replaces_folder: Some(FOLDER) };
        assert!(matches!(refused(RegisterBroker { start: wrong, ..other }), Refusal::OtherFolder { .. }));
        let taken = cluster.image.broker(BrokerId(2)).unwrap().folder_id;
        let start = Start::InCluster { rack: None, replaces_folder: Some(known) };
        let copy = RegisterBroker { folder_id: taken, start, ..good.clone() };
        assert_eq!(refused(copy), Refusal::FolderTaken { folder_id: taken, by: BrokerId(2) });
        for rack in [String::new(), "x".repeat(RACK_LEN_MAX + 1)] {
            let start = Start::InCluster { rack: Some(rack.clone()), replaces_folder: None };
            assert_eq!(refused(RegisterBroker { start, ..good.clone() }), Refusal::InvalidRack { got: rack });
        }
        let alone = RegisterBroker { start: Start::Alone, ..good };
        assert_eq!(refused(alone), Refusal::NotAlone { broker: BrokerId(1) });
        cluster.fence(3);
        let alone = RegisterBroker { start: Start::Alone, ..cluster.registration(3, 1, None) };
        assert_eq!(on_register_broker(&cluster.image, &alone), Err(Refusal::NotAlone { broker: BrokerId(3) }));
    }

    /// A broker that was alone joins a cluster: what it holds it goes on to hold, and others come.
    #[test]
    fn a_broker_that_was_alone_becomes_one_of_a_cluster() {
        let mut image = with_topics(1, &[1]);
        let in_cluster = Start::InCluster { rack: None, replaces_folder: None };
        let request = RegisterBroker { start: in_cluster.clone(), ..register(2, 1) };
        decide(&mut image, |i| on_register_broker(i, &request)).unwrap();
        let mut cluster = Cluster { image, log: Vec::new() };
        assert_eq!(cluster.shown(), "-@2 isr 1 last 1");
        cluster.report(1, &[(0, Whole { end: end(1, 3) })]);
        cluster.unfence(1);
        assert_eq!(cluster.shown(), "1@3 isr 1");
        for broker in [2, 3] {
            let request = cluster.registration(broker, 1, None);
            cluster.run(|i| on_register_broker(i, &request)).unwrap();
            cluster.report(broker, &[]);
            cluster.unfence(broker);
        }
        let request: CreateTopic = crate::testing::create(2, 1);
        cluster.run(|i| on_create_topic(i, &request)).unwrap();
        let (_, topic) = cluster.image.topic_by_name("topic-2").unwrap();
        assert_eq!((topic.replication_factor(), topic.min_insync()), (3, 2), "the defaults of a cluster");
    }
}
