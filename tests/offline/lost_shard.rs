//! A shard that has lost both checkpoints and its journal, or part of it: refused, shown, accepted, served.

use super::{accept_loss, filled, produce_by, verify};
use crate::common::{Broker, folder, free_port, run, sluice};
use std::fs;
use std::path::Path;

fn remove_slots(dir: &Path) {
    (0..2).for_each(|slot| fs::remove_file(dir.join(format!("shard-0/checkpoint-{slot}"))).unwrap());
}

fn start_refused(dir: &Path, address: &str, status: i32, parts: &[&str]) {
    let mut serve = sluice();
    serve.args(["serve", "--shards", "1", "--listen", address, "--data-dir"]).arg(dir);
    run(&mut serve).expect(status, parts);
}

/// The offset from which on records of a partition may be lost, as it was shown.
fn shown_from(said: &str, partition: u32) -> u64 {
    let begin = format!("topic t, partition {partition}: with the journal, records from offset ");
    let line = said.lines().find_map(|line| line.strip_prefix(&begin)).unwrap_or_else(|| panic!("{said}"));
    line.split(' ').next().unwrap().parse().unwrap()
}

fn consumed(broker: &Broker) -> usize {
    run(&mut broker.command(&["consume", "t", "--until-end"])).expect(0, &[]).stdout.lines().count()
}

/// Shows, refuses without a terminal, accepts; then the broker serves what was shown to be left. What that start doubts,
/// because nothing that is left says where a partition ended, is accepted after it.
fn accepts(dir: &Path, address: &str) {
    verify(dir).expect(6, &["damage"]);
    let shown = accept_loss(dir, &[]).expect(2, &["no terminal"]).stdout;
    let left = shown_from(&shown, 0) + shown_from(&shown, 1);
    verify(dir).expect(6, &["damage"]);
    assert_eq!(accept_loss(dir, &["--yes"]).expect(0, &[]).stdout.lines().next(), shown.lines().next());
    let mut broker = Broker::start_at(dir, address, &[]);
    let count = consumed(&broker);
    assert!(count as u64 >= left && count <= 6001, "{count}, {shown}");
    assert_eq!(broker.terminate(), Some(0));
    accept_loss(dir, &["--yes"]).expect(0, &[]);
    let mut broker = Broker::start_at(dir, address, &[]);
    produce_by(&broker, &["produce", "t"], 100);
    broker.kill();
    let mut broker = Broker::start_at(dir, address, &[]);
    assert_eq!(consumed(&broker), count + 100);
    run(&mut broker.command(&["broker", "describe"])).expect(0, &[]);
    assert_eq!(broker.terminate(), Some(0));
    verify(dir).expect(0, &[]);
    assert!(accept_loss(dir, &["--yes"]).expect(0, &[]).stdout.contains("nothing to accept"));
}

#[test]
fn without_checkpoints_and_journal_the_segments_are_kept_by_command() {
    let folder = folder();
    let dir = folder.path();
    let mut broker = filled(dir);
    let address = broker.address.clone();
    assert_eq!(broker.terminate(), Some(0));
    remove_slots(dir);
    fs::remove_dir_all(dir.join("journal")).unwrap();
    start_refused(dir, &address, 74, &["the journal of this data folder is not in", "accept-loss"]);
    accepts(dir, &address);
}

#[test]
fn without_checkpoints_and_some_journal_files_what_is_left_counts() {
    let folder = folder();
    let dir = folder.path();
    let mut broker = filled(dir);
    produce_by(&broker, &["produce", "t"], 1);
    let address = broker.address.clone();
    broker.kill();
    remove_slots(dir);
    fs::remove_file(dir.join("journal/shard-0/0007.journal")).unwrap();
    let cut = fs::File::options().write(true).open(dir.join("journal/shard-0/0005.journal")).unwrap();
    cut.set_len(5_000_000).unwrap();
    start_refused(dir, &address, 71, &["missing or not whole", "accept-loss"]);
    accepts(dir, &address);
}

#[test]
fn a_shard_folder_that_is_gone_is_made_from_segments_even_after_a_start_that_refused() {
    let folder = folder();
    let dir = folder.path();
    let mut broker = filled(dir);
    let address = broker.address.clone();
    assert_eq!(broker.terminate(), Some(0));
    fs::remove_dir_all(dir.join("shard-0")).unwrap();
    fs::remove_dir_all(dir.join("journal/shard-0")).unwrap();
    start_refused(dir, &address, 71, &["has segments that no checkpoint and no journal names", "accept-loss"]);
    let shown = accept_loss(dir, &[]).expect(2, &[]).stdout;
    assert!(shown.contains("both checkpoints are lost, and the journal in"), "{shown}");
    assert!(!dir.join("shard-0").exists() && !dir.join("journal/shard-0").exists(), "a refused start leaves nothing behind");
    accepts(dir, &address);
}

#[test]
fn a_start_that_is_refused_with_another_number_of_shards_leaves_the_advised_one_as_it_was() {
    let folder = folder();
    let dir = folder.path();
    let mut broker = Broker::start_at(dir, &format!("127.0.0.1:{}", free_port()), &["--shards", "2"]);
    let address = broker.address.clone();
    broker.create_topic("t", 5);
    produce_by(&broker, &["produce", "t"], 500);
    broker.kill();
    (0..2).for_each(|slot| fs::remove_file(dir.join(format!("shard-1/checkpoint-{slot}"))).unwrap());
    // It would say what the shard held, and let all of it move.
    fs::remove_file(dir.join("shard-1/checkpoint-spare")).unwrap();
    for _ in 0..2 {
        start_refused(dir, &address, 71, &["shard 1 has lost both checkpoints", "as many shards as before"]);
    }
    let mut broker = Broker::start_at(dir, &address, &["--shards", "2"]);
    assert_eq!(consumed(&broker), 500);
    assert_eq!(broker.terminate(), Some(0));
    // Nothing is lost any more, so everything may move.
    let broker = Broker::start_at(dir, &address, &[]);
    assert_eq!(consumed(&broker), 500);
}

/// What a start refuses, nobody calls good.
#[test]
fn a_rotten_name_in_what_says_whose_folder_it_is_is_refused_by_all() {
    let folder = folder();
    let dir = folder.path();
    let mut broker = Broker::start(dir);
    let address = broker.address.clone();
    assert_eq!(broker.terminate(), Some(0));
    let text = fs::read_to_string(dir.join("meta.json")).unwrap();
    for field in ["format_version", "folder_id", "incarnation_number", "journal_dir"] {
        fs::write(dir.join("meta.json"), text.replace(field, &field.replace('o', "O"))).unwrap();
        verify(dir).expect(74, &["meta.json is damaged", field, "sluice orphan new-metadata"]);
        start_refused(dir, &address, 74, &["meta.json is damaged", "sluice orphan new-metadata"]);
    }
    fs::write(dir.join("meta.json"), text).unwrap();
    verify(dir).expect(0, &[]);
}
