//! Counts the instructions of the hot paths, here and at another commit, and says what has changed.
//!
//! The counts are callgrind's, through gungraun: exact, the same on every run, and of this machine only (its processor
//! and C library choose the loops that copy and fill). The expensive mistake is to compare what was measured
//! differently: when the benchmarks themselves differ between the two, that is said.

mod count;
mod other_commit;
mod table;
mod tools;

use other_commit::OtherCommit;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: bench/instructions/compare [COMMIT]

Counts the instructions of the hot paths with valgrind's callgrind. With a COMMIT (anything git knows), counts there too and
prints the difference of every path.";

/// What is wrong, and what to do about it.
type Problem = String;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let commit = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => None,
        ["--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        [commit] if !commit.starts_with('-') => Some(commit),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(commit) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("compare: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(commit: Option<&str>) -> Result<(), Problem> {
    let package = package();
    tools::check(&package)?;
    let target_dir = other_commit::place(&package).join("here");
    let Some(commit) = commit else {
        print!("{}", table::counts(&count::count(&package, &target_dir)?));
        return Ok(());
    };
    let other = OtherCommit::check_out(&package, commit)?;
    tools::check(&other.package)?;
    eprintln!("== counting here");
    let here = count::count(&package, &target_dir)?;
    eprintln!("== counting at {commit} ({})", other.hash);
    let there =
        count::count(&other.package, &other.target_dir).map_err(|problem| format!("{commit} cannot be counted: {problem}"))?;
    print!("{}", table::differences(&there, &here, commit));
    for note in &other.notes {
        println!("{note}");
    }
    Ok(())
}

/// The folder of the benchmarks: this program's parent.
fn package() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}
