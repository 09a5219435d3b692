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

    assert_eq!(described["partitions"][1]["replicas"], serde_json::json!([1]));
    assert_eq!(described["partitions"][1]["in_sync"], serde_json::json!([1]));

    topic(&["create", "many", "--partitions", "1", "--replicas", "3"]).expect(4, &["3"]);
    topic(&["create", "few", "--partitions", "1", "--min-in-sync", "2"]).expect(4, &["min_insync_replicas"]);
    topic(&["elect", "--all"]).expect(0, &["no leader has changed"]);
    topic(&["elect", "orders"]).expect(0, &["3 partition(s) are led by their preferred"]);
    topic(&["elect", "orders", "--partition", "1", "--partition", "9"]).expect(4, &["partition 9", "no partition"]);
    topic(&["elect"]).expect(2, &[]);
    topic(&["elect", "orders", "--unclean", "--replica", "1"]).expect(2, &["one partition at a time"]);
    topic(&["elect", "orders", "--partition", "1", "--unclean", "--replica", "1", "--yes"])
        .expect(4, &["broker 1 leads orders/1", "nothing has to be given up"]);

    topic(&["alter", "orders"]).expect(2, &["nothing to change"]);
    topic(&["alter", "orders", "--partitions", "2"]).expect(4, &["partition"]);
    topic(&["alter", "orders", "--partitions", "5", "--set", "retention_ms=2d"]).expect(0, &[]);
    let described = json(&topic(&["describe", "orders", "--json"]).expect(0, &[]).stdout);
    assert_eq!(described["partitions"].as_array().unwrap().len(), 5);

    topic(&["delete", "orders"]).expect(0, &[]);
    topic(&["delete", "orders"]).expect(4, &["UnknownTopic"]);
    topic(&["describe", "orders"]).expect(4, &["UnknownTopic", "topic list"]);
}

#[test]
fn a_broker_without_others_is_a_healthy_cluster_of_one() {
    let folder = folder();
    let broker = Broker::start(folder.path());
    broker.create_topic("orders", 3);
    let cluster = |args: &[&str]| run(&mut broker.command(&[&["cluster"], args].concat()));
    let status = json(&cluster(&["status", "--json"]).expect(0, &[]).stdout);
    assert_eq!((&status["controller"], &status["partitions"]["total"]), (&1.into(), &3.into()), "{status}");
    assert_eq!(status["brokers"][0]["state"], "active");
    let text = cluster(&["status"]).expect(0, &[]).stdout;
    assert!(text.contains("broker 1 is the controller") && text.contains(&broker.address), "{text}");
    assert!(cluster(&["health"]).expect(0, &[]).stdout.contains("healthy: 1 broker(s), 3 partition(s)"));
    assert_eq!(json(&cluster(&["health", "--json"]).expect(0, &[]).stdout)["healthy"], true);
}
