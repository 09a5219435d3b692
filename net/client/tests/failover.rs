//! The producer and three brokers whose leaders change, one kind of trouble after the other: every record once, in order,
//! and every outcome true. A request's own time-out is ten minutes here, so nothing that passes has waited for one.

mod support;

use sluice_client::*;
use std::time::Duration;
use support::{FakeBroker, Fault, LONG, Mode, quick};

fn patient() -> ClientConfig {
    ClientConfig { request_timeout_ms: 600_000, connect_timeout_ms: 120_000, ..quick() }
}

fn small() -> ProducerConfig {
    ProducerConfig { batch_len_max: 100, delivery_timeout_ms: 600_000, ..Default::default() }
}

struct Sender {
    cluster: FakeBroker,
    producer: Producer,
    sent: usize,
    confirms: Vec<Confirm>,
}

impl Sender {
    /// Topic t has one partition; broker 0 leads it, and has been sent the first records.
    async fn start(config: ProducerConfig) -> Self {
        let cluster = FakeBroker::start_cluster(&[("t", 1)], 3).await;
        let client = Client::connect(&cluster.addresses(), patient()).await.unwrap();
        let producer = Producer::new(client, config).await.unwrap();
        let mut sender = Self { cluster, producer, sent: 0, confirms: Vec::new() };
        sender.send(20).await;
        sender.all_acknowledged().await;
        sender
    }

    async fn send(&mut self, count: usize) {
        self.send_to(0, count).await;
    }

    async fn send_to(&mut self, partition: u32, count: usize) {
        for _ in 0..count {
            let value = format!("record-{:06}", self.sent);
            let record = ProducerRecord::new("t", value.as_bytes()).with_partition(partition);
            self.confirms.push(self.producer.send(record).await.unwrap());
            self.sent += 1;
        }
    }

    /// A record of another partition is acknowledged.
    async fn elsewhere(&self, partition: u32) {
        let record = ProducerRecord::new("t", b"elsewhere").with_partition(partition);
        let confirm = self.producer.send(record).await.unwrap();
        assert!(tokio::time::timeout(LONG, confirm).await.expect("an outcome comes").is_acknowledged());
    }

    /// One more record, and what became of it.
    async fn one(&mut self) -> Delivery {
        self.send(1).await;
        self.outcomes().await.remove(0)
    }

    /// More requests have come than so many.
    async fn produced_more_than(&self, produces: u32) {
        self.until("requests come", |cluster| cluster.state().produces > produces).await;
    }

    async fn until(&self, what: &str, is_so: impl Fn(&FakeBroker) -> bool) {
        let waiting = async {
            while !is_so(&self.cluster) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("{what}"));
    }

    async fn outcomes(&mut self) -> Vec<Delivery> {
        let mut outcomes = Vec::new();
        for confirm in self.confirms.drain(..) {
            outcomes.push(tokio::time::timeout(LONG, confirm).await.expect("an outcome comes"));
        }
        outcomes
    }

    /// Each of those sent since the last time is acknowledged at its offset, and the log holds all, once, in order.
    async fn all_acknowledged(&mut self) {
        let first = self.sent - self.confirms.len();
        for (offset, outcome) in (first as u64..).zip(self.outcomes().await) {
            let Delivery::Acknowledged(ack) = outcome else { panic!("record {offset}: {outcome:?}") };
            assert!(ack.offset.is_none_or(|got| got == offset), "record {offset}: {ack:?}");
        }
        assert_eq!(self.cluster.values("t", 0), (0..self.sent).map(|n| format!("record-{n:06}")).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn the_address_that_a_broker_names_is_followed() {
    let mut sender = Sender::start(small()).await;
    for leader in [1, 2, 0, 2, 1] {
        sender.send(50).await;
        sender.cluster.elect("t", 0, Some(leader));
        sender.send(50).await;
        sender.all_acknowledged().await;
    }
}

#[tokio::test]
async fn a_broker_that_leads_no_longer_and_names_nobody_makes_one_ask() {
    let mut sender = Sender::start(small()).await;
    // It has lost its lease and heard of nothing since.
    sender.cluster.keep_view(0, true);
    sender.cluster.elect("t", 0, Some(2));
    sender.send(100).await;
    sender.all_acknowledged().await;
}

#[tokio::test]
async fn what_a_leader_lost_leadership_over_is_asked_of_the_next_one() {
    for fault in [Fault::LeadershipLost, Fault::Refuse(ErrorCode::LeadershipLost, 0)] {
        let mut sender = Sender::start(small()).await;
        // The next leader has it, or has not.
        sender.cluster.faults([fault]);
        let produces = sender.cluster.state().produces;
        sender.send(100).await;
        sender.produced_more_than(produces).await;
        sender.cluster.elect("t", 0, Some(1));
        sender.all_acknowledged().await;
    }
}

#[tokio::test]
async fn a_leader_that_falls_silent_is_left_for_the_next_one() {
    for mode in [Mode::Silent, Mode::Frozen] {
        let mut sender = Sender::start(small()).await;
        sender.cluster.set_mode(0, mode);
        let produces = sender.cluster.state().produces;
        sender.send(100).await;
        if mode == Mode::Silent {
            sender.produced_more_than(produces).await;
        }
        sender.cluster.elect("t", 0, Some(2));
        sender.all_acknowledged().await;
    }
}

/// Who leads now is heard of before the silence has lasted long enough, and what waits behind has nowhere to go yet.
#[tokio::test]
async fn a_silent_leader_is_left_although_the_next_one_is_known_already() {
    let cluster = FakeBroker::start_cluster(&[("t", 3)], 3).await;
    let client = Client::connect(&cluster.addresses()[2..], patient()).await.unwrap();
    let mut sender = Sender { producer: Producer::new(client, small()).await.unwrap(), cluster, sent: 0, confirms: Vec::new() };
    sender.send_to(0, 20).await;
    sender.all_acknowledged().await;
    for partition in [1, 2] {
        sender.elsewhere(partition).await;
    }
    sender.cluster.set_mode(0, Mode::Silent);
    let produces = sender.cluster.state().produces;
    sender.send_to(0, 1).await;
    sender.produced_more_than(produces).await;
    // Broker 1 leads its partition no longer and names nobody: the answer to who does describes both partitions.
    sender.cluster.keep_view(1, true);
    sender.cluster.elect("t", 0, Some(2));
    sender.cluster.elect("t", 1, Some(2));
    sender.elsewhere(1).await;
    sender.send_to(0, 5).await;
    sender.all_acknowledged().await;
}

#[tokio::test]
async fn a_leader_that_refuses_connections_or_leaves_them_hanging_is_left_for_the_next_one() {
    for hangs in [false, true] {
        let mut sender = Sender::start(small()).await;
        if hangs {
            sender.cluster.set_mode(0, Mode::Frozen);
            sender.cluster.cut(0);
        } else {
            sender.cluster.stop(0);
        }
        let asked = sender.cluster.state().metadata_requests;
        sender.send(100).await;
        sender.until("who leads is asked", |cluster| cluster.state().metadata_requests > asked + 2).await;
        sender.cluster.elect("t", 0, Some(1));
        sender.all_acknowledged().await;
    }
}

#[tokio::test]
async fn a_new_leader_that_is_not_ready_is_waited_for() {
    let mut sender = Sender::start(small()).await;
    sender.cluster.set_mode(1, Mode::Refusing(ErrorCode::NotReady));
    sender.cluster.elect("t", 0, Some(1));
    let produces = sender.cluster.state().produces;
    sender.send(100).await;
    sender.produced_more_than(produces + 5).await;
    sender.cluster.set_mode(1, Mode::Serving);
    sender.all_acknowledged().await;
}

#[tokio::test]
async fn a_partition_without_leader_gets_its_records_when_it_has_one() {
    for dead in [false, true] {
        let mut sender = Sender::start(small()).await;
        sender.cluster.elect("t", 0, None);
        if dead {
            sender.cluster.stop(0);
        }
        let asked = sender.cluster.state().metadata_requests;
        sender.send(100).await;
        sender.until("who leads is asked", |cluster| cluster.state().metadata_requests > asked + 5).await;
        sender.cluster.elect("t", 0, Some(2));
        sender.all_acknowledged().await;
    }
}

/// The answer to the produce says so after a long time; the new leader does not have to wait for that.
#[tokio::test]
async fn a_new_leader_is_not_kept_waiting_by_what_the_old_one_said() {
    let mut sender = Sender::start(small()).await;
    sender.cluster.faults([Fault::Refuse(ErrorCode::NotReady, 500_000)]);
    let produces = sender.cluster.state().produces;
    sender.send(100).await;
    sender.produced_more_than(produces).await;
    sender.cluster.elect("t", 0, Some(2));
    sender.all_acknowledged().await;
}

#[tokio::test]
async fn metadata_that_is_older_than_what_is_known_leads_nobody_back() {
    let mut sender = Sender::start(small()).await;
    sender.cluster.elect("t", 0, Some(1));
    sender.send(10).await;
    sender.all_acknowledged().await;
    // Broker 0 still believes this; from now on it is the only one that is asked first.
    sender.cluster.keep_view(0, true);
    sender.cluster.elect("t", 0, Some(2));
    let admin = Admin::new(Client::connect(&sender.cluster.addresses(), patient()).await.unwrap());
    let epoch = |topic: &TopicInfo| (topic.partitions[0].leader_epoch, topic.partitions[0].leader);
    assert_eq!(epoch(&admin.describe_topic("t").await.unwrap()), (2, Some(2)), "what broker 0 knows");
    sender.cluster.keep_view(0, false);
    assert_eq!(epoch(&admin.describe_topic("t").await.unwrap()), (3, Some(3)));
    sender.cluster.elect("t", 0, Some(2));
    sender.cluster.keep_view(0, true);
    sender.cluster.elect("t", 0, Some(1));
    sender.send(100).await;
    sender.all_acknowledged().await;
}

#[tokio::test]
async fn an_epoch_never_goes_back() {
    let cluster = FakeBroker::start_cluster(&[("t", 2)], 2).await;
    cluster.keep_view(0, true);
    cluster.elect("t", 0, Some(1));
    let addresses = cluster.addresses();
    let admin = Admin::new(Client::connect(&addresses[1..], patient()).await.unwrap());
    let leaders = |topic: &TopicInfo| topic.partitions.iter().map(|p| (p.leader, p.leader_epoch)).collect::<Vec<_>>();
    assert_eq!(leaders(&admin.describe_topic("t").await.unwrap()), [(Some(2), 2), (Some(2), 1)]);
    cluster.stop(1);
    // Now only the one that is behind can be asked.
    let asked = cluster.state().metadata_requests;
    assert_eq!(leaders(&admin.describe_topic("t").await.unwrap()), [(Some(2), 2), (Some(2), 1)]);
    assert_eq!(cluster.state().metadata_requests, asked + 1);
}

#[tokio::test]
async fn one_broker_that_answers_is_enough_to_begin_with() {
    let cluster = FakeBroker::start_cluster(&[("t", 3)], 3).await;
    cluster.stop(0);
    cluster.set_mode(1, Mode::Frozen);
    for partition in [0, 1] {
        cluster.elect("t", partition, Some(2));
    }
    let addresses = cluster.addresses();
    let connecting = Client::connect(&addresses, patient());
    let client = tokio::time::timeout(LONG, connecting).await.expect("nobody waits for the one that hangs").unwrap();
    let producer = Producer::new(client, small()).await.unwrap();
    for partition in 0..3 {
        let confirm = producer.send(ProducerRecord::new("t", b"x").with_partition(partition)).await.unwrap();
        assert!(tokio::time::timeout(LONG, confirm).await.unwrap().is_acknowledged());
    }
}

/// A broker that stops, or cannot reach the controller, is not the only one.
#[tokio::test]
async fn a_broker_that_refuses_is_passed_over_for_one_that_does_not() {
    let cluster = FakeBroker::start_cluster(&[("t", 1)], 3).await;
    let client = Client::connect(&cluster.addresses(), patient()).await.unwrap();
    cluster.state().metadata_faults.push_back(Some(ErrorCode::NotReady));
    let asked = cluster.state().metadata_requests;
    Admin::new(client).describe_topic("t").await.unwrap();
    assert_eq!(cluster.state().metadata_requests, asked + 2);
}

#[tokio::test]
async fn a_broker_comes_back_at_its_address_or_at_another_one() {
    for same_address in [true, false] {
        let mut sender = Sender::start(small()).await;
        sender.cluster.stop(0);
        sender.send(100).await;
        sender.cluster.start_again(0, same_address).await;
        // As every start does.
        sender.cluster.elect("t", 0, Some(0));
        sender.all_acknowledged().await;
    }
}

#[tokio::test]
async fn a_leader_that_forgot_the_producer_gets_the_rest_once_and_in_order() {
    let mut sender = Sender::start(small()).await;
    sender.cluster.elect("t", 0, Some(1));
    sender.cluster.state().topics.get_mut("t").unwrap().partitions[0].producers = Default::default();
    sender.send(100).await;
    sender.all_acknowledged().await;
}

/// The old leader may have it, the new one has lost what was before it: the one thing that is true is that nobody knows.
#[tokio::test]
async fn what_may_be_on_the_old_leader_is_unknown_where_the_new_one_lost_history() {
    let mut sender = Sender::start(small()).await;
    sender.cluster.set_mode(0, Mode::Silent);
    let produces = sender.cluster.state().produces;
    sender.send(5).await;
    sender.produced_more_than(produces).await;
    let written = sender.cluster.values("t", 0).len();
    assert!(written > 20, "the old leader has it");
    sender.cluster.state().topics.get_mut("t").unwrap().partitions[0].producers = Default::default();
    sender.cluster.elect("t", 0, Some(1));
    let outcomes = sender.outcomes().await;
    let unknown = outcomes.iter().filter(|outcome| matches!(outcome, Delivery::Unknown(_))).count();
    assert!((written - 20..=5).contains(&unknown), "{outcomes:?}");
    assert!(!outcomes.iter().any(|outcome| matches!(outcome, Delivery::Refused(_))), "{outcomes:?}");
    sender.send(50).await;
    assert!(sender.outcomes().await.iter().all(Delivery::is_acknowledged));
    let values = sender.cluster.values("t", 0);
    assert!(values.is_sorted_by(|a, b| a < b), "twice or out of order: {values:?}");
}

/// How long a record waits decides nothing here: what has not come about within it is tried again.
#[tokio::test]
async fn a_timeout_while_nobody_leads_tells_what_is_known() {
    let mut sender = Sender::start(small()).await;
    let client = Client::connect(&sender.cluster.addresses(), patient()).await.unwrap();
    sender.producer = Producer::new(client, ProducerConfig { delivery_timeout_ms: 300, ..small() }).await.unwrap();
    // Over a connection that stands, or nothing could be sent to a broker that is silent.
    let until_it_is_connected = async { while !sender.one().await.is_acknowledged() {} };
    tokio::time::timeout(LONG, until_it_is_connected).await.expect("a record is acknowledged");
    sender.cluster.set_mode(0, Mode::Silent);
    let produces = sender.cluster.state().produces;
    let until_it_was_sent = async {
        loop {
            let outcome = sender.one().await;
            assert!(!outcome.is_acknowledged(), "nobody has answered: {outcome:?}");
            if sender.cluster.state().produces > produces {
                break outcome;
            }
        }
    };
    let outcome = tokio::time::timeout(LONG, until_it_was_sent).await.expect("a record is sent");
    assert!(matches!(outcome, Delivery::Unknown(_)), "it was sent: {outcome:?}");
    sender.cluster.set_mode(0, Mode::Refusing(ErrorCode::NotReady));
    let until_it_was_refused = async {
        loop {
            let outcome = sender.one().await;
            assert!(!outcome.is_acknowledged(), "nobody has taken it: {outcome:?}");
            if let Delivery::Refused(failure) = outcome {
                assert_eq!(failure.reason, Reason::DeliveryTimeout);
                if failure.text.contains("NotReady") {
                    break;
                }
            }
        }
    };
    tokio::time::timeout(LONG, until_it_was_refused).await.expect("a record is refused, and its sender told why");
    sender.cluster.elect("t", 0, Some(1));
    let until_it_goes_on = async { while !sender.one().await.is_acknowledged() {} };
    tokio::time::timeout(LONG, until_it_goes_on).await.expect("it goes on");
    let values = sender.cluster.values("t", 0);
    assert!(values.is_sorted_by(|a, b| a < b), "twice or out of order: {values:?}");
    assert_eq!(values.last(), Some(&format!("record-{:06}", sender.sent - 1)));
}
