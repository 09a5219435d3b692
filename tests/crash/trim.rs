//! A topic whose oldest records are deleted again and again while the broker dies: a log start that was acknowledged
//! never falls back, and nothing above what was asked for is deleted.

use super::ledger::Ledger;
use super::load::read_all;
use super::random::Random;
use sluice_client::{Admin, Client, ClientError, Producer, ProducerConfig, ProducerRecord};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

const TOPIC: &str = "trimmed";
const PARTITIONS: u32 = 2;

pub(crate) struct Trim {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Trimmed>,
}

pub(crate) struct Trimmed {
    ledger: Arc<Ledger>,
    /// By partition: the log start that was acknowledged, and the highest that was asked for.
    acknowledged: Vec<u64>,
    asked: Vec<u64>,
}

impl Trim {
    pub(crate) async fn begin(client: &Client, seed: u64) -> Self {
        let settings = [("segment_len".to_owned(), "1MiB".to_owned())];
        Admin::new(client.clone()).create_topic(TOPIC, PARTITIONS, &settings).await.expect("a topic is created");
        let stop = Arc::new(AtomicBool::new(false));
        let producer = Producer::new(client.clone(), ProducerConfig::default()).await.expect("the broker serves");
        Self { task: tokio::spawn(run(client.clone(), producer, seed, stop.clone())), stop }
    }

    pub(crate) fn assert_alive(&self) {
        assert!(!self.task.is_finished(), "the deletion of records has ended");
    }

    pub(crate) async fn end(self) -> Trimmed {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the deletion of records does not fail")
    }
}

async fn run(client: Client, producer: Producer, seed: u64, stop: Arc<AtomicBool>) -> Trimmed {
    let mut random = Random::new(seed).branch(2_000_002);
    let ledger = Arc::new(Ledger::new(seed.rotate_left(7), 1, PARTITIONS));
    let (mut acknowledged, mut asked) = (vec![0; PARTITIONS as usize], vec![0; PARTITIONS as usize]);
    let admin = Admin::new(client);
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..random.below(120) {
            let id = ledger.begin(0);
            let value = ledger.value(id);
            let record = ProducerRecord::new(TOPIC, &value).with_partition(random.below(PARTITIONS.into()) as u32);
            let confirm = producer.send(record).await.expect("the topic is there");
            let ledger = ledger.clone();
            confirm.on_outcome(move |delivery| ledger.settle(id, delivery));
        }
        tokio::time::sleep(Duration::from_millis(random.below(30))).await;
        let partition = random.below(PARTITIONS.into()) as u32;
        let (index, end) = (partition as usize, ledger.acknowledged_until(partition));
        if end <= asked[index] {
            continue;
        }
        let offset = asked[index] + random.below(end - asked[index]) + 1;
        asked[index] = offset;
        match admin.delete_records(TOPIC, partition, offset).await {
            Ok(start) => {
                assert!(start >= acknowledged[index] && start <= offset, "log start {start}, {offset} was asked for");
                acknowledged[index] = start;
            }
            Err(ClientError::Lost { .. } | ClientError::Unreachable { .. }) => {}
            Err(error) if error.is_transient() => {}
            Err(error) => panic!("records below {offset} of partition {partition} cannot be deleted: {error}"),
        }
    }
    producer.close().await;
    Trimmed { ledger, acknowledged, asked }
}

impl Trimmed {
    pub(crate) async fn check(self, address: &str) {
        let log = read_all(address, TOPIC, PARTITIONS, &self.ledger).await;
        for ((read, acknowledged), asked) in log.iter().zip(&self.acknowledged).zip(&self.asked) {
            assert!(read.start >= *acknowledged, "the log starts at {}, {acknowledged} was acknowledged", read.start);
            assert!(read.start <= *asked, "the log starts at {}, only {asked} was asked for", read.start);
        }
        let tally = self.ledger.tally();
        eprintln!("{TOPIC}: log starts {:?}, {tally:?}", self.acknowledged);
        assert_eq!(tally.unsettled, 0);
        self.ledger.check(&log);
    }
}
