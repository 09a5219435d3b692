use super::*;
use crate::identity::ClusterId;
use crate::testing::{create, decide, loads, one_broker, shards_of, topic_id, with_topics};
use crate::topic_name::NameFault;

#[test]
fn partitions_are_spread_and_go_on_where_the_least_lies() {
    let image = with_topics(3, &[4, 1, 4, 3]);
    assert_eq!(shards_of(&image, 1), [0, 1, 2, 0]);
    assert_eq!(shards_of(&image, 2), [1]);
    assert_eq!(shards_of(&image, 3), [2, 0, 1, 2]);
    assert_eq!(shards_of(&image, 4), [0, 1, 2]);
    assert_eq!(loads(&image), [4, 4, 4]);
}

#[test]
fn a_busy_shard_does_not_cost_a_topic_its_cores() {
    let mut image = with_topics(2, &[1, 1, 1, 1]);
    for name in ["topic-2", "topic-4"] {
        let request = crate::DeleteTopic { name: name.into() };
        decide(&mut image, |i| crate::on_delete_topic(i, &request)).unwrap();
    }
    assert_eq!(loads(&image), [2, 0]);
    decide(&mut image, |i| on_create_topic(i, &create(9, 3))).unwrap();
    assert_eq!(shards_of(&image, 9), [1, 0, 1]);
}

#[test]
fn a_new_topic_has_what_was_asked_for() {
    let mut image = one_broker(1);
    let mut request = create(5, 2);
    request.settings = vec![("retention_ms".into(), "1h".into())];
    decide(&mut image, |i| on_create_topic(i, &request)).unwrap();
    let (id, topic) = image.topic_by_name("topic-5").unwrap();
    assert_eq!((id, topic.partitions.len(), topic.settings.retention_ms()), (topic_id(5), 2, Some(3_600_000)));
    for partition in &topic.partitions {
        assert_eq!((partition.leader, partition.leader_epoch.0), (Some(sluice_model::BrokerId(1)), 1));
    }
}

#[test]
fn what_is_refused() {
    let mut image = with_topics(1, &[1, 1]);
    decide(&mut image, |i| crate::on_delete_topic(i, &crate::DeleteTopic { name: "topic-2".into() })).unwrap();
    let refused = |request| on_create_topic(&image, &request).unwrap_err();
    let dots = Refusal::InvalidTopicName { name: "..".into(), fault: NameFault::Dots };
    assert_eq!(refused(CreateTopic { name: "..".into(), ..create(3, 1) }), dots);
    assert_eq!(refused(create(1, 1)), Refusal::TopicExists { name: "topic-1".into(), topic_id: topic_id(1) });
    for got in [0, PARTITIONS_PER_TOPIC_MAX + 1, u32::MAX] {
        assert_eq!(refused(create(3, got)), Refusal::InvalidPartitionCount { got, max: PARTITIONS_PER_TOPIC_MAX });
    }
    for taken in [0, 1, 2] {
        let request = CreateTopic { topic_id: topic_id(taken), ..create(3, 1) };
        assert_eq!(refused(request), Refusal::TopicIdTaken { topic_id: topic_id(taken) });
    }
    let unknown = CreateTopic { settings: vec![("x".into(), "1".into())], ..create(3, 1) };
    assert!(matches!(refused(unknown), Refusal::UnknownSetting { .. }));
    let empty = Image::new(ClusterId([0; 16]));
    assert_eq!(on_create_topic(&empty, &create(1, 1)), Err(Refusal::NoBrokers));
}

#[test]
fn a_cluster_has_room_for_so_many_partitions() {
    let mut image = with_topics(1, &[PARTITIONS_PER_TOPIC_MAX; 9]);
    decide(&mut image, |i| on_create_topic(i, &create(10, PARTITIONS_PER_TOPIC_MAX - 1))).unwrap();
    let got = PARTITIONS_PER_CLUSTER_MAX + 1;
    let refused = on_create_topic(&image, &create(11, 2));
    assert_eq!(refused, Err(Refusal::TooManyPartitions { got, max: PARTITIONS_PER_CLUSTER_MAX }));
    decide(&mut image, |i| on_create_topic(i, &create(11, 1))).unwrap();
    let restart = decide(&mut image, |i| crate::on_register_broker(i, &crate::testing::register(2, 3))).unwrap();
    let len = crate::Batch { records: restart }.encode().len();
    assert!(len < crate::batch::BATCH_LEN_MAX / 4, "a start of a full broker is one entry of {len} bytes");
    let loads = loads(&image);
    assert!(loads.iter().all(|&load| load.abs_diff(PARTITIONS_PER_CLUSTER_MAX / 3) <= 1), "{loads:?}");
}
