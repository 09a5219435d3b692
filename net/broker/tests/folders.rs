//! Data folders and addresses that cannot be used: each refused by name, nothing of it changed.

mod support;

use sluice_broker::{BrokerConfig, StartError, start};
use std::fs;
use std::path::Path;
use support::{FrameSpec, RawClient, config, start_in, temp_dir};

fn refusal(config: BrokerConfig) -> StartError {
    match start(config) {
        Ok(_) => panic!("the broker started"),
        Err(error) => error,
    }
}

fn used_folder() -> tempfile::TempDir {
    let dir = temp_dir();
    let broker = start_in(dir.path());
    let mut client = RawClient::connect(broker.local_addrs()[0]);
    let topic = client.create_topic("t", 1);
    assert_eq!(client.produce(&FrameSpec::new(topic, &[b"v"])).error, 0);
    drop(client);
    broker.shutdown().expect("a clean stop");
    dir
}

#[test]
fn a_second_broker_on_the_same_folder_is_refused_and_the_first_goes_on() {
    let dir = temp_dir();
    let first = start_in(dir.path());
    let error = refusal(config(dir.path()));
    assert!(matches!(error, StartError::FolderInUse { holder: Some(pid), .. } if pid == std::process::id()), "{error}");
    assert_eq!(error.fatal_reason().exit_status(), 75);
    RawClient::connect(first.local_addrs()[0]).create_topic("t", 1);
    first.shutdown().expect("a clean stop");
    start_in(dir.path()).shutdown().expect("free again");
}

#[test]
fn a_port_in_use_is_refused() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound");
    let dir = temp_dir();
    let error = refusal(BrokerConfig { listen: address, ..config(dir.path()) });
    assert!(error.to_string().contains(&address.to_string()) && error.to_string().contains("in use"), "{error}");
    assert_eq!(error.fatal_reason().exit_status(), 76);
    let first = start_in(dir.path());
    let other = temp_dir();
    let error = refusal(BrokerConfig { listen: first.local_addrs()[0], ..config(other.path()) });
    assert!(error.to_string().contains("in use"), "by another broker: {error}");
    first.shutdown().expect("a clean stop");
}

#[test]
fn a_folder_in_memory_is_refused() {
    let shm = Path::new("/dev/shm");
    let dir = tempfile::TempDir::new_in(shm).expect("a folder on a tmpfs at /dev/shm, which this test needs");
    let error = refusal(config(dir.path()));
    assert!(error.to_string().contains("memory"), "{error}");
    assert_eq!(error.fatal_reason().exit_status(), 74);
}

#[test]
fn metadata_that_is_missing_or_damaged_is_never_replaced() {
    let dir = used_folder();
    let metadata = dir.path().join("metadata.redb");
    let kept = fs::read(&metadata).expect("read");
    fs::remove_file(&metadata).expect("removed");
    let error = refusal(config(dir.path()));
    assert!(error.to_string().contains("metadata.redb is missing"), "{error}");
    assert!(!metadata.exists());
    for damage in [Vec::new(), vec![0; 4096], kept[..kept.len() / 2].to_vec()] {
        fs::write(&metadata, &damage).expect("written");
        let error = refusal(config(dir.path()));
        assert!(matches!(error.fatal_reason().exit_status(), 79), "{error}");
    }
    fs::write(&metadata, &kept).expect("written");
    let broker = start_in(dir.path());
    let mut client = RawClient::connect(broker.local_addrs()[0]);
    let topic = client.metadata("t").topics[0].topic_id;
    assert_eq!(client.consume(topic, 0, 0), [(0, b"v".to_vec())]);
    broker.shutdown().expect("a clean stop");
}

#[test]
fn one_checkpoint_gone_is_survived_and_both_are_rebuilt_and_said() {
    let dir = used_folder();
    let shard = dir.path().join("shard-0");
    let slots = ["checkpoint-0", "checkpoint-1"].map(|name| shard.join(name));
    let kept = fs::read(&slots[0]).expect("read");
    fs::write(&slots[0], vec![0; kept.len()]).expect("written");
    let broker = start_in(dir.path());
    assert!(!broker.report()[0].rebuilt, "the other one suffices");
    broker.shutdown().expect("stopped");
    for slot in &slots {
        fs::remove_file(slot).expect("removed");
    }
    let broker = start_in(dir.path());
    assert!(broker.report()[0].rebuilt && broker.report()[0].to_string().contains("rebuilt from segments and journal"));
    broker.shutdown().expect("stopped");
    for slot in &slots {
        assert!(fs::metadata(slot).expect("written anew").len() > 0);
    }
}

#[test]
fn a_newer_format_is_refused() {
    let dir = used_folder();
    let meta = dir.path().join("meta.json");
    let text = fs::read_to_string(&meta).expect("read").replace("\"format_version\": 1", "\"format_version\": 2");
    fs::write(&meta, text).expect("written");
    let error = refusal(config(dir.path()));
    assert!(matches!(error, StartError::NewerVersion { found: 2, .. }), "{error}");
}

#[test]
fn settings_out_of_bounds_are_named() {
    let dir = temp_dir();
    for (config, name) in [
        (BrokerConfig { shards: Some(0), ..config(dir.path()) }, "shards"),
        (BrokerConfig { network_budget_len: 1, ..config(dir.path()) }, "network_budget_len"),
        (BrokerConfig { tail_budget_len: 1, ..config(dir.path()) }, "tail_budget_len"),
        (BrokerConfig { journal_file_count: 1, ..config(dir.path()) }, "journal_file_count"),
        (BrokerConfig { journal_file_len: 5000, ..config(dir.path()) }, "journal_file_len"),
        (
            BrokerConfig { listen: "127.0.0.1:65535".parse().expect("an address"), shards: Some(2), ..config(dir.path()) },
            "listen",
        ),
    ] {
        let text = refusal(config).to_string();
        assert!(text.contains(name), "{name}: {text}");
    }
}
