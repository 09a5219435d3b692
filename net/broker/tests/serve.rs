//! A broker does what it is for: records in, acknowledged, out again, still there after a restart.

mod support;

use sluice_broker::{BrokerConfig, start};
use support::{FrameSpec, RawClient, broker, config, start_in, temp_dir};

#[test]
fn what_is_acknowledged_is_read_back() {
    let (_dir, broker, mut client) = broker();
    let topic = client.create_topic("t", 1);
    let produced = client.produce(&FrameSpec::new(topic, &[b"a", b"b"]));
    assert_eq!((produced.error, produced.base_offset, produced.durability), (0, 0, 2), "{}", produced.text);
    let produced = client.produce(&FrameSpec::new(topic, &[b"c"]));
    assert_eq!((produced.error, produced.base_offset), (0, 2));
    let expected = [(0, b"a".to_vec()), (1, b"b".to_vec()), (2, b"c".to_vec())];
    assert_eq!(client.consume(topic, 0, 0), expected);
    assert_eq!(client.consume(topic, 0, 1), expected[1..]);
    broker.shutdown().expect("a clean stop");
}

#[test]
fn a_restart_keeps_everything_and_has_nothing_to_replay_after_a_clean_stop() {
    let dir = temp_dir();
    let first = start_in(dir.path());
    let mut client = RawClient::connect(first.local_addrs()[0]);
    let topic = client.create_topic("t", 3);
    for partition in 0..3 {
        for value in 0..10u8 {
            let spec = FrameSpec { partition, ..FrameSpec::new(topic, &[&[value]]) };
            assert_eq!(client.produce(&spec).error, 0);
        }
    }
    drop(client);
    first.shutdown().expect("a clean stop");
    let second = start_in(dir.path());
    assert_eq!(second.report()[0].entries_replayed, 0, "{}", second.report()[0]);
    let mut client = RawClient::connect(second.local_addrs()[0]);
    for partition in 0..3 {
        let values: Vec<u8> = client.consume(topic, partition, 0).into_iter().map(|(_, value)| value[0]).collect();
        assert_eq!(values, (0..10).collect::<Vec<u8>>());
    }
    assert_eq!(client.produce(&FrameSpec::new(topic, &[b"more"])).base_offset, 10);
    second.shutdown().expect("a clean stop");
}

#[test]
fn a_changed_number_of_shards_keeps_everything() {
    let dir = temp_dir();
    let mut topic = [0; 16];
    let mut expected = 0..0u64;
    for (round, shards) in [1, 3, 2, 1].into_iter().enumerate() {
        let broker = start(BrokerConfig { shards: Some(shards), ..config(dir.path()) }).expect("the broker starts");
        let mut clients: Vec<RawClient> = broker.local_addrs().iter().map(|address| RawClient::connect(*address)).collect();
        if round == 0 {
            topic = clients[0].create_topic("t", 6);
        }
        let metadata = clients[0].metadata("t");
        assert_eq!(metadata.shards.len(), shards);
        for partition in &metadata.topics[0].partitions {
            let client = &mut clients[usize::from(partition.shard)];
            let read = client.consume(topic, partition.partition, 0);
            let offsets: Vec<u64> = read.iter().map(|(offset, _)| *offset).collect();
            assert_eq!(offsets, expected.clone().collect::<Vec<_>>(), "partition {} with {shards} shards", partition.partition);
            let spec = FrameSpec { partition: partition.partition, ..FrameSpec::new(topic, &[&[round as u8]]) };
            let produced = client.produce(&spec);
            assert_eq!((produced.error, produced.base_offset), (0, expected.end), "{}", produced.text);
        }
        expected.end += 1;
        drop(clients);
        broker.shutdown().expect("a clean stop");
    }
}

#[test]
fn the_journal_may_lie_elsewhere_and_is_not_begun_anew_when_it_is_missing() {
    let (dir, journal) = (temp_dir(), temp_dir());
    let elsewhere = || BrokerConfig { journal_dir: Some(journal.path().join("j")), ..config(dir.path()) };
    let first = start(elsewhere()).expect("the broker starts");
    let mut client = RawClient::connect(first.local_addrs()[0]);
    let topic = client.create_topic("t", 1);
    assert_eq!(client.produce(&FrameSpec::new(topic, &[b"v"])).error, 0);
    drop(client);
    first.shutdown().expect("a clean stop");
    assert!(!dir.path().join("journal").exists());
    let error = start(config(dir.path())).err().expect("the journal is elsewhere").to_string();
    assert!(error.contains("it was last in"), "{error}");
    let second = start(elsewhere()).expect("the broker starts");
    assert_eq!(RawClient::connect(second.local_addrs()[0]).consume(topic, 0, 0), [(0, b"v".to_vec())]);
    second.shutdown().expect("a clean stop");
}
