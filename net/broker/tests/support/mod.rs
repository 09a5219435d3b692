//! What the tests of the broker share: a broker in this process on a real disk, and a client that can send anything.
#![allow(dead_code, unreachable_pub)]

pub mod frames;
pub mod raw_client;

use sluice_broker::{Broker, BrokerConfig, start};
use std::path::Path;
use tempfile::TempDir;

pub use frames::FrameSpec;
pub use raw_client::RawClient;

/// A folder on the disk of the build; the default temporary folder may be in memory.
pub fn temp_dir() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder beside the build")
}

/// Small, quick to start, any free ports.
pub fn config(data_dir: &Path) -> BrokerConfig {
    BrokerConfig {
        shards: Some(1),
        tail_budget_len: 32 << 20,
        journal_buffer_budget_len: 24 << 20,
        journal_file_len: 16 << 20,
        journal_file_count: 3,
        ..BrokerConfig::new(data_dir, "127.0.0.1:0".parse().expect("an address"))
    }
}

pub fn start_in(data_dir: &Path) -> Broker {
    start(config(data_dir)).expect("the broker starts")
}

/// A broker, its folder, and a client that has said Hello to shard 0.
pub fn broker() -> (TempDir, Broker, RawClient) {
    let dir = temp_dir();
    let broker = start_in(dir.path());
    let client = RawClient::connect(broker.local_addrs()[0]);
    (dir, broker, client)
}
