//! `sluice log` on a good folder and on damaged ones.

mod common;
#[path = "offline/lost_shard.rs"]
mod lost_shard;
#[path = "offline/places.rs"]
mod places;

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
    produce_by(broker, &["produce", "t"], count);
}

fn produce_by(broker: &Broker, args: &[&str], count: usize) {
    let mut child = broker.command(args).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
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
    accept_loss(folder.path(), &[]).expect(1, &["is no data folder of a broker", "--data-dir"]);
    accept_loss(Path::new("no/such/folder"), &[]).expect(1, &["no/such/folder", "--data-dir"]);
    // Neither readable as a lock nor missing.
    std::fs::create_dir(folder.path().join("lock")).unwrap();
    accept_loss(folder.path(), &["--yes"]).expect(1, &["cannot lock", "writable"]);
}

/// Each finding of `log verify --json`: file, position, problem.
fn findings(data_dir: &Path) -> Vec<(String, u64, String)> {
    let ended = verify(data_dir).expect(6, &["damage"]);
    let document: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let text = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let all = document["findings"].as_array().unwrap().iter();
    all.map(|one| (text(one, "file"), one["position"].as_u64().unwrap(), text(one, "problem"))).collect()
}

#[test]
fn the_segment_behind_a_damaged_or_missing_one_is_not_blamed() {
    let folder = folder();
    let mut broker = filled(folder.path());
    assert_eq!(broker.terminate(), Some(0));
    // In the middle, so that there is a segment on both sides.
    let victim = segments(folder.path()).into_iter().find(|path| !path.ends_with(format!("{:020}.log", 0))).unwrap();
    flip(&victim, 20_000);
    let found = findings(folder.path());
    assert!(
        matches!(&found[..], [(file, 4096, what)] if *file == victim.to_str().unwrap() && what.contains("(offsets ") && what.contains(" up to ")),
        "{found:?}"
    );
    std::fs::remove_file(&victim).unwrap();
    let found = findings(folder.path());
    assert!(
        matches!(&found[..], [(file, 0, what)] if *file == victim.to_str().unwrap() && what.contains("checkpoint names")),
        "{found:?}"
    );
    // The start remembers it, and once it is accepted there is nothing left to find.
    let mut broker = Broker::start(folder.path());
    assert_eq!(broker.terminate(), Some(0));
    accept_loss(folder.path(), &["--yes"]).expect(0, &[]);
    verify(folder.path()).expect(0, &[]);
}

/// A broker that is killed while its journal alone has the newest records, in several groups, and the groups of it that
/// a start needs and that have entries: file and position, in sequence.
fn killed_with_groups(data_dir: &Path) -> (String, Vec<(PathBuf, u64)>) {
    let args = ["--set", "checkpoint_interval_ms=10min", "--set", "write_back_interval_ms=1min"];
    let mut broker = Broker::start_at(data_dir, &format!("127.0.0.1:{}", common::free_port()), &args);
    run(&mut broker.command(&["topic", "create", "t", "--partitions", "1"])).expect(0, &[]);
    for _ in 0..3 {
        produce(&broker, 10);
    }
    // Names all of the other topic's groups durable, and proves nothing about its end.
    run(&mut broker.command(&["topic", "create", "after", "--partitions", "1"])).expect(0, &[]);
    produce_by(&broker, &["produce", "after"], 1);
    broker.kill();
    let dumped = run(sluice().args(["log", "dump"]).arg(data_dir)).expect(0, &[]).stdout;
    let field = |line: &str, key: &str| line.split(key).nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let groups = dumped.lines().filter(|line| line.starts_with("group ") && !line.contains("entry_count=0 "));
    let groups = groups.map(|line| {
        let file = field(line, "file=");
        (data_dir.join(&file[file.find("journal/").unwrap()..]), field(line, "position=").parse().unwrap())
    });
    (broker.address.clone(), groups.collect())
}

#[test]
fn a_damaged_journal_group_is_named_and_remembered_as_doubt_until_it_is_accepted() {
    let folder = folder();
    let (address, groups) = killed_with_groups(folder.path());
    assert!(groups.len() >= 4, "{groups:?}");
    let (file, position) = groups[1].clone();
    flip(&file, position + 1000);
    let found = findings(folder.path());
    let named =
        |what: &str, at: u64| found.iter().any(|one| one.0 == file.to_str().unwrap() && one.1 == at && one.2.contains(what));
    assert!(named("checksum of the group", position) && named("checksum of the frame's records", position + 64), "{found:?}");
    flip(&file, position + 1000);
    verify(folder.path()).expect(0, &[]);

    // The last group of the partition: one after it says that it was durable, and nothing says what was in it.
    let (file, position) = groups[groups.len() - 2].clone();
    flip(&file, position + 20);
    let found = findings(folder.path());
    assert!(found.iter().any(|one| one.0 == file.to_str().unwrap() && one.2.contains("sequence of the group")), "{found:?}");
    let consume = |broker: &Broker| run(&mut broker.command(&["consume", "t", "--until-end"]));
    let describe = |broker: &Broker| run(&mut broker.command(&["broker", "describe"]));
    let mut broker = Broker::start_at(folder.path(), &address, &[]);
    let kept = consume(&broker).expect(0, &[]).stdout.lines().count();
    assert!((20..30).contains(&kept), "{kept}");
    for _ in 0..2 {
        let warning = format!("partition 0 of t is possibly short: acknowledged records may be missing from offset {kept} on");
        assert_eq!(consume(&broker).expect(0, &[&warning, "sluice log accept-loss"]).stdout.lines().count(), kept);
        let described = describe(&broker).expect(6, &["1 partition(s) possibly short"]);
        assert!(described.stdout.contains("POSSIBLY SHORT"), "{}", described.stdout);
        broker = broker.crash_and_restart();
    }
    assert_eq!(broker.terminate(), Some(0));
    let accepted = accept_loss(folder.path(), &["--yes"]).expect(0, &[]);
    assert!(
        accepted.stdout.contains(&format!("topic t, partition 0: possibly short from offset {kept};")),
        "{}",
        accepted.stdout
    );
    let mut broker = Broker::start_at(folder.path(), &address, &[]);
    describe(&broker).expect(0, &[]);
    assert_eq!(consume(&broker).expect(0, &[]).stderr, "", "there is nothing to warn of any more");
    assert_eq!(broker.terminate(), Some(0));
}

#[test]
fn a_missing_journal_and_missing_checkpoints_are_found() {
    let folder = folder();
    let (_, groups) = killed_with_groups(folder.path());
    for slot in 0..2 {
        let path = folder.path().join(format!("shard-0/checkpoint-{slot}"));
        std::fs::rename(&path, path.with_extension("away")).unwrap();
    }
    let found = findings(folder.path());
    assert!(found.iter().any(|one| one.0.ends_with("shard-0/checkpoint-0") && one.2 == "checkpoint"), "{found:?}");
    for slot in 0..2 {
        let path = folder.path().join(format!("shard-0/checkpoint-{slot}"));
        std::fs::rename(path.with_extension("away"), &path).unwrap();
    }
    verify(folder.path()).expect(0, &[]);
    let dir = groups[0].0.parent().unwrap();
    for gone in [dir.join("0005.journal"), dir.to_owned(), folder.path().join("journal")] {
        let away = folder.path().parent().unwrap().join(format!("{}-away", folder.path().file_name().unwrap().to_str().unwrap()));
        std::fs::rename(&gone, &away).unwrap();
        let found = findings(folder.path());
        assert!(
            found.iter().any(|one| one.0 == dir.to_str().unwrap() && one.2.contains("journal that the checkpoint")),
            "{found:?}"
        );
        std::fs::rename(&away, &gone).unwrap();
    }
    let owner = folder.path().join("journal/owner");
    let ours = std::fs::read(&owner).unwrap();
    std::fs::write(&owner, "0".repeat(32)).unwrap();
    let found = findings(folder.path());
    assert!(found.iter().any(|one| one.0 == folder.path().join("journal").to_str().unwrap()), "{found:?}");
    std::fs::write(&owner, ours).unwrap();
    verify(folder.path()).expect(0, &[]);
}

#[test]
fn segments_of_a_topic_deleted_while_its_shard_was_idle_are_not_missing() {
    let folder = folder();
    let address = format!("127.0.0.1:{}", common::free_port());
    let mut broker = Broker::start_at(folder.path(), &address, &["--shards", "3"]);
    run(&mut broker.command(&["topic", "create", "t", "--partitions", "3"])).expect(0, &[]);
    produce_by(&broker, &["produce", "t", "--key-separator", " "], 300);
    assert_eq!(broker.terminate(), Some(0));
    assert_eq!(segments(folder.path()).len(), 3);
    let mut broker = Broker::start_at(folder.path(), &address, &["--shards", "1"]);
    run(&mut broker.command(&["topic", "delete", "t"])).expect(0, &[]);
    assert_eq!(broker.terminate(), Some(0));
    let mut broker = Broker::start_at(folder.path(), &address, &["--shards", "1"]);
    assert_eq!(broker.terminate(), Some(0));
    assert_eq!(segments(folder.path()), Vec::<PathBuf>::new());
    verify(folder.path()).expect(0, &[]);
}

/// Changes one byte of a file.
fn flip(path: &Path, at: u64) {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

fn accept_loss(data_dir: &Path, args: &[&str]) -> common::Ended {
    run(sluice().args(["log", "accept-loss", "--data-dir"]).arg(data_dir).args(args))
}

#[test]
fn a_loss_is_refused_until_it_is_accepted_and_stepped_over_from_then_on() {
    let folder = folder();
    let mut broker = filled(folder.path());
    let address = broker.address.clone();
    assert_eq!(broker.terminate(), Some(0));
    let nothing = accept_loss(folder.path(), &[]).expect(0, &[]);
    assert!(nothing.stdout.contains("nothing to accept"), "{}", nothing.stdout);
    flip(&segments(folder.path())[0], 300_000);

    let mut broker = Broker::start_at(folder.path(), &address, &[]);
    let consume = |broker: &Broker| run(&mut broker.command(&["consume", "t", "--until-end"]));
    consume(&broker).expect(6, &["are damaged", "not served"]);
    accept_loss(folder.path(), &["--yes"]).expect(75, &["a broker is using"]);
    assert_eq!(broker.terminate(), Some(0));

    // Remembered, and shown before anything is done about it.
    let shown = accept_loss(folder.path(), &[]).expect(2, &["no terminal", "--yes"]);
    assert!(shown.stdout.contains("topic t, partition") && shown.stdout.contains("are lost,"), "{}", shown.stdout);
    let mut broker = Broker::start_at(folder.path(), &address, &[]);
    consume(&broker).expect(6, &["are damaged"]);
    assert_eq!(broker.terminate(), Some(0));
    let accepted = accept_loss(folder.path(), &["--yes"]).expect(0, &[]);
    assert!(accepted.stdout.contains("accepted"), "{}", accepted.stdout);
    let lost: usize = accepted.stdout.split(" record(s)").next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!((1..1000).contains(&lost), "{lost} of 6000 records");

    let mut broker = Broker::start_at(folder.path(), &address, &[]);
    for _ in 0..2 {
        let consumed = consume(&broker).expect(0, &[]);
        assert_eq!(consumed.stderr, "", "there is nothing to say any more");
        assert_eq!(consumed.stdout.lines().count(), 6000 - lost);
        broker = broker.crash_and_restart();
    }
    assert_eq!(broker.terminate(), Some(0));
    let nothing = accept_loss(folder.path(), &["--yes"]).expect(0, &[]);
    assert!(nothing.stdout.contains("nothing to accept"), "{}", nothing.stdout);
}

#[test]
fn a_broker_without_checkpoints_is_rebuilt_and_one_without_a_journal_is_given_up_by_command() {
    let folder = folder();
    let mut broker = filled(folder.path());
    let address = broker.address.clone();
    broker.kill();
    for slot in 0..2 {
        std::fs::remove_file(folder.path().join(format!("shard-0/checkpoint-{slot}"))).unwrap();
    }
    let consume =
        |broker: &Broker| run(&mut broker.command(&["consume", "t", "--until-end"])).expect(0, &[]).stdout.lines().count();
    let mut broker = Broker::start_at(folder.path(), &address, &[]);
    assert_eq!(consume(&broker), 6000);
    assert_eq!(broker.terminate(), Some(0));

    std::fs::remove_file(folder.path().join("journal/shard-0/0001.journal")).unwrap();
    let serve = |args: &[&str]| {
        run(sluice().args(["serve", "--shards", "1", "--listen", &address, "--data-dir"]).arg(folder.path()).args(args))
    };
    serve(&[]).expect(71, &["0001.journal", "sluice log accept-loss"]);
    let accepted = accept_loss(folder.path(), &["--yes"]).expect(0, &[]);
    assert!(
        accepted.stdout.contains("the journal in") && accepted.stdout.contains("with the journal, records from offset"),
        "{}",
        accepted.stdout
    );
    let mut broker = Broker::start_at(folder.path(), &address, &[]);
    assert_eq!(consume(&broker), 6000, "a clean stop had left nothing in the journal alone");
    assert_eq!(broker.terminate(), Some(0));
}

#[test]
fn every_kind_of_damage_is_named_with_its_place() {
    let folder = folder();
    let mut broker = filled(folder.path());
    assert_eq!(broker.terminate(), Some(0));
    let sealed = segments(folder.path()).remove(0);
    let len = std::fs::metadata(&sealed).unwrap().len();
    for (path, at, what) in [
        (sealed.clone(), len - 4096 + 20, "segment trailer: checksum"),
        (sealed.clone(), len - 8192 + 20, "segment footer: checksum"),
    ] {
        flip(&path, at);
        let found = verify(folder.path()).expect(6, &[]);
        assert!(found.stdout.contains(what) && found.stdout.contains(path.to_str().unwrap()), "{}", found.stdout);
        flip(&path, at);
    }
    verify(folder.path()).expect(0, &[]);
    for slot in 0..2 {
        let path = folder.path().join(format!("shard-0/checkpoint-{slot}"));
        let mut block = std::fs::read(&path).unwrap();
        block[30] ^= 1;
        std::fs::write(&path, block).unwrap();
    }
    let found = verify(folder.path()).expect(6, &[]);
    assert!(found.stdout.contains("checkpoint-0") && found.stdout.contains("one good slot of the two"), "{}", found.stdout);
}
