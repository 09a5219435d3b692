//! Topics that the metadata does not know, after an older copy of it was put back or it was lost; and deleted topics,
//! which never come back: with the real program, stopped and killed.

mod common;

use common::{Broker, Ended, folder, free_port, run, sluice};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

fn start(data_dir: &Path) -> Broker {
    let small = ["--set", "journal_file_len=9MiB", "--set", "journal_file_count=3"];
    Broker::start_at(data_dir, &format!("127.0.0.1:{}", free_port()), &small)
}

fn produce(broker: &Broker, topic: &str, lines: std::ops::Range<usize>) {
    let mut child = broker.command(&["produce", topic]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let text: String = lines.map(|n| format!("{n:06} {}\n", "x".repeat(200))).collect();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// The numbers of the lines that a topic holds, in ascending order.
fn consumed(broker: &Broker, topic: &str) -> Vec<usize> {
    let said = run(&mut broker.command(&["consume", topic, "--until-end"])).expect(0, &[]).stdout;
    let mut numbers: Vec<usize> = said.lines().map(|line| line[..6].parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

fn orphan(data_dir: &Path, args: &[&str]) -> Ended {
    run(sluice().arg("orphan").args(args).arg("--data-dir").arg(data_dir))
}

fn listed(data_dir: &Path) -> Value {
    serde_json::from_str(&orphan(data_dir, &["list", "--json"]).expect(0, &[]).stdout).unwrap()
}

fn records(listed: &Value) -> u64 {
    listed["orphans"].as_array().unwrap().iter().map(|row| row["records"].as_u64().unwrap()).sum()
}

fn topic_id(broker: &Broker, name: &str) -> String {
    let said = run(&mut broker.command(&["topic", "describe", name, "--json"])).expect(0, &[]).stdout;
    serde_json::from_str::<Value>(&said).unwrap()["topic_id"].as_str().unwrap().to_owned()
}

/// A folder with a topic `kept`, and a topic of three partitions and 3000 lines that its metadata, put back from an
/// older copy, does not know. Gives back that topic's id.
fn with_older_metadata(data_dir: &Path, kill: bool) -> String {
    let mut broker = start(data_dir);
    broker.create_topic("kept", 1);
    produce(&broker, "kept", 0..10);
    assert_eq!(broker.terminate(), Some(0));
    fs::copy(data_dir.join("metadata.redb"), data_dir.join("copy")).unwrap();
    // Two more starts, so that the copy is behind by epochs, too.
    assert_eq!(start(data_dir).terminate(), Some(0));
    let mut broker = start(data_dir);
    broker.create_topic("lost", 3);
    produce(&broker, "lost", 0..3000);
    produce(&broker, "kept", 10..20);
    let id = topic_id(&broker, "lost");
    if kill {
        broker.kill();
    } else {
        assert_eq!(broker.terminate(), Some(0));
    }
    fs::rename(data_dir.join("copy"), data_dir.join("metadata.redb")).unwrap();
    id
}

#[test]
fn an_older_copy_of_the_metadata_orphans_a_topic_until_it_is_adopted() {
    for kill in [false, true] {
        let folder = folder();
        let dir = folder.path();
        let id = with_older_metadata(dir, kill);
        assert_eq!(records(&listed(dir)), 3000, "before a start");
        let mut broker = start(dir);
        assert!(broker.said.contains("the metadata is older than the data"), "{}", broker.said);
        let warnings = broker.said.lines().filter(|line| line.contains(&id) && line.contains("kept and not served"));
        assert_eq!(warnings.count(), 1, "{}", broker.said);
        orphan(dir, &["list"]).expect(75, &["a broker is using"]);
        orphan(dir, &["adopt", &id, "--name", "back"]).expect(75, &["stop the broker"]);
        assert_eq!(consumed(&broker, "kept"), (0..20).collect::<Vec<_>>());
        produce(&broker, "kept", 20..30);
        assert!(!run(&mut broker.command(&["topic", "list"])).expect(0, &[]).stdout.contains(&id));
        broker.kill();
        assert_eq!(start(dir).terminate(), Some(0));
        let list = listed(dir);
        assert_eq!((records(&list), list["orphans"].as_array().unwrap().len()), (3000, 3));
        assert!(list["orphans"].as_array().unwrap().iter().all(|row| row["state"] == "orphan" && row["shard"] == 0), "{list}");
        let dated = |row: &Value| row["newest_append"].is_string() == (row["records"] != 0) && row["topic_id"] == *id;
        assert!(list["orphans"].as_array().unwrap().iter().all(dated), "{list}");
        assert!(orphan(dir, &["list"]).expect(0, &[]).stdout.contains(&id));

        orphan(dir, &["adopt", &"0".repeat(32), "--name", "back"]).expect(4, &["holds no partition of a topic", "orphan list"]);
        orphan(dir, &["adopt", &id, "--name", "kept"]).expect(4, &["\"kept\" exists already"]);
        orphan(dir, &["adopt", &id]).expect(2, &["--name"]);
        orphan(dir, &["adopt", "xyz", "--name", "back"]).expect(2, &["is no topic id"]);
        orphan(dir, &["adopt", &id, "--name", "back"]).expect(0, &["adopted 3 partition(s) with 3000 records"]);
        orphan(dir, &["adopt", &id, "--name", "again"]).expect(4, &["is known, as back"]);
        assert_eq!(records(&listed(dir)), 0);

        let mut broker = start(dir);
        assert!(!broker.said.contains(&id), "{}", broker.said);
        assert_eq!(consumed(&broker, "back"), (0..3000).collect::<Vec<_>>());
        produce(&broker, "back", 3000..3100);
        broker.kill();
        let broker = start(dir);
        assert_eq!(consumed(&broker, "back"), (0..3100).collect::<Vec<_>>());
        assert_eq!(consumed(&broker, "kept"), (0..30).collect::<Vec<_>>());
    }
}

#[test]
fn a_removed_orphan_is_gone_after_the_next_start() {
    let folder = folder();
    let dir = folder.path();
    let id = with_older_metadata(dir, true);
    // What recovery set aside is shown and can go by itself.
    let aside = dir.join("set-aside/3").join(&id).join("0/00000000000000000007.log");
    fs::create_dir_all(aside.parent().unwrap()).unwrap();
    fs::write(&aside, "a segment").unwrap();
    let list = listed(dir);
    assert_eq!((&list["set_aside"][0]["bytes"], &list["set_aside"][0]["base_offset"]), (&9.into(), &7.into()), "{list}");
    orphan(dir, &["remove", &id, "--set-aside", "--yes"]).expect(0, &["removed 1 file(s)"]);
    assert!(!dir.join("set-aside").exists() && records(&listed(dir)) == 3000);
    orphan(dir, &["remove", &id, "--set-aside", "--yes"]).expect(4, &["was set aside"]);

    orphan(dir, &["remove", &"0".repeat(32), "--yes"]).expect(4, &["holds no partition"]);
    let shown = ["3 partition(s) with 3000 records", "gone for ever", "Type `yes`", "nothing was removed"];
    orphan(dir, &["remove", &id]).expect(1, &shown);
    assert_eq!(records(&listed(dir)), 3000);
    orphan(dir, &["remove", &id, "--yes"]).expect(0, &["3 partition(s) with 3000 records", "marked as deleted"]);
    assert!(listed(dir)["orphans"].as_array().unwrap().iter().all(|row| row["state"] == "deleted"));
    orphan(dir, &["adopt", &id, "--name", "back"]).expect(4, &["was deleted"]);

    let mut broker = start(dir);
    assert!(!broker.said.contains("not served") && !dir.join("partitions").join(&id).exists(), "{}", broker.said);
    assert_eq!(consumed(&broker, "kept"), (0..20).collect::<Vec<_>>());
    broker.kill();
    assert_eq!(listed(dir)["tombstones"][0]["topic_id"], *id, "the journals hold nothing of a later start yet");
    let broker = start(dir);
    assert!(!broker.said.contains("not served") && !dir.join("partitions").join(&id).exists(), "{}", broker.said);
}

/// The tombstone goes once the ring holds what a later start wrote, and the topic stays away without it.
fn gone_for_good(dir: &Path, id: &str) {
    for (start_number, tombstone) in [(1, true), (2, true), (3, false)] {
        let list = listed(dir);
        assert_eq!(list["orphans"], Value::Array(Vec::new()), "start {start_number}");
        let tombstones = list["tombstones"].as_array().unwrap();
        assert!(tombstone || tombstones.is_empty(), "start {start_number}: {list}");
        let mut broker = start(dir);
        assert!(!broker.said.contains("not served"), "{}", broker.said);
        assert!(!dir.join("partitions").join(id).exists());
        produce(&broker, "kept", 100..101);
        broker.kill();
    }
}

#[test]
fn a_deleted_topic_stays_away_after_a_kill() {
    let folder = folder();
    let dir = folder.path();
    let mut broker = start(dir);
    broker.create_topic("kept", 1);
    broker.create_topic("gone", 2);
    let id = topic_id(&broker, "gone");
    produce(&broker, "gone", 0..500);
    produce(&broker, "kept", 0..10);
    run(&mut broker.command(&["topic", "delete", "gone"])).expect(0, &[]);
    produce(&broker, "kept", 10..20);
    broker.kill();
    let list = listed(dir);
    assert_eq!(list["tombstones"][0]["topic_id"], *id, "the journal names it, so it is remembered: {list}");
    let mut broker = start(dir);
    assert!(!dir.join("partitions").join(&id).exists());
    assert_eq!(consumed(&broker, "kept"), (0..20).collect::<Vec<_>>());
    broker.create_topic("gone", 1);
    assert_eq!(consumed(&broker, "gone"), Vec::<usize>::new());
    broker.kill();
    gone_for_good(dir, &id);
}

#[test]
fn lost_metadata_begins_anew_only_when_asked_and_every_topic_can_be_adopted() {
    let folder = folder();
    let dir = folder.path();
    let id = with_older_metadata(dir, true);
    let kept = listed_topic(dir, &id);
    orphan(dir, &["new-metadata"]).expect(74, &["needs no new metadata"]);
    fs::remove_file(dir.join("metadata.redb")).unwrap();
    let refused = |lost: &str| {
        let mut command = sluice();
        command.args(["serve", "--shards", "1", "--listen", "127.0.0.1:0", "--data-dir"]).arg(dir);
        run(&mut command).expect(74, &[lost, "restore", "sluice orphan new-metadata"]);
    };
    refused("metadata.redb is missing");
    assert_eq!(records(&listed(dir)), 3020, "without metadata all are orphans");
    orphan(dir, &["adopt", &id, "--name", "lost"]).expect(79, &["metadata.redb is missing", "new-metadata"]);
    fs::remove_file(dir.join("meta.json")).unwrap();
    refused("meta.json is missing");
    orphan(dir, &["list"]).expect(74, &["meta.json", "new-metadata"]);
    orphan(dir, &["new-metadata"]).expect(0, &["new meta.json", "new metadata.redb"]);
    orphan(dir, &["adopt", &id, "--name", "lost"]).expect(0, &["3000 records"]);
    let mut broker = start(dir);
    assert!(broker.said.contains(&kept) && !broker.said.contains(&id), "{}", broker.said);
    assert_eq!(consumed(&broker, "lost"), (0..3000).collect::<Vec<_>>());
    // The ids of its producers are not given out again: what is sent now is no duplicate.
    produce(&broker, "lost", 3000..3100);
    assert_eq!(consumed(&broker, "lost"), (0..3100).collect::<Vec<_>>());
    assert_eq!(broker.terminate(), Some(0));
    orphan(dir, &["adopt", &kept, "--name", "kept"]).expect(0, &["20 records"]);
    let broker = start(dir);
    assert_eq!(consumed(&broker, "kept"), (0..20).collect::<Vec<_>>());
}

#[test]
fn a_known_topic_takes_back_the_partitions_that_older_metadata_lacks() {
    let folder = folder();
    let dir = folder.path();
    let mut broker = start(dir);
    broker.create_topic("t", 1);
    produce(&broker, "t", 0..10);
    let id = topic_id(&broker, "t");
    assert_eq!(broker.terminate(), Some(0));
    fs::copy(dir.join("metadata.redb"), dir.join("copy")).unwrap();
    let mut broker = start(dir);
    run(&mut broker.command(&["topic", "alter", "t", "--partitions", "3"])).expect(0, &[]);
    // Batches go to the partitions in turn, so each gets some.
    (1..10).for_each(|n| produce(&broker, "t", 10 * n..10 * (n + 1)));
    broker.kill();
    fs::rename(dir.join("copy"), dir.join("metadata.redb")).unwrap();
    let mut broker = start(dir);
    assert!(broker.said.contains(&id) && broker.said.contains("kept and not served"), "{}", broker.said);
    let alter = &mut broker.command(&["topic", "alter", "t", "--partitions", "3"]);
    run(alter).expect(4, &["holds records of", "sluice orphan list"]);
    assert_eq!(broker.terminate(), Some(0));
    let list = listed(dir);
    let orphans = list["orphans"].as_array().unwrap();
    assert!(!orphans.is_empty() && orphans.iter().all(|row| row["topic"] == "t" && row["partition"] != 0), "{list}");
    orphan(dir, &["remove", &id, "--yes"]).expect(4, &["belong to topic t", "adopt"]);
    orphan(dir, &["adopt", &id, "--name", "other"]).expect(4, &["is known as \"t\""]);
    orphan(dir, &["adopt", &id]).expect(0, &["as topic t"]);
    let broker = start(dir);
    assert_eq!(consumed(&broker, "t"), (0..100).collect::<Vec<_>>());
}

/// What only lost checkpoints named is in no journal either: it is there, and can be listed, adopted and removed.
#[test]
fn an_orphan_that_only_lost_checkpoints_named_is_adopted_or_removed() {
    for adopt in [true, false] {
        let folder = folder();
        let dir = folder.path();
        let id = with_older_metadata(dir, true);
        // Later starts write to the journal, so that it does not name the orphan any more.
        for n in 2..4 {
            let mut broker = start(dir);
            produce(&broker, "kept", 10 * n..10 * (n + 1));
            assert_eq!(broker.terminate(), Some(0));
        }
        assert_eq!(listed(dir)["orphans"][0]["state"], "orphan");
        for name in ["checkpoint-0", "checkpoint-1", "checkpoint-spare"] {
            fs::remove_file(dir.join("shard-0").join(name)).unwrap();
        }
        assert_eq!(records(&listed(dir)), 3000);
        orphan(dir, &["adopt", &id, "--name", "back"]).expect(4, &["has lost both checkpoints", "start and stop"]);
        let mut broker = start(dir);
        assert!(broker.said.contains("rebuilt from segments") && broker.said.contains(&id), "{}", broker.said);
        assert_eq!(consumed(&broker, "kept"), (0..40).collect::<Vec<_>>());
        assert_eq!(broker.terminate(), Some(0));
        let list = listed(dir);
        assert!(list["orphans"].as_array().unwrap().iter().all(|row| row["state"] == "no checkpoint"), "{list}");
        assert_eq!(records(&list), 3000);
        if adopt {
            let shown = ["with 3000 records as topic back", "named by no checkpoint", "possibly short", "accept-loss"];
            orphan(dir, &["adopt", &id, "--name", "back"]).expect(0, &shown);
            let mut broker = start(dir);
            assert_eq!(consumed(&broker, "back"), (0..3000).collect::<Vec<_>>());
            run(&mut broker.command(&["broker", "describe"])).expect(6, &["possibly short"]);
            produce(&broker, "back", 3000..3100);
            broker.kill();
            let mut broker = start(dir);
            assert_eq!(consumed(&broker, "back"), (0..3100).collect::<Vec<_>>());
            assert_eq!(broker.terminate(), Some(0));
            run(sluice().args(["log", "accept-loss", "--yes", "--data-dir"]).arg(dir)).expect(0, &[]);
            run(sluice().args(["log", "verify"]).arg(dir)).expect(0, &[]);
        } else {
            orphan(dir, &["remove", &id, "--yes"]).expect(0, &["with 3000 records", "marked as deleted"]);
            let broker = start(dir);
            assert!(!dir.join("partitions").join(&id).exists());
            assert_eq!(consumed(&broker, "kept"), (0..40).collect::<Vec<_>>());
        }
    }
}

/// A second view of a folder, which nothing may be written through; removed when dropped.
struct ReadOnly(std::path::PathBuf);

impl ReadOnly {
    fn of(dir: &Path, at: &Path) -> Result<Self, String> {
        fs::create_dir(at).map_err(|error| error.to_string())?;
        let mount = |args: &[&str]| {
            let said = std::process::Command::new("mount").args(args).arg(dir).arg(at).output();
            match said {
                Ok(said) if said.status.success() => Ok(()),
                Ok(said) => Err(String::from_utf8_lossy(&said.stderr).into_owned()),
                Err(error) => Err(error.to_string()),
            }
        };
        mount(&["--bind"])?;
        let mounted = Self(at.to_owned());
        mount(&["-o", "remount,bind,ro"])?;
        Ok(mounted)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _gone = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn orphans_are_listed_where_nothing_may_be_written() {
    let (folder, other) = (folder(), folder());
    let dir = folder.path();
    let id = with_older_metadata(dir, true);
    let read_only = match ReadOnly::of(dir, &other.path().join("view")) {
        Ok(read_only) => read_only,
        Err(why) => return eprintln!("NOT TESTED: a folder that nothing may be written to, because {why}"),
    };
    assert_eq!(records(&listed(&read_only.0)), 3000);
    run(sluice().args(["log", "verify"]).arg(&read_only.0)).expect(0, &[]);
    orphan(&read_only.0, &["adopt", &id, "--name", "back"]).expect(79, &["metadata.redb", "writable"]);
    orphan(&read_only.0, &["remove", &id, "--yes"]).expect(79, &["metadata.redb", "writable"]);
    run(sluice().args(["log", "repair", "--data-dir"]).arg(&read_only.0)).expect(1, &["cannot lock", "writable"]);
}

/// The id of the topic in the folder that is not `other`.
fn listed_topic(dir: &Path, other: &str) -> String {
    let names = fs::read_dir(dir.join("partitions")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.into_iter().find(|name| name != other).unwrap()
}

#[test]
fn what_is_no_data_folder_is_named() {
    let folder = folder();
    orphan(folder.path(), &["list"]).expect(74, &["is no data folder", "--data-dir"]);
    orphan(folder.path(), &["new-metadata"]).expect(74, &["holds no data"]);
    orphan(&folder.path().join("absent"), &["list"]).expect(1, &["absent"]);
}
