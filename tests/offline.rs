//! `sluice log` on a good folder and on damaged ones.

mod common;

use common::{Broker, folder, run, sluice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A folder with some megabytes of records in sealed and active segments.
fn filled(data_dir: &Path) -> Broker {
    let broker = Broker::start(data_dir);
    run(&mut broker.command(&["topic", "create", "t", "--partitions", "2", "--set", "segment_len=1MiB"])).expect(0, &[]);
    produce(&broker, 6000);
    broker
}

fn produce(broker: &Broker, count: usize) {
    let mut child = broker.command(&["produce", "t"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let text: String = (0..count).map(|n| format!("{n:08} {}\n", "abcdefgh".repeat(125))).collect();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn verify(data_dir: &Path) -> common::Ended {
    run(sluice().args(["log", "verify", "--json"]).arg(data_dir))
}

fn segments(data_dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![data_dir.join("partitions")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

#[test]
fn good_folders_are_good_after_a_stop_and_after_a_crash() {
    let folder = folder();
    let mut broker = filled(folder.path());
    broker.kill();
    verify(folder.path()).expect(0, &[]);
    let mut broker = Broker::start_at(folder.path(), &broker.address.clone(), &[]);
    produce(&broker, 100);
    assert_eq!(broker.terminate(), Some(0));
    let verified = verify(folder.path()).expect(0, &[]);
    let document: serde_json::Value = serde_json::from_str(&verified.stdout).unwrap();
    assert_eq!(document["findings"], serde_json::json!([]));
    let records: u64 = document["files"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|file| file["kind"] == "segment")
        .map(|file| file["records"].as_u64().unwrap())
        .sum();
    assert_eq!(records, 6100);
    let dumped = run(sluice().args(["log", "dump", "--json"]).arg(folder.path())).expect(0, &[]);
    assert!(dumped.stdout.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    let one = segments(folder.path()).remove(0);
    let dumped = run(sluice().args(["log", "dump"]).arg(&one)).expect(0, &[]);
    assert!(dumped.stdout.contains("frame 0  partition="), "{}", dumped.stdout);
}

#[test]
fn a_flipped_bit_is_found_with_file_position_expected_and_actual() {
    let folder = folder();
    let mut broker = filled(folder.path());
    assert_eq!(broker.terminate(), Some(0));
    for (at, what) in [
        (20_000, "checksum of the frame's records"),
        (4096 + 20, "checksum of the frame's header"),
        (40, "segment header: checksum"),
    ] {
        let victim = segments(folder.path()).remove(0);
        let file = std::fs::File::options().read(true).write(true).open(&victim).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
        let found = verify(folder.path()).expect(6, &["damage"]);
        let document: serde_json::Value = serde_json::from_str(&found.stdout).unwrap();
        let finding = &document["findings"][0];
        assert_eq!(finding["file"], victim.to_str().unwrap());
        assert!(finding["problem"].as_str().unwrap().contains(what), "{finding}");
        assert!(finding["position"].as_u64().unwrap() <= at && finding["expected"] != finding["actual"], "{finding}");
        let text = run(sluice().args(["log", "verify"]).arg(folder.path())).expect(6, &[]);
        assert!(text.stdout.contains("DAMAGED") && text.stdout.contains("expected"), "{}", text.stdout);
        file.write_all_at(&byte, at).unwrap();
    }
    verify(folder.path()).expect(0, &[]);
}

#[test]
fn a_segment_cut_short_and_lost_checkpoints_are_found() {
    let folder = folder();
    let mut broker = filled(folder.path());
    assert_eq!(broker.terminate(), Some(0));
    let victim = segments(folder.path()).remove(0);
    let whole = std::fs::read(&victim).unwrap();
    std::fs::write(&victim, &whole[..whole.len() / 2]).unwrap();
    verify(folder.path()).expect(6, &[]);
    std::fs::write(&victim, &whole).unwrap();
    for slot in 0..2 {
        let slot = folder.path().join(format!("shard-0/checkpoint-{slot}"));
        let file = std::fs::File::options().write(true).open(&slot).unwrap();
        file.write_all_at(&[0xff; 16], 0).unwrap();
    }
    verify(folder.path()).expect(6, &[]);
}

#[test]
fn what_is_no_data_folder_is_named() {
    let folder = folder();
    run(sluice().args(["log", "verify"]).arg(folder.path())).expect(1, &["holds no segment", "--data-dir"]);
    run(sluice().args(["log", "dump", "no/such/folder"])).expect(1, &["no/such/folder"]);
}
