use super::*;
use crate::record::{Placement, Replica};
use crate::testing::{FOLDER, incarnation, register, topic_id, with_topics};
use sluice_model::{PlacementEpoch, ShardIndex};

fn id(partition: u32) -> TopicPartition {
    TopicPartition { topic_id: topic_id(1), partition: PartitionIndex(partition) }
}

fn applied(image: &Image, record: Record) -> Result<(), ApplyError> {
    image.clone().apply_batch(&Batch { records: vec![record] })
}

fn replica(broker: u32, shard: u16, epoch: u32) -> Replica {
    let placement = Placement { shard: ShardIndex(shard), placement_epoch: PlacementEpoch(epoch) };
    Replica { broker: BrokerId(broker), placement }
}

#[test]
fn each_record_that_does_not_follow_is_an_error() {
    let image = with_topics(2, &[2]);
    let (known, unknown) = (topic_id(1), topic_id(9));
    let state = image.partition(id(0)).unwrap().as_version_1().unwrap();
    let broker = |incarnation, addresses| {
        Record::BrokerRegistered(BrokerRegistered { broker: BrokerId(1), incarnation, folder_id: FOLDER, addresses })
    };
    let topic = |topic_id, name: &str, partitions| {
        Record::TopicCreated(TopicCreated { topic_id, name: name.into(), settings: Vec::new(), partitions })
    };
    let added = |topic_id, first, partitions| {
        Record::PartitionsAdded(PartitionsAdded { topic_id, first: PartitionIndex(first), partitions })
    };
    let settings = vec![crate::record::SettingOverride { code: 77, value: 1 }];
    let ids =
        |first| Record::ProducerIdsAllocated(ProducerIdsAllocated { broker: BrokerId(1), first: ProducerId(first), count: 1 });
    let one = vec![state.clone()];
    let not_next = |topic_id, first, current| ApplyError::PartitionsNotNext { topic_id, first: PartitionIndex(first), current };
    let table = [
        (
            broker(incarnation(1), register(1, 1).addresses),
            ApplyError::IncarnationNotNewer { broker: BrokerId(1), got: incarnation(1), current: incarnation(1) },
        ),
        (broker(incarnation(2), Vec::new()), ApplyError::NoShards { broker: BrokerId(1) }),
        (broker(incarnation(2), register(1, 1).addresses), ApplyError::NoSuchShard { id: id(1), broker: BrokerId(1) }),
        (topic(known, "other", one.clone()), ApplyError::TopicIdTaken { topic_id: known }),
        (topic(unknown, "topic-1", one.clone()), ApplyError::TopicNameTaken { name: "topic-1".into() }),
        (topic(unknown, "other", Vec::new()), not_next(unknown, 0, 0)),
        (Record::TopicDeleted(TopicDeleted { topic_id: unknown }), ApplyError::UnknownTopic { topic_id: unknown }),
        (Record::TopicPurged(TopicPurged { topic_id: known }), ApplyError::NotDeleted { topic_id: known }),
        (
            Record::TopicSettingsChanged(TopicSettingsChanged { topic_id: known, settings }),
            ApplyError::UnknownSetting { code: 77 },
        ),
        (added(unknown, 0, one.clone()), ApplyError::UnknownTopic { topic_id: unknown }),
        (added(known, 1, one.clone()), not_next(known, 1, 2)),
        (added(known, 3, one.clone()), not_next(known, 3, 2)),
        (added(known, 2, Vec::new()), not_next(known, 2, 2)),
        (
            Record::PartitionChanged(PartitionChanged { topic_id: known, partition: PartitionIndex(2), state }),
            ApplyError::UnknownPartition { id: id(2) },
        ),
        (ids(1), ApplyError::ProducerIdsNotNext { first: ProducerId(1), next: ProducerId(0) }),
        (ids(-1), ApplyError::ProducerIdsNotNext { first: ProducerId(-1), next: ProducerId(0) }),
    ];
    for (record, error) in table {
        assert_eq!(applied(&image, record.clone()), Err(error), "{record:?}");
    }
}

#[test]
fn each_rule_of_a_partition_is_kept() {
    let image = with_topics(2, &[1]);
    let good = image.partition(id(0)).unwrap().as_version_1().unwrap();
    let b = BrokerId;
    type Breaking<'a> = &'a dyn Fn(&mut Partition);
    let broken: [(&str, Breaking<'_>); 8] = [
        ("there are replicas", &|p| p.replicas.clear()),
        ("a broker holds one replica", &|p| p.replicas.push(replica(1, 1, 1))),
        ("in-sync set and eligible leaders ascend", &|p| p.isr = vec![b(1), b(1)]),
        ("in-sync set and eligible leaders are replicas", &|p| p.eligible_leader_replicas = vec![b(2)]),
        ("an eligible leader is not in the in-sync set", &|p| p.eligible_leader_replicas = vec![b(1)]),
        ("the leader is in the in-sync set", &|p| p.isr.clear()),
        ("leader epochs begin at 1", &|p| p.leader_epoch = LeaderEpoch(0)),
        ("placement epochs begin at 1", &|p| p.replicas[0].placement.placement_epoch = PlacementEpoch(0)),
    ];
    let changed = |state: &Partition| {
        let (topic_id, partition) = (topic_id(1), PartitionIndex(0));
        applied(&image, Record::PartitionChanged(PartitionChanged { topic_id, partition, state: state.clone() }))
    };
    for (rule, breaking) in broken {
        let mut state = good.clone();
        breaking(&mut state);
        assert_eq!(changed(&state), Err(ApplyError::MalformedPartition { id: id(0), rule }));
    }
    assert_eq!(changed(&good), Ok(()));
    let mut elsewhere = good.clone();
    elsewhere.replicas[0] = replica(1, 1, 1);
    let same_epoch = ApplyError::PlacementEpoch { id: id(0), from: PlacementEpoch(1), to: PlacementEpoch(1) };
    assert_eq!(changed(&elsewhere), Err(same_epoch));
    elsewhere.replicas[0] = replica(1, 2, 2);
    assert_eq!(changed(&elsewhere), Err(ApplyError::NoSuchShard { id: id(0), broker: b(1) }));
    elsewhere.replicas[0] = replica(1, 1, 2);
    assert_eq!(changed(&elsewhere), Ok(()));
    let leaderless = Partition { leader: None, ..good.clone() };
    let same_epoch = ApplyError::LeaderEpoch { id: id(0), from: LeaderEpoch(1), to: LeaderEpoch(1) };
    assert_eq!(changed(&leaderless), Err(same_epoch));
    assert_eq!(changed(&Partition { leader_epoch: LeaderEpoch(2), ..leaderless }), Ok(()));
}
