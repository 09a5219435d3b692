use super::*;
use crate::testing::{create, decide, one_broker, topic_id};
use crate::{DeleteTopic, HeldPartitions, on_create_topic, on_delete_topic, on_register_broker};
use sluice_model::TopicPartition;

fn found(partitions: &[(u32, u16, u32, u32)]) -> BTreeMap<PartitionIndex, FoundPartition> {
    let one = |&(index, shard, placement_epoch, leader_epoch)| {
        let (placement_epoch, leader_epoch) = (PlacementEpoch(placement_epoch), LeaderEpoch(leader_epoch));
        (PartitionIndex(index), FoundPartition { shard: ShardIndex(shard), placement_epoch, leader_epoch })
    };
    partitions.iter().map(one).collect()
}

fn adopt(partitions: &[(u32, u16, u32, u32)]) -> AdoptTopic {
    AdoptTopic {
        topic_id: topic_id(9),
        name: Some("back".into()),
        settings: Vec::new(),
        broker: BrokerId(1),
        found: found(partitions),
    }
}

/// Shard, placement epoch and leader epoch of each partition of topic 9.
fn placed(image: &Image, topic: u8) -> Vec<(u16, u32, u32)> {
    let placed = |p: &std::sync::Arc<crate::PartitionState>| {
        let placement = p.placement(BrokerId(1)).unwrap();
        (placement.shard.0, placement.placement_epoch.0, p.leader_epoch.0)
    };
    image.topic(topic_id(topic)).unwrap().partitions.iter().map(placed).collect()
}

#[test]
fn an_adopted_topic_lies_where_its_data_does_and_begins_above_every_epoch_found() {
    let mut image = one_broker(2);
    decide(&mut image, |i| on_adopt_topic(i, &adopt(&[(0, 1, 3, 7), (2, 5, 1, 0)]))).unwrap();
    // Partition 1 was not found, and shard 5 is not there any more: that one moves.
    assert_eq!(placed(&image, 9), [(1, 4, 8), (1, 1, 2), (1, 2, 2)]);
    let (_, topic) = image.topic_by_name("back").unwrap();
    assert_eq!((topic.settings.retention_ms(), topic.settings.retention_bytes()), (None, None));
    decide(&mut image, |i| on_delete_topic(i, &DeleteTopic { name: "back".into() })).unwrap();
    let (_, tombstone) = image.deleted_topics().next().unwrap();
    assert_eq!(tombstone.first_incarnation(BrokerId(1)), 0, "it was there before it was created");
}

#[test]
fn settings_given_stand_above_keeping_everything() {
    let mut image = one_broker(1);
    let request = AdoptTopic { settings: vec![("retention_ms".into(), "1d".into())], ..adopt(&[(0, 0, 1, 1)]) };
    decide(&mut image, |i| on_adopt_topic(i, &request)).unwrap();
    let (_, topic) = image.topic_by_name("back").unwrap();
    assert_eq!((topic.settings.retention_ms(), topic.settings.retention_bytes()), (Some(86_400_000), None));
}

#[test]
fn a_known_topic_takes_its_further_partitions_and_nothing_else() {
    let mut image = one_broker(1);
    decide(&mut image, |i| on_create_topic(i, &create(9, 2))).unwrap();
    let request = AdoptTopic { name: None, ..adopt(&[(1, 0, 1, 1), (3, 0, 2, 4)]) };
    let named = AdoptTopic { name: Some("other".into()), ..request.clone() };
    let known = Refusal::TopicIsKnown { topic_id: topic_id(9), name: "topic-9".into() };
    assert_eq!(on_adopt_topic(&image, &named), Err(known.clone()));
    decide(&mut image, |i| on_adopt_topic(i, &request)).unwrap();
    assert_eq!(placed(&image, 9), [(0, 1, 1), (0, 1, 1), (0, 1, 2), (0, 3, 5)]);
    assert_eq!(on_adopt_topic(&image, &request), Err(Refusal::NothingToAdopt { topic_id: topic_id(9) }));
    let remove = RemoveOrphan { topic_id: topic_id(9), broker: BrokerId(1) };
    assert_eq!(on_remove_orphan(&image, &remove), Err(known));
}

#[test]
fn what_is_refused() {
    let mut image = one_broker(1);
    decide(&mut image, |i| on_create_topic(i, &create(1, 1))).unwrap();
    let refused = |request: AdoptTopic| on_adopt_topic(&image, &request).unwrap_err();
    let taken = AdoptTopic { name: Some("topic-1".into()), ..adopt(&[(0, 0, 1, 1)]) };
    assert_eq!(refused(taken), Refusal::TopicExists { name: "topic-1".into(), topic_id: topic_id(1) });
    let unnamed = AdoptTopic { name: None, ..adopt(&[(0, 0, 1, 1)]) };
    assert!(matches!(refused(unnamed), Refusal::InvalidTopicName { .. }));
    assert!(matches!(refused(adopt(&[(u32::MAX, 0, 1, 1)])), Refusal::InvalidPartitionCount { .. }));
    assert_eq!(refused(adopt(&[])), Refusal::NothingToAdopt { topic_id: topic_id(9) });
    let elsewhere = AdoptTopic { broker: BrokerId(2), ..adopt(&[(0, 0, 1, 1)]) };
    assert_eq!(refused(elsewhere), Refusal::UnknownBroker { broker: BrokerId(2) });
}

#[test]
fn a_removed_orphan_is_a_tombstone_that_may_be_named_by_anything_older() {
    let mut image = one_broker(1);
    let remove = RemoveOrphan { topic_id: topic_id(9), broker: BrokerId(1) };
    decide(&mut image, |i| on_remove_orphan(i, &remove)).unwrap();
    assert!(image.is_deleted(topic_id(9)) && image.topics().next().is_none() && image.partition_count() == 0);
    let (_, tombstone) = image.deleted_topics().next().unwrap();
    assert_eq!((tombstone.first_incarnation(BrokerId(1)), tombstone.last_incarnation(BrokerId(1))), (0, 1));
    let deleted = Refusal::TopicDeleted { topic_id: topic_id(9) };
    assert_eq!(on_remove_orphan(&image, &remove), Err(deleted.clone()));
    assert_eq!(on_adopt_topic(&image, &adopt(&[(0, 0, 1, 1)])), Err(deleted));
}

#[test]
fn an_older_copy_of_the_metadata_begins_above_what_was_used_since() {
    // The copy knows start 1; the folder was used up to start 7, and partition 0 has moved meanwhile.
    let mut image = one_broker(2);
    decide(&mut image, |i| on_create_topic(i, &create(9, 3))).unwrap();
    let at = |partition, shard, epoch| {
        let id = TopicPartition { topic_id: topic_id(9), partition: PartitionIndex(partition) };
        (id, crate::Placement { shard: ShardIndex(shard), placement_epoch: PlacementEpoch(epoch) })
    };
    let placements = BTreeMap::from([at(0, 1, 4), at(1, 0, 1), at(2, 0, 1)]);
    let held = HeldPartitions { incarnation_number: 7, placements };
    let request = crate::RegisterBroker { held, ..crate::testing::register(9, 2) };
    decide(&mut image, |i| on_register_broker(i, &request)).unwrap();
    // 1 lies elsewhere under the same epoch, 2 is where it should be.
    assert_eq!(placed(&image, 9), [(0, 5, 8), (1, 2, 8), (0, 1, 8)]);
}

#[test]
fn a_broker_that_may_not_lead_adopts_nothing() {
    let mut cluster = crate::testing::Cluster::new(&[1, 1, 1]);
    cluster.fence(1);
    let refused = on_adopt_topic(&cluster.image, &adopt(&[(0, 0, 1, 1)]));
    assert_eq!(refused, Err(Refusal::BrokerFenced { broker: BrokerId(1) }));
    cluster.unfence(1);
    cluster.run(|i| on_adopt_topic(i, &adopt(&[(0, 0, 1, 1)]))).unwrap();
}
