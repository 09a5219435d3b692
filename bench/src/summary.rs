//! From rounds to results: medians with their range, and the ratio of each to its yardstick of the same run.
//!
//! A ratio is one of medians over rounds. Percentiles are medians of the rounds' percentiles, never percentiles of a mixture:
//! a bad minute must not become everybody's tail. Only whole rounds are in a median; where there is none, those in which the
//! generator was behind, marked as such. A round whose system died is never in one.

use sluice_tuning::{LatencyHistogram, LatencySummary};

use crate::floor::WaitMode;
use crate::measurement::Measurement;
use crate::process::Memory;
use crate::result::{
    LatencyRange, Limit, LoopKind, Round, RoundOutcome, Run, Second, Stage, WorkloadResult, Yardstick, percentiles,
};
use crate::spread::Spread;
use crate::workload::{Load, Workload, YardstickName};

/// What a series is of.
#[derive(Clone, Debug)]
pub enum SeriesOf {
    Yardstick(YardstickName),
    Load {
        workload: Box<Workload>,
        system: String,
        mode: WaitMode,
        /// What it means, and whether it comes after a flush.
        acknowledgement: (String, Option<bool>),
        settings: String,
    },
}

/// All rounds of one step.
#[derive(Clone, Debug)]
pub struct Series {
    pub of: SeriesOf,
    pub rounds: Vec<Measurement>,
}

type Field<T> = fn(&Measurement) -> Option<&T>;

/// A result for each series that has a round. `run` is where they belong.
pub fn summarize(series: &[Series], run: &Run) -> Vec<WorkloadResult> {
    let results = series.iter().filter(|one| !one.rounds.is_empty()).map(|one| WorkloadResult {
        version: run.version,
        started_at: run.started_at.clone(),
        machine: run.machine.clone(),
        commit: run.commit.clone(),
        build: run.build.clone(),
        ..result(one, series)
    });
    results.collect()
}

impl Series {
    /// For people: `spike on sluice`, `floor-asleep`.
    pub fn label(&self) -> String {
        match &self.of {
            SeriesOf::Yardstick(name) => name.name().to_owned(),
            SeriesOf::Load { workload, system, mode: WaitMode::Asleep, .. } => format!("{} on {system}", workload.name),
            SeriesOf::Load { workload, system, mode: WaitMode::Spinning, .. } => {
                format!("{} on {system}, spinning", workload.name)
            }
        }
    }

    /// The rounds that medians are taken over.
    fn counted(&self) -> impl Iterator<Item = &Measurement> {
        let best = if self.rounds.iter().any(|round| round.outcome == RoundOutcome::Whole) {
            RoundOutcome::Whole
        } else {
            RoundOutcome::GeneratorBehind
        };
        self.rounds.iter().filter(move |round| round.outcome == best)
    }

    fn spread(&self, figure: impl Fn(&Measurement) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.counted().filter_map(figure))
    }

    fn median(&self, figure: impl Fn(&Measurement) -> Option<f64>) -> Option<f64> {
        self.spread(figure).map(|spread| spread.median)
    }

    fn sum(&self, figure: impl Fn(&Measurement) -> u64) -> u64 {
        self.counted().map(figure).sum()
    }

    fn text(&self, text: impl Fn(&Measurement) -> &Option<String>) -> Option<String> {
        self.rounds.iter().rev().find_map(|round| text(round).clone())
    }

    /// One of median, least or greatest of every percentile.
    fn latency(&self, row: Field<LatencyHistogram>, pick: fn(Spread) -> f64) -> Option<LatencySummary> {
        let summaries: Vec<LatencySummary> = self.counted().filter_map(row).map(LatencyHistogram::summary).collect();
        let of = |field: fn(&LatencySummary) -> f64| Spread::of(summaries.iter().map(field)).map(pick);
        Some(LatencySummary {
            p50: of(|l| l.p50)?,
            p90: of(|l| l.p90)?,
            p99: of(|l| l.p99)?,
            p99_9: of(|l| l.p99_9)?,
            p99_99: of(|l| l.p99_99)?,
            max: of(|l| l.max)?,
        })
    }

    fn median_latency(&self, row: Field<LatencyHistogram>) -> Option<LatencySummary> {
        self.latency(row, |spread| spread.median)
    }

    fn latency_range(&self) -> Option<LatencyRange> {
        let (min, max) = (self.latency(latencies, |spread| spread.min)?, self.latency(latencies, |spread| spread.max)?);
        Some(LatencyRange { min, max })
    }

    fn memory(&self) -> Option<Memory> {
        let greatest =
            |field: fn(&Memory) -> f64| self.spread(|round| round.broker.memory.as_ref().map(field)).map(|spread| spread.max);
        Some(Memory { rss_mb: greatest(|memory| memory.rss_mb)?, peak_mb: greatest(|memory| memory.peak_mb)? })
    }

    /// Of the counted round whose p99 is the median.
    fn timeline(&self) -> Vec<Second> {
        let p99 = |round: &Measurement| round.latencies.as_ref().map_or(0.0, |latencies| latencies.quantile_us(0.99));
        let mut rounds: Vec<&Measurement> = self.counted().filter(|round| !round.timeline.is_empty()).collect();
        rounds.sort_by(|one, other| p99(one).total_cmp(&p99(other)));
        let middle = rounds.len().saturating_sub(1) / 2;
        rounds.get(middle).map(|round| round.timeline.clone()).unwrap_or_default()
    }

    /// Stages of all counted rounds together.
    fn stages(&self) -> Vec<Stage> {
        let mut stages: Vec<(String, LatencyHistogram, u64)> = Vec::new();
        for stage in self.counted().flat_map(|round| &round.stages) {
            match stages.iter_mut().find(|(name, ..)| *name == stage.name) {
                Some((_, latencies, total_ns)) => {
                    latencies.merge(&stage.latencies);
                    *total_ns += stage.total_ns;
                }
                None => stages.push((stage.name.clone(), stage.latencies.clone(), stage.total_ns)),
            }
        }
        let all: u64 = stages.iter().map(|(.., total_ns)| total_ns).sum();
        let share = |total_ns: u64| if all > 0 { total_ns as f64 / all as f64 } else { 0.0 };
        let stage = |(name, latencies, total_ns): (String, LatencyHistogram, u64)| Stage {
            name,
            share: share(total_ns),
            latency_us: latencies.summary(),
        };
        stages.into_iter().map(stage).collect()
    }

    fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = Vec::new();
        for note in self.rounds.iter().flat_map(|round| &round.notes) {
            // The same note with other figures from round to round says nothing new.
            let kind = |note: &str| note.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ' ').to_owned();
            if !notes.iter().any(|other| kind(other) == kind(note)) {
                notes.push(note.clone());
            }
        }
        notes
    }
}

fn latencies(round: &Measurement) -> Option<&LatencyHistogram> {
    round.latencies.as_ref()
}

fn result(series: &Series, all: &[Series]) -> WorkloadResult {
    let throughput_mb_s = series.spread(|round| round.throughput_mb_s);
    let outcome = series.rounds.iter().map(|round| round.outcome).max().unwrap_or_default();
    let mut merged = LatencyHistogram::new();
    series.counted().filter_map(latencies).for_each(|latencies| merged.merge(latencies));
    let of_load = identity(series);
    let compared = of_load.yardstick.and_then(|name| compare(series, name, all));
    WorkloadResult {
        outcome,
        outcome_because: series
            .rounds
            .iter()
            .find(|round| round.outcome == outcome)
            .and_then(|round| round.outcome_because.clone()),
        asked_per_s: series.median(|round| round.asked_per_s),
        offered_per_s: series.median(|round| round.offered_per_s.or(round.reached_per_s)),
        reached_per_s: series.median(|round| round.reached_per_s),
        throughput_mb_s: throughput_mb_s.map(|spread| spread.median),
        throughput_mb_s_range: throughput_mb_s,
        latency_us: series.median_latency(latencies),
        latency_us_range: series.latency_range(),
        mean_us: (merged.count() > 0).then(|| merged.mean_us()),
        deviation_us: (merged.count() > 0).then(|| merged.deviation_us()),
        latency_refused_first_us: series.median_latency(|round| round.latencies_refused_first.as_ref()),
        service_us: series.median_latency(|round| round.service.as_ref()),
        end_to_end_us: series.median_latency(|round| round.end_to_end.as_ref()),
        consumed_per_s: series.median(|round| round.consumed_per_s),
        consumed_mb_s: series.median(|round| round.consumed_mb_s),
        refused_count: series.sum(|round| round.refused_count),
        refused_because: series.text(|round| &round.refused_because),
        failed_count: series.sum(|round| round.failed_count),
        failed_because: series.text(|round| &round.failed_because),
        timed_out_count: series.sum(|round| round.timed_out_count),
        generator_cpu_percent: series.median(|round| round.generator_cpu_percent),
        generator_late_us: series.median(|round| round.generator_late.as_ref().map(|late| late.quantile_us(0.99))),
        broker_cpu_s_per_gb: series.median(|round| round.broker.cpu_s_per_gb),
        broker_cpu_s_per_million_records: series.median(|round| round.broker.cpu_s_per_million_records),
        broker_cpu_percent: series.median(|round| round.broker.cpu_percent),
        broker_memory: series.memory(),
        write_amplification: series.median(|round| round.broker.write_amplification),
        seconds_to_listen: series.spread(|round| round.seconds_to_listen),
        seconds_to_serve: series.spread(|round| round.seconds_to_serve),
        recoveries: series.rounds.iter().flat_map(|round| round.recoveries.iter().cloned()).collect(),
        stages: series.stages(),
        ratio: compared.as_ref().map(|compared| compared.ratio),
        ratio_p99: compared.as_ref().and_then(|compared| compared.ratio_p99),
        yardstick: compared.map(|compared| compared.yardstick),
        round_count: series.rounds.iter().filter(|round| round.outcome == RoundOutcome::Whole).count(),
        rounds: series.rounds.iter().map(round).collect(),
        percentiles: percentiles(&merged),
        timeline: series.timeline(),
        limits: limits(series, all),
        notes: series.notes(),
        ..of_load.result
    }
}

fn round(round: &Measurement) -> Round {
    Round {
        outcome: round.outcome,
        because: round.outcome_because.clone(),
        reached_per_s: round.reached_per_s,
        throughput_mb_s: round.throughput_mb_s,
        latency_us: round.latencies.as_ref().map(LatencyHistogram::summary),
        end_to_end_us: round.end_to_end.as_ref().map(LatencyHistogram::summary),
        refused_count: round.refused_count,
    }
}

/// The part of a result that is known before anything was measured.
struct Identity {
    result: WorkloadResult,
    yardstick: Option<YardstickName>,
}

fn identity(series: &Series) -> Identity {
    match &series.of {
        SeriesOf::Yardstick(name) => of_yardstick(*name),
        SeriesOf::Load { workload, system, mode, acknowledgement, settings } => {
            let produces = matches!(workload.load, Load::Open(_) | Load::Closed(_));
            let result = WorkloadResult {
                workload: workload.name.clone(),
                about: workload.about.clone(),
                system: system.clone(),
                mode: Some(*mode),
                loop_kind: match workload.load {
                    Load::Open(_) => Some(LoopKind::Open),
                    Load::Closed(_) => Some(LoopKind::Closed),
                    Load::Read(_) | Load::Idle { .. } | Load::Restart(_) => None,
                },
                acks: produces.then(|| workload.acks.name().to_owned()),
                acknowledgement: produces.then(|| acknowledgement.0.clone()),
                flushed: acknowledgement.1.filter(|_| produces),
                settings: settings.clone(),
                ..WorkloadResult::default()
            };
            Identity { result, yardstick: workload.yardstick.map(|name| name.in_mode(*mode)) }
        }
    }
}

fn of_yardstick(name: YardstickName) -> Identity {
    use YardstickName as Y;
    let (about, system, mode, loop_kind, flushed) = match name {
        Y::Probe => {
            ("One 4 KiB direct write at a time, flushed", "device", Some(WaitMode::Asleep), Some(LoopKind::Closed), Some(true))
        }
        Y::FloorAsleep => (
            "The bare server: receive, 4 KiB durable write, send; both sides block",
            "floor",
            Some(WaitMode::Asleep),
            Some(LoopKind::Closed),
            Some(true),
        ),
        Y::FloorSpinning => (
            "The bare server, both sides spinning on cores of their own",
            "floor",
            Some(WaitMode::Spinning),
            Some(LoopKind::Closed),
            Some(true),
        ),
        Y::Floor1000 => (
            "The bare server, a thousand requests a second; both sides block",
            "floor",
            Some(WaitMode::Asleep),
            Some(LoopKind::Open),
            Some(true),
        ),
        Y::LoopbackEcho => (
            "One kilobyte there, 64 bytes back, nothing written",
            "loopback",
            Some(WaitMode::Asleep),
            Some(LoopKind::Closed),
            Some(false),
        ),
        Y::Loopback => ("One TCP stream over loopback", "loopback", None, None, None),
        Y::Memcpy => ("One thread copies memory", "memory", None, None, None),
        Y::Crc32c => ("One thread computes CRC-32C", "memory", None, None, None),
        Y::RawWrite => ("Sequential direct writes of a fresh file, flushed at the end", "device", None, None, Some(true)),
        Y::RawRead => ("Sequential direct reads of it", "device", None, None, None),
    };
    let workload = match name {
        Y::FloorAsleep | Y::FloorSpinning => "floor",
        _ => name.name(),
    };
    let result = WorkloadResult {
        workload: workload.to_owned(),
        about: about.to_owned(),
        system: system.to_owned(),
        mode,
        loop_kind,
        flushed,
        ..WorkloadResult::default()
    };
    let is_floor = matches!(name, Y::FloorAsleep | Y::FloorSpinning | Y::Floor1000);
    Identity { result, yardstick: is_floor.then_some(Y::Probe) }
}

struct Compared {
    yardstick: Yardstick,
    ratio: f64,
    ratio_p99: Option<f64>,
}

fn find(name: YardstickName, all: &[Series]) -> Option<&Series> {
    all.iter().find(|series| matches!(series.of, SeriesOf::Yardstick(other) if other == name))
}

/// A throughput where the yardstick is one, otherwise a latency. `None` when either measured nothing.
fn compare(series: &Series, name: YardstickName, all: &[Series]) -> Option<Compared> {
    let other = find(name, all)?;
    let name = name.name().to_owned();
    if let Some(figure) = other.median(|round| round.throughput_mb_s) {
        let ratio = quotient(series.median(|round| round.throughput_mb_s)?, figure)?;
        return Some(Compared { yardstick: Yardstick { name, unit: "mb_s".to_owned(), figure }, ratio, ratio_p99: None });
    }
    let (own, other) = (series.median_latency(latencies)?, other.median_latency(latencies)?);
    let yardstick = Yardstick { name, unit: "us".to_owned(), figure: other.p50 };
    Some(Compared { yardstick, ratio: quotient(own.p50, other.p50)?, ratio_p99: quotient(own.p99, other.p99) })
}

/// The distance of a load to every limit that was measured.
fn limits(series: &Series, all: &[Series]) -> Vec<Limit> {
    let SeriesOf::Load { workload, .. } = &series.of else { return Vec::new() };
    let limit = |name: YardstickName| {
        let is_read = matches!(name, YardstickName::RawRead);
        let compared = match (is_read, find(name, all)) {
            (true, Some(other)) => {
                let figure = other.median(|round| round.throughput_mb_s)?;
                let ratio = quotient(series.median(|round| round.consumed_mb_s)?, figure)?;
                let unit = "mb_s".to_owned();
                Compared { yardstick: Yardstick { name: name.name().to_owned(), unit, figure }, ratio, ratio_p99: None }
            }
            _ => compare(series, name, all)?,
        };
        let Yardstick { name, unit, figure } = compared.yardstick;
        Some(Limit { name, unit, figure, ratio: compared.ratio })
    };
    let moves_records = matches!(workload.load, Load::Open(_) | Load::Closed(_) | Load::Read(_));
    YardstickName::ALL.into_iter().filter(|_| moves_records).filter_map(limit).collect()
}

fn quotient(figure: f64, yardstick: f64) -> Option<f64> {
    (yardstick > 0.0).then(|| figure / yardstick)
}

#[cfg(test)]
#[path = "summary_test.rs"]
mod tests;
