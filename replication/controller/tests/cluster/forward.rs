//! Commands of brokers that are not the controller.

use crate::support::{Cluster, create_topic, id, since};
use sluice_controller::{Command, CommandError, LEASE_MS, Submitted};
use sluice_metadata::{AllocateProducerIds, AlterPartitions, AlterTopic, DeleteTopic, IsrChange, PartitionRefusal, Refusal};
use sluice_model::{PartitionEpoch, TopicId};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

fn delete_topic(number: u8) -> Command {
    Command::DeleteTopic(DeleteTopic { name: format!("topic-{number}") })
}

/// Some broker that is not the controller.
async fn other(cluster: &Cluster) -> u32 {
    if cluster.controller().await == 1 { 2 } else { 1 }
}

#[tokio::test(start_paused = true)]
async fn every_broker_has_its_commands_decided_and_sees_what_they_did() {
    let mut cluster = Cluster::of_three("every_broker").await;
    cluster.start(4).await;
    cluster.register(4).await;
    let mut blocks = BTreeSet::new();
    for broker in 1..=4u8 {
        let node = cluster.node(u32::from(broker));
        let submitted = node.submit(Command::CreateTopic(create_topic(broker, 6))).await.unwrap();
        let seen = node.image();
        assert!(seen.index >= submitted.index && submitted.has_changed);
        assert!(seen.image.topic(TopicId([broker; 16])).is_some(), "broker {broker} sees its topic");
        let unchanged = AlterTopic { name: format!("topic-{broker}"), settings: Vec::new(), partitions: Some(6) };
        let unchanged = node.submit(Command::AlterTopic(unchanged)).await.unwrap();
        let nothing = Submitted { index: submitted.index, has_changed: false, answers: Vec::new(), producer_ids: None };
        assert_eq!(unchanged, nothing, "what is so already");
        let incarnation = seen.image.broker(id(u32::from(broker))).unwrap().incarnation;
        let allocate = AllocateProducerIds { broker: id(u32::from(broker)), incarnation };
        let allocated = node.submit(Command::AllocateProducerIds(allocate)).await.unwrap();
        let block = allocated.producer_ids.unwrap();
        assert!(block.count > 0 && blocks.insert(block.first), "ids that nobody else has: {block:?}");
        let settings = vec![("retention".to_owned(), "1d".to_owned())];
        let misspelt = AlterTopic { name: format!("topic-{broker}"), settings, partitions: None };
        let refused = node.submit(Command::AlterTopic(misspelt)).await.unwrap_err();
        assert!(matches!(&refused, CommandError::Refused(Refusal::UnknownSetting { nearest: Some(_), .. })), "{refused:?}");
    }
    assert_eq!(cluster.settle().await.topics().count(), 4);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_too_long_to_be_sent_is_refused_here() {
    let cluster = Cluster::of_three("too_long").await;
    let broker = other(&cluster).await;
    let settings = vec![("retention_ms".to_owned(), "1".repeat(17 * 1024 * 1024))];
    let endless = Command::AlterTopic(AlterTopic { name: "topic-1".to_owned(), settings, partitions: None });
    let refused = cluster.node(broker).submit(endless).await.unwrap_err();
    assert!(matches!(refused, CommandError::Refused(Refusal::CommandTooLong { .. })), "{refused}");
    cluster.node(broker).submit(Command::CreateTopic(create_topic(1, 1))).await.unwrap();
    cluster.stop().await;
}

/// One command about all partitions of a largest topic, each answered for itself.
#[tokio::test(start_paused = true)]
async fn all_that_is_said_of_ten_thousand_partitions_comes_through() {
    let cluster = Cluster::of_three("answers").await;
    cluster.decide(Command::CreateTopic(create_topic(1, 10_000))).await.unwrap();
    let image = cluster.settle().await;
    let leader = other(&cluster).await;
    let incarnation = |broker| image.broker(broker).unwrap().incarnation;
    let changes = image.partitions().map(|(partition_id, state)| {
        let (leader_epoch, partition_epoch) = (state.leader_epoch, state.partition_epoch);
        let isr = [id(leader)].map(|member| (member, incarnation(member))).to_vec();
        IsrChange { id: partition_id, leader_epoch, partition_epoch, isr }
    });
    let changes: Vec<IsrChange> = changes.collect();
    assert_eq!(changes.len(), 10_000);
    let request = AlterPartitions { broker: id(leader), incarnation: incarnation(id(leader)), changes: changes.clone() };
    let submitted = cluster.node(leader).submit(Command::AlterPartitions(request)).await.unwrap();
    assert_eq!(submitted.answers.len(), 10_000);
    for (change, answer) in changes.iter().zip(&submitted.answers) {
        let before = image.partition(change.id).unwrap();
        match answer {
            Ok(state) => {
                assert_eq!((before.leader, &state.isr), (Some(id(leader)), &vec![id(leader)]));
                assert_eq!(cluster.node(leader).image().image.partition(change.id), Some(state));
            }
            Err(refusal) => assert_eq!(*refusal, PartitionRefusal::NotLeader { leader: before.leader }),
        }
    }
    assert_eq!(submitted.answers.iter().filter(|answer| answer.is_ok()).count(), image.led_by(id(leader)).count());
    cluster.stop().await;
}

/// What is asked for has happened, and nobody has said so.
#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again_where_that_does_no_harm() {
    let cluster = Cluster::of_three("lost_answers").await;
    let broker = other(&cluster).await;
    let node = cluster.node(broker);
    cluster.lose_answers(broker, 2);
    let created = node.submit(Command::CreateTopic(create_topic(1, 3))).await.unwrap();
    assert!(created.has_changed, "its own topic is in its way");
    assert!(node.image().image.topic(TopicId([1; 16])).is_some());
    let incarnation = node.image().image.broker(id(broker)).unwrap().incarnation;
    let before = node.image().image.next_producer_id();
    cluster.lose_answers(broker, 1);
    let allocate = Command::AllocateProducerIds(AllocateProducerIds { broker: id(broker), incarnation });
    let block = node.submit(allocate).await.unwrap().producer_ids.unwrap();
    assert!(block.first > before, "the first block is nobody's");
    assert_eq!(node.image().image.next_producer_id().0, block.first.0 + i64::from(block.count));
    // Refused because of another one's topic: whether the first asking will have its way later, nobody knows.
    let mut taken = create_topic(2, 3);
    taken.name = "topic-1".into();
    cluster.lose_answers(broker, 1);
    let unknown = node.submit(Command::CreateTopic(taken.clone())).await.unwrap_err();
    assert!(matches!(unknown, CommandError::Undecided), "{unknown}");
    let refused = node.submit(Command::CreateTopic(taken)).await.unwrap_err();
    assert!(matches!(refused, CommandError::Refused(Refusal::TopicExists { .. })), "{refused}");
    cluster.stop().await;
}

/// The first asking has changed the partition: its epoch is another one now, and a refusal of the second asking would be
/// taken for "not changed".
#[tokio::test(start_paused = true)]
async fn a_refusal_that_may_be_its_own_doing_is_not_passed_on() {
    let cluster = Cluster::of_three("own_doing").await;
    let broker = other(&cluster).await;
    let node = cluster.node(broker);
    node.submit(Command::CreateTopic(create_topic(1, 3))).await.unwrap();
    let image = cluster.settle().await;
    let partition = image.led_by(id(broker)).next().unwrap();
    let state = image.partition(partition).unwrap();
    let incarnation = image.broker(id(broker)).unwrap().incarnation;
    let (leader_epoch, partition_epoch) = (state.leader_epoch, state.partition_epoch);
    let shrink = |partition_epoch| {
        let change = IsrChange { id: partition, leader_epoch, partition_epoch, isr: vec![(id(broker), incarnation)] };
        Command::AlterPartitions(AlterPartitions { broker: id(broker), incarnation, changes: vec![change] })
    };
    cluster.lose_answers(broker, 1);
    let unknown = node.submit(shrink(partition_epoch)).await.unwrap_err();
    assert!(matches!(unknown, CommandError::Undecided), "{unknown}");
    let now = cluster.settle().await.partition(partition).unwrap().clone();
    assert_eq!(now.isr, [id(broker)], "it was done");
    let stale = node.submit(shrink(partition_epoch)).await.unwrap();
    let refusal = PartitionRefusal::StalePartitionEpoch { got: partition_epoch, current: now.partition_epoch };
    assert_eq!(stale.answers, [Err(refusal)], "asked for the first time, a refusal is one");
    let next = node.submit(shrink(now.partition_epoch)).await.unwrap();
    assert_eq!(next.answers[0].as_ref().unwrap().partition_epoch, PartitionEpoch(now.partition_epoch.0 + 1));
    cluster.stop().await;
}

/// Asked again, it could meet the next topic of that name.
#[tokio::test(start_paused = true)]
async fn a_deletion_by_name_is_not_asked_twice() {
    let cluster = Cluster::of_three("deletion").await;
    let broker = other(&cluster).await;
    let node = cluster.node(broker);
    node.submit(Command::CreateTopic(create_topic(1, 3))).await.unwrap();
    cluster.lose_answers(broker, 1);
    let unknown = node.submit(delete_topic(1)).await.unwrap_err();
    assert!(matches!(unknown, CommandError::Undecided), "{unknown}");
    assert_eq!(cluster.settle().await.topics().count(), 0, "it was done");
    let mut second = create_topic(2, 3);
    second.name = "topic-1".into();
    node.submit(Command::CreateTopic(second)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(cluster.settle().await.topics().count(), 1);
    // Nothing was sent where nobody is there: another try is the first one then.
    let controller = cluster.controller().await;
    cluster.cut_off(controller);
    node.submit(delete_topic(1)).await.unwrap();
    cluster.heal();
    assert_eq!(cluster.settle().await.topics().count(), 0);
    cluster.stop().await;
}

/// Commands keep coming while one controller after the other dies: each that was taken is there once.
#[tokio::test(start_paused = true)]
async fn commands_get_through_a_change_of_controllers() {
    let mut cluster = Cluster::of_three("changes").await;
    cluster.start(4).await;
    cluster.register(4).await;
    let mut number = 0u8;
    for _ in 0..3 {
        let controller = cluster.controller().await;
        let mut asked = Vec::new();
        for broker in (1..=4).filter(|broker| *broker != controller) {
            for _ in 0..4 {
                number += 1;
                let (node, number) = (cluster.node(broker), number);
                asked.push(tokio::spawn(async move {
                    // So that some are before it, some in the middle of it, some after it.
                    tokio::time::sleep(Duration::from_millis(u64::from(number % 4))).await;
                    node.submit(Command::CreateTopic(create_topic(number, 3))).await
                }));
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
        cluster.kill(controller).await;
        for submitted in asked {
            let submitted = submitted.await.unwrap().unwrap();
            assert!(submitted.has_changed);
        }
        cluster.start(controller).await;
        cluster.register(controller).await;
    }
    let image = cluster.settle().await;
    let topics: BTreeSet<TopicId> = image.topics().map(|(topic_id, _)| topic_id).collect();
    assert_eq!(topics, (1..=number).map(|number| TopicId([number; 16])).collect());
    cluster.stop().await;
}

/// Whoever was the controller and does not know better asks the new one once it hears of it.
#[tokio::test(start_paused = true)]
async fn a_deposed_controller_asks_the_new_one() {
    let cluster = Cluster::of_three("deposed").await;
    let old = cluster.controller().await;
    let others: Vec<u32> = (1..=3).filter(|broker| *broker != old).collect();
    cluster.cut_off(old);
    let node = cluster.node(old);
    let submitted = tokio::spawn(async move { node.submit(Command::CreateTopic(create_topic(1, 3))).await });
    cluster.controller_of(&others).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!submitted.is_finished());
    cluster.heal();
    let submitted = submitted.await.unwrap().unwrap();
    assert!(cluster.node(old).image().index >= submitted.index);
    assert_eq!(cluster.settle().await.topics().count(), 1);
    cluster.stop().await;
}

/// What is certain is said: nobody was asked, or nobody has answered.
#[tokio::test(start_paused = true)]
async fn what_nobody_decides_is_given_up_in_time() {
    let mut cluster = Cluster::of_three("given_up").await;
    let image = cluster.settle().await;
    let controller = cluster.controller().await;
    let broker = other(&cluster).await;
    // The answers of everybody are lost.
    cluster.lose_answers(broker, u32::MAX);
    let began = Instant::now();
    let unknown = cluster.node(broker).submit(Command::CreateTopic(create_topic(1, 3))).await.unwrap_err();
    assert!(matches!(unknown, CommandError::Undecided), "{unknown}");
    assert_eq!(since(began).as_secs(), 5);
    let incarnation = image.broker(id(broker)).unwrap().incarnation;
    let began = Instant::now();
    let unknown = cluster.node(broker).renew_lease(incarnation).await.unwrap_err();
    assert!(matches!(unknown, CommandError::Undecided), "{unknown}");
    assert_eq!(since(began).as_millis(), u128::from(LEASE_MS));
    cluster.lose_answers(broker, 0);
    // Nobody is there to be asked.
    for dead in (1..=3).filter(|dead| *dead != broker) {
        cluster.kill(dead).await;
    }
    let began = Instant::now();
    let refused = cluster.node(broker).submit(Command::CreateTopic(create_topic(2, 3))).await.unwrap_err();
    assert!(matches!(refused, CommandError::NotController { .. }), "{refused}");
    assert_eq!(since(began).as_secs(), 5);
    let refused = cluster.node(broker).renew_lease(incarnation).await.unwrap_err();
    assert!(matches!(refused, CommandError::NotController { .. }), "{refused}");
    cluster.start(controller).await;
    let image = cluster.settle().await;
    assert!(image.topic(TopicId([2; 16])).is_none(), "certainly not done");
    cluster.stop().await;
}
