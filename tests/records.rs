//! Records in and out: lines produced are the lines consumed.

mod common;

use common::{Broker, PATIENCE, folder, read_all, run, terminate};
use std::io::Write;
use std::process::Stdio;
use std::time::Instant;

#[test]
fn lines_come_back_exactly() {
    let folder = folder();
    let broker = Broker::start(&folder.path().join("data"));
    broker.create_topic("one", 1);
    let file = folder.path().join("lines");
    let mut bytes: Vec<u8> = (0..20_000).flat_map(|n| format!("line {n} {}\n", "x".repeat(n % 300)).into_bytes()).collect();
    bytes.extend_from_slice(b"\n\xff\xfe not text\r\nthe last one ends without a newline");
    std::fs::write(&file, &bytes).unwrap();
    for compression in ["none", "lz4", "zstd", "snappy", "gzip"] {
        let produce = &mut broker.command(&["produce", "one", "--compression", compression, "--file"]);
        // The flag's value, then the rest.
        let mut produced = common::sluice();
        produced.args(produce.get_args().take(5)).arg(&file).args(["--broker", &broker.address]);
        run(&mut produced).expect(0, &["20003 acknowledged"]);
    }
    let output = common::output(&mut broker.command(&["consume", "one", "--until-end"]));
    assert!(output.status.success());
    bytes.push(b'\n');
    assert_eq!(output.stdout.len(), bytes.len() * 5);
    assert!(output.stdout.chunks(bytes.len()).all(|chunk| chunk == bytes), "a compression changes what comes back");
}

#[test]
fn keys_partitions_formats_and_places_to_begin() {
    let folder = folder();
    let broker = Broker::start(folder.path());
    broker.create_topic("keyed", 4);
    let mut child = broker
        .command(&["produce", "keyed", "--key-separator", ":"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for n in 0..1000 {
        writeln!(stdin, "key{}:{n}", n % 7).unwrap();
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());

    let consume =
        |args: &[&str]| run(&mut broker.command(&[&["consume", "keyed", "--until-end"], args].concat())).expect(0, &[]).stdout;
    let lines = consume(&["--format", "{partition} {key} {value}"]);
    let mut last = std::collections::BTreeMap::new();
    for line in lines.lines() {
        let mut words = line.split(' ');
        let (partition, key, value) =
            (words.next().unwrap(), words.next().unwrap(), words.next().unwrap().parse::<i32>().unwrap());
        let before = last.insert(key.to_owned(), (partition.to_owned(), value));
        assert!(before.is_none_or(|(p, v)| p == partition && v < value), "{line} is out of order or in another partition");
    }
    assert_eq!((lines.lines().count(), last.len()), (1000, 7));

    let (partition, _) = &last["key0"];
    let of_partition = consume(&["--partition", partition, "--format", "json"]);
    let records: Vec<serde_json::Value> = of_partition.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(records.iter().enumerate().all(|(i, record)| record["offset"] == i), "offsets are counted from 0");
    assert_eq!(consume(&["--partition", partition, "--from", "end"]), "");
    assert_eq!(consume(&["--partition", partition, "--from", "3"]).lines().count(), records.len() - 3);
    let time = records[3]["timestamp_ms"].as_i64().unwrap();
    assert!(consume(&["--from", &format!("@{time}")]).lines().count() <= 1000);
    assert_eq!(consume(&["--from", "@2100-01-01T00:00:00Z"]), "");

    run(&mut broker.command(&["consume", "keyed", "--until-end", "--partition", "9"])).expect(4, &["9"]);
    run(&mut broker.command(&["consume", "keyed", "--until-end", "--partition", "0", "--from", "999999"])).expect(4, &["999999"]);
    run(&mut broker.command(&["consume", "nothing", "--until-end"])).expect(4, &["UnknownTopic", "topic create"]);
}

#[test]
fn a_line_that_cannot_be_sent_is_named_by_its_number() {
    let folder = folder();
    let broker = Broker::start(&folder.path().join("data"));
    run(&mut broker.command(&["topic", "create", "small", "--partitions", "1", "--set", "frame_len_max=64KiB"])).expect(0, &[]);
    let file = folder.path().join("lines");
    std::fs::write(&file, format!("good\n{}\nnever read\n", "x".repeat(100_000))).unwrap();
    let file = file.to_str().unwrap();
    run(&mut broker.command(&["produce", "small", "--file", file])).expect(5, &["line 2", "frame_len_max", "1 acknowledged"]);
    std::fs::write(file, "a:b\nno separator here\n").unwrap();
    run(&mut broker.command(&["produce", "small", "--key-separator", ":", "--file", file])).expect(5, &["line 2", "\":\""]);
    run(&mut broker.command(&["produce", "small", "--file", "no/such/file"])).expect(1, &["no/such/file"]);
    run(&mut broker.command(&["produce", "nothing", "--file", file])).expect(4, &["UnknownTopic"]);
}

#[test]
fn a_consumer_follows_until_it_is_told_to_stop_and_a_closed_pipe_is_quiet() {
    let folder = folder();
    let broker = Broker::start(&folder.path().join("data"));
    broker.create_topic("t", 2);
    let mut follower = broker.command(&["consume", "t"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut child = broker.command(&["produce", "t"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a\nb\nc\n").unwrap();
    assert!(child.wait().unwrap().success());
    let mut stdout = std::io::BufReader::new(follower.stdout.take().unwrap());
    let mut seen: Vec<String> = (0..3)
        .map(|_| {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
            line
        })
        .collect();
    seen.sort();
    assert_eq!(seen, ["a\n", "b\n", "c\n"]);
    terminate(&follower);
    assert_eq!(follower.wait().unwrap().code(), Some(0));

    let mut piped = broker.command(&["consume", "t"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(piped.stdout.take());
    let began = Instant::now();
    let status = loop {
        if let Some(status) = piped.try_wait().unwrap() {
            break status;
        }
        assert!(began.elapsed() < PATIENCE, "a consumer whose reader has gone goes on");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    assert_eq!((status.code(), read_all(piped.stderr.take().unwrap())), (Some(0), String::new()));
}
