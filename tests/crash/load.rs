//! Producers and a consumer that know nothing of what happens to the broker.

use super::ledger::{Ledger, Outcome, ReadPartition};
use super::random::Random;
use sluice_client::{
    Admin, Assignment, Client, ClientConfig, Compression, Consumer, ConsumerConfig, Producer, ProducerConfig, ProducerRecord,
    StartAt,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Nothing waits longer than this on any machine.
const PATIENCE: Duration = Duration::from_secs(120);
const KEYS: u64 = 24;

/// One producer's ways.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    pub(crate) config: ProducerConfig,
    /// A pause follows each of so many records.
    pub(crate) burst: u64,
}

/// A client that comes back quickly, so that a kill finds it at work; `address` may be several, with commas.
pub(crate) async fn connect(address: &str) -> Client {
    let config = ClientConfig { retry_backoff_ms: 5, retry_backoff_ms_max: 50, ..ClientConfig::default() };
    connect_with(address, config).await
}

pub(crate) async fn connect_with(address: &str, config: ClientConfig) -> Client {
    let addresses: Vec<String> = address.split(',').map(ToOwned::to_owned).collect();
    Client::connect(&addresses, config).await.expect("the broker serves")
}

/// What runs beside the kills.
pub(crate) struct Load {
    pub(crate) topic: String,
    pub(crate) ledger: Arc<Ledger>,
    partitions: u32,
    stop: Arc<AtomicBool>,
    producers: Vec<JoinHandle<()>>,
    consumer: JoinHandle<()>,
}

impl Load {
    /// Creates the topic, and begins to produce with these habits and to consume.
    pub(crate) async fn begin(client: &Client, topic: &str, partitions: u32, seed: u64, habits: Vec<Habits>) -> Self {
        let settings = [("segment_len".to_owned(), "1MiB".to_owned()), ("retention_ms".to_owned(), "none".to_owned())];
        Admin::new(client.clone()).create_topic(topic, partitions, &settings).await.expect("a topic is created");
        let ledger = Arc::new(Ledger::new(seed, habits.len() as u32, partitions));
        let stop = Arc::new(AtomicBool::new(false));
        let mut producers = Vec::new();
        for (number, habits) in (0..).zip(habits) {
            let producer = Producer::new(client.clone(), habits.config).await.expect("the broker serves");
            let random = Random::new(seed).branch(number);
            let task =
                Produce { producer, topic: topic.to_owned(), number: number as u32, ledger: ledger.clone(), burst: habits.burst };
            producers.push(tokio::spawn(task.run(random, stop.clone())));
        }
        let consumer = tokio::spawn(consume(client.clone(), topic.to_owned(), partitions, ledger.clone(), stop.clone()));
        Self { topic: topic.to_owned(), ledger, partitions, stop, producers, consumer }
    }

    /// Fails when a part of it has.
    pub(crate) fn assert_alive(&self) {
        let all = self.producers.iter().chain([&self.consumer]);
        assert!(all.clone().all(|task| !task.is_finished()), "a producer or the consumer has ended");
    }

    /// Ends it with every record settled, which needs a broker that serves.
    pub(crate) async fn end(self) -> (Arc<Ledger>, String, u32) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.producers.into_iter().chain([self.consumer]) {
            let ended = tokio::time::timeout(PATIENCE, task).await;
            ended.expect("the load ends once the broker serves").expect("the load does not fail");
        }
        (self.ledger, self.topic, self.partitions)
    }
}

struct Produce {
    producer: Producer,
    topic: String,
    number: u32,
    ledger: Arc<Ledger>,
    burst: u64,
}

impl Produce {
    async fn run(self, mut random: Random, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            for _ in 0..1 + random.below(self.burst) {
                self.one().await;
            }
            tokio::time::sleep(Duration::from_micros(500 + random.below(3_000))).await;
        }
        self.producer.close().await;
    }

    async fn one(&self) {
        let id = self.ledger.begin(self.number);
        let (key, value) = (format!("key-{}", id.number % KEYS), self.ledger.value(id));
        let record = ProducerRecord::new(&self.topic, &value).with_key(key.as_bytes());
        let ledger = self.ledger.clone();
        match self.producer.send(record).await {
            Ok(confirm) => confirm.on_outcome(move |delivery| ledger.settle(id, delivery)),
            // Not taken, so certainly not written.
            Err(error) => ledger.settle_as(id, Outcome::Refused(error.to_string())),
        }
    }
}

/// Reads all partitions from their beginning for as long as the load goes on; every error is one of the broker's.
async fn consume(client: Client, topic: String, partitions: u32, ledger: Arc<Ledger>, stop: Arc<AtomicBool>) {
    let mut consumer = Consumer::new(client, ConsumerConfig::default()).expect("a consumer");
    let assignments: Vec<_> =
        (0..partitions).map(|partition| Assignment { topic: topic.clone(), partition, start: StartAt::Offset(0) }).collect();
    consumer.assign(&assignments).await.expect("the topic is there");
    while !stop.load(Ordering::Relaxed) {
        let polled = consumer.poll(Duration::from_millis(50)).await;
        let Some(batch) = polled.unwrap_or_else(|error| panic!("the consumer beside: {error}")) else { continue };
        for record in batch.records() {
            let id = ledger.recognise(record.value.expect("no tombstone was sent"));
            ledger.saw(batch.partition(), record.offset, id);
        }
    }
}

/// All of a topic, from log start to high watermark, as a new client reads it.
pub(crate) async fn read_all(address: &str, topic: &str, partitions: u32, ledger: &Ledger) -> Vec<ReadPartition> {
    let client = connect(address).await;
    let admin = Admin::new(client.clone());
    let at = |start| (0..partitions).map(|partition| (topic, partition, start)).collect::<Vec<_>>();
    let starts = admin.list_offsets(&at(StartAt::Beginning)).await.expect("log starts");
    let ends = admin.list_offsets(&at(StartAt::End)).await.expect("high watermarks");
    let mut consumer = Consumer::new(client, ConsumerConfig::default()).expect("a consumer");
    let assigned = starts.iter().zip(0..).map(|(start, partition)| Assignment {
        topic: topic.to_owned(),
        partition,
        start: StartAt::Offset(start.offset),
    });
    consumer.assign(&assigned.collect::<Vec<_>>()).await.expect("the topic is there");
    let mut log: Vec<_> = starts.iter().map(|s| ReadPartition { start: s.offset, records: Vec::new() }).collect();
    while log.iter().zip(&ends).any(|(read, end)| read.start + (read.records.len() as u64) < end.offset) {
        let polled = consumer.poll(PATIENCE).await;
        let batch = polled.unwrap_or_else(|error| panic!("{error}")).expect("what is below the high watermark is served");
        let read = &mut log[batch.partition() as usize];
        for record in batch.records() {
            assert_eq!(record.offset, read.start + read.records.len() as u64, "{topic}/{}: a gap", batch.partition());
            read.records.push(ledger.recognise(record.value.expect("no tombstone was sent")));
        }
    }
    log
}

/// Habits of four producers: plain, compressed, in large batches, and one that gives up soon.
pub(crate) fn four_habits() -> Vec<Habits> {
    let config = ProducerConfig { buffer_len_max: 256 * 1024, batch_len_max: 64 * 1024, ..ProducerConfig::default() };
    vec![
        Habits { config: config.clone(), burst: 6 },
        Habits { config: ProducerConfig { compression: Compression::Lz4, ..config.clone() }, burst: 6 },
        Habits { config: ProducerConfig { linger_ms: 20, batch_len_max: 200 * 1024, ..config.clone() }, burst: 12 },
        Habits { config: ProducerConfig { delivery_timeout_ms: 250, ..config }, burst: 6 },
    ]
}
