//! When a figure that is not the same counts as a change.

use serde::Serialize;
use sluice_tuning::LatencySummary;

use super::{Basis, Change};
use crate::report::{names, tables};
use crate::result::{LoopKind, Round, RoundOutcome, WorkloadResult};
use crate::spread::Spread;

/// The median has to move by this part.
pub(super) const CHANGE_MIN: f64 = 0.1;
/// With fewer whole rounds their range says too little.
pub(super) const ROUND_COUNT_MIN: usize = 3;

/// What a difference is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Beyond noise.
    Better,
    Worse,
    WithinNoise,
    /// Too few whole rounds on one side.
    TooFewRounds,
    /// One side was measured elsewhere or is missing, and there is no yardstick to compare by.
    NotComparable,
}

/// A figure and where it is found.
struct Figure {
    name: &'static str,
    unit: &'static str,
    less_is_better: bool,
    /// In one round.
    of: fn(&Round) -> Option<f64>,
    /// Of the result, when it does not carry its rounds.
    range: fn(&WorkloadResult) -> Option<Spread>,
    /// What a ratio of it is to.
    yardstick: fn(&WorkloadResult) -> Option<f64>,
}

const FIGURES: [Figure; 5] = [
    Figure {
        name: "p50",
        unit: "us",
        less_is_better: true,
        of: |round| round.latency_us.map(|latency| latency.p50),
        range: |result| latency_range(result, |latency| latency.p50),
        yardstick: |result| yardstick(result, "us"),
    },
    Figure {
        name: "p99",
        unit: "us",
        less_is_better: true,
        of: |round| round.latency_us.map(|latency| latency.p99),
        range: |result| latency_range(result, |latency| latency.p99),
        yardstick: |result| Some(result.latency_us?.p99 / result.ratio_p99.filter(|ratio| *ratio > 0.0)?),
    },
    Figure {
        name: "end_to_end_p99",
        unit: "us",
        less_is_better: true,
        of: |round| round.end_to_end_us.map(|latency| latency.p99),
        range: |_| None,
        yardstick: |_| None,
    },
    Figure {
        name: "throughput",
        unit: "mb_s",
        less_is_better: false,
        of: |round| round.throughput_mb_s,
        range: |result| result.throughput_mb_s_range,
        yardstick: |result| yardstick(result, "mb_s"),
    },
    Figure {
        name: "reached",
        unit: "per_s",
        less_is_better: false,
        of: |round| round.reached_per_s,
        range: |_| None,
        yardstick: |_| None,
    },
];

/// All figures that either side has. `same_place` says that raw figures of the two runs may be compared.
pub(super) fn changes(before: &WorkloadResult, after: &WorkloadResult, same_place: bool) -> Vec<Change> {
    // Where there is a throughput, or one request at a time, the rate says the same once more.
    let told_otherwise = before.throughput_mb_s.is_some() || before.loop_kind == Some(LoopKind::Closed);
    let worth_telling = |figure: &&Figure| !(told_otherwise && figure.name == "reached");
    FIGURES.iter().filter(worth_telling).filter_map(|figure| change(figure, before, after, same_place)).collect()
}

fn change(figure: &Figure, before: &WorkloadResult, after: &WorkloadResult, same_place: bool) -> Option<Change> {
    let (spread_before, spread_after) = (spread(figure, before), spread(figure, after));
    if spread_before.is_none() && spread_after.is_none() {
        return None;
    }
    let yardsticks = (figure.yardstick)(before).zip((figure.yardstick)(after)).filter(|_| same_yardstick(before, after));
    let moved = yardstick_move(before, after);
    // A limit is no ratio to itself: in the same place it is compared as it is.
    let by_ratio = !same_place || (moved.is_some() && yardsticks.is_some() && !names::is_yardstick(before));
    let mut change = Change {
        workload: before.workload.clone(),
        system: names::system(before),
        mode: before.mode,
        acks: before.acks.clone(),
        flushed: before.flushed,
        figure: figure.name,
        unit: figure.unit,
        basis: Basis::Figure,
        before: spread_before,
        after: spread_after,
        change: None,
        verdict: Verdict::NotComparable,
        note: None,
    };
    if by_ratio {
        let Some((a, b)) = yardsticks.filter(|(a, b)| *a > 0.0 && *b > 0.0) else {
            change.change = medians_change(spread_before, spread_after);
            change.note = Some("measured elsewhere, and no yardstick to compare by".to_owned());
            return Some(change);
        };
        (change.basis, change.unit) = (Basis::Ratio, "ratio");
        (change.before, change.after) = (spread_before.map(|spread| over(spread, a)), spread_after.map(|spread| over(spread, b)));
    }
    change.note = moved;
    judge(&mut change, figure, tables::whole_round_count(before), tables::whole_round_count(after));
    mark_not_whole(&mut change, before, after);
    Some(change)
}

/// The rule itself.
fn judge(change: &mut Change, figure: &Figure, rounds_before: usize, rounds_after: usize) {
    let (Some(before), Some(after)) = (change.before, change.after) else {
        change.note = Some(format!("no whole round {}", if change.before.is_none() { "before" } else { "after" }));
        return;
    };
    change.change = relative(before.median, after.median);
    let apart = before.max < after.min || after.max < before.min;
    let large = change.change.is_none_or(|change| change.abs() >= CHANGE_MIN);
    change.verdict = if rounds_before.min(rounds_after) < ROUND_COUNT_MIN {
        change.note.get_or_insert(format!("{rounds_before} and {rounds_after} whole rounds"));
        Verdict::TooFewRounds
    } else if !(apart && large) {
        Verdict::WithinNoise
    } else if (after.median < before.median) == figure.less_is_better {
        Verdict::Better
    } else {
        Verdict::Worse
    };
}

fn mark_not_whole(change: &mut Change, before: &WorkloadResult, after: &WorkloadResult) {
    for (result, when) in [(before, "before"), (after, "after")] {
        if result.outcome != RoundOutcome::Whole {
            let note = format!("{when}: {}", tables::outcome(result));
            change.note = Some(change.note.take().map_or(note.clone(), |said| format!("{said}; {note}")));
        }
    }
    // Without a whole round the figures are the generator's own, or of half rounds: no verdict on the system.
    if [before, after].iter().any(|result| result.outcome != RoundOutcome::Whole && tables::whole_round_count(result) == 0) {
        change.verdict = Verdict::NotComparable;
    }
}

/// Over the whole rounds; without any the range that the result carries.
fn spread(figure: &Figure, result: &WorkloadResult) -> Option<Spread> {
    let whole = result.rounds.iter().filter(|round| round.outcome == RoundOutcome::Whole);
    Spread::of(whole.filter_map(figure.of)).or_else(|| (figure.range)(result))
}

fn latency_range(result: &WorkloadResult, figure: fn(&LatencySummary) -> f64) -> Option<Spread> {
    let (median, range) = result.latency_us.as_ref().zip(result.latency_us_range.as_ref())?;
    Some(Spread { median: figure(median), min: figure(&range.min), max: figure(&range.max) })
}

fn yardstick(result: &WorkloadResult, unit: &str) -> Option<f64> {
    result.yardstick.as_ref().filter(|yardstick| yardstick.unit == unit).map(|yardstick| yardstick.figure)
}

fn same_yardstick(before: &WorkloadResult, after: &WorkloadResult) -> bool {
    let name =
        |result: &WorkloadResult| result.yardstick.as_ref().map(|yardstick| (yardstick.name.clone(), yardstick.unit.clone()));
    name(before) == name(after)
}

/// In words, when the yardstick itself is not what it was.
fn yardstick_move(before: &WorkloadResult, after: &WorkloadResult) -> Option<String> {
    let (a, b) = before.yardstick.as_ref().zip(after.yardstick.as_ref())?;
    if !same_yardstick(before, after) {
        return Some(format!("another yardstick: {} before, {} after", a.name, b.name));
    }
    let moved = relative(a.figure, b.figure).is_none_or(|change| change.abs() >= CHANGE_MIN);
    moved.then(|| format!("the yardstick itself moved: {} before, {} after", tables::yardstick(a), tables::yardstick(b)))
}

fn medians_change(before: Option<Spread>, after: Option<Spread>) -> Option<f64> {
    relative(before?.median, after?.median)
}

/// `None` when there is nothing to be relative to.
fn relative(before: f64, after: f64) -> Option<f64> {
    (before > 0.0).then(|| after / before - 1.0)
}

fn over(spread: Spread, yardstick: f64) -> Spread {
    Spread { median: spread.median / yardstick, min: spread.min / yardstick, max: spread.max / yardstick }
}
