//! XADDs pipelined over as many connections as the lane has, or over a few where it has one.
//!
//! In each turn of its event loop the server takes 16 KiB of each connection, and with `appendfsync always` flushes once: over a
//! few connections a flush is for more records. A stream stays with its connection, which keeps its order.
//!
//! A flow has at most as many bytes of values in flight as Sluice's producer has in its window, so that both are given the
//! same depth to work with.

use std::collections::HashMap;
use std::time::Instant;

use sluice_bench::BenchError;
use sluice_bench::floor::WaitMode;
use sluice_bench::poller::Poller;
use sluice_bench::system::{LanePlan, Producer, Record, Settled, Topic};

use super::system::stream_of;
use super::wire::{Pending, Wire};

/// Instead of one connection; as many as there are partitions at most.
const FEW: u32 = 4;

pub(super) struct RedisProducer {
    poller: Poller,
    wires: Vec<Wire>,
    flows: Vec<Flow>,
    /// The place of a flow in `flows`, by partition and connection.
    by_place: HashMap<(u32, u32), usize>,
    in_flight_len_max: usize,
    /// Connections with something to send.
    dirty: Vec<usize>,
    ready: Vec<usize>,
    answered: Vec<Pending>,
}

struct Flow {
    wire: usize,
    /// An XADD to its stream, up to the length of the value.
    begin: Vec<u8>,
    in_flight_len: usize,
}

impl RedisProducer {
    pub(super) fn open(port: u16, topic: &Topic, plan: &LanePlan) -> Result<Self, BenchError> {
        let poller = Poller::new(WaitMode::Asleep).map_err(BenchError::io("a descriptor for connections"))?;
        let mut wires = Vec::new();
        let planned = plan.flows();
        let few = FEW.min(u32::try_from(planned.len()).unwrap_or(FEW));
        let wire_count = if plan.connection_count > 1 { plan.connection_count } else { few };
        for number in 0..wire_count as usize {
            let wire = Wire::open(port)?;
            poller.add(wire.fd(), number).map_err(BenchError::io("a connection to Redis"))?;
            wires.push(wire);
        }
        let mut flows = Vec::new();
        let mut by_place = HashMap::new();
        for (number, flow) in planned.into_iter().enumerate() {
            let stream = stream_of(&topic.name, flow.partition);
            let begin = format!("*5\r\n$4\r\nXADD\r\n${}\r\n{stream}\r\n$1\r\n*\r\n$1\r\nv\r\n$", stream.len()).into_bytes();
            by_place.insert((flow.partition, flow.connection), flows.len());
            flows.push(Flow { wire: number % wire_count as usize, begin, in_flight_len: 0 });
        }
        let in_flight_len_max = plan.batch_len_max.saturating_mul(plan.window as usize);
        let (dirty, ready, answered) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { poller, wires, flows, by_place, in_flight_len_max, dirty, ready, answered })
    }

    fn send_wire(&mut self, number: usize) -> Result<(), BenchError> {
        let wire = &mut self.wires[number];
        let is_blocked = !wire.send()?;
        if is_blocked != wire.is_blocked {
            wire.is_blocked = is_blocked;
            self.poller.set_writable(wire.fd(), number, is_blocked).map_err(BenchError::io("a connection to Redis"))?;
        }
        Ok(())
    }
}

impl Producer for RedisProducer {
    fn has_room(&self, partition: u32, connection: u32) -> bool {
        let flow = self.by_place.get(&(partition, connection)).map(|&flow| &self.flows[flow]);
        flow.is_some_and(|flow| flow.in_flight_len < self.in_flight_len_max)
    }

    fn send(&mut self, record: &Record<'_>, token: u64) -> Result<(), BenchError> {
        let place = (record.partition, record.connection);
        let number = *self.by_place.get(&place).expect("records come over the flows of the lane's plan");
        let flow = &mut self.flows[number];
        let wire = &mut self.wires[flow.wire];
        wire.queue(&flow.begin, record.value);
        wire.pending.push_back(Pending { token, flow: number, value_len: record.value.len() });
        flow.in_flight_len += record.value.len();
        if self.dirty.last() != Some(&flow.wire) {
            self.dirty.push(flow.wire);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), BenchError> {
        let mut dirty = std::mem::take(&mut self.dirty);
        for number in dirty.drain(..) {
            self.send_wire(number)?;
        }
        self.dirty = dirty;
        Ok(())
    }

    fn poll(&mut self, until: Instant, settled: &mut Vec<Settled>) -> Result<(), BenchError> {
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        self.poller.wait(until, &mut ready).map_err(BenchError::io("waiting for answers"))?;
        for &number in &ready {
            if self.wires[number].is_blocked {
                self.send_wire(number)?;
            }
            self.wires[number].receive(settled, &mut self.answered)?;
        }
        self.ready = ready;
        for pending in self.answered.drain(..) {
            self.flows[pending.flow].in_flight_len -= pending.value_len;
        }
        Ok(())
    }
}
