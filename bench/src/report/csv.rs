//! Results and timelines as comma-separated values: one line for each, every digit, empty where nothing applies.

use serde::Serialize;
use sluice_tuning::LatencySummary;

use super::names;
use crate::result::{Run, WorkloadResult};

/// One line for each result.
pub(super) fn results(run: &Run) -> String {
    let mut text = String::new();
    for (index, result) in run.results.iter().enumerate() {
        let cells = cells(result);
        if index == 0 {
            push_line(&mut text, cells.iter().map(|(name, _)| name.clone()));
        }
        push_line(&mut text, cells.into_iter().map(|(_, cell)| cell));
    }
    text
}

/// One line for each interval of each result's representative round, without the heat.
pub(super) fn timelines(run: &Run) -> String {
    let names = [
        "workload",
        "system",
        "mode",
        "acks",
        "flushed",
        "at_s",
        "phase",
        "asked",
        "offered",
        "acknowledged",
        "refused",
        "failed",
        "consumed",
        "backlog_records",
        "backlog_mb",
        "p50_us_max",
        "p99_us_max",
    ];
    let mut text = String::new();
    push_line(&mut text, names.map(str::to_owned));
    for result in &run.results {
        let (workload, system, wait, acks, flushed) = names::key(result);
        let origin = [workload.to_owned(), system.to_owned(), word(wait), acks.unwrap_or_default().to_owned(), yes_no(flushed)];
        for column in super::timeline::columns(&result.timeline, usize::MAX) {
            let counts = [column.asked, column.offered, column.acknowledged, column.refused, column.failed, column.consumed];
            let mut line = origin.to_vec();
            line.extend([column.from_s.to_string(), column.phase.clone()]);
            line.extend(counts.map(|count| count.to_string()));
            line.extend([column.backlog_records.to_string(), column.backlog_mb.to_string()]);
            line.extend([0.5, 0.99].map(|quantile| number(column.quantile_us(quantile))));
            push_line(&mut text, line);
        }
    }
    text
}

fn cells(result: &WorkloadResult) -> Vec<(String, String)> {
    let mut cells = vec![
        ("workload".to_owned(), result.workload.clone()),
        ("system".to_owned(), result.system.clone()),
        ("mode".to_owned(), word(result.mode)),
        ("loop".to_owned(), word(result.loop_kind)),
        ("acks".to_owned(), result.acks.clone().unwrap_or_default()),
        ("flushed".to_owned(), yes_no(result.flushed)),
        ("outcome".to_owned(), word(result.outcome)),
        ("round_count".to_owned(), result.round_count.to_string()),
    ];
    let figures = [
        ("asked_per_s", result.asked_per_s),
        ("offered_per_s", result.offered_per_s),
        ("reached_per_s", result.reached_per_s),
        ("throughput_mb_s", result.throughput_mb_s),
        ("throughput_mb_s_min", result.throughput_mb_s_range.map(|range| range.min)),
        ("throughput_mb_s_max", result.throughput_mb_s_range.map(|range| range.max)),
        ("consumed_per_s", result.consumed_per_s),
        ("consumed_mb_s", result.consumed_mb_s),
    ];
    cells.extend(figures.map(|(name, figure)| (name.to_owned(), number(figure))));
    push_latency(&mut cells, "latency", result.latency_us.as_ref());
    push_latency(&mut cells, "latency_refused_first", result.latency_refused_first_us.as_ref());
    push_latency(&mut cells, "service", result.service_us.as_ref());
    push_latency(&mut cells, "end_to_end", result.end_to_end_us.as_ref());
    let counts = [
        ("refused_count", result.refused_count),
        ("failed_count", result.failed_count),
        ("timed_out_count", result.timed_out_count),
    ];
    cells.extend(counts.map(|(name, count)| (name.to_owned(), count.to_string())));
    let figures = [
        ("generator_cpu_percent", result.generator_cpu_percent),
        ("generator_late_us", result.generator_late_us),
        ("broker_cpu_s_per_gb", result.broker_cpu_s_per_gb),
        ("broker_cpu_s_per_million_records", result.broker_cpu_s_per_million_records),
        ("broker_cpu_percent", result.broker_cpu_percent),
        ("broker_rss_mb", result.broker_memory.map(|memory| memory.rss_mb)),
        ("broker_peak_mb", result.broker_memory.map(|memory| memory.peak_mb)),
        ("write_amplification", result.write_amplification),
        ("seconds_to_listen", result.seconds_to_listen.map(|seconds| seconds.median)),
        ("seconds_to_serve", result.seconds_to_serve.map(|seconds| seconds.median)),
    ];
    cells.extend(figures.map(|(name, figure)| (name.to_owned(), number(figure))));
    let yardstick = result.yardstick.as_ref();
    cells.push(("yardstick".to_owned(), yardstick.map(|yardstick| yardstick.name.clone()).unwrap_or_default()));
    cells.push(("yardstick_unit".to_owned(), yardstick.map(|yardstick| yardstick.unit.clone()).unwrap_or_default()));
    cells.push(("yardstick_figure".to_owned(), number(yardstick.map(|yardstick| yardstick.figure))));
    cells.push(("ratio".to_owned(), number(result.ratio)));
    cells.push(("ratio_p99".to_owned(), number(result.ratio_p99)));
    cells
}

fn push_latency(cells: &mut Vec<(String, String)>, name: &str, latency: Option<&LatencySummary>) {
    type Of = fn(&LatencySummary) -> f64;
    let percentiles: [(&str, Of); 6] = [
        ("p50", |latency| latency.p50),
        ("p90", |latency| latency.p90),
        ("p99", |latency| latency.p99),
        ("p99_9", |latency| latency.p99_9),
        ("p99_99", |latency| latency.p99_99),
        ("max", |latency| latency.max),
    ];
    cells.extend(percentiles.map(|(percentile, of)| (format!("{name}_{percentile}_us"), number(latency.map(of)))));
}

fn number(figure: Option<f64>) -> String {
    figure.map(|figure| figure.to_string()).unwrap_or_default()
}

/// As JSON has it; empty for null.
fn word(value: impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn yes_no(flushed: Option<bool>) -> String {
    flushed.map(|flushed| flushed.to_string()).unwrap_or_default()
}

/// A cell with a comma, a quote or a line break stands in quotes.
fn push_line(text: &mut String, cells: impl IntoIterator<Item = String>) {
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        if cell.contains([',', '"', '\n', '\r']) {
            text.push('"');
            text.push_str(&cell.replace('"', "\"\""));
            text.push('"');
        } else {
            text.push_str(&cell);
        }
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::synthetic;

    #[test]
    fn every_result_and_every_interval_has_a_line_of_the_same_length() {
        let run = synthetic::whole_run();
        let intervals: usize = run.results.iter().map(|result| result.timeline.len()).sum();
        for (text, lines) in [(results(&run), run.results.len()), (timelines(&run), intervals)] {
            let mut widths: Vec<usize> = text.lines().map(|line| line.split(',').count()).collect();
            assert_eq!(widths.len(), lines + 1);
            widths.dedup();
            assert_eq!(widths.len(), 1, "{text}");
        }
    }

    #[test]
    fn commas_and_quotes_are_quoted() {
        let mut text = String::new();
        push_line(&mut text, ["a,b".to_owned(), "say \"x\"".to_owned(), "plain".to_owned()]);
        assert_eq!(text, "\"a,b\",\"say \"\"x\"\"\",plain\n");
    }
}
