//! A producer and a consumer against three brokers whose leaders move at random, while connections are cut and brokers fall
//! silent, stop, forget, and come back: every record acknowledged is in the log once, in its order, at the offset that its
//! sender was told, and the consumer gets exactly the log.
//!
//! `SLUICE_SEED=n` makes the choices of one seed again; how they fall among the records is up to the machine.
//! `SLUICE_SEEDS=n` goes through as many.

mod support;

use sluice_client::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::{FakeBroker, Fault, Mode, quick};

const SEEDS: u64 = 4;
const BROKERS: u16 = 3;
const PARTITIONS: u32 = 2;
const RECORDS: u64 = 400;
const STEPS: u64 = 60;
/// For everything to come to rest once the trouble is over; no more than a guard against waiting for ever.
const REST: Duration = Duration::from_secs(120);

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn seat(&mut self) -> u16 {
        self.below(BROKERS.into()) as u16
    }

    fn partition(&mut self) -> usize {
        self.below(PARTITIONS.into()) as usize
    }
}

fn value(partition: u32, n: u64) -> String {
    format!("p{partition}-{n:05}")
}

/// Sends the records of all partitions in turn; the offset that each was acknowledged with.
async fn produce(addresses: Vec<String>, progress: Arc<AtomicU64>) -> Vec<Vec<Option<u64>>> {
    // So short that a leader that falls silent is soon doubted; what is undone by that is done again.
    let config = ClientConfig { request_timeout_ms: 1_000, connect_timeout_ms: 2_000, ..quick() };
    let client = Client::connect(&addresses, config).await.unwrap();
    let config = ProducerConfig {
        batch_len_max: 60,
        delivery_timeout_ms: 600_000,
        buffer_len_max: 2_000,
        on_full: OnFull::Block { timeout_ms: 600_000 },
        ..Default::default()
    };
    let producer = Producer::new(client, config).await.unwrap();
    let mut confirms: Vec<Vec<Confirm>> = (0..PARTITIONS).map(|_| Vec::new()).collect();
    for n in 0..RECORDS {
        for partition in 0..PARTITIONS {
            let value = value(partition, n);
            let record = ProducerRecord::new("t", value.as_bytes()).with_partition(partition);
            confirms[partition as usize].push(producer.send(record).await.unwrap());
            progress.fetch_add(1, Ordering::Relaxed);
        }
    }
    let mut offsets = Vec::new();
    for confirms in confirms {
        let mut of_partition = Vec::new();
        for confirm in confirms {
            of_partition.push(confirm.await.acknowledged().expect("nothing is given up").offset);
        }
        offsets.push(of_partition);
    }
    producer.close().await;
    offsets
}

/// Reads all records of all partitions, each at its place.
async fn consume(addresses: Vec<String>, progress: Arc<AtomicU64>) {
    let config = ClientConfig { request_timeout_ms: 600_000, connect_timeout_ms: 2_000, ..quick() };
    let client = Client::connect(&addresses, config).await.unwrap();
    let mut consumer = Consumer::new(client, ConsumerConfig { fetch_wait_ms_max: 20, ..Default::default() }).unwrap();
    let start = |partition| Assignment { topic: "t".into(), partition, start: StartAt::Beginning };
    consumer.assign(&(0..PARTITIONS).map(start).collect::<Vec<_>>()).await.unwrap();
    let mut next = [0; PARTITIONS as usize];
    while next.iter().any(|&next| next < RECORDS) {
        let Some(batch) = consumer.poll(Duration::from_millis(100)).await.unwrap() else { continue };
        for record in batch.records() {
            let next = &mut next[batch.partition() as usize];
            assert_eq!(record.offset, *next, "partition {}", batch.partition());
            assert_eq!(record.value, Some(value(batch.partition(), *next).as_bytes()));
            *next += 1;
            progress.fetch_add(1, Ordering::Relaxed);
        }
    }
    for partition in 0..PARTITIONS {
        assert_eq!(consumer.position("t", partition), Some(RECORDS));
    }
}

/// One piece of trouble, or the end of one.
async fn step(cluster: &FakeBroker, random: &mut Random) {
    let (seat, partition) = (random.seat(), random.partition());
    match random.below(12) {
        0..=3 => cluster.elect("t", partition, Some(seat)),
        4 => cluster.elect("t", partition, None),
        5 => cluster.cut(seat),
        6 => {
            cluster.stop(seat);
            // Were all to move at once, nobody could find any of them again.
            let same_address = seat == 0 || random.below(2) == 0;
            if random.below(2) == 0 {
                cluster.start_again(seat, same_address).await;
                cluster.elect("t", partition, Some(seat));
            }
        }
        7 => {
            let modes = [Mode::Silent, Mode::Frozen, Mode::Refusing(ErrorCode::NotReady), Mode::Ignorant];
            recover(cluster, seat).await;
            let others_are_ignorant = cluster.state().seats.iter().any(|seat| seat.mode == Mode::Ignorant);
            // Of a topic that nobody knows a consumer is told that it is gone.
            cluster.set_mode(seat, modes[random.below(if others_are_ignorant { 3 } else { 4 }) as usize]);
        }
        8 => cluster.keep_view(seat, random.below(2) == 0),
        9 => recover(cluster, seat).await,
        10 => {
            let mut state = cluster.state();
            let partition = &mut state.topics.get_mut("t").unwrap().partitions[partition];
            partition.behind = random.below(5) as u32;
            partition.high_watermark = (random.below(2) == 0).then(|| random.below(partition.next_offset + 1));
        }
        _ => {
            let faults = [
                Fault::DropBefore,
                Fault::DropAfter,
                Fault::Unknown,
                Fault::LeadershipLost,
                Fault::Silent,
                Fault::Slow(5),
                Fault::Refuse(ErrorCode::NotReady, 3),
                Fault::Refuse(ErrorCode::NotLeader, 0),
                Fault::Refuse(ErrorCode::LeadershipLost, 0),
                Fault::Refuse(ErrorCode::NotEnoughReplicas, 1),
                Fault::RefuseRequest(ErrorCode::Overloaded),
            ];
            let count = 1 + random.below(5);
            cluster.faults((0..count).map(|_| faults[random.below(faults.len() as u64) as usize]));
        }
    }
}

/// A broker is as it should be. What it left unanswered it has forgotten.
async fn recover(cluster: &FakeBroker, seat: u16) {
    cluster.set_mode(seat, Mode::Serving);
    cluster.keep_view(seat, false);
    cluster.cut(seat);
    let is_stopped = cluster.state().seats[seat as usize].listener.is_none();
    if is_stopped {
        cluster.start_again(seat, true).await;
    }
}

async fn run(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let cluster = FakeBroker::start_cluster(&[("t", PARTITIONS)], BROKERS).await;
    let progress = Arc::new(AtomicU64::new(0));
    let producing = tokio::spawn(produce(cluster.addresses(), progress.clone()));
    let consuming = tokio::spawn(consume(cluster.addresses(), progress.clone()));
    while progress.load(Ordering::Relaxed) < 10 && !producing.is_finished() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for _ in 0..STEPS {
        step(&cluster, &mut random).await;
        // A little happens between two steps, or nothing can.
        let before = progress.load(Ordering::Relaxed);
        let (wanted, patience) = (random.below(40), random.below(20));
        for _ in 0..patience {
            if progress.load(Ordering::Relaxed) >= before + wanted || consuming.is_finished() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    cluster.state().faults.clear();
    for partition in &mut cluster.state().topics.get_mut("t").unwrap().partitions {
        (partition.behind, partition.high_watermark) = (0, None);
    }
    for seat in 0..BROKERS {
        recover(&cluster, seat).await;
    }
    for partition in 0..PARTITIONS as usize {
        cluster.elect("t", partition, Some(random.seat()));
    }
    let offsets = tokio::time::timeout(REST, producing).await.expect("every record has its outcome").unwrap();
    tokio::time::timeout(REST, consuming).await.expect("the consumer gets all").unwrap();
    for (partition, offsets) in (0..).zip(offsets) {
        let expected: Vec<String> = (0..RECORDS).map(|n| value(partition, n)).collect();
        assert_eq!(cluster.values("t", partition as usize), expected, "partition {partition}");
        for (n, offset) in (0..).zip(offsets) {
            assert!(offset.is_none_or(|offset| offset == n), "record {n} of partition {partition} is said to be at {offset:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_doubled_or_reordered() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds = number("SLUICE_SEED").map_or(1..=number("SLUICE_SEEDS").unwrap_or(SEEDS), |seed| seed..=seed);
    for seed in seeds {
        println!("seed {seed}");
        run(seed).await;
    }
}
