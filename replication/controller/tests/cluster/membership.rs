use crate::support::{Cluster, create_topic, id};
use sluice_controller::{Command, CommandError, Controller, ControllerNode, OpenError, read_image};
use sluice_metadata::{DeleteTopic, Start};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn all_stop_and_start_again_with_what_was_decided() {
    let mut cluster = Cluster::of_three("restart").await;
    cluster.decide(Command::CreateTopic(create_topic(1, 12))).await.unwrap();
    let before = cluster.settle().await;
    let cluster_id = before.cluster_id();
    assert!((1..=3).any(|broker| cluster.config(broker).founding == Some(cluster_id)), "one of them has founded it");
    for broker in 1..=3 {
        cluster.kill(broker).await;
    }
    for broker in 1..=3 {
        let known = read_image(&cluster.path(broker), cluster.folder(broker)).unwrap();
        assert_eq!(known.cluster_id(), cluster_id, "read from a folder that is at rest");
        let alone = Controller::open(&cluster.path(broker), cluster.folder(broker), None).map(drop).unwrap_err();
        assert!(matches!(&alone, OpenError::InCluster { voters, .. } if voters.len() == 3), "{alone}");
    }
    for broker in 1..=3 {
        cluster.start(broker).await;
    }
    let index = |cluster: &Cluster| cluster.node(1).image().index;
    let after = cluster.settle().await;
    assert!(index(&cluster) >= 10);
    assert_eq!((after.cluster_id(), after.topics().count()), (cluster_id, 1));
    cluster.register(1).await;
    cluster.settle().await;
    cluster.stop().await;
}

/// So many entries that a snapshot stands for them, and the ones that a broker lacks are gone.
#[tokio::test(start_paused = true)]
async fn a_broker_that_was_away_catches_up_by_a_snapshot() {
    let mut cluster = Cluster::new("snapshot", 3);
    cluster.snapshot_after_len = 32 * 1024;
    for broker in 1..=3 {
        cluster.start(broker).await;
    }
    for broker in 1..=3 {
        cluster.register(broker).await;
    }
    let away = if cluster.controller().await == 1 { 2 } else { 1 };
    cluster.settle().await;
    let behind = cluster.node(away).status().last_log_index;
    cluster.kill(away).await;
    for round in 0..100 {
        cluster.decide(Command::CreateTopic(create_topic(1 + round % 2, 5))).await.unwrap();
        cluster.decide(Command::DeleteTopic(DeleteTopic { name: format!("topic-{}", 1 + round % 2) })).await.unwrap();
        let topic_id = sluice_model::TopicId([1 + round % 2; 16]);
        cluster.decide(Command::PurgeTopic(sluice_metadata::PurgeTopic { topic_id })).await.unwrap();
    }
    cluster.decide(Command::CreateTopic(create_topic(3, 5))).await.unwrap();
    let controller = cluster.controller().await;
    let lead = cluster.node(controller).status().last_log_index;
    assert!(lead > behind + 300, "{behind} {lead}");
    cluster.start(away).await;
    let image = cluster.settle().await;
    assert_eq!(image.topics().count(), 1);
    // From then on entry by entry, and across a start.
    cluster.decide(Command::CreateTopic(create_topic(4, 5))).await.unwrap();
    cluster.settle().await;
    cluster.kill(away).await;
    let known = read_image(&cluster.path(away), cluster.folder(away)).unwrap();
    assert!(known.topic_by_name("topic-3").is_some(), "the snapshot is in the folder");
    cluster.start(away).await;
    assert_eq!(cluster.settle().await.topics().count(), 2);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_vote_holds_the_log() {
    let mut cluster = Cluster::of_three("learner").await;
    cluster.decide(Command::CreateTopic(create_topic(1, 3))).await.unwrap();
    cluster.start(4).await;
    let image = cluster
        .until("the log to come", |cluster| Some(cluster.node(4).image().image).filter(|image| image.topics().count() == 1))
        .await;
    assert_eq!(image, cluster.settle().await);
    let status = cluster.node(4).status();
    assert_eq!((status.learners, status.voters), (vec![id(4)], vec![id(1), id(2), id(3)]));
    let refused = cluster.node(4).propose(Command::CreateTopic(create_topic(2, 3))).await.unwrap_err();
    assert!(matches!(refused, CommandError::NotController { leader: Some(_) }), "{refused}");
    cluster.register(4).await;
    for dead in [1, 2] {
        cluster.kill(dead).await;
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let leads = |broker| cluster.node(broker).status().is_controller;
    let refused = cluster.node(3).propose(Command::CreateTopic(create_topic(2, 3))).await.unwrap_err();
    assert!(matches!(refused, CommandError::NotController { .. }) && !leads(4), "a learner does not count: {refused}");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_folder_of_another_cluster_is_refused_by_name() {
    let mut ours = Cluster::of_three("ours").await;
    ours.settle().await;
    ours.kill(3).await;
    let mut theirs = Cluster::new("theirs", 3);
    theirs.founding_mark = 0x50;
    for broker in 1..=3 {
        theirs.start(broker).await;
    }
    theirs.controller().await;
    theirs.settle().await;
    let (theirs_path, foreign_id) = (theirs.path(3), theirs.node(3).status().cluster_id.unwrap());
    theirs.stop().await;
    let own_path = ours.path(3).with_extension("own");
    std::fs::rename(ours.path(3), &own_path).unwrap();
    std::fs::copy(theirs_path, ours.path(3)).unwrap();
    ours.start(3).await;
    let foreign = ours.until("a foreign controller", |cluster| cluster.node(3).status().foreign).await;
    let our_id = ours.node(1).status().cluster_id.unwrap();
    assert_eq!((foreign.ours, foreign.theirs), (foreign_id, our_id));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(ours.node(3).status().cluster_id, Some(foreign_id), "nothing of ours got into it");
    ours.decide_among(&[1, 2], Command::CreateTopic(create_topic(1, 1))).await.unwrap();
    assert!(ours.node(3).image().image.broker(id(1)).is_none());
    ours.kill(3).await;
    std::fs::rename(own_path, ours.path(3)).unwrap();
    // Broker 3 of a cluster that nobody else is of.
    let mut config = ours.config(3);
    config.path = config.path.with_file_name("foreign.redb");
    config.founding = Some(sluice_metadata::ClusterId([0x77; 16]));
    config.voters = [(id(3), String::new())].into();
    config.lease = None;
    let alone = ControllerNode::open(config.clone(), ours.link(3)).await.unwrap();
    alone.stop().await;
    let refused =
        ControllerNode::open(sluice_controller::NodeConfig { path: config.path.clone(), ..ours.config(3) }, ours.link(3))
            .await
            .map(drop)
            .unwrap_err();
    assert!(matches!(refused, OpenError::OtherVoters { .. }), "{refused}");
    let other_broker = sluice_controller::NodeConfig { broker: id(2), ..config };
    let refused = ControllerNode::open(other_broker, ours.link(2)).await.map(drop).unwrap_err();
    assert!(matches!(refused, OpenError::OtherBroker { .. }), "{refused}");
    ours.stop().await;
}

/// It has forgotten what it voted for and what it held: it may follow, and helps nobody to lead before it is known anew.
#[tokio::test(start_paused = true)]
async fn a_voter_that_lost_its_folder_elects_nobody() {
    let mut cluster = Cluster::of_three("lost_folder").await;
    cluster.decide(Command::CreateTopic(create_topic(1, 3))).await.unwrap();
    cluster.settle().await;
    let controller = cluster.controller().await;
    let (lost, other) = match controller {
        1 => (2, 3),
        2 => (1, 3),
        _ => (1, 2),
    };
    cluster.kill(lost).await;
    cluster.kill(controller).await;
    cluster.lose_folder(lost);
    cluster.start(lost).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(cluster.nodes().iter().all(|node| !node.status().is_controller), "its votes do not count");
    cluster.start(controller).await;
    cluster.settle().await;
    let image = cluster.node(other).image().image;
    let mut request = cluster.registration(lost, &image);
    let refused = cluster.decide(Command::RegisterBroker(request.clone())).await.unwrap_err();
    assert!(matches!(refused, CommandError::Refused(sluice_metadata::Refusal::OtherFolder { .. })), "{refused}");
    let replaces_folder = Some(image.broker(id(lost)).unwrap().folder_id);
    request.start = Start::InCluster { rack: None, replaces_folder };
    cluster.decide(Command::RegisterBroker(request)).await.unwrap();
    cluster.settle().await;
    cluster.kill(controller).await;
    let next = cluster.controller().await;
    assert!(next != controller, "known anew it votes again");
    cluster.stop().await;
}

/// The controller knows how far the voter's log went, and finds it empty.
#[tokio::test(start_paused = true)]
async fn a_controller_outlives_that_another_voter_lost_its_folder() {
    let mut cluster = Cluster::of_three("lost_under_leader").await;
    cluster.decide(Command::CreateTopic(create_topic(1, 3))).await.unwrap();
    cluster.settle().await;
    let controller = cluster.controller().await;
    let lost = if controller == 1 { 2 } else { 1 };
    cluster.kill(lost).await;
    cluster.lose_folder(lost);
    cluster.start(lost).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(cluster.nodes().iter().all(|node| node.status().failure.is_none()), "no engine has ended");
    cluster.decide(Command::CreateTopic(create_topic(2, 3))).await.unwrap();
    let image = cluster.settle().await;
    assert!(image.topic_by_name("topic-2").is_some(), "it has everything again");
    cluster.stop().await;
}
