//! The benchmark behind `sluice bench`: a broker beside the limits of the machine it runs on, in the same minutes.
//!
//! Two yardsticks run in every round: the device probe and the [`floor`] (both of `sluice-tuning`, which others need too), the barest durable server. A
//! broker's figure means little on its own; its ratio to them carries over to other machines. The expensive mistake is to
//! compare figures of different minutes, so [`run`] interleaves everything and reports medians with their range.
//!
//! Sluice itself is measured over lean connections ([`sluice`]); what a program gets through the client library stands beside
//! that as a system of its own ([`client`]). Deliberately absent: opinions on what is fast enough. The front door is
//! [`run::run`].

/// The commit that this was built from, where git knew it.
pub const COMMIT: Option<&str> = option_env!("SLUICE_COMMIT");
/// How it was built.
pub const PROFILE: &str = if cfg!(debug_assertions) { "debug" } else { "release" };

pub mod broker;
pub mod child;
pub mod client;
pub mod connection;
pub mod error;
pub mod load;
pub mod loads;
pub mod measurement;
pub mod options;
pub mod payload;
pub mod peer;
pub mod pipelined;
pub mod poller;
pub mod process;
mod received;
pub mod report;
pub mod result;
pub mod run;
pub mod sluice;
pub mod spread;
pub mod summary;
pub mod system;
pub mod workload;
pub mod yardsticks;

pub use error::BenchError;
pub use load::Stop;
pub use options::BenchOptions;
pub use result::{Run, WorkloadResult};
pub use run::{Progress, run};
pub use sluice_tuning::{closed_loop, floor, machine_speed};
pub use workload::Workload;
