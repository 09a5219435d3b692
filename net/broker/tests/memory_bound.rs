//! Whatever is sent, the process stays within its budgets and 64 MiB more. One test, in a process of its own: it looks
//! at the highest memory the process ever had.

mod support;

use sluice_broker::start;
use sluice_model::ErrorCode;
use sluice_protocol::{Api, Refusal};
use std::io::Read;
use support::raw_client::{code, fetch_request, produce_request};
use support::{FrameSpec, RawClient, config, temp_dir};

const CONNECTIONS: usize = 1000;
const REQUEST_LEN: usize = 1 << 20;
const SLACK_LEN: u64 = 64 << 20;

/// The most memory this process ever had, bytes.
fn resident_len_max() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a proc file system");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") * 1024
}

#[test]
fn a_thousand_connections_of_each_kind_stay_within_the_budget() {
    let dir = temp_dir();
    let config = config(dir.path());
    let bound = config.memory_budget_len(1) as u64 + SLACK_LEN;
    let broker = start(config).expect("the broker starts");
    let address = broker.local_addrs()[0];
    let mut client = RawClient::connect(address);
    let topic = client.create_topic("t", 1);
    let served = |client: &mut RawClient, what: &str| {
        // Several turns of the data task, so that it has looked at every connection.
        (0..20).for_each(|_| assert_eq!(client.metadata("t").error, 0));
        let peak = resident_len_max();
        assert!(peak <= bound, "{what}: {} MiB of {} MiB", peak >> 20, bound >> 20);
    };

    let silent: Vec<RawClient> = (0..CONNECTIONS).map(|_| RawClient::silent(address)).collect();
    served(&mut client, "silent");
    drop(silent);

    let frame = vec![0; REQUEST_LEN];
    let mut nearly: Vec<RawClient> = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut one = RawClient::connect(address);
        let (_, request) = one.encode(&produce_request(topic, 0, frame.len()), &frame);
        // One that is too slow with the others may be closed by now; that is within its rights.
        let _closed = one.send_bytes(&request[..request.len() - 1]);
        nearly.push(one);
    }
    served(&mut client, "nearly complete");
    let refused = nearly.iter_mut().map(is_refused_for_want_of_room).filter(|refused| *refused).count();
    assert!(refused > CONNECTIONS / 2, "{refused} were refused for want of room");
    drop(nearly);

    let small: Vec<RawClient> = (0..CONNECTIONS).map(|_| nearly_small(address, topic)).collect();
    served(&mut client, "nearly complete, small");
    drop(small);

    assert_eq!(client.produce(&FrameSpec::new(topic, &[&vec![1; 1_000_000]])).error, 0);
    let deaf: Vec<RawClient> = (0..CONNECTIONS).map(|_| deaf(address, topic)).collect();
    served(&mut client, "deaf");
    drop(deaf);
    assert_eq!(client.consume(topic, 0, 0).len(), 1);
    broker.shutdown().expect("a clean stop");
}

fn nearly_small(address: std::net::SocketAddr, topic: [u8; 16]) -> RawClient {
    let mut one = RawClient::connect(address);
    let (_, request) = one.encode(&produce_request(topic, 0, 1000), &[0; 1000]);
    one.send_bytes(&request[..request.len() - 1]).expect("sent");
    one
}

/// Asks for a megabyte ten times and reads nothing.
fn deaf(address: std::net::SocketAddr, topic: [u8; 16]) -> RawClient {
    let mut one = RawClient::connect(address);
    for _ in 0..10 {
        one.send(&fetch_request(topic, 0, 0), &[]);
    }
    one
}

fn is_refused_for_want_of_room(client: &mut RawClient) -> bool {
    client.stream.set_nonblocking(true).expect("set");
    let mut head = [0; sluice_protocol::PREFIX_LEN];
    if client.stream.read_exact(&mut head).is_err() {
        return false;
    }
    let prefix = sluice_protocol::Prefix::parse(&head).expect("a good prefix");
    let mut body = vec![0; prefix.body_len];
    client.stream.read_exact(&mut body).expect("the whole answer");
    assert_eq!(prefix.api, Api::Refusal.number());
    let refusal: Refusal = sluice_protocol::decode(&body).expect("a good refusal");
    assert_eq!(code(refusal.error), ErrorCode::Overloaded);
    assert!(refusal.retry_after_ms > 0);
    true
}
