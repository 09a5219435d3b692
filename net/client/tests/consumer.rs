//! The consumer: every record in order, once, or an error that names what cannot be read.

mod support;

use sluice_client::*;
use std::time::Duration;
use support::{FakeBroker, LONG};

/// What is polled within a moment is there; nothing more is waited for.
const MOMENT: Duration = Duration::from_millis(200);

async fn fill(broker: &FakeBroker, partition: u32, count: usize, config: ProducerConfig) {
    let producer = Producer::new(broker.client().await, config).await.unwrap();
    for n in 0..count {
        let value = format!("p{partition}-{n}");
        let record = ProducerRecord { timestamp_ms: Some(1000 + n as i64), ..ProducerRecord::new("t", value.as_bytes()) };
        producer.send(record.with_partition(partition)).await.unwrap();
    }
    producer.close().await;
}

fn batches_of(records: usize) -> ProducerConfig {
    // A record of these tests takes about 15 bytes.
    ProducerConfig { batch_len_max: records * 15, linger_ms: 1000, ..Default::default() }
}

async fn consumer(broker: &FakeBroker, config: ConsumerConfig, starts: &[(u32, StartAt)]) -> Consumer {
    let consumer = Consumer::new(broker.client().await, config).unwrap();
    let assignments: Vec<Assignment> =
        starts.iter().map(|&(partition, start)| Assignment { topic: "t".into(), partition, start }).collect();
    consumer.assign(&assignments).await.unwrap();
    consumer
}

/// Polls until `count` records came; their partitions, offsets and values.
async fn take(consumer: &mut Consumer, count: usize) -> Vec<(u32, u64, String)> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let batch = consumer.poll(LONG).await.unwrap().expect("there is more");
        for record in batch.records() {
            let value = String::from_utf8(record.value_bytes().unwrap().to_vec()).unwrap();
            taken.push((batch.partition(), record.offset, value));
        }
    }
    assert_eq!(taken.len(), count);
    taken
}

fn expected(partition: u32, offsets: std::ops::Range<u64>) -> Vec<(u32, u64, String)> {
    offsets.map(|n| (partition, n, format!("p{partition}-{n}"))).collect()
}

#[tokio::test]
async fn all_partitions_of_all_shards_are_read_in_order() {
    let broker = FakeBroker::start(&[("t", 5)], 2).await;
    for partition in 0..5 {
        fill(&broker, partition, 200, batches_of(7)).await;
    }
    let starts: Vec<_> = (0..5).map(|p| (p, StartAt::Beginning)).collect();
    let mut consumer = consumer(&broker, ConsumerConfig::default(), &starts).await;
    let mut taken = take(&mut consumer, 1000).await;
    taken.sort_by_key(|t| t.0);
    assert_eq!(taken, (0..5).flat_map(|p| expected(p, 0..200)).collect::<Vec<_>>());
    assert!(consumer.poll(MOMENT).await.unwrap().is_none());
    assert_eq!((consumer.position("t", 3), consumer.high_watermark("t", 3)), (Some(200), Some(200)));
}

#[tokio::test]
async fn a_parked_fetch_is_answered_by_what_comes() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    let mut consumer =
        consumer(&broker, ConsumerConfig { fetch_wait_ms_max: 60_000, ..Default::default() }, &[(0, StartAt::End)]).await;
    let polled = tokio::spawn(async move { take(&mut consumer, 3).await });
    while broker.state().fetches == 0 {
        tokio::task::yield_now().await;
    }
    fill(&broker, 0, 3, batches_of(3)).await;
    assert_eq!(polled.await.unwrap(), expected(0, 0..3));
}

#[tokio::test]
async fn it_seeks_by_offset_time_and_to_both_ends() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    fill(&broker, 0, 100, batches_of(10)).await;
    let mut consumer = consumer(&broker, ConsumerConfig::default(), &[(0, StartAt::Offset(55))]).await;
    assert_eq!(take(&mut consumer, 45).await, expected(0, 55..100));
    consumer.seek("t", 0, StartAt::Offset(98)).await.unwrap();
    assert_eq!(take(&mut consumer, 2).await, expected(0, 98..100));
    consumer.seek("t", 0, StartAt::Beginning).await.unwrap();
    assert_eq!(take(&mut consumer, 100).await, expected(0, 0..100));
    consumer.seek("t", 0, StartAt::Timestamp(1042)).await.unwrap();
    assert_eq!(take(&mut consumer, 58).await, expected(0, 42..100));
    consumer.seek("t", 0, StartAt::End).await.unwrap();
    assert!(consumer.poll(MOMENT).await.unwrap().is_none());
    let missing = consumer.seek("t", 9, StartAt::End).await.unwrap_err();
    assert!(missing.to_string().contains("numbered from 0"), "{missing}");
}

/// Two batches of records with timestamps in no order.
async fn fill_unordered(broker: &FakeBroker) {
    let producer = Producer::new(broker.client().await, ProducerConfig { linger_ms: 1000, ..Default::default() }).await.unwrap();
    for timestamps in [&[5i64, 9, 3, 9, 1][..], &[2, 20, 4]] {
        for &timestamp_ms in timestamps {
            let record = ProducerRecord { timestamp_ms: Some(timestamp_ms), ..ProducerRecord::new("t", b"x") };
            producer.send(record).await.unwrap();
        }
        producer.flush().await;
    }
    producer.close().await;
    assert_eq!(broker.state().topics["t"].partitions[0].frames.len(), 2);
}

#[tokio::test]
async fn a_time_begins_at_the_first_record_that_is_not_older_and_nothing_after_it_is_left_out() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    fill_unordered(&broker).await;
    let offsets = async |at_ms, until: u64| {
        let consumer = consumer(&broker, ConsumerConfig::default(), &[(0, StartAt::Timestamp(at_ms))]).await;
        let (mut stream, mut offsets) = (consumer.stream(), Vec::new());
        while offsets.last() != Some(&(until - 1)) {
            let record = tokio::time::timeout(LONG, stream.next()).await.expect("a record comes").unwrap().unwrap();
            assert_eq!(consumer.position("t", 0), Some(record.offset + 1));
            offsets.push(record.offset);
        }
        offsets
    };
    for (at_ms, first) in [(0, 0), (5, 0), (6, 1), (9, 1), (10, 6), (20, 6)] {
        assert_eq!(offsets(at_ms, 8).await, (first..8).collect::<Vec<_>>(), "from {at_ms}");
    }
    // The broker knows its batch by the record at 1, which is gone: no other of it is as new, and the next batch has one.
    Admin::new(broker.client().await).delete_records("t", 0, 4).await.unwrap();
    assert_eq!(offsets(3, 8).await, [6, 7]);
}

#[tokio::test]
async fn a_time_that_no_record_has_reached_is_the_end() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    fill_unordered(&broker).await;
    let mut consumer = consumer(&broker, ConsumerConfig::default(), &[(0, StartAt::Timestamp(21))]).await;
    let producer = Producer::new(broker.client().await, ProducerConfig::default()).await.unwrap();
    let record = ProducerRecord { timestamp_ms: Some(7), ..ProducerRecord::new("t", b"new") };
    producer.send(record).await.unwrap();
    assert_eq!(take(&mut consumer, 1).await, [(0, 8, "new".to_owned())]);
}

#[tokio::test]
async fn records_below_the_log_start_are_not_handed_out() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    fill(&broker, 0, 50, batches_of(20)).await;
    let admin = Admin::new(broker.client().await);
    assert_eq!(admin.delete_records("t", 0, 33).await.unwrap(), 33);
    let mut consumer = consumer(&broker, ConsumerConfig::default(), &[(0, StartAt::Beginning)]).await;
    assert_eq!(take(&mut consumer, 17).await, expected(0, 33..50));
}

#[tokio::test]
async fn an_offset_out_of_range_is_an_error_or_follows_the_policy() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    fill(&broker, 0, 20, batches_of(5)).await;
    Admin::new(broker.client().await).delete_records("t", 0, 10).await.unwrap();
    let mut strict = consumer(&broker, ConsumerConfig::default(), &[(0, StartAt::Offset(3))]).await;
    let error = strict.poll(LONG).await.unwrap_err();
    assert_eq!(error.cause, ConsumeCause::OffsetOutOfRange { offset: 3, start: 10, end: 20 });
    assert!(strict.poll(MOMENT).await.unwrap().is_none(), "an error is given once");
    strict.seek("t", 0, StartAt::Offset(15)).await.unwrap();
    assert_eq!(take(&mut strict, 5).await, expected(0, 15..20));
    let config = ConsumerConfig { reset: ResetPolicy::Earliest, ..Default::default() };
    let mut earliest = consumer(&broker, config, &[(0, StartAt::Offset(1000))]).await;
    assert_eq!(take(&mut earliest, 10).await, expected(0, 10..20));
}

#[tokio::test]
async fn damage_is_named_and_stepped_over_by_name() {
    let broker = FakeBroker::start(&[("t", 2)], 1).await;
    fill(&broker, 0, 30, ProducerConfig { batch_len_max: 1, ..Default::default() }).await;
    fill(&broker, 1, 5, batches_of(5)).await;
    broker.state().topics.get_mut("t").unwrap().partitions[0].damaged = Some((10, 20));
    let mut consumer = consumer(&broker, ConsumerConfig::default(), &[(0, StartAt::Beginning), (1, StartAt::Beginning)]).await;
    let mut taken = Vec::new();
    let error = loop {
        match consumer.poll(LONG).await {
            Ok(batch) => taken.extend(batch.unwrap().records().map(|r| r.value_bytes().unwrap()).collect::<Vec<_>>()),
            Err(error) => break error,
        }
    };
    assert_eq!(error.cause, ConsumeCause::Damaged { first: 10, last: 19 });
    assert!(error.to_string().contains("skip_past(19)"), "{error}");
    while taken.len() < 15 {
        taken.extend(consumer.poll(LONG).await.unwrap().unwrap().records().map(|r| r.value_bytes().unwrap()).collect::<Vec<_>>());
    }
    consumer.skip_past("t", 0, error.skippable().unwrap()).unwrap();
    assert_eq!(take(&mut consumer, 10).await, expected(0, 20..30));
}

/// The broker does not look into compressed bodies: one that disagrees with its header is the consumer's to find.
#[tokio::test]
async fn a_compressed_body_that_disagrees_with_its_header_names_its_offsets() {
    use sluice_model::record_batch::{Attributes, NewRecord, RecordsBuilder};
    use sluice_model::{
        FrameHeader, PartitionIndex, ProducerBatch, ProducerEpoch, ProducerId, Sequence, TopicId, TopicPartition,
    };
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    let lz4 = || ProducerConfig { compression: Compression::Lz4, ..batches_of(4) };
    fill(&broker, 0, 4, lz4()).await;
    {
        let mut state = broker.state();
        let topic = state.topics.get_mut("t").unwrap();
        let mut builder = RecordsBuilder::new(1000);
        builder.append(&NewRecord { value: Some(b"one"), ..Default::default() }).unwrap();
        let body = compression::compress(Compression::Lz4, &builder.take().unwrap().body).unwrap();
        let batch = ProducerBatch {
            topic_partition: TopicPartition { topic_id: TopicId(topic.id), partition: PartitionIndex(0) },
            attributes: Attributes::new(Compression::Lz4).0,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: Sequence::NONE,
            // It holds one.
            record_count: 3,
            base_timestamp_ms: 0,
            max_timestamp_ms: 0,
        };
        topic.partitions[0].append(&[FrameHeader::new(batch, &body).as_bytes(), &body[..]].concat()).unwrap();
    }
    fill(&broker, 0, 2, lz4()).await;
    let mut consumer = consumer(&broker, ConsumerConfig::default(), &[(0, StartAt::Beginning)]).await;
    take(&mut consumer, 4).await;
    let error = consumer.poll(LONG).await.unwrap_err();
    assert!(matches!(error.cause, ConsumeCause::BadBatch { first: 4, last: 6, .. }), "{error}");
    assert!(consumer.poll(MOMENT).await.unwrap().is_none(), "nothing behind it before somebody decides");
    assert_eq!(consumer.position("t", 0), Some(4));
    consumer.skip_past("t", 0, 6).unwrap();
    let rest = take(&mut consumer, 2).await;
    assert_eq!((rest[0].1, rest[1].1), (7, 8));
}

#[tokio::test]
async fn a_batch_longer_than_asked_for_is_fetched_all_the_same() {
    let broker = FakeBroker::start(&[("t", 2)], 1).await;
    let producer = Producer::new(broker.client().await, ProducerConfig::default()).await.unwrap();
    let long = vec![b'x'; 900_000];
    for partition in [0, 0, 1, 0] {
        producer.send(ProducerRecord::new("t", &long).with_partition(partition)).await.unwrap();
    }
    producer.close().await;
    let config = ConsumerConfig { partition_len_max: 4096, fetch_len_max: 65536, prefetch_len_max: 65536, ..Default::default() };
    let mut consumer = consumer(&broker, config, &[(0, StartAt::Beginning), (1, StartAt::Beginning)]).await;
    let taken = take(&mut consumer, 4).await;
    assert!(taken.iter().all(|t| t.2.len() == long.len()));
    assert!(broker.state().fetch_len_seen < 1_000_000);
}

#[tokio::test]
async fn prefetch_is_bounded_and_nobody_is_left_out() {
    let broker = FakeBroker::start(&[("t", 4)], 1).await;
    for partition in 0..4 {
        fill(&broker, partition, 20_000, batches_of(500)).await;
    }
    let config =
        ConsumerConfig { fetch_len_max: 65536, partition_len_max: 65536, prefetch_len_max: 131_072, ..Default::default() };
    let starts: Vec<_> = (0..4).map(|p| (p, StartAt::Beginning)).collect();
    let mut consumer = consumer(&broker, config, &starts).await;
    consumer.poll(LONG).await.unwrap().unwrap();
    tokio::time::sleep(MOMENT).await;
    assert!(broker.state().fetches <= 4, "{} fetches", broker.state().fetches);
    let mut counts = [0; 4];
    while counts.iter().sum::<usize>() < 40_000 {
        let batch = consumer.poll(LONG).await.unwrap().unwrap();
        counts[batch.partition() as usize] += batch.len();
    }
    assert!(counts.iter().all(|&c| c > 2_000), "{counts:?}");
}

#[tokio::test]
async fn a_partition_that_moves_and_a_lost_connection_are_followed() {
    let broker = FakeBroker::start(&[("t", 2)], 2).await;
    fill(&broker, 0, 10, batches_of(5)).await;
    let mut consumer = consumer(&broker, ConsumerConfig::default(), &[(0, StartAt::Beginning)]).await;
    assert_eq!(take(&mut consumer, 10).await, expected(0, 0..10));
    broker.state().topics.get_mut("t").unwrap().partitions[0].moved_to = Some(1);
    let producer = Producer::new(broker.client().await, ProducerConfig::default()).await.unwrap();
    producer.send(ProducerRecord::new("t", b"p0-10").with_partition(0)).await.unwrap();
    producer.close().await;
    assert_eq!(take(&mut consumer, 1).await, expected(0, 10..11));
    consumer.seek("t", 0, StartAt::Beginning).await.unwrap();
    broker.state().fetches_to_drop = 3;
    consumer.seek("t", 0, StartAt::Beginning).await.unwrap();
    assert_eq!(take(&mut consumer, 11).await, expected(0, 0..11));
}

#[tokio::test]
async fn a_topic_created_again_is_not_mistaken_for_the_old_one() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    fill(&broker, 0, 3, batches_of(3)).await;
    let config = ConsumerConfig { fetch_wait_ms_max: 20, ..Default::default() };
    let mut consumer = consumer(&broker, config, &[(0, StartAt::Beginning)]).await;
    take(&mut consumer, 3).await;
    broker.state().create("t", 1);
    let error = consumer.poll(LONG).await.unwrap_err();
    assert!(error.to_string().contains("created again"), "{error}");
    fill(&broker, 0, 2, batches_of(2)).await;
    consumer.seek("t", 0, StartAt::Beginning).await.unwrap();
    assert_eq!(take(&mut consumer, 2).await, expected(0, 0..2));
}

#[tokio::test]
async fn values_are_read_in_place() {
    #[derive(rkyv::Archive, rkyv::Serialize)]
    struct Order {
        id: u64,
        items: Vec<String>,
    }
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    let producer = Producer::new(broker.client().await, ProducerConfig::default()).await.unwrap();
    let order = Order { id: 7, items: vec!["a pencil".into(), "a rubber with a long name".into()] };
    let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&order).unwrap();
    let headers = [HeaderRef { key: b"kind", value: Some(b"order") }, HeaderRef { key: b"none", value: None }];
    producer.send(ProducerRecord { headers: &headers, ..ProducerRecord::new("t", &bytes) }).await.unwrap();
    producer.send(ProducerRecord::new("t", b"not an order")).await.unwrap();
    producer.close().await;
    let mut consumer = consumer(&broker, ConsumerConfig::default(), &[(0, StartAt::Beginning)]).await;
    let mut read = Vec::new();
    while read.len() < 2 {
        let batch = consumer.poll(LONG).await.unwrap().unwrap();
        for record in batch.records() {
            assert!(record.timestamp_ms > 1_600_000_000_000);
            let headers: Vec<_> = record.headers.map(|h| (h.key.to_vec(), h.value.map(<[u8]>::to_vec))).collect();
            let order = record.access::<Order>().map(|o| (o.id.to_native(), o.items.len(), o.items[1].to_string()));
            read.push((headers.len(), order.ok()));
        }
    }
    assert_eq!(read, [(2, Some((7, 2, "a rubber with a long name".into()))), (0, None)]);
}
