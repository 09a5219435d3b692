//! The benchmark behind `sluice bench`: a broker beside the limits of the machine it runs on, in the same minutes.
//!
//! Two yardsticks run in every round: the device probe (`sluice-tuning`) and the [`floor`], the barest durable server. A
//! broker's figure means little on its own; its ratio to them carries over to other machines. The expensive mistake is to
//! compare figures of different minutes, so [`run`] interleaves everything and reports medians with their range.
//!
//! Deliberately absent: the client library on the measured path (its tasks would be measured too), opinions on what is fast
//! enough, and open-loop load, which the whole suite brings. The front door is [`run::run`].

pub mod broker;
pub mod closed_loop;
pub mod connection;
pub mod error;
pub mod floor;
pub mod loads;
pub mod measurement;
pub mod options;
pub mod payload;
pub mod pipelined;
pub mod process;
pub mod report;
pub mod result;
pub mod run;
pub mod spread;
pub mod system;
mod table;
pub mod yardsticks;

pub use error::BenchError;
pub use options::{BenchOptions, Workload};
pub use report::Report;
pub use result::WorkloadResult;
pub use run::{Progress, run};
