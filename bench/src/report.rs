//! From rounds to results: medians with their range, and the ratio of each to its yardstick of the same run.
//!
//! A ratio is one of medians over rounds. Percentiles are medians of the rounds' percentiles, never percentiles of a
//! mixture: a bad minute must not become everybody's tail. The field names are an interface; others read them.

use serde::Serialize;
use sluice_tuning::LatencySummary;

use crate::floor::WaitMode;
use crate::measurement::Measurement;
use crate::options::Workload;
use crate::process::Memory;
use crate::run::Step;
use crate::spread::Spread;

/// All rounds of one step.
#[derive(Clone, Debug)]
pub struct Series {
    pub step: Step,
    pub rounds: Vec<Measurement>,
}

/// What a run found.
#[derive(Clone, Debug)]
pub struct Report {
    pub results: Vec<WorkloadResult>,
    /// What a reader has to know about the run as a whole.
    pub notes: Vec<String>,
}

/// One workload on one system in one mode. Figures are medians over the rounds; what does not apply is null.
#[derive(Clone, Debug, Serialize)]
pub struct WorkloadResult {
    pub workload: &'static str,
    pub system: &'static str,
    pub mode: Option<WaitMode>,
    /// `closed`: one request outstanding. `window`: several, as many as are answered.
    #[serde(rename = "loop")]
    pub loop_kind: Option<&'static str>,
    /// A rate that was asked for; no workload has one yet.
    pub asked_per_s: Option<f64>,
    pub offered_per_s: Option<f64>,
    pub reached_per_s: Option<f64>,
    pub throughput_mb_s: Option<f64>,
    pub throughput_mb_s_range: Option<Spread>,
    pub latency_us: Option<LatencySummary>,
    pub latency_us_range: Option<LatencyRange>,
    pub refused_count: u64,
    /// What the broker said to one of them.
    pub refused_because: Option<String>,
    pub broker_cpu_s_per_gb: Option<f64>,
    pub broker_cpu_s_per_million_records: Option<f64>,
    pub broker_cpu_percent: Option<f64>,
    /// The largest of any round.
    pub broker_memory: Option<Memory>,
    pub seconds_to_listen: Option<Spread>,
    pub seconds_to_serve: Option<Spread>,
    /// Of every round, in order: what each shard said it had to do.
    pub recoveries: Vec<String>,
    /// Whether what is counted was flushed.
    pub flushed: Option<bool>,
    pub yardstick: Option<Yardstick>,
    /// A latency: p50 over the yardstick's p50. A throughput: over the yardstick's.
    pub ratio: Option<f64>,
    /// A latency: p99 over the yardstick's p99.
    pub ratio_p99: Option<f64>,
    pub round_count: usize,
}

/// The least and the greatest each percentile was in any round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LatencyRange {
    pub min: LatencySummary,
    pub max: LatencySummary,
}

/// What a result is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Yardstick {
    pub name: &'static str,
    /// `us` or `mb_s`.
    pub unit: &'static str,
    pub figure: f64,
}

impl Step {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Floor(_) => "floor",
            Self::RawWrite => "raw-write",
            Self::RawRead => "raw-read",
            Self::Load(workload) => workload.name(),
        }
    }

    pub(crate) fn label(self) -> String {
        match self {
            Self::Floor(WaitMode::Asleep) => "floor, asleep".to_owned(),
            Self::Floor(WaitMode::Spinning) => "floor, spinning".to_owned(),
            _ => self.name().to_owned(),
        }
    }

    fn system(self) -> &'static str {
        match self {
            Self::Probe | Self::RawWrite | Self::RawRead => "device",
            Self::Floor(_) => "floor",
            Self::Load(_) => "sluice",
        }
    }

    fn mode(self) -> Option<WaitMode> {
        match self {
            Self::Floor(mode) => Some(mode),
            Self::Probe | Self::Load(_) => Some(WaitMode::Asleep),
            Self::RawWrite | Self::RawRead => None,
        }
    }

    fn loop_kind(self) -> Option<&'static str> {
        match self {
            Self::Probe | Self::Floor(_) | Self::Load(Workload::SingleRecord | Workload::Partitions64) => Some("closed"),
            Self::Load(Workload::Bulk | Workload::Memory) => Some("window"),
            _ => None,
        }
    }

    fn flushed(self) -> Option<bool> {
        match self {
            Self::RawRead | Self::Load(Workload::Idle | Workload::Restart) => None,
            _ => Some(true),
        }
    }

    /// The step whose figures this one's are held against.
    fn yardstick(self) -> Option<Self> {
        match self {
            Self::Floor(_) => Some(Self::Probe),
            Self::Load(Workload::SingleRecord | Workload::Partitions64) => Some(Self::Floor(WaitMode::Asleep)),
            Self::Load(Workload::Bulk) => Some(Self::RawWrite),
            _ => None,
        }
    }

    fn yardstick_name(self) -> &'static str {
        match self {
            Self::Floor(WaitMode::Asleep) => "floor-asleep",
            Self::Floor(WaitMode::Spinning) => "floor-spinning",
            _ => self.name(),
        }
    }
}

impl Series {
    pub fn new(step: Step) -> Self {
        Self { step, rounds: Vec::new() }
    }

    fn spread(&self, figure: impl Fn(&Measurement) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(figure))
    }

    fn median(&self, figure: impl Fn(&Measurement) -> Option<f64>) -> Option<f64> {
        self.spread(figure).map(|spread| spread.median)
    }

    /// One of median, least or greatest of every percentile.
    fn latency(&self, pick: fn(Spread) -> f64) -> Option<LatencySummary> {
        let of = |field: fn(&LatencySummary) -> f64| self.spread(|round| round.latency_us.as_ref().map(field)).map(pick);
        Some(LatencySummary {
            p50: of(|l| l.p50)?,
            p90: of(|l| l.p90)?,
            p99: of(|l| l.p99)?,
            p99_9: of(|l| l.p99_9)?,
            p99_99: of(|l| l.p99_99)?,
            max: of(|l| l.max)?,
        })
    }

    fn memory(&self) -> Option<Memory> {
        let greatest =
            |field: fn(&Memory) -> f64| self.spread(|round| round.broker.memory.as_ref().map(field)).map(|spread| spread.max);
        Some(Memory { rss_mb: greatest(|memory| memory.rss_mb)?, peak_mb: greatest(|memory| memory.peak_mb)? })
    }
}

impl Report {
    pub fn new(series: &[Series], notes: Vec<String>) -> Self {
        Self { results: series.iter().map(|one| result(one, series)).collect(), notes }
    }

    /// One array of all results.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(&self.results).expect("results are plain numbers and texts")
    }
}

fn result(series: &Series, all: &[Series]) -> WorkloadResult {
    let step = series.step;
    let latency_us = series.latency(|spread| spread.median);
    let throughput_mb_s = series.spread(|round| round.throughput_mb_s);
    let reached_per_s = series.median(|round| round.reached_per_s);
    let yardstick_series = step.yardstick().and_then(|wanted| all.iter().find(|other| other.step == wanted));
    let compared = yardstick_series.and_then(|yardstick| compare(series, yardstick));
    WorkloadResult {
        workload: step.name(),
        system: step.system(),
        mode: step.mode(),
        loop_kind: step.loop_kind(),
        asked_per_s: None,
        offered_per_s: reached_per_s,
        reached_per_s,
        throughput_mb_s: throughput_mb_s.map(|spread| spread.median),
        throughput_mb_s_range: throughput_mb_s,
        latency_us,
        latency_us_range: series
            .latency(|spread| spread.min)
            .zip(series.latency(|spread| spread.max))
            .map(|(min, max)| LatencyRange { min, max }),
        refused_count: series.rounds.iter().map(|round| round.refused_count).sum(),
        refused_because: series.rounds.iter().rev().find_map(|round| round.refused_because.clone()),
        broker_cpu_s_per_gb: series.median(|round| round.broker.cpu_s_per_gb),
        broker_cpu_s_per_million_records: series.median(|round| round.broker.cpu_s_per_million_records),
        broker_cpu_percent: series.median(|round| round.broker.cpu_percent),
        broker_memory: series.memory(),
        seconds_to_listen: series.spread(|round| round.seconds_to_listen),
        seconds_to_serve: series.spread(|round| round.seconds_to_serve),
        recoveries: series.rounds.iter().flat_map(|round| round.recoveries.iter().cloned()).collect(),
        flushed: step.flushed(),
        yardstick: compared.map(|compared| compared.yardstick),
        ratio: compared.map(|compared| compared.ratio),
        ratio_p99: compared.and_then(|compared| compared.ratio_p99),
        round_count: series.rounds.len(),
    }
}

#[derive(Clone, Copy)]
struct Compared {
    yardstick: Yardstick,
    ratio: f64,
    ratio_p99: Option<f64>,
}

/// A throughput where the yardstick is one, otherwise a latency. `None` when the yardstick measured nothing.
fn compare(series: &Series, yardstick: &Series) -> Option<Compared> {
    let name = yardstick.step.yardstick_name();
    let median = |series: &Series| series.latency(|spread| spread.median);
    if let Some(figure) = yardstick.median(|round| round.throughput_mb_s) {
        let ratio = quotient(series.median(|round| round.throughput_mb_s)?, figure)?;
        return Some(Compared { yardstick: Yardstick { name, unit: "mb_s", figure }, ratio, ratio_p99: None });
    }
    let (own, other) = (median(series)?, median(yardstick)?);
    let yardstick = Yardstick { name, unit: "us", figure: other.p50 };
    Some(Compared { yardstick, ratio: quotient(own.p50, other.p50)?, ratio_p99: quotient(own.p99, other.p99) })
}

fn quotient(figure: f64, yardstick: f64) -> Option<f64> {
    (yardstick > 0.0).then(|| figure / yardstick)
}

#[cfg(test)]
#[path = "report_test.rs"]
mod tests;
