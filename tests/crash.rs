//! A long produce through several `kill -9` of the broker: every acknowledged line is there exactly once, in order.
//!
//! `SLUICE_CRASH_TEST_MB` sets how much is produced (40 without it) and `SLUICE_CRASH_TEST_KILLS` how often the
//! broker is killed on the way (4). The two gigabytes of the acceptance run are
//! `SLUICE_CRASH_TEST_MB=2048 SLUICE_CRASH_TEST_KILLS=8 cargo test --release --test crash`.

mod common;

#[path = "crash/churn.rs"]
mod churn;
#[path = "crash/clocks.rs"]
mod clocks;
#[path = "crash/device.rs"]
mod device;
#[path = "crash/freeze.rs"]
mod freeze;
#[path = "crash/full_disk.rs"]
mod full_disk;
#[path = "crash/kills.rs"]
mod kills;
#[path = "crash/ledger.rs"]
mod ledger;
#[path = "crash/load.rs"]
mod load;
#[path = "crash/mount.rs"]
mod mount;
#[path = "crash/preload.rs"]
mod preload;
#[path = "crash/process.rs"]
mod process;
#[path = "crash/random.rs"]
mod random;
#[path = "crash/trim.rs"]
mod trim;
#[path = "crash/unreadable.rs"]
mod unreadable;

use common::{Broker, Watched, folder, run};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};

const LINE_LEN: u64 = 512;

pub(crate) fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is not a number")))
}

/// Every line says its number, and nothing in it repeats.
fn line(number: u64) -> String {
    let mut text = format!("{number:012} ");
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while text.len() as u64 + 1 < LINE_LEN {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(&format!("{state:016x}"));
    }
    text.truncate(usize::try_from(LINE_LEN).unwrap() - 1);
    text
}

#[test]
fn every_acknowledged_line_survives_kill_9_exactly_once_in_order() {
    let folder = folder();
    let data_dir = folder.path().join("data");
    let total_len = from_environment("SLUICE_CRASH_TEST_MB", 40) << 20;
    let kills = from_environment("SLUICE_CRASH_TEST_KILLS", 4);
    let line_count = total_len / LINE_LEN;

    let mut broker = Broker::start(&data_dir);
    broker.create_topic("t", 3);
    let acknowledged = folder.path().join("acknowledged");
    let mut produce = broker
        .command(&["produce", "t", "--acknowledged", acknowledged.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = BufWriter::with_capacity(1 << 20, produce.stdin.take().unwrap());
    for number in 1..=line_count {
        writeln!(stdin, "{}", line(number)).unwrap();
        // Killed while the producer has megabytes on the way, as it always has here.
        if number % (line_count / (kills + 1)).max(1) == 0 && number < line_count {
            broker = broker.crash_and_restart();
        }
    }
    stdin.flush().unwrap();
    drop(stdin);
    let said = wait_for(produce);
    assert!(said.contains(&format!("{line_count} acknowledged")), "{said}");

    let acknowledged = read_acknowledged(&acknowledged, line_count);
    broker = broker.crash_and_restart();
    check(&broker, &acknowledged);
    assert_eq!(broker.terminate(), Some(0));
    run(common::sluice().args(["log", "verify"]).arg(&data_dir)).expect(0, &[]);
}

fn wait_for(mut child: Child) -> String {
    let _watched = Watched::new(&child);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}: {said}");
    said
}

/// By line number: the partition and offset it was acknowledged at, when the broker still knew the offset.
fn read_acknowledged(path: &Path, line_count: u64) -> Vec<Option<(u32, Option<u64>)>> {
    let mut told = vec![None; usize::try_from(line_count).unwrap() + 1];
    for row in BufReader::new(File::open(path).unwrap()).lines() {
        let row = row.unwrap();
        let words: Vec<_> = row.split_whitespace().collect();
        let number: usize = words[0].parse().unwrap();
        assert!(told[number].is_none(), "line {number} was acknowledged twice");
        told[number] = Some((words[1].parse().unwrap(), words[2].parse().ok()));
    }
    told
}

fn check(broker: &Broker, acknowledged: &[Option<(u32, Option<u64>)>]) {
    let mut consume = broker
        .command(&["consume", "t", "--until-end", "--format", "{partition} {offset} {value}"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let _watched = Watched::new(&consume);
    let mut seen = vec![false; acknowledged.len()];
    let mut last = std::collections::BTreeMap::new();
    for row in BufReader::with_capacity(1 << 20, consume.stdout.take().unwrap()).lines() {
        let row = row.unwrap();
        let mut words = row.splitn(3, ' ');
        let (partition, offset): (u32, u64) = (words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap());
        let text = words.next().unwrap();
        let number: u64 = text[..12].parse().unwrap();
        assert_eq!(text, line(number), "a line was altered");
        let index = usize::try_from(number).unwrap();
        assert!(!std::mem::replace(&mut seen[index], true), "line {number} is there twice");
        let before = last.insert(partition, number);
        assert!(before.is_none_or(|before| before < number), "line {number} came after {before:?} in partition {partition}");
        if let Some((told_partition, told_offset)) = acknowledged[index] {
            assert_eq!(told_partition, partition, "line {number} is in another partition than was told");
            assert!(told_offset.is_none_or(|told| told == offset), "line {number} is at {offset}, {told_offset:?} was told");
        }
    }
    assert!(consume.wait().unwrap().success());
    for (number, told) in acknowledged.iter().enumerate() {
        assert!(told.is_none() || seen[number], "line {number} was acknowledged and is missing");
    }
}
