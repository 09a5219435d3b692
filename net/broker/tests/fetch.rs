//! Fetches: waiting, limits, reading from disk; and what else is asked about partitions.

mod support;

use sluice_model::ErrorCode;
use sluice_protocol::{
    AlterTopicRequest, DeleteRecordsRequest, DeleteTopicRequest, DescribePartitionsRequest, FetchPartition, InitProducerRequest,
    ListOffsetsPartition, ListOffsetsRequest, PartitionRef, TIMESTAMP_BEGINNING, TIMESTAMP_END,
};
use std::collections::BTreeSet;
use support::frames::{frame, values};
use support::raw_client::{code, fetch_request};
use support::{FrameSpec, RawClient, broker, config, temp_dir};

#[test]
fn a_fetch_waits_until_there_is_something() {
    let (_dir, broker, mut client) = broker();
    let topic = client.create_topic("t", 2);
    let mut waiting = RawClient::connect(broker.local_addrs()[0]);
    let mut request = fetch_request(topic, 0, 0);
    (request.wait_ms_max, request.len_min) = (60_000, 1);
    request.partitions.push(FetchPartition { partition: 1, ..request.partitions[0] });
    let id = waiting.send(&request, &[]);
    assert_eq!(client.produce(&FrameSpec { partition: 1, ..FrameSpec::new(topic, &[b"v"]) }).error, 0);
    let answered = waiting.receive().expect("an answer");
    assert_eq!((answered.prefix.correlation_id, values(&answered.frames)), (id, vec![(0, b"v".to_vec())]));
    let answer: sluice_protocol::FetchAnswer = answered.decode();
    assert_eq!((answer.partitions[0].frames_len, answer.partitions[1].high_watermark), (0, 1));
    broker.shutdown().expect("a clean stop");
}

#[test]
fn a_fetch_that_waits_in_vain_is_answered_empty_and_a_stop_does_not_wait_for_it() {
    let (_dir, broker, mut client) = broker();
    let topic = client.create_topic("t", 1);
    let mut request = fetch_request(topic, 0, 0);
    (request.wait_ms_max, request.len_min) = (30, 1);
    assert_eq!(client.call(&request).partitions[0].error, 0);
    request.wait_ms_max = 60_000;
    client.send(&request, &[]);
    // Answered requests of the same connection come after it was taken.
    let mut second = client.second_handle();
    second.send(&fetch_request(topic, 0, 0), &[]);
    second.receive().expect("the second request's answer");
    broker.shutdown().expect("a clean stop");
    assert_eq!(client.receive().expect("the parked one's").frames.len(), 0);
}

#[test]
fn an_answer_is_never_longer_than_asked_for() {
    let (_dir, broker, mut client) = broker();
    let topic = client.create_topic("t", 3);
    let value = vec![5; 1000];
    for partition in [0, 0, 0, 1, 1, 2] {
        assert_eq!(client.produce(&FrameSpec { partition, ..FrameSpec::new(topic, &[&value]) }).error, 0);
    }
    let frame_len = frame(&FrameSpec::new(topic, &[&value])).len();
    let mut seen = BTreeSet::new();
    for len_max in [0, 100, frame_len, 2 * frame_len, 3 * frame_len, 100 * frame_len] {
        let mut request = fetch_request(topic, 0, 0);
        request.len_max = len_max as u32;
        request.partitions.extend([1, 2].map(|partition| FetchPartition { partition, ..request.partitions[0] }));
        for _ in 0..3 {
            let answered = client.ask(&request, &[]);
            let total = answered.prefix.message_len();
            assert!(answered.frames.is_empty() || total <= len_max, "{total} bytes for {len_max}");
            let answer: sluice_protocol::FetchAnswer = answered.decode();
            if len_max < frame_len {
                assert!(answer.partitions.iter().all(|part| code(part.error) == ErrorCode::FetchTooSmall));
                assert_eq!(answer.partitions[0].needed_len as usize, frame_len);
            }
            if len_max == 2 * frame_len {
                seen.extend(answer.partitions.iter().filter(|part| part.frames_len > 0).map(|part| part.partition));
            }
        }
    }
    assert_eq!(seen, BTreeSet::from([0, 1, 2]), "each partition has its turn");
    let mut request = fetch_request(topic, 0, 0);
    request.partitions[0].len_max = 10;
    let answer = client.call(&request);
    assert_eq!(
        (code(answer.partitions[0].error), answer.partitions[0].needed_len as usize),
        (ErrorCode::FetchTooSmall, frame_len)
    );
    broker.shutdown().expect("a clean stop");
}

#[test]
fn what_is_no_longer_in_memory_is_read_from_disk() {
    let dir = temp_dir();
    let broker = sluice_broker::start(config(dir.path())).expect("the broker starts");
    let mut client = RawClient::connect(broker.local_addrs()[0]);
    let topic = client.create_topic_with("t", 1, &[("segment_len", "8MiB")]);
    let value = |n: u32| [&n.to_le_bytes()[..], &[n as u8; 100_000]].concat();
    let count = 600;
    for n in 0..count {
        loop {
            let produced = client.produce(&FrameSpec { timestamp_ms: i64::from(n), ..FrameSpec::new(topic, &[&value(n)]) });
            if code(produced.error) != ErrorCode::Overloaded {
                assert_eq!((produced.error, produced.base_offset), (0, u64::from(n)), "{}", produced.text);
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(u64::from(produced.retry_after_ms)));
        }
    }
    let read = client.consume(topic, 0, 0);
    assert_eq!(read.len(), count as usize);
    assert!(read.iter().enumerate().all(|(n, (offset, read))| *offset == n as u64 && *read == value(n as u32)));
    for timestamp_ms in [0, 1, 77, i64::from(count) - 1] {
        let entry = ListOffsetsPartition { topic_id: topic, partition: 0, timestamp_ms };
        let answer = client.call(&ListOffsetsRequest { partitions: vec![entry] });
        let listed = &answer.partitions[0];
        assert_eq!((listed.error, listed.offset, listed.timestamp_ms), (0, timestamp_ms as u64, timestamp_ms));
    }
    let counters = {
        drop(client);
        broker.shutdown().expect("a clean stop")
    };
    assert!(counters[0].disk_reads > 0);
}

#[test]
fn offsets_are_listed_and_records_deleted() {
    let (_dir, broker, mut client) = broker();
    let topic = client.create_topic("t", 1);
    for n in 0..10 {
        client.produce(&FrameSpec { timestamp_ms: 100 * n, ..FrameSpec::new(topic, &[b"v"]) });
    }
    let list = |client: &mut RawClient, timestamp_ms| {
        let entry = ListOffsetsPartition { topic_id: topic, partition: 0, timestamp_ms };
        let answer = client.call(&ListOffsetsRequest { partitions: vec![entry] });
        (answer.partitions[0].offset, answer.partitions[0].timestamp_ms)
    };
    assert_eq!(list(&mut client, TIMESTAMP_BEGINNING), (0, -1));
    assert_eq!(list(&mut client, TIMESTAMP_END), (10, -1));
    assert_eq!(list(&mut client, 250), (3, 300));
    assert_eq!(list(&mut client, 901), (10, -1), "none so late");
    let delete = |client: &mut RawClient, offset| client.call(&DeleteRecordsRequest { topic_id: topic, partition: 0, offset });
    assert_eq!(delete(&mut client, 4).log_start_offset, 4);
    assert_eq!(code(delete(&mut client, 11).error), ErrorCode::OffsetOutOfRange);
    assert_eq!(list(&mut client, TIMESTAMP_BEGINNING), (4, -1));
    assert_eq!(code(client.call(&fetch_request(topic, 0, 3)).partitions[0].error), ErrorCode::OffsetOutOfRange);
    let described = client.call(&DescribePartitionsRequest { partitions: vec![PartitionRef { topic_id: topic, partition: 0 }] });
    let part = &described.partitions[0];
    assert_eq!((part.log_start_offset, part.high_watermark, part.log_end_offset), (4, 10, 10));
    assert_eq!(delete(&mut client, u64::MAX).log_start_offset, 10);
    broker.shutdown().expect("a clean stop");
}

#[test]
fn topics_are_altered_and_deleted() {
    let (dir, broker, mut client) = broker();
    let topic = client.create_topic("t", 1);
    client.produce(&FrameSpec::new(topic, &[b"v"]));
    let alter = |client: &mut RawClient, partitions, setting: (&str, &str)| {
        let settings = vec![(setting.0.to_owned(), setting.1.to_owned())];
        client.call(&AlterTopicRequest { name: "t".to_owned(), settings, partitions })
    };
    assert_eq!(alter(&mut client, Some(3), ("frame_len_max", "2048")).error, 0);
    assert_eq!(client.metadata("t").topics[0].partitions.len(), 3);
    assert_eq!(client.produce(&FrameSpec { partition: 2, ..FrameSpec::new(topic, &[b"v"]) }).error, 0);
    assert_eq!(code(client.produce(&FrameSpec::new(topic, &[&[0; 3000]])).error), ErrorCode::FrameTooLarge);
    assert_eq!(code(alter(&mut client, Some(2), ("frame_len_max", "2048")).error), ErrorCode::InvalidPartitionCount);
    let wrong = alter(&mut client, None, ("frame_len_mx", "2048"));
    assert_eq!(code(wrong.error), ErrorCode::InvalidSetting);
    assert!(wrong.text.contains("frame_len_max"), "{}", wrong.text);

    let topic_dirs = || std::fs::read_dir(dir.path().join("partitions")).map_or(0, Iterator::count);
    let spec = FrameSpec { partition: 1, ..FrameSpec::new(topic, &[&[0; 1900]]) };
    while topic_dirs() == 0 {
        assert_eq!(client.produce(&spec).error, 0, "until enough is gathered to be written to a segment");
    }
    let delete = |client: &mut RawClient| code(client.call(&DeleteTopicRequest { name: "t".to_owned() }).error);
    assert_eq!(delete(&mut client), ErrorCode::None);
    assert_eq!(topic_dirs(), 0, "its files are gone");
    assert_eq!(delete(&mut client), ErrorCode::UnknownTopic);
    assert_eq!(code(client.metadata("t").topics[0].error), ErrorCode::UnknownTopic);
    assert_eq!(code(client.produce(&FrameSpec::new(topic, &[b"v"])).error), ErrorCode::UnknownTopic);
    let again = client.create_topic("t", 1);
    assert_ne!(again, topic);
    assert_eq!(client.produce(&FrameSpec::new(again, &[b"v"])).base_offset, 0);
    broker.shutdown().expect("a clean stop");
}

#[test]
fn producer_ids_are_never_given_twice() {
    let dir = temp_dir();
    let mut seen = BTreeSet::new();
    for _ in 0..2 {
        let broker = support::start_in(dir.path());
        let mut client = RawClient::connect(broker.local_addrs()[0]);
        for _ in 0..1500 {
            let answer = client.call(&InitProducerRequest {});
            assert_eq!((answer.error, answer.epoch), (0, 0));
            assert!(seen.insert(answer.producer_id), "{} was given before", answer.producer_id);
        }
        drop(client);
        broker.shutdown().expect("a clean stop");
    }
}

#[test]
fn a_partition_elsewhere_is_refused_with_its_address() {
    let dir = temp_dir();
    let broker =
        sluice_broker::start(sluice_broker::BrokerConfig { shards: Some(2), ..config(dir.path()) }).expect("the broker starts");
    let mut clients: Vec<RawClient> = broker.local_addrs().iter().map(|address| RawClient::connect(*address)).collect();
    let topic = clients[1].create_topic("t", 2);
    let metadata = clients[0].metadata("t");
    for partition in &metadata.topics[0].partitions {
        let (right, wrong) = (usize::from(partition.shard), 1 - usize::from(partition.shard));
        let spec = FrameSpec { partition: partition.partition, ..FrameSpec::new(topic, &[b"v"]) };
        let refused = clients[wrong].produce(&spec);
        assert_eq!(code(refused.error), ErrorCode::NotLeader);
        let address = refused.address.expect("the right address");
        assert_eq!((usize::from(address.shard), address.port), (right, broker.local_addrs()[right].port()));
        assert_eq!(code(clients[wrong].fetch(topic, partition.partition, 0).0.partitions[0].error), ErrorCode::NotLeader);
        assert_eq!(clients[right].produce(&spec).error, 0);
    }
    drop(clients);
    broker.shutdown().expect("a clean stop");
}
