//! The package clients that installations run, and what to say when one is missing or fails.

use std::io::ErrorKind;
use std::process::{Command, Stdio};

use sluice_bench::BenchError;
use sluice_bench::child::die_with_parent;

const LINES_SHOWN: usize = 8;

/// Runs `command` to its end; what it wrote to its standard output.
///
/// # Errors When there is no such program: `get_it` says how to get it. When it fails: the end of what it wrote.
pub(crate) fn run(mut command: Command, get_it: &str) -> Result<String, BenchError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let refuse = |problem: String| Err(BenchError::Option { problem });
    command.stdin(Stdio::null());
    die_with_parent(&mut command);
    match command.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => refuse(format!("{program} is missing: {get_it}")),
        Err(error) => Err(BenchError::io(program)(error)),
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
            let end = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n  ");
            refuse(format!("{} ended with {}:\n  {end}\n{get_it}", line_of(&command), output.status))
        }
    }
}

/// The command as one would type it.
fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_way_to_get_it() {
        let missing = run(Command::new("no-such-program-here"), "apt-get install it").expect_err("there is none");
        assert_eq!(missing.to_string(), "no-such-program-here is missing: apt-get install it");
        let mut failing = Command::new("sh");
        failing.args(["-c", "echo first; echo 'no network' >&2; exit 3"]);
        let failed = run(failing, "try again with a network").expect_err("it fails").to_string();
        for expected in ["sh -c", "exit status: 3", "no network", "try again with a network"] {
            assert!(failed.contains(expected), "{failed}");
        }
    }
}
