use super::*;
use crate::testing::{Cluster, topic_id};
use proptest::prelude::*;

/// `broker.shard` of each replica, leader first, a partition per word.
fn table(image: &Image, topic: u8) -> String {
    let partition = |p: &std::sync::Arc<crate::PartitionState>| {
        let slots: Vec<_> = p.replicas.iter().map(|r| format!("{}.{}", r.broker, r.placement.shard)).collect();
        slots.join("-")
    };
    image.topic(topic_id(topic)).unwrap().partitions.iter().map(partition).collect::<Vec<_>>().join(" ")
}

#[test]
fn golden_assignments() {
    let (a, b, c) = (Some("a"), Some("b"), Some("c"));
    type Row<'a> = (&'a [(u16, Option<&'a str>)], &'a [(u32, u32)], &'a [&'a str]);
    let rows: [Row<'_>; 7] = [
        (
            &[(1, None), (1, None), (1, None)],
            &[(6, 3), (2, 1)],
            &["1.0-2.0-3.0 2.0-1.0-3.0 3.0-1.0-2.0 1.0-3.0-2.0 2.0-3.0-1.0 3.0-2.0-1.0", "1.0 2.0"],
        ),
        (
            &[(2, None), (2, None), (2, None)],
            &[(6, 3)],
            &["1.0-2.0-3.0 2.1-1.1-3.1 3.0-1.0-2.0 1.1-3.1-2.1 2.0-3.0-1.0 3.1-2.1-1.1"],
        ),
        (&[(1, None); 4], &[(8, 2)], &["1.0-2.0 3.0-4.0 2.0-1.0 4.0-3.0 1.0-3.0 2.0-4.0 3.0-1.0 4.0-2.0"]),
        (
            &[(1, None); 5],
            &[(10, 3)],
            &[
                "1.0-2.0-3.0 4.0-5.0-1.0 2.0-3.0-4.0 5.0-1.0-2.0 3.0-4.0-5.0 1.0-3.0-4.0 2.0-5.0-1.0 3.0-2.0-4.0 5.0-2.0-3.0 4.0-1.0-5.0",
            ],
        ),
        (
            &[(1, a), (1, a), (1, b), (1, b), (1, c), (1, c)],
            &[(6, 3)],
            &["1.0-3.0-5.0 2.0-4.0-6.0 3.0-1.0-5.0 4.0-2.0-6.0 5.0-1.0-3.0 6.0-2.0-4.0"],
        ),
        (&[(1, a), (1, a), (1, b)], &[(4, 2)], &["1.0-3.0 2.0-3.0 3.0-1.0 2.0-3.0"]),
        (&[(4, None), (2, None)], &[(6, 1), (3, 2)], &["1.0 1.1 2.0 1.2 1.3 2.1", "1.0-2.0 1.1-2.1 2.0-1.2"]),
    ];
    for (brokers, topics, expected) in rows {
        let mut cluster = Cluster::with_racks(brokers);
        for (topic, &(partitions, replicas)) in (1..).zip(topics) {
            cluster.create(topic, partitions, replicas, 1).unwrap();
        }
        let tables: Vec<_> = (1..).zip(topics).map(|(topic, _)| table(&cluster.image, topic)).collect();
        assert_eq!(tables, expected, "{brokers:?} {topics:?}");
    }
}

#[test]
fn what_is_refused_says_how_many_brokers_there_are_and_what_is_wanted() {
    let mut cluster = Cluster::new(&[1, 1, 1]);
    let refused = |cluster: &mut Cluster, replicas, min| cluster.create(9, 1, replicas, min).unwrap_err();
    let too_many = refused(&mut cluster, 4, 1);
    assert_eq!(too_many, Refusal::NotEnoughBrokers { wanted: 4, registered: 3 });
    assert_eq!(too_many.to_string(), "4 replicas want 4 brokers; there are 3 brokers");
    cluster.fence(3);
    cluster.fence(2);
    let too_few = refused(&mut cluster, 3, 2);
    assert_eq!(too_few, Refusal::NotEnoughActiveBrokers { wanted: 2, active: 1, registered: 3 });
    assert_eq!(too_few.to_string(), "2 brokers have to be active for the topic to take records; of 3 there is 1 active");
    cluster.fence(1);
    assert_eq!(refused(&mut cluster, 1, 1), Refusal::NotEnoughActiveBrokers { wanted: 1, active: 0, registered: 3 });
}

#[test]
fn brokers_that_are_not_active_hold_replicas_only_where_the_others_are_too_few() {
    let mut cluster = Cluster::new(&[1, 1, 1, 1]);
    cluster.fence(1);
    cluster.create(1, 3, 3, 2).unwrap();
    assert_eq!(table(&cluster.image, 1), "2.0-3.0-4.0 3.0-2.0-4.0 4.0-2.0-3.0");
    cluster.fence(4);
    cluster.create(2, 4, 3, 2).unwrap();
    for partition in &cluster.image.topic(topic_id(2)).unwrap().partitions {
        assert_eq!(partition.isr, [BrokerId(2), BrokerId(3)]);
        assert!(partition.leader.is_some_and(|leader| partition.isr.contains(&leader)));
        assert_eq!(partition.replicas.len(), 3);
    }
}

#[test]
fn partitions_that_are_added_have_as_many_replicas_and_go_where_the_least_of_the_topic_lies() {
    let mut cluster = Cluster::new(&[1, 1, 1]);
    cluster.create(1, 2, 2, 1).unwrap();
    let before = table(&cluster.image, 1);
    let request = crate::testing::alter(1, Some(3), &[]);
    cluster.run(|i| crate::on_alter_topic(i, &request)).unwrap();
    assert_eq!(table(&cluster.image, 1), format!("{before} 2.0-3.0"));
}

/// Greatest and least of some counts.
fn spread(counts: impl IntoIterator<Item = usize>) -> usize {
    let counts: Vec<_> = counts.into_iter().collect();
    counts.iter().max().unwrap() - counts.iter().min().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn leaders_and_replicas_are_spread_over_equal_brokers(
        brokers in 1usize..8,
        shards in 1u16..4,
        topics in prop::collection::vec((1u32..30, 1u32..5), 1..5),
    ) {
        let mut cluster = Cluster::new(&vec![shards; brokers]);
        for (topic, &(partitions, replicas)) in (1..).zip(&topics) {
            let replicas = replicas.min(u32::try_from(brokers).unwrap());
            cluster.create(topic, partitions, replicas, 1).unwrap();
            let partitions = &cluster.image.topic(topic_id(topic)).unwrap().partitions;
            let ids = || cluster.image.brokers().map(|(id, _)| id);
            let led = |b| partitions.iter().filter(|p| p.leader == Some(b)).count();
            let held = |b| partitions.iter().filter(|p| p.is_replica(b)).count();
            let on = |b, shard| partitions.iter().filter(|p| p.placement(b).is_some_and(|at| at.shard == shard)).count();
            prop_assert!(spread(ids().map(led)) <= 1, "leaders: {}", table(&cluster.image, topic));
            prop_assert!(spread(ids().map(held)) <= 2, "replicas: {}", table(&cluster.image, topic));
            for b in ids() {
                let counts = (0..shards).map(|shard| on(b, ShardIndex(shard)));
                prop_assert!(spread(counts) <= 2, "shards of {}: {}", b, table(&cluster.image, topic));
                let leads = |shard| partitions.iter().filter(move |p| p.leader == Some(b) && p.replicas[0].placement.shard == shard);
                let counts = (0..shards).map(|shard| leads(ShardIndex(shard)).count());
                prop_assert!(spread(counts) <= 1, "leaders of {}: {}", b, table(&cluster.image, topic));
            }
        }
    }

    #[test]
    fn replicas_are_on_as_many_racks_as_there_are(
        racks in prop::collection::vec(0usize..3, 3..8),
        partitions in 1u32..20,
        replicas in 1u32..4,
    ) {
        const NAMES: [Option<&str>; 3] = [Some("a"), Some("b"), Some("c")];
        let brokers: Vec<_> = racks.iter().map(|&rack| (1, NAMES[rack])).collect();
        let mut cluster = Cluster::with_racks(&brokers);
        cluster.create(1, partitions, replicas, 1).unwrap();
        let there = (0..3).filter(|rack| racks.contains(rack)).count();
        for partition in &cluster.image.topic(topic_id(1)).unwrap().partitions {
            let rack = |r: &crate::Replica| racks[r.broker.0 as usize - 1];
            let mut on: Vec<_> = partition.replicas.iter().map(rack).collect();
            on.sort_unstable();
            on.dedup();
            prop_assert_eq!(on.len(), there.min(replicas as usize), "{}", table(&cluster.image, 1));
        }
        let led: Vec<_> = cluster.image.brokers().map(|(b, _)| cluster.image.led_by(b).count()).collect();
        prop_assert!(spread(led.iter().copied()) <= 1, "leaders: {:?}", led);
    }
}
