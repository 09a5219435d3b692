//! Two brokers in one process, and a view made by hand instead of a controller: what the tests of replication share.

#[path = "../tests/support/frames.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests outside share it")]
pub(super) mod frames;
#[path = "../tests/support/raw_client.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests outside share it")]
pub(super) mod raw_client;

use crate::broker::Broker;
use crate::cluster_config::{ClusterConfig, ClusterVoter};
use crate::config::BrokerConfig;
use crate::control_message::ToShard;
use crate::view::View;
use frames::FrameSpec;
use raw_client::RawClient;
use sluice_metadata::{
    Address, Batch, ClusterId, CreateTopic, FolderId, HeldPartitions, Image, Record, Refusal, RegisterBroker, ReportRecovery,
    Start, UnfenceBroker, on_create_topic, on_register_broker, on_report_recovery, on_unfence_broker,
};
use sluice_model::{BrokerId, Incarnation, PartitionIndex, TopicId, TopicPartition};
use sluice_protocol::{ClusterSecret, DescribeMetricsRequest};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(super) const TOPIC: [u8; 16] = [5; 16];
/// Only against a test that hangs; no test is decided by it.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn secret(byte: u8) -> ClusterSecret {
    ClusterSecret::new(&[byte; 32]).expect("long enough")
}

/// Small, quick to start, any free port.
pub(super) fn config(data_dir: &Path, broker: u32, secret_byte: u8) -> BrokerConfig {
    let listen: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let voter = |id| ClusterVoter { broker: BrokerId(id), host: "localhost".to_owned(), port: 7500 };
    BrokerConfig {
        broker: BrokerId(broker),
        cluster: Some(ClusterConfig {
            voters: vec![voter(1), voter(2), voter(3)],
            secret: secret(secret_byte),
            controller_listen: listen,
            controller_advertise: None,
            rack: None,
            replaces_folder: None,
        }),
        shards: Some(1),
        tail_budget_len: 18 << 20,
        journal_buffer_budget_len: 20 << 20,
        journal_file_len: 16 << 20,
        journal_file_count: 3,
        write_back_interval_ms: 50,
        ..BrokerConfig::new(data_dir, listen)
    }
}

pub(super) fn folder() -> TempDir {
    let build = std::env::current_exe().expect("a test has a path");
    tempfile::tempdir_in(build.parent().expect("a folder")).expect("a temporary folder beside the build")
}

pub(super) struct Side {
    pub(super) broker: Broker,
    _dir: TempDir,
}

impl Side {
    pub(super) fn start(id: u32) -> Self {
        Self::start_with(id, 7)
    }

    pub(super) fn start_with(id: u32, secret_byte: u8) -> Self {
        let dir = folder();
        let broker = crate::broker::start_by_hand(config(dir.path(), id, secret_byte)).expect("the broker starts");
        Self { broker, _dir: dir }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.broker.local_addrs()[0]
    }

    pub(super) fn client(&self) -> RawClient {
        RawClient::connect(self.address())
    }

    /// What a controller would tell it.
    pub(super) fn tell(&self, image: &Image) {
        let view = Arc::new(View { broker: self.broker.id(), image: Arc::new(image.clone()) });
        for mailbox in self.broker.mailboxes() {
            mailbox.send_blocking(ToShard::View { version: u64::MAX, view: Arc::clone(&view) }).expect("the shard runs");
        }
    }

    /// Counter `name` of its shard, as DescribeMetrics tells it.
    pub(super) fn counter(&self, name: &str) -> u64 {
        let metrics = self.client().call(&DescribeMetricsRequest {});
        metrics.counters.iter().find(|counter| counter.name == name).map_or(0, |counter| counter.value)
    }
}

/// Looks again until it is so.
pub(super) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} did not happen");
        sleep(Duration::from_millis(5));
    }
}

pub(super) fn decide(image: &mut Image, decide: impl FnOnce(&Image) -> Result<Vec<Record>, Refusal>) {
    let records = decide(image).unwrap_or_else(|refusal| panic!("{refusal}"));
    for batch in Batch::split(&records) {
        image.apply_batch(&batch).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Registers a start of a broker that has nothing, and makes it active.
pub(super) fn join(image: &mut Image, broker: BrokerId, incarnation: Incarnation, address: SocketAddr) {
    let registration = RegisterBroker {
        broker,
        incarnation,
        folder_id: FolderId([broker.0 as u8; 16]),
        addresses: vec![Address { host: address.ip().to_string(), port: address.port() }],
        held: HeldPartitions::default(),
        start: Start::InCluster { rack: None, replaces_folder: None },
    };
    decide(image, |image| on_register_broker(image, &registration));
    decide(image, |image| {
        on_report_recovery(image, &ReportRecovery { broker, incarnation, replicas: Vec::new(), complete: true })
    });
    decide(image, |image| on_unfence_broker(image, &UnfenceBroker { broker, incarnation }));
}

pub(super) fn new_image() -> Image {
    Image::new(ClusterId([9; 16]))
}

/// A topic whose partitions both brokers hold. Both are in sync, so both have to hold what is acknowledged; one alone goes
/// on when the other is out of the set.
pub(super) fn create_topic(image: &mut Image, partitions: u32) {
    let topic = CreateTopic {
        topic_id: TopicId(TOPIC),
        name: "t".to_owned(),
        partitions,
        replication_factor: Some(2),
        settings: vec![("min_insync_replicas".to_owned(), "1".to_owned())],
    };
    decide(image, |image| on_create_topic(image, &topic));
}

pub(super) fn partition(number: u32) -> TopicPartition {
    TopicPartition { topic_id: TopicId(TOPIC), partition: PartitionIndex(number) }
}

pub(super) fn leader_of(image: &Image, number: u32) -> BrokerId {
    image.partition(partition(number)).expect("it is there").leader.expect("it is led")
}

pub(super) fn frame(value: &[u8]) -> FrameSpec {
    FrameSpec::new(TOPIC, &[value])
}

/// Two brokers, of which one leads partition 0.
pub(super) struct Pair {
    pub(super) leader: Side,
    pub(super) follower: Side,
    pub(super) image: Image,
}

impl Pair {
    /// Nobody is told anything yet. The follower is told `leader_at` for the leader's address.
    pub(super) fn start(leader_at: impl FnOnce(SocketAddr) -> SocketAddr) -> Self {
        Self::of(Side::start(1), Side::start(2), leader_at)
    }

    pub(super) fn of(one: Side, two: Side, leader_at: impl FnOnce(SocketAddr) -> SocketAddr) -> Self {
        let made = |one_at: SocketAddr, two_at: SocketAddr| {
            let mut image = new_image();
            join(&mut image, one.broker.id(), one.broker.incarnation(), one_at);
            join(&mut image, two.broker.id(), two.broker.incarnation(), two_at);
            create_topic(&mut image, 1);
            image
        };
        let first_leads = leader_of(&made(one.address(), two.address()), 0) == one.broker.id();
        let image = match first_leads {
            true => made(leader_at(one.address()), two.address()),
            false => made(one.address(), leader_at(two.address())),
        };
        let (leader, follower) = if first_leads { (one, two) } else { (two, one) };
        Self { leader, follower, image }
    }
}
