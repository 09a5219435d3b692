//! How librdkafka is set up, and the few things asked of a broker outside of a round.
//!
//! Each setting has its reason beside it; what is not named is librdkafka's default (its CONFIGURATION.md). The expensive
//! mistake would be a client that waits, retries or batches in a way that is not the broker's doing.

use std::future::Future;
use std::net::{TcpStream, ToSocketAddrs};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::Thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use sluice_bench::BenchError;
use sluice_bench::system::AcksAsked;

/// Most bytes of one batch on the wire: librdkafka's default, a little below what a broker takes by default.
pub(super) const BATCH_LEN: usize = 1_000_000;
/// More than the largest value there is, with what is around it.
pub(super) const MESSAGE_LEN_MAX: usize = 2_000_000;
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
pub(super) const METADATA_PATIENCE: Duration = Duration::from_secs(2);

pub(super) type Settings = Vec<(&'static str, String)>;

/// What a lane asks of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProducerShape {
    /// Batches in flight for each partition.
    pub window: u32,
    /// Partitions that this connection writes to.
    pub flow_count: u32,
}

pub(super) fn producer_settings(acks: AcksAsked, shape: &ProducerShape) -> Settings {
    let acks = match acks {
        AcksAsked::None => "0",
        AcksAsked::Leader => "1",
        AcksAsked::All => "all",
    };
    let in_flight = shape.window.saturating_mul(shape.flow_count).clamp(1, 1_000_000);
    vec![
        ("acks", acks.to_owned()),
        // No producer id, and nothing sent twice by the client itself: so does the producer that Sluice is measured with. A
        // retry would hide a refusal from the generator, and librdkafka is not idempotent without retries.
        ("enable.idempotence", "false".to_owned()),
        ("retries", "0".to_owned()),
        // A record goes out as soon as the client's thread has it. Batches widen by themselves once as many requests are in
        // flight as may be, which bulk loads see to; waiting for more (5 ms by default) would only add to the latency.
        ("linger.ms", "0".to_owned()),
        // For a connection, not for a partition: librdkafka has one partition in a request.
        ("max.in.flight", in_flight.to_string()),
        ("batch.size", BATCH_LEN.to_string()),
        // As many small records as fit into that: the default of 10,000 would end a batch of 100-byte records early.
        ("batch.num.messages", "1000000".to_owned()),
        ("message.max.bytes", MESSAGE_LEN_MAX.to_string()),
        // The lane bounds what it has outstanding, in bytes for each partition; this bound stays as the last one.
        ("queue.buffering.max.messages", "0".to_owned()),
        ("queue.buffering.max.kbytes", "1048576".to_owned()),
        // Longer than any answer takes; the default of five minutes would outlast the round.
        ("delivery.timeout.ms", "30000".to_owned()),
        ("request.timeout.ms", "30000".to_owned()),
        ("log.connection.close", "false".to_owned()),
    ]
}

pub(super) fn consumer_settings(group: u32) -> Settings {
    vec![
        // Partitions are assigned by the workload: the group is only a name, and no offset is committed.
        ("group.id", format!("bench-{group}")),
        ("enable.auto.commit", "false".to_owned()),
        ("enable.auto.offset.store", "false".to_owned()),
        // Off by default in librdkafka, on in Kafka's own consumer: every reader here verifies what it reads.
        ("check.crcs", "true".to_owned()),
        // When the client's queue of 64 MB is full it looks again after this; the default of a second is a stall in which a
        // quick reader has emptied the queue long since.
        ("fetch.queue.backoff.ms", "1".to_owned()),
        // The broker answers as soon as there is a byte (its default), so this only bounds how long an idle fetch stays.
        ("fetch.wait.max.ms", "200".to_owned()),
        ("log.connection.close", "false".to_owned()),
    ]
}

pub(super) fn as_text(settings: &Settings) -> String {
    settings.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
}

pub(super) fn config(address: &str, settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address);
    for (key, value) in settings {
        config.set(*key, value);
    }
    config
}

/// Whether somebody listens there; why not.
pub(super) fn connect(address: &str) -> Result<(), String> {
    let resolved: Vec<_> = address.to_socket_addrs().map_err(|error| format!("the name is not known: {error}"))?.collect();
    let mut problem = "the name has no address".to_owned();
    for address in resolved {
        match TcpStream::connect_timeout(&address, CONNECT_PATIENCE) {
            Ok(_) => return Ok(()),
            Err(error) => problem = format!("nobody listens on {address}: {error}"),
        }
    }
    Err(problem)
}

/// Whether a broker answers.
pub(super) fn ask_for_brokers(address: &str) -> Result<(), BenchError> {
    let consumer = metadata_client(address)?;
    let metadata = consumer.fetch_metadata(None, METADATA_PATIENCE).map_err(failed("the broker's metadata"))?;
    if metadata.brokers().is_empty() { Err(BenchError::protocol("it names no broker")) } else { Ok(()) }
}

/// How many partitions of the topic have a leader.
pub(super) fn led_partition_count(address: &str, topic: &str) -> Result<usize, BenchError> {
    let consumer = metadata_client(address)?;
    let metadata = consumer.fetch_metadata(Some(topic), METADATA_PATIENCE).map_err(failed("the topic's metadata"))?;
    let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
    Ok(partitions.filter(|partition| partition.leader() >= 0 && partition.error().is_none()).count())
}

pub(super) fn metadata_client(address: &str) -> Result<BaseConsumer, BenchError> {
    config(address, &Settings::new()).create().map_err(failed("a client"))
}

/// What librdkafka says, about what was done.
pub(super) fn failed(what: &str) -> impl FnOnce(KafkaError) -> BenchError {
    move |error| BenchError::protocol(format!("{what}: {error}"))
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for one of the admin client's futures, which a thread of its own completes.
pub(super) fn wait_for<F: Future>(future: F) -> F::Output {
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'a>(settings: &'a Settings, key: &str) -> &'a str {
        &settings.iter().find(|(name, _)| *name == key).expect(key).1
    }

    #[test]
    fn librdkafka_knows_every_setting() {
        for acks in [AcksAsked::None, AcksAsked::Leader, AcksAsked::All] {
            let settings = producer_settings(acks, &ProducerShape { window: 5, flow_count: 2 });
            config("127.0.0.1:1", &settings).create_native_config().expect("a producer's settings");
        }
        config("127.0.0.1:1", &consumer_settings(1)).create_native_config().expect("a consumer's settings");
        let unknown = config("127.0.0.1:1", &vec![("no.such.setting", "1".to_owned())]).create_native_config();
        assert!(unknown.is_err(), "an unknown setting is an error");
    }

    #[test]
    fn requests_in_flight_are_those_of_all_partitions_of_a_connection() {
        for (window, flow_count, expected) in [(5, 2, "10"), (1, 1, "1"), (10_000, 10_000, "1000000")] {
            let settings = producer_settings(AcksAsked::All, &ProducerShape { window, flow_count });
            assert_eq!(value(&settings, "max.in.flight"), expected);
        }
    }

    #[test]
    fn nothing_is_sent_twice_and_nothing_lingers() {
        let settings = producer_settings(AcksAsked::All, &ProducerShape { window: 5, flow_count: 1 });
        for (key, expected) in [("retries", "0"), ("enable.idempotence", "false"), ("linger.ms", "0"), ("acks", "all")] {
            assert_eq!(value(&settings, key), expected);
        }
        assert_ne!(value(&consumer_settings(1), "group.id"), value(&consumer_settings(2), "group.id"));
    }

    #[test]
    fn a_future_of_another_thread_is_waited_for() {
        let (sender, receiver) = std::sync::mpsc::channel::<std::task::Waker>();
        let mut is_ready = false;
        let waker_thread = std::thread::spawn(move || receiver.recv().expect("a waker").wake());
        let answer = wait_for(std::future::poll_fn(|context| {
            if std::mem::replace(&mut is_ready, true) {
                return Poll::Ready(7);
            }
            sender.send(context.waker().clone()).expect("the other thread");
            Poll::Pending
        }));
        waker_thread.join().expect("it has woken us");
        assert_eq!(answer, 7);
    }
}
