//! Frames that a producer should not send: each is refused by name, and the partition is as it was.

mod support;

use sluice_model::ErrorCode;
use support::frames::{frame, parts};
use support::raw_client::{code, fetch_request, produce_request};
use support::{FrameSpec, RawClient, broker};

/// Position of a field in a frame header (design, section 5).
const MAGIC_AT: usize = 0;
const BODY_LEN_AT: usize = 12;
const BATCH_CRC_AT: usize = 56;
const LAST_OFFSET_DELTA_AT: usize = 68;
const RECORD_COUNT_AT: usize = 72;

fn changed(frame: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

fn refusal(client: &mut RawClient, topic: [u8; 16], frame: &[u8]) -> (ErrorCode, String) {
    let produced = client.produce_bytes(topic, 0, frame);
    (code(produced.error), produced.text)
}

#[test]
fn a_frame_that_is_none_is_refused_by_what_is_wrong_with_it() {
    let (_dir, broker, mut client) = broker();
    let topic = client.create_topic_with("t", 1, &[("frame_len_max", "4096")]);
    let good = frame(&FrameSpec::new(topic, &[b"value"]));
    let mut flipped = good.clone();
    *flipped.last_mut().expect("a body") ^= 1;
    let table: Vec<(&str, Vec<u8>, ErrorCode)> = vec![
        ("magic", changed(&good, MAGIC_AT, b"XXX"), ErrorCode::InvalidFrame),
        ("version", changed(&good, MAGIC_AT + 3, &[9]), ErrorCode::InvalidFrame),
        ("length too long", changed(&good, BODY_LEN_AT, &u32::MAX.to_le_bytes()), ErrorCode::FrameTooLarge),
        ("length past the end", changed(&good, BODY_LEN_AT, &1000u32.to_le_bytes()), ErrorCode::InvalidFrame),
        ("length too short", changed(&good, BODY_LEN_AT, &1u32.to_le_bytes()), ErrorCode::InvalidFrame),
        ("checksum", changed(&good, BATCH_CRC_AT, &[1, 2, 3, 4]), ErrorCode::CorruptFrame),
        ("a flipped bit", flipped, ErrorCode::CorruptFrame),
        ("no records", changed(&good, RECORD_COUNT_AT, &0u32.to_le_bytes()), ErrorCode::InvalidFrame),
        ("record count", changed(&good, LAST_OFFSET_DELTA_AT, &7u32.to_le_bytes()), ErrorCode::InvalidFrame),
        ("empty", Vec::new(), ErrorCode::InvalidFrame),
        ("half a header", good[..50].to_vec(), ErrorCode::InvalidFrame),
        ("a header alone", good[..100].to_vec(), ErrorCode::InvalidFrame),
        ("two frames", [good.clone(), good.clone()].concat(), ErrorCode::InvalidFrame),
        ("too large for the topic", frame(&FrameSpec::new(topic, &[&[0; 5000]])), ErrorCode::FrameTooLarge),
    ];
    for (what, bytes, expected) in table {
        let (found, text) = refusal(&mut client, topic, &bytes);
        assert_eq!(found, expected, "{what}: {text}");
        assert!(!text.is_empty(), "{what}");
    }
    assert_eq!(client.produce_bytes(topic, 0, &good).base_offset, 0, "nothing of the above was appended");
    broker.shutdown().expect("a clean stop");
}

#[test]
fn a_body_that_disagrees_with_its_header_is_refused_when_it_is_not_compressed() {
    let (_dir, broker, mut client) = broker();
    let topic = client.create_topic("t", 1);
    let (header, body) = parts(&FrameSpec::new(topic, &[b"a", b"b"]));
    let reseal = |record_count: u32, body: &[u8]| {
        let batch = sluice_model::ProducerBatch {
            topic_partition: header.topic_partition(),
            attributes: 0,
            producer_id: header.producer_id(),
            producer_epoch: header.producer_epoch(),
            base_sequence: header.base_sequence(),
            record_count,
            base_timestamp_ms: 1_000,
            max_timestamp_ms: 1_000,
        };
        [sluice_model::FrameHeader::new(batch, body).as_bytes().as_slice(), body].concat()
    };
    for (what, bytes) in [
        ("more records than there are", reseal(3, &body)),
        ("fewer records than there are", reseal(1, &body)),
        ("a body cut short", reseal(2, &body[..body.len() - 1])),
        ("a body with a tail", reseal(2, &[body.as_slice(), &[0]].concat())),
        ("no body", reseal(1, &[])),
        ("garbage", reseal(1, &[0xff; 64])),
    ] {
        let (found, text) = refusal(&mut client, topic, &bytes);
        assert_eq!(found, ErrorCode::InvalidRecords, "{what}: {text}");
    }
    assert_eq!(client.produce_bytes(topic, 0, &reseal(2, &body)).error, 0);
    broker.shutdown().expect("a clean stop");
}

#[test]
fn topic_partition_and_sequence_are_checked() {
    let (_dir, broker, mut client) = broker();
    let topic = client.create_topic("t", 2);
    let spec = FrameSpec::new(topic, &[b"v"]);
    let bytes = frame(&spec);
    let in_place = |client: &mut RawClient, topic, partition| code(client.produce_bytes(topic, partition, &bytes).error);
    assert_eq!(in_place(&mut client, [7; 16], 0), ErrorCode::UnknownTopic);
    assert_eq!(in_place(&mut client, topic, 2), ErrorCode::UnknownPartition);
    assert_eq!(in_place(&mut client, topic, 1), ErrorCode::InvalidFrame, "the frame names partition 0");
    let produce = |client: &mut RawClient, epoch, sequence| {
        let produced = client.produce(&spec.clone().sequenced(77, epoch, sequence));
        (code(produced.error), produced.base_offset)
    };
    assert_eq!(produce(&mut client, 0, 5).0, ErrorCode::UnknownProducer);
    assert_eq!(produce(&mut client, 0, 0), (ErrorCode::None, 0));
    assert_eq!(produce(&mut client, 0, 0), (ErrorCode::None, 0), "a retry is told where the first one is");
    assert_eq!(produce(&mut client, 0, 2).0, ErrorCode::OutOfOrderSequence);
    assert_eq!(produce(&mut client, 0, 1), (ErrorCode::None, 1));
    assert_eq!(produce(&mut client, 1, 0), (ErrorCode::None, 2), "a greater epoch begins anew");
    assert_eq!(produce(&mut client, 0, 2).0, ErrorCode::FencedProducerEpoch);
    assert_eq!(produce(&mut client, 0, -1).0, ErrorCode::InvalidFrame, "an id without a sequence");
    broker.shutdown().expect("a clean stop");
}

#[test]
fn an_offset_out_of_range_is_answered_with_the_range() {
    let (_dir, broker, mut client) = broker();
    let topic = client.create_topic("t", 1);
    client.produce(&FrameSpec::new(topic, &[b"a", b"b", b"c"]));
    let (answer, frames) = client.fetch(topic, 0, 99);
    let part = &answer.partitions[0];
    assert_eq!((code(part.error), part.log_start_offset, part.high_watermark), (ErrorCode::OffsetOutOfRange, 0, 3));
    assert!(frames.is_empty() && part.text.contains('3'), "{}", part.text);
    let mut request = fetch_request(topic, 0, 0);
    request.partitions[0].leader_epoch = 99;
    let answer = client.call(&request);
    assert_eq!(code(answer.partitions[0].error), ErrorCode::UnknownLeaderEpoch);
    let answer = client.call(&fetch_request([9; 16], 0, 0));
    assert_eq!(code(answer.partitions[0].error), ErrorCode::UnknownTopic);
    broker.shutdown().expect("a clean stop");
}

#[test]
fn one_bad_frame_of_a_request_does_not_harm_the_others() {
    let (_dir, broker, mut client) = broker();
    let topic = client.create_topic("t", 2);
    let good = [0, 1].map(|partition| frame(&FrameSpec { partition, ..FrameSpec::new(topic, &[b"v"]) }));
    let bad = changed(&good[0], BATCH_CRC_AT, &[9; 4]);
    let mut request = produce_request(topic, 0, good[0].len());
    request.partitions.push(sluice_protocol::ProducePartition { partition: 1, ..request.partitions[0] });
    request.partitions.push(request.partitions[0]);
    let answer: sluice_protocol::ProduceAnswer = client.ask(&request, &[bad, good[1].clone(), good[0].clone()].concat()).decode();
    let errors: Vec<ErrorCode> = answer.partitions.iter().map(|part| code(part.error)).collect();
    assert_eq!(errors, [ErrorCode::CorruptFrame, ErrorCode::None, ErrorCode::None]);
    assert_eq!(answer.partitions.iter().map(|part| part.partition).collect::<Vec<_>>(), [0, 1, 0]);
    broker.shutdown().expect("a clean stop");
}
