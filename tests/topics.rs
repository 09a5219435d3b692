//! The life of a topic through the command line.

mod common;

use common::{Broker, folder, run};

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_topic_is_created_described_changed_and_deleted() {
    let folder = folder();
    let broker = Broker::start(folder.path());
    let topic = |args: &[&str]| run(&mut broker.command(&[&["topic"], args].concat()));
    assert!(topic(&["list"]).expect(0, &[]).stdout.contains("no topics"));
    assert_eq!(json(&topic(&["list", "--json"]).expect(0, &[]).stdout), serde_json::json!([]));

    topic(&["create", "orders", "--partitions", "3", "--set", "retention_ms=1d", "--set", "segment_len=4MiB"])
        .expect(0, &["orders"]);
    topic(&["create", "orders", "--partitions", "3"]).expect(4, &["orders", "TopicExists"]);
    topic(&["create", "a/b", "--partitions", "1"]).expect(4, &["InvalidTopicName"]);
    topic(&["create", "x", "--partitions", "1", "--set", "retention_days=1"]).expect(4, &["retention_days", "retention_ms"]);
    topic(&["create", "x", "--partitions", "1", "--set", "segment_len=1B"]).expect(4, &["segment_len", "1MiB"]);

    let described = json(&topic(&["describe", "orders", "--json"]).expect(0, &[]).stdout);
    assert_eq!(described["partitions"].as_array().unwrap().len(), 3);
    assert_eq!(described["partitions"][2]["high_watermark"], 0);
    assert!(described["settings"].get("segment_len").is_some(), "{described}");
    let text = topic(&["describe", "orders"]).expect(0, &[]).stdout;
    assert!(text.contains("high watermark") && text.contains("segment_len"), "{text}");

    topic(&["alter", "orders"]).expect(2, &["nothing to change"]);
    topic(&["alter", "orders", "--partitions", "2"]).expect(4, &["partition"]);
    topic(&["alter", "orders", "--partitions", "5", "--set", "retention_ms=2d"]).expect(0, &[]);
    let described = json(&topic(&["describe", "orders", "--json"]).expect(0, &[]).stdout);
    assert_eq!(described["partitions"].as_array().unwrap().len(), 5);

    topic(&["delete", "orders"]).expect(0, &[]);
    topic(&["delete", "orders"]).expect(4, &["UnknownTopic"]);
    topic(&["describe", "orders"]).expect(4, &["UnknownTopic", "topic list"]);
}
