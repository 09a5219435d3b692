//! Administration.

mod support;

use sluice_client::*;
use support::FakeBroker;

#[tokio::test]
async fn topics_are_created_listed_altered_and_deleted() {
    let broker = FakeBroker::start(&[("a", 1), ("b", 2), ("c", 3), ("e", 1)], 2).await;
    let admin = Admin::new(broker.client().await);
    admin.create_topic("d", 4, &[("retention_ms".into(), "1000".into())]).await.unwrap();
    let again = admin.create_topic("d", 4, &[]).await.unwrap_err();
    assert_eq!(
        (again.code(), again.to_string()),
        (Some(ErrorCode::TopicExists), "the broker answered TopicExists: there is one".into())
    );
    let topics = admin.list_topics().await.unwrap();
    let names: Vec<_> = topics.iter().map(|t| (&*t.name, t.partitions.len())).collect();
    assert_eq!(names, [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 1)]);
    assert_eq!(topics[3].partitions[3].shard, 1);
    admin.alter_topic("d", &[("x".into(), "y".into())], Some(6)).await.unwrap();
    let described = admin.describe_topic("d").await.unwrap();
    assert_eq!((described.partitions.len(), described.settings.len()), (6, 1));
    admin.delete_topic("d").await.unwrap();
    assert_eq!(admin.describe_topic("d").await.unwrap_err().code(), Some(ErrorCode::UnknownTopic));
    assert_eq!(admin.cluster().await.unwrap().shards.len(), 2);
}

#[tokio::test]
async fn partitions_are_asked_at_their_shards() {
    let broker = FakeBroker::start(&[("t", 4)], 2).await;
    let client = broker.client().await;
    let producer = Producer::new(client.clone(), ProducerConfig::default()).await.unwrap();
    for partition in [0, 1, 1, 3] {
        producer.send(ProducerRecord::new("t", b"x").with_partition(partition)).await.unwrap();
    }
    producer.close().await;
    let admin = Admin::new(client);
    let wanted: Vec<_> = (0..4).rev().map(|p| ("t", p, StartAt::End)).collect();
    let offsets: Vec<u64> = admin.list_offsets(&wanted).await.unwrap().iter().map(|o| o.offset).collect();
    assert_eq!(offsets, [1, 0, 2, 1]);
    let described = admin.describe_partitions(&[("t", 1), ("t", 0)]).await.unwrap();
    assert_eq!(described.iter().map(|d| d.log_end_offset).collect::<Vec<_>>(), [2, 1]);
    let missing = admin.describe_partitions(&[("t", 7)]).await.unwrap_err();
    assert!(missing.to_string().contains("has 4 partitions"), "{missing}");
}
