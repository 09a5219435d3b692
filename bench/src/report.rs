//! From rounds to results: medians with their range, and the ratio of each to its yardstick of the same run.
//!
//! A ratio is one of medians over rounds. Percentiles are medians of the rounds' percentiles, never percentiles of a
//! mixture: a bad minute must not become everybody's tail. The field names are an interface; others read them.

use sluice_tuning::{LatencyHistogram, LatencySummary};

use crate::floor::WaitMode;
use crate::measurement::Measurement;
use crate::options::Workload;
use crate::process::Memory;
use crate::result::{LatencyRange, LoopKind, WorkloadResult, Yardstick};
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

    fn loop_kind(self) -> Option<LoopKind> {
        match self {
            Self::Probe | Self::Floor(_) | Self::Load(Workload::SingleRecord | Workload::Partitions64) => Some(LoopKind::Closed),
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
        let of = |field: fn(&LatencySummary) -> f64| self.spread(|round| summary(round).as_ref().map(field)).map(pick);
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

fn summary(round: &Measurement) -> Option<LatencySummary> {
    round.latencies.as_ref().map(LatencyHistogram::summary)
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
        workload: step.name().to_owned(),
        system: step.system().to_owned(),
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
        yardstick: compared.as_ref().map(|compared| compared.yardstick.clone()),
        ratio: compared.as_ref().map(|compared| compared.ratio),
        ratio_p99: compared.as_ref().and_then(|compared| compared.ratio_p99),
        round_count: series.rounds.len(),
        ..WorkloadResult::default()
    }
}

struct Compared {
    yardstick: Yardstick,
    ratio: f64,
    ratio_p99: Option<f64>,
}

/// A throughput where the yardstick is one, otherwise a latency. `None` when the yardstick measured nothing.
fn compare(series: &Series, yardstick: &Series) -> Option<Compared> {
    let name = yardstick.step.yardstick_name().to_owned();
    let median = |series: &Series| series.latency(|spread| spread.median);
    if let Some(figure) = yardstick.median(|round| round.throughput_mb_s) {
        let ratio = quotient(series.median(|round| round.throughput_mb_s)?, figure)?;
        return Some(Compared { yardstick: Yardstick { name, unit: "mb_s".to_owned(), figure }, ratio, ratio_p99: None });
    }
    let (own, other) = (median(series)?, median(yardstick)?);
    let yardstick = Yardstick { name, unit: "us".to_owned(), figure: other.p50 };
    Some(Compared { yardstick, ratio: quotient(own.p50, other.p50)?, ratio_p99: quotient(own.p99, other.p99) })
}

fn quotient(figure: f64, yardstick: f64) -> Option<f64> {
    (yardstick > 0.0).then(|| figure / yardstick)
}

#[cfg(test)]
#[path = "report_test.rs"]
mod tests;
