//! `sluice check` as a user runs it, on this very machine; what it finds of the machine depends on that, what it says of a folder
//! does not.

mod common;
#[allow(dead_code, reason = "full file systems are other tests'")]
#[path = "crash/mount.rs"]
mod mount;

use common::{Ended, folder, run, sluice};
use mount::{FileSystem, Mount};
use serde_json::Value;
use std::path::Path;

fn check(data_dir: &Path, flags: &[&str]) -> Ended {
    run(sluice().args(["check", "--data-dir"]).arg(data_dir).args(flags))
}

/// The findings of one check.
fn of<'a>(findings: &'a Value, id: &str) -> Vec<&'a Value> {
    let findings = findings["findings"].as_array().expect("an array");
    findings.iter().filter(|finding| finding["id"] == id).collect()
}

#[test]
fn it_says_what_is_wrong_first_and_what_is_fine_last() {
    let folder = folder();
    let ended = check(folder.path(), &[]).expect(0, &[]);
    let verdict = ended.stdout.lines().next().unwrap_or_default();
    assert!(!verdict.contains("cannot run here") && verdict.contains(": 0 fatal, "), "{}", ended.stdout);
    let fine = ended.stdout.lines().find(|line| line.starts_with("fine: ")).expect("a line of what is fine");
    for id in ["io-uring", "data-folder", "file-system"] {
        assert!(fine.contains(id), "{fine}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a check writes nothing");
}

#[test]
fn json_has_every_finding_under_stable_keys() {
    let folder = folder();
    let ended = check(folder.path(), &["--json"]).expect(0, &[]);
    let found: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    for finding in found["findings"].as_array().expect("an array") {
        for key in ["id", "severity", "found", "wanted", "why"] {
            assert!(finding[key].is_string(), "{key} of {finding}");
        }
        let known = ["fatal", "warn", "unread", "note", "not-applicable", "fine"];
        assert!(known.contains(&finding["severity"].as_str().unwrap()), "{finding}");
        for fix in finding["fixes"].as_array().expect("an array") {
            assert!(fix["command"].is_string() && fix["undo"].is_string() && fix["is_applied_by_check"].is_boolean(), "{fix}");
        }
    }
    assert_eq!(found["changes"], Value::Array(vec![]));
    assert_eq!(of(&found, "data-folder")[0]["severity"], "fine");
    assert!(!of(&found, "scheduler").is_empty());
}

#[test]
fn a_folder_that_is_not_there_is_judged_by_what_will_hold_it() {
    let folder = folder();
    let missing = folder.path().join("not/yet");
    let ended = check(&missing, &["--json"]).expect(0, &[]);
    let found: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let of_folder = of(&found, "data-folder")[0];
    assert_eq!((of_folder["severity"].as_str(), of_folder["subject"].as_str()), (Some("note"), missing.to_str()));
    assert!(of_folder["found"].as_str().unwrap().contains(folder.path().to_str().unwrap()), "{of_folder}");
    assert!(!missing.exists(), "a check makes nothing");
}

#[test]
fn what_a_broker_refuses_is_fatal_with_a_status_of_its_own_and_the_same_text() {
    let shm = Path::new("/dev/shm");
    assert!(shm.is_dir(), "this test needs a tmpfs at {}", shm.display());
    let in_memory = tempfile::TempDir::new_in(shm).expect("a folder on tmpfs");
    let ended = check(in_memory.path(), &[]).expect(8, &["file-system"]);
    assert!(ended.stdout.starts_with("a broker cannot run here"), "{}", ended.stdout);
    let found = "lies on tmpfs, which keeps its content in memory";
    assert!(ended.stdout.contains(found), "{}", ended.stdout);
    run(sluice().args(["serve", "--data-dir"]).arg(in_memory.path())).expect(74, &[found]);

    let folder = folder();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    check(&file, &[]).expect(8, &["data-folder"]);
    // The journals' folder counts as well.
    check(folder.path(), &["--journal-dir", in_memory.path().to_str().unwrap()]).expect(8, &["file-system"]);
}

#[test]
fn settings_are_those_of_serve() {
    let folder = folder();
    let file = folder.path().join("sluice.toml");
    std::fs::write(&file, "shards = 1000\n").unwrap();
    let ended = check(folder.path(), &["--json", "--config", file.to_str().unwrap()]);
    let found: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let of_cores = of(&found, "core-count")[0];
    assert_eq!(of_cores["severity"], "warn");
    assert!(of_cores["found"].as_str().unwrap().contains("1000 shard(s)"), "{of_cores}");
    check(folder.path(), &["--shards", "0"]).expect(2, &["--shards"]);
}

#[test]
fn a_file_system_that_does_not_flush_is_fatal_and_refused_by_serve() {
    let Some(mount) = Mount::new(FileSystem::Ext4) else { return };
    let at = mount.path();
    let found: Value = serde_json::from_str(&check(&at, &["--json"]).expect(0, &[]).stdout).expect("JSON");
    let of_device = of(&found, "scheduler")[0];
    assert!(of_device["subject"].as_str().unwrap().contains("below loop"), "the device is that of the file: {of_device}");

    for (option, back) in [("nobarrier", "barrier=1"), ("ro", "rw")] {
        let remount = |option: &str| {
            let status = std::process::Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(&at).status();
            assert!(status.expect("mount exists").success(), "remount,{option}");
        };
        remount(option);
        let ended = check(&at, &[]).expect(8, &["mount-options"]);
        assert!(ended.stdout.contains(&format!("sudo mount -o remount,{back} {}", at.display())), "{}", ended.stdout);
        let data_dir = at.join("data");
        let address = format!("127.0.0.1:{}", common::free_port());
        run(sluice().args(["serve", "--listen", &address, "--data-dir"]).arg(&data_dir)).expect(74, &["is mounted", option]);
        assert!(!data_dir.exists(), "nothing is begun there");
        remount(back);
    }
}

#[test]
fn only_root_may_apply() {
    let folder = folder();
    // Root gives its right up first; others have none.
    let script = "if [ \"$(id -u)\" = 0 ]; then exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"; fi; exec \"$@\"";
    let mut wrapped = std::process::Command::new("sh");
    wrapped.args(["-c", script, "sh", env!("CARGO_BIN_EXE_sluice"), "check", "--apply", "--data-dir"]).arg(folder.path());
    let ended = run(&mut wrapped).expect(1, &["only root", "nothing was changed", "without --apply"]);
    assert_eq!(ended.stdout, "");
}
