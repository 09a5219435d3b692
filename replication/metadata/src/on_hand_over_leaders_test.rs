use super::*;
use crate::testing::{Cluster, incarnation, tp};

fn request(cluster: &Cluster, to: u32, leader_epoch: u32) -> HandOverLeaders {
    let partition = HandOver { id: tp(0), leader_epoch: LeaderEpoch(leader_epoch), to: BrokerId(to) };
    HandOverLeaders { broker: BrokerId(1), incarnation: cluster.incarnation(1), partitions: vec![partition] }
}

#[test]
fn a_slow_leader_hands_over_to_the_one_it_names_and_stays_in_sync() {
    let mut cluster = Cluster::of_three(2);
    let over = request(&cluster, 3, 1);
    let answered = cluster.answered(|i| on_hand_over_leaders(i, &over)).unwrap();
    assert_eq!(answered.answers[0].as_ref().unwrap().leader, Some(BrokerId(3)));
    assert_eq!(cluster.shown(), "3@2 isr 1,2,3");
    let again = cluster.answered(|i| on_hand_over_leaders(i, &over)).unwrap();
    assert_eq!(again.answers, [Err(PartitionRefusal::NotLeader { leader: Some(BrokerId(3)) })]);
}

#[test]
fn what_is_refused() {
    let mut cluster = Cluster::of_three(2);
    cluster.alter_isr(0, &[1, 2]).unwrap();
    let mut refused = |to, epoch| {
        let request = request(&cluster, to, epoch);
        cluster.answered(|i| on_hand_over_leaders(i, &request)).unwrap().answers.swap_remove(0).unwrap_err()
    };
    assert_eq!(refused(3, 1), PartitionRefusal::NotInSync { broker: BrokerId(3) });
    assert_eq!(refused(2, 7), PartitionRefusal::StaleLeaderEpoch { got: LeaderEpoch(7), current: LeaderEpoch(1) });
    let to_itself = request(&cluster, 1, 1);
    assert_eq!(cluster.answered(|i| on_hand_over_leaders(i, &to_itself)).unwrap().records, []);
    let old = HandOverLeaders { incarnation: incarnation(9), ..to_itself };
    assert!(matches!(on_hand_over_leaders(&cluster.image, &old), Err(Refusal::FencedIncarnation { .. })));
}
