//! A device that gives some bytes of a segment no more: what lies in them is damage, named and the same for everybody, and
//! the rest is served; with the bytes back, all of it.

use super::load::connect;
use super::preload::Preload;
use crate::common::{Broker, folder, free_port, run, sluice};
use sluice_client::{Producer, ProducerConfig, ProducerRecord};
use std::process::Command;

const RECORDS: u64 = 2000;
const SEGMENT: &str = "/00000000000000000000.log";

fn with(preload: &Preload) -> Command {
    let mut program = sluice();
    program.envs(preload.environment());
    program
}

/// Records of a thousand bytes in batches of a few, all acknowledged.
fn fill(address: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let config = ProducerConfig { batch_len_max: 16 * 1024, ..ProducerConfig::default() };
        let producer = Producer::new(connect(address).await, config).await.expect("the broker serves");
        for number in 0..RECORDS {
            let value = format!("{number:01000}");
            producer.send(ProducerRecord::new("t", value.as_bytes())).await.expect("it is taken");
        }
        producer.close().await;
    });
}

/// The offsets that a consumer gets which steps over what is damaged, and the status it ends with.
fn offsets(broker: &Broker) -> (Vec<u64>, Option<i32>, String) {
    let ended = run(&mut broker.command(&["consume", "t", "--until-end", "--skip-damaged", "--format", "{offset}"]));
    (ended.stdout.lines().map(|line| line.parse().expect("an offset")).collect(), ended.status, ended.stderr)
}

#[test]
fn bytes_that_cannot_be_read_are_damage_of_their_range_and_the_rest_is_served() {
    let (folder, address) = (folder(), format!("127.0.0.1:{}", free_port()));
    let preload = Preload::build(folder.path());
    let data_dir = folder.path().join("data");
    // The first pass of the scrubber comes after the restart.
    let start = |args: &[&str]| Broker::start_by(with(&preload), &data_dir, &address, args);
    let mut broker = start(&[]);
    broker.create_topic("t", 1);
    fill(&address);
    assert_eq!(broker.terminate(), Some(0));

    // From the disk, because a restart leaves nothing in memory.
    preload.fail_reads(SEGMENT, 400_000..400_001);
    let mut broker = start(&[]);
    let (given, status, said) = offsets(&broker);
    let lost = RECORDS - given.len() as u64;
    assert!(status == Some(6) && (1..60).contains(&lost), "{lost} records, status {status:?}: {said}");
    let from = (0..RECORDS).find(|offset| !given.contains(offset)).expect("one is missing");
    let kept: Vec<u64> = (0..from).chain(from + lost..RECORDS).collect();
    assert!(given == kept && said.contains(&format!("offsets {from} to {} are damaged", from + lost - 1)), "{said}");
    let described = run(&mut broker.command(&["broker", "describe"])).expect(6, &[]);
    assert!(described.stdout.contains(&from.to_string()), "{}", described.stdout);
    assert_eq!(offsets(&broker).0, kept, "and again");
    assert_eq!(broker.terminate(), Some(0));

    // It is remembered, and found by who looks.
    let verified = run(with(&preload).args(["log", "verify"]).arg(&data_dir)).expect(6, &[]);
    assert!(verified.stdout.contains("the device failed to read it"), "{}", verified.stdout);
    let mut broker = start(&[]);
    assert_eq!(offsets(&broker).0, kept, "after a restart");
    broker.kill();

    // The device gives it again: what was found before is refused until a pass of the scrubber proves it good.
    preload.shift_clock_ms(0);
    let verified = run(with(&preload).args(["log", "verify"]).arg(&data_dir)).expect(6, &[]);
    assert!(verified.stdout.contains("what was found before"), "{}", verified.stdout);
    let mut broker = start(&["--set", "scrub_interval_ms=100"]);
    let began = std::time::Instant::now();
    while offsets(&broker).1 != Some(0) {
        assert!(began.elapsed() < crate::common::PATIENCE, "what is good again is served again");
    }
    assert_eq!(offsets(&broker).0, (0..RECORDS).collect::<Vec<_>>());
    run(&mut broker.command(&["broker", "describe"])).expect(0, &[]);
    assert_eq!(broker.terminate(), Some(0));
    run(with(&preload).args(["log", "verify"]).arg(&data_dir)).expect(0, &[]);

    // The same of a journal: a finding with its file and position, and the rest is looked at.
    preload.fail_reads("/0000.journal", 8192..16_385);
    let verified = run(with(&preload).args(["log", "verify"]).arg(&data_dir)).expect(6, &["damage"]);
    let found: Vec<&str> = verified.stdout.lines().filter(|line| line.contains("the device failed to read it")).collect();
    assert!(matches!(found[..], [one] if one.contains("0000.journal at byte 8192: ")), "{}", verified.stdout);
    assert!(verified.stdout.contains(SEGMENT), "{}", verified.stdout);
    run(with(&preload).args(["log", "dump"]).arg(&data_dir)).expect(0, &[]);
}
