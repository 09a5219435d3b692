//! Every bad place of a folder is named exactly, what costs no record is put right, and what is given up is no damage.

use super::{accept_loss, flip, segments, verify};
use crate::common::{Broker, folder, run, sluice};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A frame of a segment file.
#[derive(Clone, Debug)]
struct Frame {
    position: u64,
    len: u64,
    from: u64,
    until: u64,
}

const FRAME_COUNT: u64 = 18;

/// One record, and so one frame, larger than what lies between two entries of the sparse index.
fn produce_one(broker: &Broker) {
    let mut child = broker.command(&["produce", "t"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all("abcdefgh".repeat(19_000).as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Sealed segments of several frames each; stopped.
fn several_frames(data_dir: &Path) -> String {
    let mut broker = Broker::start(data_dir);
    run(&mut broker.command(&["topic", "create", "t", "--partitions", "1", "--set", "segment_len=1MiB"])).expect(0, &[]);
    // One record each: how many records a client puts into a frame is a matter of time.
    (0..FRAME_COUNT).for_each(|_| produce_one(&broker));
    assert_eq!(broker.terminate(), Some(0));
    broker.address.clone()
}

fn frames(segment: &Path) -> Vec<Frame> {
    let said = run(sluice().args(["log", "dump", "--json"]).arg(segment)).expect(0, &[]).stdout;
    let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let frame = |line: Value| {
        let number = |key: &str| line[key].as_u64().unwrap();
        let from = line["frame"].as_u64()?;
        Some(Frame { position: number("position"), len: number("len"), from, until: from + number("record_count") })
    };
    lines.filter_map(frame).collect()
}

/// File, position, and the offsets it costs.
type Place = (PathBuf, u64, Option<(u64, u64)>);

/// Everything in one list of `log verify --json`.
fn named(document: &Value, list: &str) -> Vec<Place> {
    let offsets = |one: &Value| Some((one["offsets"]["from"].as_u64()?, one["offsets"]["until"].as_u64()?));
    let all = document[list].as_array().unwrap().iter();
    all.map(|one| (one["file"].as_str().unwrap().into(), one["position"].as_u64().unwrap(), offsets(one))).collect()
}

fn verified(data_dir: &Path, status: i32) -> Value {
    serde_json::from_str(&verify(data_dir).expect(status, &[]).stdout).unwrap()
}

fn records(document: &Value) -> u64 {
    document["files"].as_array().unwrap().iter().filter_map(|file| file["records"].as_u64()).sum()
}

#[test]
fn every_bad_frame_of_a_file_is_named_and_what_is_given_up_is_no_damage() {
    let folder = folder();
    let dir = folder.path();
    let address = several_frames(dir);
    let segment = segments(dir).remove(0);
    let frames = frames(&segment);
    assert!(frames.len() >= 6, "{frames:?}");
    // A body, a bit of a header, and a whole header.
    flip(&segment, frames[1].position + 200);
    flip(&segment, frames[3].position + 20);
    (frames[5].position..frames[5].position + 100).for_each(|at| flip(&segment, at));
    let expected = [1, 3, 5].map(|at| (segment.clone(), frames[at].position, Some((frames[at].from, frames[at].until))));
    let document = verified(dir, 6);
    assert_eq!(named(&document, "findings"), expected);
    let lost: u64 = [1, 3, 5].map(|at| frames[at].until - frames[at].from).iter().sum();
    assert_eq!(records(&document), FRAME_COUNT - lost);
    let dumped = run(sluice().args(["log", "dump"]).arg(&segment)).expect(0, &[]).stdout;
    assert!(dumped.contains(&format!("frame {} ", frames[4].from)) && dumped.matches("damage ").count() == 3, "{dumped}");

    // No broker has met it yet, and all of it is shown.
    let accepted = accept_loss(dir, &["--yes"]).expect(0, &[]);
    for (_, _, offsets) in &expected {
        let (from, until) = offsets.unwrap();
        let line = format!("topic t, partition 0: offsets {from} up to {until} are lost, {} record(s)", until - from);
        assert!(accepted.stdout.contains(&line), "{}", accepted.stdout);
    }
    let document = verified(dir, 0);
    assert_eq!((named(&document, "findings"), named(&document, "given_up")), (Vec::new(), expected.to_vec()));
    let text = run(sluice().args(["log", "verify"]).arg(dir)).expect(0, &[]).stdout;
    assert!(!text.contains("DAMAGED") && text.matches("accepted as lost: ").count() == 3, "{text}");
    let mut broker = Broker::start_at(dir, &address, &[]);
    let consumed = run(&mut broker.command(&["consume", "t", "--until-end"])).expect(0, &[]);
    assert_eq!(consumed.stdout.lines().count() as u64, FRAME_COUNT - lost);
    run(&mut broker.command(&["broker", "describe"])).expect(0, &[]);
    assert_eq!(broker.terminate(), Some(0));

    flip(&segment, frames[0].position + frames[0].len - 1);
    let document = verified(dir, 6);
    assert_eq!(named(&document, "findings"), [(segment, frames[0].position, Some((frames[0].from, frames[0].until)))]);
    assert_eq!(named(&document, "given_up"), expected);
}

#[test]
fn headers_padding_and_footers_are_put_right_and_no_record_is_touched() {
    let folder = folder();
    let dir = folder.path();
    let address = several_frames(dir);
    let all = segments(dir);
    let len = |path: &Path| std::fs::metadata(path).unwrap().len();
    let last = frames(&all[0]).pop().unwrap();
    let pad = last.position + last.len + 3;
    assert!(!pad.is_multiple_of(4096), "the last frame is followed by padding");
    for (path, at) in
        [(&all[0], 40), (&all[0], pad), (&all[0], len(&all[0]) - 100), (&all[1], 90), (&all[1], len(&all[1]) - 8000)]
    {
        flip(path, at);
    }
    let document = verified(dir, 6);
    assert_eq!((named(&document, "findings").len(), records(&document)), (5, FRAME_COUNT), "{document:#}");
    assert!(named(&document, "findings").iter().all(|(_, _, offsets)| offsets.is_none()), "{document:#}");
    verify(dir).expect(6, &["sluice log repair"]);
    let repair = || run(sluice().args(["log", "repair", "--data-dir"]).arg(dir));
    let repaired = repair().expect(0, &[]).stdout;
    assert!(repaired.contains("5 place(s) put right; no record was touched"), "{repaired}");
    assert_eq!(records(&verified(dir, 0)), FRAME_COUNT);
    assert!(repair().expect(0, &[]).stdout.contains("nothing to put right"));
    let args = ["--set", "scrub_interval_ms=1s"];
    let mut broker = Broker::start_at(dir, &address, &args);
    for _ in 0..2 {
        let consumed = run(&mut broker.command(&["consume", "t", "--until-end"])).expect(0, &[]);
        assert_eq!(consumed.stdout.lines().count() as u64, FRAME_COUNT);
        run(&mut broker.command(&["broker", "describe"])).expect(0, &[]);
        broker = broker.crash_and_restart();
    }
    let said = run(sluice().args(["log", "repair", "--data-dir"]).arg(dir));
    said.expect(75, &["a broker is using", "stop the broker"]);
    assert_eq!(broker.terminate(), Some(0));

    // A frame is nothing that could be put right.
    flip(&all[1], frames(&all[1])[0].position + 300);
    let left = repair().expect(6, &["1 bad place(s) cannot be put right", "accept-loss"]).stdout;
    assert!(left.contains("left as it is: ") && left.contains("checksum of the frame's records"), "{left}");
}

#[test]
fn a_folders_own_files_are_named_when_they_are_no_good() {
    let folder = folder();
    let dir = folder.path();
    let mut broker = Broker::start(dir);
    broker.create_topic("t", 1);
    assert_eq!(broker.terminate(), Some(0));
    verified(dir, 0);
    let whole = std::fs::read(dir.join("metadata.redb")).unwrap();
    std::fs::write(dir.join("metadata.redb"), &whole[..whole.len() / 3]).unwrap();
    assert_eq!(named(&verified(dir, 6), "findings"), [(dir.join("metadata.redb"), 0, None)]);
    std::fs::write(dir.join("metadata.redb"), whole).unwrap();
    let elsewhere = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let wrong = ["--yes", "--journal-dir", elsewhere.path().to_str().unwrap()];
    accept_loss(dir, &wrong).expect(74, &["it is not lost", "--journal-dir", dir.join("journal").to_str().unwrap()]);
    std::fs::write(dir.join("meta.json"), "{").unwrap();
    verify(dir).expect(74, &["meta.json is damaged", "put back a copy"]);
    accept_loss(dir, &["--yes"]).expect(74, &["meta.json is damaged"]);
    std::fs::remove_file(dir.join("meta.json")).unwrap();
    assert_eq!(named(&verified(dir, 6), "findings"), [(dir.join("meta.json"), 0, None)]);
}
