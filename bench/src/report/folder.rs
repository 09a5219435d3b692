//! The folder a run leaves behind, and reading it back.
//!
//! `results.json` is the run; every other file is made from it and can be made again. So it is written first, and each file
//! takes its place whole, by rename: whatever ends the program leaves the last whole state, and a run may write after every
//! round. The expensive mistakes: to put a run over another one's, and to guess at what another version meant. Both are
//! refused by name. Absent: choosing the folder.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{csv, hgrm, html, names};
use crate::error::{BenchError, at};
use crate::result::{RESULT_FILE, RESULT_VERSION, Run, WorkloadResult};

pub const REPORT_FILE: &str = "report.html";
const RESULTS_CSV_FILE: &str = "results.csv";
const TIMELINE_CSV_FILE: &str = "timeline.csv";
/// Ending of a file that is not whole yet.
const UNFINISHED: &str = "unfinished";

/// What stands in the folder now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub results: PathBuf,
    /// For a browser.
    pub html: PathBuf,
    /// Everything, those two included.
    pub files: Vec<PathBuf>,
}

/// Refuses what [`write`] would refuse, before anything is measured. Creates the folder when there is none.
///
/// # Errors When it holds another version's or another run's results, or cannot be written to.
pub fn check(folder: &Path, started_at: &str) -> Result<(), BenchError> {
    fs::create_dir_all(folder).map_err(at(folder))?;
    let path = folder.join(RESULT_FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return put(folder, ".writable", b"").and_then(|path| remove(&path)),
        Err(error) => return Err(at(&path)(error)),
    };
    let taken = |what: String| Err(refusal(format!("{} {what}: name another folder, or move it away", path.display())));
    match serde_json::from_slice::<Origin>(&text) {
        Err(error) => taken(format!("is no results file of this program ({error})")),
        Ok(origin) if origin.version != RESULT_VERSION => {
            taken(format!("was written by another version (format {}, this program's is {RESULT_VERSION})", origin.version))
        }
        Ok(origin) if origin.started_at != started_at => {
            taken(format!("holds the run that was started at {}", origin.started_at))
        }
        Ok(_) => Ok(()),
    }
}

/// Writes `results.json`, the report for a browser, CSV and percentile files. May be called again for the same run, with
/// more in it.
///
/// # Errors When the folder holds another version's or another run's results, or cannot be written to. What was there is
/// left as it was.
pub fn write(folder: &Path, run: &Run) -> Result<Written, BenchError> {
    check(folder, &run.started_at)?;
    let text = serde_json::to_vec_pretty(run).expect("a run is plain numbers and texts");
    // A figure that is no number would be written as null: better to fail here than at every later reading.
    parse_run(&text).map_err(|problem| refusal(format!("these results could not be read back: {problem}")))?;
    let results = put(folder, RESULT_FILE, &text)?;
    let html = put(folder, REPORT_FILE, html::render(run).as_bytes())?;
    let mut files = vec![results.clone(), html.clone()];
    files.push(put(folder, RESULTS_CSV_FILE, csv::results(run).as_bytes())?);
    files.push(put(folder, TIMELINE_CSV_FILE, csv::timelines(run).as_bytes())?);
    for (result, stem) in run.results.iter().zip(names::file_stems(&run.results)) {
        if let Some(text) = hgrm::text(result) {
            files.push(put(folder, &format!("{stem}.hgrm"), text.as_bytes())?);
        }
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))?;
    Ok(Written { results, html, files })
}

/// Reads what [`write`] wrote, from the folder or its `results.json`, or from a file with what `--json` printed.
///
/// # Errors When there is none, it is damaged, or another version wrote it.
pub fn read(path: &Path) -> Result<Run, BenchError> {
    let file = if path.is_dir() { path.join(RESULT_FILE) } else { path.to_path_buf() };
    let text = match fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let hint = format!("name a folder that `bench run --out` wrote, or its {RESULT_FILE}");
            return Err(refusal(format!("no results at {}: {hint}", file.display())));
        }
        Err(error) => return Err(at(&file)(error)),
    };
    let parsed = if text.trim_ascii_start().starts_with(b"[") { parse_array(&text) } else { parse_run(&text) };
    parsed.map_err(|problem| refusal(format!("{}: {problem}", file.display())))
}

/// What says whether the rest may be read.
#[derive(Deserialize)]
struct Origin {
    version: u32,
    #[serde(default)]
    started_at: String,
}

fn parse_run(text: &[u8]) -> Result<Run, String> {
    let origin: Origin = serde_json::from_slice(text).map_err(damaged)?;
    check_version(origin.version)?;
    serde_json::from_slice(text).map_err(damaged)
}

/// The array that `--json` prints: each result says where it comes from.
fn parse_array(text: &[u8]) -> Result<Run, String> {
    let origins: Vec<Origin> = serde_json::from_slice(text).map_err(damaged)?;
    origins.iter().try_for_each(|origin| check_version(origin.version))?;
    let results: Vec<WorkloadResult> = serde_json::from_slice(text).map_err(damaged)?;
    let Some(first) = results.first().cloned() else { return Err("holds no result".to_owned()) };
    if results.iter().any(|result| result.started_at != first.started_at) {
        return Err("holds results of several runs; give it those of one".to_owned());
    }
    Ok(Run {
        version: first.version,
        started_at: first.started_at,
        machine: first.machine,
        commit: first.commit,
        build: first.build,
        settings: first.settings,
        warnings: Vec::new(),
        interrupted: false,
        results,
    })
}

fn check_version(version: u32) -> Result<(), String> {
    if version == RESULT_VERSION {
        return Ok(());
    }
    Err(format!("written by another version (format {version}, this program reads {RESULT_VERSION}): read it with that one"))
}

fn damaged(error: serde_json::Error) -> String {
    format!("damaged, or not a results file: {error}")
}

fn refusal(problem: String) -> BenchError {
    BenchError::Results { problem }
}

/// A file of this name with these bytes, whole or not at all.
fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, BenchError> {
    let (path, unfinished) = (folder.join(name), folder.join(format!("{name}.{UNFINISHED}")));
    let written = File::create(&unfinished).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_data()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&unfinished, &path)) {
        // What is left of it is of no use to anybody; that it cannot be removed is no news after this.
        let _ = fs::remove_file(&unfinished);
        return Err(at(&path)(error));
    }
    Ok(path)
}

fn remove(path: &Path) -> Result<(), BenchError> {
    fs::remove_file(path).map_err(at(path))
}

#[cfg(test)]
#[path = "folder_test.rs"]
mod tests;
