//! A broker in this process: native protocol over TCP, logs in memory, and faults on demand.

#![allow(dead_code, unreachable_pub)]

mod serve;
mod state;

pub use state::{Fault, State};

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
    pub shards: Vec<ShardAddress>,
}

impl FakeBroker {
    /// Listens on one port per shard; partition p of every topic belongs to shard p % shards.
    pub async fn start(topics: &[(&str, u32)], shards: u16) -> Self {
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for shard in 0..shards {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            addresses.push(ShardAddress { broker_id: 1, shard, host: "127.0.0.1".into(), port });
            listeners.push(listener);
        }
        let shared = Arc::new(Shared { state: Mutex::new(State::new(topics)), appended: Notify::new(), shards: addresses });
        for (shard, listener) in (0..).zip(listeners) {
            let shared = shared.clone();
            tokio::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(serve::connection(shared.clone(), shard, stream));
                }
            });
        }
        Self { shared }
    }

    pub fn addresses(&self) -> Vec<String> {
        self.shared.shards.iter().map(|s| format!("{}:{}", s.host, s.port)).collect()
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
