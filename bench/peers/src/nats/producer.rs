//! Messages published one after another, with acknowledgements outstanding up to a bound.
//!
//! Acknowledgements come to one subject of each connection, with the record's token at its end: the client crate's own
//! future for each of them has a timer, a channel and a permit, which cost more than the message. A server that is gone shows
//! in the connection's state: the crate would try to reconnect for good, and what was in flight is never answered.

use std::time::Instant;

use async_nats::connection::State;
use async_nats::{Client, Message, Subscriber};
use futures::FutureExt;
use futures::stream::{SelectAll, StreamExt, select_all};
use serde::Deserialize;
use sluice_bench::BenchError;
use sluice_bench::system::{AcksAsked, LanePlan, Outcome, Producer, Record, Settled, Topic};
use std::collections::HashMap;
use std::time::Duration;
use tokio::runtime::Runtime;

use super::system::{connect, refused, runtime, subject_of};
use crate::sharp_timer::SharpTimer;

/// Of one lane; the server refuses when ten thousand wait for one stream.
const IN_FLIGHT_MAX: usize = 4_000;
/// Said by the server when too much waits for a stream.
const TOO_MANY_REQUESTS: u16 = 429;
const RETRY_AFTER: Duration = Duration::from_millis(5);

pub(super) struct NatsProducer {
    runtime: Runtime,
    timer: SharpTimer,
    connections: Vec<Connection>,
    answers: SelectAll<Subscriber>,
    subjects: HashMap<u32, async_nats::Subject>,
    /// Bytes of values in flight, by partition and connection.
    flows: HashMap<(u32, u32), usize>,
    in_flight: HashMap<u64, InFlight>,
    in_flight_len_max: usize,
    asks_for_answers: bool,
    /// Connections with something to send.
    dirty: Vec<usize>,
    /// Sent without asking for an answer.
    sent: Vec<u64>,
}

struct Connection {
    client: Client,
    /// Begin of the subject that its answers come to.
    inbox: String,
}

struct InFlight {
    place: (u32, u32),
    value_len: usize,
}

#[derive(Deserialize)]
struct Answer {
    error: Option<AnswerError>,
}

#[derive(Deserialize)]
struct AnswerError {
    code: u16,
    #[serde(default)]
    description: String,
}

impl NatsProducer {
    pub(super) fn open(port: u16, topic: &Topic, plan: &LanePlan) -> Result<Self, BenchError> {
        let runtime = runtime()?;
        let mut connections = Vec::new();
        let mut subscribers = Vec::new();
        let timer = runtime.block_on(async {
            for _ in 0..plan.connection_count.max(1) {
                let client = connect(port).await?;
                let inbox = client.new_inbox();
                let subscriber = client.subscribe(format!("{inbox}.*")).await;
                subscribers.push(subscriber.map_err(|error| refused("a subscription", error))?);
                client.flush().await.map_err(|error| refused("a subscription", error))?;
                connections.push(Connection { client, inbox });
            }
            SharpTimer::new().map_err(BenchError::io("a timer"))
        })?;
        let flows = plan.flows();
        let subjects = flows.iter().map(|flow| (flow.partition, subject_of(topic, flow.partition).into())).collect();
        Ok(Self {
            runtime,
            timer,
            connections,
            answers: select_all(subscribers),
            subjects,
            flows: flows.iter().map(|flow| ((flow.partition, flow.connection), 0)).collect(),
            in_flight: HashMap::new(),
            in_flight_len_max: plan.batch_len_max.saturating_mul(plan.window as usize),
            asks_for_answers: topic.acks != AcksAsked::None,
            dirty: Vec::new(),
            sent: Vec::new(),
        })
    }

    fn settle(&mut self, message: &Message, settled: &mut Vec<Settled>) -> Result<(), BenchError> {
        let token = message.subject.rsplit('.').next().and_then(|token| token.parse().ok());
        let Some((token, in_flight)) = token.and_then(|token: u64| Some((token, self.in_flight.remove(&token)?))) else {
            return Err(BenchError::protocol(format!("NATS answers {}, which is not in flight", message.subject)));
        };
        if let Some(len) = self.flows.get_mut(&in_flight.place) {
            *len -= in_flight.value_len;
        }
        settled.push(Settled { token, outcome: outcome(message)? });
        Ok(())
    }

    fn check_connections(&self) -> Result<(), BenchError> {
        match self.connections.iter().all(|connection| connection.client.connection_state() == State::Connected) {
            true => Ok(()),
            false => Err(BenchError::protocol("NATS has closed a connection")),
        }
    }
}

/// What the server says to one message.
fn outcome(message: &Message) -> Result<Outcome, BenchError> {
    if message.status.is_some() {
        return Ok(Outcome::Failed { because: "no stream takes the subject".to_owned() });
    }
    let answer: Answer = serde_json::from_slice(&message.payload).map_err(|error| refused("an acknowledgement", error))?;
    Ok(match answer.error {
        None => Outcome::Acknowledged,
        Some(error) if error.code == TOO_MANY_REQUESTS => {
            Outcome::Refused { retry_after: RETRY_AFTER, because: error.description.into() }
        }
        Some(error) => Outcome::Failed { because: format!("{} ({})", error.description, error.code) },
    })
}

impl Producer for NatsProducer {
    fn has_room(&self, partition: u32, connection: u32) -> bool {
        let len = self.flows.get(&(partition, connection));
        self.in_flight.len() < IN_FLIGHT_MAX && len.is_some_and(|&len| len < self.in_flight_len_max)
    }

    fn send(&mut self, record: &Record<'_>, token: u64) -> Result<(), BenchError> {
        let number = record.connection as usize;
        let connection = self.connections.get(number).expect("records come over the flows of the lane's plan");
        let subject = self.subjects.get(&record.partition).expect("records come over the flows of the lane's plan").clone();
        let payload = record.value.to_vec().into();
        if self.asks_for_answers {
            let reply = format!("{}.{token}", connection.inbox);
            let published = self.runtime.block_on(connection.client.publish_with_reply(subject, reply, payload));
            published.map_err(|error| refused("a message", error))?;
            let place = (record.partition, record.connection);
            self.in_flight.insert(token, InFlight { place, value_len: record.value.len() });
            *self.flows.entry(place).or_default() += record.value.len();
        } else {
            let published = self.runtime.block_on(connection.client.publish(subject, payload));
            published.map_err(|error| refused("a message", error))?;
            self.sent.push(token);
        }
        if self.dirty.last() != Some(&number) {
            self.dirty.push(number);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        dirty.dedup();
        let flushed = self.runtime.block_on(async {
            for &number in &dirty {
                self.connections[number].client.flush().await.map_err(|error| refused("sending", error))?;
            }
            Ok(())
        });
        dirty.clear();
        self.dirty = dirty;
        flushed
    }

    fn poll(&mut self, until: Instant, settled: &mut Vec<Settled>) -> Result<(), BenchError> {
        settled.extend(self.sent.drain(..).map(|token| Settled { token, outcome: Outcome::Acknowledged }));
        let until = if settled.is_empty() { until } else { Instant::now() };
        let waited = self.runtime.block_on(self.timer.wait(until, self.answers.next()));
        match waited.map_err(BenchError::io("waiting for answers"))? {
            None => return self.check_connections(),
            Some(None) => return Err(BenchError::protocol("NATS has closed a connection")),
            Some(Some(message)) => self.settle(&message, settled)?,
        }
        while let Some(Some(message)) = self.answers.next().now_or_never() {
            self.settle(&message, settled)?;
        }
        Ok(())
    }
}
