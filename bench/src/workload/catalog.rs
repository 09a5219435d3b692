//! The workloads that come with the program, by their own names and by those they have elsewhere.

use std::path::Path;

use sluice_model::nearest::nearest;

use super::{Workload, parse};
use crate::error::{BenchError, at};

/// A workload's file, embedded.
struct Embedded {
    name: &'static str,
    text: &'static str,
}

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        &[$(Embedded { name: $name, text: include_str!(concat!("../../workloads/", $name, ".toml")) }),*]
    };
}

/// In the order in which `list` shows them and `all` runs them.
const EMBEDDED: &[Embedded] = embedded![
    "single-record",
    "single-record-1000",
    "steady",
    "spike",
    "spike-over",
    "trace",
    "partitions-64",
    "partitions-1000",
    "connections-1000",
    "bulk",
    "small-records",
    "large-records",
    "acks-all",
    "acks-leader",
    "acks-none",
    "fan-out",
    "slow-consumer",
    "catch-up",
    "read-memory",
    "read-fan-out",
    "read-disk",
    "memory",
    "idle",
    "restart",
];
const TRACE: &str = include_str!("../../workloads/trace.csv");
/// Every workload there is.
pub const ALL: &str = "all";

/// A line of `bench list`.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    pub workload: Workload,
    /// The file it was read from, as it stands.
    pub text: &'static str,
}

/// Every workload that comes with the program.
///
/// # Errors When one of them is wrong, which a test rules out.
pub fn list() -> Result<Vec<Listed>, BenchError> {
    let read = |one: &Embedded| Ok(Listed { workload: embedded(one)?, text: one.text });
    EMBEDDED.iter().map(read).collect()
}

/// The workloads a name stands for: `all`, one of the program's by its name or alias, or a file by its path (it has a `/` or
/// ends with `.toml`).
///
/// # Errors An unknown name, with the nearest one; a file that cannot be read or is wrong.
pub fn find(name: &str) -> Result<Vec<Workload>, BenchError> {
    let listed = list()?;
    if name == ALL {
        return Ok(listed.into_iter().map(|listed| listed.workload).collect());
    }
    if name.contains('/') || Path::new(name).extension().is_some_and(|extension| extension == "toml") {
        return Ok(vec![read_file(Path::new(name))?]);
    }
    let wanted = |workload: &Workload| workload.name == name || workload.aliases.iter().any(|alias| alias == name);
    if let Some(found) = listed.iter().find(|listed| wanted(&listed.workload)) {
        return Ok(vec![found.workload.clone()]);
    }
    let names = listed.iter().flat_map(|listed| std::iter::once(&listed.workload.name).chain(&listed.workload.aliases));
    let hint = nearest(name, names.map(String::as_str)).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Err(BenchError::Option { problem: format!("unknown workload {name:?}{hint} (`sluice bench list` shows all)") })
}

fn embedded(one: &Embedded) -> Result<Workload, BenchError> {
    let trace = |_: &str| Ok(TRACE.to_owned());
    parse(one.name, one.text, &trace).map_err(|problem| wrong(&format!("{}.toml", one.name), &problem))
}

fn read_file(path: &Path) -> Result<Workload, BenchError> {
    let text = std::fs::read_to_string(path).map_err(at(path))?;
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let beside = |file: &str| {
        let trace = path.parent().unwrap_or(Path::new(".")).join(file);
        std::fs::read_to_string(&trace).map_err(|error| format!("{}: {error}", trace.display()))
    };
    parse(&name, &text, &beside).map_err(|problem| wrong(&path.display().to_string(), &problem))
}

fn wrong(file: &str, problem: &str) -> BenchError {
    BenchError::Option { problem: format!("workload file {file}: {problem}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_of_the_program_is_right_and_says_what_it_is_for() {
        let listed = list().expect("every embedded file is right");
        assert_eq!(listed.len(), EMBEDDED.len());
        for Listed { workload, .. } in &listed {
            assert!(workload.about.len() > 20 && workload.seconds() > 0.0, "{}", workload.name);
        }
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/workloads")).expect("the folder");
        let on_disk = files.flatten().filter(|file| file.path().extension().is_some_and(|extension| extension == "toml"));
        assert_eq!(on_disk.count(), EMBEDDED.len(), "every file in bench/workloads is embedded");
    }

    #[test]
    fn names_aliases_and_all_are_found() {
        let names = |name| find(name).expect(name).into_iter().map(|workload| workload.name).collect::<Vec<_>>();
        assert_eq!(names("spike"), ["spike"]);
        assert_eq!(names("max-rate-1-topic-1-partition-1p-1c-100b"), ["small-records"]);
        assert_eq!(names(ALL).len(), EMBEDDED.len());
    }

    #[test]
    fn an_unknown_name_comes_with_the_nearest() {
        let problem = |name| find(name).expect_err(name).to_string();
        assert!(problem("spiek").contains("did you mean spike?"), "{}", problem("spiek"));
        assert!(problem("single_record").contains("did you mean single-record?"));
        assert!(!problem("zzzzzzzzzzzzzzzz").contains("did you mean"));
        assert!(problem("no/such.toml").contains("no/such.toml"));
    }
}
