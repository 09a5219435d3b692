//! Counts as text.

use crate::count::Count;
use std::collections::BTreeMap;
use std::fmt::Write;

pub(crate) fn counts(counts: &[Count]) -> String {
    let width = path_width(counts);
    let mut text = format!("{:width$}  {:>12}\n", "path", "instructions");
    for Count { path, instructions } in counts {
        let _infallible = writeln!(text, "{path:width$}  {instructions:>12}");
    }
    text
}

/// Every path of either side, in the order of this side; those that only the other one has come last.
pub(crate) fn differences(there: &[Count], here: &[Count], commit: &str) -> String {
    let width = path_width(here).max(path_width(there));
    let there_width = commit.len().max(12);
    let of_path = |counts: &[Count]| counts.iter().map(|count| (count.path.clone(), count.instructions)).collect();
    let (before, after): (BTreeMap<String, u64>, BTreeMap<String, u64>) = (of_path(there), of_path(here));
    let mut text = format!("{:width$}  {commit:>there_width$}  {:>12}  {:>10}\n", "path", "here", "difference");
    for Count { path, instructions } in here {
        let (there, difference) = match before.get(path) {
            Some(before) => (before.to_string(), percent(*before, *instructions)),
            None => ("-".into(), "only here".into()),
        };
        let _infallible = writeln!(text, "{path:width$}  {there:>there_width$}  {instructions:>12}  {difference:>10}");
    }
    for Count { path, instructions } in there.iter().filter(|count| !after.contains_key(&count.path)) {
        let _infallible = writeln!(text, "{path:width$}  {instructions:>there_width$}  {:>12}  {:>10}", "-", "only there");
    }
    text
}

fn path_width(counts: &[Count]) -> usize {
    counts.iter().map(|count| count.path.len()).max().unwrap_or(0)
}

fn percent(before: u64, after: u64) -> String {
    if before == after {
        return "0".into();
    }
    format!("{:+.2} %", (after as f64 - before as f64) * 100.0 / before.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, instructions: u64) -> Count {
        Count { path: path.into(), instructions }
    }

    #[test]
    fn every_path_of_either_side_has_a_line() {
        let there = [count("a/same", 100), count("a/gone", 7), count("a/less", 200)];
        let here = [count("a/less", 150), count("a/same", 100), count("a/new", 9)];
        let text = differences(&there, &here, "main");
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["path", "main", "here", "difference"]);
        assert_eq!(lines[1], ["a/less", "200", "150", "-25.00", "%"]);
        assert_eq!(lines[2], ["a/same", "100", "100", "0"]);
        assert_eq!(lines[3], ["a/new", "-", "9", "only", "here"]);
        assert_eq!(lines[4], ["a/gone", "7", "-", "only", "there"]);
        assert_eq!(lines.len(), 5);
    }
}
