//! What a result is called: in a table, in a legend, in a file's name.

use std::collections::HashSet;

use crate::floor::WaitMode;
use crate::peer::names::{Flush, peer_of};
use crate::result::{LoopKind, WorkloadResult};

/// Systems that are limits of the machine and not brokers.
const YARDSTICK_SYSTEMS: [&str; 4] = ["device", "floor", "loopback", "memory"];

pub(super) fn is_yardstick(result: &WorkloadResult) -> bool {
    YARDSTICK_SYSTEMS.contains(&result.system.as_str())
}

/// What tells a result from every other of its run.
pub(super) fn key(result: &WorkloadResult) -> (&str, &str, Option<WaitMode>, Option<&str>, Option<bool>) {
    (&result.workload, &result.system, result.mode, result.acks.as_deref(), result.flushed)
}

/// The system with what it was told: `kafka, acks leader, not flushed`. Asleep is the usual mode and goes without saying.
pub(super) fn system(result: &WorkloadResult) -> String {
    let flushed = if is_to_be_called_unflushed(result) { ", not flushed" } else { "" };
    system_beside_flushed(result) + flushed
}

/// Unless its name says so already.
fn is_to_be_called_unflushed(result: &WorkloadResult) -> bool {
    result.flushed == Some(false) && peer_of(&result.system).1 == Flush::BeforeAck
}

/// The same in a table that has a column of its own for flushed or not.
pub(super) fn system_beside_flushed(result: &WorkloadResult) -> String {
    let spinning = if result.mode == Some(WaitMode::Spinning) { ", spinning" } else { "" };
    let acks = result.acks.as_deref().filter(|acks| *acks != "all").map(|acks| format!(", acks {acks}"));
    format!("{}{spinning}{}", result.system, acks.unwrap_or_default())
}

/// Workload and system in one: `spike: kafka, not flushed`.
pub(super) fn full(result: &WorkloadResult) -> String {
    format!("{}: {}", result.workload, system(result))
}

/// The workload's name, and that it is a closed loop where it is one.
pub(super) fn workload(result: &WorkloadResult) -> String {
    match result.loop_kind {
        Some(LoopKind::Closed) if !is_yardstick(result) => format!("{} (closed)", result.workload),
        _ => result.workload.clone(),
    }
}

/// For every result a file name without its ending, no two alike: `<workload>-<system>[-mode]` and what else it takes to
/// tell two results apart. Only letters, digits, `-`, `_` and `.`, whatever the results call themselves.
pub(super) fn file_stems(results: &[WorkloadResult]) -> Vec<String> {
    let mut taken = HashSet::new();
    let stems = results.iter().map(|result| {
        let mut stem = harmless(&format!("{}-{}", result.workload, result.system));
        // Only of the result itself, so that a name stays the same while results are added.
        if result.mode == Some(WaitMode::Spinning) {
            stem.push_str("-spinning");
        }
        if let Some(acks) = result.acks.as_deref().filter(|acks| *acks != "all") {
            stem.push_str("-acks-");
            stem.push_str(&harmless(acks));
        }
        if is_to_be_called_unflushed(result) {
            stem.push_str("-not-flushed");
        }
        let numbered = (1..).map(|number| if number == 1 { stem.clone() } else { format!("{stem}-{number}") });
        let free = numbered.into_iter().find(|name| taken.insert(name.to_ascii_lowercase()));
        free.expect("numbers do not end")
    });
    stems.collect()
}

/// No separator of folders, no leading dot, and not longer than any file system takes.
fn harmless(name: &str) -> String {
    let kept = name.chars().take(80);
    let plain = |character: char| if character.is_ascii_alphanumeric() || "-_.".contains(character) { character } else { '_' };
    let text: String = kept.map(plain).collect();
    if text.starts_with('.') { format!("_{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(workload: &str, system: &str) -> WorkloadResult {
        WorkloadResult { workload: workload.to_owned(), system: system.to_owned(), ..WorkloadResult::default() }
    }

    #[test]
    fn file_names_are_harmless_and_differ() {
        let spinning = |result: WorkloadResult| WorkloadResult { mode: Some(WaitMode::Spinning), ..result };
        let asleep = |result: WorkloadResult| WorkloadResult { mode: Some(WaitMode::Asleep), ..result };
        let results = [
            asleep(result("spike", "sluice")),
            spinning(result("spike", "sluice")),
            asleep(result("bulk", "sluice")),
            WorkloadResult { flushed: Some(false), acks: Some("leader".to_owned()), ..result("spike", "kafka") },
            WorkloadResult { flushed: Some(false), ..result("spike", "kafka-unflushed") },
            result("../../etc/x", "a b"),
            result("spike", "nats"),
            result("spike", "NATS"),
        ];
        let expected = [
            "spike-sluice",
            "spike-sluice-spinning",
            "bulk-sluice",
            "spike-kafka-acks-leader-not-flushed",
            "spike-kafka-unflushed",
            "_.._.._etc_x-a_b",
            "spike-nats",
            "spike-NATS-2",
        ];
        assert_eq!(file_stems(&results), expected);
    }

    #[test]
    fn a_label_says_what_is_not_usual() {
        let kafka = WorkloadResult { flushed: Some(false), acks: Some("leader".to_owned()), ..result("spike", "kafka") };
        assert_eq!(full(&kafka), "spike: kafka, acks leader, not flushed");
        let unflushed = WorkloadResult { flushed: Some(false), ..result("spike", "kafka-unflushed") };
        assert_eq!(full(&unflushed), "spike: kafka-unflushed");
        let closed = WorkloadResult { loop_kind: Some(LoopKind::Closed), ..result("single-record", "sluice") };
        assert_eq!((workload(&closed).as_str(), system(&closed).as_str()), ("single-record (closed)", "sluice"));
    }
}
