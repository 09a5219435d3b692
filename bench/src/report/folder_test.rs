use super::*;
use crate::report::{json, synthetic};

/// A folder that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sluice-report-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        Self(folder)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("the folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_written_is_read_back_from_folder_and_file() {
    let scratch = Scratch::new("round-trip");
    let run = synthetic::whole_run();
    let written = write(&scratch.0.join("deep/er"), &run).expect("written");
    assert!(read(&scratch.0.join("deep/er")).expect("a run") == run);
    assert!(read(&written.results).expect("a run") == run);
    assert!(written.files.iter().all(|path| path.is_file()));
    let curves = run.results.iter().filter(|result| !result.percentiles.is_empty()).count();
    assert_eq!(written.files.len(), 4 + curves);
    let kafka = scratch.0.join("deep/er/spike-kafka-not-flushed.hgrm");
    assert!(written.files.contains(&kafka), "{:?}", written.files);
}

#[test]
fn the_same_run_may_be_written_again_and_nothing_unfinished_stays() {
    let scratch = Scratch::new("again");
    let mut run = synthetic::whole_run();
    let last = run.results.pop().expect("results");
    write(&scratch.0, &run).expect("after a round");
    run.results.push(last);
    write(&scratch.0, &run).expect("after the next");
    assert!(read(&scratch.0).expect("a run") == run);
    assert!(scratch.names().iter().all(|name| !name.contains(UNFINISHED) && !name.starts_with('.')), "{:?}", scratch.names());
}

#[test]
fn other_results_are_never_written_over() {
    let scratch = Scratch::new("others");
    let run = synthetic::whole_run();
    write(&scratch.0, &run).expect("written");
    let later = Run { started_at: "2026-03-02T00:00:00Z".to_owned(), ..run.clone() };
    let error = write(&scratch.0, &later).expect_err("another run").to_string();
    assert!(error.contains(&run.started_at) && error.contains("another folder"), "{error}");
    for (text, says) in
        [(r#"{"version": 99, "started_at": "x"}"#, "format 99"), ("not JSON", "no results file"), ("", "no results file")]
    {
        fs::write(scratch.0.join(RESULT_FILE), text).expect("a file");
        let error = write(&scratch.0, &run).expect_err(text).to_string();
        assert!(error.contains(says) && error.contains(RESULT_FILE), "{error}");
        assert_eq!(fs::read_to_string(scratch.0.join(RESULT_FILE)).expect("as it was"), text);
    }
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    let scratch = Scratch::new("refused");
    fs::create_dir_all(&scratch.0).expect("a folder");
    let missing = read(&scratch.0).expect_err("nothing there").to_string();
    assert!(missing.contains("no results at") && missing.contains("--out"), "{missing}");
    let file = scratch.0.join(RESULT_FILE);
    let whole = serde_json::to_string(&synthetic::whole_run()).expect("JSON");
    let cases = [
        (whole[..whole.len() / 2].to_owned(), "damaged"),
        (whole.replace("\"version\":1,\"started_at\"", "\"version\":2,\"started_at\""), "another version (format 2"),
        (whole.replace("\"cores\":8", "\"cores\":\"many\""), "damaged"),
        ("{}".to_owned(), "damaged"),
        ("[]".to_owned(), "no result"),
        (String::new(), "damaged"),
    ];
    for (text, says) in cases {
        fs::write(&file, &text).expect("a file");
        let error = read(&scratch.0).expect_err(says).to_string();
        assert!(error.contains(says) && error.contains(RESULT_FILE), "{says}: {error}");
    }
}

#[test]
fn what_json_printed_is_read_too() {
    let scratch = Scratch::new("array");
    fs::create_dir_all(&scratch.0).expect("a folder");
    let (run, file) = (synthetic::whole_run(), scratch.0.join("a.json"));
    fs::write(&file, json(&run)).expect("a file");
    let read_back = read(&file).expect("a run");
    assert_eq!((&read_back.machine, &read_back.started_at, read_back.version), (&run.machine, &run.started_at, run.version));
    assert_eq!(read_back.results.len(), run.results.len());
    fs::write(&file, json(&run).replace("\"version\": 1", "\"version\": 7")).expect("a file");
    assert!(read(&file).expect_err("another version").to_string().contains("format 7"));
}

#[test]
fn a_figure_that_is_no_number_is_not_written() {
    let scratch = Scratch::new("nan");
    let mut run = synthetic::whole_run();
    run.results[0].latency_us.as_mut().expect("a latency").p99 = f64::NAN;
    assert!(write(&scratch.0, &run).expect_err("null").to_string().contains("read back"));
    assert!(!scratch.0.join(RESULT_FILE).exists());
}

#[test]
fn a_folder_that_cannot_be_written_to_is_refused_before_anything_is_measured() {
    let scratch = Scratch::new("file");
    fs::write(&scratch.0, "a file where the folder should be").expect("a file");
    let error = check(&scratch.0, "now").expect_err("no folder").to_string();
    assert!(error.contains("sluice-report-file"), "{error}");
    let _ = fs::remove_file(&scratch.0);
}
