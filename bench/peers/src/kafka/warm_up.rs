//! What a broker goes through before the first round: a JVM compiles what it runs often while it runs, so a broker that has just
//! started is several times slower than the one its users have.
//!
//! The loads are those of the generator itself: one record at a time, then as many as there is room for, and all of them read.

use std::time::Duration;

use sluice_bench::load::{Phase, measure};
use sluice_bench::system::{AcksAsked, System};
use sluice_bench::workload::{ClosedLoad, ConsumeLoad, Load, OnFull, OpenLoad};
use sluice_bench::{BenchError, Stop, Workload};

const SECONDS: f64 = 3.0;
const VALUE_LEN: usize = 1024;
const BATCH_LEN: usize = 256 << 10;

/// # Errors When the broker cannot be written to or read from.
pub(super) fn warm_up(system: &mut dyn System) -> Result<(), BenchError> {
    for load in [single_records(), bulk()] {
        let measured = measure(system, &workload(load), &Stop::default())?;
        if let Some(because) = measured.outcome_because.filter(|_| measured.reached_per_s.unwrap_or(0.0) <= 0.0) {
            return Err(BenchError::protocol(format!("while it was warmed up: {because}")));
        }
    }
    Ok(())
}

fn workload(load: Load) -> Workload {
    Workload {
        name: "warm-up".to_owned(),
        about: String::new(),
        aliases: Vec::new(),
        acks: AcksAsked::All,
        load,
        yardstick: None,
        read_yardstick: None,
    }
}

fn single_records() -> Load {
    Load::Closed(ClosedLoad { partition_count: 1, value_len: VALUE_LEN, seconds: SECONDS })
}

fn bulk() -> Load {
    let per_s = 500e3;
    let phase = Phase { name: "bulk".to_owned(), seconds: SECONDS, from_per_s: per_s, to_per_s: per_s, is_counted: true };
    Load::Open(OpenLoad {
        partition_count: 2,
        value_len: VALUE_LEN,
        lanes: 1,
        connections: 1,
        window: 2,
        batch_len_max: BATCH_LEN,
        on_full: OnFull::Block,
        tick: Duration::from_micros(100),
        phases: vec![phase],
        drain: Duration::ZERO,
        consume: Some(ConsumeLoad { groups: 1, readers: 1, per_s_max: None }),
        preload_len: 0,
    })
}
