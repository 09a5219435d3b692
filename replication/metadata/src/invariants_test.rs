use super::*;
use crate::batch::Batch;
use crate::record::{BrokerStateChanged, PartitionStateChanged, Record, TopicSettingsChanged};
use crate::testing::{Cluster, topic_id, tp};

/// `image` with records that no rule decides but that each apply.
fn with(image: &Image, records: Vec<Record>) -> Image {
    let mut image = image.clone();
    image.apply_batch(&Batch { records }).unwrap();
    image
}

fn state_changed(cluster: &Cluster, broker: u32, state: BrokerState) -> Record {
    let incarnation = cluster.incarnation(broker);
    Record::BrokerStateChanged(BrokerStateChanged { broker: BrokerId(broker), incarnation, state })
}

fn partition_changed(cluster: &Cluster, changing: impl Fn(&mut PartitionState)) -> Record {
    let mut state = cluster.image.partition(tp(0)).unwrap().clone();
    state.partition_epoch.0 += 1;
    changing(&mut state);
    Record::PartitionStateChanged(PartitionStateChanged { topic_id: topic_id(1), partition: tp(0).partition, state })
}

fn rule(result: Result<(), Broken>) -> &'static str {
    result.unwrap_err().rule
}

#[test]
fn each_rule_of_brokers_is_looked_at() {
    let mut cluster = Cluster::of_three(2);
    let fenced = with(&cluster.image, vec![state_changed(&cluster, 3, BrokerState::Fenced)]);
    assert_eq!(rule(check(&fenced)), "under a leader no fenced broker is in sync");
    cluster.fence(3);
    cluster.fence(2);
    let settings = Record::TopicSettingsChanged(TopicSettingsChanged { topic_id: topic_id(1), settings: Vec::new() });
    let enough = with(&cluster.image, vec![settings]);
    assert_eq!(rule(check(&enough)), "nobody is eligible while the in-sync set suffices");
    cluster.fence(1);
    assert_eq!(check_settled(&cluster.image), Ok(()));
    let waiting = with(&cluster.image, vec![state_changed(&cluster, 2, BrokerState::Active)]);
    assert_eq!(check(&waiting), Ok(()), "it is still to be elected");
    assert_eq!(rule(check_settled(&waiting)), "whoever may be trusted and is there leads");
}

#[test]
fn each_rule_of_succession_is_looked_at() {
    let cluster = Cluster::of_three(2);
    let before = cluster.image.partition(tp(0)).unwrap();
    type Breaking<'a> = &'a dyn Fn(&mut PartitionState);
    let table: [(Breaking<'_>, &str); 5] = [
        (&|p| p.isr.truncate(2), "every change has a partition epoch of its own"),
        (&|p| p.leader = Some(BrokerId(2)), "every change has a partition epoch of its own"),
        (&|p| (p.leader, p.partition_epoch.0) = (Some(BrokerId(2)), 9), "every leader has a leader epoch of its own"),
        (&|p| (p.leader_epoch.0, p.partition_epoch.0) = (0, 9), "every leader has a leader epoch of its own"),
        (&|p| (p.replicas[0].placement.placement_epoch.0, p.partition_epoch.0) = (0, 9), "placement epochs grow"),
    ];
    for (breaking, expected) in table {
        let mut after = before.clone();
        breaking(&mut after);
        let found = rules_of_succession(before, &after).into_iter().find(|(kept, _)| !kept);
        assert_eq!(found.map(|(_, rule)| rule), Some(expected));
    }
    assert!(rules_of_succession(before, before).iter().all(|(kept, _)| *kept));
    let mut later = before.clone();
    later.partition_epoch.0 = 4;
    assert_eq!(rules_of_succession(&later, before)[0], (false, "partition epochs grow"));
}

/// What a record may not do by itself is refused before it is in the image.
#[test]
fn applying_refuses_what_no_rule_decides() {
    let mut cluster = Cluster::of_three(2);
    cluster.fence(3);
    let apply = |cluster: &Cluster, record: Record| cluster.image.clone().apply_batch(&Batch { records: vec![record] });
    let refused = |cluster: &Cluster, record| apply(cluster, record).unwrap_err().to_string();
    let outside = partition_changed(&cluster, |p| {
        (p.leader, p.leader_epoch.0, p.isr) = (Some(BrokerId(3)), 2, vec![BrokerId(3)]);
    });
    assert!(refused(&cluster, outside).contains("broker 3 is not eligible"));
    let skipped = partition_changed(&cluster, |p| p.partition_epoch.0 += 1);
    assert!(refused(&cluster, skipped).contains("the epoch of partition"));
    let same_epoch = partition_changed(&cluster, |p| p.leader = Some(BrokerId(2)));
    assert!(refused(&cluster, same_epoch).contains("leader epoch"));
    let fenced_leader = state_changed(&cluster, 1, BrokerState::Fenced);
    assert!(refused(&cluster, fenced_leader).contains("holds no lease"));
    let back = state_changed(&cluster, 1, BrokerState::Recovering);
    assert!(refused(&cluster, back).contains("goes from active to recovering"));
    for (breaking, rule) in [
        (&(|p: &mut PartitionState| p.isr.clear()) as &dyn Fn(&mut PartitionState), "the in-sync set is not empty"),
        (&|p| p.damaged = vec![BrokerId(1)], "under a leader no damaged replica is in sync"),
        (&|p| p.damaged = vec![BrokerId(3), BrokerId(2)], "damaged replicas ascend and are replicas"),
        (&|p| p.restarted[0].broker = BrokerId(3), "restarted replicas ascend, are trusted and do not lead"),
    ] {
        let mut cluster = Cluster::of_three(2);
        [3, 2, 1].into_iter().for_each(|broker| drop(cluster.fence(broker)));
        cluster.register(1);
        cluster.report(1, &[(0, crate::Recovered::Whole { end: crate::testing::end(1, 1) })]);
        let led = rule.starts_with("under a leader");
        if led {
            cluster.unfence(1);
        }
        let broken = partition_changed(&cluster, breaking);
        let text = refused(&cluster, broken);
        assert!(text.contains(rule) || (led && text.contains("a damaged replica neither leads")), "{rule}: {text}");
    }
    let stranger = BrokerStateChanged { broker: BrokerId(9), incarnation: cluster.incarnation(1), state: BrokerState::Fenced };
    assert!(refused(&cluster, Record::BrokerStateChanged(stranger)).contains("broker 9 is not registered"));
    let other = BrokerStateChanged { broker: BrokerId(2), ..stranger };
    assert!(refused(&cluster, Record::BrokerStateChanged(other)).contains("registered as incarnation"));
}
