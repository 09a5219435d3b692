//! Produces for one lane through librdkafka: one client, and so one connection to the broker, for each of the lane's.
//!
//! librdkafka batches and sends on threads of its own; the lane hands records over and picks up their delivery reports. What a
//! partition may have outstanding is bounded here, as Sluice's own producer bounds it: as many batches as its window and one
//! that fills. The expensive mistake is a wait that ends on a millisecond: `wake` says how it is avoided.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use sluice_bench::BenchError;
use sluice_bench::floor::WaitMode;
use sluice_bench::poller::Poller;
use sluice_bench::system::{LanePlan, Outcome, Producer, Record, RefusedBecause, Settled, Topic};

use super::client::{BATCH_LEN, ProducerShape, config, connect, failed, producer_settings};
use super::wake::Wake;

/// What was refused is offered again after this.
const RETRY_AFTER: Duration = Duration::from_millis(20);
const METADATA_PATIENCE: Duration = Duration::from_secs(30);

/// The clients of one lane.
pub(super) struct KafkaProducer {
    // Before `clients`, for a wake-up ends before its client does.
    wakes: Vec<Wake>,
    clients: Vec<BaseProducer<Reports>>,
    poller: Poller,
    ready: Vec<usize>,
    address: String,
    topic: String,
    reports: Reports,
    flows: Vec<FlowState>,
    /// (partition, connection) to the flow's number.
    by_place: HashMap<(u32, u32), usize>,
    /// The place asked for last, and its flow: records of one flow come in a row.
    last_place: Cell<Option<((u32, u32), usize)>>,
    outstanding_max: usize,
}

#[derive(Default)]
struct FlowState {
    /// Bytes of values without an outcome.
    outstanding: usize,
}

/// Travels with a record through librdkafka.
pub(super) struct Sent {
    token: u64,
    flow: usize,
    value_len: usize,
}

/// What has come back, for all clients of a lane.
#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Reported>>);

#[derive(Default)]
struct Reported {
    outcomes: Vec<(Sent, Outcome)>,
    /// No broker is left to talk to.
    gone: Option<String>,
}

impl Reports {
    fn with<T>(&self, act: impl FnOnce(&mut Reported) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.with(|reported| reported.gone = Some(reason.to_owned()));
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent>) {
        let outcome = match result {
            Ok(_) => Outcome::Acknowledged,
            Err((error, _)) => outcome_of(error),
        };
        self.with(|reported| reported.outcomes.push((*sent, outcome)));
    }
}

/// Empties a client's queue, so that the next event wakes us again.
fn take_events(client: &BaseProducer<Reports>, wake: &Wake) {
    wake.clear();
    loop {
        // Each call gives one event: the reports of a batch, or an error.
        client.poll(Duration::ZERO);
        if wake.is_empty() {
            return;
        }
    }
}

/// Only what is sure not to be in the log may be offered again.
fn outcome_of(error: &KafkaError) -> Outcome {
    use RDKafkaErrorCode::{
        LeaderNotAvailable, MessageTimedOut, NotEnoughReplicas, NotLeaderForPartition, QueueFull, RequestTimedOut,
        ThrottlingQuotaExceeded, UnknownTopicOrPartition,
    };
    match error.rdkafka_error_code() {
        Some(
            LeaderNotAvailable
            | NotEnoughReplicas
            | NotLeaderForPartition
            | QueueFull
            | ThrottlingQuotaExceeded
            | UnknownTopicOrPartition,
        ) => Outcome::Refused { retry_after: RETRY_AFTER, because: RefusedBecause::from(error.to_string()) },
        Some(MessageTimedOut | RequestTimedOut) => Outcome::TimedOut,
        _ => Outcome::Failed { because: error.to_string() },
    }
}

impl KafkaProducer {
    pub(super) fn open(address: &str, topic: &Topic, plan: &LanePlan) -> Result<Self, BenchError> {
        let reports = Reports::default();
        let mut by_place = HashMap::new();
        let mut flow_counts = vec![0; plan.connection_count.max(1) as usize];
        for flow in plan.flows() {
            by_place.insert((flow.partition, flow.connection), by_place.len());
            flow_counts[flow.connection as usize] += 1;
        }
        let poller = Poller::new(WaitMode::Asleep).map_err(BenchError::io("an epoll descriptor"))?;
        let (mut clients, mut wakes) = (Vec::new(), Vec::new());
        for flow_count in flow_counts {
            let shape = ProducerShape { window: plan.window, flow_count };
            let config = config(address, &producer_settings(topic.acks, &shape));
            let client: BaseProducer<Reports> = config.create_with_context(reports.clone()).map_err(failed("a producer"))?;
            let wake = Wake::of(client.client()).map_err(BenchError::io("an event descriptor"))?;
            poller.add(wake.fd(), wakes.len()).map_err(BenchError::io("an event descriptor"))?;
            wakes.push(wake);
            clients.push(client);
        }
        // A client that knows the topic sends its first record at once.
        for client in &clients {
            client.client().fetch_metadata(Some(&topic.name), METADATA_PATIENCE).map_err(failed("the topic's metadata"))?;
        }
        Ok(Self {
            wakes,
            clients,
            poller,
            ready: Vec::new(),
            address: address.to_owned(),
            topic: topic.name.clone(),
            reports,
            flows: by_place.iter().map(|_| FlowState::default()).collect(),
            by_place,
            last_place: Cell::new(None),
            outstanding_max: (plan.window as usize + 1).saturating_mul(BATCH_LEN.max(plan.batch_len_max)),
        })
    }

    fn flow_of(&self, partition: u32, connection: u32) -> usize {
        let place = (partition, connection);
        if let Some((_, flow)) = self.last_place.get().filter(|(last, _)| *last == place) {
            return flow;
        }
        let flow = *self.by_place.get(&place).expect("records come over the flows of the lane's plan");
        self.last_place.set(Some((place, flow)));
        flow
    }

    fn take_reports(&mut self, settled: &mut Vec<Settled>) -> Result<(), BenchError> {
        let (outcomes, gone) = self.reports.with(|reported| (std::mem::take(&mut reported.outcomes), reported.gone.take()));
        for (sent, outcome) in outcomes {
            self.flows[sent.flow].outstanding -= sent.value_len;
            settled.push(Settled { token: sent.token, outcome });
        }
        match gone {
            // A broker closes a connection over which it cannot say that something was wrong (acks=0); the client opens another.
            Some(reason) if connect(&self.address).is_err() => {
                Err(BenchError::protocol(format!("there is no connection any more: {reason}")))
            }
            _ => Ok(()),
        }
    }
}

impl Producer for KafkaProducer {
    fn has_room(&self, partition: u32, connection: u32) -> bool {
        self.flows[self.flow_of(partition, connection)].outstanding < self.outstanding_max
    }

    fn send(&mut self, record: &Record<'_>, token: u64) -> Result<(), BenchError> {
        let flow = self.flow_of(record.partition, record.connection);
        let value_len = record.value.len();
        let partition = i32::try_from(record.partition).map_err(BenchError::protocol)?;
        let opaque = Box::new(Sent { token, flow, value_len });
        let message: BaseRecord<'_, (), [u8], Box<Sent>> =
            BaseRecord::with_opaque_to(&self.topic, opaque).partition(partition).payload(record.value);
        self.flows[flow].outstanding += value_len;
        if let Err((error, message)) = self.clients[record.connection as usize].send(message) {
            self.reports.with(|reported| reported.outcomes.push((*message.delivery_opaque, outcome_of(&error))));
        }
        Ok(())
    }

    /// The client's threads have them already.
    fn flush(&mut self) -> Result<(), BenchError> {
        Ok(())
    }

    fn poll(&mut self, until: Instant, settled: &mut Vec<Settled>) -> Result<(), BenchError> {
        self.take_reports(settled)?;
        let until = if settled.is_empty() { until } else { Instant::now() };
        self.ready.clear();
        self.poller.wait(until, &mut self.ready).map_err(BenchError::io("waiting for delivery reports"))?;
        for &number in &self.ready {
            take_events(&self.clients[number], &self.wakes[number]);
        }
        self.take_reports(settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_surely_not_written_may_be_offered_again() {
        let outcome = |code| outcome_of(&KafkaError::MessageProduction(code));
        for code in [RDKafkaErrorCode::QueueFull, RDKafkaErrorCode::NotEnoughReplicas, RDKafkaErrorCode::LeaderNotAvailable] {
            assert!(matches!(outcome(code), Outcome::Refused { .. }), "{code:?}");
        }
        for code in [RDKafkaErrorCode::MessageTimedOut, RDKafkaErrorCode::RequestTimedOut] {
            assert_eq!(outcome(code), Outcome::TimedOut, "{code:?}");
        }
        for code in [
            RDKafkaErrorCode::NotEnoughReplicasAfterAppend,
            RDKafkaErrorCode::BrokerTransportFailure,
            RDKafkaErrorCode::MessageSizeTooLarge,
        ] {
            assert!(matches!(outcome(code), Outcome::Failed { .. }), "{code:?}");
        }
    }

    #[test]
    fn that_nobody_listens_wakes_the_lane_and_is_an_error() {
        let topic = Topic { name: "none".to_owned(), partition_count: 1, acks: Default::default() };
        let shape = ProducerShape { window: 1, flow_count: 1 };
        let config = config("127.0.0.1:1", &producer_settings(topic.acks, &shape));
        let reports = Reports::default();
        let client: BaseProducer<Reports> = config.create_with_context(reports.clone()).expect("a client without a broker");
        let wake = Wake::of(client.client()).expect("its wake-up");
        let mut poller = Poller::new(WaitMode::Asleep).expect("a poller");
        poller.add(wake.fd(), 7).expect("the descriptor");
        let (mut ready, give_up_at) = (Vec::new(), Instant::now() + Duration::from_secs(30));
        // That nobody listens is an event like any other: it wakes the poller, and then it is known.
        while reports.with(|reported| reported.gone.is_none()) && Instant::now() < give_up_at {
            poller.wait(give_up_at, &mut ready).expect("it waits");
            take_events(&client, &wake);
        }
        assert!(reports.with(|reported| reported.gone.is_some()), "all brokers are down");
        drop(wake);
    }
}
