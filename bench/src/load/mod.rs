//! The open-loop generator: one for every system, so that records, schedule and clock are the same.
//!
//! Begin with [`measure_open`]: it makes a topic, starts a thread for each lane and each reader, and adds up what they saw.
//! The expensive mistake this package guards against is coordinated omission: `lane` says how.

mod closed;
mod figures;
mod in_flight;
mod lane;
mod open;
mod read;
mod reading;
mod schedule;
mod thread_time;
mod timeline;
mod topic;
mod trace;
mod watch;

pub use closed::measure_closed;
pub(crate) use closed::{Exchange, Refused, measure_exchange};
pub use open::measure_open;
pub use read::measure_read;
pub use schedule::{Phase, Schedule};
pub use sluice_tuning::Stop;
pub(crate) use thread_time::{clock_time, thread_cpu_time};
pub(crate) use topic::{on_fresh_topic, unused_name};
pub use trace::{TraceReplay, trace_phases};
pub use watch::SystemWatch;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::BenchError;
use crate::loads::measure_idle;
use crate::measurement::Measurement;
use crate::system::System;
use crate::workload::{Load, Workload};

/// One round of a workload that needs nothing but a [`System`]: an open or closed load, reads, or none.
///
/// # Errors When the round could not begin, or the workload is one for a broker of our own (`restart`).
pub fn measure(system: &mut dyn System, workload: &Workload, stop: &Stop) -> Result<Measurement, BenchError> {
    match &workload.load {
        Load::Open(load) => measure_open(system, workload, load, stop),
        Load::Closed(load) => measure_closed(system, workload, load, stop),
        Load::Read(load) => measure_read(system, workload, load, stop),
        Load::Idle { seconds } => measure_idle(system, *seconds, stop),
        Load::Restart(_) => {
            Err(BenchError::Option { problem: format!("{} is only for a broker that is killed here", workload.name) })
        }
    }
}

/// What lanes and readers of a round tell one another: how much there is to read.
#[derive(Debug)]
pub(crate) struct Shared {
    acknowledged: AtomicU64,
    /// By group.
    consumed: Vec<AtomicU64>,
    lanes_have_ended: AtomicBool,
    /// A connection broke: there is no point in going on.
    has_failed: AtomicBool,
}

impl Shared {
    /// `preloaded` records are there already.
    fn new(group_count: u32, preloaded: u64) -> Self {
        let consumed = (0..group_count).map(|_| AtomicU64::new(0)).collect();
        Self {
            acknowledged: AtomicU64::new(preloaded),
            consumed,
            lanes_have_ended: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
        }
    }

    fn add_acknowledged(&self, count: u64) {
        self.acknowledged.fetch_add(count, Ordering::Relaxed);
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    fn add_consumed(&self, group: u32, count: u64) {
        if let Some(consumed) = self.consumed.get(group as usize) {
            consumed.fetch_add(count, Ordering::Relaxed);
        }
    }

    fn fail(&self) {
        self.has_failed.store(true, Ordering::Relaxed);
    }

    fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    fn end_lanes(&self) {
        self.lanes_have_ended.store(true, Ordering::Release);
    }

    /// Nothing more is coming, and this group has all there is.
    fn is_all_read(&self, group: u32) -> bool {
        let consumed = self.consumed.get(group as usize).map_or(0, |consumed| consumed.load(Ordering::Relaxed));
        self.lanes_have_ended.load(Ordering::Acquire) && consumed >= self.acknowledged.load(Ordering::Relaxed)
    }
}
