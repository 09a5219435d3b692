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
