//! Two downstreams of different speed behind one consumer: the slow one is paused while it is busy, the quick one goes
//! on, and what is done is remembered only after it was done.
//!
//! `sluice serve --data-dir data`, and then
//! `cargo run -p sluice-client --example slow_downstream -- 127.0.0.1:7400 downstream-positions`
//!
//! The file named last holds, for each partition, the offset of the first record whose work is not done. Stop the
//! program at any moment and start it again: it goes on there. Work that was done and not remembered yet is done again,
//! which is what *at least once* means; `exactly_once_sink` shows how to do better.

use sluice_client::{
    Admin, Assignment, Client, ClientConfig, Consumer, ConsumerConfig, OwnedRecord, Producer, ProducerConfig, ProducerRecord,
    StartAt,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

type Error = Box<dyn std::error::Error + Send + Sync>;
const TOPIC: &str = "shipments";
const PARTITIONS: usize = 2;
/// Records handed to a downstream and not done yet, at most.
const BUSY_MAX: usize = 32;

/// What this run did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub began_at: [u64; PARTITIONS],
    pub ended_at: [u64; PARTITIONS],
    pub pauses: u64,
    /// Records behind, at most, over both.
    pub lag_max: u64,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let broker = args.next().unwrap_or("127.0.0.1:7400".into());
    let file = args.next().unwrap_or("downstream-positions".into());
    println!("{:?}", run(&broker, Path::new(&file), 1_000).await?);
    Ok(())
}

/// Sends `count` more records to each partition, and works until all there are are done.
pub async fn run(broker: &str, file: &Path, count: u64) -> Result<Report, Error> {
    let client = Client::connect(&[broker.into()], ClientConfig::default()).await?;
    fill(&client, count).await?;
    let positions = Positions::open(file)?;
    let began_at = positions.all();
    let consumer = Consumer::new(client, ConsumerConfig::default())?;
    let start = |(partition, &offset): (u32, &u64)| Assignment { topic: TOPIC.into(), partition, start: StartAt::Offset(offset) };
    consumer.assign(&(0..).zip(&began_at).map(start).collect::<Vec<_>>()).await?;
    let ends = consumer.end_offsets(&[(TOPIC, 0), (TOPIC, 1)]).await?;
    let drained = Arc::new(Notify::new());
    let downstream = |work_us| downstream(Duration::from_micros(work_us), positions.clone(), drained.clone());
    let downstreams = [downstream(1_000), downstream(10)];

    let mut report = Report { began_at, ..Report::default() };
    let mut every = tokio::time::interval(Duration::from_millis(200));
    let mut records = consumer.stream();
    while positions.all().iter().zip(&ends).any(|(position, end)| position < end) {
        tokio::select! {
            Some(record) = records.next() => {
                let record = record?;
                let partition = record.partition;
                let to = &downstreams[partition as usize];
                to.send(record).await?;
                if to.capacity() == 0 {
                    // No further record of it comes until its downstream has room; the other partition goes on.
                    consumer.pause(TOPIC, partition)?;
                    report.pauses += 1;
                }
            }
            () = drained.notified() => {
                for (_, partition) in consumer.paused() {
                    if downstreams[partition as usize].capacity() >= BUSY_MAX / 2 {
                        consumer.resume(TOPIC, partition)?;
                    }
                }
            }
            _ = every.tick() => {
                let lag = [0, 1].map(|partition| consumer.lag(TOPIC, partition).unwrap_or(0));
                report.lag_max = report.lag_max.max(lag.iter().sum());
                println!("behind by {lag:?} records, paused {:?}, done {:?}", consumer.paused(), positions.all());
            }
        }
    }
    report.ended_at = positions.all();
    Ok(report)
}

/// A downstream with a speed of its own. It remembers a record after it was done.
fn downstream(work: Duration, positions: Positions, drained: Arc<Notify>) -> mpsc::Sender<OwnedRecord> {
    let (sender, mut receiver) = mpsc::channel::<OwnedRecord>(BUSY_MAX);
    tokio::spawn(async move {
        while let Some(record) = receiver.recv().await {
            // The work itself. What it costs depends on the downstream.
            tokio::time::sleep(work).await;
            let last_for_now = receiver.is_empty();
            if let Err(error) = positions.done(record.partition, record.offset + 1, last_for_now) {
                eprintln!("cannot remember what is done: {error}");
                return;
            }
            drained.notify_one();
        }
    });
    sender
}

/// Which records are done, in memory and in a file.
#[derive(Clone)]
struct Positions {
    path: PathBuf,
    next: Arc<Mutex<([u64; PARTITIONS], u32)>>,
}

impl Positions {
    /// The positions in the file; the beginning when there is none.
    fn open(path: &Path) -> Result<Self, Error> {
        let mut next = [0; PARTITIONS];
        if path.exists() {
            for (partition, line) in std::fs::read_to_string(path)?.lines().enumerate().take(PARTITIONS) {
                next[partition] = line.trim().parse()?;
            }
        }
        Ok(Self { path: path.to_owned(), next: Arc::new(Mutex::new((next, 0))) })
    }

    fn all(&self) -> [u64; PARTITIONS] {
        self.next.lock().expect("nobody panics with it").0
    }

    /// The records below `next` are done. Written at the latest every 32 records, whole or not at all.
    fn done(&self, partition: u32, next: u64, now: bool) -> std::io::Result<()> {
        let mut state = self.next.lock().expect("nobody panics with it");
        state.0[partition as usize] = next;
        state.1 += 1;
        if now || state.1 >= 32 {
            let lines: String = state.0.iter().map(|next| format!("{next}\n")).collect();
            let new = self.path.with_extension("new");
            std::fs::write(&new, lines)?;
            std::fs::rename(&new, &self.path)?;
            state.1 = 0;
        }
        Ok(())
    }
}

async fn fill(client: &Client, count: u64) -> Result<(), Error> {
    let admin = Admin::new(client.clone());
    if !admin.list_topics().await?.iter().any(|topic| &*topic.name == TOPIC) {
        admin.create_topic(TOPIC, PARTITIONS as u32, &[]).await?;
    }
    let producer = Producer::new(client.clone(), ProducerConfig::default()).await?;
    for n in 0..count {
        for partition in 0..PARTITIONS as u32 {
            producer.send(ProducerRecord::new(TOPIC, &n.to_be_bytes()).with_partition(partition)).await?;
        }
    }
    producer.close().await;
    Ok(())
}
