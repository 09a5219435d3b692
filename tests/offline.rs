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
