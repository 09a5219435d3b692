//! Produces for one lane: what is due for a partition forms one batch, and one request carries the batches of one connection.
//!
//! A batch is closed when it goes out: at a flush, if its flow has fewer batches in flight than its window; otherwise it goes on
//! filling, and once it is full there is no room. So batches widen under load by themselves, and at low load each record goes
//! out alone. No producer id: a refused record may be offered again without an order to keep. Absent: retries.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sluice_model::ErrorCode;
use sluice_model::ids::TopicPartition;
use sluice_model::limits::FRAME_BODY_LEN_MAX;
use sluice_model::record_batch::{NewRecord, RecordsBuilder};
use sluice_protocol::{Acks, Api, Durability, Prefix, ProduceAnswer, ProducePartition, ProduceRequest, Refusal, access, encode};

use super::wire::Wire;
use crate::broker::BenchTopic;
use crate::connection::{may_come_later, refusal_of};
use crate::error::BenchError;
use crate::floor::WaitMode;
use crate::payload::frame_header;
use crate::poller::Poller;
use crate::system::{LanePlan, Outcome, Producer, Record, RefusedBecause, Settled};

/// One request holds this many bytes of frames, or one frame.
const REQUEST_LEN: usize = 512 * 1024;
const PARTITIONS_PER_REQUEST: usize = 1_000;
/// A record's bytes beside its value: more than there are.
const RECORD_OVERHEAD_LEN: usize = 32;
/// What a socket may hold back before its flows have no room.
const BACKLOG_LEN_MAX: u64 = 8 << 20;

/// A producer's sockets, flows and requests in flight.
pub(super) struct SluiceProducer {
    acks: Acks,
    window: u32,
    batch_len_max: usize,
    wires: Vec<Wire>,
    poller: Poller,
    flows: Vec<FlowState>,
    /// (partition, connection) to the flow's number.
    by_place: HashMap<(u32, u32), usize>,
    /// The place asked for last, and its flow: records of one flow come in a row.
    last_place: Cell<Option<((u32, u32), usize)>>,
    /// Flows that took a record since the last flush, or whose window was full then.
    dirty: Vec<usize>,
    requests: HashMap<(usize, u32), Vec<Batch>>,
    /// Without acknowledgements: batches by the position in their wire's stream at which they have been sent.
    unsent: Vec<VecDeque<(u64, Vec<Batch>)>>,
    ready: Vec<usize>,
}

struct FlowState {
    id: TopicPartition,
    wire: usize,
    records: RecordsBuilder,
    tokens: Vec<u64>,
    value_len: usize,
    in_flight: u32,
    is_dirty: bool,
}

/// A batch that has gone out.
struct Batch {
    flow: usize,
    tokens: Vec<u64>,
}

impl SluiceProducer {
    pub(super) fn open(topic: &BenchTopic, plan: &LanePlan, acks: Acks, mode: WaitMode) -> Result<Self, BenchError> {
        let poller = Poller::new(mode).map_err(BenchError::io("an epoll descriptor"))?;
        let mut producer = Self {
            acks,
            window: plan.window,
            batch_len_max: plan.batch_len_max,
            wires: Vec::new(),
            poller,
            flows: Vec::new(),
            by_place: HashMap::new(),
            last_place: Cell::new(None),
            dirty: Vec::new(),
            requests: HashMap::new(),
            unsent: Vec::new(),
            ready: Vec::new(),
        };
        let mut wires: HashMap<(u32, &str), usize> = HashMap::new();
        for flow in plan.flows() {
            let Some((id, address)) = topic.partitions.get(flow.partition as usize) else {
                return Err(BenchError::protocol(format!("the topic {} has no partition {}", topic.name, flow.partition)));
            };
            let wire = match wires.get(&(flow.connection, address.as_str())) {
                Some(&wire) => wire,
                None => producer.add_wire(address)?,
            };
            wires.insert((flow.connection, address), wire);
            producer.by_place.insert((flow.partition, flow.connection), producer.flows.len());
            producer.flows.push(FlowState {
                id: *id,
                wire,
                records: RecordsBuilder::new(FRAME_BODY_LEN_MAX),
                tokens: Vec::new(),
                value_len: 0,
                in_flight: 0,
                is_dirty: false,
            });
        }
        Ok(producer)
    }

    fn add_wire(&mut self, address: &str) -> Result<usize, BenchError> {
        let wire = Wire::open(address, Api::Produce)?;
        let number = self.wires.len();
        self.poller.add(wire.fd(), number).map_err(|source| wire.failed(source))?;
        self.wires.push(wire);
        self.unsent.push(VecDeque::new());
        Ok(number)
    }

    fn flow_of(&self, partition: u32, connection: u32) -> usize {
        let place = (partition, connection);
        if let Some((last, flow)) = self.last_place.get().filter(|(last, _)| *last == place) {
            debug_assert_eq!(self.by_place.get(&last), Some(&flow), "a flow keeps its number");
            return flow;
        }
        let flow = *self.by_place.get(&place).expect("records come over the flows of the lane's plan");
        self.last_place.set(Some((place, flow)));
        flow
    }

    /// Closes the batches that may go out and sends them, request by request.
    fn send_dirty(&mut self) -> Result<(), BenchError> {
        let mut by_wire: Vec<(usize, usize)> = Vec::with_capacity(self.dirty.len());
        let (flows, window) = (&mut self.flows, self.window);
        self.dirty.retain(|&number| {
            let flow = &mut flows[number];
            if flow.in_flight >= window {
                return true;
            }
            flow.is_dirty = false;
            by_wire.push((flow.wire, number));
            false
        });
        by_wire.sort_unstable();
        let mut left = &by_wire[..];
        while let Some(&(wire, _)) = left.first() {
            let mut len = 0;
            let mut count = 0;
            for &(other, number) in left.iter().take(PARTITIONS_PER_REQUEST) {
                let own_len = self.flows[number].records.len();
                if other != wire || (count > 0 && len + own_len > REQUEST_LEN) {
                    break;
                }
                len += own_len;
                count += 1;
            }
            let (request, rest) = left.split_at(count);
            self.send_request(wire, request)?;
            left = rest;
        }
        Ok(())
    }

    fn send_request(&mut self, wire: usize, flows: &[(usize, usize)]) -> Result<(), BenchError> {
        let (mut batches, mut partitions, mut frames) = (Vec::new(), Vec::new(), Vec::new());
        for &(_, number) in flows {
            let flow = &mut self.flows[number];
            let Some(built) = flow.records.take() else { continue };
            let header = frame_header(flow.id, &built);
            partitions.push(ProducePartition {
                topic_id: flow.id.topic_id.0,
                partition: flow.id.partition.0,
                frame_len: u32::try_from(header.frame_len()).unwrap_or(u32::MAX),
            });
            frames.push((header, built.body));
            flow.in_flight += 1;
            flow.value_len = 0;
            batches.push(Batch { flow: number, tokens: std::mem::take(&mut flow.tokens) });
        }
        let request = ProduceRequest { acks: self.acks as u8, partitions };
        let frames_len = frames.iter().map(|(header, _)| header.frame_len()).sum();
        let out = &mut self.wires[wire];
        let id = out.take_correlation_id();
        out.queue(&encode(id, out.version, &request, frames_len).map_err(BenchError::protocol)?);
        for (header, body) in &frames {
            out.queue(header.as_bytes());
            out.queue(body);
        }
        if self.acks == Acks::None {
            self.unsent[wire].push_back((out.queued_len, batches));
        } else {
            self.requests.insert((wire, id), batches);
        }
        self.send_wire(wire)
    }

    fn send_wire(&mut self, number: usize) -> Result<(), BenchError> {
        let wire = &mut self.wires[number];
        let is_blocked = !wire.send()?;
        if is_blocked != wire.is_blocked {
            wire.is_blocked = is_blocked;
            self.poller.set_writable(wire.fd(), number, is_blocked).map_err(|source| wire.failed(source))?;
        }
        Ok(())
    }

    /// What a socket without acknowledgements has taken counts.
    fn settle_sent(&mut self, settled: &mut Vec<Settled>) {
        // A look at each of a thousand connections is not for nothing.
        if self.acks != Acks::None {
            return;
        }
        for (wire, unsent) in self.wires.iter().zip(&mut self.unsent) {
            while unsent.front().is_some_and(|(end, _)| *end <= wire.sent_len) {
                for batch in unsent.pop_front().map(|(_, batches)| batches).unwrap_or_default() {
                    self.flows[batch.flow].in_flight -= 1;
                    settled.extend(batch.tokens.into_iter().map(|token| Settled { token, outcome: Outcome::Acknowledged }));
                }
            }
        }
    }

    fn receive(&mut self, number: usize, settled: &mut Vec<Settled>) -> Result<(), BenchError> {
        while self.wires[number].receive()? {
            while let Some(prefix) = self.wires[number].received.whole_message()? {
                let Some(batches) = self.requests.remove(&(number, prefix.correlation_id)) else {
                    return Err(self.unexpected(number, &prefix));
                };
                let body = self.wires[number].received.body(&prefix);
                let outcomes = outcomes(&prefix, body, batches.len(), self.acks)?;
                for (batch, outcome) in batches.into_iter().zip(outcomes) {
                    self.flows[batch.flow].in_flight -= 1;
                    settled.extend(batch.tokens.into_iter().map(|token| Settled { token, outcome: outcome.clone() }));
                }
                self.wires[number].received.consume(&prefix);
            }
        }
        Ok(())
    }

    fn unexpected(&self, number: usize, prefix: &Prefix) -> BenchError {
        let body = self.wires[number].received.body(prefix);
        match prefix.api() {
            Some(Api::Refusal) => refusal_of(prefix, body, "Produce"),
            _ => BenchError::protocol(format!("answers request {}, which is not in flight", prefix.correlation_id)),
        }
    }
}

impl Producer for SluiceProducer {
    fn has_room(&self, partition: u32, connection: u32) -> bool {
        let flow = &self.flows[self.flow_of(partition, connection)];
        let wire = &self.wires[flow.wire];
        let is_full = flow.value_len >= self.batch_len_max;
        !is_full && wire.queued_len - wire.sent_len < BACKLOG_LEN_MAX
    }

    fn send(&mut self, record: &Record<'_>, token: u64) -> Result<(), BenchError> {
        let number = self.flow_of(record.partition, record.connection);
        let flow = &mut self.flows[number];
        if flow.records.is_empty() {
            // A batch that is sure to be long is not copied while it grows.
            let expected = if flow.in_flight >= self.window { self.batch_len_max } else { 0 };
            flow.records.reserve(expected.max(record.value.len() + RECORD_OVERHEAD_LEN));
        }
        let new = NewRecord { timestamp_ms: now_ms(), value: Some(record.value), ..NewRecord::default() };
        flow.records.append(&new).map_err(BenchError::protocol)?;
        flow.value_len += record.value.len();
        flow.tokens.push(token);
        if !flow.is_dirty {
            flow.is_dirty = true;
            self.dirty.push(number);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        if self.dirty.is_empty() { Ok(()) } else { self.send_dirty() }
    }

    fn poll(&mut self, until: Instant, settled: &mut Vec<Settled>) -> Result<(), BenchError> {
        self.settle_sent(settled);
        let until = if settled.is_empty() { until } else { Instant::now() };
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        self.poller.wait(until, &mut ready).map_err(BenchError::io("waiting for answers"))?;
        for &number in &ready {
            if self.wires[number].is_blocked {
                self.send_wire(number)?;
            }
            self.receive(number, settled)?;
        }
        self.ready = ready;
        self.settle_sent(settled);
        Ok(())
    }
}

/// One for each batch of the request, in its order.
fn outcomes(prefix: &Prefix, body: &[u8], batch_count: usize, acks: Acks) -> Result<Vec<Outcome>, BenchError> {
    if prefix.api() != Some(Api::Produce) {
        return match refusal_of(prefix, body, "Produce") {
            BenchError::Refused { code, text, .. } => {
                let retry_after_ms = access::<Refusal>(body).map_or(1, |refusal| refusal.retry_after_ms.to_native());
                Ok(vec![refused(code, retry_after_ms, &text); batch_count])
            }
            error => Err(error),
        };
    }
    let answer = access::<ProduceAnswer>(body).map_err(BenchError::protocol)?;
    if answer.partitions.len() != batch_count {
        let got = answer.partitions.len();
        return Err(BenchError::protocol(format!("a produce of {batch_count} batches is answered with {got} outcomes")));
    }
    let wanted = if acks == Acks::All { Durability::Committed } else { Durability::Flushed };
    let of_each = answer.partitions.iter().map(|partition| {
        let code = partition.error.to_native();
        if code != ErrorCode::None as u16 {
            return Ok(refused(code, partition.retry_after_ms.to_native(), &partition.text));
        }
        match Durability::from_u8(partition.durability) {
            Some(durability) if durability >= wanted => Ok(Outcome::Acknowledged),
            _ => Err(BenchError::protocol(format!("{acks:?} was acknowledged at durability {}", partition.durability))),
        }
    });
    of_each.collect()
}

/// Refused for want of room, or failed for good.
fn refused(code: u16, retry_after_ms: u32, text: &str) -> Outcome {
    if may_come_later(code) {
        let retry_after = Duration::from_millis(u64::from(retry_after_ms));
        return Outcome::Refused { retry_after, because: RefusedBecause::from(text) };
    }
    let error = BenchError::Refused { what: "a produce".to_owned(), code, text: text.to_owned() };
    Outcome::Failed { because: error.to_string() }
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(0)
}
