//! A cluster of three brokers as processes, which are killed, frozen and cut off from each other under load; judged by what
//! its clients were told, and by what each broker has on its disk in the end.
//!
//! `SLUICE_CLUSTER_ROUNDS=200 cargo test --release --test cluster -- soak` does that for so many rounds, each with a fault
//! drawn by chance; it prints a seed, and `SLUICE_SEED` makes the same choices again.

mod common;

#[path = "cluster/brokers.rs"]
mod brokers;
#[path = "cluster/checkers.rs"]
mod checkers;
#[path = "cluster/command.rs"]
mod command;
#[path = "cluster/faults.rs"]
mod faults;
#[allow(dead_code, reason = "shared with the tests of one broker, which use more of it")]
#[path = "crash/ledger.rs"]
mod ledger;
#[allow(dead_code, reason = "shared with the tests of one broker, which use more of it")]
#[path = "crash/load.rs"]
mod load;
#[path = "cluster/network.rs"]
mod network;
#[path = "crash/random.rs"]
mod random;
#[path = "cluster/replicas.rs"]
mod replicas;
#[path = "cluster/rounds.rs"]
mod rounds;
