//! Produces for one lane through Iggy's client, on a runtime of the lane's own thread.
//!
//! Iggy's client has one request in flight on a connection, whatever it is asked: what is due meanwhile widens the next
//! batch, so it is the connection that is this system's window. A partition keeps to one connection, or its order would be
//! lost; a lane with many partitions opens several, for sends to different partitions need not wait for one another. The
//! expensive mistake is to wait on tokio's clock, which ends on a millisecond: `sharp_timer` says more.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use iggy::prelude::{Identifier, IggyError, IggyMessage, MessageClient, Partitioning, TcpClient};
use sluice_bench::BenchError;
use sluice_bench::system::{LanePlan, Outcome, Producer, Record, Settled, Topic};
use tokio::runtime::Runtime;

use super::client::{Access, connect, failed, runtime};
use super::system::{STREAM, named};
use crate::sharp_timer::SharpTimer;

/// Most bytes of values in one send: the flush threshold of a topic that is not flushed at once, and what every peer's
/// largest batch is here.
const BATCH_LEN: usize = 1 << 20;
/// For one of the lane's connections, as many as it has partitions, but no more than this.
const LINKS_MAX: usize = 16;

/// The connections of one lane.
pub(super) struct IggyProducer {
    // Before the runtime, which they need to end.
    calls: FuturesUnordered<BoxFuture<'static, Call>>,
    links: Vec<Link>,
    timer: SharpTimer,
    runtime: Runtime,
    place: Arc<Place>,
    flows: Vec<FlowState>,
    /// (partition, connection) to the flow's number.
    by_place: HashMap<(u32, u32), usize>,
    /// The place asked for last, and its flow: records of one flow come in a row.
    last_place: Cell<Option<((u32, u32), usize)>>,
    batch_len_max: usize,
}

/// Where everything goes.
struct Place {
    stream: Identifier,
    topic: Identifier,
}

struct Link {
    client: Arc<TcpClient>,
    is_busy: bool,
    /// Flows with something to send, in the order in which it came.
    waiting: VecDeque<usize>,
}

struct FlowState {
    partition: u32,
    link: usize,
    messages: Vec<IggyMessage>,
    tokens: Vec<u64>,
    value_len: usize,
}

/// A send that has come back.
struct Call {
    link: usize,
    tokens: Vec<u64>,
    result: Result<(), IggyError>,
}

impl IggyProducer {
    pub(super) fn open(access: &Access, topic: &Topic, plan: &LanePlan) -> Result<Self, BenchError> {
        let runtime = runtime()?;
        let mut links: Vec<Link> = Vec::new();
        let mut flows: Vec<FlowState> = Vec::new();
        let mut by_place = HashMap::new();
        // By connection: its links, and how many flows it has.
        let mut of_connection: HashMap<u32, (Vec<usize>, usize)> = HashMap::new();
        for flow in plan.flows() {
            let (own, count) = of_connection.entry(flow.connection).or_default();
            if own.len() < LINKS_MAX {
                own.push(links.len());
                let client = runtime.block_on(connect(access))?;
                links.push(Link { client, is_busy: false, waiting: VecDeque::new() });
            }
            let link = own[*count % own.len()];
            *count += 1;
            by_place.insert((flow.partition, flow.connection), flows.len());
            flows.push(FlowState { partition: flow.partition, link, messages: Vec::new(), tokens: Vec::new(), value_len: 0 });
        }
        let timer = runtime.block_on(async { SharpTimer::new() }).map_err(BenchError::io("a timer"))?;
        Ok(Self {
            calls: FuturesUnordered::new(),
            links,
            timer,
            runtime,
            place: Arc::new(Place { stream: named(STREAM)?, topic: named(&topic.name)? }),
            flows,
            by_place,
            last_place: Cell::new(None),
            batch_len_max: plan.batch_len_max.max(BATCH_LEN),
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

    /// Has each idle connection send what has waited longest for it.
    fn begin_calls(&mut self) {
        for (number, link) in self.links.iter_mut().enumerate() {
            if link.is_busy {
                continue;
            }
            let Some(flow) = link.waiting.pop_front() else { continue };
            let flow = &mut self.flows[flow];
            link.is_busy = true;
            flow.value_len = 0;
            let (messages, tokens) = (std::mem::take(&mut flow.messages), std::mem::take(&mut flow.tokens));
            let call = call(number, link.client.clone(), self.place.clone(), flow.partition, messages, tokens);
            self.calls.push(call.boxed());
        }
    }

    /// Lets the connections do what they can, until a call has come back or the time has come.
    fn drive(&mut self, until: Instant) -> Result<Vec<Call>, BenchError> {
        let (calls, timer) = (&mut self.calls, &mut self.timer);
        let waited: std::io::Result<Vec<Call>> = self.runtime.block_on(async {
            let mut ended = Vec::new();
            take_ended(calls, &mut ended);
            // Once around the runtime: requests are written, and what has arrived is read.
            tokio::task::yield_now().await;
            take_ended(calls, &mut ended);
            if ended.is_empty() {
                ended.extend(timer.wait(until, first_ended(calls)).await?);
                take_ended(calls, &mut ended);
            }
            Ok(ended)
        });
        waited.map_err(BenchError::io("waiting for answers"))
    }
}

async fn call(
    link: usize,
    client: Arc<TcpClient>,
    place: Arc<Place>,
    partition: u32,
    mut messages: Vec<IggyMessage>,
    tokens: Vec<u64>,
) -> Call {
    let partitioning = Partitioning::partition_id(partition);
    let sent = client.send_messages(&place.stream, &place.topic, &partitioning, &mut messages).await;
    Call { link, tokens, result: sent.map(|_| ()) }
}

/// Never ends while there are no calls.
async fn first_ended(calls: &mut FuturesUnordered<BoxFuture<'static, Call>>) -> Call {
    match calls.next().await {
        Some(call) => call,
        None => std::future::pending().await,
    }
}

fn take_ended(calls: &mut FuturesUnordered<BoxFuture<'static, Call>>, ended: &mut Vec<Call>) {
    while let Some(Some(call)) = calls.next().now_or_never() {
        ended.push(call);
    }
}

/// It has no error that says that the server has not taken the messages and may take them later.
///
/// # Errors When the connection is gone.
fn outcome_of(result: Result<(), IggyError>) -> Result<Outcome, BenchError> {
    match result {
        Ok(()) => Ok(Outcome::Acknowledged),
        Err(
            error @ (IggyError::Disconnected
            | IggyError::NotConnected
            | IggyError::EmptyResponse
            | IggyError::StaleClient
            | IggyError::CannotEstablishConnection
            | IggyError::TcpError),
        ) => Err(failed("a send")(error)),
        Err(error) => Ok(Outcome::Failed { because: error.to_string() }),
    }
}

impl Producer for IggyProducer {
    fn has_room(&self, partition: u32, connection: u32) -> bool {
        self.flows[self.flow_of(partition, connection)].value_len < self.batch_len_max
    }

    fn send(&mut self, record: &Record<'_>, token: u64) -> Result<(), BenchError> {
        let number = self.flow_of(record.partition, record.connection);
        let flow = &mut self.flows[number];
        let message =
            IggyMessage::builder().payload(Bytes::copy_from_slice(record.value)).build().map_err(failed("a message"))?;
        if flow.messages.is_empty() {
            self.links[flow.link].waiting.push_back(number);
        }
        flow.messages.push(message);
        flow.tokens.push(token);
        flow.value_len += record.value.len();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        self.begin_calls();
        Ok(())
    }

    fn poll(&mut self, until: Instant, settled: &mut Vec<Settled>) -> Result<(), BenchError> {
        for call in self.drive(until)? {
            self.links[call.link].is_busy = false;
            let outcome = outcome_of(call.result)?;
            settled.extend(call.tokens.into_iter().map(|token| Settled { token, outcome: outcome.clone() }));
        }
        self.begin_calls();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_taken_is_never_offered_again() {
        assert_eq!(outcome_of(Ok(())).expect("an outcome"), Outcome::Acknowledged);
        let unknown = outcome_of(Err(IggyError::CannotAppendMessage)).expect("an outcome");
        assert!(matches!(unknown, Outcome::Failed { .. }), "its outcome is unknown: {unknown:?}");
        assert!(outcome_of(Err(IggyError::Disconnected)).is_err(), "the round is over");
    }
}
