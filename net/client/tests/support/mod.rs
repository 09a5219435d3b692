//! A broker in this process: native protocol over TCP, logs in memory, and faults on demand.

#![allow(dead_code, unreachable_pub)]

mod serve;
pub mod state;

pub use state::{Fault, Mode, Seat, State};

use sluice_client::{Client, ClientConfig};
use sluice_protocol::ShardAddress;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;

pub struct FakeBroker {
    pub shared: Arc<Shared>,
}

pub struct Shared {
    pub state: Mutex<State>,
    /// Wakes fetches that wait.
    pub appended: Notify,
}

impl FakeBroker {
    /// One broker, which listens on one port per shard; partition p of every topic belongs to shard p % shards.
    pub async fn start(topics: &[(&str, u32)], shards: u16) -> Self {
        Self::start_seats(topics, (0..shards).map(|shard| (1, shard))).await
    }

    /// Brokers 1, 2, … of one shard each, which share every log; partition p of every topic is led by the broker at seat
    /// p % brokers, until it is elected elsewhere.
    pub async fn start_cluster(topics: &[(&str, u32)], brokers: u16) -> Self {
        Self::start_seats(topics, (0..brokers).map(|seat| (u32::from(seat) + 1, 0))).await
    }

    async fn start_seats(topics: &[(&str, u32)], seats: impl Iterator<Item = (u32, u16)>) -> Self {
        let broker = Self { shared: Arc::new(Shared { state: Mutex::new(State::new(topics)), appended: Notify::new() }) };
        for (seat, (broker_id, shard)) in (0..).zip(seats) {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = ShardAddress { broker_id, shard, host: "127.0.0.1".into(), port: 0 };
            let connections = Vec::new();
            broker.state().seats.push(Seat { address, mode: Mode::Serving, view: None, listener: None, connections });
            broker.listen(seat, listener);
        }
        broker
    }

    fn listen(&self, seat: u16, listener: TcpListener) {
        let port = listener.local_addr().unwrap().port();
        let shared = self.shared.clone();
        let listening = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let connection = tokio::spawn(serve::connection(shared.clone(), seat, stream)).abort_handle();
                let mut state = shared.state.lock().unwrap();
                state.seats[seat as usize].connections.push(connection);
            }
        });
        let seat = &mut self.state().seats[seat as usize];
        (seat.address.port, seat.listener) = (port, Some(listening.abort_handle()));
    }

    pub fn addresses(&self) -> Vec<String> {
        self.state().seats.iter().map(|s| format!("{}:{}", s.address.host, s.address.port)).collect()
    }

    /// Another broker leads a partition from now on, or none.
    pub fn elect(&self, topic: &str, partition: usize, leader: Option<u16>) {
        let mut state = self.state();
        let partition = &mut state.topics.get_mut(topic).unwrap().partitions[partition];
        (partition.moved_to, partition.is_leaderless) = (leader.or(partition.moved_to), leader.is_none());
        partition.elections += 1;
        drop(state);
        self.shared.appended.notify_waiters();
    }

    pub fn set_mode(&self, seat: u16, mode: Mode) {
        self.state().seats[seat as usize].mode = mode;
        self.shared.appended.notify_waiters();
    }

    /// From now on this broker hears nothing of the cluster, or all again.
    pub fn keep_view(&self, seat: u16, keep: bool) {
        let mut state = self.state();
        let view = keep.then(|| state.leaderships());
        state.seats[seat as usize].view = view;
    }

    /// Ends every connection to this broker.
    pub fn cut(&self, seat: u16) {
        self.state().seats[seat as usize].connections.drain(..).for_each(|connection| connection.abort());
    }

    /// Ends its connections, and refuses those to come.
    pub fn stop(&self, seat: u16) {
        let listener = self.state().seats[seat as usize].listener.take();
        listener.into_iter().for_each(|listener| listener.abort());
        self.cut(seat);
    }

    /// A stopped broker comes back, at the same address or at another one.
    pub async fn start_again(&self, seat: u16, same_address: bool) {
        let port = if same_address { self.state().seats[seat as usize].address.port } else { 0 };
        let binding = async {
            loop {
                match TcpListener::bind(("127.0.0.1", port)).await {
                    Ok(listener) => break listener,
                    // The old one has not quite gone.
                    Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        };
        let listener = tokio::time::timeout(LONG, binding).await.unwrap_or_else(|_| panic!("port {port} does not get free"));
        self.listen(seat, listener);
    }

    pub async fn client(&self) -> Client {
        Client::connect(&self.addresses()[..1], quick()).await.unwrap()
    }

    pub fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// What happens to the next produce requests, one fault each.
    pub fn faults(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// The values in a partition's log, as text, in order.
    pub fn values(&self, topic: &str, partition: usize) -> Vec<String> {
        self.state().topics[topic].partitions[partition].values()
    }
}

/// Short waits; deadlines that are generous, since none decides a test.
pub fn quick() -> ClientConfig {
    ClientConfig { retry_backoff_ms: 1, retry_backoff_ms_max: 20, ..ClientConfig::default() }
}

pub const LONG: Duration = Duration::from_secs(30);
