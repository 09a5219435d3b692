//! The consumer and three brokers whose leaders change, one kind of trouble after the other: every record once, in order, and
//! a position that no leader change moves. A request's own time-out is ten minutes here, so nothing that passes has waited
//! for one.

mod support;

use sluice_client::*;
use std::time::Duration;
use support::{FakeBroker, LONG, Mode, quick};

fn patient() -> ClientConfig {
    ClientConfig { request_timeout_ms: 600_000, connect_timeout_ms: 120_000, ..quick() }
}

struct Reader {
    cluster: FakeBroker,
    consumer: Consumer,
    written: u64,
    read: u64,
}

impl Reader {
    /// Topic t has one partition; broker 0 leads it, and the first records have been read from it.
    async fn start(config: ConsumerConfig) -> Self {
        let cluster = FakeBroker::start_cluster(&[("t", 1)], 3).await;
        let client = Client::connect(&cluster.addresses(), patient()).await.unwrap();
        let consumer = Consumer::new(client, config).unwrap();
        let mut reader = Self { cluster, consumer, written: 0, read: 0 };
        reader.write(20).await;
        let start = Assignment { topic: "t".into(), partition: 0, start: StartAt::Beginning };
        reader.consumer.assign(&[start]).await.unwrap();
        reader.read_all().await;
        reader
    }

    /// By a producer of its own, which finds the leader by itself.
    async fn write(&mut self, count: u64) {
        let client = Client::connect(&self.cluster.addresses(), patient()).await.unwrap();
        let config = ProducerConfig { batch_len_max: 60, ..Default::default() };
        let producer = Producer::new(client, config).await.unwrap();
        for _ in 0..count {
            producer.send(ProducerRecord::new("t", self.written.to_string().as_bytes())).await.unwrap();
            self.written += 1;
        }
        tokio::time::timeout(LONG, producer.close()).await.expect("what is sent has an outcome");
    }

    /// All that was written and not read yet comes, once, in order, and the position is behind it.
    async fn read_all(&mut self) {
        while self.read < self.written {
            let batch = self.consumer.poll(LONG).await.unwrap().expect("there is more");
            for record in batch.records() {
                assert_eq!((record.offset, record.value), (self.read, Some(self.read.to_string().as_bytes())));
                self.read += 1;
            }
        }
        assert_eq!((self.consumer.position("t", 0), self.read), (Some(self.written), self.written));
    }

    async fn fetches(&self, more: u32) {
        let before = self.cluster.state().fetches;
        self.until("fetches come", |cluster| cluster.state().fetches >= before + more).await;
    }

    async fn until(&self, what: &str, is_so: impl Fn(&FakeBroker) -> bool) {
        let waiting = async {
            while !is_so(&self.cluster) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("{what}"));
    }

    /// As a test moves its only partition.
    fn partition<T>(&self, change: impl FnOnce(&mut support::state::PartitionState) -> T) -> T {
        change(&mut self.cluster.state().topics.get_mut("t").unwrap().partitions[0])
    }
}

/// Fetches come back at once, so that many can be waited for.
fn eager() -> ConsumerConfig {
    ConsumerConfig { fetch_wait_ms_max: 1, ..Default::default() }
}

#[tokio::test]
async fn a_leader_that_moves_is_followed() {
    for named in [true, false] {
        let mut reader = Reader::start(ConsumerConfig::default()).await;
        for leader in [1, 2, 0, 1] {
            // Whoever leads now hears of the next one, or has only lost its lease.
            let seats = reader.cluster.addresses().len() as u16;
            (0..seats).for_each(|seat| reader.cluster.keep_view(seat, !named && seat != leader));
            reader.cluster.elect("t", 0, Some(leader));
            reader.write(30).await;
            reader.read_all().await;
        }
    }
}

#[tokio::test]
async fn a_leader_that_falls_silent_or_cannot_be_reached_is_left_for_the_next_one() {
    for how in ["silent", "frozen", "cut and frozen", "stopped"] {
        let mut reader = Reader::start(ConsumerConfig::default()).await;
        match how {
            "silent" => reader.cluster.set_mode(0, Mode::Silent),
            "stopped" => reader.cluster.stop(0),
            _ => reader.cluster.set_mode(0, Mode::Frozen),
        }
        if how == "cut and frozen" {
            reader.cluster.cut(0);
        }
        reader.cluster.elect("t", 0, Some(2));
        reader.write(30).await;
        reader.read_all().await;
    }
}

#[tokio::test]
async fn a_partition_without_leader_or_with_one_that_is_not_ready_is_waited_for() {
    let mut reader = Reader::start(eager()).await;
    reader.cluster.elect("t", 0, None);
    let asked = reader.cluster.state().metadata_requests;
    reader.until("who leads is asked", |cluster| cluster.state().metadata_requests > asked + 5).await;
    reader.cluster.set_mode(1, Mode::Refusing(ErrorCode::NotReady));
    reader.cluster.elect("t", 0, Some(1));
    reader.fetches(5).await;
    reader.cluster.set_mode(1, Mode::Serving);
    reader.write(30).await;
    reader.read_all().await;
}

#[tokio::test]
async fn a_broker_comes_back_at_its_address_or_at_another_one() {
    for same_address in [true, false] {
        let mut reader = Reader::start(ConsumerConfig::default()).await;
        reader.cluster.stop(0);
        reader.cluster.start_again(0, same_address).await;
        reader.cluster.elect("t", 0, Some(0));
        reader.write(30).await;
        reader.read_all().await;
    }
}

/// A new leader learns what is committed from its followers; until then it knows of less than was read from the last one.
#[tokio::test]
async fn what_a_new_leader_does_not_know_to_be_committed_is_waited_for() {
    let mut reader = Reader::start(eager()).await;
    reader.partition(|partition| partition.high_watermark = Some(5));
    reader.cluster.elect("t", 0, Some(1));
    reader.write(30).await;
    reader.fetches(20).await;
    assert!(reader.consumer.try_poll().unwrap().is_none(), "nothing is handed out");
    assert_eq!((reader.consumer.position("t", 0), reader.consumer.high_watermark("t", 0)), (Some(20), Some(20)));
    // The end of a batch in the middle of what is new.
    let ends = |frame: &bytes::Bytes| sluice_model::FrameHeader::parse(frame).unwrap().next_offset().0;
    let end = reader.partition(|partition| partition.frames.iter().map(ends).find(|&end| end > 30).unwrap());
    reader.partition(|partition| partition.high_watermark = Some(end));
    while reader.read < end {
        let batch = reader.consumer.poll(LONG).await.unwrap().expect("there is more");
        reader.read += batch.len() as u64;
        assert!(batch.records().last().unwrap().offset < end);
    }
    reader.partition(|partition| partition.high_watermark = None);
    reader.read_all().await;
}

#[tokio::test]
async fn an_offset_that_was_readable_and_is_called_out_of_range_moves_no_position() {
    for reset in [ResetPolicy::Error, ResetPolicy::Earliest, ResetPolicy::Latest] {
        let mut reader = Reader::start(ConsumerConfig { reset, ..eager() }).await;
        reader.partition(|partition| partition.behind = 10);
        reader.cluster.elect("t", 0, Some(2));
        reader.until("all ten were asked", |cluster| cluster.state().topics["t"].partitions[0].behind == 0).await;
        reader.write(30).await;
        reader.read_all().await;
    }
}

#[tokio::test]
async fn a_topic_is_not_gone_because_one_broker_does_not_know_it() {
    let mut reader = Reader::start(eager()).await;
    // It asks on and on, of each broker in its turn.
    reader.cluster.elect("t", 0, None);
    for seat in [0, 1] {
        reader.cluster.set_mode(seat, Mode::Ignorant);
    }
    let asked = reader.cluster.state().metadata_requests;
    reader.until("who leads is asked", |cluster| cluster.state().metadata_requests > asked + 10).await;
    reader.cluster.elect("t", 0, Some(2));
    reader.write(30).await;
    reader.read_all().await;
    // When nobody knows it, it is gone.
    reader.cluster.state().topics.clear();
    let error = reader.consumer.poll(LONG).await.unwrap_err();
    let ConsumeCause::Client(error) = error.cause else { panic!("{error}") };
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopic));
}

/// What an end is asked of must be allowed to answer (KIP-207); `consume --until-end` relies on it.
#[tokio::test]
async fn the_end_comes_from_a_leader_that_knows_it() {
    let reader = Reader::start(ConsumerConfig::default()).await;
    reader.partition(|partition| (partition.ends_refused, partition.high_watermark) = (5, Some(20)));
    reader.cluster.keep_view(0, true);
    reader.cluster.elect("t", 0, Some(1));
    assert_eq!(reader.consumer.end_offsets(&[("t", 0)]).await.unwrap(), [20]);
    assert_eq!(reader.partition(|partition| partition.ends_refused), 0);
    // From one that is silent it does not come; the next leader is asked.
    reader.cluster.set_mode(1, Mode::Silent);
    reader.cluster.elect("t", 0, Some(2));
    assert_eq!(tokio::time::timeout(LONG, reader.consumer.end_offsets(&[("t", 0)])).await.unwrap().unwrap(), [20]);
}

#[tokio::test]
async fn an_end_that_nobody_knows_is_an_error_after_a_while() {
    let cluster = FakeBroker::start_cluster(&[("t", 1)], 3).await;
    cluster.state().topics.get_mut("t").unwrap().partitions[0].ends_refused = u32::MAX;
    // A silence is possible too, on a machine that has no time for 200 ms: it is asked again then.
    let config = ClientConfig { request_timeout_ms: 200, ..quick() };
    let admin = Admin::new(Client::connect(&cluster.addresses(), config).await.unwrap());
    let answered = async || loop {
        let error = admin.list_offsets(&[("t", 0, StartAt::End)]).await.unwrap_err();
        if !matches!(error, ClientError::Lost { .. } | ClientError::Unreachable { .. }) {
            break error;
        }
    };
    let error = tokio::time::timeout(LONG, answered()).await.expect("a broker is heard");
    assert_eq!(error.code(), Some(ErrorCode::NotReady));
    assert!(error.to_string().contains("does not know yet what is committed"), "{error}");
    cluster.elect("t", 0, None);
    let error = tokio::time::timeout(LONG, answered()).await.expect("a broker is heard");
    assert!(matches!(error.code(), Some(ErrorCode::NotReady)) || matches!(error, ClientError::NoLeader { .. }), "{error}");
}

#[tokio::test]
async fn a_broker_that_leads_nothing_of_it_need_not_answer() {
    let cluster = FakeBroker::start_cluster(&[("t", 3)], 3).await;
    let admin = Admin::new(Client::connect(&cluster.addresses(), patient()).await.unwrap());
    cluster.stop(1);
    cluster.elect("t", 1, Some(2));
    let wanted = [("t", 0), ("t", 1), ("t", 2)];
    let asking = tokio::time::timeout(LONG, admin.describe_leaders(&wanted));
    let leaders: Vec<u32> = asking.await.unwrap().unwrap().iter().map(|shard| shard.address.broker_id).collect();
    assert_eq!(leaders, [1, 3]);
    // One that led a moment ago and is gone.
    cluster.stop(0);
    let (cluster, admin) = (&cluster, &admin);
    let electing = async {
        let asked = cluster.state().metadata_requests;
        while cluster.state().metadata_requests <= asked {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        cluster.elect("t", 0, Some(2));
    };
    let (described, ()) = tokio::join!(tokio::time::timeout(LONG, admin.describe_leaders(&wanted)), electing);
    let leaders: Vec<u32> = described.unwrap().unwrap().iter().map(|shard| shard.address.broker_id).collect();
    assert_eq!(leaders, [3]);
}
