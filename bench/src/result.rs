//! What a run leaves behind, as `results.json` holds it and `--json` prints it: one schema, written and read here.
//!
//! The field names are an interface; scripts, `bench report` and `bench compare` read them. A file of another version is
//! refused by its readers, never guessed at. Figures are medians over whole rounds; what does not apply is null. Absent: how
//! a figure is found (`summary`) and how it is shown (`report`).

use serde::{Deserialize, Serialize};
use sluice_tuning::{LatencyHistogram, LatencySummary};

use crate::floor::WaitMode;
use crate::process::Memory;
use crate::spread::Spread;

/// Grows whenever a field changes its meaning or goes; readers refuse every other number.
pub const RESULT_VERSION: u32 = 1;
/// Name of the file in an output folder.
pub const RESULT_FILE: &str = "results.json";

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub version: u32,
    /// RFC 3339, UTC.
    pub started_at: String,
    pub machine: Machine,
    /// Of the sources the program was built from, when it is known.
    pub commit: Option<String>,
    /// `release` or `debug`.
    pub build: String,
    /// The effective settings of the broker that was started here; empty for one given by its address.
    pub settings: String,
    /// What a reader has to know about the run as a whole.
    pub warnings: Vec<String>,
    /// The run was ended by a signal: what is not there was not measured.
    #[serde(default)]
    pub interrupted: bool,
    pub results: Vec<WorkloadResult>,
}

/// Where it was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: u32,
    pub memory_mb: u64,
    pub kernel: String,
    /// Of the data folder: `ext4`, `xfs`, …
    pub file_system: String,
    /// The block device below it, when it is known: `vda`, `nvme0n1`.
    pub device: Option<String>,
    /// That device's scheduler: `none`, `mq-deadline`, …
    pub scheduler: Option<String>,
    /// Locked memory a process may have, KiB; null is no limit.
    pub memlock_kib: Option<u64>,
}

/// One workload on one system in one mode.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkloadResult {
    pub workload: String,
    /// The workload's own line on what it is for.
    #[serde(default)]
    pub about: String,
    /// `sluice`, `sluice-client`, `kafka`, `nats`, `redis`, `iggy`; `device`, `floor`, `loopback`, `memory` for yardsticks.
    pub system: String,
    pub mode: Option<WaitMode>,
    #[serde(rename = "loop")]
    pub loop_kind: Option<LoopKind>,
    pub outcome: RoundOutcome,
    /// Why the outcome is not `whole`.
    #[serde(default)]
    pub outcome_because: Option<String>,
    /// `all`, `leader` or `none`; null where nothing is produced.
    #[serde(default)]
    pub acks: Option<String>,
    /// What an acknowledgement of this system means, one line.
    #[serde(default)]
    pub acknowledgement: Option<String>,
    /// Whether what is counted was flushed before it was acknowledged; null also where that is not known, as of a peer's server
    /// that was given by its address.
    pub flushed: Option<bool>,

    /// Records a second in the counted time: the schedule's own, what was handed to the system, what it acknowledged.
    pub asked_per_s: Option<f64>,
    pub offered_per_s: Option<f64>,
    pub reached_per_s: Option<f64>,
    pub throughput_mb_s: Option<f64>,
    pub throughput_mb_s_range: Option<Spread>,
    /// Intended send to acknowledgement, of records acknowledged at first offer. A closed loop: send to acknowledgement.
    pub latency_us: Option<LatencySummary>,
    pub latency_us_range: Option<LatencyRange>,
    /// Mean and standard deviation of the samples that `percentiles` are of.
    #[serde(default)]
    pub mean_us: Option<f64>,
    #[serde(default)]
    pub deviation_us: Option<f64>,
    /// Of records that were refused first and admitted later, from the same intended time.
    #[serde(default)]
    pub latency_refused_first_us: Option<LatencySummary>,
    /// Hand-over to acknowledgement, whatever the schedule said: hides queueing in front of the system, and says so.
    #[serde(default)]
    pub service_us: Option<LatencySummary>,
    /// Intended send to received by a consumer.
    #[serde(default)]
    pub end_to_end_us: Option<LatencySummary>,
    #[serde(default)]
    pub consumed_per_s: Option<f64>,
    #[serde(default)]
    pub consumed_mb_s: Option<f64>,
    /// Over all whole rounds.
    pub refused_count: u64,
    /// What the system said to one of them.
    pub refused_because: Option<String>,
    #[serde(default)]
    pub failed_count: u64,
    #[serde(default)]
    pub failed_because: Option<String>,
    #[serde(default)]
    pub timed_out_count: u64,

    /// Processor time of the generator's threads over wall time, per cent of one core.
    #[serde(default)]
    pub generator_cpu_percent: Option<f64>,
    /// p99 of hand-over minus intended time, while the system had room.
    #[serde(default)]
    pub generator_late_us: Option<f64>,

    pub broker_cpu_s_per_gb: Option<f64>,
    pub broker_cpu_s_per_million_records: Option<f64>,
    pub broker_cpu_percent: Option<f64>,
    /// The largest of any round.
    pub broker_memory: Option<Memory>,
    /// Bytes the system wrote to the device for each byte of acknowledged values.
    #[serde(default)]
    pub write_amplification: Option<f64>,
    pub seconds_to_listen: Option<Spread>,
    pub seconds_to_serve: Option<Spread>,
    /// Of every round, in order: what each shard said it had to do.
    #[serde(default)]
    pub recoveries: Vec<String>,
    /// Where the time of a produce went inside the broker, by its own histograms.
    #[serde(default)]
    pub stages: Vec<Stage>,

    pub yardstick: Option<Yardstick>,
    /// A latency: p50 over the yardstick's p50. A throughput: over the yardstick's.
    pub ratio: Option<f64>,
    /// A latency: p99 over the yardstick's p99.
    pub ratio_p99: Option<f64>,
    /// Whole rounds, those that the medians are taken over.
    pub round_count: usize,
    /// Every round in order, whole or not.
    #[serde(default)]
    pub rounds: Vec<Round>,
    /// Of `latency_us`, over all whole rounds together: for plots and `.hgrm`.
    #[serde(default)]
    pub percentiles: Vec<Percentile>,
    /// Of the whole round whose p99 is the median.
    #[serde(default)]
    pub timeline: Vec<Second>,
    /// The distance to each limit of the machine, measured in the same rounds.
    #[serde(default)]
    pub limits: Vec<Limit>,
    /// What a reader of these figures has to know.
    #[serde(default)]
    pub notes: Vec<String>,

    /// Repeated from the run, so that a result alone says where it comes from.
    #[serde(default)]
    pub version: u32,
    #[serde(default)]
    pub started_at: String,
    #[serde(default)]
    pub machine: Machine,
    #[serde(default)]
    pub commit: Option<String>,
    #[serde(default)]
    pub build: String,
    /// Effective settings of the system that was measured.
    #[serde(default)]
    pub settings: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoopKind {
    /// Intended times fixed in advance.
    Open,
    /// One request (or one round of them) outstanding.
    Closed,
}

/// What became of a round, or of the rounds of a result: the worst of any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoundOutcome {
    #[default]
    Whole,
    /// The generator handed records over late though the system had room: the figures are the generator's, not the system's.
    GeneratorBehind,
    /// A signal ended it.
    Interrupted,
    /// The system went away or failed: never in a median.
    BrokerDied,
}

/// One round, for the spread and for telling a change from noise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Round {
    pub outcome: RoundOutcome,
    pub because: Option<String>,
    pub reached_per_s: Option<f64>,
    pub throughput_mb_s: Option<f64>,
    pub latency_us: Option<LatencySummary>,
    pub end_to_end_us: Option<LatencySummary>,
    pub refused_count: u64,
}

/// The least and the greatest each percentile was in any round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyRange {
    pub min: LatencySummary,
    pub max: LatencySummary,
}

/// What a result is compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Yardstick {
    pub name: String,
    /// `us` or `mb_s`.
    pub unit: String,
    pub figure: f64,
}

/// A limit of the machine beside a result: `probe`, `floor-asleep`, `raw-write`, `loopback`, `memcpy`, `crc32c`, …
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    pub name: String,
    /// `us` (p50) or `mb_s`.
    pub unit: String,
    pub figure: f64,
    /// The result's own p50 or throughput over it.
    pub ratio: f64,
}

/// One stage of a produce inside the broker: `admit`, `queue`, `write_flush`, `replicate`, `answer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    pub name: String,
    /// Of the time of all stages together, 0 to 1.
    pub share: f64,
    pub latency_us: LatencySummary,
}

/// One step of a percentile curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Percentile {
    /// 0 to 1.
    pub quantile: f64,
    pub latency_us: f64,
    /// Samples at or below it.
    pub count: u64,
}

/// One interval of a round: a second, or a tenth of one where the round is shorter than a minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Where it begins, from the begin of the schedule.
    pub at_s: f64,
    pub phase: String,
    /// Records: due by the schedule, first handed over, acknowledged, refused (each time), failed or timed out, consumed.
    #[serde(default)]
    pub asked: u64,
    pub offered: u64,
    pub acknowledged: u64,
    pub refused: u64,
    pub failed: u64,
    pub consumed: u64,
    /// Acknowledged and not yet consumed, at its end; zero in a workload without consumers.
    pub backlog_records: u64,
    pub backlog_mb: f64,
    /// How many acknowledged records of this interval of *intended* time took up to so many µs: (bucket's upper end, count).
    pub heat: Vec<(f64, u64)>,
}

/// Where a percentile curve is sampled: each step halves what is left above, as HdrHistogram's own files do.
pub fn percentiles(latencies: &LatencyHistogram) -> Vec<Percentile> {
    let steps = latencies.percentile_steps();
    steps.into_iter().map(|(quantile, latency_us, count)| Percentile { quantile, latency_us, count }).collect()
}

/// The bucket of a heat map, ten to a decade, that a latency falls into: its upper end in µs.
#[must_use]
pub fn heat_bucket_us(latency_us: f64) -> f64 {
    const PER_DECADE: f64 = 10.0;
    let exponent = (latency_us.max(1.0).log10() * PER_DECADE).ceil() / PER_DECADE;
    // Rounded, so that the same bucket has the same number wherever it was computed.
    let upper = 10f64.powf(exponent);
    (upper * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_written_is_read_back() {
        let result = WorkloadResult {
            workload: "spike".to_owned(),
            mode: Some(WaitMode::Asleep),
            loop_kind: Some(LoopKind::Open),
            outcome: RoundOutcome::GeneratorBehind,
            timeline: vec![Second { heat: vec![(125.9, 3)], ..Second::default() }],
            ..WorkloadResult::default()
        };
        let run = Run {
            version: RESULT_VERSION,
            started_at: "2026-01-01T00:00:00Z".to_owned(),
            machine: Machine { cores: 2, ..Machine::default() },
            commit: None,
            build: "release".to_owned(),
            settings: String::new(),
            warnings: vec!["w".to_owned()],
            interrupted: false,
            results: vec![result],
        };
        let text = serde_json::to_string(&run).expect("JSON");
        assert!(text.contains(r#""outcome":"generator_behind""#) && text.contains(r#""loop":"open""#), "{text}");
        assert_eq!(serde_json::from_str::<Run>(&text).expect("the same schema"), run);
    }

    #[test]
    fn heat_buckets_are_ten_to_a_decade() {
        assert_eq!([0.0, 1.0, 1.1, 100.0, 101.0].map(heat_bucket_us), [1.0, 1.0, 1.3, 100.0, 125.9]);
    }

    #[test]
    fn percentiles_end_at_the_greatest() {
        let mut latencies = LatencyHistogram::new();
        (1..=1000).for_each(|us| latencies.record(Duration::from_micros(us)));
        let steps = percentiles(&latencies);
        let last = steps.last().expect("steps");
        assert_eq!((last.quantile, last.count), (1.0, 1000));
        assert!((last.latency_us - 1000.0).abs() <= 1.0, "{last:?}");
        assert!(steps.windows(2).all(|pair| pair[0].latency_us <= pair[1].latency_us));
    }
}
