//! `sluice probe` as a user runs it: what it leaves behind and what not, what it refuses. No figure decides anything.

mod common;
#[allow(dead_code, reason = "full file systems are other tests'")]
#[path = "crash/mount.rs"]
mod mount;

use common::{Ended, PATIENCE, folder, run, sluice};
use mount::{FileSystem, Mount};
use serde_json::Value;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Long enough for each step to happen once.
const SHORT: &[&str] = &["--quick", "--seconds", "0.1"];

fn probe(data_dir: &Path, flags: &[&str]) -> Ended {
    run(sluice().args(["probe", "--data-dir"]).arg(data_dir).args(flags))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// What `sluice check` says of the device's figures.
fn checked(data_dir: &Path) -> Value {
    let ended = run(sluice().args(["check", "--json", "--data-dir"]).arg(data_dir)).expect(0, &[]);
    let found: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let rows = found["findings"].as_array().expect("an array");
    rows.iter().find(|row| row["id"] == "device-probe").expect("a row").clone()
}

#[test]
fn a_probe_keeps_its_figures_beside_the_folder_and_nothing_in_it() {
    let folder = folder();
    let data_dir = folder.path().join("data");
    fs::create_dir_all(data_dir.join("sluice-scratch-1-0")).expect("what a killed probe leaves");
    fs::write(data_dir.join("sluice-scratch-1-0/lock"), "").expect("a lock nobody holds");
    assert!(checked(&data_dir)["found"].as_str().expect("text").contains("was not measured"));

    let ended = probe(&data_dir, SHORT).expect(0, &["measuring", "192 MiB of space"]);
    assert!(!ended.stderr.contains('\u{1b}'), "no progress bar where no terminal is: {:?}", ended.stderr);
    assert_eq!(names(&data_dir), [""; 0], "nothing is left, of a probe that was killed neither");
    assert_eq!(names(folder.path()), ["data", "data.probe.toml"]);
    for part in ["durable write", "direct write", "read", "loopback", "CRC-32C"] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    let shown = probe(&data_dir, &["--show"]).expect(0, &[]);
    assert_eq!(shown.stdout, ended.stdout, "it is shown as it was when it was measured");

    let shown = probe(&data_dir, &["--show", "--json"]).expect(0, &[]);
    let shown: Value = serde_json::from_str(&shown.stdout).expect("JSON");
    assert_eq!((&shown["is_this_device"], shown["transfers"].as_array().map(Vec::len)), (&true.into(), Some(18)));
    let row = checked(&data_dir);
    if cfg!(debug_assertions) {
        assert!(row["found"].as_str().expect("text").contains("by a debug build"), "{row}");
    } else {
        assert_eq!(row["severity"], "fine", "{row}");
    }
}

#[test]
fn a_folder_that_is_not_there_is_measured_in_what_will_hold_it_and_not_made() {
    let folder = folder();
    let out = folder.path().join("figures.toml");
    let ended =
        probe(&folder.path().join("later"), &[SHORT, &["--json", "--out", out.to_str().unwrap()]].concat()).expect(0, &[]);
    let printed: Value = serde_json::from_str(&ended.stdout).expect("JSON and nothing else");
    assert_eq!(printed["file"], out.to_str().unwrap());
    assert_eq!(names(folder.path()), ["figures.toml"]);
    probe(folder.path(), &["--show", out.to_str().unwrap()]).expect(0, &[]);
}

#[test]
fn figures_of_another_device_and_files_that_are_not_whole_are_refused() {
    let folder = folder();
    let data_dir = folder.path().join("data");
    let path = folder.path().join("data.probe.toml");
    let remedy = "sluice probe --data-dir";
    probe(&data_dir, &["--show"]).expect(1, &["there is no", "data.probe.toml", remedy]);
    probe(&data_dir, SHORT).expect(0, &[]);
    let good = fs::read_to_string(&path).expect("the file");

    let machine = good.lines().find(|line| line.starts_with("machine = ")).map(ToOwned::to_owned);
    let number = good.lines().find(|line| line.starts_with("number = ")).expect("a number").to_owned();
    let other = match &machine {
        Some(line) => good.replace(line, "machine = \"00000000000000000000000000000000\""),
        None => good.replace(&number, &format!("machine = \"00000000000000000000000000000000\"\n{number}")),
    };
    let cut = &good[..good.len() / 2];
    for (text, parts) in [
        (other.as_str(), &["was measured on another device", "the machine was 00000000"][..]),
        (cut, &["cannot be used", "cut"]),
        ("", &["it is empty"]),
        ("shards = 3\n", &["format = \"sluice-probe\""]),
        (&good.replace("version = 1\n", "version = 2\n"), &["version 2", "a newer one wrote it"]),
        (&good.replace(" us\"", " parsec\""), &["p50", "is not understood"]),
    ] {
        fs::write(&path, text).expect("a file");
        probe(&data_dir, &["--show"]).expect(1, &[parts, &["data.probe.toml", remedy]].concat());
        let row = checked(&data_dir);
        assert_eq!(row["severity"], "note", "{row}");
        assert!(parts.iter().all(|part| row["found"].as_str().expect("text").contains(part)), "{parts:?}: {row}");
        assert!(row["fixes"][0]["command"].as_str().expect("text").starts_with(remedy), "{row}");
    }
    // What it says is shown all the same.
    fs::write(&path, &other).expect("a file");
    assert!(probe(&data_dir, &["--show"]).stdout.contains("durable write"));
}

#[test]
fn what_would_be_in_vain_is_refused_before_anything_is_measured() {
    let folder = folder();
    let data_dir = folder.path().join("data");
    fs::create_dir(&data_dir).expect("a folder");
    let mine = folder.path().join("mine.toml");
    fs::write(&mine, "shards = 3\n").expect("a file");
    let out = |path: &Path| ["--out".to_owned(), path.to_str().expect("text").to_owned()];
    let refused = |flags: &[String]| run(sluice().args(["probe", "--data-dir"]).arg(&data_dir).args(SHORT).args(flags));
    refused(&out(&mine)).expect(1, &["mine.toml", "something else stands there", "--out"]);
    assert_eq!(fs::read_to_string(&mine).expect("the file"), "shards = 3\n");
    refused(&out(&folder.path().join("no/such/file"))).expect(1, &["cannot be kept", "--out"]);
    probe(&mine, SHORT).expect(74, &["mine.toml is no folder"]);

    let lock = File::create(data_dir.join("lock")).expect("a lock");
    lock.lock().expect("as a broker holds it");
    probe(&data_dir, SHORT).expect(75, &["a broker is using", "stop the broker"]);
    drop(lock);
    assert_eq!(names(&data_dir), ["lock"]);
    assert_eq!(names(folder.path()), ["data", "mine.toml"]);

    let shm = Path::new("/dev/shm");
    assert!(shm.is_dir(), "this test needs a tmpfs at {}", shm.display());
    let in_memory = tempfile::TempDir::new_in(shm).expect("a folder on tmpfs");
    probe(&in_memory.path().join("data"), SHORT).expect(74, &["tmpfs", "on a disk"]);
    assert_eq!(names(in_memory.path()), [""; 0]);
}

#[test]
fn too_little_room_is_said_with_what_is_needed() {
    let Some(mount) = Mount::new(FileSystem::Ext4) else { return };
    let data_dir = mount.path().join("data");
    probe(&data_dir, SHORT).expect(1, &["needs 192 MiB", "are free"]);
    assert_eq!(names(&mount.path()), ["lost+found"]);
}

#[test]
fn a_signal_ends_it_and_nothing_is_left() {
    let folder = folder();
    let data_dir = folder.path().join("data");
    fs::create_dir(&data_dir).expect("a folder");
    let mut command = sluice();
    command.args(["probe", "--seconds", "20", "--data-dir"]).arg(&data_dir);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let _watched = common::Watched::new(&child);
    let began = Instant::now();
    // Its files are there: it measures.
    while !names(&data_dir).iter().any(|name| data_dir.join(name).join("durable").exists()) {
        assert!(began.elapsed() < PATIENCE, "it did not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    common::terminate(&child);
    let ended = Ended::of(child.wait_with_output().expect("a child can be waited for"));
    let ended = ended.expect(130, &["stopping", "ended by a signal"]);
    assert_eq!(ended.stdout, "");
    assert_eq!(names(&data_dir), [""; 0]);
    assert_eq!(names(folder.path()), ["data"]);
}
