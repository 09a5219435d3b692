//! What people and other programs get to see of a [`Run`]: a folder of files, one page, text in a terminal, a comparison.
//!
//! Everything here is a function of results that were written down; nothing is measured, and `bench report` shows of an old
//! folder what `bench run` showed. The expensive mistake is to flatter: a figure that is not of whole rounds says so beside
//! itself, and every latency stands beside what an acknowledgement of that system means. What is read back came from
//! outside: no text goes into a page unescaped, no number into a loop or a file name unchecked. Absent: how figures are found
//! (`summary`), and opinions on what is fast enough.

mod compare;
mod csv;
mod figures;
pub mod folder;
mod grid;
mod hgrm;
pub mod html;
mod names;
#[cfg(test)]
mod synthetic;
mod tables;
pub mod text;
mod timeline;

pub use compare::{Basis, Change, Comparison, Verdict, compare};

use crate::result::{RESULT_VERSION, Run, WorkloadResult};

/// What `--json` prints: one array of all results, each of which says where it comes from.
#[must_use]
pub fn json(run: &Run) -> String {
    let results: Vec<WorkloadResult> = run.results.iter().map(|result| with_origin(result, run)).collect();
    serde_json::to_string_pretty(&results).expect("results are plain numbers and texts")
}

/// The result with what the run knows repeated in it.
fn with_origin(result: &WorkloadResult, run: &Run) -> WorkloadResult {
    WorkloadResult {
        version: RESULT_VERSION,
        started_at: run.started_at.clone(),
        machine: run.machine.clone(),
        commit: run.commit.clone(),
        build: run.build.clone(),
        ..result.clone()
    }
}
