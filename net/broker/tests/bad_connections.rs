//! Connections that send what no client should, or nothing: each is refused or left alone, and the others are served.

mod support;

use sluice_broker::{BrokerConfig, start};
use sluice_model::ErrorCode;
use sluice_model::limits::{MESSAGE_BODY_LEN_MAX, MESSAGE_LEN_MAX};
use sluice_protocol::{MetadataRequest, PREFIX_LEN, Prefix, ProduceRequest};
use std::net::SocketAddr;
use support::raw_client::{code, fetch_request, hello_request, produce_request};
use support::{FrameSpec, RawClient, broker, config, temp_dir};

fn prefix(api: u16, version: u16, body_len: usize) -> [u8; PREFIX_LEN] {
    Prefix { api, version, correlation_id: 42, body_len, frames_len: 0 }.to_bytes()
}

/// The refusal that answers `bytes`, sent as the first of a connection or after Hello; the connection is closed then.
fn refused(address: SocketAddr, after_hello: bool, bytes: &[u8]) -> (ErrorCode, u32) {
    let mut client = if after_hello { RawClient::connect(address) } else { RawClient::silent(address) };
    client.send_bytes(bytes).expect("sent");
    let answered = client.receive().expect("an answer");
    let refusal = answered.refusal();
    assert!(!refusal.text.is_empty());
    client.expect_close();
    (code(refusal.error), answered.prefix.correlation_id)
}

#[test]
fn garbage_is_answered_and_closed_and_does_no_harm() {
    let (_dir, broker, mut client) = broker();
    let address = broker.local_addrs()[0];
    let topic = client.create_topic("t", 1);
    let malformed = (ErrorCode::MalformedRequest, 42);
    let too_large = ErrorCode::RequestTooLarge;

    assert_eq!(refused(address, false, b"GET / HTTP/1.1\r\nHost: sluice\r\n\r\n").0, too_large);
    assert_eq!(refused(address, false, &[0xff; 64]).0, too_large);
    assert_eq!(refused(address, false, &[0; 64]).0, ErrorCode::MalformedRequest);
    assert_eq!(refused(address, false, &prefix(1, 0, 0)), malformed, "Hello comes first");
    assert_eq!(refused(address, false, &[&prefix(0, 0, 64)[..], &[0xaa; 64]].concat()), malformed, "not a Hello");
    assert_eq!(refused(address, true, &[&prefix(2, 0, 64)[..], &[0xaa; 64]].concat()), malformed, "not a produce");
    assert_eq!(refused(address, true, &[&prefix(3, 0, 0)[..], &[]].concat()), malformed, "no fetch");

    let mut long = prefix(2, 0, 0);
    long[0..4].copy_from_slice(&(MESSAGE_LEN_MAX as u32).to_le_bytes());
    assert_eq!(refused(address, true, &long), (too_large, 42));
    let mut long_body = prefix(2, 0, 0);
    long_body[0..4].copy_from_slice(&(MESSAGE_BODY_LEN_MAX as u32 + 100).to_le_bytes());
    long_body[12..16].copy_from_slice(&(MESSAGE_BODY_LEN_MAX as u32 + 1).to_le_bytes());
    assert_eq!(refused(address, true, &long_body), (too_large, 42));
    let mut short = prefix(2, 0, 0);
    short[12..16].copy_from_slice(&100u32.to_le_bytes());
    assert_eq!(refused(address, true, &short), malformed);

    let mut liar = RawClient::connect(address);
    let request = ProduceRequest { partitions: produce_request(topic, 0, 1000).partitions, acks: 2 };
    assert_eq!(code(liar.ask(&request, &[0; 10]).refusal().error), ErrorCode::MalformedRequest, "frames of another length");
    let mut liar = RawClient::connect(address);
    assert_eq!(code(liar.ask(&ProduceRequest { acks: 9, ..request }, &[0; 1000]).refusal().error), ErrorCode::MalformedRequest);
    let mut liar = RawClient::connect(address);
    let all = MetadataRequest { topics: None, after: None };
    assert_eq!(code(liar.ask(&all, &[0; 10]).refusal().error), ErrorCode::MalformedRequest, "frames where none belong");

    assert_eq!(client.produce(&FrameSpec::new(topic, &[b"v"])).base_offset, 0, "the others are served");
    broker.shutdown().expect("a clean stop");
}

#[test]
fn an_unknown_api_or_version_is_refused_and_the_connection_kept() {
    let (_dir, broker, mut client) = broker();
    for (bytes, expected) in [
        (prefix(777, 0, 0), ErrorCode::UnsupportedApi),
        (prefix(u16::MAX, 0, 0), ErrorCode::UnsupportedApi),
        (prefix(2, 99, 0), ErrorCode::UnsupportedVersion),
    ] {
        client.send_bytes(&bytes).expect("sent");
        let answered = client.receive().expect("an answer");
        assert_eq!((code(answered.refusal().error), answered.prefix.correlation_id), (expected, 42));
    }
    client.create_topic("t", 1);
    broker.shutdown().expect("a clean stop");
}

#[test]
fn a_request_may_arrive_byte_by_byte_and_a_truncated_one_is_nothing() {
    let (_dir, broker, mut client) = broker();
    let address = broker.local_addrs()[0];
    let topic = client.create_topic("t", 1);
    let bytes = support::frames::frame(&FrameSpec::new(topic, &[b"slowly"]));
    let (_, request) = client.encode(&produce_request(topic, 0, bytes.len()), &bytes);
    for byte in &request {
        client.send_bytes(std::slice::from_ref(byte)).expect("sent");
    }
    let answer: sluice_protocol::ProduceAnswer = client.receive().expect("an answer").decode();
    assert_eq!((answer.partitions[0].error, answer.partitions[0].base_offset), (0, 0));
    for len in [1, 15, 16, 17, request.len() - 1] {
        let mut other = RawClient::connect(address);
        other.send_bytes(&request[..len]).expect("sent");
        other.stream.shutdown(std::net::Shutdown::Write).expect("shut down");
        other.expect_close();
    }
    assert_eq!(client.consume(topic, 0, 0).len(), 1);
    broker.shutdown().expect("a clean stop");
}

#[test]
fn a_request_that_stops_half_way_is_closed_and_its_bytes_given_back() {
    let (_dir, broker, mut client) = broker();
    let topic = client.create_topic("t", 1);
    let mut slow = RawClient::connect(broker.local_addrs()[0]);
    let (_, request) = slow.encode(&produce_request(topic, 0, 1 << 20), &vec![0; 1 << 20]);
    slow.send_bytes(&request[..request.len() / 2]).expect("sent");
    slow.expect_close();
    drop(client);
    let counters = broker.shutdown().expect("a clean stop");
    assert_eq!(counters[0].connections_overdue, 1);
}

#[test]
fn pipelined_requests_are_all_answered_however_many() {
    let (_dir, broker, mut client) = broker();
    let topic = client.create_topic("t", 1);
    let mut all = Vec::new();
    let count = 3000;
    for _ in 0..count {
        all.extend(client.encode(&fetch_request(topic, 0, 0), &[]).1);
    }
    let mut reader = client.second_handle();
    let writer = std::thread::spawn(move || client.send_bytes(&all));
    for _ in 0..count {
        let answer: sluice_protocol::FetchAnswer = reader.receive().expect("an answer").decode();
        assert_eq!(answer.partitions[0].error, 0);
    }
    writer.join().expect("joined").expect("sent");
    broker.shutdown().expect("a clean stop");
}

#[test]
fn one_connection_too_many_is_closed() {
    let dir = temp_dir();
    let broker = start(BrokerConfig { connections_max: 3, ..config(dir.path()) }).expect("the broker starts");
    let mut clients: Vec<RawClient> = (0..3).map(|_| RawClient::connect(broker.local_addrs()[0])).collect();
    RawClient::silent(broker.local_addrs()[0]).expect_close();
    clients[0].create_topic("t", 1);
    drop(clients);
    let counters = broker.shutdown().expect("a clean stop");
    assert_eq!(counters[0].connections_refused, 1);
}

#[test]
fn a_later_connection_of_a_session_ends_the_earlier() {
    let (_dir, broker, mut other) = broker();
    let address = broker.local_addrs()[0];
    other.create_topic("t", 1);
    let session = [5; 16];
    let mut first = RawClient::silent(address);
    assert_eq!(first.hello_in_session(session, 1).error, 0);
    let mut second = RawClient::silent(address);
    assert_eq!(second.hello_in_session(session, 2).error, 0);
    first.expect_close();
    let mut late = RawClient::silent(address);
    let refused = late.ask(&hello_request(session, 1), &[]).refusal();
    assert_eq!(code(refused.error), ErrorCode::InvalidArgument);
    late.expect_close();
    second.metadata("t");
    assert_eq!(second.hello_in_session(session, 3).error, 0, "the same connection may say Hello again");
    other.metadata("t");
    broker.shutdown().expect("a clean stop");
}

#[test]
fn a_consumer_that_does_not_read_its_answers_is_closed_and_the_others_are_served() {
    let dir = temp_dir();
    let broker = start(BrokerConfig { output_stall_ms_max: 300, ..config(dir.path()) }).expect("the broker starts");
    let mut client = RawClient::connect(broker.local_addrs()[0]);
    let topic = client.create_topic("t", 1);
    for _ in 0..8 {
        assert_eq!(client.produce(&FrameSpec::new(topic, &[&vec![7; 1 << 19]])).error, 0);
    }
    let mut deaf = RawClient::connect(broker.local_addrs()[0]);
    for _ in 0..200 {
        let (_, bytes) = deaf.encode(&fetch_request(topic, 0, 0), &[]);
        if deaf.send_bytes(&bytes).is_err() {
            break;
        }
    }
    assert_eq!(client.consume(topic, 0, 0).len(), 8);
    // Until the broker has given it up, what it sends is taken by the kernel.
    let (_, bytes) = deaf.encode(&fetch_request(topic, 0, 0), &[]);
    while deaf.send_bytes(&bytes).is_ok() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    drop(client);
    let counters = broker.shutdown().expect("a clean stop");
    assert_eq!(counters[0].connections_overdue, 1);
}
