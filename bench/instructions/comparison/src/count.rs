//! Runs the benchmarks of one folder and reads their counts.

use crate::Problem;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// Instructions of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    /// `benchmark file/function/case`.
    pub(crate) path: String,
    pub(crate) instructions: u64,
}

/// Builds the benchmarks of `package` in `target_dir` and runs them, in the order in which they stand there. The length of
/// `target_dir` shows in a few counts: a program's own path is the first thing on its heap, and decides what the allocator
/// finds later.
pub(crate) fn count(package: &Path, target_dir: &Path) -> Result<Vec<Count>, Problem> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(package).args(["bench", "--locked", "--target-dir"]).arg(target_dir);
    cargo.args(["--", "--output-format=json"]).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let output = cargo.output().map_err(|error| format!("cargo does not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo bench in {} failed ({})", package.display(), output.status));
    }
    let counts = parse(&String::from_utf8_lossy(&output.stdout))?;
    if counts.is_empty() { Err(format!("cargo bench in {} gave no counts", package.display())) } else { Ok(counts) }
}

/// One summary of gungraun a line.
fn parse(output: &str) -> Result<Vec<Count>, Problem> {
    output.lines().filter(|line| line.starts_with('{')).map(parse_one).collect()
}

fn parse_one(line: &str) -> Result<Count, Problem> {
    let summary: Value = serde_json::from_str(line).map_err(|error| format!("gungraun's summary is no JSON: {error}"))?;
    let text = |key: &str| summary[key].as_str().unwrap_or_default();
    let file = text("module_path").split("::").next().unwrap_or_default();
    let path =
        [file, text("function_name"), text("id")].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    let total = &summary["profiles"][0]["data"]["total"]["metrics"];
    let values = [&total["Callgrind"]["Ir"], &total["Ir"]].into_iter().find(|value| !value.is_null());
    // `new` stands beside `old` where an earlier run was found.
    let new = values.map(|value| &value["values"]["new"]).and_then(|new| new.as_u64());
    match new {
        Some(instructions) => Ok(Count { path, instructions }),
        None => Err(format!("gungraun's summary of {path} has no count of instructions (Ir)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_gives_its_path_and_its_instructions() {
        let line = r#"{"module_path":"frame::group::seal","function_name":"seal","id":"one","profiles":[{"data":{"total":{"metrics":{"Ir":{"values":{"new":318,"old":320}}}}}}]}"#;
        let wanted = Count { path: "frame/seal/one".into(), instructions: 318 };
        assert_eq!(parse(&format!("Compiling\n{line}\n")), Ok(vec![wanted]));
    }

    #[test]
    fn a_summary_without_instructions_is_a_problem() {
        let problem = parse(r#"{"module_path":"frame::g::seal","function_name":"seal","profiles":[]}"#).expect_err("no count");
        assert!(problem.contains("frame/seal"), "{problem}");
    }
}
