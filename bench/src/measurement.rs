//! What one round of one system showed. A child program that measures a peer sends exactly this, as one line of JSON.

use serde::{Deserialize, Serialize};
use sluice_tuning::LatencyHistogram;

use crate::process::Memory;
use crate::result::{RoundOutcome, Second};

/// One round. What does not apply is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Measurement {
    pub outcome: RoundOutcome,
    /// Why it is not whole.
    pub outcome_because: Option<String>,
    /// Of records acknowledged at first offer, from the intended time (a closed loop: from the send).
    pub latencies: Option<LatencyHistogram>,
    /// Of records that were refused first.
    pub latencies_refused_first: Option<LatencyHistogram>,
    /// From hand-over to acknowledgement.
    pub service: Option<LatencyHistogram>,
    /// From the intended time until a consumer had it.
    pub end_to_end: Option<LatencyHistogram>,
    /// Hand-over minus intended time, while the system had room.
    pub generator_late: Option<LatencyHistogram>,
    pub generator_cpu_percent: Option<f64>,
    pub asked_per_s: Option<f64>,
    pub offered_per_s: Option<f64>,
    /// Samples a second of a closed loop, records a second of a load.
    pub reached_per_s: Option<f64>,
    pub consumed_per_s: Option<f64>,
    pub consumed_mb_s: Option<f64>,
    /// Values of acknowledged records (of those read, where nothing else is done), or raw bytes, millions a second.
    pub throughput_mb_s: Option<f64>,
    /// Records the system refused for want of room, each time; each was offered again (a closed loop: requests).
    pub refused_count: u64,
    /// What the system said to the last of them.
    pub refused_because: Option<String>,
    pub failed_count: u64,
    pub failed_because: Option<String>,
    pub timed_out_count: u64,
    pub timeline: Vec<Second>,
    /// What a reader of the figures has to know.
    pub notes: Vec<String>,
    /// The broker's own stages, in order.
    pub stages: Vec<StageTimes>,
    pub broker: BrokerFigures,
    /// From the start of the broker until it answers a connection.
    pub seconds_to_listen: Option<f64>,
    /// From the start of the broker until every partition has acknowledged a record and given one.
    pub seconds_to_serve: Option<f64>,
    /// What each shard says of its recovery.
    pub recoveries: Vec<String>,
}

/// One stage inside the broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageTimes {
    pub name: String,
    pub latencies: LatencyHistogram,
    /// Of all samples together, exact.
    pub total_ns: u64,
}

/// What the load cost the broker, warm-up left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BrokerFigures {
    /// Processor time over wall time, per cent of one core.
    pub cpu_percent: Option<f64>,
    /// Until the broker was quiet again, so what it does later for these records is in it.
    pub cpu_s_per_gb: Option<f64>,
    pub cpu_s_per_million_records: Option<f64>,
    pub memory: Option<Memory>,
    /// Bytes written to the device for each byte of acknowledged values.
    pub write_amplification: Option<f64>,
}

/// All that was acknowledged from the begin of the counted time on, until the load had ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Acknowledged {
    pub record_count: u64,
    pub value_len: u64,
}
