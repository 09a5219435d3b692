//! The loads, one file each: what is sent to the broker in one round, and what is measured of it.
//!
//! Every round has a topic of its own, removed afterwards, so that no round pays for the log of the one before.

mod closed;
mod flood;
mod idle;
mod restart;
mod streams;

pub use closed::{measure_partitions_64, measure_single_record};
pub use flood::measure_flood;
pub use idle::measure_idle;
pub use restart::{RestartLog, RestartScene};
pub use streams::measure_bulk;

use crate::broker::{BenchTopic, Broker};
use crate::error::BenchError;

/// Runs `measure` with a fresh topic of this many partitions.
fn with_topic<T>(
    broker: &Broker,
    name: &str,
    partition_count: u32,
    measure: impl FnOnce(&BenchTopic) -> Result<T, BenchError>,
) -> Result<T, BenchError> {
    let topic = broker.create_topic(&unused_name(name), partition_count)?;
    let measured = measure(&topic);
    // After a failed measurement the broker may be gone: the failure is what matters.
    let deleted = broker.delete_topic(&topic);
    measured.and_then(|value| deleted.map(|()| value))
}

/// A topic name that no other benchmark on the same broker uses.
fn unused_name(load: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    format!("bench-{load}-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}
