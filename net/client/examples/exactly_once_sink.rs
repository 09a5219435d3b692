//! A sink that applies every order exactly once, whatever is delivered twice and whenever it is killed.
//!
//! `sluice serve --data-dir data`, and then
//! `cargo run -p sluice-client --example exactly_once_sink -- 127.0.0.1:7400 orders-applied`
//!
//! Two things make it so. The store keeps the effect of an order and the place of its record in one entry, which is
//! there whole or not at all: so after a crash the sink begins behind the last effect, neither before nor after it. And
//! the store knows each order by its id: so an order that its sender sent twice, because it never learned of the first
//! time, is applied once. Any store that writes two things in one transaction and has a unique key will do; this one is
//! a file that only grows. Run it again, or kill it at any moment and run it again: it checks itself at the end.

use sluice_client::{
    Admin, Assignment, Client, ClientConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, ProducerRecord, StartAt,
};
use std::collections::{BTreeMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

type Error = Box<dyn std::error::Error + Send + Sync>;
const TOPIC: &str = "orders-to-apply";
const PARTITIONS: u32 = 2;

/// What one run saw.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Orders in the store when it began, and when it ended.
    pub known: u64,
    pub applied: u64,
    /// Records whose order was in the store already.
    pub duplicates: u64,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let broker = args.next().unwrap_or("127.0.0.1:7400".into());
    let file = args.next().unwrap_or("orders-applied".into());
    fill(&broker, 1_000).await?;
    // As if it were killed: it stops in the middle, and what it was writing is torn.
    println!("killed after 300: {:?}", apply(&broker, Path::new(&file), 300).await?);
    OpenOptions::new().append(true).open(&file)?.write_all(b"0 17 4")?;
    println!("started again:    {:?}", apply(&broker, Path::new(&file), u64::MAX).await?);
    println!("{} orders, each applied once", verify(Path::new(&file))?);
    Ok(())
}

/// Sends new orders, every third of them twice.
pub async fn fill(broker: &str, count: u64) -> Result<(), Error> {
    let client = Client::connect(&[broker.into()], ClientConfig::default()).await?;
    let admin = Admin::new(client.clone());
    if !admin.list_topics().await?.iter().any(|topic| &*topic.name == TOPIC) {
        admin.create_topic(TOPIC, PARTITIONS, &[]).await?;
    }
    let ends = Consumer::new(client.clone(), ConsumerConfig::default())?.end_offsets(&[(TOPIC, 0), (TOPIC, 1)]).await?;
    let first = ends.iter().sum::<u64>();
    let producer = Producer::new(client, ProducerConfig::default()).await?;
    for order in first..first + count {
        let id = order.to_string();
        for _ in 0..if order % 3 == 0 { 2 } else { 1 } {
            // By its id as key, an order goes to one partition, so the sink's threads would not meet over it.
            producer.send(ProducerRecord::new(TOPIC, id.as_bytes()).with_key(id.as_bytes())).await?;
        }
    }
    producer.close().await;
    Ok(())
}

/// Applies what is not applied yet, at most `count_max` records; then it just stops, as a process that is killed does.
pub async fn apply(broker: &str, file: &Path, count_max: u64) -> Result<Report, Error> {
    let client = Client::connect(&[broker.into()], ClientConfig::default()).await?;
    let mut store = Store::open(file)?;
    let mut report = Report { known: store.orders.len() as u64, ..Report::default() };
    let consumer = Consumer::new(client, ConsumerConfig::default())?;
    let start = |partition| {
        let offset = store.next.get(&partition).copied().unwrap_or(0);
        Assignment { topic: TOPIC.into(), partition, start: StartAt::Offset(offset) }
    };
    consumer.assign(&(0..PARTITIONS).map(start).collect::<Vec<_>>()).await?;
    let ends = consumer.end_offsets(&[(TOPIC, 0), (TOPIC, 1)]).await?;
    let mut records = consumer.stream();
    for _ in 0..count_max {
        if (0..PARTITIONS).zip(&ends).all(|(partition, &end)| consumer.position(TOPIC, partition) >= Some(end)) {
            break;
        }
        let Some(record) = records.next().await else { break };
        let record = record?;
        let order = std::str::from_utf8(record.value.as_deref().unwrap_or_default())?.parse()?;
        match store.apply(record.partition, record.offset, order)? {
            true => report.applied += 1,
            false => report.duplicates += 1,
        }
    }
    // A store that is to survive a power cut is flushed before anybody is told.
    store.file.sync_data()?;
    Ok(report)
}

/// Counts the orders of the store; an error if one was applied twice.
pub fn verify(file: &Path) -> Result<u64, Error> {
    let mut seen = HashSet::new();
    for line in std::fs::read_to_string(file)?.lines() {
        let words = line.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        if let [_, _, order, 1] = words[..]
            && !seen.insert(order)
        {
            return Err(format!("order {order} was applied twice").into());
        }
    }
    Ok(seen.len() as u64)
}

/// A file of lines `PARTITION OFFSET ORDER APPLIED`: the effect of an order and the place of its record, in one write.
/// `APPLIED` is 0 for a record whose order had been applied before.
struct Store {
    file: File,
    orders: HashSet<u64>,
    /// The first record of each partition that is not in the store.
    next: BTreeMap<u32, u64>,
}

impl Store {
    fn open(path: &Path) -> Result<Self, Error> {
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        let text = std::fs::read_to_string(path)?;
        // A line without its end was being written when the sink was killed: it never counted.
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        file.set_len(whole as u64)?;
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0))?;
        let (mut orders, mut next) = (HashSet::new(), BTreeMap::new());
        for line in text[..whole].lines() {
            let words = line.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
            let [partition, offset, order, _] = words[..] else { return Err(format!("{line:?} is no entry").into()) };
            orders.insert(order);
            next.insert(u32::try_from(partition)?, offset + 1);
        }
        Ok(Self { file, orders, next })
    }

    /// False when the order was there.
    fn apply(&mut self, partition: u32, offset: u64, order: u64) -> std::io::Result<bool> {
        let new = !self.orders.contains(&order);
        self.file.write_all(format!("{partition} {offset} {order} {}\n", u8::from(new)).as_bytes())?;
        self.orders.insert(order);
        self.next.insert(partition, offset + 1);
        Ok(new)
    }
}
