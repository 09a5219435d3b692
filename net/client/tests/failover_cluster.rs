//! What a client of a real cluster meets: the broker that it was given is gone, brokers hear of a topic or of a leader one
//! after the other, and a producer that wants no answers is told nothing. A request's own time-out is ten minutes where
//! nothing else is said, so nothing that passes has waited for one.

mod support;

use sluice_client::*;
use std::time::Duration;
use support::{FakeBroker, Fault, LONG, Mode, quick};

fn patient() -> ClientConfig {
    ClientConfig { request_timeout_ms: 600_000, connect_timeout_ms: 120_000, ..quick() }
}

fn small() -> ProducerConfig {
    ProducerConfig { batch_len_max: 100, delivery_timeout_ms: 600_000, ..Default::default() }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.unwrap_or_else(|_| panic!("{what}"))
}

async fn until(cluster: &FakeBroker, what: &str, is_so: impl Fn(&FakeBroker) -> bool) {
    let waiting = async {
        while !is_so(cluster) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within(what, waiting).await;
}

async fn send(producer: &Producer, partition: u32, value: &str) -> Confirm {
    let record = ProducerRecord::new("t", value.as_bytes()).with_partition(partition);
    within("room for a record", producer.send(record)).await.unwrap()
}

async fn acknowledged(confirm: Confirm) {
    let outcome = within("an outcome comes", confirm).await;
    assert!(outcome.is_acknowledged(), "{outcome:?}");
}

async fn reading(client: &Client, partitions: u32) -> Consumer {
    let config = ConsumerConfig { fetch_wait_ms_max: 5, ..Default::default() };
    let consumer = Consumer::new(client.clone(), config).unwrap();
    let start = |partition| Assignment { topic: "t".into(), partition, start: StartAt::Beginning };
    let all: Vec<_> = (0..partitions).map(start).collect();
    within("the beginnings are known", consumer.assign(&all)).await.unwrap();
    consumer
}

/// The values that come, until there are so many.
async fn read(consumer: &mut Consumer, count: usize) -> Vec<String> {
    let mut values = Vec::new();
    while values.len() < count {
        let batch = consumer.poll(LONG).await.unwrap().expect("there is more");
        let texts = batch.records().map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap());
        values.extend(texts);
    }
    values.sort();
    values
}

#[tokio::test]
async fn one_address_is_enough_and_its_broker_may_die() {
    let cluster = FakeBroker::start_cluster(&[("t", 3)], 3).await;
    let client = Client::connect(&cluster.addresses()[..1], patient()).await.unwrap();
    let producer = Producer::new(client.clone(), small()).await.unwrap();
    let mut consumer = reading(&client, 3).await;
    for partition in 0..3 {
        acknowledged(send(&producer, partition, &format!("a{partition}")).await).await;
    }
    assert_eq!(read(&mut consumer, 3).await, ["a0", "a1", "a2"]);
    cluster.stop(0);
    cluster.elect("t", 0, Some(2));
    for partition in 0..3 {
        acknowledged(send(&producer, partition, &format!("b{partition}")).await).await;
    }
    assert_eq!(read(&mut consumer, 3).await, ["b0", "b1", "b2"]);
    // Whatever begins only now finds the others too.
    let late = within("a producer begins", Producer::new(client.clone(), small())).await.unwrap();
    acknowledged(send(&late, 0, "c").await).await;
    let mut late = reading(&client, 3).await;
    assert_eq!(read(&mut late, 7).await, ["a0", "a1", "a2", "b0", "b1", "b2", "c"]);
    let admin = Admin::new(client);
    within("a topic is made", admin.create_topic("u", 2, &[])).await.unwrap();
    let topic = within("it is described", admin.describe_topic("u")).await.unwrap();
    assert_eq!(topic.partitions.len(), 2);
}

/// Given by a leader that opens, that has lost its lease, whose epochs are behind, or that has not heard of the topic yet.
const PASSING: [ErrorCode; 8] = [
    ErrorCode::NotReady,
    ErrorCode::NotLeader,
    ErrorCode::FencedLeaderEpoch,
    ErrorCode::UnknownLeaderEpoch,
    ErrorCode::UnknownTopic,
    ErrorCode::UnknownPartition,
    ErrorCode::NotEnoughReplicas,
    ErrorCode::ShuttingDown,
];

#[tokio::test]
async fn what_passes_is_tried_again() {
    for code in PASSING {
        let cluster = FakeBroker::start_cluster(&[("t", 1)], 3).await;
        let client = Client::connect(&cluster.addresses()[1..2], patient()).await.unwrap();
        let producer = Producer::new(client.clone(), small()).await.unwrap();
        let mut consumer = reading(&client, 1).await;
        cluster.set_mode(0, Mode::Refusing(code));
        let produces = cluster.state().produces;
        let fetches = cluster.state().fetches;
        let confirm = send(&producer, 0, "x").await;
        until(&cluster, &format!("{code:?}: produces come again"), |c| c.state().produces > produces + 3).await;
        until(&cluster, &format!("{code:?}: fetches come again"), |c| c.state().fetches > fetches + 3).await;
        let asked = cluster.state().offset_questions;
        let asking = within("the end is known", consumer.end_offsets(&[("t", 0)]));
        let (end, ()) = tokio::join!(asking, async {
            until(&cluster, &format!("{code:?}: the end is asked again"), |c| c.state().offset_questions > asked + 3).await;
            cluster.set_mode(0, Mode::Serving);
        });
        assert!(end.as_ref().is_ok_and(|end| end[0] <= 1), "{code:?}: {end:?}");
        acknowledged(confirm).await;
        assert_eq!(read(&mut consumer, 1).await, ["x"], "{code:?}");
        assert_eq!(cluster.values("t", 0), ["x"], "{code:?}");
    }
}

#[tokio::test]
async fn a_topic_that_most_brokers_have_not_heard_of_is_found() {
    let cluster = FakeBroker::start_cluster(&[], 3).await;
    let maker = Admin::new(Client::connect(&cluster.addresses()[2..], patient()).await.unwrap());
    maker.create_topic("t", 3, &[]).await.unwrap();
    cluster.set_mode(0, Mode::Ignorant);
    cluster.set_mode(1, Mode::Ignorant);
    let client = Client::connect(&cluster.addresses()[..1], patient()).await.unwrap();
    let producer = Producer::new(client.clone(), small()).await.unwrap();
    for partition in 0..3 {
        acknowledged(send(&producer, partition, "x").await).await;
    }
    assert_eq!(read(&mut reading(&client, 3).await, 3).await, ["x", "x", "x"]);
}

/// Each leader has what it was sent and says nothing, or its connection ends with the answer: the fourth knows it all.
#[tokio::test]
async fn three_leaders_in_a_row_that_do_not_answer_write_nothing_twice() {
    for is_cut in [false, true] {
        let cluster = FakeBroker::start_cluster(&[("t", 1)], 4).await;
        let client = Client::connect(&cluster.addresses()[3..], patient()).await.unwrap();
        let producer = Producer::new(client, small()).await.unwrap();
        let mut values = Vec::new();
        // The connections stand before, since one that is silent lets nobody in.
        for seat in [1, 2, 3, 0] {
            cluster.elect("t", 0, Some(seat));
            values.push(format!("begun-{}", values.len()));
            acknowledged(send(&producer, 0, values.last().unwrap()).await).await;
        }
        let mut confirms = Vec::new();
        for seat in 0..3 {
            let produces = cluster.state().produces;
            if is_cut {
                cluster.faults([Fault::DropAfter]);
            } else {
                cluster.set_mode(seat, Mode::Silent);
            }
            if seat > 0 {
                cluster.elect("t", 0, Some(seat));
            }
            for n in 0..3 {
                values.push(format!("{seat}-{n}"));
                confirms.push(send(&producer, 0, values.last().unwrap()).await);
            }
            until(&cluster, &format!("leader {seat} is sent something"), |c| c.state().produces > produces).await;
        }
        cluster.elect("t", 0, Some(3));
        for confirm in confirms {
            acknowledged(confirm).await;
        }
        assert_eq!(cluster.values("t", 0), values);
    }
}

/// The broker that leads no longer throws its records away, and says nothing.
#[tokio::test]
async fn a_producer_without_answers_hears_of_the_next_leader() {
    for old_one_knows in [true, false] {
        let cluster = FakeBroker::start_cluster(&[("t", 1)], 3).await;
        let client = Client::connect(&cluster.addresses()[..1], patient()).await.unwrap();
        let producer = Producer::new(client, ProducerConfig { acks: Acks::None, ..small() }).await.unwrap();
        acknowledged(send(&producer, 0, "before").await).await;
        until(&cluster, "it is written", |c| c.values("t", 0) == ["before"]).await;
        cluster.keep_view(0, !old_one_knows);
        cluster.elect("t", 0, Some(2));
        let sending = async {
            while cluster.values("t", 0).len() < 2 {
                acknowledged(send(&producer, 0, "after").await).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within("the next leader gets some", sending).await;
    }
}

/// What has not left within a request's time-out is refused, so that its memory comes free.
#[tokio::test]
async fn records_without_answers_do_not_wait_for_ever_at_a_broker_that_takes_nothing() {
    let cluster = FakeBroker::start_cluster(&[("t", 1)], 1).await;
    let config = ClientConfig { request_timeout_ms: 300, ..patient() };
    let client = Client::connect(&cluster.addresses(), config).await.unwrap();
    let config = ProducerConfig { acks: Acks::None, delivery_timeout_ms: 600_000, ..Default::default() };
    let producer = Producer::new(client, config).await.unwrap();
    acknowledged(send(&producer, 0, "before").await).await;
    cluster.set_mode(0, Mode::Deaf);
    // More than the buffers of any socket.
    let value = "v".repeat(500_000);
    let mut confirms = Vec::new();
    for _ in 0..80 {
        confirms.push(send(&producer, 0, &value).await);
    }
    let refused = async {
        for confirm in confirms {
            if let Delivery::Refused(failure) = confirm.await {
                return failure;
            }
        }
        panic!("forty megabytes have left to a broker that takes nothing");
    };
    let failure = within("a record is given up", refused).await;
    assert!(failure.text.contains("before the batch had left"), "{failure}");
    cluster.set_mode(0, Mode::Serving);
    acknowledged(send(&producer, 0, "after").await).await;
    until(&cluster, "it goes on", |c| c.values("t", 0).last().is_some_and(|last| last == "after")).await;
}
