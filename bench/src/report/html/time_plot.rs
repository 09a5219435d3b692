//! One round over time, as panels on one time axis: a heat map of latencies, rates, backlog. Phases run through all of them.

use super::axis::Scale;
use super::markup::{Attribute, Markup, Px};
use super::plot::{self, LEFT, RIGHT};
use crate::report::timeline::{self, Column, Phase};
use crate::report::{figures, names};
use crate::result::WorkloadResult;

/// As many columns as can be told apart.
const COLUMNS_MAX: usize = 170;
/// Shades of the heat map, the faintest first.
const SHADE_COUNT: usize = 8;
const HEAT_HEIGHT: f64 = 220.0;
const RATE_HEIGHT: f64 = 130.0;
const BACKLOG_HEIGHT: f64 = 80.0;
/// Between panels, for a heading.
const GAP: f64 = 38.0;
const TOP: f64 = 76.0;
const FOOT: f64 = 32.0;
/// Buckets of the heat map in a decade, as results have them.
const BUCKETS_PER_DECADE: f64 = 10.0;

/// `None` when the result has no timeline. `latency_us_range` is the least and the greatest latency of all systems, so that
/// heat maps of one workload can be held beside each other.
pub(super) fn draw(result: &WorkloadResult, latency_us_range: (f64, f64)) -> Option<Markup> {
    let columns = timeline::columns(&result.timeline, COLUMNS_MAX);
    let (first, last) = (columns.first()?, columns.last()?);
    let with_backlog = columns.iter().any(|column| column.backlog_records > 0);
    let with_heat = columns.iter().any(|column| column.heat.iter().any(|(_, count)| *count > 0));
    let x = Scale::exact(first.from_s, last.until_s, LEFT, RIGHT);
    let heat_bottom = if with_heat { TOP + HEAT_HEIGHT } else { TOP - GAP };
    let rate_bottom = heat_bottom + GAP + RATE_HEIGHT;
    let bottom = if with_backlog { rate_bottom + GAP + BACKLOG_HEIGHT } else { rate_bottom };
    let label = format!("{} over time", names::full(result));
    let mut svg = plot::open(bottom + FOOT, &label);
    // First, so that letters stand over the lines.
    phases(&mut svg, &timeline::phases(&result.timeline), &x, bottom);
    if with_heat {
        heat_map(&mut svg, &columns, &x, latency_us_range);
    }
    rates(&mut svg, &columns, &x, heat_bottom + GAP, rate_bottom);
    if with_backlog {
        backlog(&mut svg, &columns, &x, rate_bottom + GAP, bottom);
    }
    let ticks: Vec<(f64, String)> = x.ticks(8.0).into_iter().map(|s| (s, format!("{} s", figures::tick(s)))).collect();
    plot::bottom_axis(&mut svg, &x, bottom, &ticks);
    for column in &columns {
        whole_column(&mut svg, column, &x, bottom);
    }
    svg.close();
    Some(svg)
}

/// From the least to the greatest latency in any of these timelines. One record in two thousand may be quicker than the
/// least and is drawn as if it had that: a handful must not flatten all others. None is ever drawn quicker than it was.
pub(super) fn latency_us_range(results: &[&WorkloadResult]) -> (f64, f64) {
    const QUICKER_SHARE: f64 = 0.0005;
    let buckets = results.iter().flat_map(|result| &result.timeline).flat_map(|second| &second.heat);
    let mut used: Vec<(f64, u64)> = buckets.filter(|(upper_us, count)| *count > 0 && *upper_us > 0.0).copied().collect();
    used.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total: f64 = used.iter().map(|(_, count)| *count as f64).sum();
    let mut quicker = 0.0;
    let least = used.iter().find(|(_, count)| {
        quicker += *count as f64;
        quicker > total * QUICKER_SHARE
    });
    let (least, greatest) = (least.map_or(1.0, |bucket| bucket.0), used.last().map_or(1.0, |bucket| bucket.0));
    (least / bucket_ratio(), greatest)
}

fn bucket_ratio() -> f64 {
    10f64.powf(1.0 / BUCKETS_PER_DECADE)
}

fn heat_map(svg: &mut Markup, columns: &[Column], x: &Scale, (least, greatest): (f64, f64)) {
    let y = Scale::logarithmic(least, greatest, TOP + HEAT_HEIGHT, TOP);
    plot::heading(svg, TOP, "latency by intended send time; stronger colour: more records");
    plot::left_axis(svg, &y, &y.ticks(7.0), figures::latency_tick);
    // Shades by records a second, so that they do not depend on how long an interval is.
    let densities = || {
        columns
            .iter()
            .flat_map(|column| column.heat.iter().map(|(_, count)| column.per_s(*count)))
            .filter(|density| *density > 0.0)
    };
    let shades =
        Scale::logarithmic(densities().fold(f64::INFINITY, f64::min), densities().fold(0.0, f64::max), 0.0, SHADE_COUNT as f64);
    let mut paths = vec![String::new(); SHADE_COUNT];
    for column in columns {
        let (left, right) = (x.at(column.from_s), x.at(column.until_s));
        for (upper_us, count) in column.heat.iter().filter(|(upper_us, count)| *count > 0 && *upper_us > 0.0) {
            let upper_us = upper_us.max(least * bucket_ratio());
            let (top, bottom) = (y.at(upper_us), y.at(upper_us / bucket_ratio()));
            let shade = (shades.at(column.per_s(*count)) as usize).min(SHADE_COUNT - 1);
            let cell = format!("M{} {}H{}V{}H{}Z", Px(left), Px(top), Px(right), Px(bottom), Px(left));
            paths[shade].push_str(&cell);
        }
    }
    for (shade, path) in paths.iter().enumerate().filter(|(_, path)| !path.is_empty()) {
        svg.empty("path", &[("class", &format!("h{shade}")), ("d", path)]);
    }
}

fn rates(svg: &mut Markup, columns: &[Column], x: &Scale, top: f64, bottom: f64) {
    type Count = fn(&Column) -> u64;
    let lines: [(&str, Count, &str); 6] = [
        ("asked", |column| column.asked, "r-asked"),
        ("offered", |column| column.offered, "r-offered"),
        ("acknowledged", |column| column.acknowledged, "r-acknowledged"),
        ("consumed", |column| column.consumed, "r-consumed"),
        ("refused", |column| column.refused, "r-refused"),
        ("failed", |column| column.failed, "r-failed"),
    ];
    let used: Vec<(&str, Count, &str)> =
        lines.into_iter().filter(|(_, of, _)| columns.iter().any(|column| of(column) > 0)).collect();
    let greatest = columns.iter().flat_map(|column| used.iter().map(|(_, of, _)| column.per_s(of(column)))).fold(0.0, f64::max);
    let y = Scale::from_zero(greatest, bottom, top);
    svg.open("text", &[("class", &"heading"), ("x", &Px(LEFT)), ("y", &Px(top - 8.0))]);
    svg.text("records/s:");
    for (name, _, class) in &used {
        svg.element("tspan", &[("class", class), ("dx", &"10")], name);
    }
    svg.close();
    plot::left_axis(svg, &y, &y.ticks(4.0), figures::tick);
    for (name, of, class) in used {
        let mut points: Vec<Option<(f64, f64)>> = Vec::with_capacity(columns.len() * 2);
        for column in columns {
            let height = y.at(column.per_s(of(column)));
            points.extend([Some((x.at(column.from_s), height)), Some((x.at(column.until_s), height))]);
        }
        svg.titled("path", &[("class", &format!("line {class}")), ("d", &plot::path(points))], name);
    }
}

fn backlog(svg: &mut Markup, columns: &[Column], x: &Scale, top: f64, bottom: f64) {
    let greatest = columns.iter().map(|column| column.backlog_records as f64).fold(0.0, f64::max);
    let y = Scale::from_zero(greatest, bottom, top);
    let greatest_mb = columns.iter().map(|column| column.backlog_mb).fold(0.0, f64::max);
    plot::heading(svg, top, &format!("backlog: records not yet consumed (at most {} MB)", figures::significant(greatest_mb)));
    plot::left_axis(svg, &y, &y.ticks(3.0), figures::tick);
    let ends = columns.iter().map(|column| Some((x.at(column.until_s), y.at(column.backlog_records as f64))));
    let line = plot::path(ends);
    let (left, right) = (
        columns.first().map_or(LEFT, |column| x.at(column.until_s)),
        columns.last().map_or(RIGHT, |column| x.at(column.until_s)),
    );
    let area = format!("{line}L{} {}L{} {}Z", Px(right), Px(bottom), Px(left), Px(bottom));
    svg.empty("path", &[("class", &"area"), ("d", &area)]);
    svg.empty("path", &[("class", &"line r-backlog"), ("d", &line)]);
}

/// A line where each phase begins, and its name on top, in one of two rows, where there is room.
fn phases(svg: &mut Markup, phases: &[Phase], x: &Scale, bottom: f64) {
    // A replayed trace may change its phase all the time: then lines would hide what they mark.
    const PHASES_MAX: usize = 24;
    const ROWS: [f64; 2] = [16.0, 38.0];
    // Of the large letters that a narrow screen gets.
    const LETTER: f64 = 13.0;
    if phases.len() > PHASES_MAX {
        return;
    }
    let mut free_from = [0.0; ROWS.len()];
    for (index, phase) in phases.iter().enumerate() {
        let left = x.at(phase.from_s);
        let row = (0..ROWS.len()).find(|row| left >= free_from[*row]);
        if index > 0 {
            let top = row.map_or(TOP, |row| ROWS[row] - 10.0);
            let line: [Attribute<'_>; 5] =
                [("class", &"phase"), ("x1", &Px(left)), ("x2", &Px(left)), ("y1", &Px(top)), ("y2", &Px(bottom))];
            svg.empty("line", &line);
        }
        if let Some(row) = row {
            svg.element("text", &[("class", &"phase-name"), ("x", &Px(left + 4.0)), ("y", &Px(ROWS[row]))], &phase.name);
            free_from[row] = left + LETTER * (1 + phase.name.chars().count()) as f64;
        }
    }
}

/// Says what happened in a column when it is pointed at.
fn whole_column(svg: &mut Markup, column: &Column, x: &Scale, bottom: f64) {
    let (left, right) = (x.at(column.from_s), x.at(column.until_s));
    let per_s = |count: u64| figures::count(column.per_s(count).round());
    let mut title = format!("{:.1} – {:.1} s, {}\n", column.from_s, column.until_s, column.phase);
    title.push_str(&format!("offered {}/s, acknowledged {}/s", per_s(column.offered), per_s(column.acknowledged)));
    for (count, name) in [(column.refused, "refused"), (column.failed, "failed"), (column.consumed, "consumed")] {
        if count > 0 {
            title.push_str(&format!(", {name} {}/s", per_s(count)));
        }
    }
    if let (Some(p50), Some(p99), Some(max)) = (column.quantile_us(0.5), column.quantile_us(0.99), column.quantile_us(1.0)) {
        let [p50, p99, max] = [p50, p99, max].map(figures::latency);
        title.push_str(&format!("\np50 up to {p50}, p99 up to {p99}, slowest up to {max}"));
    }
    if column.backlog_records > 0 {
        let records = figures::count(column.backlog_records as f64);
        title.push_str(&format!("\nbacklog {records} records, {} MB", figures::significant(column.backlog_mb)));
    }
    let place: [Attribute<'_>; 5] =
        [("class", &"hover"), ("x", &Px(left)), ("y", &Px(TOP)), ("width", &Px(right - left)), ("height", &Px(bottom - TOP))];
    svg.titled("rect", &place, &title);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::Second;

    #[test]
    fn a_handful_of_quick_records_does_not_flatten_the_map_and_one_slow_one_shows() {
        let heat = vec![(1.0, 1), (1000.0, 9_999), (1_000_000.0, 1)];
        let result = WorkloadResult { timeline: vec![Second { heat, ..Second::default() }], ..WorkloadResult::default() };
        let (least, greatest) = latency_us_range(&[&result]);
        assert!((700.0..1000.0).contains(&least) && (greatest - 1_000_000.0).abs() < 1e-6, "{least} {greatest}");
        assert!(draw(&result, (least, greatest)).is_some());
    }
}
