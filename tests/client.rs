//! The client against a real broker: what its documentation and its examples promise. One broker serves all parts, one
//! after the other.

mod common;

#[path = "../net/client/examples/exactly_once_sink.rs"]
#[allow(dead_code, unreachable_pub, reason = "an example is a program, and this test runs it")]
mod exactly_once_sink;
#[path = "../net/client/examples/flash_sale.rs"]
#[allow(dead_code, unreachable_pub, reason = "an example is a program, and this test runs it")]
mod flash_sale;
#[path = "../net/client/examples/quickstart.rs"]
#[allow(dead_code, unreachable_pub, reason = "an example is a program, and this test runs it")]
mod quickstart;
#[path = "../net/client/examples/slow_downstream.rs"]
#[allow(dead_code, unreachable_pub, reason = "an example is a program, and this test runs it")]
mod slow_downstream;
#[path = "../net/client/examples/typed_records.rs"]
#[allow(dead_code, unreachable_pub, reason = "an example is a program, and this test runs it")]
mod typed_records;

use common::{Broker, PATIENCE, folder};
use sluice_client::*;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

#[test]
fn the_client_keeps_its_promises_and_the_examples_run() {
    let folder = folder();
    let broker = Broker::start(&folder.path().join("data"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = Client::connect(std::slice::from_ref(&broker.address), ClientConfig::default()).await.expect("a broker");
        administration(&client).await;
        producing(&client).await;
        consuming(&client).await;
        types(&client).await;
        examples(&broker.address, folder.path()).await;
    });
}

/// Everything that the program's `topic` commands and `broker describe` do.
async fn administration(client: &Client) {
    let admin = Admin::new(client.clone());
    let settings = [("retention_ms".to_owned(), "1d".to_owned()), ("segment_len".to_owned(), "4MiB".to_owned())];
    let id = admin.create_topic("administered", 2, &settings).await.unwrap();
    let again = admin.create_topic("administered", 2, &[]).await.unwrap_err();
    assert_eq!(again.code(), Some(ErrorCode::TopicExists));
    let wrong = admin.create_topic("x", 1, &[("retention_days".into(), "1".into())]).await.unwrap_err();
    assert!(wrong.to_string().contains("retention_ms"), "{wrong}");
    let listed = admin.list_topics().await.unwrap();
    assert_eq!(listed.iter().map(|topic| (&*topic.name, topic.topic_id)).collect::<Vec<_>>(), [("administered", id)]);
    admin.alter_topic("administered", &[("retention_ms".into(), "2d".into())], Some(3)).await.unwrap();
    let described = admin.describe_topic("administered").await.unwrap();
    assert_eq!((described.partitions.len(), described.settings.len()), (3, 2));
    assert!(described.settings.iter().any(|(name, value)| name == "retention_ms" && value == "2d"), "{described:?}");
    assert!(admin.alter_topic("administered", &[], Some(1)).await.is_err(), "partitions never become fewer");

    let producer = Producer::new(client.clone(), ProducerConfig::default()).await.unwrap();
    for _ in 0..10 {
        producer.send(ProducerRecord::new("administered", b"x").with_partition(1)).await.unwrap();
    }
    producer.close().await;
    assert_eq!(admin.delete_records("administered", 1, 4).await.unwrap(), 4);
    let partitions = admin.describe_partitions(&[("administered", 1), ("administered", 2)]).await.unwrap();
    let state = |partition: &DescribedPartition| (partition.log_start_offset, partition.high_watermark, partition.log_end_offset);
    assert_eq!(partitions.iter().map(state).collect::<Vec<_>>(), [(4, 10, 10), (0, 0, 0)]);
    let cluster = admin.cluster().await.unwrap();
    let shards = admin.describe_shards(&cluster.shards).await.unwrap();
    assert_eq!((shards.len(), shards[0].state.partition_count, shards[0].state.damaged_count), (1, 3, 0));
    admin.delete_topic("administered").await.unwrap();
    assert_eq!(admin.describe_topic("administered").await.unwrap_err().code(), Some(ErrorCode::UnknownTopic));
    admin.create_topic("records", 2, &[]).await.unwrap();
}

#[derive(Default)]
struct Watcher {
    sent: AtomicU64,
    acknowledged: AtomicU64,
}

impl ProducerInterceptor for Watcher {
    fn on_send(&self, _: &ProducerRecord<'_>, _: u32) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    fn on_outcome(&self, outcome: &BatchOutcome<'_>) {
        assert!(outcome.delivery.is_acknowledged(), "{outcome:?}");
        self.acknowledged.fetch_add(outcome.record_count.into(), Ordering::Relaxed);
    }
}

/// Leaves 1,000 records in each partition of `records`, a millisecond of their own apart, the first at 1,000,000.
async fn producing(client: &Client) {
    let watcher = Arc::new(Watcher::default());
    let config = ProducerConfig { batch_len_max: 1024, buffer_len_max: 16 * 1024, ..ProducerConfig::default() };
    let producer = Producer::with_interceptors(client.clone(), config, vec![watcher.clone()]).await.unwrap();
    let offsets = Arc::new(Mutex::new([const { Vec::new() }; 2]));
    for n in 0..2_000u32 {
        let (value, partition) = (n.to_be_bytes(), n % 2);
        let record =
            ProducerRecord { timestamp_ms: Some(1_000_000 + i64::from(n / 2)), ..ProducerRecord::new("records", &value) };
        // One send in seven is given up where it first has to wait, and made again: still once, and in its place.
        let brief = n % 7 == 0;
        let callback = |offsets: Arc<Mutex<[Vec<u64>; 2]>>| {
            move |delivery: Delivery| {
                let offset = delivery.acknowledged().expect("acknowledged").offset.expect("with its offset");
                offsets.lock().expect("no panic")[partition as usize].push(offset);
            }
        };
        let record = record.with_partition(partition);
        let given_up = brief && {
            let first = producer.send_with(record, callback(offsets.clone()));
            tokio::select! { biased; sent = first => { sent.unwrap(); false }, () = std::future::ready(()) => true }
        };
        if !brief || given_up {
            producer.send_with(record, callback(offsets.clone())).await.unwrap();
        }
    }
    producer.flush().await;
    let expected: Vec<u64> = (0..1_000).collect();
    for (partition, offsets) in offsets.lock().unwrap().iter().enumerate() {
        assert!(*offsets == expected, "callbacks of partition {partition} come in order, before a flush ends: {offsets:?}");
    }
    assert_eq!((watcher.sent.load(Ordering::Relaxed), watcher.acknowledged.load(Ordering::Relaxed)), (2_000, 2_000));
    let statistics = producer.statistics();
    assert_eq!((statistics.records_sent, statistics.records_acknowledged, statistics.latency.count), (2_000, 2_000, 2_000));
    assert_eq!((statistics.buffer_used, statistics.partitions.len()), (0, 0));
    let other = producer.clone();
    assert_eq!(producer.close_with_timeout(PATIENCE).await, 0);
    assert!(matches!(other.send(ProducerRecord::new("records", b"late")).await, Err(SendError::Closed)));
}

async fn consuming(client: &Client) {
    let consumer = Consumer::new(client.clone(), ConsumerConfig::default()).unwrap();
    let both = [("records", 0), ("records", 1)];
    assert_eq!(consumer.beginning_offsets(&both).await.unwrap(), [0, 0]);
    assert_eq!(consumer.end_offsets(&both).await.unwrap(), [1_000, 1_000]);
    let asked = [("records", 1, 1_000_777), ("records", 0, 1), ("records", 0, 1_001_000)];
    let found = consumer.offsets_for_times(&asked).await.unwrap();
    let at = |offset: u64| Some(OffsetAndTimestamp { offset, timestamp_ms: 1_000_000 + offset.cast_signed() });
    assert_eq!(found, [at(777), at(0), None]);

    let start = |(topic, partition): (&str, u32)| Assignment { topic: topic.into(), partition, start: StartAt::Beginning };
    consumer.assign(&both.map(start)).await.unwrap();
    let mut stream = consumer.stream();
    let mut next = [0u64; 2];
    while next[0] < 10 {
        take(&mut stream, &mut next).await;
    }
    consumer.pause("records", 0).unwrap();
    while next[1] < 1_000 {
        assert_eq!(take(&mut stream, &mut next).await, 1, "partition 0 is paused");
    }
    assert_eq!((consumer.position("records", 0), consumer.lag("records", 0)), (Some(10), Some(990)));
    assert_eq!(consumer.lag("records", 1), Some(0));
    consumer.resume("records", 0).unwrap();
    while next[0] < 500 {
        assert_eq!(take(&mut stream, &mut next).await, 0);
    }
    drop(stream);
    let mut batches = consumer.batch_stream();
    while next[0] < 1_000 {
        let batch = batches.next().await.unwrap().unwrap();
        assert_eq!(batch.first_offset(), next[0], "a stream that is dropped leaves the rest of its batch");
        next[0] = batch.next_offset();
    }
}

/// The next record of the stream, which must be the next of its partition; that partition.
async fn take(stream: &mut RecordStream<'_>, next: &mut [u64; 2]) -> u32 {
    let record = tokio::time::timeout(PATIENCE, stream.next()).await.expect("a record comes").unwrap().unwrap();
    let next = &mut next[record.partition as usize];
    assert_eq!(record.offset, *next);
    let n = u32::from_be_bytes(record.value.as_deref().unwrap().try_into().unwrap());
    assert_eq!(u64::from(n), 2 * *next + u64::from(record.partition));
    *next += 1;
    record.partition
}

mod before {
    sluice_client::record_type! { pub(crate) struct Order { pub(crate) id: u64, pub(crate) cents: u64 } }
}

mod after {
    sluice_client::record_type! { pub(crate) struct Order { pub(crate) cents: u64, pub(crate) id: u64 } }
}

sluice_client::record_type! { struct Payment { order: u64 } }

async fn types(client: &Client) {
    Admin::new(client.clone()).create_topic("typed", 1, &[]).await.unwrap();
    let producer = Producer::new(client.clone(), ProducerConfig::default()).await.unwrap();
    let orders = TypedProducer::new(producer.clone(), "typed");
    orders.send(&before::Order { id: 1, cents: 250 }).await.unwrap();
    TypedProducer::new(producer.clone(), "typed").send(&Payment { order: 1 }).await.unwrap();
    TypedProducer::new(producer.clone(), "typed").send(&after::Order { id: 2, cents: 300 }).await.unwrap();
    producer.send(ProducerRecord::new("typed", b"plain")).await.unwrap();
    orders.send(TypedRecord::tombstone(b"1")).await.unwrap();
    orders.send(TypedRecord::new(&before::Order { id: 3, cents: 350 }).with_key(b"3")).await.unwrap();
    producer.close().await;

    let consumer = Consumer::new(client.clone(), ConsumerConfig::default()).unwrap();
    let assignment = Assignment { topic: "typed".into(), partition: 0, start: StartAt::Beginning };
    consumer.assign(std::slice::from_ref(&assignment)).await.unwrap();
    let mut consumer = TypedConsumer::<before::Order>::new(consumer);
    let mut stream = consumer.stream();
    let mut read = Vec::new();
    while read.len() < 6 {
        read.push(match stream.next().await.unwrap() {
            Ok(record) => record.value().map_or("none".into(), |order| format!("{} {}", order.id, order.cents)),
            Err(TypedConsumeError::Type(error)) => error.to_string(),
            Err(error) => panic!("{error}"),
        });
    }
    let [order, payment, changed] = [before::Order::fingerprint(), Payment::fingerprint(), after::Order::fingerprint()];
    assert_eq!((read[0].as_str(), read[4].as_str(), read[5].as_str()), ("1 250", "none", "3 350"));
    let texts = [
        format!("offset 1: the record is of type Payment (layout {payment:016x}), not Order (layout {order:016x})"),
        format!("offset 2: the record is of type Order with layout {changed:016x}, this program's Order has layout {order:016x}"),
        "offset 3: the record names no type".into(),
    ];
    for (text, got) in texts.iter().zip(&read[1..4]) {
        assert!(got.contains(text), "{got}");
    }
    drop(stream);
    consumer.consumer().assign(&[assignment]).await.unwrap();
    let (mut good, mut bad) = (Vec::new(), 0);
    while good.len() + bad < 6 {
        let batch = consumer.poll(PATIENCE).await.unwrap().expect("there is more");
        for record in batch.records() {
            match record {
                Ok(record) => good.push(record.value.map(|order| order.id.to_native())),
                Err(error) => {
                    assert_eq!(error.expected, ("Order", order));
                    bad += 1;
                }
            }
        }
    }
    assert_eq!((good, bad), (vec![Some(1), None, Some(3)], 3));
}

async fn examples(broker: &str, folder: &Path) {
    quickstart::run(broker).await.unwrap();
    assert_eq!(typed_records::run(broker).await.unwrap(), 600);

    let sale = flash_sale::run(broker, 20_000).await.unwrap();
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let told = [&sale.confirmed, &sale.refused, &sale.unknown, &sale.gone].map(count);
    assert_eq!(told.iter().sum::<u64>(), 20_000, "{sale:?}");
    assert!(told[0] > 0, "{sale:?}");

    let positions = folder.join("positions");
    let first = slow_downstream::run(broker, &positions, 200).await.unwrap();
    assert_eq!((first.began_at, first.ended_at, first.pauses > 0), ([0, 0], [200, 200], true), "{first:?}");
    let second = slow_downstream::run(broker, &positions, 40).await.unwrap();
    assert_eq!((second.began_at, second.ended_at), ([200, 200], [240, 240]));

    let store = folder.join("orders");
    exactly_once_sink::fill(broker, 900).await.unwrap();
    let first = exactly_once_sink::apply(broker, &store, 500).await.unwrap();
    assert_eq!((first.known, first.applied + first.duplicates), (0, 500));
    std::fs::OpenOptions::new().append(true).open(&store).unwrap().write_all(b"1 999 4").unwrap();
    let second = exactly_once_sink::apply(broker, &store, u64::MAX).await.unwrap();
    assert_eq!((second.known, first.applied + second.applied), (first.applied, 900), "{first:?} {second:?}");
    assert_eq!(first.duplicates + second.duplicates, 300);
    assert_eq!(exactly_once_sink::verify(&store).unwrap(), 900);
}
