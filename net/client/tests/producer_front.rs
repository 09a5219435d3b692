//! What an application sees of a producer: callbacks, interceptors, statistics, a full buffer, cancellation, its end.

mod support;

use sluice_client::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;
use support::{FakeBroker, Fault, LONG};

async fn producer(broker: &FakeBroker, config: ProducerConfig) -> Producer {
    let producer = Producer::new(broker.client().await, config).await.unwrap();
    producer.prepare("t").await.unwrap();
    producer
}

/// Room for ten records of `record`, a batch each.
fn tight(on_full: OnFull) -> ProducerConfig {
    ProducerConfig { batch_len_max: 1, buffer_len_max: 10 * (64 + 36), on_full, ..Default::default() }
}

fn record(value: &[u8]) -> ProducerRecord<'_> {
    assert_eq!(value.len(), 36);
    ProducerRecord::new("t", value)
}

fn value(n: usize) -> Vec<u8> {
    format!("{n:036}").into_bytes()
}

/// A broker that restarts says so, or says nothing; the topic is there all the same.
#[tokio::test]
async fn the_first_send_to_a_topic_waits_for_a_broker_that_restarts() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    let producer = Producer::new(broker.client().await, ProducerConfig::default()).await.unwrap();
    let stops = [Some(ErrorCode::ShuttingDown), None, Some(ErrorCode::ShuttingDown), None];
    broker.state().metadata_faults.extend(stops);
    let delivery = producer.send(ProducerRecord::new("t", b"x")).await.unwrap().await;
    assert_eq!(delivery.acknowledged().unwrap().offset, Some(0));
    assert_eq!(broker.state().metadata_requests, 2 + stops.len() as u32);
    broker.state().metadata_faults.push_back(Some(ErrorCode::InvalidArgument));
    let refused = producer.send(ProducerRecord::new("elsewhere", b"x")).await.map(drop).unwrap_err();
    assert!(refused.to_string().contains("InvalidArgument"), "only what passes is waited for: {refused}");
    producer.close().await;
}

#[tokio::test]
async fn topics_that_wait_for_a_broker_do_not_wait_for_each_other() {
    let broker = FakeBroker::start(&[("t", 1), ("withheld", 1)], 1).await;
    let producer = Producer::new(broker.client().await, ProducerConfig::default()).await.unwrap();
    let asked_before = broker.state().metadata_requests;
    broker.state().withheld_topic = Some("withheld".into());
    let waiting = producer.clone();
    let waits = tokio::spawn(async move { waiting.send(ProducerRecord::new("withheld", b"x")).await.map(drop) });
    while broker.state().metadata_requests < asked_before + 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    producer.send(ProducerRecord::new("t", b"x")).await.unwrap().await.acknowledged().unwrap();
    assert!(!waits.is_finished(), "the other one is still withheld");
    broker.state().withheld_topic = None;
    waits.await.unwrap().unwrap();
    producer.close().await;
}

#[derive(Default)]
struct Watcher {
    sent: Mutex<Vec<(String, u32)>>,
    outcomes: Mutex<Vec<(u32, u32, Option<u64>)>>,
}

impl ProducerInterceptor for Watcher {
    fn on_send(&self, record: &ProducerRecord<'_>, partition: u32) {
        let value = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
        self.sent.lock().unwrap().push((value, partition));
    }

    fn on_outcome(&self, outcome: &BatchOutcome<'_>) {
        assert_eq!((outcome.topic, outcome.len > 0, outcome.sendings > 0), ("t", true, true));
        let offset = outcome.delivery.clone().acknowledged().unwrap().offset;
        self.outcomes.lock().unwrap().push((outcome.partition, outcome.record_count, offset));
    }
}

struct Broken;

impl ProducerInterceptor for Broken {
    fn on_send(&self, _: &ProducerRecord<'_>, _: u32) {
        panic!("a bug in an interceptor, on purpose");
    }

    fn on_outcome(&self, _: &BatchOutcome<'_>) {
        panic!("a bug in an interceptor, on purpose");
    }
}

#[tokio::test]
async fn interceptors_see_everything_and_change_nothing() {
    let broker = FakeBroker::start(&[("t", 2)], 1).await;
    broker.faults([Fault::None, Fault::DropAfter, Fault::Refuse(ErrorCode::Overloaded, 1)]);
    let watcher = Arc::new(Watcher::default());
    let interceptors: Vec<Arc<dyn ProducerInterceptor>> = vec![Arc::new(Broken), watcher.clone()];
    let config = ProducerConfig { batch_len_max: 300, ..Default::default() };
    let producer = Producer::with_interceptors(broker.client().await, config, interceptors).await.unwrap();
    let expected: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    for value in &expected {
        producer.send(ProducerRecord::new("t", value.as_bytes()).with_partition(1)).await.unwrap();
    }
    producer.flush().await;
    assert_eq!(broker.values("t", 1), expected);
    assert_eq!(*watcher.sent.lock().unwrap(), expected.iter().map(|v| (v.clone(), 1)).collect::<Vec<_>>());
    let mut next = 0;
    for &(partition, count, offset) in watcher.outcomes.lock().unwrap().iter() {
        assert_eq!(partition, 1);
        assert!(offset.is_none_or(|offset| offset == next), "{offset:?} where {next} is next");
        next += u64::from(count);
    }
    assert_eq!(next, 200);
}

#[tokio::test]
async fn callbacks_come_once_in_order_and_a_flush_waits_for_them() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    broker.faults([Fault::Slow(20), Fault::DropAfter]);
    let producer = producer(&broker, ProducerConfig { batch_len_max: 100, ..Default::default() }).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    for n in 0..100u64 {
        let (then, text) = (seen.clone(), n.to_string());
        let callback = move |delivery: Delivery| {
            // Slower than the flush would be, did it not wait.
            std::thread::sleep(Duration::from_micros(200));
            assert!(delivery.is_acknowledged(), "{delivery:?}");
            then.lock().unwrap().push(n);
        };
        let record = ProducerRecord::new("t", text.as_bytes());
        if n % 2 == 0 { producer.send_with(record, callback).await } else { producer.try_send_with(record, callback) }.unwrap();
    }
    producer.flush().await;
    assert_eq!(*seen.lock().unwrap(), (0..100).collect::<Vec<_>>());
    let called = Arc::new(AtomicUsize::new(0));
    let then = called.clone();
    let callback = move |_| then.store(1, Ordering::SeqCst);
    producer.send_with(ProducerRecord::new("nowhere", b"x"), callback).await.unwrap_err();
    producer.flush().await;
    assert_eq!(called.load(Ordering::SeqCst), 0, "a record that was not taken has no outcome");
}

/// The broker may answer a later batch first; who is told of it hears of the earlier one before.
#[tokio::test]
async fn outcomes_come_in_order_though_answers_do_not() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    let watcher = Arc::new(Watcher::default());
    let config = ProducerConfig { batch_len_max: 1, request_len_max: 1, ..Default::default() };
    let client = broker.client().await;
    let producer = Producer::with_interceptors(client, config, vec![watcher.clone()]).await.unwrap();
    producer.send(ProducerRecord::new("t", b"warm")).await.unwrap().await.acknowledged().unwrap();
    broker.faults([Fault::Slow(60), Fault::None, Fault::Slow(30), Fault::None]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..20 {
        let then = seen.clone();
        let callback = move |delivery: Delivery| then.lock().unwrap().push(delivery.acknowledged().unwrap().offset.unwrap());
        producer.send_with(ProducerRecord::new("t", b"x"), callback).await.unwrap();
    }
    producer.flush().await;
    assert_eq!(*seen.lock().unwrap(), (1..=20).collect::<Vec<_>>());
    let watched: Vec<_> = watcher.outcomes.lock().unwrap().iter().filter_map(|outcome| outcome.2).collect();
    assert_eq!(watched, (0..=20).collect::<Vec<_>>());
}

/// Others that never stop sending must not keep a flush from its end.
#[tokio::test]
async fn a_flush_waits_for_what_was_sent_before_it() {
    let broker = FakeBroker::start(&[("t", 2)], 1).await;
    let producer = producer(&broker, ProducerConfig::default()).await;
    let (other, stop) = (producer.clone(), Arc::new(AtomicUsize::new(0)));
    let stopped = stop.clone();
    let busy = tokio::spawn(async move {
        while stopped.load(Ordering::SeqCst) == 0 {
            other.send(ProducerRecord::new("t", b"busy").with_partition(1)).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    for n in 0..20 {
        let confirm = producer.send(record(&value(n)).with_partition(0)).await.unwrap();
        tokio::time::timeout(LONG, producer.flush()).await.expect("a flush ends");
        assert!(confirm.now().unwrap().is_acknowledged());
    }
    stop.store(1, Ordering::SeqCst);
    busy.await.unwrap();
}

#[tokio::test]
async fn a_full_buffer_fails_or_blocks_as_asked() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    for (on_full, waits_ms) in [(OnFull::Fail, 0), (OnFull::Block { timeout_ms: 60 }, 60)] {
        broker.faults([Fault::Silent]);
        let producer = producer(&broker, tight(on_full)).await;
        let value = value(1);
        for _ in 0..10 {
            producer.send(record(&value)).await.unwrap();
        }
        let began = std::time::Instant::now();
        let full = producer.send(record(&value)).await.err().unwrap();
        assert!(matches!(full, SendError::BufferFull), "{full}");
        assert!(began.elapsed() >= Duration::from_millis(waits_ms), "{:?}", began.elapsed());
        assert_eq!((producer.buffer_available(), producer.statistics().records_sent), (0, 10));
    }
}

/// Polls twice, past the place where a send lets others run, and drops what is not done then.
async fn try_briefly<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    for _ in 0..2 {
        let polled = std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
    }
    None
}

#[tokio::test]
async fn a_send_that_is_dropped_takes_nothing_and_leaves_the_order() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    broker.faults([Fault::Slow(20), Fault::None, Fault::Slow(20)]);
    let producer = producer(&broker, tight(OnFull::default())).await;
    let mut taken = Vec::new();
    let mut values = (0..).map(value);
    for _ in 0..20 {
        // Nothing else runs on this thread until an await, so the buffer stays full.
        for value in values.by_ref() {
            match producer.try_send(record(&value)) {
                Ok(_) => taken.push(String::from_utf8(value).unwrap()),
                Err(SendError::BufferFull) => break,
                Err(error) => panic!("{error}"),
            }
        }
        let (dropped, waited_for) = (values.next().unwrap(), values.next().unwrap());
        assert!(try_briefly(producer.send(record(&dropped))).await.is_none(), "there is no room");
        producer.send(record(&waited_for)).await.unwrap();
        taken.push(String::from_utf8(waited_for).unwrap());
    }
    producer.flush().await;
    assert_eq!(broker.values("t", 0), taken);
    assert_eq!(producer.statistics().records_acknowledged, taken.len() as u64);
    assert_eq!(producer.buffer_available(), 1000, "what was dropped holds no memory");
    // Also while it waits for the topic's metadata.
    broker.state().create("u", 1);
    assert!(try_briefly(producer.send(ProducerRecord::new("u", b"x"))).await.is_none(), "metadata does not come at once");
    assert_eq!(producer.buffer_available(), 1000);
}

#[tokio::test]
async fn a_closing_producer_takes_nothing_more_and_counts_what_it_gives_up() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    broker.faults([Fault::Silent]);
    let producer = producer(&broker, tight(OnFull::default())).await;
    let mut confirms = Vec::new();
    for n in 0..10 {
        confirms.push(producer.send(record(&value(n))).await.unwrap());
    }
    let other = producer.clone();
    let waiting = tokio::spawn(async move { other.send(record(&value(10))).await.map(|_| ()) });
    let other = producer.clone();
    while broker.state().produces == 0 {
        tokio::task::yield_now().await;
    }
    let closing = tokio::spawn(producer.close_with_timeout(Duration::from_millis(50)));
    assert!(matches!(waiting.await.unwrap(), Err(SendError::Closed)), "who waits for room is told");
    assert!(matches!(other.try_send(record(&value(11))), Err(SendError::Closed)));
    assert_eq!(closing.await.unwrap(), 10);
    for confirm in confirms {
        let failure = match confirm.now() {
            Some(Delivery::Refused(failure) | Delivery::Unknown(failure)) => failure,
            other => panic!("{other:?}"),
        };
        assert_eq!(failure.reason, Reason::Closed);
    }
    let statistics = other.statistics();
    assert_eq!(statistics.records_refused + statistics.records_unknown, 10);
    assert!(statistics.records_unknown >= 1 && statistics.partitions.is_empty(), "{statistics:?}");
}

#[tokio::test]
async fn closing_in_time_gives_nothing_up() {
    let broker = FakeBroker::start(&[("t", 1)], 1).await;
    let producer = producer(&broker, ProducerConfig { linger_ms: 60_000, ..Default::default() }).await;
    let confirm = producer.send(record(&value(1))).await.unwrap();
    assert_eq!(producer.close_with_timeout(LONG).await, 0);
    assert!(confirm.now().unwrap().is_acknowledged());
}

#[tokio::test]
async fn statistics_add_up() {
    let broker = FakeBroker::start(&[("t", 3)], 1).await;
    let producer = producer(&broker, ProducerConfig { linger_ms: 60_000, ..Default::default() }).await;
    for n in 0..30 {
        producer.try_send(record(&value(n)).with_partition(n as u32 % 2)).unwrap();
    }
    let before = producer.statistics();
    assert_eq!((before.records_sent, before.records_acknowledged, before.batches), (30, 0, 0));
    assert_eq!((before.buffer_used, before.buffer_len_max), (3000, ProducerConfig::default().buffer_len_max));
    let open: Vec<_> = before.partitions.iter().map(|p| (&*p.topic, p.partition, p.open_records)).collect();
    assert_eq!(open, [("t", 0, 15), ("t", 1, 15)]);
    broker.faults([Fault::DropAfter, Fault::Refuse(ErrorCode::InvalidRecords, 0)]);
    producer.flush().await;
    let after = producer.statistics();
    assert_eq!(after.records_acknowledged + after.records_refused + after.records_unknown, 30);
    assert_eq!((after.batches, after.batch_records_mean, after.batch_records_max), (2, 15, 15));
    assert_eq!(after.bytes_sent, 2 * after.batch_len_max);
    assert_eq!((after.batches_retried, after.records_retried), (2, 30), "both were lost with the connection, and sent again");
    assert_eq!((after.latency.count, after.buffer_used, after.partitions.len()), (after.records_acknowledged, 0, 0));
    assert!(after.latency.p50_us <= after.latency.max_us && (after.latency.count == 0 || after.latency.max_us > 0));
}
