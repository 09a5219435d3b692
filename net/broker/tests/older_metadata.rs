//! Metadata that is older than the data: what a start must not begin anew with.

mod support;

use sluice_protocol::{InitProducerAnswer, InitProducerRequest};
use std::fs;
use std::path::Path;
use support::{FrameSpec, RawClient, start_in, temp_dir};

fn producer_id(client: &mut RawClient) -> i64 {
    let answer: InitProducerAnswer = client.call(&InitProducerRequest {});
    assert_eq!(answer.error, 0, "{}", answer.text);
    answer.producer_id
}

/// A start that appends one sequenced record under a producer id of its own, which it gives back.
fn append(dir: &Path, topic: &mut Option<[u8; 16]>, value: &[u8]) -> i64 {
    let broker = start_in(dir);
    let mut client = RawClient::connect(broker.local_addrs()[0]);
    let topic = *topic.get_or_insert_with(|| client.create_topic("t", 1));
    let id = producer_id(&mut client);
    let produced = client.produce(&FrameSpec::new(topic, &[value]).sequenced(id, 0, 0));
    assert_eq!(produced.error, 0, "{}", produced.text);
    drop(client);
    broker.shutdown().expect("a clean stop");
    id
}

#[test]
fn epochs_and_producer_ids_go_on_above_those_used_since() {
    let dir = temp_dir();
    let (metadata, copy) = (dir.path().join("metadata.redb"), dir.path().join("copy"));
    let mut topic = None;
    append(dir.path(), &mut topic, b"0");
    fs::copy(&metadata, &copy).expect("copied");
    let used = [append(dir.path(), &mut topic, b"1"), append(dir.path(), &mut topic, b"2")];
    fs::copy(&copy, &metadata).expect("put back");
    // An id that was used is not given out again: its first batch would be taken for a duplicate.
    let first = append(dir.path(), &mut topic, b"3");
    assert!(first > used[1], "{first} after {used:?}");
    // Twice more: what was appended under the raised epoch is replayed and read like the rest.
    append(dir.path(), &mut topic, b"4");
    let broker = start_in(dir.path());
    assert!(broker.report()[0].is_clean(), "{}", broker.report()[0]);
    let mut client = RawClient::connect(broker.local_addrs()[0]);
    let values: Vec<u8> = client.consume(topic.expect("created"), 0, 0).into_iter().flat_map(|(_, value)| value).collect();
    assert_eq!(values, b"01234");
    drop(client);
    broker.shutdown().expect("a clean stop");
}

/// An older `meta.json` names starts that the shards have left behind.
#[test]
fn a_start_number_is_above_those_of_the_checkpoints() {
    let dir = temp_dir();
    let (meta, copy) = (dir.path().join("meta.json"), dir.path().join("copy"));
    let (metadata, metadata_copy) = (dir.path().join("metadata.redb"), dir.path().join("metadata-copy"));
    let mut topic = None;
    append(dir.path(), &mut topic, b"0");
    fs::copy(&meta, &copy).expect("copied");
    fs::copy(&metadata, &metadata_copy).expect("copied");
    for value in [b"1", b"2"] {
        append(dir.path(), &mut topic, value);
    }
    fs::copy(&copy, &meta).expect("put back");
    fs::copy(&metadata_copy, &metadata).expect("put back");
    append(dir.path(), &mut topic, b"3");
}

/// A broker whose data is elsewhere, not mounted, or gone must not serve its topics as empty ones.
#[test]
fn topics_without_any_data_are_refused() {
    let dir = temp_dir();
    append(dir.path(), &mut None, b"0");
    let away = dir.path().join("away");
    fs::create_dir(&away).expect("created");
    for name in ["shard-0", "partitions", "journal"] {
        fs::rename(dir.path().join(name), away.join(name)).expect("moved");
    }
    let error = match sluice_broker::start(support::config(dir.path())) {
        Ok(_) => panic!("the broker started"),
        Err(error) => error,
    };
    assert!(error.to_string().contains("1 topic(s) (t)") && error.to_string().contains("put back"), "{error}");
    assert_eq!(error.fatal_reason().exit_status(), 74);
    assert!(!dir.path().join("shard-0").exists());
    fs::remove_dir_all(dir.path().join("journal")).expect("removed");
    for name in ["shard-0", "partitions", "journal"] {
        fs::rename(away.join(name), dir.path().join(name)).expect("moved back");
    }
    start_in(dir.path()).shutdown().expect("whole again");
}
