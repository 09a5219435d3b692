//! Which folder a run leaves behind. What goes into it, and what is never written over, `report::folder` decides.

use std::path::{Path, PathBuf};

const PARENT: &str = "bench-results";
const NAMES_LEN_MAX: usize = 60;

/// The folder asked for, or one in `bench-results` that does not exist yet, named by time and workloads.
pub fn output_folder(asked: Option<&Path>, started_at: &str, workloads: &[String]) -> PathBuf {
    match asked {
        Some(path) => path.to_path_buf(),
        None => unused(&format!("{}-{}", compact(started_at), names(workloads))),
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
    fn a_folder_is_named_by_time_and_workloads_unless_it_was_asked_for() {
        let workloads = ["spike".to_owned(), "mine/own.toml".to_owned()];
        let path = output_folder(None, "2026-01-02T03:04:05Z", &workloads);
        assert_eq!(path, Path::new("bench-results/20260102-030405-spike+own"));
        assert_eq!(output_folder(Some(Path::new("here")), "", &workloads), Path::new("here"));
        assert_eq!(names(&vec!["single-record".to_owned(); 9]), "9-workloads");
    }
}
