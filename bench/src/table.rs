//! A report as text for people: three tables, each only when it has rows.

use std::fmt;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::floor::WaitMode;
use crate::result::{LoopKind, Run, WorkloadResult};
use crate::spread::Spread;

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sections: [(&str, Table); 3] = [
            ("Latency, µs (median of the rounds; p50 with its range)", latencies(self)),
            ("Throughput, MB/s (median of the rounds, with its range)", throughputs(self)),
            ("The broker's process", processes(self)),
        ];
        for (title, table) in sections {
            if !table.is_empty() {
                writeln!(f, "{title}")?;
                table.lines().try_for_each(|line| writeln!(f, " {}", line.trim()))?;
                writeln!(f)?;
            }
        }
        for result in &self.results {
            if let Some(because) = &result.refused_because {
                writeln!(f, "Note: {} was refused {} times, in the end with: {because}", result.workload, result.refused_count)?;
            }
        }
        for recovery in self.results.iter().flat_map(|result| &result.recoveries) {
            writeln!(f, "Restart: {recovery}")?;
        }
        self.warnings.iter().try_for_each(|note| writeln!(f, "Note: {note}."))
    }
}

fn latencies(report: &Run) -> Table {
    let mut table =
        new_table(&["workload", "system", "p50", "range", "p90", "p99", "p99.9", "max", "per s", "p50 ratio", "p99 ratio", "to"]);
    for result in &report.results {
        let (Some(latency), Some(range)) = (result.latency_us, result.latency_us_range) else { continue };
        let per_latency = result.yardstick.as_ref().filter(|yardstick| yardstick.unit == "us");
        table.add_row(vec![
            workload(result),
            system(result),
            whole(Some(latency.p50)),
            format!("{:.0} – {:.0}", range.min.p50, range.max.p50),
            whole(Some(latency.p90)),
            whole(Some(latency.p99)),
            whole(Some(latency.p99_9)),
            whole(Some(latency.max)),
            whole(result.reached_per_s),
            hundredths(result.ratio.filter(|_| per_latency.is_some())),
            hundredths(result.ratio_p99),
            per_latency.map(|yardstick| yardstick.name.clone()).unwrap_or_default(),
        ]);
    }
    align(table, 2..11)
}

fn throughputs(report: &Run) -> Table {
    let mut table = new_table(&["workload", "system", "MB/s", "range", "ratio", "to", "CPU-s/GB", "refused"]);
    for result in &report.results {
        let Some(spread) = result.throughput_mb_s_range else { continue };
        table.add_row(vec![
            workload(result),
            system(result),
            whole(Some(spread.median)),
            format!("{:.0} – {:.0}", spread.min, spread.max),
            hundredths(result.ratio),
            result.yardstick.as_ref().map(|yardstick| yardstick.name.clone()).unwrap_or_default(),
            hundredths(result.broker_cpu_s_per_gb),
            if result.system == "sluice" { result.refused_count.to_string() } else { String::new() },
        ]);
    }
    align(table, 2..8)
}

fn processes(report: &Run) -> Table {
    let headings = [
        "workload",
        "CPU, % of a core",
        "memory, MB",
        "peak, MB",
        "listens again after, s",
        "range",
        "serves again after, s",
        "range",
    ];
    let mut table = new_table(&headings);
    for result in &report.results {
        if result.broker_cpu_percent.is_none() && result.broker_memory.is_none() && result.seconds_to_serve.is_none() {
            continue;
        }
        table.add_row(vec![
            result.workload.clone(),
            hundredths(result.broker_cpu_percent),
            whole(result.broker_memory.map(|memory| memory.rss_mb)),
            whole(result.broker_memory.map(|memory| memory.peak_mb)),
            hundredths(result.seconds_to_listen.map(|seconds| seconds.median)),
            range(result.seconds_to_listen),
            hundredths(result.seconds_to_serve.map(|seconds| seconds.median)),
            range(result.seconds_to_serve),
        ]);
    }
    align(table, 1..8)
}

fn new_table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(headings);
    table
}

/// Numbers stand to the right.
fn align(mut table: Table, columns: std::ops::Range<usize>) -> Table {
    for index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn workload(result: &WorkloadResult) -> String {
    match result.loop_kind {
        Some(LoopKind::Closed) if result.system == "sluice" => format!("{} (closed loop)", result.workload),
        _ => result.workload.clone(),
    }
}

fn system(result: &WorkloadResult) -> String {
    match result.mode {
        Some(WaitMode::Spinning) => format!("{}, spinning", result.system),
        Some(WaitMode::Asleep) if result.system != "device" => format!("{}, asleep", result.system),
        _ => result.system.clone(),
    }
}

fn range(seconds: Option<Spread>) -> String {
    seconds.map(|seconds| format!("{:.2} – {:.2}", seconds.min, seconds.max)).unwrap_or_default()
}

fn whole(figure: Option<f64>) -> String {
    figure.map(|figure| format!("{figure:.0}")).unwrap_or_default()
}

fn hundredths(figure: Option<f64>) -> String {
    figure.map(|figure| format!("{figure:.2}")).unwrap_or_default()
}
