//! Produces for one lane through the client: `try_send_with`, and callbacks that leave outcomes where the lane looks for them.
//!
//! The client opens connections again by itself for as long as its delivery timeout, so a broker that is gone shows only as
//! silence. After a while of it the lane asks whether anybody is there; the expensive mistake would be a dead broker whose round
//! counts as whole.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sluice_client::{
    Acks, Client, Delivery, Durability, Producer as NativeProducer, ProducerConfig, ProducerRecord, Reason, SendError,
};
use tokio::runtime::Handle;

use crate::error::BenchError;
use crate::system::{AcksAsked, LanePlan, Outcome, Producer, Record, Settled, Topic};
use crate::workload::OnFull;

/// Bytes of the client's memory that a record takes beside its value: more than they are.
const RECORD_OVERHEAD_LEN: usize = 256;
/// With records in flight and no outcome for this long, somebody looks whether the broker is there.
const SILENCE_MAX: Duration = Duration::from_secs(2);
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// One client for each of the lane's connections.
pub(super) struct ClientProducer {
    producers: Vec<NativeProducer>,
    outcomes: Arc<Outcomes>,
    topic: String,
    wanted: Durability,
    value_len_max: usize,
    address: String,
    in_flight: u64,
    last_heard: Instant,
}

/// Outcomes on their way from the client's threads to the lane's.
#[derive(Default)]
struct Outcomes {
    settled: Mutex<Vec<Settled>>,
    arrived: Condvar,
}

impl Outcomes {
    fn add(&self, token: u64, outcome: Outcome) {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.push(Settled { token, outcome });
        if settled.len() == 1 {
            self.arrived.notify_one();
        }
    }

    /// Appends what there is to `to`; waits for something until `until`.
    fn take(&self, until: Instant, to: &mut Vec<Settled>) {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        let left = until.saturating_duration_since(Instant::now());
        if settled.is_empty() && !left.is_zero() {
            let waited = self.arrived.wait_timeout_while(settled, left, |settled| settled.is_empty());
            settled = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        to.append(&mut settled);
    }
}

impl ClientProducer {
    pub(super) fn open(
        runtime: &Handle,
        clients: Vec<Client>,
        topic: &Topic,
        plan: &LanePlan,
        value_len_max: usize,
        address: &str,
    ) -> Result<Self, BenchError> {
        let (acks, wanted) = match topic.acks {
            AcksAsked::None => (Acks::None, Durability::None),
            AcksAsked::Leader => (Acks::Leader, Durability::Flushed),
            AcksAsked::All => (Acks::All, Durability::Committed),
        };
        let open = |client: Client| {
            runtime.block_on(async {
                let config = ProducerConfig { acks, ..config(plan) };
                let producer = NativeProducer::new(client, config).await.map_err(BenchError::protocol)?;
                producer.prepare(&topic.name).await.map_err(BenchError::protocol)?;
                Ok(producer)
            })
        };
        Ok(Self {
            producers: clients.into_iter().map(open).collect::<Result<_, BenchError>>()?,
            outcomes: Arc::default(),
            topic: topic.name.clone(),
            wanted,
            value_len_max,
            address: address.to_owned(),
            in_flight: 0,
            last_heard: Instant::now(),
        })
    }

    fn look_for_broker(&self) -> Result<(), BenchError> {
        let failed = |source| BenchError::Connection { address: self.address.clone(), source };
        let mut addresses = self.address.to_socket_addrs().map_err(failed)?;
        addresses.try_for_each(|address| TcpStream::connect_timeout(&address, LOOK_TIMEOUT).map(drop)).map_err(failed)
    }
}

impl Producer for ClientProducer {
    fn has_room(&self, _: u32, connection: u32) -> bool {
        self.producers[connection as usize].buffer_available() >= self.value_len_max + RECORD_OVERHEAD_LEN
    }

    fn send(&mut self, record: &Record<'_>, token: u64) -> Result<(), BenchError> {
        let (outcomes, wanted) = (self.outcomes.clone(), self.wanted);
        let new = ProducerRecord::new(&self.topic, record.value).with_partition(record.partition);
        let sent = self.producers[record.connection as usize]
            .try_send_with(new, move |delivery| outcomes.add(token, outcome(delivery, wanted)));
        if self.in_flight == 0 {
            self.last_heard = Instant::now();
        }
        self.in_flight += 1;
        sent.map_err(|error: SendError| BenchError::protocol(error))
    }

    /// The client sends by itself.
    fn flush(&mut self) -> Result<(), BenchError> {
        Ok(())
    }

    fn poll(&mut self, until: Instant, settled: &mut Vec<Settled>) -> Result<(), BenchError> {
        let before = settled.len();
        self.outcomes.take(until, settled);
        let count = (settled.len() - before) as u64;
        self.in_flight = self.in_flight.saturating_sub(count);
        if count > 0 {
            self.last_heard = Instant::now();
        } else if self.in_flight > 0 && self.last_heard.elapsed() > SILENCE_MAX {
            self.look_for_broker()?;
            self.last_heard = Instant::now();
        }
        Ok(())
    }
}

/// What a program gets that sets nothing; but one that wants to be told at once when it is full says how much it may hold, which is
/// what the lane's other producers hold: what is in flight, and one batch of each partition that fills.
fn config(plan: &LanePlan) -> ProducerConfig {
    match plan.on_full {
        OnFull::Block => ProducerConfig::default(),
        OnFull::Fail => {
            let partitions = plan.flows().iter().filter(|flow| flow.connection == 0).count();
            let held = partitions * (plan.window as usize + 1) * plan.batch_len_max;
            ProducerConfig { batch_len_max: plan.batch_len_max, buffer_len_max: held, ..ProducerConfig::default() }
        }
    }
}

fn outcome(delivery: Delivery, wanted: Durability) -> Outcome {
    match delivery {
        Delivery::Acknowledged(got) if got.durability < wanted => {
            Outcome::Failed { because: format!("it was acknowledged as {:?}, and {wanted:?} was asked for", got.durability) }
        }
        Delivery::Acknowledged(got) if got.refusal_count > 0 => Outcome::AcknowledgedLater { refusal_count: got.refusal_count },
        Delivery::Acknowledged(_) => Outcome::Acknowledged,
        Delivery::Refused(failure) | Delivery::Unknown(failure) if failure.reason == Reason::DeliveryTimeout => Outcome::TimedOut,
        Delivery::Refused(failure) | Delivery::Unknown(failure) => Outcome::Failed { because: failure.to_string() },
    }
}
