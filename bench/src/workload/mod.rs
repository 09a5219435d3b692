//! What a workload is, wherever it was written down: a name, a line on what it is for, and a load.
//!
//! `file` reads one and checks every key, `catalog` knows those that come with the program.

mod catalog;
mod file;

use std::time::Duration;

pub use catalog::{ALL, Listed, find, list};
pub use file::parse;

use serde::{Deserialize, Serialize};

use crate::floor::WaitMode;
use crate::load::Phase;
use crate::system::AcksAsked;

/// One workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    pub name: String,
    /// What it is for, in a line.
    pub about: String,
    /// Names of the same workload elsewhere.
    pub aliases: Vec<String>,
    pub acks: AcksAsked,
    pub load: Load,
    /// What its latency or throughput is held against.
    pub yardstick: Option<YardstickName>,
    /// What its readers' throughput is held against.
    pub read_yardstick: Option<YardstickName>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Load {
    Open(OpenLoad),
    Closed(ClosedLoad),
    Read(ReadLoad),
    /// Nothing at all for this long.
    Idle {
        seconds: f64,
    },
    Restart(RestartLoad),
}

/// Intended times fixed in advance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenLoad {
    pub partition_count: u32,
    /// Bytes of one record's value.
    pub value_len: usize,
    /// Threads that produce.
    pub lanes: u32,
    /// Over all lanes.
    pub connections: u32,
    /// Batches in flight for each partition of a connection.
    pub window: u32,
    /// Most bytes of values in one batch.
    pub batch_len_max: usize,
    pub on_full: OnFull,
    /// Records that fall due within this are handed over together.
    pub tick: Duration,
    pub phases: Vec<Phase>,
    /// After the schedule's end: how long what is due is still offered, and readers read on, at most.
    pub drain: Duration,
    pub consume: Option<ConsumeLoad>,
    /// Bytes of values that are written before the round.
    pub preload_len: u64,
}

/// What happens to a record that falls due while its flow has no room, or has been told to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFull {
    /// It waits, and counts from its intended time as one that was admitted at first offer.
    #[default]
    Block,
    /// Whoever brings it is told so at once, as by a producer that fails when it is full, and comes again when there is room: it
    /// counts from its intended time as one that was refused first.
    Fail,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConsumeLoad {
    /// Each reads everything.
    pub groups: u32,
    /// Readers of one group, which share the partitions.
    pub readers: u32,
    /// Records a second that a group takes at most while the schedule lasts.
    pub per_s_max: Option<f64>,
}

/// One request, or one record to each of several partitions, outstanding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClosedLoad {
    pub partition_count: u32,
    pub value_len: usize,
    pub seconds: f64,
}

/// A log that is written first, and then read by nobody who is in a hurry to write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadLoad {
    pub partition_count: u32,
    /// Bytes of one record's value.
    pub value_len: usize,
    /// Bytes of values.
    pub log_len: u64,
    /// Each reads everything.
    pub groups: u32,
    /// Readers of one group, which share the partitions, each on a thread and connections of its own.
    pub readers: u32,
    pub seconds: f64,
}

/// A large log, kill -9 under load, and the time until everything is served again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestartLoad {
    pub partition_count: u32,
    pub log_len: u64,
    /// The load lasts so long before the kill.
    pub seconds: f64,
}

/// What a result is held against, measured in the same rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum YardstickName {
    /// One 4 KiB durable write at a time.
    Probe,
    /// The bare server, both sides in blocking calls.
    FloorAsleep,
    /// The bare server, both sides spinning on cores of their own.
    FloorSpinning,
    /// The bare server, a thousand requests a second.
    #[serde(rename = "floor-1000")]
    Floor1000,
    /// One kilobyte there and back over loopback, without a write.
    LoopbackEcho,
    /// One stream over loopback.
    Loopback,
    Memcpy,
    #[serde(rename = "crc32c")]
    Crc32c,
    RawWrite,
    RawRead,
}

impl YardstickName {
    pub const ALL: [Self; 10] = [
        Self::Probe,
        Self::FloorAsleep,
        Self::FloorSpinning,
        Self::Floor1000,
        Self::LoopbackEcho,
        Self::Loopback,
        Self::Memcpy,
        Self::Crc32c,
        Self::RawWrite,
        Self::RawRead,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::FloorAsleep => "floor-asleep",
            Self::FloorSpinning => "floor-spinning",
            Self::Floor1000 => "floor-1000",
            Self::LoopbackEcho => "loopback-echo",
            Self::Loopback => "loopback",
            Self::Memcpy => "memcpy",
            Self::Crc32c => "crc32c",
            Self::RawWrite => "raw-write",
            Self::RawRead => "raw-read",
        }
    }

    /// What a load in this mode is held against: a floor that waits in the same way. A spinning one has one latency at every
    /// rate, because nothing falls asleep in between.
    #[must_use]
    pub fn in_mode(self, mode: WaitMode) -> Self {
        match (self, mode) {
            (Self::FloorAsleep | Self::Floor1000, WaitMode::Spinning) => Self::FloorSpinning,
            _ => self,
        }
    }
}

impl Workload {
    /// The same workload with its counted time stretched or shortened to `seconds`, and its warm-up in proportion.
    #[must_use]
    pub fn lasting(mut self, seconds: f64) -> Self {
        match &mut self.load {
            Load::Closed(load) => load.seconds = seconds,
            Load::Read(load) => load.seconds = seconds,
            Load::Idle { seconds: own } => *own = seconds,
            Load::Restart(load) => load.seconds = seconds,
            Load::Open(load) => {
                let counted: f64 = load.phases.iter().filter(|phase| phase.is_counted).map(|phase| phase.seconds).sum();
                load.phases.iter_mut().for_each(|phase| phase.seconds *= seconds / counted.max(1e-9));
            }
        }
        self
    }

    /// Length of one round without what comes after its schedule, for a sense of how long a run takes.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        match &self.load {
            Load::Open(load) => load.phases.iter().map(|phase| phase.seconds).sum(),
            Load::Closed(load) => load.seconds * 1.1,
            Load::Read(load) => load.seconds,
            Load::Idle { seconds } => *seconds,
            Load::Restart(load) => load.seconds,
        }
    }
}

impl ReadLoad {
    /// How its log is written.
    #[must_use]
    pub fn fill(&self) -> OpenLoad {
        OpenLoad {
            partition_count: self.partition_count,
            value_len: self.value_len,
            lanes: 1,
            connections: 1,
            window: file::WINDOW,
            batch_len_max: file::BATCH_LEN.max(self.value_len),
            on_full: OnFull::Block,
            tick: Duration::from_secs_f64(file::TICK_US / 1e6),
            phases: Vec::new(),
            drain: Duration::ZERO,
            consume: None,
            preload_len: self.log_len,
        }
    }
}
