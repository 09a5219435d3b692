//! A run as text for a terminal: limits first, then workload by workload, each table only when it has rows.

mod sparkline;

use std::fmt::{self, Write};

use super::grid::Grid;
use super::{figures, names, tables};
use crate::result::{LoopKind, Machine, RoundOutcome, Run, WorkloadResult};

/// The whole run. Lines stay within 120 columns where the words in them allow it.
#[must_use]
pub fn render(run: &Run) -> String {
    let mut text =
        format!("Run of {}{}\n", run.started_at, if run.interrupted { ", interrupted: what is whole is shown" } else { "" });
    let _ = writeln!(text, "{}\n{}", machine(&run.machine), build(run));
    for warning in &run.warnings {
        let _ = writeln!(text, "Warning: {warning}");
    }
    text.push('\n');
    text + &render_results(&run.results)
}

/// Results alone.
#[must_use]
pub fn render_results(results: &[WorkloadResult]) -> String {
    let mut text = String::new();
    let limits: Vec<&WorkloadResult> = results.iter().filter(|result| names::is_yardstick(result)).collect();
    push_table(&mut text, "Limits of this machine", &tables::limits(&limits));
    for (workload, results) in by_workload(results) {
        push_workload(&mut text, workload, &results);
    }
    text
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(render(self).trim_end())
    }
}

/// Results of brokers, grouped by workload in order of appearance.
pub(super) fn by_workload(results: &[WorkloadResult]) -> Vec<(&str, Vec<&WorkloadResult>)> {
    let mut groups: Vec<(&str, Vec<&WorkloadResult>)> = Vec::new();
    for result in results.iter().filter(|result| !names::is_yardstick(result)) {
        match groups.iter_mut().find(|(workload, _)| *workload == result.workload) {
            Some((_, group)) => group.push(result),
            None => groups.push((&result.workload, vec![result])),
        }
    }
    groups
}

/// `Example CPU, 8 cores, 32 GB, Linux 6.12, ext4 on nvme0n1 (none)`.
pub(super) fn machine(machine: &Machine) -> String {
    let mut parts = Vec::new();
    let mut push = |known: bool, text: String| {
        if known {
            parts.push(text);
        }
    };
    push(!machine.cpu.is_empty(), machine.cpu.clone());
    push(machine.cores > 0, format!("{} core{}", machine.cores, if machine.cores == 1 { "" } else { "s" }));
    push(machine.memory_mb > 0, format!("{} GB of memory", figures::significant(machine.memory_mb as f64 / 1e3)));
    push(!machine.kernel.is_empty(), format!("Linux {}", machine.kernel));
    let scheduler = machine.scheduler.as_ref().map(|scheduler| format!(" (scheduler {scheduler})")).unwrap_or_default();
    let device = machine.device.as_ref().map(|device| format!(" on {device}{scheduler}")).unwrap_or_default();
    push(!machine.file_system.is_empty(), format!("{}{device}", machine.file_system));
    if parts.is_empty() { "an unknown machine".to_owned() } else { parts.join(", ") }
}

/// `release build of 0123456789ab`.
pub(super) fn build(run: &Run) -> String {
    let commit = run.commit.as_deref().map_or("unknown sources".to_owned(), |commit| commit.chars().take(12).collect());
    format!("{} build of {commit}", if run.build.is_empty() { "unknown" } else { &run.build })
}

/// What a reader has to know about one result beside its figures.
pub(super) fn notes(result: &WorkloadResult) -> Vec<String> {
    let mut notes = Vec::new();
    let because = |because: &Option<String>| because.as_ref().map(|because| format!(": {because}")).unwrap_or_default();
    let count = |count: u64| figures::count(count as f64);
    if result.outcome != RoundOutcome::Whole {
        let what = match (result.outcome, tables::whole_round_count(result)) {
            (RoundOutcome::GeneratorBehind, 0) => "; these are figures of the generator and not of the system",
            _ => "; rounds that are not whole are in no figure",
        };
        notes.push(format!("{}{}{what}", tables::outcome(result), because(&result.outcome_because)));
    }
    if let Some(said) = &result.refused_because {
        notes.push(format!("refused {} times, in the end with: {said}", count(result.refused_count)));
    }
    if result.failed_count > 0 {
        notes.push(format!("{} records failed{}", count(result.failed_count), because(&result.failed_because)));
    }
    if result.timed_out_count > 0 {
        notes.push(format!("{} records timed out", count(result.timed_out_count)));
    }
    notes.extend(result.notes.iter().cloned());
    notes.extend(result.recoveries.iter().map(|recovery| format!("restart: {recovery}")));
    notes
}

/// How a workload's figures came about, and what its ratios are to.
pub(super) fn reading(results: &[&WorkloadResult]) -> Vec<String> {
    let mut lines = Vec::new();
    if results.iter().any(|result| result.loop_kind == Some(LoopKind::Closed)) {
        lines.push("closed loop: one request (or round of them) outstanding, so a stall delays one sample only".to_owned());
    }
    let mut yardsticks: Vec<String> = Vec::new();
    for yardstick in results.iter().filter_map(|result| result.yardstick.as_ref()).map(tables::yardstick) {
        if !yardsticks.contains(&yardstick) {
            yardsticks.push(yardstick);
        }
    }
    if !yardsticks.is_empty() {
        lines.push(format!("ratio: to {}", yardsticks.join("; ")));
    }
    lines
}

fn push_workload(text: &mut String, workload: &str, results: &[&WorkloadResult]) {
    let about = results.iter().map(|result| result.about.as_str()).find(|about| !about.is_empty());
    let _ = match about {
        Some(about) => writeln!(text, "{workload}: {about}"),
        None => writeln!(text, "{workload}"),
    };
    let all = [
        tables::latencies(results),
        tables::rates(results),
        tables::other_latencies(results),
        tables::costs(results),
        tables::distances(results),
        tables::restarts(results),
    ];
    for grid in all.iter().filter(|grid| !grid.is_empty()) {
        text.push_str(&grid.to_text());
        text.push('\n');
    }
    for result in results {
        if let Some(line) = sparkline::line(result) {
            let _ = writeln!(text, " {}, {line}", names::system(result));
        }
    }
    for result in results.iter().filter(|result| !result.stages.is_empty()) {
        let stages =
            result.stages.iter().map(|stage| format!("{} {}", tables::stage_name(&stage.name), figures::per_cent(stage.share)));
        let _ = writeln!(text, " {} spends {}", names::system(result), stages.collect::<Vec<_>>().join(", "));
    }
    for line in reading(results) {
        let _ = writeln!(text, " {line}");
    }
    for result in results {
        if let Some(meaning) = &result.acknowledgement {
            let _ = writeln!(text, " an acknowledgement of {} means: {meaning}", names::system(result));
        }
        for note in notes(result) {
            let _ = writeln!(text, " Note: {}: {note}", names::system(result));
        }
    }
    text.push('\n');
}

fn push_table(text: &mut String, title: &str, grid: &Grid) {
    if !grid.is_empty() {
        let _ = writeln!(text, "{title}\n{}", grid.to_text());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::synthetic;

    #[test]
    fn every_result_is_named_and_lines_stay_narrow() {
        let run = synthetic::whole_run();
        let text = run.to_string();
        for result in &run.results {
            assert!(text.contains(&result.workload) && text.contains(&names::system(result)), "{}\n{text}", names::full(result));
        }
        let too_wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 120 && !line.starts_with(" Note")).collect();
        assert!(too_wide.is_empty(), "{too_wide:#?}");
    }

    #[test]
    fn it_says_what_is_not_whole_and_what_an_acknowledgement_means() {
        let text = synthetic::whole_run().to_string();
        for expected in [
            "interrupted: what is whole is shown",
            "Warning: other load",
            "broker died (1 of 3 rounds whole)",
            "the server closed the connection",
            "acknowledgement of kafka, not flushed means: in the page cache",
            "closed loop",
            "ratio: to floor-asleep, 95.0 µs",
            "ratio: to raw-write, 1900 MB/s",
            "refused",
            "write + flush",
            "p99 over time",
        ] {
            assert!(text.contains(expected), "{expected:?} is missing in\n{text}");
        }
    }
}
