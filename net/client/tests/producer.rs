//! The producer against a broker that misbehaves: every record once, in order, and every outcome true.

mod support;

use sluice_client::*;
use sluice_model::limits::MESSAGE_BODY_LEN_MAX;
use sluice_protocol::PREFIX_LEN;
use support::{FakeBroker, Fault, LONG, quick};

async fn producer(broker: &FakeBroker, config: ProducerConfig) -> Producer {
    let producer = Producer::new(broker.client().await, config).await.unwrap();
    producer.prepare("t").await.unwrap();
    producer
}

/// Small batches, so that many are on the wire.
fn small() -> ProducerConfig {
    ProducerConfig { batch_len_max: 100, ..Default::default() }
}

fn text(n: usize) -> String {
    format!("record-{n:06}")
}

async fn send_all(producer: &Producer, count: usize) -> Vec<Confirm> {
    let mut confirms = Vec::new();
    for n in 0..count {
        confirms.push(producer.send(ProducerRecord::new("t", text(n).as_bytes()).with_partition(0)).await.unwrap());
    }
    confirms
}

async fn outcomes(confirms: Vec<Confirm>) -> Vec<Delivery> {
    let mut outcomes = Vec::new();
    for confirm in confirms {
        outcomes.push(tokio::time::timeout(LONG, confirm).await.expect("an outcome comes"));
    }
    outcomes
}

/// Every record has the offset that its place in the log says, and the log holds all, once, in order.
fn assert_all_written(broker: &FakeBroker, outcomes: &[Delivery]) {
    let values = broker.values("t", 0);
    assert_eq!(values, (0..outcomes.len()).map(text).collect::<Vec<_>>());
    for (n, outcome) in outcomes.iter().enumerate() {
        let Delivery::Acknowledged(ack) = outcome else { panic!("record {n}: {outcome:?}") };
        assert_eq!((ack.partition, ack.durability), (0, Durability::Committed));
        assert!(ack.offset.is_none_or(|offset| offset == n as u64), "record {n}: {ack:?}");
    }
}

#[tokio::test]
async fn one_record_is_acknowledged_with_its_place() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    let producer = producer(&broker, ProducerConfig::default()).await;
    let confirm = producer.send(ProducerRecord::new("t", b"hello").with_key(b"k")).await.unwrap();
    let expected = Acknowledgement {
        partition: 0,
        offset: Some(0),
        durability: Durability::Committed,
        refusal_count: 0,
        append_time_ms: 77,
    };
    assert_eq!(confirm.await, Delivery::Acknowledged(expected));
    assert_eq!(broker.values("t", 0), ["hello"]);
}

#[tokio::test]
async fn records_arrive_in_order_whatever_happens_to_the_requests() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    let refuse = |code| Fault::Refuse(code, 1);
    broker.faults([
        Fault::None,
        refuse(ErrorCode::Overloaded),
        Fault::None,
        Fault::DropAfter,
        Fault::None,
        Fault::DropBefore,
        Fault::Unknown,
        Fault::None,
        Fault::RefuseRequest(ErrorCode::Overloaded),
        Fault::Slow(30),
        refuse(ErrorCode::NotReady),
        refuse(ErrorCode::DiskFull),
        Fault::DropAfter,
        Fault::DropAfter,
        Fault::Unknown,
        Fault::DropBefore,
        refuse(ErrorCode::UnknownTopic),
    ]);
    let producer = producer(&broker, small()).await;
    let confirms = send_all(&producer, 500).await;
    let outcomes = outcomes(confirms).await;
    assert_all_written(&broker, &outcomes);
    assert!(broker.state().hellos > 4, "connections were lost on the way");
}

#[tokio::test]
async fn every_compression_arrives() {
    for compression in Compression::ALL {
        let broker = FakeBroker::start(&[("t", 1)], 1).await;
        let config = ProducerConfig { compression, linger_ms: 5, ..Default::default() };
        let producer = producer(&broker, config).await;
        let confirms = send_all(&producer, 300).await;
        producer.flush().await;
        let outcomes = outcomes(confirms).await;
        assert_all_written(&broker, &outcomes);
    }
}

#[tokio::test]
async fn a_record_refused_for_good_does_not_stop_those_behind_it() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    let producer = producer(&broker, ProducerConfig { batch_len_max: 1, ..Default::default() }).await;
    broker.faults([Fault::None, Fault::Refuse(ErrorCode::InvalidRecords, 0)]);
    let outcomes = outcomes(send_all(&producer, 20).await).await;
    let refused: Vec<usize> = (0..20).filter(|&n| !outcomes[n].is_acknowledged()).collect();
    // All frames of the refused request shared its fate.
    assert!(!refused.is_empty() && refused.len() < 20, "{refused:?}");
    let Delivery::Refused(failure) = &outcomes[refused[0]] else { panic!("{outcomes:?}") };
    assert_eq!(failure.reason, Reason::Broker(ErrorCode::InvalidRecords));
    let written: Vec<String> = (0..20).filter(|n| !refused.contains(n)).map(text).collect();
    assert_eq!(broker.values("t", 0), written);
}

#[tokio::test]
async fn a_timeout_says_refused_only_of_what_is_certainly_not_written() {
    let broker = FakeBroker::start(&[("t", 2)], 1).await;
    let producer = producer(&broker, ProducerConfig { delivery_timeout_ms: 300, ..Default::default() }).await;
    broker.faults([Fault::Silent]);
    let unknown = producer.send(ProducerRecord::new("t", b"a").with_partition(0)).await.unwrap();
    while broker.state().produces == 0 {
        tokio::task::yield_now().await;
    }
    broker.faults(std::iter::repeat_n(Fault::Refuse(ErrorCode::Overloaded, 1), 10_000));
    let refused = producer.send(ProducerRecord::new("t", b"b").with_partition(1)).await.unwrap();
    let Delivery::Unknown(failure) = unknown.await else { panic!() };
    assert_eq!(failure.reason, Reason::DeliveryTimeout);
    let Delivery::Refused(failure) = refused.await else { panic!() };
    assert_eq!(failure.retry_after_ms, 1);
    assert!(failure.text.contains("Overloaded"), "{failure}");
    broker.state().faults.clear();
    // And it goes on, under a new epoch.
    for partition in 0..2 {
        let confirm = producer.send(ProducerRecord::new("t", b"c").with_partition(partition)).await.unwrap();
        assert!(confirm.await.is_acknowledged());
    }
    assert_eq!((broker.values("t", 0), broker.values("t", 1)), (vec!["a".into(), "c".into()], vec!["c".into()]));
}

#[tokio::test]
async fn a_connection_that_does_not_answer_is_left_and_the_question_asked_again() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    let config = ClientConfig { request_timeout_ms: 100, ..quick() };
    let client = Client::connect(&broker.addresses(), config).await.unwrap();
    let producer = Producer::new(client, ProducerConfig::default()).await.unwrap();
    broker.faults([Fault::Silent]);
    let confirm = producer.send(ProducerRecord::new("t", b"once")).await.unwrap();
    let Delivery::Acknowledged(ack) = confirm.await else { panic!() };
    assert_eq!(ack.offset, Some(0));
    assert_eq!(broker.values("t", 0), ["once"]);
    assert!(broker.state().produces >= 2);
}

#[tokio::test]
async fn a_partition_that_moves_is_followed() {
    let broker = FakeBroker::start(&[("t", 2)], 2).await;
    let producer = producer(&broker, small()).await;
    assert!(outcomes(send_all(&producer, 10).await).await.iter().all(Delivery::is_acknowledged));
    broker.state().topics.get_mut("t").unwrap().partitions[0].moved_to = Some(1);
    let more = send_all(&producer, 10).await;
    assert!(outcomes(more).await.iter().all(Delivery::is_acknowledged));
    assert_eq!(broker.values("t", 0).len(), 20);
}

#[tokio::test]
async fn a_topic_created_again_gets_the_rest() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    let producer = producer(&broker, small()).await;
    assert!(outcomes(send_all(&producer, 10).await).await.iter().all(Delivery::is_acknowledged));
    broker.state().create("t", 1);
    let outcomes = outcomes(send_all(&producer, 10).await).await;
    assert_all_written(&broker, &outcomes);
}

#[tokio::test]
async fn keys_choose_partitions_as_kafkas_clients_do_and_others_spread() {
    let broker = FakeBroker::start(&[("t", 7)], 2).await;
    let producer = producer(&broker, small()).await;
    let mut confirms = Vec::new();
    for n in 0..200 {
        let key = text(n);
        let confirm = producer.send(ProducerRecord::new("t", b"v").with_key(key.as_bytes())).await.unwrap();
        assert_eq!(confirm.partition(), partition_for_key(key.as_bytes(), 7));
        confirms.push(confirm);
    }
    for _ in 0..500 {
        confirms.push(producer.send(ProducerRecord::new("t", b"w")).await.unwrap());
    }
    assert!(outcomes(confirms).await.iter().all(Delivery::is_acknowledged));
    for partition in 0..7 {
        assert!(broker.values("t", partition).iter().any(|v| v == "w"), "partition {partition}");
    }
}

#[tokio::test]
async fn records_of_many_partitions_share_a_request() {
    let broker = FakeBroker::start(&[("t", 64)], 1).await;
    let producer = producer(&broker, ProducerConfig::default()).await;
    let warm = producer.send(ProducerRecord::new("t", b"w").with_partition(0)).await.unwrap();
    assert!(warm.await.is_acknowledged());
    let before = broker.state().produces;
    let confirms: Vec<Confirm> =
        (0..64).map(|p| producer.try_send(ProducerRecord::new("t", b"x").with_partition(p)).unwrap()).collect();
    assert!(outcomes(confirms).await.iter().all(Delivery::is_acknowledged));
    assert_eq!(broker.state().produces, before + 1);
}

#[tokio::test]
async fn memory_is_bounded() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    let config = ProducerConfig { batch_len_max: 1000, buffer_len_max: 5000, ..Default::default() };
    let producer = producer(&broker, config).await;
    broker.faults([Fault::Slow(100)]);
    let value = [b'x'; 500];
    let record = ProducerRecord::new("t", &value);
    let mut taken = 0;
    let full = loop {
        match producer.try_send(record) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, SendError::BufferFull), "{full}");
    assert_eq!(taken, 5000 / 564);
    let large = [b'x'; 6000];
    let too_large = producer.send(ProducerRecord::new("t", &large)).await.err().unwrap();
    assert!(matches!(too_large, SendError::TooLarge { .. }), "{too_large}");
    // `send` waits for room instead.
    for _ in 0..50 {
        producer.send(record).await.unwrap();
    }
    producer.flush().await;
    assert_eq!(producer.buffer_available(), 5000);
    assert_eq!(broker.values("t", 0).len(), taken + 50);
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_at_once() {
    let broker = FakeBroker::start(&[("t", 2)], 1).await;
    let producer = producer(&broker, ProducerConfig::default()).await;
    let unknown = producer.send(ProducerRecord::new("nowhere", b"x")).await.err().unwrap();
    assert!(matches!(&unknown, SendError::Client(e) if e.code() == Some(ErrorCode::UnknownTopic)), "{unknown}");
    let partition = producer.send(ProducerRecord::new("t", b"x").with_partition(2)).await.err().unwrap();
    assert_eq!(partition.to_string(), "topic t has 2 partitions, numbered from 0");
    let negative = ProducerRecord { timestamp_ms: Some(-5), ..ProducerRecord::new("t", b"x") };
    assert!(matches!(producer.send(negative).await.err().unwrap(), SendError::Record(_)));
    let huge = vec![0; 2 << 20];
    let huge = producer.send(ProducerRecord::new("t", &huge)).await.err().unwrap();
    assert!(matches!(huge, SendError::TooLarge { .. }), "{huge}");
    assert!(matches!(producer.try_send(ProducerRecord::new("u", b"")).err().unwrap(), SendError::TopicNotPrepared { .. }));
    assert_eq!(producer.buffer_available(), ProducerConfig::default().buffer_len_max);
}

#[tokio::test]
async fn acks_none_is_settled_when_it_has_left() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    let producer = producer(&broker, ProducerConfig { acks: Acks::None, ..small() }).await;
    let outcomes = outcomes(send_all(&producer, 100).await).await;
    let expected =
        Acknowledgement { partition: 0, offset: None, durability: Durability::None, refusal_count: 0, append_time_ms: 0 };
    assert!(outcomes.iter().all(|o| *o == Delivery::Acknowledged(expected)));
    while broker.values("t", 0).len() < 100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn closing_waits_and_dropping_tells_the_truth() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    let first = producer(&broker, ProducerConfig { linger_ms: 60_000, ..Default::default() }).await;
    let confirm = first.send(ProducerRecord::new("t", b"a")).await.unwrap();
    first.close().await;
    assert!(confirm.now().unwrap().is_acknowledged());
    let second = producer(&broker, ProducerConfig { linger_ms: 60_000, ..Default::default() }).await;
    let confirm = second.send(ProducerRecord::new("t", b"b")).await.unwrap();
    drop(second);
    let Some(Delivery::Refused(failure)) = confirm.now() else { panic!() };
    assert_eq!(failure.reason, Reason::Closed);
    assert_eq!(broker.values("t", 0), ["a"]);
}

#[tokio::test]
async fn an_unreachable_broker_is_named() {
    let error = Client::connect(&["127.0.0.1:1".into()], quick()).await.err().unwrap();
    let text = error.to_string();
    assert!(text.starts_with("cannot reach any of the brokers: 127.0.0.1:1 ("), "{text}");
    let error = Client::connect(&["::1".into()], quick()).await.err().unwrap();
    assert!(error.to_string().contains("brackets"), "{error}");
}

#[tokio::test]
async fn a_peer_that_is_no_broker_is_named() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = Client::connect(&[address], quick()).await.err().unwrap();
    assert!(error.to_string().contains("speaking this protocol"), "{error}");
}

/// Many tasks on several threads, through lost connections and refusals: each task's records are there once and in
/// the order it sent them.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn many_senders_share_a_producer() {
    let broker = FakeBroker::start(&[("t", 3)], 2).await;
    let config = ProducerConfig { batch_len_max: 300, buffer_len_max: 20_000, ..Default::default() };
    let producer = producer(&broker, config).await;
    broker.faults((0..200).map(|n| match n % 11 {
        3 => Fault::DropAfter,
        5 => Fault::Refuse(ErrorCode::Overloaded, 1),
        7 => Fault::Unknown,
        9 => Fault::DropBefore,
        _ => Fault::None,
    }));
    let senders = (0..6).map(|sender| {
        let producer = producer.clone();
        tokio::spawn(async move {
            let mut confirms = Vec::new();
            for n in 0..300 {
                let value = format!("{sender}-{n:04}");
                let record = ProducerRecord::new("t", value.as_bytes()).with_partition(sender % 3);
                confirms.push(producer.send(record).await.unwrap());
            }
            assert!(outcomes(confirms).await.iter().all(Delivery::is_acknowledged));
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    for sender in 0..6 {
        let own = format!("{sender}-");
        let values: Vec<String> = broker.values("t", sender % 3).into_iter().filter(|v| v.starts_with(&own)).collect();
        assert_eq!(values, (0..300).map(|n| format!("{sender}-{n:04}")).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn requests_are_as_short_as_the_broker_wants_and_what_it_can_never_take_is_refused_at_once() {
    const FRAMES_LEN_MAX: usize = 4_000;
    let broker = FakeBroker::start(&[("t", 4)], 1).await;
    broker.state().message_len_max = (PREFIX_LEN + MESSAGE_BODY_LEN_MAX + FRAMES_LEN_MAX) as u32;
    // A failure to give up would show as a time-out of the test, not as an outcome.
    let config = ProducerConfig { delivery_timeout_ms: 600_000, ..Default::default() };
    let producer = producer(&broker, config).await;
    let send = |partition, len| producer.send(ProducerRecord::new("t", &[b'v'; 8_000][..len]).with_partition(partition));
    let mut confirms = Vec::new();
    for partition in 0..4 {
        confirms.push(send(partition, 3_000).await.unwrap());
    }
    assert!(outcomes(confirms).await.iter().all(Delivery::is_acknowledged), "together they are longer than that");
    let too_long = outcomes(vec![send(0, 8_000).await.unwrap()]).await;
    let [Delivery::Refused(failure)] = &too_long[..] else { panic!("{too_long:?}") };
    assert_eq!(failure.reason, Reason::Client);
    assert!(failure.text.contains("more than the broker accepts"), "{failure:?}");
    assert!(outcomes(vec![send(0, 10).await.unwrap()]).await[0].is_acknowledged(), "it holds nothing up");
}
