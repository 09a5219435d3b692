//! `sluice broker describe` against a real broker: what is well, and a bit that rots in a sealed segment while it runs.

mod common;

use common::{Broker, PATIENCE, folder, free_port, run};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The segment files of a data folder, oldest first.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            found.extend(segments(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "log") {
            found.push(entry);
        }
    }
    found.sort();
    found
}

/// Every stage of a produce has the same samples, and what is counted fits together.
fn assert_stages(metrics: &serde_json::Value) {
    let stages = metrics["stages"].as_array().unwrap_or_else(|| panic!("{metrics}"));
    let samples = |name: &str| stages.iter().find(|stage| stage["stage"] == name).and_then(|stage| stage["samples"].as_u64());
    let produces = samples("produce").filter(|count| *count > 0);
    for stage in ["admit", "queue", "write_flush", "replicate", "answer"] {
        assert_eq!(samples(stage), produces, "{stage} of {metrics}");
    }
    let counter = |name: &str| metrics["counters"][name].as_u64().unwrap_or_else(|| panic!("{name} of {metrics}"));
    assert_eq!(counter("admitted_records"), 30_000);
    assert!(counter("admitted_len") >= 30_000 * 100 && counter("journal_written_len") > counter("admitted_len"), "{metrics}");
    assert!(counter("segment_written_len") > 2 << 20, "two segments were sealed: {metrics}");
}

#[test]
fn rot_under_a_running_broker_is_found_and_shown() {
    let folder = folder();
    let args =
        ["--set", "scrub_interval_ms=1s", "--set", "write_back_interval_ms=100ms", "--set", "checkpoint_interval_ms=100ms"];
    let broker = Broker::start_at(folder.path(), &format!("127.0.0.1:{}", free_port()), &args);
    run(&mut broker.command(&["topic", "create", "events", "--partitions", "1", "--set", "segment_len=1MiB"])).expect(0, &[]);
    let lines = folder.path().join("lines");
    let text: String = (0..30_000).map(|n| format!("{n:0100}\n")).collect();
    std::fs::write(&lines, text).expect("a file can be written");
    let lines = lines.to_str().expect("a plain path");
    run(&mut broker.command(&["produce", "events", "--file", lines])).expect(0, &[]);

    let describe = |args: &[&str]| run(&mut broker.command(&[&["broker", "describe"], args].concat()));
    let shards = |ended: &common::Ended| json(&ended.stdout)["shards"][0].clone();
    let began = Instant::now();
    loop {
        let shard = shards(&describe(&["--json"]).expect(0, &[]));
        assert_eq!((shard["partitions"].as_u64(), shard["finding_count"].as_u64()), (Some(1), Some(0)), "{shard}");
        if shard["scrub"]["last_ended_ms"].is_number() && segments(folder.path()).len() >= 3 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "no pass ends: {shard}");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(describe(&[]).expect(0, &[]).stdout.contains("no damage is known"));
    let text = describe(&["--stages"]).expect(0, &[]).stdout;
    assert!(text.contains("write_flush") && text.contains("in 30 000 records"), "{text}");
    let document = json(&describe(&["--stages", "--json"]).expect(0, &[]).stdout);
    assert_stages(&document["metrics"][0]);
    assert_eq!(json(&describe(&["--json"]).expect(0, &[]).stdout).get("metrics"), None);

    let file = segments(folder.path())[0].clone();
    let handle = OpenOptions::new().read(true).write(true).open(&file).expect("a segment can be opened");
    let mut byte = [0];
    handle.read_exact_at(&mut byte, 300_000).expect("it has so many bytes");
    handle.write_all_at(&[byte[0] ^ 8], 300_000).expect("it can be written");
    handle.sync_all().expect("it can be flushed");

    let began = Instant::now();
    let damaged = loop {
        let ended = describe(&["--json"]);
        let document = json(&ended.stdout);
        if document["findings"].as_array().is_some_and(|findings| !findings.is_empty()) {
            ended.expect(6, &["1 range(s) not served"]);
            break document;
        }
        assert!(began.elapsed() < PATIENCE, "it is not found: {document}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(damaged["findings"][0]["file"].as_str(), file.to_str());
    assert_eq!(damaged["findings"][0]["lost"]["topic"].as_str(), Some("events"));
    assert_eq!((damaged["damaged"][0]["topic"].as_str(), damaged["damaged"][0]["partition"].as_u64()), (Some("events"), Some(0)));
    let text = describe(&[]).expect(6, &["damage", "device's health"]).stdout;
    assert!(text.contains("DAMAGED: these offsets are not served") && text.contains("events"), "{text}");
    run(&mut broker.command(&["broker", "describe", "--json"])).expect(6, &[]);
}
