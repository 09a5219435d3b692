//! The frame of every plot: its box, its axes with ticks, the colours of systems.

use super::axis::Scale;
use super::markup::{Markup, Px};
use crate::peer::names::peer_of;
use crate::result::WorkloadResult;

/// Units of a plot are pixels of a page about this wide; narrower screens shrink it and enlarge its letters.
pub(super) const WIDTH: f64 = 760.0;
/// Room for labels left of the box.
pub(super) const LEFT: f64 = 78.0;
pub(super) const RIGHT: f64 = WIDTH - 14.0;

/// A plot of this height, with a name for whoever does not see it.
pub(super) fn open(height: f64, label: &str) -> Markup {
    let mut svg = Markup::new();
    let view = format!("0 0 {} {}", Px(WIDTH), Px(height));
    svg.open("svg", &[("viewBox", &view), ("role", &"img"), ("aria-label", &label)]);
    svg
}

/// Horizontal lines with their values to the left. Every second one goes where letters are large.
pub(super) fn left_axis(svg: &mut Markup, scale: &Scale, ticks: &[f64], label: impl Fn(f64) -> String) {
    for (index, &tick) in ticks.iter().enumerate() {
        let y = scale.at(tick);
        svg.empty("line", &[("class", &"grid"), ("x1", &Px(LEFT)), ("x2", &Px(RIGHT)), ("y1", &Px(y)), ("y2", &Px(y))]);
        let class = if ticks.len() > 4 && index % 2 == 1 { "y minor" } else { "y" };
        svg.element("text", &[("class", &class), ("x", &Px(LEFT - 8.0)), ("y", &Px(y + 4.0))], &label(tick));
    }
}

/// What the vertical axis shows, above its box.
pub(super) fn heading(svg: &mut Markup, top: f64, text: &str) {
    svg.element("text", &[("class", &"heading"), ("x", &Px(LEFT)), ("y", &Px(top - 8.0))], text);
}

/// Values under the box.
pub(super) fn bottom_axis(svg: &mut Markup, scale: &Scale, bottom: f64, ticks: &[(f64, String)]) {
    for (index, (value, label)) in ticks.iter().enumerate() {
        let x = scale.at(*value);
        svg.empty("line", &[("class", &"tick"), ("x1", &Px(x)), ("x2", &Px(x)), ("y1", &Px(bottom)), ("y2", &Px(bottom + 5.0))]);
        let minor = if ticks.len() > 5 && index % 2 == 1 { " minor" } else { "" };
        // Near the right edge letters stand to the left of their place.
        let class = format!("{}{minor}", if x > RIGHT - 24.0 { "y" } else { "x" });
        let x = if x > RIGHT - 24.0 { x + 10.0 } else { x };
        svg.element("text", &[("class", &class), ("x", &Px(x)), ("y", &Px(bottom + 20.0))], label);
    }
    svg.empty("line", &[("class", &"axis"), ("x1", &Px(LEFT)), ("x2", &Px(RIGHT)), ("y1", &Px(bottom)), ("y2", &Px(bottom))]);
}

/// Points as the path of a line. A gap in the points is a gap in the line.
pub(super) fn path(points: impl IntoIterator<Item = Option<(f64, f64)>>) -> String {
    let mut path = String::new();
    let mut drawing = false;
    for point in points {
        if let Some((x, y)) = point {
            path.push_str(&format!("{}{} {}", if drawing { "L" } else { "M" }, Px(x), Px(y)));
        }
        drawing = point.is_some();
    }
    path
}

/// The class that colours a system, the same in every plot of every report.
pub(super) fn colour(result: &WorkloadResult) -> &'static str {
    match peer_of(&result.system).0 {
        "sluice" => "c1",
        "kafka" => "c2",
        "nats" => "c3",
        "redis" => "c4",
        "iggy" => "c5",
        "sluice-client" => "c6",
        _ => "c7",
    }
}

/// How the line of the `nth` variant of one system is drawn: whole, dashed, dotted.
pub(super) fn dash(nth: usize) -> &'static str {
    ["", " dashed", " dotted"][nth.min(2)]
}

/// Which variant of its system each result is, in order of appearance: one that flushes later is a variant of its peer.
pub(super) fn variants(results: &[&WorkloadResult]) -> Vec<usize> {
    let name = |index: usize| peer_of(&results[index].system).0;
    let before = |index: usize| (0..index).filter(|&other| name(other) == name(index)).count();
    (0..results.len()).map(before).collect()
}
