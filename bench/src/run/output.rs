//! The folder a run leaves behind.
//!
//! The expensive mistake is to write over somebody's figures: a folder that holds results already is refused before anything
//! is measured. The file is replaced as a whole after each round, so that a run that is killed leaves what was whole.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{BenchError, at};
use crate::result::{RESULT_FILE, Run};

const PARENT: &str = "bench-results";
const NAMES_LEN_MAX: usize = 60;

/// A folder for one run's results.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
}

impl Output {
    /// The folder asked for, or a new one in `bench-results`, named by time and workloads.
    ///
    /// # Errors When it holds results already, or cannot be made or written to.
    pub fn create(asked: Option<&Path>, started_at: &str, workloads: &[String]) -> Result<Self, BenchError> {
        let path = match asked {
            Some(path) => path.to_path_buf(),
            None => unused(&format!("{}-{}", compact(started_at), names(workloads))),
        };
        let file = path.join(RESULT_FILE);
        if file.exists() {
            let problem = format!("{} holds the results of another run: name another folder with --out", path.display());
            return Err(BenchError::Option { problem });
        }
        fs::create_dir_all(&path).map_err(at(&path))?;
        // Better now than after minutes of measuring.
        let probe = path.join(".writable");
        fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe)).map_err(at(&path))?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the results by these.
    ///
    /// # Errors When they cannot be written; what was there before is still whole.
    pub fn save(&self, run: &Run) -> Result<(), BenchError> {
        let file = self.path.join(RESULT_FILE);
        let text = serde_json::to_string_pretty(run).expect("results are plain numbers and texts");
        let written = self.path.join(format!("{RESULT_FILE}.part"));
        fs::write(&written, text).and_then(|()| fs::rename(&written, &file)).map_err(at(&file))
    }
}

fn unused(name: &str) -> PathBuf {
    let parent = Path::new(PARENT);
    let candidates = std::iter::once(name.to_owned()).chain((2..).map(|number| format!("{name}-{number}")));
    let mut paths = candidates.map(|candidate| parent.join(candidate));
    paths.find(|path| !path.exists()).expect("numbers do not run out")
}

/// `2026-01-02T03:04:05Z` as `20260102-030405`.
fn compact(time: &str) -> String {
    let digits: String = time.chars().take(19).filter(|letter| !matches!(letter, '-' | ':')).collect();
    digits.replace('T', "-")
}

fn names(workloads: &[String]) -> String {
    let names: Vec<String> = workloads
        .iter()
        .map(|name| Path::new(name).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default())
        .collect();
    let joined = names.join("+");
    if joined.len() <= NAMES_LEN_MAX { joined } else { format!("{}-workloads", names.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_named_by_time_and_workloads() {
        assert_eq!(compact("2026-01-02T03:04:05Z"), "20260102-030405");
        assert_eq!(names(&["spike".to_owned(), "mine/own.toml".to_owned()]), "spike+own");
        assert_eq!(names(&vec!["single-record".to_owned(); 9]), "9-workloads");
    }

    #[test]
    fn a_folder_with_results_is_never_written_over() {
        let executable = std::env::current_exe().expect("the test's own path");
        let folder = executable.parent().unwrap_or(Path::new(".")).join(format!("output-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        Output::create(Some(&folder), "", &[]).expect("an empty folder will do");
        fs::write(folder.join(RESULT_FILE), "{\"version\": 9}").expect("a file");
        let refused = Output::create(Some(&folder), "", &[]).expect_err("somebody's figures").to_string();
        fs::remove_dir_all(&folder).expect("removed");
        assert!(refused.contains("--out"), "{refused}");
    }
}
