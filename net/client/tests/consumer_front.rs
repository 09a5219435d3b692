//! What an application sees of a consumer: streams, pausing, lag, offsets by place and time.

mod support;

use sluice_client::*;
use std::time::Duration;
use support::{FakeBroker, LONG};

async fn fill(broker: &FakeBroker, partition: u32, range: std::ops::Range<usize>, batch_records: usize) {
    let config = ProducerConfig { batch_len_max: batch_records * 15, linger_ms: 1000, ..Default::default() };
    let producer = Producer::new(broker.client().await, config).await.unwrap();
    for n in range {
        let value = format!("p{partition}-{n}");
        let headers = [HeaderRef { key: b"n", value: Some(value.as_bytes()) }];
        let record = ProducerRecord {
            timestamp_ms: Some(1000 + n as i64),
            key: Some(b"k"),
            headers: if n % 2 == 0 { &headers } else { &[] },
            ..ProducerRecord::new("t", value.as_bytes())
        };
        producer.send(record.with_partition(partition)).await.unwrap();
    }
    producer.close().await;
}

async fn consumer(broker: &FakeBroker, config: ConsumerConfig, partitions: u32) -> Consumer {
    let consumer = Consumer::new(broker.client().await, config).unwrap();
    let from_start = |partition| Assignment { topic: "t".into(), partition, start: StartAt::Beginning };
    consumer.assign(&(0..partitions).map(from_start).collect::<Vec<_>>()).await.unwrap();
    consumer
}

async fn next(stream: &mut RecordStream<'_>) -> OwnedRecord {
    tokio::time::timeout(LONG, stream.next()).await.expect("a record comes").unwrap().unwrap()
}

#[tokio::test]
async fn a_stream_gives_every_record_and_moves_the_position_with_each() {
    let broker = FakeBroker::start(&[("t", 2)], 1).await;
    fill(&broker, 0, 0..100, 7).await;
    fill(&broker, 1, 0..10, 3).await;
    let consumer = consumer(&broker, ConsumerConfig::default(), 2).await;
    let mut stream = consumer.stream();
    let mut expected = [0u64; 2];
    for _ in 0..110 {
        let record = next(&mut stream).await;
        let expected = &mut expected[record.partition as usize];
        assert_eq!((&*record.topic, record.offset, record.timestamp_ms), ("t", *expected, 1000 + *expected as i64));
        let value = format!("p{}-{expected}", record.partition);
        assert_eq!((record.value.as_deref(), record.key.as_deref()), (Some(value.as_bytes()), Some(&b"k"[..])));
        assert_eq!(record.header(b"n").is_some(), *expected % 2 == 0);
        *expected += 1;
        assert_eq!(consumer.position("t", record.partition), Some(*expected));
        assert_eq!(consumer.lag("t", record.partition), Some([100, 10][record.partition as usize] - *expected));
    }
    // It waits for what comes, and is woken by it.
    let (record, ()) = tokio::join!(next(&mut stream), fill(&broker, 1, 10..11, 1));
    assert_eq!((record.partition, record.offset), (1, 10));
}

#[tokio::test]
async fn a_stream_that_is_dropped_loses_nothing() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    fill(&broker, 0, 0..60, 20).await;
    let mut consumer = consumer(&broker, ConsumerConfig::default(), 1).await;
    let mut expected = 0;
    for count in [5, 1, 0, 20] {
        let mut stream = consumer.stream();
        for _ in 0..count {
            assert_eq!(next(&mut stream).await.offset, expected);
            expected += 1;
        }
    }
    assert_eq!(consumer.position("t", 0), Some(26));
    let batch = consumer.poll(LONG).await.unwrap().unwrap();
    assert_eq!((batch.first_offset(), batch.records().next().unwrap().offset), (26, 26));
    assert_eq!(batch.len() as u64, batch.next_offset() - 26);
    let mut batches = consumer.batch_stream();
    let mut expected = batch.next_offset();
    while expected < 60 {
        let batch = batches.next().await.unwrap().unwrap();
        assert_eq!(batch.first_offset(), expected);
        expected = batch.next_offset();
    }
    assert_eq!(consumer.position("t", 0), Some(60));
}

#[tokio::test]
async fn a_seek_in_the_middle_of_a_batch_is_obeyed_at_once() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    fill(&broker, 0, 0..60, 20).await;
    let consumer = consumer(&broker, ConsumerConfig::default(), 1).await;
    let mut stream = consumer.stream();
    assert_eq!(next(&mut stream).await.offset, 0);
    consumer.seek("t", 0, StartAt::Offset(33)).await.unwrap();
    assert_eq!(next(&mut stream).await.offset, 33);
    consumer.seek("t", 0, StartAt::Offset(2)).await.unwrap();
    assert_eq!((next(&mut stream).await.offset, next(&mut stream).await.offset), (2, 3));
}

#[tokio::test]
async fn a_paused_partition_stands_still_and_goes_on_where_it_was() {
    let broker = FakeBroker::start(&[("t", 2)], 1).await;
    fill(&broker, 0, 0..100, 10).await;
    fill(&broker, 1, 0..100, 10).await;
    let consumer = consumer(&broker, ConsumerConfig::default(), 2).await;
    let mut stream = consumer.stream();
    let first = loop {
        let record = next(&mut stream).await;
        if record.partition == 0 && record.offset == 4 {
            break record;
        }
    };
    consumer.pause("t", 0).unwrap();
    assert_eq!(consumer.paused(), [("t".into(), 0)]);
    assert_eq!(consumer.assignment().len(), 2);
    while consumer.position("t", 1) < Some(100) {
        assert_eq!(next(&mut stream).await.partition, 1);
    }
    let nothing = tokio::time::timeout(Duration::from_millis(100), stream.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    assert_eq!(consumer.position("t", 0), Some(first.offset + 1));
    consumer.resume("t", 0).unwrap();
    for offset in first.offset + 1..100 {
        assert_eq!(next(&mut stream).await.offset, offset);
    }
    assert!(consumer.pause("t", 7).unwrap_err().to_string().contains("not assigned"));
}

/// What a paused partition holds must not keep the others from being fetched.
#[tokio::test]
async fn a_paused_partition_makes_room_for_the_others() {
    let broker = FakeBroker::start(&[("t", 2)], 1).await;
    fill(&broker, 0, 0..10_000, 500).await;
    let config = ConsumerConfig { fetch_len_max: 65536, partition_len_max: 65536, prefetch_len_max: 65536, ..Default::default() };
    let mut consumer = consumer(&broker, config, 2).await;
    let first = consumer.poll(LONG).await.unwrap().unwrap();
    assert_eq!(first.partition(), 0);
    consumer.pause("t", 0).unwrap();
    fill(&broker, 1, 0..10_000, 500).await;
    while consumer.position("t", 1) < Some(10_000) {
        assert_eq!(consumer.poll(LONG).await.unwrap().expect("partition 1 is fetched").partition(), 1);
    }
    consumer.resume("t", 0).unwrap();
    let mut expected = first.next_offset();
    while expected < 10_000 {
        let batch = consumer.poll(LONG).await.unwrap().unwrap();
        assert_eq!((batch.partition(), batch.first_offset()), (0, expected));
        expected = batch.next_offset();
    }
}

#[tokio::test]
async fn offsets_by_place_and_time_name_records() {
    let broker = FakeBroker::start(&[("t", 2)], 2).await;
    fill(&broker, 0, 0..100, 30).await;
    Admin::new(broker.client().await).delete_records("t", 0, 40).await.unwrap();
    let consumer = Consumer::new(broker.client().await, ConsumerConfig::default()).unwrap();
    let both = [("t", 1), ("t", 0)];
    assert_eq!(consumer.beginning_offsets(&both).await.unwrap(), [0, 40]);
    assert_eq!(consumer.end_offsets(&both).await.unwrap(), [0, 100]);
    let asked = [("t", 0, 1077), ("t", 0, 1090), ("t", 0, 0), ("t", 0, 1100), ("t", 1, 5)];
    let found = consumer.offsets_for_times(&asked).await.unwrap();
    let at = |offset: u64| Some(OffsetAndTimestamp { offset, timestamp_ms: 1000 + offset as i64 });
    assert_eq!(found, [at(77), at(90), at(40), None, None]);
    assert!(consumer.end_offsets(&[("t", 9)]).await.unwrap_err().to_string().contains("has 2 partitions"));
    assert_eq!((consumer.position("t", 0), consumer.lag("t", 0)), (None, None), "nothing is assigned by asking");
}

#[tokio::test]
async fn two_streams_share_the_batches() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    fill(&broker, 0, 0..200, 10).await;
    let consumer = consumer(&broker, ConsumerConfig::default(), 1).await;
    let (mut one, mut other) = (consumer.batch_stream(), consumer.batch_stream());
    let mut offsets = Vec::new();
    while offsets.len() < 200 {
        let batch = tokio::time::timeout(LONG, async {
            tokio::select! { batch = one.next() => batch, batch = other.next() => batch }
        });
        let batch = batch.await.expect("neither waits for ever").unwrap().unwrap();
        offsets.extend(batch.into_records().map(|record| record.offset));
    }
    offsets.sort_unstable();
    assert_eq!(offsets, (0..200).collect::<Vec<_>>());
}
