//! Which figures stand in which table, the same for terminal and page.

use sluice_tuning::LatencySummary;

use super::figures;
use super::grid::{Grid, Kind};
use super::names;
use crate::floor::WaitMode;
use crate::result::{Limit, RoundOutcome, WorkloadResult, Yardstick};
use crate::spread::Spread;

use Kind::{Number, Text};

/// Every result in a line: the first thing to look at.
pub(super) fn glance(results: &[&WorkloadResult]) -> Grid {
    let mut grid = Grid::new(&[
        ("workload", Text),
        ("system", Text),
        ("outcome", Text),
        ("flushed", Text),
        ("p50", Number),
        ("p99", Number),
        ("max", Number),
        ("reached/s", Number),
        ("MB/s", Number),
        ("ratio", Number),
        ("to", Text),
    ]);
    for &result in results {
        let latency =
            |figure: fn(&LatencySummary) -> f64| result.latency_us.as_ref().map(|latency| figures::latency(figure(latency)));
        grid.push(vec![
            names::workload(result),
            names::system_beside_flushed(result),
            outcome_cell(result),
            flushed(result),
            text(latency(|latency| latency.p50)),
            text(latency(|latency| latency.p99)),
            text(latency(|latency| latency.max)),
            text(result.reached_per_s.map(figures::count)),
            text(result.throughput_mb_s.map(figures::significant)),
            text(result.ratio.map(figures::ratio)),
            text(result.yardstick.as_ref().map(|yardstick| yardstick.name.clone())),
        ]);
    }
    grid.without_empty_columns()
}

/// Latency of one workload, system by system.
pub(super) fn latencies(results: &[&WorkloadResult]) -> Grid {
    let mut grid = Grid::new(&[
        ("system", Text),
        ("outcome", Text),
        ("flushed", Text),
        ("p50", Number),
        ("range", Number),
        ("p90", Number),
        ("p99", Number),
        ("p99.9", Number),
        ("p99.99", Number),
        ("max", Number),
        ("ratio", Number),
        ("p99 ratio", Number),
    ]);
    for &result in results {
        let Some(latency) = &result.latency_us else { continue };
        let range = p50_range(result);
        let of_latency = result.yardstick.as_ref().is_some_and(|yardstick| yardstick.unit == "us");
        let mut row = vec![names::system_beside_flushed(result), outcome_cell(result), flushed(result)];
        row.extend([figures::latency(latency.p50), text(range)]);
        row.extend([latency.p90, latency.p99, latency.p99_9, latency.p99_99, latency.max].map(figures::latency));
        row.push(text(result.ratio.filter(|_| of_latency).map(figures::ratio)));
        row.push(text(result.ratio_p99.map(figures::ratio)));
        grid.push(row);
    }
    grid.without_empty_columns()
}

/// What was asked for, what came of it, and what was not admitted.
pub(super) fn rates(results: &[&WorkloadResult]) -> Grid {
    let mut grid = Grid::new(&[
        ("system", Text),
        ("asked/s", Number),
        ("offered/s", Number),
        ("reached/s", Number),
        ("MB/s", Number),
        ("range", Number),
        ("ratio", Number),
        ("consumed/s", Number),
        ("consumed MB/s", Number),
        ("refused", Number),
        ("failed", Number),
        ("timed out", Number),
    ]);
    let measured = |result: &&&WorkloadResult| result.reached_per_s.is_some() || result.throughput_mb_s.is_some();
    for &result in results.iter().filter(measured) {
        let of_throughput = result.yardstick.as_ref().is_some_and(|yardstick| yardstick.unit != "us");
        let some_count = |count: u64| if count == 0 { String::new() } else { figures::count(count as f64) };
        grid.push(vec![
            names::system(result),
            text(result.asked_per_s.map(figures::count)),
            text(result.offered_per_s.map(figures::count)),
            text(result.reached_per_s.map(figures::count)),
            text(result.throughput_mb_s.map(figures::significant)),
            text(result.throughput_mb_s_range.and_then(spread_range)),
            text(result.ratio.filter(|_| of_throughput).map(figures::ratio)),
            text(result.consumed_per_s.map(figures::count)),
            text(result.consumed_mb_s.map(figures::significant)),
            some_count(result.refused_count),
            some_count(result.failed_count),
            some_count(result.timed_out_count),
        ]);
    }
    grid.without_empty_columns()
}

/// How far from each limit of the machine: a column for each limit, what it is in the first row, then times it.
pub(super) fn distances(results: &[&WorkloadResult]) -> Grid {
    let mut limits: Vec<&Limit> = Vec::new();
    for limit in results.iter().flat_map(|result| &result.limits) {
        if limits.iter().all(|known| known.name != limit.name) {
            limits.push(limit);
        }
    }
    let columns = limits.iter().map(|limit| (limit.name.as_str(), Number));
    let mut grid = Grid::new(&std::iter::once(("system", Text)).chain(columns).collect::<Vec<_>>());
    if limits.is_empty() {
        return grid;
    }
    let figures = limits.iter().map(|limit| figure(&limit.unit, limit.figure));
    grid.push(std::iter::once("(the limit itself)".to_owned()).chain(figures).collect());
    for &result in results.iter().filter(|result| !result.limits.is_empty()) {
        let ratio = |name: &str| result.limits.iter().find(|limit| limit.name == name).map(|limit| figures::ratio(limit.ratio));
        let ratios = limits.iter().map(|limit| text(ratio(&limit.name)));
        grid.push(std::iter::once(names::system(result)).chain(ratios).collect());
    }
    grid
}

/// Latencies by other clocks than intended send to acknowledgement.
pub(super) fn other_latencies(results: &[&WorkloadResult]) -> Grid {
    let columns = ["p50", "p90", "p99", "p99.9", "p99.99", "max"].map(|name| (name, Number));
    let mut grid = Grid::new(&[&[("system", Text), ("latency", Text)][..], &columns].concat());
    for &result in results {
        let others = [
            ("to a consumer (end to end)", &result.end_to_end_us),
            ("refused first, then admitted", &result.latency_refused_first_us),
            ("from hand-over (hides queueing)", &result.service_us),
        ];
        for (what, latency) in others {
            let Some(latency) = latency else { continue };
            let percentiles = [latency.p50, latency.p90, latency.p99, latency.p99_9, latency.p99_99, latency.max];
            let mut row = vec![names::system(result), what.to_owned()];
            row.extend(percentiles.map(figures::latency));
            grid.push(row);
        }
    }
    grid
}

/// What it cost the system, and what the generator itself needed. Per cent are of one core.
pub(super) fn costs(results: &[&WorkloadResult]) -> Grid {
    let mut grid = Grid::new(&[
        ("system", Text),
        ("CPU-s/GB", Number),
        ("CPU-s/M rec.", Number),
        ("CPU, %", Number),
        ("memory, MB", Number),
        ("peak, MB", Number),
        ("write ampl.", Number),
        ("gen. CPU, %", Number),
        ("gen. late, p99", Number),
    ]);
    for &result in results {
        let row = vec![
            names::system(result),
            text(result.broker_cpu_s_per_gb.map(figures::significant)),
            text(result.broker_cpu_s_per_million_records.map(figures::significant)),
            text(result.broker_cpu_percent.map(figures::significant)),
            text(result.broker_memory.map(|memory| figures::significant(memory.rss_mb))),
            text(result.broker_memory.map(|memory| figures::significant(memory.peak_mb))),
            text(result.write_amplification.map(figures::ratio)),
            text(result.generator_cpu_percent.map(figures::significant)),
            text(result.generator_late_us.map(figures::latency)),
        ];
        if row.iter().skip(1).any(|cell| !cell.is_empty()) {
            grid.push(row);
        }
    }
    grid.without_empty_columns()
}

/// Time without service over a restart.
pub(super) fn restarts(results: &[&WorkloadResult]) -> Grid {
    let headings = [
        ("system", Text),
        ("listens again after, s", Number),
        ("range", Number),
        ("serves again after, s", Number),
        ("range", Number),
    ];
    let mut grid = Grid::new(&headings);
    for &result in results.iter().filter(|result| result.seconds_to_listen.is_some() || result.seconds_to_serve.is_some()) {
        let median = |seconds: Option<Spread>| text(seconds.map(|seconds| figures::significant(seconds.median)));
        let range = |seconds: Option<Spread>| text(seconds.and_then(spread_range));
        let (listen, serve) = (result.seconds_to_listen, result.seconds_to_serve);
        grid.push(vec![names::system(result), median(listen), range(listen), median(serve), range(serve)]);
    }
    grid.without_empty_columns()
}

/// What the machine itself can do.
pub(super) fn limits(results: &[&WorkloadResult]) -> Grid {
    let mut grid = Grid::new(&[
        ("limit", Text),
        ("of", Text),
        ("p50", Number),
        ("range", Number),
        ("p90", Number),
        ("p99", Number),
        ("p99.9", Number),
        ("max", Number),
        ("MB/s", Number),
        ("range of MB/s", Number),
        ("outcome", Text),
    ]);
    for &result in results {
        let latency = |figure: fn(&LatencySummary) -> f64| {
            text(result.latency_us.as_ref().map(|latency| figures::latency(figure(latency))))
        };
        let range = p50_range(result);
        grid.push(vec![
            limit_name(result),
            result.system.clone(),
            latency(|latency| latency.p50),
            text(range),
            latency(|latency| latency.p90),
            latency(|latency| latency.p99),
            latency(|latency| latency.p99_9),
            latency(|latency| latency.max),
            text(result.throughput_mb_s.map(figures::significant)),
            text(result.throughput_mb_s_range.and_then(spread_range)),
            outcome_cell(result),
        ]);
    }
    grid.without_empty_columns()
}

/// `floor, spinning`; only there the mode tells two limits apart.
pub(super) fn limit_name(result: &WorkloadResult) -> String {
    match result.mode.filter(|_| result.system == "floor") {
        Some(WaitMode::Asleep) => format!("{}, asleep", result.workload),
        Some(WaitMode::Spinning) => format!("{}, spinning", result.workload),
        None => result.workload.clone(),
    }
}

/// The stages inside the system, in order.
pub(super) fn stages(results: &[&WorkloadResult]) -> Grid {
    let mut grid = Grid::new(&[
        ("system", Text),
        ("stage", Text),
        ("share", Number),
        ("p50", Number),
        ("p99", Number),
        ("p99.9", Number),
        ("max", Number),
    ]);
    for &result in results {
        for stage in &result.stages {
            let latency = &stage.latency_us;
            let mut row = vec![names::system(result), stage_name(&stage.name), figures::per_cent(stage.share)];
            row.extend([latency.p50, latency.p99, latency.p99_9, latency.max].map(figures::latency));
            grid.push(row);
        }
    }
    grid
}

/// `write_flush` as people write it.
pub(super) fn stage_name(name: &str) -> String {
    name.replace('_', " + ")
}

/// `floor-asleep, 95.0 µs` or `raw-write, 2200 MB/s`.
pub(super) fn yardstick(yardstick: &Yardstick) -> String {
    format!("{}, {}", yardstick.name, figure(&yardstick.unit, yardstick.figure))
}

fn figure(unit: &str, figure: f64) -> String {
    match unit {
        "us" => figures::latency(figure),
        "mb_s" => format!("{} MB/s", figures::significant(figure)),
        unit => format!("{} {unit}", figures::significant(figure)),
    }
}

/// Rounds in which all went well: those that medians are taken over.
pub(super) fn whole_round_count(result: &WorkloadResult) -> usize {
    let whole = result.rounds.iter().filter(|round| round.outcome == RoundOutcome::Whole).count();
    if result.rounds.is_empty() && result.outcome != RoundOutcome::GeneratorBehind { result.round_count } else { whole }
}

/// Empty for what is whole; otherwise in short what happened, and how many rounds are in the figures.
fn outcome_cell(result: &WorkloadResult) -> String {
    outcome(result).replace(" (", ", ").replace(" rounds whole)", "").replace(" of ", "/")
}

/// Empty for what is whole; otherwise what happened, and how many rounds are in the figures.
pub(super) fn outcome(result: &WorkloadResult) -> String {
    let what = match result.outcome {
        RoundOutcome::Whole => return String::new(),
        RoundOutcome::GeneratorBehind => "generator behind",
        RoundOutcome::Interrupted => "interrupted",
        RoundOutcome::BrokerDied => "broker died",
    };
    let round_count = result.rounds.len().max(result.round_count);
    format!("{what} ({} of {round_count} rounds whole)", whole_round_count(result))
}

/// One round has no range.
fn spread_range(spread: Spread) -> Option<String> {
    (spread.min < spread.max).then(|| figures::range(spread))
}

fn p50_range(result: &WorkloadResult) -> Option<String> {
    let (min, max) = result.latency_us_range.map(|range| (range.min.p50, range.max.p50))?;
    (min < max).then(|| figures::latency_range(min, max))
}

fn flushed(result: &WorkloadResult) -> String {
    match result.flushed {
        Some(true) => "yes".to_owned(),
        Some(false) => "no".to_owned(),
        // Something is acknowledged, and what that means is not known.
        None if result.acks.is_some() => "?".to_owned(),
        None => String::new(),
    }
}

fn text(cell: Option<String>) -> String {
    cell.unwrap_or_default()
}
