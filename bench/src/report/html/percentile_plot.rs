//! Latency by percentile, drawn as HdrHistogram draws it: each further nine takes as much room as the one before, so the
//! tail is as wide as the body.

use super::axis::Scale;
use super::markup::{Attribute, Markup, Px};
use super::plot::{self, LEFT, RIGHT};
use crate::report::{figures, names, tables};
use crate::result::{Percentile, WorkloadResult, Yardstick};

const TOP: f64 = 34.0;
const BOTTOM: f64 = 340.0;
const HEIGHT: f64 = 372.0;
/// Marked on each curve, and what they are called.
const MARKS: [(f64, &str); 5] = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (0.9999, "p99.99")];
/// Ten nines; beyond that no run has samples.
const NINES_MAX: f64 = 10.0;

/// `None` when no result has a curve.
pub(super) fn draw(results: &[&WorkloadResult]) -> Option<Markup> {
    let curves: Vec<(&WorkloadResult, usize)> = results.iter().copied().zip(plot::variants(results)).collect();
    let curves: Vec<(&WorkloadResult, usize)> = curves.into_iter().filter(|(result, _)| !result.percentiles.is_empty()).collect();
    let steps = || curves.iter().flat_map(|(result, _)| result.percentiles.iter());
    let nines_max = steps().filter_map(nines).fold(1.0, f64::max).min(NINES_MAX);
    let yardsticks = yardsticks(results);
    let latencies =
        || steps().map(|step| step.latency_us).chain(yardsticks.iter().map(|yardstick| yardstick.figure)).filter(|us| *us > 0.0);
    steps().next()?;
    let x = Scale::exact(0.0, nines_max, LEFT, RIGHT);
    let y = Scale::logarithmic(latencies().fold(f64::INFINITY, f64::min), latencies().fold(0.0, f64::max), BOTTOM, TOP);
    let mut svg = plot::open(HEIGHT, "latency by percentile");
    plot::heading(&mut svg, TOP, "latency by percentile, all whole rounds together");
    plot::left_axis(&mut svg, &y, &y.ticks(9.0), figures::latency_tick);
    plot::bottom_axis(&mut svg, &x, BOTTOM, &nine_ticks(nines_max));
    for yardstick in &yardsticks {
        let at = y.at(yardstick.figure);
        let line: [Attribute<'_>; 5] =
            [("class", &"limit"), ("x1", &Px(LEFT)), ("x2", &Px(RIGHT)), ("y1", &Px(at)), ("y2", &Px(at))];
        svg.empty("line", &line);
        let label = format!("p50 of {}", tables::yardstick(yardstick));
        svg.element("text", &[("class", &"limit-label"), ("x", &Px(RIGHT - 4.0)), ("y", &Px(at - 6.0))], &label);
    }
    for (result, variant) in curves {
        curve(&mut svg, result, variant, &x, &y);
    }
    svg.close();
    Some(svg)
}

fn curve(svg: &mut Markup, result: &WorkloadResult, variant: usize, x: &Scale, y: &Scale) {
    let points = result.percentiles.iter().filter_map(|step| Some((x.at(nines(step)?), y.at(step.latency_us))));
    let class = format!("line {}{}", plot::colour(result), plot::dash(variant));
    svg.titled("path", &[("class", &class), ("d", &plot::path(points.map(Some)))], &names::system(result));
    for (quantile, name) in MARKS {
        let Some(step) = result.percentiles.iter().find(|step| step.quantile >= quantile) else { continue };
        let Some(nines) = nines(step) else { continue };
        let title = format!("{}: {name} {}", names::system(result), figures::latency(step.latency_us));
        let class = format!("mark {}", plot::colour(result));
        svg.titled(
            "circle",
            &[("class", &class), ("cx", &Px(x.at(nines))), ("cy", &Px(y.at(step.latency_us))), ("r", &4)],
            &title,
        );
    }
}

/// How many nines a percentile has: 0 at 0 %, 1 at 90 %, 2 at 99 %. The very last sample, at 1, has no place on this axis.
fn nines(step: &Percentile) -> Option<f64> {
    (0.0..1.0).contains(&step.quantile).then(|| -(1.0 - step.quantile).log10())
}

fn nine_ticks(nines_max: f64) -> Vec<(f64, String)> {
    let named = (0..=NINES_MAX as usize).map(|nines| match nines {
        0 => (0.0, "0 %".to_owned()),
        1 => (1.0, "90 %".to_owned()),
        2 => (2.0, "99 %".to_owned()),
        more => (more as f64, format!("99.{} %", "9".repeat(more - 2))),
    });
    let half = std::iter::once((0.5f64.log10().abs(), "50 %".to_owned()));
    let mut ticks: Vec<(f64, String)> = named.chain(half).filter(|(nines, _)| *nines <= nines_max).collect();
    ticks.sort_by(|a, b| a.0.total_cmp(&b.0));
    ticks
}

/// Each latency that results are held against, once.
fn yardsticks(results: &[&WorkloadResult]) -> Vec<Yardstick> {
    let mut different: Vec<Yardstick> = Vec::new();
    for yardstick in results.iter().filter_map(|result| result.yardstick.as_ref()).filter(|yardstick| yardstick.unit == "us") {
        if yardstick.figure > 0.0 && different.iter().all(|known| known.name != yardstick.name) {
            different.push(yardstick.clone());
        }
    }
    different
}
