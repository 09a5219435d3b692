use crate::support::{Cluster, create_topic, id};
use sluice_controller::{Command, CommandError, ControllerNode};
use sluice_metadata::{AlterPartitions, IsrChange, PartitionRefusal, Refusal};
use sluice_model::TopicId;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn what_comes_together_is_one_entry() {
    let cluster = Cluster::of_three("together").await;
    let node = cluster.node(cluster.controller().await);
    let before = node.image().index;
    let asked: Vec<_> = (0..100u8)
        .map(|number| {
            let node = node.clone();
            tokio::spawn(async move { node.propose(Command::CreateTopic(create_topic(number % 50 + 1, 3))).await })
        })
        .collect();
    let (mut created, mut refused) = (0, 0);
    for answer in asked {
        match answer.await.unwrap() {
            Ok(applied) => {
                assert_eq!((applied.index, applied.records.len()), (before + 1, 1));
                created += 1;
            }
            Err(CommandError::Refused(Refusal::TopicExists { .. })) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((created, refused), (50, 50), "each is decided on what the ones before it leave");
    assert_eq!(node.image().index, before + 1);
    assert_eq!(cluster.settle().await.topics().count(), 50);
    cluster.stop().await;
}

/// Replicas of a disk that turned slow leave hundreds of in-sync sets; whoever asks again finds it done.
#[tokio::test(start_paused = true)]
async fn in_sync_sets_change_together_and_a_repetition_finds_it_so() {
    let cluster = Cluster::of_three("isr").await;
    cluster.decide(Command::CreateTopic(create_topic(1, 900))).await.unwrap();
    let image = cluster.settle().await;
    let node = cluster.node(cluster.controller().await);
    let slow = id(3);
    let commands: Vec<Command> = [1, 2].map(|leader| change_of(&image, leader, slow)).into_iter().collect();
    let before = node.image().index;
    let asked = commands.iter().cloned().map(|command| {
        let node = node.clone();
        tokio::spawn(async move { node.propose(command).await })
    });
    for answer in asked.collect::<Vec<_>>() {
        let applied = answer.await.unwrap().unwrap();
        assert_eq!(applied.index, before + 1);
        assert!(applied.answers.iter().all(|answer| answer.as_ref().is_ok_and(|state| !state.isr.contains(&slow))));
    }
    let after = cluster.settle().await;
    assert_eq!(after.partitions().filter(|(_, p)| p.isr.contains(&slow)).count(), led(&image, 3));
    let again = node.propose(commands[0].clone()).await.unwrap();
    assert_eq!((again.index, again.records.len()), (before + 1, 0));
    assert!(again.answers.iter().all(|answer| matches!(answer, Err(PartitionRefusal::StalePartitionEpoch { .. }))));
    cluster.stop().await;
}

fn led(image: &sluice_metadata::Image, broker: u32) -> usize {
    image.led_by(id(broker)).count()
}

/// The leader's wish that `leaves` is in none of the in-sync sets it leads.
fn change_of(image: &sluice_metadata::Image, leader: u32, leaves: sluice_model::BrokerId) -> Command {
    let incarnation = |broker| image.broker(broker).unwrap().incarnation;
    let changes = image.led_by(id(leader)).map(|partition_id| {
        let state = image.partition(partition_id).unwrap();
        let isr = state.isr.iter().copied().filter(|member| *member != leaves).map(|member| (member, incarnation(member)));
        let (leader_epoch, partition_epoch) = (state.leader_epoch, state.partition_epoch);
        IsrChange { id: partition_id, leader_epoch, partition_epoch, isr: isr.collect() }
    });
    let changes = changes.collect();
    Command::AlterPartitions(AlterPartitions { broker: id(leader), incarnation: incarnation(id(leader)), changes })
}

#[tokio::test(start_paused = true)]
async fn only_the_controller_takes_commands_and_the_others_name_it() {
    let cluster = Cluster::of_three("forward").await;
    let controller = cluster.controller().await;
    cluster.settle().await;
    for broker in (1..=3).filter(|broker| *broker != controller) {
        let node = cluster.node(broker);
        let refused = node.propose(Command::CreateTopic(create_topic(1, 1))).await.unwrap_err();
        let leader = match refused {
            CommandError::NotController { leader } => leader,
            other => panic!("{other}"),
        };
        assert_eq!(leader, Some(id(controller)));
        let incarnation = node.image().image.broker(id(1)).unwrap().incarnation;
        let refused = node.heartbeat(id(1), incarnation).await.unwrap_err();
        assert!(matches!(refused, CommandError::NotController { .. }), "{refused}");
    }
    assert_eq!(cluster.settle().await.topics().count(), 0);
    cluster.stop().await;
}

/// Whoever is cut off decides nothing, grants nothing, and says so; what it had under way is void once it is back.
#[tokio::test(start_paused = true)]
async fn a_minority_decides_nothing() {
    let cluster = Cluster::of_three("minority").await;
    let image = cluster.settle().await;
    let old = cluster.controller().await;
    let others: Vec<u32> = (1..=3).filter(|broker| *broker != old).collect();
    cluster.cut_off(old);
    let cut = cluster.node(old);
    let under_way = tokio::spawn(async move { cut.propose(Command::CreateTopic(create_topic(1, 1))).await });
    tokio::time::sleep(Duration::from_millis(1)).await;
    let new = cluster.controller_of(&others).await;
    let created = cluster.node(new).propose(Command::CreateTopic(create_topic(2, 2))).await.unwrap();
    let undecided = under_way.await.unwrap().unwrap_err();
    assert!(matches!(undecided, CommandError::Undecided), "{undecided}");
    let refused = cluster.node(old).propose(Command::CreateTopic(create_topic(3, 1))).await.unwrap_err();
    assert!(matches!(refused, CommandError::NotController { leader: None }), "{refused}");
    let incarnation = image.broker(id(old)).unwrap().incarnation;
    let no_lease = cluster.node(old).heartbeat(id(old), incarnation).await.unwrap_err();
    assert!(matches!(no_lease, CommandError::NotController { leader: None }), "{no_lease}");
    cluster.heal();
    cluster.until("the old one to follow", |cluster| (!cluster.node(old).status().is_controller).then_some(())).await;
    let image = cluster.settle().await;
    assert!(created.index <= cluster.node(old).image().index);
    let topics: Vec<TopicId> = image.topics().map(|(topic_id, _)| topic_id).collect();
    assert_eq!(topics, [TopicId([2; 16])], "what the minority proposed is void");
    cluster.stop().await;
}

/// The answer is lost with the controller; the command is asked again of the next one.
#[tokio::test(start_paused = true)]
async fn commands_are_repeated_after_a_lost_answer() {
    let mut cluster = Cluster::of_three("repeated").await;
    let first = cluster.decide(Command::CreateTopic(create_topic(1, 6))).await.unwrap();
    assert_eq!(first.records.len(), 1);
    let image = cluster.settle().await;
    let registered = cluster.registration(2, &image);
    let incarnation = registered.incarnation;
    let began = cluster.decide(Command::RegisterBroker(registered.clone())).await.unwrap();
    assert!(!began.records.is_empty());
    let old = cluster.controller().await;
    cluster.settle().await;
    cluster.kill(old).await;
    let topic = cluster.decide(Command::CreateTopic(create_topic(1, 6))).await.unwrap_err();
    let known = TopicId([1; 16]);
    assert!(matches!(&topic, CommandError::Refused(Refusal::TopicExists { topic_id, .. }) if *topic_id == known), "{topic}");
    let again = cluster.decide(Command::RegisterBroker(registered)).await.unwrap();
    assert_eq!(again.records, []);
    assert_eq!(cluster.settle().await.broker(id(2)).unwrap().incarnation, incarnation);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_image_shares_what_has_not_changed_with_the_one_before() {
    let cluster = Cluster::of_three("sharing").await;
    cluster.decide(Command::CreateTopic(create_topic(1, 50))).await.unwrap();
    let before = cluster.settle().await;
    let mut images = cluster.node(2).images();
    images.borrow_and_update();
    let partition = before.led_by(id(1)).next().unwrap();
    let Command::AlterPartitions(mut one) = change_of(&before, 1, id(3)) else { unreachable!("by its name") };
    one.changes.retain(|change| change.id == partition);
    cluster.decide(Command::AlterPartitions(one)).await.unwrap();
    images.changed().await.unwrap();
    let after = images.borrow_and_update().image.clone();
    let own_before = &before.topic(partition.topic_id).unwrap().partitions;
    let own_after = &after.topic(partition.topic_id).unwrap().partitions;
    let changed = own_before.iter().zip(own_after).filter(|(a, b)| a != b).count();
    assert_eq!((changed, own_after.len()), (1, 50));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn any_bytes_are_answered() {
    let cluster = Cluster::of_three("bytes").await;
    let node: ControllerNode = cluster.node(1);
    for len in [0, 1, 7, 8, 9, 100, 5000] {
        assert!(!node.on_message(&vec![0xa5; len]).await.is_empty());
    }
    cluster.decide(Command::CreateTopic(create_topic(1, 1))).await.unwrap();
    cluster.stop().await;
}
