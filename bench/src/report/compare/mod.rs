//! Two runs beside each other: what changed, and whether that is more than the rounds of one run differ among themselves.
//!
//! The expensive mistake is to call noise a change: on the machines this runs on, the same code differs by half from one
//! minute to the next. So a change counts only by the rule that every comparison carries, and where the two runs were not made alike (another machine,
//! another build, a yardstick that itself moved) ratios to each run's own yardstick are compared, never raw figures.
//! Deliberately absent: a mark for the whole; whoever compares decides what matters.

mod rule;
mod text;

use serde::Serialize;

use crate::floor::WaitMode;
use crate::result::{Run, WorkloadResult};
use crate::spread::Spread;

use super::names;
pub use rule::Verdict;

/// In words.
const RULE: &str = "a change counts when the median moved by at least 10 % and the ranges of the whole rounds do not overlap, \
with at least 3 whole rounds on either side; everything else is noise";

/// What was compared with what, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    pub before: Side,
    pub after: Side,
    pub rule: &'static str,
    /// Why the two runs were not made alike.
    pub warnings: Vec<String>,
    pub changes: Vec<Change>,
    /// Results of one run that have no counterpart in the other.
    pub only_before: Vec<String>,
    pub only_after: Vec<String>,
}

/// Which run it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    pub started_at: String,
    pub commit: Option<String>,
    pub build: String,
}

/// What is compared: the figures themselves, or what they are to each run's own yardstick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    Figure,
    Ratio,
}

/// One figure of one workload on one system in one mode.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    pub workload: String,
    /// With acks and flushing where they are not the usual.
    pub system: String,
    pub mode: Option<WaitMode>,
    pub acks: Option<String>,
    pub flushed: Option<bool>,
    /// `p50`, `p99`, `end_to_end_p99`, `throughput`, `reached`.
    pub figure: &'static str,
    /// `us`, `mb_s`, `per_s`; `ratio` by that basis.
    pub unit: &'static str,
    pub basis: Basis,
    pub before: Option<Spread>,
    pub after: Option<Spread>,
    /// Of the medians: 0.1 is a tenth more.
    pub change: Option<f64>,
    pub verdict: Verdict,
    /// Where the verdict needs a word.
    pub note: Option<String>,
}

/// What changed from `before` to `after`.
#[must_use]
pub fn compare(before: &Run, after: &Run) -> Comparison {
    let warnings = not_alike(before, after);
    let same_place = warnings.is_empty();
    let mut changes = Vec::new();
    for result in &before.results {
        if let Some(other) = counterpart(result, after) {
            changes.extend(rule::changes(result, other, same_place));
        }
    }
    let without = |run: &Run, other: &Run| {
        let alone = run.results.iter().filter(|result| counterpart(result, other).is_none());
        alone.map(names::full).collect()
    };
    Comparison {
        before: Side::of(before),
        after: Side::of(after),
        rule: RULE,
        warnings,
        changes,
        only_before: without(before, after),
        only_after: without(after, before),
    }
}

impl Comparison {
    /// One object.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a comparison is plain numbers and texts")
    }

    /// Changes for the worse beyond noise.
    #[must_use]
    pub fn worse(&self) -> usize {
        self.changes.iter().filter(|change| change.verdict == Verdict::Worse).count()
    }
}

impl Side {
    fn of(run: &Run) -> Self {
        Self { started_at: run.started_at.clone(), commit: run.commit.clone(), build: run.build.clone() }
    }
}

fn counterpart<'a>(result: &WorkloadResult, run: &'a Run) -> Option<&'a WorkloadResult> {
    run.results.iter().find(|other| names::key(other) == names::key(result))
}

/// What makes raw figures of the two runs incomparable.
fn not_alike(before: &Run, after: &Run) -> Vec<String> {
    let (a, b) = (&before.machine, &after.machine);
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
    let pairs = [
        ("processors", a.cpu.clone(), b.cpu.clone()),
        ("numbers of cores", a.cores.to_string(), b.cores.to_string()),
        ("kernels", a.kernel.clone(), b.kernel.clone()),
        ("file systems", a.file_system.clone(), b.file_system.clone()),
        ("devices", known(&a.device), known(&b.device)),
        ("device schedulers", known(&a.scheduler), known(&b.scheduler)),
        ("builds", before.build.clone(), after.build.clone()),
    ];
    let differing = pairs.into_iter().filter(|(_, a, b)| a != b);
    let mut warnings: Vec<String> = differing.map(|(what, a, b)| format!("different {what}: {a} before, {b} after")).collect();
    let memory = (a.memory_mb as f64, b.memory_mb as f64);
    // Kernels keep a little for themselves, and not always the same.
    if (memory.0 - memory.1).abs() > 0.05 * memory.0.max(memory.1) {
        warnings.push(format!("different memory: {} MB before, {} MB after", a.memory_mb, b.memory_mb));
    }
    warnings
}

#[cfg(test)]
#[path = "../compare_test.rs"]
mod tests;
